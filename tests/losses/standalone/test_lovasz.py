"""The Lovasz loss: its definition as a sort in NumPy, its subgradients, and what it leaves out."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from segloss import DiceLoss, LossWrapper, LovaszLoss, check_loss, get_loss, use_backend
from segloss.config import build_loss
from segloss.losses.standalone.lovasz.operations import in_fixed_point
from segloss.sums.kernels import cpu
from tests.support.ranks import on_ranks
from tests.support.versions import needs_a_newer_compiler

BACKENDS = ["cpu", "torch"] if cpu.is_built() else ["torch"]
MODES = ["binary", "multilabel", "multiclass"]
ALL = [(mode, errors) for mode in MODES for errors in ("hinge", "probability")]
ALL.remove(("multiclass", "hinge"))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with use_backend(request.param):
        yield request.param


def errors_of(logits: np.ndarray, target: np.ndarray, hinge: bool, softmax: bool) -> np.ndarray:
    """The errors of all pixels and classes (N, C, P), from logits and dense targets."""
    if hinge:
        return np.maximum(0, 1 - (2 * target - 1) * logits)
    if softmax:
        e = np.exp(logits - logits.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
    else:
        p = 1 / (1 + np.exp(-logits))
    return np.abs(target - p)


def extension(errors: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    """The Lovasz extension of the Jaccard loss, by its definition."""
    order = np.argsort(-errors, kind="stable")
    g, w, m = target[order], weight[order], errors[order]
    total = (w * g).sum()
    value = before = 0.0
    for i in range(len(m)):
        left, union = total - (w * g)[: i + 1].sum(), total + (w * (1 - g))[: i + 1].sum()
        jaccard = 1 - left / union if union > 0 else 0.0
        value += m[i] * (jaccard - before)
        before = jaccard
    return value


def expected_loss(
    logits: Tensor,
    dense: Tensor,
    valid: Tensor,
    weight: Tensor,
    hinge: bool,
    softmax: bool,
    per_image: bool,
    present: bool,
    class_weights: list[float] | None = None,
) -> float:
    """The mean over images of the means over classes, with dense targets (N, C, P)."""
    x, g = logits.double().flatten(2).numpy(), dense.double().flatten(2).numpy()
    errors = errors_of(x, g, hinge, softmax)
    keep = np.broadcast_to(valid.flatten(2).numpy(), x.shape)
    w = np.broadcast_to(weight.double().flatten(2).numpy(), x.shape)
    groups = [[n] for n in range(len(x))] if per_image else [list(range(len(x)))]
    images = []
    for group in groups:
        values, total = [], 0.0
        for c in range(x.shape[1]):
            chosen = keep[group, c] & (w[group, c] > 0)
            m, t, v = (each[group, c][chosen] for each in (errors, g, w))
            if len(m) == 0 or (present and not (v * t).sum() > 0):
                continue
            factor = 1.0 if class_weights is None else class_weights[c]
            values.append(factor * extension(m, t, v))
            total += factor
        if total > 0:
            images.append(sum(values) / total)
    return float(np.mean(images)) if images else 0.0


def example(mode: str, *spatial: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Logits, and labels or a mask."""
    if mode == "multiclass":
        labels = torch.randint(0, 4, (3, *spatial))
        labels[0] = labels[0] % 2  # two classes are absent in an image
        return (2 * torch.randn(3, 5, *spatial)).to(dtype), labels
    channels = 1 if mode == "binary" else 3
    mask = (torch.rand(3, channels, *spatial) < 0.3).long()
    mask[1, 0] = 0
    return (2 * torch.randn(3, channels, *spatial)).to(dtype), mask


def dense_of(mode: str, logits: Tensor, target: Tensor) -> Tensor:
    if mode != "multiclass":
        return target
    return F.one_hot(target, logits.shape[1]).movedim(-1, 1)


def with_gradient(loss: Callable[..., Tensor], logits: Tensor, *rest: Any, **more: Any) -> Any:
    x = logits.clone().requires_grad_()
    value = loss(x, *rest, **more)
    value.backward()
    return value.detach(), x.grad


# ---- the definition ----


