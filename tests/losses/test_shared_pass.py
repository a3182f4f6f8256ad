"""Losses of a MultiLoss that look at the same pixels in the same way share one pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segloss import CompoundLoss, DeepSupervision, Loss, LossWrapper, MultiLoss, SegLoss
from segloss.terms import MCC, CrossEntropy, Dice, Focal, FocalTversky
from tests.support.ranks import on_ranks
from tests.support.versions import TORCH_2_4

WEIGHTS = [1.0, [0.0, 0.5], 0.3]


def one_term_losses(n_classes: int, **options: Any) -> list[SegLoss]:
    options = {"n_classes": n_classes, "from_logits": True, **options}
    terms = {"ce": CrossEntropy(), "dice": Dice(), "tversky": FocalTversky()}
    return [SegLoss(name, terms=1.0 * term, **options) for name, term in terms.items()]


def multi(losses: list[Any]) -> MultiLoss:
    weights = WEIGHTS[: len(losses)] + [0.2] * (len(losses) - 3)
    result = MultiLoss(losses, weights, epoch_thresholds=[0, 10])
    for place, loss in enumerate(result.loss_funcs):
        loss.norm.fill_(0.5 + place)
    return result


def batch_of(n_classes: int, **more: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    logits = torch.randn(3, n_classes, 9, 7, requires_grad=True)
    shape = (3, 2, 9, 7) if n_classes == 2 else (3, 9, 7)
    return {"seg": logits}, {"gt_polygons_image": torch.randint(0, n_classes, shape), **more}


def passes(run: Callable[[], Any], logits: Tensor) -> int:
    """How many passes keep the logits for their backward pass."""
    storages = []

    def pack(tensor: Tensor) -> Tensor:
        storages.append(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return storages.count(logits.untyped_storage().data_ptr())


def assert_as_alone(losses: list[Loss], pred: Any, gt: Any, logits: Tensor, epoch: float) -> None:
    """The MultiLoss is the sum of its losses, each computed by itself."""
    multi_loss = multi(losses)
    total, values, infos = multi_loss(pred, gt, epoch=epoch)
    [gradient] = torch.autograd.grad(total, logits, retain_graph=True)
    weights = multi_loss.current_weights.tolist()
    expected = torch.zeros((), dtype=torch.float64)
    for weight, loss in zip(weights, multi_loss.loss_funcs, strict=True):
        value, info = loss(pred, gt)
        expected = expected + weight * value
        torch.testing.assert_close(values[loss.name], value.detach(), rtol=1e-6, atol=1e-9)
        assert infos[loss.name].keys() == info.keys()
        for name, entry in info.items():
            torch.testing.assert_close(infos[loss.name][name], entry, rtol=1e-6, atol=1e-9)
    [expected_gradient] = torch.autograd.grad(expected, logits, retain_graph=True)
    torch.testing.assert_close(total.double(), expected, rtol=1e-6, atol=1e-9)
    scale = expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("epoch", [0, 4.0, 10])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_three_losses_take_one_pass(n_classes: int, epoch: float) -> None:
    pred, gt = batch_of(n_classes)
    losses = one_term_losses(n_classes)
    assert_as_alone(losses, pred, gt, pred["seg"], epoch)
    multi_loss = multi(losses)
    assert passes(lambda: multi_loss(pred, gt, epoch=epoch), pred["seg"]) == 1
    assert passes(lambda: multi_loss.losses(pred, gt, epoch=epoch), pred["seg"]) == 1


SAME = {
    "masked": {"ignore_index": 255},
    "weighted": {"class_weights": [1.0, 2.0, 0.5, 1.0]},
    "smoothed": {"use_label_smooth": True, "smooth_factor": 0.1},
    "selected": {"pred_channel_selector": [0, 1, 2, 3]},
    "of other keys": {"weight_key": "w"},
    "of all regions pooled": {},
}


@pytest.mark.parametrize("name", SAME)
def test_options_that_are_the_same_share(name: str) -> None:
    pred, gt = batch_of(4, w=torch.rand(3, 1, 9, 7), seg_loss_weights=torch.rand(3, 1, 9, 7))
    gt["gt_polygons_image"][0, :2] = 255 if name == "masked" else 0
    losses = one_term_losses(4, **SAME[name])
    terms = MCC(region_reduction="batch") + 0.1 * Focal()
    losses.append(SegLoss("more", n_classes=4, terms=terms, **SAME[name]))
    assert_as_alone(losses, pred, gt, pred["seg"], 5)
    assert passes(lambda: multi(losses)(pred, gt, epoch=5), pred["seg"]) == 1


OTHER = {
    "ignore_index": {"ignore_index": 254},
    "weights": {"class_weights": [1.0, 2.0, 0.5, 1.1]},
    "smoothing": {"use_label_smooth": True, "smooth_factor": 0.2},
    "activation": {"activation": "sigmoid"},
    "selector": {"pred_channel_selector": [0, 1, 2, 3]},
    "weight_key": {"weight_key": "w"},
    "sync": {"sync_statistics": True},
    "partial labels": {"merge_unannotated": True},
}


@pytest.mark.parametrize("name", OTHER)
def test_options_that_differ_do_not(name: str) -> None:
    pred, gt = batch_of(4, w=torch.rand(3, 1, 9, 7))
    if name == "activation":
        gt["gt_polygons_image"] = torch.rand(3, 4, 9, 7).round()
        losses = one_term_losses(4, activation="softmax")
    else:
        losses = one_term_losses(4)
    losses[1] = SegLoss("dice", n_classes=4, terms=1.0 * Dice(), **OTHER[name])
    multi_loss = multi(losses)
    logits = pred["seg"]
    if name not in ("selector", "activation"):  # which keep what they make of the logits
        assert passes(lambda: multi_loss(pred, gt, epoch=5), logits) == 2
    assert_as_alone(losses, pred, gt, logits, 5)


def test_other_losses_are_as_they_are() -> None:
    pred, gt = batch_of(4)
    losses: list[Any] = one_term_losses(4)
    losses.insert(1, LossWrapper(nn.CrossEntropyLoss(), name="torch"))
    losses.append(LossWrapper(CompoundLoss(Dice(), "multiclass"), name="compound"))

    class Doubled(SegLoss):
        def compute(self, pred_batch: Any, gt_batch: Any) -> Tensor:
            return 2 * super().compute(pred_batch, gt_batch)

    losses.append(Doubled("doubled", n_classes=4, dice_coef=0))
    multi_loss = MultiLoss(losses, [1.0] * len(losses))
    total, values, infos = multi_loss(pred, gt)
    assert list(values) == list(infos) == ["ce", "torch", "dice", "tversky", "compound", "doubled"]
    torch.testing.assert_close(values["ce"], values["torch"])
    torch.testing.assert_close(values["dice"], values["compound"])
    torch.testing.assert_close(values["doubled"], values["ce"])
    torch.testing.assert_close(total, sum(values.values()))


def test_a_loss_with_a_hook_or_a_forward_of_its_own_is_called() -> None:
    pred, gt = batch_of(4)
    losses = one_term_losses(4)
    seen = []
    handle = losses[1].register_forward_hook(lambda *call: seen.append(call[2][0].item()))

    class Doubled(SegLoss):
        def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, dict[str, Any]]:
            value, info = super().forward(*args, **kwargs)
            return 2 * value, info

    losses[2] = Doubled("tversky", n_classes=4, terms=1.0 * FocalTversky())
    multi_loss = multi(losses)
    total, values, _ = multi_loss(pred, gt, epoch=5)
    assert len(seen) == 1
    assert passes(lambda: multi_loss(pred, gt, epoch=5), pred["seg"]) == 3
    assert_as_alone(losses, pred, gt, pred["seg"], 5)
    handle.remove()
    assert passes(lambda: multi_loss(pred, gt, epoch=5), pred["seg"]) == 2
    again, _, _ = multi_loss(pred, gt, epoch=5)
    torch.testing.assert_close(again, total)
    expected = SegLoss(n_classes=4, terms=1.0 * FocalTversky())(pred, gt)[0]
    torch.testing.assert_close(values["tversky"], 2 * expected / losses[2].norm.float())


@pytest.mark.parametrize("n_classes", [2, 4])
def test_mixup_takes_two_passes_for_all(n_classes: int) -> None:
    losses = one_term_losses(n_classes, use_mixup=True)
    pred, gt = batch_of(n_classes)
    _, mixed = losses[0].mixup(torch.rand(3, 1, 9, 7), gt)
    assert_as_alone(losses, pred, mixed, pred["seg"], 5)
    assert passes(lambda: multi(losses)(pred, mixed, epoch=5), pred["seg"]) == 2


def test_deep_supervision_takes_a_pass_for_each_scale() -> None:
    _, gt = batch_of(4)
    fine = torch.randn(3, 4, 9, 7, requires_grad=True)
    coarse = nn.functional.avg_pool2d(fine, 2)
    losses = [DeepSupervision(loss) for loss in one_term_losses(4)]
    assert_as_alone(losses, [fine, coarse], gt, fine, 5)
    multi_loss = multi(losses)
    assert passes(lambda: multi_loss([fine, coarse], gt, epoch=5), fine) == 1
    assert passes(lambda: multi_loss([fine, coarse], gt, epoch=5), coarse) == 1
    others = [*losses[:2], DeepSupervision(one_term_losses(4)[2], weights=[1, 0])]
    assert_as_alone(others, [fine, nn.functional.avg_pool2d(fine, 2)], gt, fine, 5)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_compiled_one_takes_one_pass_too(n_classes: int) -> None:
    pred, gt = batch_of(n_classes)
    losses = one_term_losses(n_classes)
    losses.append(SegLoss("mcc", None, n_classes, terms=1.0 * MCC(), from_logits=True))
    multi_loss = multi(losses)
    multi_loss.set_epoch(5)
    expected = torch.autograd.grad(multi_loss(pred, gt)[0], pred["seg"])[0]
    found = []

    def backend(module: Any, _: Any) -> Any:
        found.extend(str(node.target) for node in module.graph.nodes)
        return module

    torch._dynamo.reset()
    compiled = torch.compile(lambda p, g: multi_loss(p, g)[0], fullgraph=True, backend=backend)
    value = compiled(pred, gt)
    torch.testing.assert_close(value, multi_loss(pred, gt)[0])
    if not TORCH_2_4:  # whose compiler takes each for a loss with a forward of its own
        assert len([name for name in found if "segloss.run" in name]) == 1
    torch._dynamo.reset()
    compiled = torch.compile(lambda p, g: multi_loss(p, g)[0], fullgraph=True, backend="aot_eager")
    [gradient] = torch.autograd.grad(compiled(pred, gt), pred["seg"])
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


def test_a_mixture_that_changes_is_seen() -> None:
    pred, gt = batch_of(4)
    losses = one_term_losses(4)
    multi_loss = multi(losses)
    multi_loss(pred, gt, epoch=5)
    losses[1].mixture = 2.0 * Dice(region_classes=[1])
    assert_as_alone(losses, pred, gt, pred["seg"], 5)
    total = multi_loss(pred, gt, epoch=5)[0]
    torch.testing.assert_close(total, multi(losses)(pred, gt, epoch=5)[0])


def test_weights_that_change_are_seen() -> None:
    pred, gt = batch_of(4)
    losses = one_term_losses(4, class_weights=[1.0, 2.0, 3.0, 4.0])
    assert passes(lambda: multi(losses)(pred, gt, epoch=5), pred["seg"]) == 1
    losses[0].class_weights.mul_(torch.tensor([1.0, 2.0, 1.0, 1.0]))
    assert passes(lambda: multi(losses)(pred, gt, epoch=5), pred["seg"]) == 2
    assert_as_alone(losses, pred, gt, pred["seg"], 5)


def test_a_loss_that_is_not_finite_leaves_the_others() -> None:
    pred, gt = batch_of(4)

    class Infinite(Dice):
        name = "infinite"

        def cell_loss(self, confusion: Any) -> Tensor:
            return super().cell_loss(confusion) * torch.inf

    losses = one_term_losses(4)
    losses[2] = SegLoss("tversky", n_classes=4, terms=1.0 * Infinite())
    _, values, _ = multi(losses)(pred, gt, epoch=5)
    assert values["ce"].isfinite()
    assert values["dice"].isfinite()
    assert values["tversky"].isinf()


def test_norms_take_one_pass_and_are_those_of_single_losses() -> None:
    pred, gt = batch_of(4)
    multi_loss = MultiLoss(one_term_losses(4), [1.0, 1.0, 1.0])
    multi_loss.update_norm(pred, gt, nums=3)
    for loss, alone in zip(multi_loss.loss_funcs, one_term_losses(4), strict=True):
        alone.update_norm(pred, gt, nums=3)
        torch.testing.assert_close(loss.norm, alone.norm, rtol=1e-6, atol=0)
        assert loss.norm_count == 3


def on_a_rank(rank: int, ranks: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    pred, gt = batch_of(4)
    share = slice(2 * rank, 2 * rank + 2)
    logits = pred["seg"][share].detach().requires_grad_()
    multi_loss = multi(one_term_losses(4, sync_statistics=True))
    gt = {"gt_polygons_image": gt["gt_polygons_image"][share]}
    total, _, _ = multi_loss({"seg": logits}, gt, epoch=5)
    return total.detach(), torch.autograd.grad(total, logits)[0]


def test_over_ranks_it_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    results = on_ranks(2, tmp_path, on_a_rank)
    torch.manual_seed(0)
    pred, gt = batch_of(4)
    total, _, _ = multi(one_term_losses(4))(pred, gt, epoch=5)
    [expected] = torch.autograd.grad(total, pred["seg"])
    for value, _ in results:
        torch.testing.assert_close(value, total.detach(), rtol=1e-6, atol=0)
    gradient = torch.cat([each for _, each in results]) / 2  # as DistributedDataParallel averages
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)
