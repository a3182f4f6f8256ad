"""The tutorial's losses: its code blocks with their imports changed, and their numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segloss import LossWrapper, MultiLoss, UncertaintyWeighting
from segloss.compat.tutorial import (
    CombinedLoss,
    DiceBCELoss,
    DiceLoss,
    UncertaintyWeightedLoss,
    WeightedMSELoss,
)
from tests.compat.libraries.batches import KINDS

TRUE_MASK = torch.zeros(5, 5)
TRUE_MASK[1:4, 1:4] = 1
GOOD = torch.zeros(5, 5)
GOOD[1:4, 1:4] = torch.tensor([[0.9, 0.8, 0.9], [0.85, 0.95, 0.85], [0.9, 0.8, 0.9]])
BAD = torch.zeros(5, 5)
BAD[2:4, :3] = torch.tensor([[0.8, 0.9, 0.85], [0.9, 0.8, 0.9]])


def dice(p: torch.Tensor, g: torch.Tensor, smooth: float = 1.0) -> float:
    p, g = p.double().flatten(), g.double().flatten()
    return 1 - ((2 * (p * g).sum() + smooth) / (p.sum() + g.sum() + smooth)).item()


def test_the_demonstration_has_the_numbers_of_its_code() -> None:
    criterion = DiceLoss()
    assert round(criterion(GOOD, TRUE_MASK).item(), 3) == 0.064
    assert round(criterion(BAD, TRUE_MASK).item(), 3) == 0.479
    for prediction in (GOOD, BAD):
        expected = dice(prediction, TRUE_MASK)
        assert criterion(prediction, TRUE_MASK).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 1, 4, 5), (1, 2, 3, 4, 5, 2)])
def test_dice_takes_any_shape(shape: tuple[int, ...]) -> None:
    prediction, target = torch.rand(shape), torch.rand(shape).round()
    value = DiceLoss(smooth=0.5)(prediction, target)
    assert value.item() == pytest.approx(dice(prediction, target, 0.5), rel=1e-6)


def test_dice_and_bce_are_weighted() -> None:
    logits, target = torch.randn(2, 1, 6, 5, dtype=torch.float64), torch.rand(2, 1, 6, 5).round()
    value = DiceBCELoss(0.3, 0.7, smooth=2.0)(logits, target)
    bce = F.binary_cross_entropy_with_logits(logits, target.double()).item()
    expected = 0.3 * dice(logits.sigmoid(), target, 2.0) + 0.7 * bce
    assert value.item() == pytest.approx(expected, rel=1e-9)


UNUSUAL = [k for k, (_, forms, needs) in KINDS.items() if "mask" in forms and needs != "ignoring"]


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_batches_have_the_values_and_gradients_of_the_documents_formulas(kind: str) -> None:
    def document(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        p, g = torch.sigmoid(x).view(-1), g.view(-1)
        dice = 1 - (2.0 * (p * g).sum() + 1.0) / (p.sum() + g.sum() + 1.0)
        return 0.5 * dice + 0.5 * F.binary_cross_entropy_with_logits(x.view(-1), g)

    def parts(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        bce = F.binary_cross_entropy_with_logits(x, g)
        return 0.5 * DiceLoss()(x.sigmoid(), g) + 0.5 * bce

    logits, target = KINDS[kind].make("mask")
    results = []
    for loss in (document, parts, DiceBCELoss(0.5, 0.5)):
        x = logits.clone().requires_grad_()
        value = loss(x, target.to(x.dtype))
        results.append((value.detach(), *torch.autograd.grad(value, x)))
    for ours in results[1:]:
        torch.testing.assert_close(ours, results[0], rtol=1e-5, atol=1e-8)


def test_combined_loss_returns_its_components() -> None:
    pred, target = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.5, 2.5, 3.5])
    total, components = CombinedLoss(weights={"mse": 0.7, "l1": 0.3})(pred, target)
    assert total.item() == pytest.approx(0.7 * 0.25 + 0.3 * 0.5)
    assert components == {"mse": 0.25, "l1": 0.5}
    assert CombinedLoss()(pred, target)[0].item() == pytest.approx(0.75)


def custom_mse_loss(predictions, targets):
    squared_diff = (predictions - targets) ** 2
    return torch.mean(squared_diff)


def test_a_function_is_a_loss() -> None:
    pred, target = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.5, 2.5, 3.5])
    assert custom_mse_loss(pred, target).item() == 0.25
    assert LossWrapper(custom_mse_loss)(pred, target)[0].item() == 0.25
    assert MultiLoss([custom_mse_loss], [2.0])(pred, target)[0].item() == 0.5


def test_weighted_mse_weights_elements() -> None:
    pred, target = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.5, 2.5, 3.5])
    weights = torch.tensor([0.5, 1.0, 2.0])
    assert WeightedMSELoss()(pred, target, weights).item() == pytest.approx(0.875 / 3)
    assert WeightedMSELoss("sum")(pred, target).item() == pytest.approx(0.75)
    assert WeightedMSELoss("none")(pred, target).shape == (3,)


def check_custom_loss(loss_fn, input_shape=(10,)) -> None:
    """The document's `test_custom_loss`."""
    pred = torch.randn(input_shape, requires_grad=True)
    loss = loss_fn(pred, torch.randn(input_shape))
    assert loss.dim() == 0
    loss.backward()
    assert pred.grad is not None
    edge_loss = loss_fn(torch.tensor([0.0, 1e-10, 1e10]), torch.tensor([0.0, 0.0, 1e10]))
    assert not torch.isnan(edge_loss)
    assert not torch.isinf(edge_loss)


