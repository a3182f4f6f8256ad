"""Norms are averages over batches, up to a number of samples, of all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segloss import LossWrapper, MultiLoss
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
