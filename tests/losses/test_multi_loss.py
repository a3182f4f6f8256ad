"""MultiLoss: the weighted sum, schedules, norms, pre-processes."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from segloss import LossWrapper, MultiLoss, SegLoss
from segloss.foundation.printable import is_noted

GT = "gt_polygons_image"


def batches() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return {"seg": torch.rand(2, 1, 6, dtype=torch.float64)}, {
        GT: torch.rand(2, 1, 6, dtype=torch.float64)
    }


def losses() -> list[nn.Module]:
    return [SegLoss(), LossWrapper(nn.MSELoss(), name="mse"), nn.L1Loss()]


def test_the_total_is_the_weighted_sum() -> None:
    pred, gt = batches()
    total, parts, extra = MultiLoss(losses(), [0.1, 2.0, 0.7])(pred, gt)
    expected = {
        "seg": SegLoss()(pred, gt)[0],
        "mse": nn.MSELoss()(pred["seg"], gt[GT]),
        "L1Loss": nn.L1Loss()(pred["seg"], gt[GT]),
    }
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-14
    )
    weighted = 0.1 * expected["seg"] + 2 * expected["mse"] + 0.7 * expected["L1Loss"]
    assert total.item() == pytest.approx(weighted.item(), rel=1e-14)
    assert set(extra) == set(parts)
    assert "dice" in extra["seg"]


def test_parts_are_detached_and_the_total_is_not() -> None:
    pred, gt = batches()
    pred["seg"].requires_grad_()
    total, parts, _ = MultiLoss(losses(), [1, 1, 1])(pred, gt)
    assert total.requires_grad
    assert not any(part.requires_grad for part in parts.values())


def test_norms_bring_losses_to_one_scale() -> None:
    pred, gt = batches()
    multi = MultiLoss(losses(), [1, 1, 1])
    multi.update_norm(pred, gt, 2)
    total, parts, _ = multi(pred, gt)
    assert [part.item() for part in parts.values()] == pytest.approx([1, 1, 1])
    assert total.item() == pytest.approx(3)
    plain = MultiLoss(losses(), [1, 1, 1])(pred, gt)[0]
    assert multi(pred, gt, normalize=False)[0].item() == pytest.approx(plain.item())
    multi.reset_norm()
    assert torch.equal(multi(pred, gt)[0], plain)


def test_normalisation_can_be_off_by_default() -> None:
    pred, gt = batches()
    multi = MultiLoss(losses(), [1, 1, 1], normalize_losses=False)
    multi.update_norm(pred, gt, 2)
    assert multi(pred, gt)[0].item() != pytest.approx(3)
    assert multi(pred, gt, normalize=True)[0].item() == pytest.approx(3)


def test_a_norm_that_fails_in_one_loss_changes_none() -> None:
    pred, gt = batches()
    infinite = LossWrapper(lambda p, t: (p / 0).mean(), "infinite")
    multi = MultiLoss([SegLoss(), infinite], [1, 1])
    with pytest.raises(ValueError, match="norm of 'infinite'"):
        multi.update_norm(pred, gt, 2)
    assert [loss.norm_count.item() for loss in multi.loss_funcs] == [0, 0]


def test_a_norm_that_can_not_divide_is_named_where_it_would() -> None:
    pred, _ = batches()
    multi = MultiLoss([SegLoss(), nn.MSELoss()], [1, 1])
    multi.update_norm(pred, {GT: pred["seg"]}, 2)
    with pytest.raises(ValueError, match="norm of 'MSELoss' must be a finite number above 1e-09"):
        multi(pred, {GT: pred["seg"]})
    assert multi(pred, {GT: pred["seg"]}, normalize=False)[0] > 0


def test_scheduled_weights_follow_the_epoch() -> None:
    pred, gt = batches()
    multi = MultiLoss(
        [SegLoss("a"), SegLoss("b")], [1.0, [0.0, 0.0, 1.0, 1.0]], epoch_thresholds=[0, 10, 20, 50]
    )
    value = SegLoss()(pred, gt)[0].item()
    for epoch, weight in [(0, 0), (10, 0), (15, 0.5), (12.5, 0.25), (20, 1), (99, 1), (-5, 0)]:
        assert multi(pred, gt, epoch=epoch)[0].item() == pytest.approx(value * (1 + weight))
        multi.set_epoch(epoch)
        assert multi(pred, gt)[0].item() == pytest.approx(value * (1 + weight))


def test_a_schedule_without_an_epoch_is_an_error() -> None:
    multi = MultiLoss([nn.L1Loss()], [[0.0, 1.0]], epoch_thresholds=[0, 5])
    with pytest.raises(ValueError, match=r"call set_epoch\(epoch\).* or pass epoch="):
        multi(*batches())


def test_current_weights_and_norms_come_back_from_a_state_dict() -> None:
    def make() -> MultiLoss:
        return MultiLoss([nn.L1Loss(), nn.MSELoss()], [1, [0.0, 1.0]], epoch_thresholds=[0, 5])

    pred, gt = batches()
    multi = make()
    multi.update_norm(pred, gt, 2)
    multi.set_epoch(3)
    resumed = make()
    resumed.load_state_dict(multi.state_dict())
    other = batches()
    assert torch.equal(resumed(*other)[0], multi(*other)[0])
    untouched = make()
    untouched.load_state_dict(make().state_dict())
    with pytest.raises(ValueError, match="no epoch is known"):
        untouched(*other)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_a_used_multi_loss_can_be_copied_and_pickled(copied) -> None:
    data = batches()
    multi = MultiLoss(losses(), [1, 1, [0.0, 1.0]], epoch_thresholds=[0, 5])
    multi.update_norm(*data, 2)
    multi(*data, epoch=2)
    assert torch.equal(copied(multi)(*data)[0], multi(*data)[0])


def test_constant_weights_are_those_of_the_config_not_of_the_checkpoint() -> None:
    saved = MultiLoss([nn.L1Loss(), nn.MSELoss()], [1, [0.0, 1.0]], epoch_thresholds=[0, 4])
    saved.set_epoch(1)
    resumed = MultiLoss([nn.L1Loss(), nn.MSELoss()], [3, [0.0, 1.0]], epoch_thresholds=[0, 4])
    resumed.load_state_dict(saved.state_dict())
    assert resumed.current_weights.tolist() == [3, 0.25]


def test_a_loss_follows_its_batch_to_another_device() -> None:
    multi = MultiLoss([SegLoss(from_logits=True)], [1])
    batch = torch.zeros(1, 1, 4, device="meta")
    assert multi(batch, batch)[0].device.type == "meta"


def test_a_weight_of_zero_keeps_its_loss_in_the_graph() -> None:
    head = nn.Parameter(torch.ones(()))
    multi = MultiLoss([LossWrapper(lambda p, t: head * p.mean(), "head"), nn.L1Loss()], [0, 1])
    multi(*batches())[0].backward()
    assert head.grad is not None
    assert head.grad.item() == 0


def test_pre_processes_run_in_order_once_and_leave_the_batches_alone() -> None:
    calls = []

    def double(pred_batch, gt_batch):
        calls.append("double")
        pred_batch["twice"] = 2 * pred_batch["seg"]
        return pred_batch, gt_batch

    class Clear(nn.Module):
        def forward(self, pred_batch, gt_batch):
            calls.append("clear")
            gt_batch["zero"] = torch.zeros_like(gt_batch[GT])
            return pred_batch, gt_batch

    pred, gt = batches()
    wrapped = [
        LossWrapper(nn.L1Loss(), name=name, pred_key="twice", gt_key="zero") for name in "ab"
    ]
    multi = MultiLoss(wrapped, [1, 1], pre_processes=[double, Clear()])
    assert multi(pred, gt)[0].item() == pytest.approx(4 * pred["seg"].mean().item())
    assert calls == ["double", "clear"]
    multi.update_norm(pred, gt, 2)
    assert calls == ["double", "clear"] * 2
    assert (set(pred), set(gt)) == ({"seg"}, {GT})


def test_a_pre_process_that_is_a_module_belongs_to_the_multi_loss() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(()))

        def forward(self, pred_batch, gt_batch):
            return pred_batch, gt_batch

    multi = MultiLoss([nn.L1Loss()], [1], pre_processes=[Scale()])
    assert any(name.endswith("scale") for name in multi.state_dict())


def test_a_criterion_of_a_multi_loss_takes_tensors() -> None:
    pred, gt = batches()
    multi = MultiLoss(losses(), [1, 1, [0.0, 1.0]], epoch_thresholds=[0, 5])
    criterion = multi.as_criterion()
    multi.set_epoch(2)
    assert torch.equal(criterion(pred["seg"], gt[GT]), multi(pred, gt)[0])


def test_a_compiled_multi_loss_is_not_compiled_again_when_weights_change() -> None:
    multi = MultiLoss(
        [SegLoss(n_classes=3, tversky_focal_coef=0.2), LossWrapper(nn.CrossEntropyLoss(), "ce")],
        [1.0, [0.0, 1.0]],
        epoch_thresholds=[0, 10],
    )
    counter = CompileCounter()
    compiled = torch.compile(lambda p, g: multi(p, g)[0], fullgraph=True, backend=counter)
    for epoch in (1, 4, 9):
        multi.set_epoch(epoch)
        logits, labels = torch.randn(2, 3, 6), torch.randint(0, 3, (2, 6))
        torch.testing.assert_close(compiled(logits, labels), multi(logits, labels)[0])
    assert counter.frame_count == 1


def test_float32_losses_give_a_float32_total() -> None:
    total, _, _ = MultiLoss([nn.L1Loss()], [0.1])(torch.rand(2, 1, 3), torch.rand(2, 1, 3))
    assert total.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: MultiLoss([nn.L1Loss()], [1, 2]), ValueError, "expected 1, got 2"),
        (lambda: MultiLoss([nn.L1Loss()], 1.0), ValueError, "one weight per loss"),
        (lambda: MultiLoss([], []), ValueError, "at least one loss"),
        (lambda: MultiLoss(nn.L1Loss(), [1]), TypeError, "must be a list of losses, got L1Loss"),
        (lambda: MultiLoss(["l1"], [1]), TypeError, "must be a module or a function, got 'l1'"),
        (lambda: MultiLoss([nn.L1Loss(), nn.L1Loss()], [1, 1]), ValueError, "unique.*'L1Loss'"),
        (lambda: MultiLoss([SegLoss()], [-1]), ValueError, "weight of 'seg' must be .* -1"),
        (lambda: MultiLoss([SegLoss()], [float("nan")]), ValueError, "must be a finite number"),
        (lambda: MultiLoss([SegLoss()], [[0, 1]]), ValueError, "needs epoch_thresholds"),
        (lambda: MultiLoss([SegLoss()], [[0, 1]], [3, 1]), ValueError, "must increase"),
        (lambda: MultiLoss([SegLoss()], [[0, 1]], [1, 2, 3]), ValueError, "expected 3 .* got 2"),
        (lambda: MultiLoss([SegLoss()], [1], pre_processes=[3]), TypeError, "list of callables"),
        (lambda: MultiLoss([SegLoss()], [1], pre_processes=[dict]), TypeError, "list of callables"),
        (
            lambda: MultiLoss([SegLoss()], [1], normalization_params=[1]),
            TypeError,
            "normalization_params must be a mapping",
        ),
        (lambda: MultiLoss([SegLoss()], [1], normalize_losses=1), TypeError, "True or False"),
        (
            lambda: MultiLoss([MultiLoss([SegLoss()], [1])], [1]),
            TypeError,
            "must not hold a MultiLoss",
        ),
    ],
)
def test_wrong_arguments_are_refused(make, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


def test_a_pre_process_must_return_both_batches() -> None:
    multi = MultiLoss([nn.L1Loss()], [1], pre_processes=[lambda p, g: p])
    with pytest.raises(TypeError, match=r"must return \(pred_batch, gt_batch\)"):
        multi(*batches())
    with pytest.raises(TypeError, match="need batches that are mappings, got Tensor"):
        multi(torch.rand(1, 1, 3), torch.rand(1, 1, 3))


@pytest.mark.parametrize("of_norm", [False, True], ids=["forward", "update_norm"])
def test_an_error_names_the_loss_that_raised_it(of_norm: bool) -> None:
    losses = [SegLoss("first", n_classes=3, ignore_index=255), SegLoss("second", n_classes=3)]
    multi = MultiLoss(losses, [1.0, 1.0])
    batch = torch.randn(1, 3, 4), torch.tensor([[0, 1, 2, 255]])
    with pytest.raises(ValueError, match="holds the label 255") as caught:
        multi.update_norm(*batch, nums=1) if of_norm else multi(*batch)
    assert is_noted(caught.value, "In the loss 'second'.")
    assert not is_noted(caught.value, "first")
