"""Norms are averages over batches, up to a number of samples, of all ranks."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segloss import CompoundLoss, DeepSupervision, LossWrapper, MultiLoss, SegLoss
from segloss import TopKCrossEntropyLoss as TopK
from segloss.terms import TERMS, CrossEntropy
from segloss.training.norms import compute_norms
from tests.support.ranks import on_ranks

Pair = tuple[Tensor, Tensor]


def l1(name: str = "l1") -> LossWrapper:
    return LossWrapper(nn.L1Loss(), name)


def batches(values: list[float], size: int = 2) -> list[Pair]:
    return [(torch.full((size, 1), value), torch.zeros(size, 1)) for value in values]


def test_the_norm_is_the_average_over_the_samples() -> None:
    loss = l1()
    uneven = [*batches([2.0], size=3), *batches([6.0], size=1)]
    assert compute_norms(loss, uneven) == 4
    assert loss.norm.item() == 3
    assert loss.norm_count.item() == 4


@pytest.mark.parametrize("reduction", ["sample", "batch"])
def test_the_losses_of_batches_weigh_as_many_samples_as_said(reduction: str) -> None:
    loss = SegLoss(from_logits=True, region_reduction=reduction)
    pairs = [(torch.randn(1, 1, 8, 8), torch.randint(0, 2, (1, 8, 8))) for _ in range(2)]
    for pair, nums in zip(pairs, (1, 3), strict=True):
        loss.update_norm(*pair, nums)
    first, second = (loss(*pair, normalize=False)[0].item() for pair in pairs)
    assert loss.norm.item() == pytest.approx((first + 3 * second) / 4, rel=1e-6)


def test_norms_from_before_are_forgotten() -> None:
    loss = l1()
    compute_norms(loss, batches([100.0]))
    compute_norms(loss, batches([2.0]))
    assert loss.norm.item() == 2


def test_several_losses_see_the_same_batches() -> None:
    one, several = l1(), MultiLoss([l1("a"), LossWrapper(nn.MSELoss(), "b")], [1, 1])
    assert compute_norms([one, several], iter(batches([1.0, 3.0]))) == 4
    assert [one.norm.item(), *(loss.norm.item() for loss in several.loss_funcs)] == [2, 2, 5]


@pytest.mark.parametrize(("most", "seen"), [(1, 2), (2, 2), (3, 4), (100, 6), (None, 6)])
def test_whole_batches_are_taken_until_there_are_enough(most: Any, seen: int) -> None:
    asked = []

    def counted() -> Iterator[Pair]:
        for pair in batches([1.0, 1.0, 1.0]):
            asked.append(pair)
            yield pair

    assert compute_norms(l1(), counted(), most) == seen
    assert len(asked) == seen // 2


def test_normalization_params_say_how_many_unless_told() -> None:
    loss = MultiLoss([l1()], [1], normalization_params={"max_samples": 2, "min_samples": 1})
    assert compute_norms(loss, batches([1.0] * 4)) == 2
    assert compute_norms(loss, batches([1.0] * 4), max_samples=5) == 6
    loss = MultiLoss([l1()], [1], normalization_params={"min_samples": 3})
    with pytest.raises(ValueError, match=r"at least min_samples=3 samples .* got 2"):
        compute_norms(loss, batches([1.0]))


def test_at_most_a_thousand_samples_by_default() -> None:
    assert compute_norms(l1(), batches([1.0] * 30, size=100)) == 1000


def test_batches_may_be_mappings_and_lists() -> None:
    class Scales(nn.Module):
        def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
            return (prediction - target).abs().mean()

    loss = LossWrapper(Scales(), pred_key="out")
    pred = {"nothing": None, "scales": [torch.ones(3, 1)], "out": torch.ones(3, 1)}
    assert compute_norms(loss, [(pred, {"gt_polygons_image": torch.zeros(3, 1)})]) == 3


def test_nothing_has_a_gradient() -> None:
    weight = torch.ones((), requires_grad=True)
    seen = []

    def inputs() -> Iterator[Pair]:
        for x, y in batches([1.0]):
            seen.append(weight * x)
            yield seen[-1], y

    compute_norms(l1(), inputs())
    assert not seen[0].requires_grad


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"max_samples": 0}, ValueError, "max_samples must be at least 1, got 0"),
        ({"max_samples": 1.5}, TypeError, "max_samples must be an int"),
        ({"min_samples": -1}, ValueError, "min_samples must be at least 0"),
        ({"max_samples": 5, "min_samples": 6}, ValueError, "at most max_samples=5, got 6"),
        ({"min_samples": 7}, ValueError, r"at least min_samples=7 samples .*, got 6"),
        ({"batches": []}, ValueError, r"at least min_samples=1 samples .*, got 0"),
        ({"batches": [({}, {})]}, ValueError, "at least one tensor of at least one sample"),
        ({"batches": batches([0.0])}, ValueError, "finite number above 1e-09"),
    ],
)
def test_mistakes_are_named_and_leave_no_norm(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    loss = l1()
    with pytest.raises(error, match=words):
        compute_norms(loss, **{"batches": batches([1.0, 2.0, 3.0]), **given})
    assert (loss.norm.item(), loss.norm_count.item()) == (1, 0)


def test_a_setting_of_the_config_is_checked() -> None:
    loss = MultiLoss([l1()], [1], normalization_params={"max_samples": "many"})
    with pytest.raises(TypeError, match=r"normalization_params\['max_samples'\] must be an int"):
        compute_norms(loss, batches([1.0]))


# The same norm from the same tiles, in any order and in batches of any sizes


def tiles(kind: str = "multiclass") -> tuple[Tensor, dict[str, Tensor]]:
    """Six tiles: two without labels, one of which a half is ignored, one without class 2."""
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (6, 8, 8))
    labels[1::3] = 255
    labels[2, :4] = 255
    labels[3] %= 2
    maps = {"gt_distance_map": torch.rand(6, 3, 8, 8), "gt_skeleton": torch.ones(6, 3, 8, 8)}
    weights = torch.rand(6, 1, 8, 8) + 0.1
    return torch.randn(6, 3, 8, 8), {
        "gt_polygons_image": labels,
        "seg_loss_weights": weights,
    } | maps


def cut(sizes: list[int], order: list[int]) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    logits, given = tiles()
    parts = torch.tensor(order).split(sizes)
    return [({"seg": logits[i]}, {key: value[i] for key, value in given.items()}) for i in parts]


WHOLE = cut([6], [0, 1, 2, 3, 4, 5])
BATCHINGS = {
    "another order": ([1] * 6, [5, 4, 3, 2, 1, 0]),
    "tiles without labels first": ([1] * 6, [1, 4, 0, 2, 3, 5]),
    "uneven batches": ([1, 3, 2], [4, 0, 1, 2, 3, 5]),
}
MASKED: dict[str, Any] = {"n_classes": 3, "ignore_index": 255}


def terms_of_a_sample() -> dict[str, SegLoss]:
    """A loss of each term, of terms that are means over pixels or over cells of a sample."""
    return {
        name: SegLoss(name, terms={name: 2.0}, **MASKED) for name in TERMS if name != "boundary"
    }


@pytest.mark.parametrize("batching", BATCHINGS)
@pytest.mark.parametrize("name", terms_of_a_sample())
def test_the_norm_of_a_term_is_its_loss_over_all_tiles(name: str, batching: str) -> None:
    loss = terms_of_a_sample()[name]
    expected = loss(*WHOLE[0])[0].item()
    compute_norms(loss, cut(*BATCHINGS[batching]))
    assert loss.norm.item() == pytest.approx(expected, rel=1e-6)


OPTIONS: dict[str, dict[str, Any]] = {
    "of several terms": {"tversky_focal_coef": 0.3},
    "class weights": {"class_weights": [1, 2, 0], "region_class_weights": [1, 2, 3]},
    "absent classes": {"skip_absent_classes": True, "region_classes": [2], "bce_coef": 0.1},
}


@pytest.mark.parametrize("batching", BATCHINGS)
@pytest.mark.parametrize("name", OPTIONS)
def test_the_norm_of_a_mixture_is_its_loss_over_all_tiles(name: str, batching: str) -> None:
    losses = [SegLoss("a", **MASKED, **OPTIONS[name]), SegLoss("b", **MASKED, **OPTIONS[name])]
    losses[1].mixture = 1.0 * CrossEntropy()
    expected = [loss(*WHOLE[0])[0].item() for loss in losses]
    multi = MultiLoss(losses, [1.0, 0.0])
    compute_norms(multi, cut(*BATCHINGS[batching]))
    assert [loss.norm.item() for loss in losses] == pytest.approx(expected, rel=1e-6)
    alone = copy.deepcopy(losses[0])
    compute_norms(alone, cut(*BATCHINGS[batching]))
    assert alone.norm.item() == pytest.approx(expected[0], rel=1e-6)


class Twice(SegLoss):
    def compute(self, pred_batch: Any, gt_batch: Any) -> Tensor:
        return 2 * super().compute(pred_batch, gt_batch)


def hooked() -> SegLoss:
    loss = SegLoss(**MASKED)
    loss.register_forward_hook(lambda *_: None)
    return loss


OTHERS: dict[str, Callable[[], Any]] = {
    "a wrapped loss": lambda: LossWrapper(nn.CrossEntropyLoss(ignore_index=255)),
    "a wrapped compound loss": lambda: LossWrapper(
        CompoundLoss({"cross_entropy": 1, "dice": 1}, "multiclass", ignore_index=255)
    ),
    "the largest values": lambda: LossWrapper(TopK(ignore_index=255, k=50)),
    "pooled regions": lambda: SegLoss(region_reduction="batch", bce_coef=0, **MASKED),
    "all pooled": lambda: SegLoss(region_reduction="micro", bce_coef=0, **MASKED),
    "deep supervision": lambda: DeepSupervision(SegLoss(**MASKED)),
    "a subclass": lambda: Twice(**MASKED),
    "a loss with a hook": hooked,
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_loss_forgets_tiles_without_labels_and_their_order(name: str) -> None:
    pairs, norms = cut([1] * 6, [0, 1, 2, 3, 4, 5]), set()
    for order in ([0, 1, 2, 3, 4, 5], [1, 4, 5, 3, 2, 0], [5, 3, 2, 0]):
        loss = OTHERS[name]()
        compute_norms(loss, [pairs[i] for i in order])
        norms.add(round(loss.norm.item(), 12))
        assert loss.norm_count.item() == 3.5  # a half of one tile counts
    assert len(norms) == 1
    values = [OTHERS[name]()(*pairs[i])[0].item() for i in (0, 2, 3, 5)]
    expected = (values[0] + values[1] / 2 + values[2] + values[3]) / 3.5
    if not isinstance(OTHERS[name](), SegLoss) or name in ("pooled regions", "all pooled"):
        assert norms.pop() == pytest.approx(expected, rel=1e-5)


def test_mixed_batches_are_blended() -> None:
    loss, [(pred, gt)] = SegLoss(use_mixup=True, **MASKED), WHOLE
    _, mixed = loss.mixup(torch.rand(6, 1, 8, 8), gt)
    for lam in (0.0, 0.3, 1.0):
        loss.reset_norm()
        loss.update_norm(pred, {**mixed, "mixup_lam": lam}, 6)
        expected = loss(pred, {**mixed, "mixup_lam": lam}, normalize=False)[0].item()
        assert loss.norm.item() == pytest.approx(expected, rel=1e-6)


def test_tiles_without_any_label_are_an_error_and_leave_no_norm() -> None:
    for loss in (SegLoss(**MASKED), LossWrapper(nn.CrossEntropyLoss(ignore_index=255))):
        with pytest.raises(ValueError, match="no batch had any: all labels are ignored"):
            compute_norms(loss, cut([1], [1]))
        assert (loss.norm.item(), loss.norm_count.item()) == (1, 0)


def test_a_loss_that_is_0_on_some_batches_has_a_norm() -> None:
    for order in itertools.permutations([0.0, 0.0, 3.0]):
        loss = l1()
        compute_norms(loss, batches(list(order)))
        assert loss.norm.item() == 1


def test_an_average_goes_on_after_a_checkpoint() -> None:
    first, second, pairs = SegLoss(**MASKED), SegLoss(**MASKED), cut([1] * 6, [0, 3, 5, 1, 4, 2])
    for pair in pairs[:2]:
        first.update_norm(*pair, 1)
    second.load_state_dict(first.state_dict())
    for loss in (first, second):
        loss.update_norm(*pairs[2], 1)
    assert second.norm_count == first.norm_count == 3
    assert second.norm.item() == pytest.approx(first.norm.item(), rel=0.02)
    assert second.norm.item() != 1


def of_terms(rank: int, ranks: int) -> list[float]:
    """Rank 0 has the tiles without labels and one more; a second sync changes nothing."""
    loss = SegLoss(tversky_focal_coef=0.3, **MASKED)
    for pair in cut([2, 1], [1, 4, 2]) if rank == 0 else cut([3], [0, 3, 5]):
        loss.update_norm(*pair, len(pair[0]["seg"]))
    norms = []
    for _ in range(2):
        loss.sync()
        norms.append(loss.norm.item())
    return norms


def test_ranks_have_the_norm_of_all_tiles(tmp_path: Path) -> None:
    expected = SegLoss(tversky_focal_coef=0.3, **MASKED)(*WHOLE[0])[0].item()
    for norms in on_ranks(2, tmp_path, of_terms):
        assert norms == pytest.approx([expected] * 2, rel=1e-6)


def of_ranks(rank: int, ranks: int) -> list[float]:
    """Rank 0 has batches of one sample each, rank 1 a single one of three."""
    loss, shared = l1(), []
    mine = batches([1.0] * 5, size=1) if rank == 0 else batches([9.0], size=3)
    total = compute_norms(loss, mine, max_samples=5, on_samples=shared.append)
    message = ""
    try:
        compute_norms(l1(), mine, max_samples=5, min_samples=5)
        compute_norms(l1(), mine[:1], min_samples=5)
    except ValueError as error:
        message = str(error)
    return [total, loss.norm.item(), sum(shared), message]


def test_each_rank_takes_its_share_and_all_have_one_norm(tmp_path: Path) -> None:
    first, second = on_ranks(2, tmp_path, of_ranks)
    assert first[:3] == [6, 5.0, 3]  # three of 1 and three of 9: a share is ceil(5 / 2)
    assert second[:3] == [6, 5.0, 3]
    assert first[3] == second[3]
    assert "got 4" in first[3]  # one sample and three


def test_a_loader_of_predictions_is_read_through_its_iterator() -> None:
    loss, loader = (
        l1(),
        torch.utils.data.DataLoader(list(zip(*batches([2.0, 4.0])[0], strict=True))),
    )
    with pytest.raises(TypeError, match=r"pass iter\(loader\)"):
        compute_norms(loss, loader)
    assert compute_norms(loss, iter(loader)) == 2
