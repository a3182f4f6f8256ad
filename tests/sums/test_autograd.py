"""The pass as autograd sees it, on every kernel: what is kept, and what hooks and users do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from segloss import SegLoss, use_backend

pytestmark = pytest.mark.usefixtures("each_backend")

ALL = {"bce_coef": 0.3, "dice_coef": 0.5, "tversky_focal_coef": 0.7, "from_logits": True}


def batch_of(n_classes: int, size: int = 9) -> tuple[Tensor, Tensor]:
    logits = torch.randn(2, n_classes, size, 7, requires_grad=True)
    shape = (2, 2, size, 7) if n_classes == 2 else (2, size, 7)
    return logits, torch.randint(0, n_classes, shape)


def gradient_of(loss: SegLoss, logits: Tensor, target: Tensor) -> Tensor:
    return torch.autograd.grad(loss(logits, target)[0], logits)[0]


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_nothing_is_kept_but_inputs(n_classes, memory_format, each_backend) -> None:
    if each_backend == "reference":
        pytest.skip("it keeps what autograd does")
    logits, target = batch_of(n_classes, size=64)
    logits = logits.detach().to(memory_format=memory_format).requires_grad_()
    inputs = {logits.untyped_storage().data_ptr(), target.untyped_storage().data_ptr()}
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in inputs:
            kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        SegLoss(n_classes=n_classes, extra_terms={"mcc": 0.1}, **ALL)(logits, target)
    assert sum(kept) < 1000


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_saved_tensors_may_come_back_in_another_dtype(n_classes: int, dtype) -> None:
    logits, target = batch_of(n_classes)
    loss = SegLoss(n_classes=n_classes, extra_terms={"mcc": 0.1}, **ALL)
    expected = gradient_of(loss, logits, target)

    def pack(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def unpack(tensor: Tensor) -> Tensor:
        return tensor.float() if tensor.is_floating_point() else tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        value = loss(logits, target)[0]
    [gradient] = torch.autograd.grad(value, logits)
    torch.testing.assert_close(gradient, expected, rtol=0.1, atol=0.02 * expected.abs().max())


@pytest.mark.parametrize("n_classes", [2, 4])
def test_labels_and_slopes_too(n_classes: int, each_backend) -> None:
    if each_backend == "reference" and n_classes == 4:
        pytest.skip("PyTorch's scatter takes no other labels")
    logits, target = batch_of(n_classes)
    loss = SegLoss(n_classes=n_classes, **ALL)
    expected = gradient_of(loss, logits, target)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.bfloat16(), lambda t: t.float()):
        value = loss(logits, target)[0]
    [gradient] = torch.autograd.grad(value, logits)
    torch.testing.assert_close(gradient, expected, rtol=0.1, atol=0.02 * expected.abs().max())


@pytest.mark.parametrize("n_classes", [2, 4])
def test_saved_tensors_may_be_kept_elsewhere(n_classes: int) -> None:
    logits, target = batch_of(n_classes)
    loss = SegLoss(n_classes=n_classes, **ALL)
    expected = gradient_of(loss, logits, target)
    with torch.autograd.graph.save_on_cpu():
        value = loss(logits, target)[0]
    assert torch.equal(torch.autograd.grad(value, logits)[0], expected)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_memory_that_is_freed_before_the_backward_pass_is_an_error(n_classes, each_backend) -> None:
    if each_backend == "reference":
        pytest.skip("PyTorch raises, or has no use for the tensor")
    logits, target = batch_of(n_classes)
    weights = torch.rand(2, 1, 9, 7)
    loss = SegLoss(n_classes=n_classes, **ALL)
    value, _ = loss({"seg": logits}, {"gt_polygons_image": target, "seg_loss_weights": weights})
    weights.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError):
        value.backward()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_what_users_do_to_extra_info_does_not_reach_the_backward_pass(n_classes: int) -> None:
    logits, target = batch_of(n_classes)
    loss = SegLoss(n_classes=n_classes, extra_terms={"mcc": 0.1, "focal": 0.1}, **ALL)
    expected = gradient_of(loss, logits, target)
    value, info = loss(logits, target)
    _, more = loss(logits, target)
    for name, entry in info.items():
        kept = entry
        entry += more[name]
        entry.mul_(2)
        entry.fill_(torch.nan)
        assert kept is entry
    assert torch.equal(torch.autograd.grad(value, logits)[0], expected)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_extra_info_has_no_graph(n_classes: int) -> None:
    logits, target = batch_of(n_classes)
    _, info = SegLoss(n_classes=n_classes, extra_terms={"mcc": 0.1}, **ALL)(logits, target)
    assert info
    assert not any(entry.requires_grad for entry in info.values())


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_second_derivative_is_that_of_differences(n_classes: int) -> None:
    logits = torch.randn(1, n_classes, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 2, (1, 2, 4) if n_classes == 2 else (1, 4))
    loss = SegLoss(n_classes=n_classes, extra_terms={"mcc": 0.2}, **ALL)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target)[0], logits)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_second_derivatives_are_those_of_the_reference(n_classes: int) -> None:
    logits, target = batch_of(n_classes)
    loss = SegLoss(n_classes=n_classes, extra_terms={"mcc": 0.2}, **ALL)

    def second() -> Tensor:
        [slope] = torch.autograd.grad(loss(logits, target)[0], logits, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), logits)[0]

    ours = second()
    with use_backend("reference"):
        torch.testing.assert_close(ours, second(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_batch_of_gradients_is_that_of_single_ones(n_classes: int) -> None:
    logits, target = batch_of(n_classes)
    loss = SegLoss(n_classes=n_classes, **ALL)
    value = torch.stack([loss(logits, target)[0], 2 * loss(logits, target)[0]])
    [together] = torch.autograd.grad(
        value, logits, torch.eye(2), is_grads_batched=True, retain_graph=True
    )
    singles = [torch.autograd.grad(v, logits, retain_graph=True)[0] for v in value]
    torch.testing.assert_close(together, torch.stack(singles), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("margin", [8.0, 12.0, 16.0, 20.0])
def test_confident_pixels_keep_their_digits(n_classes: int, margin: float) -> None:
    labels = torch.randint(0, n_classes, (1, 60, 61))
    hot = torch.nn.functional.one_hot(labels, n_classes).movedim(-1, 1)
    logits = (margin * (2.0 * hot - 1)).requires_grad_()
    target = hot if n_classes == 2 else labels
    loss = SegLoss(n_classes=n_classes, **ALL)
    precise = logits.detach().double().requires_grad_()
    exact = loss(precise, target)[0]
    torch.testing.assert_close(loss(logits, target)[0].double(), exact, rtol=1e-5, atol=0)
    expected = torch.autograd.grad(exact, precise)[0]
    gradient = gradient_of(loss, logits, target).double()
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_batches_without_pixels_or_samples(n_classes: int) -> None:
    loss = SegLoss(n_classes=n_classes, extra_terms={"mcc": 0.2}, **ALL)
    for shape in ((2, n_classes, 0), (0, n_classes, 4)):
        logits = torch.zeros(shape, requires_grad=True)
        target = torch.zeros(shape if n_classes == 2 else (shape[0], shape[2]), dtype=torch.long)
        value = loss(logits, target)[0]
        assert value == 0
        assert torch.autograd.grad(value, logits)[0].shape == shape


def test_tracers_and_forward_mode_see_operations(each_backend: Any) -> None:
    loss, mask = SegLoss(**ALL), torch.randint(0, 2, (1, 1, 6))
    logits, tangent = torch.randn(1, 1, 6), torch.randn(1, 1, 6)
    _, slope = torch.func.jvp(lambda x: loss(x, mask)[0], (logits,), (tangent,))
    expected = torch.func.grad(lambda x: loss(x, mask)[0])(logits)
    torch.testing.assert_close(slope, (expected * tangent).sum())
