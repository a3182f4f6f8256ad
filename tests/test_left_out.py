"""Losses that do not count add exactly 0, in value and gradient: of weight 0, or over no pixel.

Not even NaN or infinity passes, because what does not count is not multiplied by 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import kornia
import monai
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from segloss import (
    CompoundLoss,
    DeepSupervision,
    LossWrapper,
    MultiLoss,
    SegLoss,
    UncertaintyWeighting,
)
from segloss.compat import nn4n, perceptrain, tutorial
from segloss.foundation.dtypes import can_hold
from segloss.terms import Dice
from segloss.training.huggingface import as_compute_loss_func

Function = Callable[[Tensor, Tensor], Tensor]

# A weight of 0


def zero(prediction: Tensor) -> Tensor:
    """Zeros with a graph to the prediction."""
    return prediction - prediction.detach()


BAD: dict[str, Function] = {
    "0 / 0": lambda p, t: zero(p).mean() / zero(p).mean(),
    "1 / 0": lambda p, t: (1 / zero(p).abs()).mean(),
    "log 0": lambda p, t: zero(p).log().mean(),
    "an infinite slope": lambda p, t: zero(p).abs().sqrt().mean(),
}


class Head(nn.Module):
    """A bad loss with a parameter of its own."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function, self.scale = function, nn.Parameter(torch.ones(()))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.scale * self.function(prediction, target)


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 1, 6, requires_grad=True), torch.rand(2, 1, 6).round()


def assert_left_out(loss: Callable[[Tensor, Tensor], Tensor], expected: Function) -> None:
    """The value and gradient are those of the good loss; other parameters have the gradient 0."""
    prediction, target = batch()
    total = loss(prediction, target)
    total.backward()
    value = expected(*batch())
    [gradient] = torch.autograd.grad(expected(prediction, target), prediction)
    torch.testing.assert_close(total, value, rtol=1e-6, atol=0)
    torch.testing.assert_close(prediction.grad, gradient, rtol=1e-6, atol=0)


def with_head(kind: str, weights: list[Any], **options: Any) -> tuple[MultiLoss, nn.Parameter]:
    head = Head(BAD[kind])
    losses = [LossWrapper(head, "bad"), LossWrapper(nn.L1Loss(), "good")]
    return MultiLoss(losses, weights, **options), head.scale


GOOD = nn.L1Loss()


@pytest.mark.parametrize("kind", BAD)
def test_a_constant_weight(kind: str) -> None:
    loss, scale = with_head(kind, [0.0, 1.0])
    assert_left_out(loss.as_criterion(), GOOD)
    assert scale.grad == 0
    _, values, _ = loss(*batch())
    assert kind == "an infinite slope" or not values["bad"].isfinite()


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("given", [True, False])
def test_a_scheduled_weight(kind: str, given: bool) -> None:
    loss, scale = with_head(kind, [[1.0, 0.0], 1.0], epoch_thresholds=[0, 10])
    if not given:
        loss.set_epoch(10)
    epoch = 10 if given else None
    assert_left_out(lambda p, t: loss(p, t, epoch=epoch)[0], GOOD)
    assert scale.grad == 0
    assert_left_out(lambda p, t: loss.losses(p, t, epoch=epoch).sum(), GOOD)


def test_a_weight_that_a_user_sets_in_place() -> None:
    loss, scale = with_head("0 / 0", [1.0, 1.0])
    loss.current_weights[0] = 0
    assert_left_out(loss.as_criterion(), GOOD)
    assert scale.grad == 0


@pytest.mark.parametrize("kind", BAD)
def test_combiners_get_0(kind: str) -> None:
    loss, scale = with_head(kind, [0.0, 1.0], combiner=torch.sum)
    assert_left_out(loss.as_criterion(), GOOD)
    loss, scale = with_head(kind, [0.0, 1.0], combiner=UncertaintyWeighting(2))
    assert_left_out(loss.as_criterion(), lambda p, t: GOOD(p, t) / 2)
    assert scale.grad == 0
    assert loss.combiner.log_vars.grad.isfinite().all()


def test_a_loss_with_a_hook_or_a_forward_of_its_own() -> None:
    class Own(LossWrapper):
        def forward(self, *batches: Any, **options: Any) -> Any:
            return super().forward(*batches, **options)

    for bad in (LossWrapper(Head(BAD["0 / 0"]), "bad"), Own(Head(BAD["0 / 0"]), "bad")):
        bad.register_forward_hook(lambda *_: None)
        assert_left_out(MultiLoss([bad, GOOD], [0.0, 1.0]).as_criterion(), GOOD)


