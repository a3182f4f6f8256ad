"""The fused path is the reference path, in value and gradient, and keeps nothing but its inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from pixel_batches import TOLERANCE, batches_and_groups, outcome
from torch import Tensor

import segloss.confusion as confusion
from segloss import SegLoss
from segloss.confusion.fused import fused_confusion, serves
from segloss.confusion.reference import reference_confusion
from segloss.confusion.sums import SUMS
from segloss.targets import as_pixels

pytestmark = pytest.mark.usefixtures("each_its_path")


@settings(max_examples=300, deadline=None)
@given(batches_and_groups())
def test_both_paths_agree_in_value_and_gradient(batch) -> None:
    pixels, logits, groups = batch
    sums, gradient = outcome(fused_confusion, pixels, logits, groups)
    expected, expected_gradient = outcome(reference_confusion, pixels, logits, groups)
    tolerance = TOLERANCE[logits.dtype]
    assert sums.keys() == expected.keys()
    for name, value in sums.items():
        scale = expected[name].abs().max().item()
        if (
            name == "false_positive"
        ):  # of binary masks it is what false negatives leave of all errors
            scale = max(scale, expected["false_negative"].max().item())
        # the exponential of a logit of 30 is right to 2e-6, and a focal sum has a power of it
        rtol = 6e-6 if name.startswith("focal(") else 2e-6
        torch.testing.assert_close(
            value, expected[name], rtol=rtol, atol=rtol * scale + 1e-30, msg=name
        )
    # A pixel that is confidently wrong has a tiny region gradient, p (1 - p) with p next to 1, of
    # which the reference keeps the digits of p alone: hence the floor.
    scale = max(0.1, expected_gradient.abs().max().item())
    torch.testing.assert_close(gradient, expected_gradient, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("margin", [8.0, 12.0, 16.0, 20.0])
@pytest.mark.parametrize("wrong_too", [False, True])
def test_confident_pixels_keep_their_digits_in_large_masks(margin: float, wrong_too: bool) -> None:
    mask = torch.rand(1, 1, 300, 301).round()
    mask[0, 0, 0] = 0
    logits = margin * (2 * mask - 1)
    if wrong_too:
        logits[0, 0, 0, :2] *= -1
    logits.requires_grad_()
    loss = SegLoss(from_logits=True, tversky_focal_coef=0.3)
    loss(logits, mask)[0].backward()
    precise = logits.detach().double().requires_grad_()
    exact, _ = loss(precise, mask)
    exact.backward()
    torch.testing.assert_close(loss(logits, mask)[0].double(), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(logits.grad.double(), precise.grad, rtol=1e-4, atol=1e-30)


def test_true_positives_of_a_class_that_is_missed_keep_their_digits() -> None:
    logits, mask = torch.full((1, 1, 64, 64), -12.0), torch.ones(1, 1, 64, 64)
    [[value]] = confusion.soft_confusion(logits, mask).true_positive
    assert value.item() == pytest.approx(64 * 64 / (1 + math.exp(12)), rel=1e-6)


def test_one_soft_value_among_zeros_and_ones_is_seen() -> None:
    mask = torch.rand(2, 1, 1000, 900).round()
    mask[1, 0, 999, 899] = 0.25
    logits = torch.randn(mask.shape, requires_grad=True)
    pixels = as_pixels(logits, mask, n_classes=2, activation="sigmoid", from_logits=True)
    sums, gradient = outcome(fused_confusion, pixels, logits, tuple(SUMS))
    expected, expected_gradient = outcome(reference_confusion, pixels, logits, tuple(SUMS))
    assert sums["actual"][1] % 1 == 0.25
    for name, value in sums.items():
        torch.testing.assert_close(value, expected[name], rtol=5e-8, atol=0, msg=name)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_large_batches_are_read_in_several_chunks(n_classes: int) -> None:
    channels = 1 if n_classes == 2 else n_classes
    logits = torch.randn(2, channels, 700, 701, requires_grad=True)
    target = torch.randint(0, n_classes, (2, 700, 701))
    pixels = as_pixels(
        logits,
        target,
        n_classes=n_classes,
        activation="sigmoid" if n_classes == 2 else "softmax",
        from_logits=True,
    )
    sums, gradient = outcome(fused_confusion, pixels, logits, tuple(SUMS))
    expected, expected_gradient = outcome(reference_confusion, pixels, logits, tuple(SUMS))
    for name, value in sums.items():
        torch.testing.assert_close(value, expected[name], rtol=5e-8, atol=0, msg=name)
    atol = 1e-6 * expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("pixels", [4097, 5000, 224 * 224])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_samples_of_any_size_are_told_apart(n_classes: int, pixels: int) -> None:
    channels = 1 if n_classes == 2 else n_classes
    logits = torch.randn(3, channels, pixels) * torch.tensor([0.1, 1, 5]).view(3, 1, 1)
    logits.requires_grad_()
    target = torch.stack([torch.randint(0, high, (pixels,)) for high in (1, 2, n_classes)])
    batch = as_pixels(
        logits,
        target,
        n_classes=n_classes,
        activation="sigmoid" if n_classes == 2 else "softmax",
        from_logits=True,
    )
    sums, gradient = outcome(fused_confusion, batch, logits, ("region", "cross_entropy"))
    expected, expected_gradient = outcome(
        reference_confusion, batch, logits, ("region", "cross_entropy")
    )
    for name, value in sums.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-6, msg=name)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e30, 3e38])
@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_extreme_logits(size: float, kind: str) -> None:
    logits = size * torch.tensor([[[1.0, -1, 1, 0], [-1, 1, 1, 0], [0, 0, 1, 1]]])
    logits.requires_grad_()
    target = torch.tensor([[0, 0, 1, 2]])
    target = target if kind == "softmax" else torch.tensor([[[1.0, 0, 1, 0]] * 3])
    pixels = as_pixels(logits, target, n_classes=3, activation=kind, from_logits=True)
    sums, gradient = outcome(fused_confusion, pixels, logits, tuple(SUMS))
    if size <= 1e30:
        expected, _ = outcome(reference_confusion, pixels, logits, tuple(SUMS))
        for name, value in sums.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-30, msg=name)
    assert gradient.isfinite().all()


def kept_for_backward(logits: Tensor, target: Tensor, loss: SegLoss) -> int:
    """The bytes that the forward pass keeps beside its inputs, and the tiny sums per class."""
    inputs = {logits.untyped_storage().data_ptr(), target.untyped_storage().data_ptr()}
    kept = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        if tensor.untyped_storage().data_ptr() not in inputs and tensor.numel() > 1000:
            kept += tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(logits, target)
    return kept


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_nothing_is_kept_for_the_backward_pass_but_the_inputs(n_classes, memory_format) -> None:
    logits = torch.randn(2, n_classes, 64, 64).to(memory_format=memory_format).requires_grad_()
    shape = (2, 2, 64, 64) if n_classes == 2 else (2, 64, 64)
    loss = SegLoss(n_classes=n_classes, from_logits=True, tversky_focal_coef=0.3)
    assert kept_for_backward(logits, torch.randint(0, 2, shape), loss) == 0


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_gradients_come_in_the_logits_memory_format(n_classes, memory_format) -> None:
    logits = torch.randn(2, n_classes, 6, 5).to(memory_format=memory_format).requires_grad_()
    seen = []
    intermediate = logits * 1
    intermediate.register_hook(lambda gradient: seen.append(gradient.stride()))
    shape = (2, 2, 6, 5) if n_classes == 2 else (2, 6, 5)
    loss = SegLoss(n_classes=n_classes, from_logits=True)
    loss(intermediate, torch.randint(0, 2, shape))[0].backward()
    assert seen == [intermediate.stride()]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_second_derivative_is_that_of_the_reference(n_classes: int) -> None:
    logits = torch.randn(1, n_classes, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 2, (1, 2, 4) if n_classes == 2 else (1, 4))
    loss = SegLoss(n_classes=n_classes, from_logits=True, tversky_focal_coef=0.5)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target)[0], logits)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_batch_of_gradients_is_that_of_single_ones(n_classes: int) -> None:
    logits = torch.randn(2, n_classes, 4, requires_grad=True)
    target = torch.randint(0, 2, (2, 2, 4) if n_classes == 2 else (2, 4))
    loss = SegLoss(n_classes=n_classes, from_logits=True, tversky_focal_coef=0.5)
    value = torch.stack([loss(logits, target)[0], 2 * loss(logits, target)[0]])
    [together] = torch.autograd.grad(
        value, logits, torch.eye(2), is_grads_batched=True, retain_graph=True
    )
    singles = [torch.autograd.grad(v, logits, retain_graph=True)[0] for v in value]
    torch.testing.assert_close(together, torch.stack(singles))


def test_what_it_does_not_serve_takes_the_reference_path() -> None:
    logits, labels = torch.randn(1, 3, 4), torch.tensor([[0, 1, 2, 0]])
    options = {"n_classes": 3, "activation": "softmax", "from_logits": True}
    served = as_pixels(logits, labels, **options)
    assert serves(served)
    assert not serves(as_pixels(logits, torch.rand(1, 3, 4), **options))
    assert not serves(as_pixels(logits.softmax(1), labels, **{**options, "from_logits": False}))
    assert (
        torch.func.vmap(lambda x: torch.tensor(serves(served)) & (x == x).all())(logits).any() == 0
    )
    with torch.autograd.forward_ad.dual_level():
        assert not serves(served)


@pytest.fixture
def reference_path() -> Iterator[None]:
    before = confusion.current_path()
    confusion.use_path("reference")
    yield
    confusion.use_path(before)


def test_the_switch_makes_the_reference_path_serve_everything(reference_path, monkeypatch) -> None:
    monkeypatch.setattr(confusion, "fused_confusion", lambda *_: pytest.fail("the fused path ran"))
    SegLoss(n_classes=3)(torch.randn(1, 3, 4), torch.tensor([[0, 1, 2, 0]]))


def test_the_switch_knows_its_paths() -> None:
    with pytest.raises(
        ValueError, match="path must be one of 'auto', 'chunks', 'reference', got 'slow'"
    ):
        confusion.use_path("slow")