@pytest.mark.parametrize("spatial", [(50,), (9, 8), (3, 5, 4)])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize(("mode", "errors"), ALL)
def test_it_is_the_step_of_the_jaccard_loss_in_the_order_of_the_errors(
    mode: str, errors: str, per_image: bool, spatial: tuple[int, ...]
) -> None:
    logits, target = example(mode, *spatial)
    value = LovaszLoss(mode, errors=errors, per_image=per_image)(logits, target)
    ones = torch.ones(1, 1, *spatial).expand(3, 1, *spatial)
    softmax = mode == "multiclass"
    expected = expected_loss(
        logits,
        dense_of(mode, logits, target),
        ones.bool(),
        ones,
        errors == "hinge",
        softmax,
        per_image,
        present=softmax,
    )
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize(("mode", "errors"), ALL)
def test_weights_ignored_pixels_and_classes(
    backend: str, mode: str, errors: str, per_image: bool
) -> None:
    dtype = torch.float32 if backend == "cpu" else torch.float64
    logits, target = example(mode, 9, 8, dtype=dtype)
    weight = torch.rand(3, 1, 9, 8) * (torch.rand(3, 1, 9, 8) < 0.8)
    ignored = torch.rand(target.shape) < 0.2
    softmax = mode == "multiclass"
    valid = ~ignored.unsqueeze(1) if softmax else ~ignored
    cw = [1.0, 0.5, 2.0, 0.3, 1.0][: logits.shape[1]]
    for classes in ("present", "all"):
        loss = LovaszLoss(
            mode,
            errors=errors,
            per_image=per_image,
            classes=classes,
            class_weights=cw,
            ignore_index=255,
        )
        marked = torch.where(ignored, 255, target)
        value = loss(logits, marked, pixel_weights=weight)
        expected = expected_loss(
            logits,
            dense_of(mode, logits, target),
            valid,
            weight,
            errors == "hinge",
            softmax,
            per_image,
            classes == "present",
            cw,
        )
        assert value.item() == pytest.approx(expected, rel=1e-6 if backend == "cpu" else 1e-12)
        spoilt = logits.masked_fill(~valid, torch.nan)
        again, gradient = with_gradient(loss, spoilt, marked, pixel_weights=weight)
        assert again == value
        assert gradient.isfinite().all()
        assert gradient[(~valid).expand_as(gradient)].eq(0).all()


def test_a_list_of_classes_counts_absent_ones(backend: str) -> None:
    logits, labels = torch.randn(2, 4, 6, 5), torch.randint(0, 2, (2, 6, 5))
    value = LovaszLoss(classes=[1, 3])(logits, labels)
    parts = [LovaszLoss(classes=[c])(logits, labels) for c in (1, 3)]
    torch.testing.assert_close(value, torch.stack(parts).mean())
    torch.testing.assert_close(parts[1], logits.softmax(1)[:, 3].max())
    present = [LovaszLoss(classes=[c])(logits, labels) for c in (0, 1)]
    torch.testing.assert_close(LovaszLoss()(logits, labels), torch.stack(present).mean())


def test_predictions_of_0_and_1_have_the_jaccard_loss(backend: str) -> None:
    predicted, mask = torch.rand(1, 1, 20, 20) < 0.4, torch.rand(1, 1, 20, 20) < 0.3
    iou = (predicted & mask).sum() / (predicted | mask).sum()
    logits = torch.where(predicted, 200.0, -200.0)
    probability = LovaszLoss("binary", errors="probability")(logits, mask)
    torch.testing.assert_close(probability, 1 - iou)
    hinge = LovaszLoss("binary")(logits.sign(), mask)
    torch.testing.assert_close(hinge, 2 * (1 - iou))


def test_soft_targets_are_parts_of_foreground_and_background(backend: str) -> None:
    logits, target = torch.randn(2, 1, 40), torch.rand(2, 1, 40).round(decimals=1)
    for errors in ("hinge", "probability"):
        loss = LovaszLoss("binary", errors=errors)
        ones = torch.ones(2, 1, 40)
        hinge = errors == "hinge"
        expected = expected_loss(logits, target, ones > 0, ones, hinge, False, False, False)
        assert loss(logits, target).item() == pytest.approx(expected, rel=1e-5)
    dense = torch.rand(2, 3, 40).softmax(1)
    three = torch.randn(2, 3, 40)
    ones = torch.ones(2, 1, 40)
    expected = expected_loss(three, dense, ones > 0, ones, False, True, False, True)
    assert LovaszLoss()(three, dense).item() == pytest.approx(expected, rel=1e-5)