def test_a_parameter_that_only_a_function_knows() -> None:
    scale = nn.Parameter(torch.ones(()))
    bad = LossWrapper(lambda p, t: scale * BAD["0 / 0"](p, t), "bad")
    assert_left_out(MultiLoss([bad, GOOD], [0.0, 1.0]).as_criterion(), GOOD)
    assert scale.grad == 0


def test_a_head_whose_predictions_are_nan() -> None:
    network = nn.ModuleList([nn.Conv1d(1, 1, 1), nn.Conv1d(1, 1, 1)])
    losses = [
        SegLoss("good", from_logits=True),
        SegLoss("bad", from_logits=True, pred_key="aux"),
        DeepSupervision(SegLoss("deep", from_logits=True, pred_key="aux")),
    ]
    loss = MultiLoss(losses, [1.0, 0.0, 0.0])
    image, mask = batch()
    aux = network[1](image.detach()) + torch.nan
    predictions = {"seg": network[0](image.detach()), "aux": aux}
    loss(predictions, {"gt_polygons_image": mask})[0].backward()
    assert all(parameter.grad.eq(0).all() for parameter in network[1].parameters())
    assert all(parameter.grad.isfinite().all() for parameter in network[0].parameters())


class Infinite(Dice):
    """A term without an analytic form, whose value and slope are not finite."""

    name = "infinite"

    def cell_loss(self, confusion: Any) -> Tensor:
        return super().cell_loss(confusion) / (confusion.actual - confusion.actual)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("deep", [False, True])
def test_a_loss_that_shares_its_pass(deep: bool, dtype: torch.dtype) -> None:
    def made(name: str, term: Any) -> Any:
        loss = SegLoss(name, n_classes=3, terms=1.0 * term)
        return DeepSupervision(loss) if deep else loss

    losses = [made("a", Dice()), made("b", Infinite()), made("c", Dice(region_classes=[1]))]
    logits = torch.randn(2, 3, 5, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, 3, (2, 5))
    total = MultiLoss(losses, [1.0, 0.0, 0.5])(logits, labels)[0]
    expected = MultiLoss([losses[0], losses[2]], [1.0, 0.5])(logits, labels)[0]
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (total, expected)))


def test_a_scale_of_deep_supervision() -> None:
    loss = DeepSupervision(LossWrapper(nn.L1Loss()), [1.0, 0.0])
    fine, target = batch()
    coarse = torch.full((2, 1, 3), torch.nan, requires_grad=True)
    loss([fine, coarse], target)[0].backward()
    assert coarse.grad.eq(0).all()
    assert fine.grad.isfinite().all()


def test_a_coefficient_of_a_mixture() -> None:
    terms = {"dice": 1.0, Infinite(): 0.0}
    logits, mask = batch()
    for loss in (CompoundLoss(terms), SegLoss(terms=terms, from_logits=True).as_criterion()):
        assert torch.autograd.grad(loss(logits, mask), logits)[0].isfinite().all()


def test_a_part_of_a_mixed_batch() -> None:
    loss = LossWrapper(lambda p, t: (p - t).square().mean(), use_mixup=True)
    prediction, target = batch()
    nothing = torch.full_like(target, torch.nan)
    for first, second, lam in ((target, nothing, 1.0), (nothing, target, torch.tensor(0.0))):
        mixed = {"mixup_y_a": first, "mixup_y_b": second, "mixup_lam": lam}
        value = loss({"seg": prediction}, mixed)[0]
        torch.testing.assert_close(value, nn.MSELoss()(prediction, target))
        assert torch.autograd.grad(value, prediction)[0].isfinite().all()


