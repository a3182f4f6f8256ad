"""Data parallel is exact: real processes, compared with one that has the whole batch."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segloss import DeepSupervision, JaccardLoss, MultiLoss, SegLoss
from segloss.terms import TERMS
from tests.support.ranks import on_ranks

SAMPLES = 7
SHARES = {1: [7], 2: [5, 2], 3: [4, 1, 2], 4: [2, 3, 1, 1]}
"""How many samples each of so many ranks has."""

CASES = list(
    itertools.product(
        ["sigmoid", "softmax"],
        ["sample", "batch", "micro", "sample_micro"],
        ["plain", "ignored", "absent", "weighted", "nothing on rank 0"],
    )
)


def whole_batch(activation: str, kind: str) -> dict[str, Tensor]:
    torch.manual_seed(1)
    channels = 3
    shape = (SAMPLES, channels, 9, 8) if activation == "sigmoid" else (SAMPLES, 9, 8)
    target = torch.randint(0, 2 if activation == "sigmoid" else channels, shape)
    batch = {"image": torch.randn(SAMPLES, 2, 9, 8)}
    if kind == "ignored":
        target[torch.rand(target.shape) < 0.3] = 255
    if kind == "absent":  # of the first samples, so of ranks
        target[:4] = 0
    if kind == "weighted":
        batch["seg_loss_weights"] = torch.rand(SAMPLES, 1, 9, 8)
    if kind == "nothing on rank 0":
        target[:2] = 255
    maps = torch.randn(SAMPLES, channels, 9, 8)
    return {**batch, "gt_polygons_image": target, "gt_distance_map": maps, "gt_skeleton": maps > 0}


def make_loss(activation: str, reduction: str, kind: str, sync: bool) -> SegLoss:
    terms = {name: 0.1 for name in TERMS if name not in ("cross_entropy", "dice", "focal_tversky")}
    if reduction in ("micro", "sample_micro"):
        del terms["unified_focal"], terms["generalized_wasserstein_dice"]  # which refuse it
        if activation == "softmax":
            del terms["region_size_l1"], terms["region_size_kl"]  # likewise
    return SegLoss(
        n_classes=3,
        activation=activation,
        tversky_focal_coef=0.3,
        from_logits=True,
        region_reduction=reduction,
        skip_absent_classes=kind == "absent",
        ignore_index=255,
        class_weights=[1.0, 2.0, 0.5] if kind == "weighted" else None,
        extra_terms=terms,
        sync_statistics=sync,
    )


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 1))


def outcome(model: nn.Module, loss: nn.Module, batch: dict[str, Tensor]) -> tuple[Any, ...]:
    """The value, the extra information, and the parameters' gradients."""
    value, info = loss({"seg": model(batch["image"])}, batch)
    value.backward()
    return value.detach(), info, [parameter.grad for parameter in model.parameters()]


def share(batch: dict[str, Tensor], rank: int, ranks: int) -> dict[str, Tensor]:
    first = sum(SHARES[ranks][:rank])
    return {key: value[first : first + SHARES[ranks][rank]] for key, value in batch.items()}


def cases_of(ranks: int) -> list[tuple[str, str, str]]:
    """All cases on 2 ranks, and some on other numbers of ranks."""
    return CASES if ranks == 2 else CASES[::4]


def all_cases(rank: int, ranks: int) -> list[Any]:
    results = []
    for activation, reduction, kind in cases_of(ranks):
        model = DistributedDataParallel(make_model())
        loss = make_loss(activation, reduction, kind, sync=True)
        batch = share(whole_batch(activation, kind), rank, ranks)
        results.append(outcome(model, loss, batch))
    return results


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_rank_has_the_loss_and_gradients_of_the_whole_batch(
    ranks: int, tmp_path: Path
) -> None:
    results = on_ranks(ranks, tmp_path, all_cases)
    for index, (activation, reduction, kind) in enumerate(cases_of(ranks)):
        loss = make_loss(activation, reduction, kind, sync=False)
        value, info, gradients = outcome(make_model(), loss, whole_batch(activation, kind))
        for result in results:
            message = f"{activation}, {reduction}, {kind}"
            torch.testing.assert_close(result[index][0], value, rtol=1e-6, atol=0, msg=message)
            torch.testing.assert_close(result[index][1], info, rtol=1e-6, atol=1e-8, equal_nan=True)
            for ours, theirs in zip(result[index][2], gradients, strict=True):
                scale = 1e-5 * theirs.abs().max().item()
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=scale, msg=message)