def test_a_dense_target_of_0_and_1_is_its_label_map(backend: str) -> None:
    logits, labels = example("multiclass", 9, 8)
    for ours, theirs in zip(
        with_gradient(LovaszLoss(), logits, labels),
        with_gradient(LovaszLoss(), logits, F.one_hot(labels, 5).movedim(-1, 1).double()),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


# ---- the gradient ----


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize(("mode", "errors"), ALL)
def test_gradients_pass_gradcheck_twice(mode: str, errors: str, per_image: bool) -> None:
    logits, target = example(mode, 3, 4)
    loss = LovaszLoss(mode, errors=errors, per_image=per_image)
    x = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), x)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target), x, fast_mode=True)


@pytest.mark.skipif(not cpu.is_built(), reason="needs the C++ kernel")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("mode", "errors"), ALL)
def test_the_compiled_kernel_has_the_gradient_of_float64(
    mode: str, errors: str, weighted: bool, per_image: bool, dtype: torch.dtype
) -> None:
    logits, target = example(mode, 37, 29, dtype=dtype)
    weights = {"pixel_weights": torch.rand(3, 1, 37, 29)} if weighted else {}
    loss = LovaszLoss(mode, errors=errors, per_image=per_image)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = logits.to(memory_format=layout)
        value, gradient = with_gradient(loss, x, target, **weights)
        exact, reference = with_gradient(loss, x.double(), target, **weights)
        torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=0)
        # Errors that are nearly equal may be in another order in float32
        off = (gradient.double() - reference).abs() / reference.abs().max()
        assert off.quantile(0.98) <= max(torch.finfo(dtype).eps, 1e-6)
        assert off.max() <= 0.05


@pytest.mark.parametrize(("mode", "errors"), ALL)
def test_equal_errors_share_a_gradient_whatever_the_order_of_pixels(
    backend: str, mode: str, errors: str
) -> None:
    pixels = 400
    logits, target = example(mode, pixels, dtype=torch.float32)
    logits = (logits * 2).round() / 4  # many ties
    loss = LovaszLoss(mode, errors=errors)
    value, gradient = with_gradient(loss, logits, target)
    order = torch.randperm(pixels)
    shuffled = with_gradient(loss, logits[..., order], target[..., order])
    torch.testing.assert_close(shuffled[0], value, rtol=1e-6, atol=0)
    if backend == "torch" and errors == "probability":
        return  # the last bit of PyTorch's exponential depends on the place in a vector
    torch.testing.assert_close(shuffled[1], gradient[..., order], rtol=1e-5, atol=1e-9)
    if mode == "binary":
        for g in (0, 1):
            for x in logits.unique():
                of_tie = gradient[(logits == x) & (target == g)]
                assert (of_tie == of_tie[:1]).all()


@pytest.mark.parametrize("backend_name", BACKENDS)
def test_the_gradient_at_ties_is_a_subgradient(backend_name: str) -> None:
    logits = (torch.randn(1, 1, 60) * 2).round() / 2
    mask = (torch.rand(1, 1, 60) < 0.4).long()
    loss = LovaszLoss("binary")
    with use_backend(backend_name):
        value, gradient = with_gradient(loss, logits, mask)
    for scale in (1e-3, 1e-1, 1.0, 10.0):
        for _ in range(50):
            other = logits + scale * torch.randn_like(logits)
            bound = value + (gradient * (other - logits)).sum()
            assert loss(other, mask) >= bound - 1e-5 * (1 + scale)


def test_all_errors_equal_share_alike(backend: str) -> None:
    mask = torch.tensor([[[1, 1, 0, 0, 0, 0]]])
    value, gradient = with_gradient(LovaszLoss("binary"), torch.zeros(1, 1, 6), mask)
    assert value == 1
    # the foreground first: 1/2 and 0; the background first: 1/6 and 1/6
    expected = torch.tensor([[[-1 / 3] * 2 + [1 / 12] * 4]])
    torch.testing.assert_close(gradient, expected)


def test_an_absent_class_has_its_largest_errors(backend: str) -> None:
    logits = torch.tensor([[[1.0, 3.0, -2.0, 3.0]]])
    value, gradient = with_gradient(LovaszLoss("binary"), logits, torch.zeros(1, 1, 4))
    assert value == 4
    assert gradient.tolist() == [[[0, 0.5, 0, 0.5]]]