def test_weights_of_other_systems() -> None:
    prediction, target = batch()
    infinite = torch.full_like(target, torch.inf)
    parts = {"bad": {"type": "mse", "lambda": 0}, "good": {"type": "mse"}}
    inputs = {
        "bad": {"input": prediction, "target": infinite},
        "good": {"input": prediction, "target": target},
    }
    totals = [
        nn4n.CompositeLoss(parts)(inputs)[0],
        tutorial.WeightedMSELoss()(
            torch.cat([prediction, prediction + torch.nan]),
            torch.cat([target, target]),
            torch.cat([torch.full_like(target, 2), torch.zeros_like(target)]),
        ),
    ]
    [expected] = torch.autograd.grad(nn.MSELoss()(prediction, target), prediction)
    for total in totals:
        torch.testing.assert_close(total, nn.MSELoss()(prediction, target))
        torch.testing.assert_close(torch.autograd.grad(total, prediction)[0], expected)

    # Errors of 1e30: their squares are infinite, their absolute values are not
    total, _ = tutorial.CombinedLoss({"mse": 0, "l1": 1})(prediction, target + 1e30)
    assert torch.autograd.grad(total, prediction)[0].isfinite().all()


def test_a_metric_of_weight_0() -> None:
    def metrics(batch: Any, model: nn.Module) -> Any:
        x = model(torch.ones(1, 1))
        return None, {"good": x.square().mean(), "bad": BAD["0 / 0"](x, x)}

    model = nn.Linear(1, 1)
    loss = perceptrain.GradWeightedLoss(
        {"good": 1, "bad": 1}, metrics, None, {"good": 1.0, "bad": 0.0}, "good"
    )
    total, weighted = loss(None, model)
    total.backward()
    assert weighted["bad"] == 0
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("kind", BAD)
def test_in_compiled_code_which_is_not_compiled_again(kind: str) -> None:
    head = LossWrapper(BAD[kind], "bad", pred_key="aux")
    loss = MultiLoss([head, nn.L1Loss()], [[1.0, 0.0, 0.0], 1.0], epoch_thresholds=[0, 5, 10])
    counter = CompileCounter()
    compiled = torch.compile(lambda p, t: loss(p, t)[0], fullgraph=True, backend=counter)
    prediction, target = batch()
    for epoch in (5, 7, 2):
        aux = torch.rand(2, 1, 6, requires_grad=True)
        loss.set_epoch(epoch)
        total = compiled({"seg": prediction, "aux": aux}, {"gt_polygons_image": target})
        gradients = torch.autograd.grad(total, [prediction, aux])
        if epoch > 2:
            torch.testing.assert_close(total, GOOD(prediction, target))
            assert gradients[0].isfinite().all()
            assert gradients[1].eq(0).all()
        else:
            assert not (total.isfinite() and gradients[1].isfinite().all())
    assert counter.frame_count == 1


def test_a_loss_that_is_left_out_is_not_an_error_of_check_finite() -> None:
    loss, _ = with_head("0 / 0", [0.0, 1.0], check_finite=True)
    assert loss(*batch())[0].isfinite()
    loss, _ = with_head("0 / 0", [0.5, 1.0], check_finite=True)
    with pytest.raises(FloatingPointError, match="The loss bad is not finite"):
        loss(*batch())


# Tiles of which all pixels are ignored


