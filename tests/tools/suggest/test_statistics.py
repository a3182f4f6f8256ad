"""What is counted in masks, against counts by hand and by scipy."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import ndimage

from segloss import suggest
from segloss.tools.suggest.statistics import DatasetStatistics, count_mask
from segloss.tools.suggest.tiles import THIN


def blobs(seed: int, shape: tuple[int, ...], classes: int) -> np.ndarray:
    """A label map with regions of all sizes."""
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    return np.array([ndimage.gaussian_filter(one, 1.5) for one in noise]).argmax(0)


def count(mask: np.ndarray, ignore_index: int | None = None) -> DatasetStatistics:
    return count_mask(mask.astype(np.int32), "a", ignore_index, by_class=False)


def test_a_small_mask_is_counted_as_by_hand() -> None:
    mask = np.array([[0, 0, 0, 1], [0, 2, 0, 0], [0, 0, 2, 0]])
    counted = count(mask).classes
    assert {value: c.pixels for value, c in counted.items()} == {0: 9, 1: 1, 2: 2}
    assert counted[2].regions == 1  # corners connect
    assert counted[1].islands == 1
    assert counted[2].edge_share == 1
    assert counted[0].edge == 7  # all but those at (0, 0) and (2, 0)
    assert counted[0].frequency == pytest.approx(9 / 12)


@pytest.mark.parametrize("shape", [(200,), (40, 50), (12, 14, 16)])
def test_regions_are_those_of_scipy(shape: tuple[int, ...]) -> None:
    mask = blobs(0, shape, 3)
    counted = count(mask)
    for value in range(3):
        structure = np.ones((3,) * mask.ndim)
        labelled, regions = ndimage.label(mask == value, structure)
        sizes = np.sort(np.bincount(labelled.ravel())[1:])
        own = counted.classes[value]
        assert own.regions == regions
        assert sorted(own.sizes.elements()) == sizes.tolist()
        assert own.median_size == sizes[len(sizes) // 2]


@pytest.mark.parametrize("shape", [(200,), (40, 50), (12, 14, 16)])
def test_edges_are_pixels_that_erosion_by_a_cross_takes_away(shape: tuple[int, ...]) -> None:
    mask = blobs(1, shape, 3)
    counted = count(mask)
    for value in range(3):
        inner = ndimage.binary_erosion(mask == value, border_value=1)
        assert counted.classes[value].edge == ((mask == value) & ~inner).sum()


@pytest.mark.parametrize("shape", [(200,), (40, 50), (12, 14, 16)])
def test_contacts_are_pairs_of_neighbours_that_differ(shape: tuple[int, ...]) -> None:
    mask = blobs(2, shape, 4)
    expected: Counter[tuple[int, int]] = Counter()
    for axis in range(mask.ndim):
        lines = np.moveaxis(mask, axis, -1)
        pairs = zip(lines[..., :-1].ravel().tolist(), lines[..., 1:].ravel().tolist(), strict=True)
        expected.update(pairs)
    counted = count(mask)
    for one in range(4):
        for other in range(4):
            both = expected[one, other] + expected[other, one] if one != other else 0
            assert counted.classes[one].contacts[other] == both


@pytest.mark.parametrize("shape", [(200,), (40, 50), (12, 14, 16)])
def test_thin_runs_are_those_of_each_line(shape: tuple[int, ...]) -> None:
    mask = blobs(3, shape, 4)
    within, between = Counter(), Counter()
    for axis in range(mask.ndim):
        for line in np.moveaxis(mask, axis, -1).reshape(-1, shape[axis]).tolist():
            runs = [(value, len(list(run))) for value, run in itertools.groupby(line)]
            for before, (value, length), after in zip(runs, runs[1:], runs[2:], strict=False):
                if length <= THIN:
                    (within if before[0] == after[0] else between)[value] += 1
    counted = count(mask).classes
    assert {value: c.thin_within for value, c in counted.items() if c.thin_within} == within
    assert {value: c.thin_between for value, c in counted.items() if c.thin_between} == between


def test_statistics_of_parts_add_up_to_those_of_the_whole() -> None:
    masks = [blobs(seed, (30, 30 + seed), 4) for seed in range(4)]
    forth, back = DatasetStatistics(), DatasetStatistics()
    for mask in masks:
        forth.add(count(mask))
    for mask in reversed(masks):
        back.add(count(mask))
    assert forth.pixels == back.pixels == sum(mask.size for mask in masks)
    for value in range(4):
        one, other = forth.classes[value], back.classes[value]
        assert one.pixels == other.pixels == sum((mask == value).sum() for mask in masks)
        assert one.sizes == other.sizes
        assert one.most == max((mask == value).sum() for mask in masks)
    assert forth.sides == (30, 33)


def test_a_frequency_looks_only_at_masks_that_hold_the_class_and_pixels_that_count() -> None:
    with_it, without = np.zeros((10, 10), int), np.zeros((10, 10), int)
    with_it[0, :5] = 1
    with_it[1] = 255
    with_it[2, 0] = 2
    found = suggest([with_it, without, without]).classes
    assert found.statistics[1].frequency == pytest.approx(5 / 90)
    assert found.statistics[0].frequency == pytest.approx((84 + 200) / 290)


def test_channels_are_counted_one_by_one() -> None:
    masks = np.zeros((2, 8, 8), int)
    masks[0, :4] = 1
    masks[1, 3:5, 3:5] = 1
    suggestion = suggest([masks], layout="classes")
    assert [c.pixels for c in suggestion.classes.statistics] == [32, 4]
    assert suggestion.statistics.pixels == 64


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers: int) -> None:
    masks = [blobs(seed, (30, 30), 3) for seed in range(7)]
    assert suggest(masks, workers=workers).config == suggest(masks).config
    assert str(suggest(masks, workers=workers)) == str(suggest(masks))


def test_masks_are_taken_one_at_a_time() -> None:
    alive = 0
    most = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def masks():
        nonlocal alive, most
        for seed in range(30):
            alive += 1
            most = max(most, alive)
            yield blobs(seed, (20, 20), 3).view(Counted)

    suggest(masks(), workers=2)
    assert most <= 12  # views of each, and those of two workers and the queue; not all thirty


# Large masks are counted by tiles

CASES = {
    "a signal": blobs(0, (300,), 3),
    "wide": blobs(1, (5, 90), 3),
    "tall": blobs(2, (90, 7), 4),
    "one line": blobs(3, (1, 400), 3),
    "a volume": blobs(4, (9, 20, 11), 3),
    "noise": np.random.default_rng(5).integers(0, 2, (60, 50)),
    "a spiral": np.array(
        [[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    ),
    "a comb": np.tile([[0, 1]] * 29 + [[1, 1]], (1, 20)),
    "diagonals": np.eye(40, dtype=int) + np.eye(40, dtype=int)[::-1],
    "far labels": 100_000 * blobs(6, (40, 40), 3),
}


@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
@pytest.mark.parametrize("case", CASES)
def test_the_size_of_a_tile_changes_no_count(case: str, tile: int, monkeypatch) -> None:
    whole = count(CASES[case])
    monkeypatch.setattr("segloss.tools.suggest.tiles.TILE", tile)
    assert same(count(CASES[case]), whole)


def same(one: DatasetStatistics, other: DatasetStatistics) -> bool:
    """Whether all counts are equal; examples hold arrays, which have no single truth value."""
    fields = (
        *("pixels", "masks", "area", "void", "edge", "sizes", "most"),
        *("contacts", "thin_within", "thin_between"),
    )
    return (one.pixels, one.void, one.sides) == (other.pixels, other.void, other.sides) and {
        value: [getattr(counted, field) for field in fields]
        for value, counted in one.classes.items()
    } == {
        value: [getattr(counted, field) for field in fields]
        for value, counted in other.classes.items()
    }


def test_a_mask_of_many_tiles_is_counted_as_scipy_counts_it() -> None:
    mask = np.repeat(np.repeat(blobs(7, (400, 300), 3), 5, 0), 3, 1)  # 1.8 million pixels
    counted = count(mask)
    for value in range(3):
        labelled, regions = ndimage.label(mask == value, np.ones((3, 3)))
        own = counted.classes[value]
        assert own.regions == regions
        assert sorted(own.sizes.elements()) == np.sort(np.bincount(labelled.ravel())[1:]).tolist()
        inner = ndimage.binary_erosion(mask == value, border_value=1)
        assert own.edge == ((mask == value) & ~inner).sum()


@pytest.mark.parametrize("layout", ["labels", "classes"])
@pytest.mark.parametrize(
    "dtype", [bool, np.uint8, np.int16, np.uint16, np.int64, np.float32, ">u2"]
)
def test_the_dtype_of_a_mask_changes_no_count(dtype, layout: str) -> None:
    mask = (blobs(8, (30, 40), 3) > 0).astype(dtype)
    mask = np.stack([mask, mask]) if layout == "classes" else mask
    expected = suggest([mask.astype(np.int32)], layout=layout)
    found = suggest([mask], layout=layout)
    assert found.config == expected.config
    assert same(found.statistics, expected.statistics)


def test_an_ignored_value_of_any_dtype_stays_in_masks_of_one_class() -> None:
    for ignored, dtype in ((-1, np.int8), (255, np.uint8), (-100, np.int64), (7, np.float64)):
        mask = (blobs(9, (30, 40), 2)).astype(dtype)
        mask[:3] = ignored
        found = suggest([np.stack([mask, mask])], layout="classes", ignore_index=ignored)
        assert found.classes.statistics[0].pixels == (blobs(9, (30, 40), 2)[3:] == 1).sum()