def test_a_confident_model_keeps_its_digits(backend: str) -> None:
    logits, labels = torch.zeros(1, 2, 6), torch.tensor([[0, 0, 0, 1, 1, 1]])
    logits[0, 0] = torch.tensor([20.0, 22, 24, -20, -25, -21])
    value, gradient = with_gradient(LovaszLoss(), logits, labels)
    exact, reference = with_gradient(LovaszLoss(), logits.double(), labels)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient.double(), reference, rtol=1e-5, atol=0)


@pytest.mark.skipif(not cpu.is_built(), reason="needs the C++ kernel")
@pytest.mark.parametrize("name", cpu.instruction_sets())
def test_every_instruction_set_and_number_of_threads_agree(name: str) -> None:
    logits, labels = torch.randn(2, 6, 150, 101), torch.randint(0, 6, (2, 150, 101))
    used, threads = cpu.instruction_sets()[0], torch.get_num_threads()
    reference = with_gradient(LovaszLoss(), logits.double(), labels)
    try:
        cpu.use_instruction_set(name)
        torch.set_num_threads(1)
        alone = with_gradient(LovaszLoss(), logits, labels)
        torch.set_num_threads(3)
        together = with_gradient(LovaszLoss(), logits, labels)
    finally:
        cpu.use_instruction_set(used)
        torch.set_num_threads(threads)
    assert all(map(torch.equal, alone, together))
    torch.testing.assert_close(alone[0].double(), reference[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(alone[1].double(), reference[1], rtol=1e-4, atol=1e-11)


def test_running_sums_of_integers_are_those_of_numbers() -> None:
    counts = torch.randint(0, 2, (3, 500)).double()
    assert torch.equal(in_fixed_point(counts), counts.cumsum(1))
    for scale in (1e-4, 1.0, 300.0):
        weights = scale * torch.rand(3, 500, dtype=torch.float64)
        torch.testing.assert_close(in_fixed_point(weights), weights.cumsum(1), rtol=1e-6, atol=0)
    assert in_fixed_point(torch.zeros(2, 0, dtype=torch.float64)).shape == (2, 0)


# ---- what is left out ----


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize(("mode", "errors"), ALL)
def test_over_no_pixels_it_is_0_with_zero_gradient(
    backend: str, mode: str, errors: str, per_image: bool
) -> None:
    loss = LovaszLoss(mode, errors=errors, per_image=per_image, ignore_index=255)
    for dtype in (torch.float32, torch.float64):
        logits, target = example(mode, 6, 5, dtype=dtype)
        spoilt = torch.full_like(logits, torch.nan)
        value, gradient = with_gradient(loss, spoilt, torch.full_like(target, 255))
        assert value == 0
        assert (gradient == 0).all()
        for shape in ((slice(0), ...), (..., slice(0))):
            value, gradient = with_gradient(loss, logits[shape], target[shape])
            assert value == 0
            assert gradient.shape == logits[shape].shape


def test_an_ignored_image_is_not_in_the_mean(backend: str) -> None:
    logits, labels = example("multiclass", 6, 5, dtype=torch.float32)
    labels[1] = 255
    loss = LovaszLoss(per_image=True, ignore_index=255)
    torch.testing.assert_close(loss(logits, labels), loss(logits[::2], labels[::2]))


def test_sample_weights_weight_the_mean_over_images(backend: str) -> None:
    logits, labels = example("multiclass", 6, 5, dtype=torch.float32)
    loss = LovaszLoss(per_image=True)
    parts = [loss(logits[n : n + 1], labels[n : n + 1]) for n in range(3)]
    logits[1] = torch.nan
    value, gradient = with_gradient(
        loss, logits, labels, sample_weights=torch.tensor([1.0, 0.0, 3.0])
    )
    torch.testing.assert_close(value, (parts[0] + 3 * parts[2]) / 4)
    assert gradient.isfinite().all()


def test_sample_weights_multiply_pixel_weights_of_a_pooled_batch(backend: str) -> None:
    logits, labels = example("multiclass", 6, 5, dtype=torch.float32)
    weights, pixels = torch.tensor([1.0, 0.0, 3.0]), torch.rand(3, 6, 5)
    value = LovaszLoss()(logits, labels, sample_weights=weights, pixel_weights=pixels)
    expected = LovaszLoss()(logits, labels, pixel_weights=pixels * weights[:, None, None])
    torch.testing.assert_close(value, expected)


def test_nan_and_infinity_are_not_hidden(backend: str) -> None:
    mask = torch.tensor([[[1, 0, 1, 0]]])
    assert LovaszLoss("binary")(torch.tensor([[[1.0, torch.nan, 2, 3]]]), mask).isnan()
    impossible = torch.tensor([[[1.0, -torch.inf, torch.inf, 3]]])
    value, gradient = with_gradient(LovaszLoss("binary"), impossible, mask)
    finite = with_gradient(LovaszLoss("binary"), impossible.clamp(-100, 100), mask)
    assert value == finite[0]
    torch.testing.assert_close(gradient, finite[1])
    logits = torch.tensor([[[1.0, -torch.inf], [0.0, 0.0], [-torch.inf, 2.0]]])
    labels = torch.tensor([[0, 2]])
    value, gradient = with_gradient(LovaszLoss(), logits, labels)
    finite = with_gradient(LovaszLoss(), logits.clamp(min=-200), labels)
    torch.testing.assert_close(value, finite[0])
    torch.testing.assert_close(gradient, finite[1])


# ---- PyTorch's ways of running it ----


@pytest.mark.parametrize(("mode", "errors"), ALL)
def test_it_compiles_whole(mode: str, errors: str) -> None:
    logits, target = example(mode, 9, 8, dtype=torch.float32)
    loss = LovaszLoss(mode, errors=errors, ignore_index=255)
    target.flatten()[:7] = 255
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for ours, expected in zip(
        with_gradient(compiled, logits, target), with_gradient(loss, logits, target), strict=True
    ):
        torch.testing.assert_close(ours, expected)


@needs_a_newer_compiler
def test_it_exports() -> None:
    logits, labels = example("multiclass", 9, 8, dtype=torch.float32)
    program = torch.export.export(LovaszLoss(), (logits, labels))
    torch.testing.assert_close(program.module()(logits, labels), LovaszLoss()(logits, labels))


def test_vmap_and_grad_of_torch_func() -> None:
    logits, labels = example("multiclass", 9, 8, dtype=torch.float32)
    loss = LovaszLoss()
    each = torch.func.vmap(torch.func.grad(lambda x, y: loss(x[None], y[None])))(logits, labels)
    for n in range(3):
        _, alone = with_gradient(loss, logits[n : n + 1], labels[n : n + 1])
        torch.testing.assert_close(each[n], alone[0])


def test_second_derivatives_of_the_compiled_kernel() -> None:
    logits, labels = example("multiclass", 5, 4, dtype=torch.float32)

    def hessian_product(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        [gradient] = torch.autograd.grad(LovaszLoss()(x, labels), x, create_graph=True)
        gradient.square().sum().backward()
        assert x.grad is not None
        return x.grad

    torch.testing.assert_close(
        hessian_product(logits).double(), hessian_product(logits.double()), rtol=1e-4, atol=1e-8
    )


def test_copies_and_pickles() -> None:
    logits, labels = example("multiclass", 9, 8, dtype=torch.float32)
    loss = LovaszLoss(class_weights=[1, 2, 3, 4, 5])
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(logits, labels), loss(logits, labels))


def _mean_of_ranks(rank: int, ranks: int) -> Any:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 6, 5), torch.randint(0, 4, (3, 6, 5))
    mine = slice(0, 1) if rank == 0 else slice(1, 3)
    loss = LovaszLoss(per_image=True, sync_statistics=True)
    value, gradient = with_gradient(loss, logits[mine], labels[mine])
    whole = with_gradient(LovaszLoss(per_image=True), logits, labels)
    return value, gradient / ranks, whole[0], whole[1][mine]


def test_the_mean_over_images_is_exact_over_ranks(tmp_path: Path) -> None:
    for value, gradient, whole, expected in on_ranks(2, tmp_path, _mean_of_ranks):
        torch.testing.assert_close(value, whole)
        torch.testing.assert_close(gradient, expected)


# ---- other libraries ----


@pytest.mark.parametrize("per_image", [False, True])
def test_value_and_gradient_are_those_of_pytorch_toolbelt(per_image: bool) -> None:
    losses = pytest.importorskip("pytorch_toolbelt.losses")
    logits, labels = example("multiclass", 20, 15, dtype=torch.float32)
    labels[0, :3] = 255
    theirs = losses.LovaszLoss(per_image=per_image, ignore=255)
    soft = with_gradient(lambda x: theirs(x.softmax(1), labels), logits)
    ours = with_gradient(LovaszLoss(per_image=per_image, ignore_index=255), logits, labels)
    for mine, reference in zip(ours, soft, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-3, atol=1e-6)
    logits, mask = example("binary", 20, 15, dtype=torch.float32)
    theirs = losses.BinaryLovaszLoss(per_image=per_image)
    ours = with_gradient(LovaszLoss("binary", per_image=per_image), logits, mask)
    for mine, reference in zip(ours, with_gradient(theirs, logits, mask), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-3, atol=1e-6)


# ---- its doors ----


def test_it_is_reached_by_name() -> None:
    assert get_loss("lovasz") is LovaszLoss
    loss = build_loss({"loss": {"_target_": "lovasz", "mode": "binary", "per_image": True}})
    logits, mask = example("binary", 9, 8, dtype=torch.float32)
    value, _ = loss({"seg": logits}, {"gt_polygons_image": mask})
    assert value == LovaszLoss("binary", per_image=True)(logits, mask)


def test_a_schedule_of_a_config_finishes_with_it() -> None:
    page = (Path(__file__).parents[3] / "docs" / "schedules_and_norms.md").read_text()
    section = page[page.index("### Lovasz to finish") :]
    config = section.split("```yaml\n")[1].split("```")[0]
    multi = build_loss(yaml.safe_load(config))
    logits, labels = torch.randn(2, 4, 9, 8), torch.randint(0, 4, (2, 9, 8))
    labels[0, 0] = 255
    value = {
        "ce": F.cross_entropy(logits, labels, ignore_index=255),
        "dice": DiceLoss("multiclass", ignore_index=255)(logits, labels),
        "lovasz": LovaszLoss(ignore_index=255)(logits, labels),
    }
    for epoch, weights in [(0, (0.5, 0.5, 0)), (85, (0.5, 0.25, 0.25)), (99, (0.5, 0, 0.5))]:
        total, losses, _ = multi({"seg": logits}, {"gt_polygons_image": labels}, epoch=epoch)
        expected = sum(w * value[name] for name, w in zip(value, weights, strict=True))
        torch.testing.assert_close(total, expected)
        assert set(losses) == set(value)


def test_a_wrapper_gives_it_pixel_weights() -> None:
    logits, labels = example("multiclass", 9, 8, dtype=torch.float32)
    weights = torch.rand(3, 9, 8)
    wrapped = LossWrapper(LovaszLoss(), "lovasz")
    batch = {"gt_polygons_image": labels, "seg_loss_weights": weights}
    value, _ = wrapped({"seg": logits}, batch)
    assert value == LovaszLoss()(logits, labels, pixel_weights=weights)


@pytest.mark.parametrize("mode", MODES)
def test_check_loss_passes(mode: str) -> None:
    report = check_loss(LovaszLoss(mode, ignore_index=255))
    assert report.passed, str(report)


def test_wrong_arguments_are_refused() -> None:
    for arguments, words in [
        ({"mode": "softmax"}, "mode"),
        ({"errors": "hinges"}, "did you mean 'hinge'"),
        ({"errors": "hinge"}, "multilabel"),
        ({"classes": "presents"}, "did you mean 'present'"),
        ({"classes": []}, "at least one"),
        ({"classes": [1, 1]}, "duplicates"),
        ({"sync_statistics": True}, "per_image=True"),
    ]:
        with pytest.raises(ValueError, match=words):
            LovaszLoss(**arguments)
    with pytest.raises(TypeError, match="'present', 'all' or a list"):
        LovaszLoss(classes=1)
    logits, labels = example("multiclass", 6, 5)
    with pytest.raises(ValueError, match=r"classes must name channels .* 0 to 4"):
        LovaszLoss(classes=[1, 5])(logits, labels)
    with pytest.raises(ValueError, match=r"sample_weights .* expected \(3,\), got \(2,\)"):
        LovaszLoss()(logits, labels, sample_weights=torch.ones(2))
    with pytest.raises(ValueError, match=r"sample_weights must hold .* To leave samples out"):
        LovaszLoss()(logits, labels, sample_weights=torch.tensor([1.0, -1, 1]))