def without_sync(rank: int, ranks: int) -> Tensor:
    batch = share(whole_batch("softmax", "plain"), rank, ranks)
    loss = make_loss("softmax", "batch", "plain", sync=False)
    return outcome(DistributedDataParallel(make_model()), loss, batch)[0]


def test_without_it_shards_have_other_losses(tmp_path: Path) -> None:
    first, second = on_ranks(2, tmp_path, without_sync)
    assert abs(first - second) > 1e-3


def counted(rank: int, ranks: int) -> list[list[int]]:
    """The sizes of what each case's forward and backward passes send, for two image sizes."""
    sent: list[int] = []
    reduce = dist.all_reduce

    def counting(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        sent.append(tensor.numel())
        return reduce(tensor, *args, **kwargs)

    dist.all_reduce = counting
    results = []
    for reduction, size in itertools.product(["sample", "batch"], [8, 64]):
        sent.clear()
        loss = SegLoss(
            n_classes=3, tversky_focal_coef=0.3, region_reduction=reduction, sync_statistics=True
        )
        logits = torch.randn(2, 3, size, size, requires_grad=True)
        loss(logits, torch.randint(0, 3, (2, size, size)))[0].backward()
        results.append(list(sent))
    return results


def test_one_small_collective_each_way_whatever_the_image_size(tmp_path: Path) -> None:
    sample_small, sample_large, batch_small, batch_large = on_ranks(2, tmp_path, counted)[0]
    assert sample_small == sample_large == [14, 14]  # 2 of cross-entropy, 2 x 2 x 3 of regions
    assert batch_small == batch_large == [32, 32]  # 2, and 2 x 5 x 3


def alone_on_rank_0(rank: int, ranks: int) -> list[float]:
    batch = share(whole_batch("softmax", "plain"), rank, ranks)
    loss = make_loss("softmax", "batch", "plain", sync=True)
    logits = torch.zeros(len(batch["image"]), 3, 9, 8)
    values = []
    if rank == 0:  # nobody answers
        with torch.no_grad():
            values.append(loss({"seg": logits}, batch)[0].item())
        loss.update_norm({"seg": logits}, batch, 1)
        values.append(loss.norm.item())
    both = copy.deepcopy(loss)
    both._add.in_eval = True
    with torch.no_grad():
        values.append(both({"seg": logits}, batch, normalize=False)[0].item())
    return values


def test_validation_and_norms_are_of_one_rank_unless_asked(tmp_path: Path) -> None:
    first, second = on_ranks(2, tmp_path, alone_on_rank_0, seconds=10)
    batch = whole_batch("softmax", "plain")
    loss = make_loss("softmax", "batch", "plain", sync=False)

    def value(count: int) -> float:
        part = {key: each[:count] for key, each in batch.items()}
        return loss({"seg": torch.zeros(count, 3, 9, 8)}, part)[0].item()

    assert first[:2] == pytest.approx([value(5), value(5)])
    assert first[2] == second[0] == pytest.approx(value(7))


def of_pairs(rank: int, ranks: int) -> Tensor:
    groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    loss = JaccardLoss(
        "multiclass",
        region_reduction="batch",
        sync_statistics=True,
        process_group=groups[rank // 2],
    )
    batch = share(whole_batch("softmax", "plain"), rank, ranks)
    logits = torch.zeros(len(batch["image"]), 3, 9, 8, requires_grad=True)
    return loss(logits, batch["gt_polygons_image"]).detach()


def test_a_process_group_of_some_ranks(tmp_path: Path) -> None:
    values = on_ranks(4, tmp_path, of_pairs)
    target = whole_batch("softmax", "plain")["gt_polygons_image"]
    loss = JaccardLoss("multiclass", region_reduction="batch")
    first, second = (
        loss(torch.zeros(5, 3, 9, 8), target[:5]),
        loss(torch.zeros(2, 3, 9, 8), target[5:]),
    )
    torch.testing.assert_close(values, [first, first, second, second])


def composed(rank: int, ranks: int) -> tuple[Tensor, list[Tensor]]:
    batch = share(whole_batch("softmax", "plain"), rank, ranks)
    return multi_outcome(DistributedDataParallel(make_model()), batch, sync=True)


def multi_outcome(
    model: nn.Module, batch: dict[str, Tensor], sync: bool
) -> tuple[Tensor, list[Tensor]]:
    options: Any = {"n_classes": 3, "use_mixup": True, "sync_statistics": sync}
    seg = SegLoss(region_reduction="batch", **options)
    deep = DeepSupervision(SegLoss("deep", pred_key="scales", **options))
    logits = model(batch["image"])
    mixed = {
        **batch,
        "mixup_y_a": batch["gt_polygons_image"],
        "mixup_y_b": (batch["gt_polygons_image"] + 1) % 3,
        "mixup_lam": torch.tensor(0.3),
    }
    predictions = {"seg": logits, "scales": [logits, logits[..., ::2, ::2]]}
    total, _, _ = MultiLoss([seg, deep], [1.0, 0.5])(predictions, mixed)
    total.backward()
    return total.detach(), [parameter.grad for parameter in model.parameters()]


def test_mixup_and_deep_supervision_are_exact_too(tmp_path: Path) -> None:
    results = on_ranks(2, tmp_path, composed)
    expected = multi_outcome(make_model(), whole_batch("softmax", "plain"), sync=False)
    for result in results:
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-7)


def dying(rank: int, ranks: int) -> str:
    loss = SegLoss(n_classes=3, sync_statistics=True)
    if rank == 1:
        return "gone"
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    try:
        loss(logits, torch.zeros(1, 4, 4, dtype=torch.long))
    except RuntimeError as error:
        return str(error)
    return "no error"


def dying_in_sync(rank: int, ranks: int) -> str:
    if rank == 1:
        return "gone"
    try:
        SegLoss().sync()
    except RuntimeError as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize("work", [dying, dying_in_sync])
def test_a_rank_that_is_gone_is_an_error_not_a_hang(work: Any, tmp_path: Path) -> None:
    message, gone = on_ranks(2, tmp_path, work, seconds=5, whole=False)
    assert gone == "gone"
    assert message != "no error"
    assert "onnect" in message or "imed out" in message or "gloo" in message


def test_nothing_happens_without_a_group() -> None:
    batch = whole_batch("softmax", "plain")
    values = [
        outcome(make_model(), make_loss("softmax", "batch", "plain", sync), batch)[0]
        for sync in (False, True)
    ]
    assert torch.equal(*values)


def test_copies_and_pickles() -> None:
    loss = SegLoss(sync_statistics=True)
    assert copy.deepcopy(loss)._add.enabled
    assert pickle.loads(pickle.dumps(loss))._add.enabled


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sync_statistics": 1}, TypeError, "sync_statistics must be True or False"),
        ({"sync_in_eval": None}, TypeError, "sync_in_eval must be True or False"),
        ({"process_group": "world"}, TypeError, "process_group must be a torch.distributed"),
        ({"sync_statistics": True, "reduction": "none"}, ValueError, "use reduction='mean'"),
    ],
)
def test_wrong_arguments_are_refused(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        JaccardLoss(**options)