def test_the_documents_test_passes() -> None:
    check_custom_loss(WeightedMSELoss())


def test_uncertainty_weights_are_those_of_the_documents_code() -> None:
    loss = UncertaintyWeightedLoss(num_tasks=2)
    with torch.no_grad():
        loss.log_vars.copy_(torch.tensor([0.5, -0.25]))
    losses = [torch.tensor(2.0), torch.tensor(3.0)]
    expected = sum(
        torch.exp(-s).item() * value.item() + s.item()
        for s, value in zip(loss.log_vars.detach(), losses, strict=True)
    )
    assert loss(losses).item() == pytest.approx(expected, rel=1e-6)


def test_the_papers_form_is_half_of_the_tutorials() -> None:
    ours, theirs = UncertaintyWeighting(2), UncertaintyWeightedLoss(2)
    with torch.no_grad():
        ours.log_vars.copy_(torch.tensor([0.5, -0.25]))
    theirs.load_state_dict(ours.state_dict())
    losses = torch.tensor([2.0, 3.0])
    torch.testing.assert_close(2 * ours(losses), theirs(list(losses)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DiceLoss(smooth=-1), "smooth must be"),
        (lambda: DiceLoss()(GOOD, TRUE_MASK[:4]), r"shape of predictions, \(5, 5\).* \(4, 5\)"),
        (lambda: DiceLoss()(9 * GOOD, TRUE_MASK), "probabilities"),
        (lambda: DiceBCELoss(dice_weight=-1), "dice_weight must be"),
        (lambda: CombinedLoss({"mse": 1.0, "l2": 1.0}), "weights.l2 is unknown"),
        (lambda: WeightedMSELoss("max"), "reduction must be one of"),
        (lambda: WeightedMSELoss()(GOOD, TRUE_MASK[0]), "broadcast"),
        (lambda: UncertaintyWeightedLoss(2)([torch.tensor(1.0)]), "num_tasks=2 losses, got 1"),
        (lambda: UncertaintyWeighting(2)(torch.ones(3)), r"num_losses=2.* \(3,\)"),
        (lambda: UncertaintyWeighting(0), "num_losses must be"),
    ],
)
def test_wrong_arguments_are_told_what_is_wrong(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
