"""The contract of a loss: norms, extra information, batches, criterion, citizenship."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor

from segloss import Loss, MissingKeyError, SegLoss


class MeanLoss(Loss):
    """The mean of the prediction."""

    def compute(self, pred_batch, gt_batch) -> Tensor:
        self.extra_info["seen"] = pred_batch["seg"]
        return pred_batch["seg"].mean()


def batch(value: float, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {"seg": torch.full((2, 1, 3), value, dtype=dtype)}


def test_the_norm_is_one_before_the_first_update() -> None:
    loss = MeanLoss("mean")
    assert loss.norm.item() == 1
    assert loss(batch(3.0), {})[0].item() == 3


def test_the_norm_is_the_average_weighted_by_nums() -> None:
    loss = MeanLoss("mean")
    for value, nums in [(2.0, 8), (4.0, 8), (9.0, 1)]:
        loss.update_norm(batch(value), {}, nums)
    assert loss.norm.item() == pytest.approx((2 * 8 + 4 * 8 + 9) / 17, rel=1e-14)
    assert loss(batch(57.0), {})[0].item() == pytest.approx(17)
    assert loss(batch(57.0), {}, normalize=False)[0].item() == 57


def test_many_updates_are_a_true_average() -> None:
    loss, values = MeanLoss("mean"), torch.rand(500, dtype=torch.float64)
    for value in values.tolist():
        loss.update_norm(batch(value, torch.float64), {}, 2)
    assert loss.norm.item() == pytest.approx(values.mean().item(), rel=1e-12)


def test_reset_norm_forgets_all_batches() -> None:
    loss = MeanLoss("mean")
    loss.update_norm(batch(5.0), {}, 1)
    loss.reset_norm()
    loss.update_norm(batch(3.0), {}, 1)
    assert loss.norm.item() == 3


def test_an_update_keeps_no_graph_and_leaves_no_extra_information() -> None:
    loss = MeanLoss("mean")
    loss.update_norm({"seg": torch.rand(1, 1, 3, requires_grad=True)}, {}, 1)
    assert not loss.norm.requires_grad
    assert loss.extra_info == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused_and_changes_nothing(value: float) -> None:
    loss = MeanLoss("mean")
    with pytest.raises(ValueError, match=r"norm of 'mean' must be a finite number above 1e-09"):
        loss.update_norm(batch(value), {}, 1)
    assert (loss.norm.item(), loss.norm_count.item()) == (1, 0)


@pytest.mark.parametrize("value", [0.0, 1e-10, -1.0])
def test_a_norm_that_can_not_divide_is_refused_where_it_would(value: float) -> None:
    loss = MeanLoss("mean")
    loss.update_norm(batch(value), {}, 1)
    with pytest.raises(ValueError, match=r"norm of 'mean' must be a finite number above 1e-09"):
        loss(batch(2.0), {})
    assert loss(batch(2.0), {}, normalize=False)[0] == 2
    loss.update_norm(batch(3 - value), {}, 1)  # another batch may mend it
    assert loss(batch(3.0), {})[0].item() == pytest.approx(2)


@pytest.mark.parametrize("nums", [0, -1, float("nan"), "2"])
def test_nums_is_a_number_above_zero(nums) -> None:
    with pytest.raises((TypeError, ValueError), match="nums must be"):
        MeanLoss("mean").update_norm(batch(1.0), {}, nums)


def test_sync_is_a_no_op_where_nothing_is_distributed() -> None:
    loss = MeanLoss("mean")
    loss.update_norm(batch(5.0), {}, 2)
    loss.sync()
    loss.sync(world_size=4)
    assert (loss.norm.item(), loss.norm_count.item()) == (5, 2)
    with pytest.raises(ValueError, match="world_size must be at least 1"):
        loss.sync(0)


def test_normalising_keeps_the_dtype_of_the_loss() -> None:
    for dtype in (torch.float32, torch.float64):
        assert MeanLoss("mean")(batch(1.0, dtype), {})[0].dtype == dtype


def test_extra_information_is_detached_and_emptied_after_each_call() -> None:
    loss = MeanLoss("mean")
    _, extra = loss({"seg": torch.rand(1, 1, 3, requires_grad=True)}, {})
    assert not extra["seen"].requires_grad
    assert loss.extra_info == {}


def test_extra_information_is_emptied_after_an_error() -> None:
    class Failing(MeanLoss):
        def compute(self, pred_batch, gt_batch) -> Tensor:
            super().compute(pred_batch, gt_batch)
            raise RuntimeError("broken")

    loss = Failing("failing")
    with pytest.raises(RuntimeError, match="broken"):
        loss(batch(1.0), {})
    assert loss.extra_info == {}


def test_compute_must_be_written() -> None:
    with pytest.raises(NotImplementedError, match=r"Loss must define compute\(\)"):
        Loss("empty")({}, {})


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (0.5, TypeError, "'bad' must return a tensor, got float"),
        (torch.rand(3), ValueError, r"'bad' must return a scalar, got a tensor of shape \(3,\)"),
    ],
)
def test_compute_must_return_a_scalar(value, kind, words: str) -> None:
    class Bad(Loss):
        def compute(self, pred_batch, gt_batch):
            return value

    for use in (Bad("bad"), lambda p, g: Bad("bad").update_norm(p, g, 1)):
        with pytest.raises(kind, match=words):
            use({}, {})


def test_extra_information_is_detached_at_any_depth() -> None:
    class Deep(MeanLoss):
        def compute(self, pred_batch, gt_batch) -> Tensor:
            self.extra_info["maps"] = {"all": [pred_batch["seg"]]}
            return pred_batch["seg"].mean()

    _, extra = Deep("deep")({"seg": torch.rand(1, 1, 3, requires_grad=True)}, {})
    assert not extra["maps"]["all"][0].requires_grad


@pytest.mark.parametrize(("name", "kind"), [("", ValueError), (3, TypeError), (None, TypeError)])
def test_a_name_is_a_text(name, kind) -> None:
    with pytest.raises(kind, match="name must"):
        MeanLoss(name)


def seg_batch() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    pred = {"seg": torch.randn(2, 1, 5, requires_grad=True)}
    return pred, {"gt_polygons_image": torch.randint(0, 2, (2, 1, 5))}


def used_loss() -> SegLoss:
    loss = SegLoss(from_logits=True, pos_weight=2.0, tversky_focal_coef=0.2)
    loss(*seg_batch())
    loss.update_norm(*seg_batch(), 2)
    return loss


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_a_used_loss_can_be_copied_and_pickled(copied) -> None:
    loss, data = used_loss(), seg_batch()
    assert torch.equal(copied(loss)(*data)[0], loss(*data)[0])


def test_a_norm_comes_back_from_a_checkpoint_loaded_with_weights_only() -> None:
    loss, file = used_loss(), io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    other = SegLoss(from_logits=True, pos_weight=2.0, tversky_focal_coef=0.2)
    other.load_state_dict(torch.load(file, weights_only=True))
    data = seg_batch()
    assert torch.equal(other(*data)[0], loss(*data)[0])


def test_a_loss_works_with_deterministic_algorithms() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        pred = torch.randn(2, 3, 5, requires_grad=True)
        SegLoss(n_classes=3)(pred, torch.randint(0, 3, (2, 5)))[0].backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_loss_does_not_change_its_inputs() -> None:
    pred, gt = seg_batch()
    before = {key: value.clone() for key, value in {**pred, **gt}.items()}
    used_loss()(pred, gt)
    assert set(pred) == {"seg"}
    assert set(gt) == {"gt_polygons_image"}
    assert all(torch.equal({**pred, **gt}[key], value) for key, value in before.items())


def test_bare_tensors_stand_for_batches() -> None:
    pred, gt = seg_batch()
    loss = used_loss()
    assert torch.equal(loss(pred["seg"], gt["gt_polygons_image"])[0], loss(pred, gt)[0])


def test_a_criterion_is_the_loss_as_a_function_of_tensors() -> None:
    pred, gt = seg_batch()
    loss = used_loss()
    criterion = loss.as_criterion()
    assert torch.equal(criterion(pred["seg"], gt["gt_polygons_image"]), loss(pred, gt)[0])
    assert "loss.norm" in criterion.state_dict()


def test_missing_keys_are_named_with_those_that_there_are() -> None:
    pred, gt = seg_batch()
    for kind in (KeyError, ValueError, MissingKeyError):
        with pytest.raises(kind, match=r"pred_batch must have the key 'seg'; .* are: 'out'"):
            SegLoss()({"out": pred["seg"]}, gt)
    with pytest.raises(MissingKeyError, match=r"gt_batch must have the key 'gt_polygons_image'"):
        SegLoss()(pred, {})


@pytest.mark.parametrize(
    ("pred_batch", "words"),
    [
        ({"seg": [1.0]}, r"pred_batch\['seg'\] must be a tensor, got list"),
        ([torch.rand(1)], "pred_batch must be a mapping of names to tensors or a tensor, got list"),
        (None, "pred_batch must be a mapping"),
    ],
)
def test_batches_of_wrong_types_are_refused(pred_batch, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        SegLoss()(pred_batch, seg_batch()[1])


def test_autocast_leaves_the_loss_in_float32() -> None:
    logits, labels = torch.randn(2, 3, 40), torch.randint(0, 3, (2, 40))
    loss = SegLoss(n_classes=3, tversky_focal_coef=1, use_label_smooth=True, smooth_factor=0.1)

    def value_and_gradient() -> tuple[Tensor, Tensor]:
        x = logits.clone().requires_grad_()
        value = loss(x, labels)[0]
        value.backward()
        assert x.grad is not None
        return value, x.grad

    expected, expected_gradient = value_and_gradient()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, gradient = value_and_gradient()
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)