class Sum(nn.Module):
    """A loss of several modules, as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.ce, self.dice = (
            nn.CrossEntropyLoss(ignore_index=255),
            smp.losses.DiceLoss("multiclass", ignore_index=255),
        )

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.ce(prediction, target) + self.dice(prediction, target)


LOG = nn.LogSoftmax(1)
WRAPPED: dict[str, Callable[[], LossWrapper]] = {
    "cross-entropy": lambda: LossWrapper(nn.CrossEntropyLoss(ignore_index=255)),
    "weighted cross-entropy": lambda: LossWrapper(
        nn.CrossEntropyLoss(torch.rand(3), ignore_index=255, label_smoothing=0.1)
    ),
    "a sum of cross-entropies": lambda: LossWrapper(
        nn.CrossEntropyLoss(ignore_index=255, reduction="sum")
    ),
    "likelihood": lambda: LossWrapper(
        lambda p, t: nn.NLLLoss(ignore_index=255)(LOG(p), t), ignore_index=255
    ),
    "a function": lambda: LossWrapper(
        functools.partial(nn.functional.cross_entropy, ignore_index=255), "ce"
    ),
    "a module of modules": lambda: LossWrapper(Sum()),
    "smp.DiceLoss": lambda: LossWrapper(smp.losses.DiceLoss("multiclass", ignore_index=255)),
    "smp.TverskyLoss": lambda: LossWrapper(smp.losses.TverskyLoss("multiclass", ignore_index=255)),
    "smp.FocalLoss": lambda: LossWrapper(smp.losses.FocalLoss("multiclass", ignore_index=255)),
    "smp.LovaszLoss": lambda: LossWrapper(smp.losses.LovaszLoss("multiclass", ignore_index=255)),
    "smp.SoftCrossEntropyLoss": lambda: LossWrapper(
        smp.losses.SoftCrossEntropyLoss(smooth_factor=0.1, ignore_index=255)
    ),
    "kornia.DiceLoss": lambda: LossWrapper(kornia.losses.DiceLoss(ignore_index=255)),
    "kornia.FocalLoss": lambda: LossWrapper(
        kornia.losses.FocalLoss(0.5, reduction="mean", ignore_index=255)
    ),
    "kornia.TverskyLoss": lambda: LossWrapper(
        kornia.losses.TverskyLoss(0.5, 0.5, ignore_index=255)
    ),
    "monai.DiceCELoss": lambda: LossWrapper(
        monai.losses.DiceCELoss(to_onehot_y=False, softmax=True), ignore_index=255
    ),
    "CompoundLoss": lambda: LossWrapper(
        CompoundLoss({"cross_entropy": 1, "dice": 1}, "multiclass", ignore_index=255)
    ),
}


def tile(name: str, *, ignored: bool = True) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randint(0, 3, (2, 4, 4))
    if name.startswith("monai"):
        labels = nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    return logits, torch.full_like(labels, 255) if ignored else labels


@pytest.mark.parametrize("name", WRAPPED)
def test_a_loss_over_no_pixel_is_0_with_gradient_0(name: str) -> None:
    logits, labels = tile(name)
    deep = DeepSupervision(WRAPPED[name]())
    half = nn.functional.avg_pool2d(logits, 2)
    for total in (
        WRAPPED[name]()(logits, labels)[0],
        MultiLoss([WRAPPED[name]()], [1.0])(logits, labels)[0],
        deep([logits, half], labels)[0],
    ):
        assert total == 0
        assert torch.autograd.grad(total, logits, retain_graph=True)[0].eq(0).all()


@pytest.mark.parametrize("name", [name for name in WRAPPED if name != "CompoundLoss"])
def test_other_tiles_are_passed_on(name: str) -> None:
    wrapper = WRAPPED[name]()
    logits, labels = tile(name, ignored=False)
    value = wrapper(logits, labels)[0]
    expected = wrapper.loss_func(logits, labels)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (value, expected)))


@pytest.mark.parametrize("name", ["cross-entropy", "a module of modules", "smp.DiceLoss"])
def test_the_trainer_of_hugging_face(name: str) -> None:
    logits, labels = tile(name)
    compute = as_compute_loss_func(WRAPPED[name]().loss_func)
    value = compute({"logits": logits}, torch.full_like(labels, -100), torch.tensor(64))
    assert value == 0
    assert torch.autograd.grad(value, logits)[0].eq(0).all()


def test_compiled_code_looks_too() -> None:
    loss = WRAPPED["cross-entropy"]()
    compiled = torch.compile(lambda p, t: loss(p, t)[0], fullgraph=True, backend="aot_eager")
    for ignored in (True, False):
        logits, labels = tile("cross-entropy", ignored=ignored)
        value, expected = compiled(logits, labels), loss(logits, labels)[0]
        torch.testing.assert_close(value, expected)
        gradients = (torch.autograd.grad(x, logits)[0] for x in (value, expected))
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("make", [nn.CrossEntropyLoss, nn.L1Loss, nn.BCEWithLogitsLoss])
def test_an_empty_batch_is_0(make: Callable[[], nn.Module]) -> None:
    logits = torch.zeros(0, 3, 4, requires_grad=True)
    is_map = make is nn.CrossEntropyLoss
    target = torch.zeros(0, 4, dtype=torch.long) if is_map else torch.zeros(0, 3, 4)
    value = LossWrapper(make())(logits, target)[0]
    value.backward()
    assert value == 0


def test_a_label_that_wraps_is_not_ignored() -> None:
    labels = torch.full((2, 4, 4), 156, dtype=torch.uint8)  # -100 in 8 bits
    loss = LossWrapper(lambda p, t: p.mean() + t.float().mean(), ignore_index=-100)
    assert loss(torch.zeros(2, 3, 4, 4), labels)[0] == 156
    assert [can_hold(torch.uint8, value) for value in (-1, 0, 255, 256)] == [0, 1, 1, 0]
