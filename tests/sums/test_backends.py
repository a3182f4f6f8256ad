"""Which kernel serves: the choice, its context manager, and what is said of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import segloss
from segloss import SegLoss, backends, use_backend
from segloss.batch.assemble import as_pixel_batch
from segloss.batch.options import PixelOptions
from segloss.sums.kernels.registry import KERNELS, current_backend, kernel_for
from segloss.sums.plan import REGION, plan_of
from tests.support.kernels import BACKENDS


def test_it_is_a_call_and_a_context_manager() -> None:
    before = current_backend()
    with use_backend("reference"):
        assert current_backend() == "reference"
        with use_backend("torch"):
            assert current_backend() == "torch"
        assert current_backend() == "reference"
    assert current_backend() == before
    use_backend("torch")
    assert current_backend() == "torch"
    use_backend(before)


def test_it_comes_back_after_an_error() -> None:
    before = current_backend()
    with pytest.raises(KeyError), use_backend("reference"):
        raise KeyError
    assert current_backend() == before


def test_an_unknown_one_is_refused_and_changes_nothing() -> None:
    before = current_backend()
    with pytest.raises(ValueError, match=r"must be one of 'auto', .*'reference', got 'fast'"):
        use_backend("fast")
    assert current_backend() == before


def test_the_choice_begins_with_the_one_that_is_named() -> None:
    options = PixelOptions(3, "softmax")
    labels = as_pixel_batch(torch.randn(1, 3, 8), torch.zeros(1, 8).long(), options)
    dense = as_pixel_batch(torch.randn(1, 3, 8), torch.rand(1, 3, 8), options)
    for name in BACKENDS:
        with use_backend(name):
            chosen = kernel_for(labels, plan_of([REGION])).name
            assert chosen == name or BACKENDS.index(chosen) > BACKENDS.index(name)
            assert kernel_for(dense, plan_of([REGION])).name == "reference"
    with use_backend("torch"):
        assert kernel_for(labels, plan_of([REGION])).name == "torch"


def test_all_kernels_give_one_loss() -> None:
    logits, labels = torch.randn(2, 3, 9, 8), torch.randint(0, 3, (2, 9, 8))
    loss = SegLoss(n_classes=3, tversky_focal_coef=0.3, extra_terms={"mcc": 0.1, "focal": 0.1})
    values = []
    for name in BACKENDS:
        with use_backend(name):
            values.append(loss(logits, labels)[0])
    for value in values:
        torch.testing.assert_close(value, values[0], rtol=1e-6, atol=0)


def test_backends_say_what_they_serve_and_why_not() -> None:
    with use_backend("auto"):
        found = {backend.name: backend for backend in backends()}
    assert list(found) == [kernel.name for kernel in KERNELS]
    for backend in found.values():
        assert not set(backend.serves) & set(backend.reasons)
        assert all(backend.reasons.values())
        assert backend.name in str(backend)
    served = [what for backend in found.values() for what in backend.serves]
    assert len(served) == len(set(served))
    assert {"cpu float16", "cpu bfloat16", "cpu float32", "cpu float64"} <= set(served)
    assert "float64" in found["cpu"].reasons["cpu float64"]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_the_environment_chooses_at_the_start() -> None:
    code = "from segloss.sums.kernels.registry import current_backend; print(current_backend())"
    assert run(code, SEGLOSS_BACKEND="reference").stdout.strip() == "reference"
    wrong = run(code, SEGLOSS_BACKEND="slow")
    assert wrong.returncode == 1
    assert "SEGLOSS_BACKEND must be one of 'auto'" in wrong.stderr


def test_a_kernel_that_was_not_compiled_is_refused_with_the_reason() -> None:
    code = """
import sys
sys.modules["segloss.sums.kernels._cpu"] = None
import segloss
segloss.use_backend("cpu")
"""
    done = run(code)
    assert "The backend 'cpu' can't be used here: it was not compiled" in done.stderr


def test_the_command_shows_them(capsys) -> None:
    from segloss.tools.cli.app import run as run_command

    assert run_command(["backends"]) == 0
    shown = capsys.readouterr().out
    for backend in segloss.backends():
        assert backend.name in shown
    assert "cpu float32" in shown


def test_values_that_hold_tensors_can_be_compared() -> None:
    logits, labels = torch.randn(2, 3, 8), torch.zeros(2, 8).long()
    one, two = (segloss.soft_confusion(logits, labels, n_classes=3) for _ in range(2))
    assert one == one
    assert one != two
    assert len({one, two}) == 2


def test_the_key_of_a_map_may_be_any_text() -> None:
    for key in ("a\nb", "map(x)", "true_positive", "a;b,c)", "ä"):
        loss = SegLoss(from_logits=True, extra_terms={"boundary": {"coef": 0.1, "map_key": key}})
        logits, mask = torch.randn(1, 1, 8), torch.ones(1, 1, 8)
        gt = {"gt_polygons_image": mask, key: torch.ones(1, 1, 8)}
        expected = loss({"seg": logits}, gt)[0]
        torch._dynamo.reset()
        compiled = torch.compile(lambda x, loss=loss, gt=gt: loss(x, gt)[0], backend="aot_eager")
        torch.testing.assert_close(compiled({"seg": logits}), expected)


def test_backends_say_which_kinds_of_batches_a_kernel_leaves_to_the_next() -> None:
    found = {backend.name: backend for backend in backends()}
    kinds = {"softmax with label maps", "softmax with dense targets", "given probabilities"}
    for name, backend in found.items():
        refused = kinds & set(backend.reasons)
        if backend.serves and name != "reference":
            assert refused == {"softmax with dense targets", "given probabilities"}
        else:
            assert not refused
