"""The pictures of the terms: what they plot is sensible, and none is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import term_pictures
from matplotlib.figure import Figure
from term_pictures import NAMES

from segloss.terms import TERMS
from segloss.tools.plots.reference_shape import CENTRE

SHIFTED, RESIZED, BLURRED = range(3)


@pytest.fixture
def dice() -> Figure:
    return term_pictures.term_figure("dice")


def curve(figure: Figure, panel: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = figure.axes[panel].lines[0].get_data()
    return np.asarray(x), np.asarray(y)


def gradient(figure: Figure, panel: int) -> np.ndarray:
    return np.asarray(figure.axes[3 + panel].images[0].get_array())


def test_dice_grows_from_nearly_0_to_nearly_1_as_the_disc_is_moved_off_the_truth(dice) -> None:
    shift, loss = curve(dice, SHIFTED)
    assert (shift[0], shift[-1]) == (0, 40)
    assert 0 < loss[0] < 0.1
    assert (np.diff(loss) > 0).all()
    assert 0.99 < loss[-1] < 1


def test_dice_is_least_at_the_true_size_and_grows_to_both_sides(dice) -> None:
    factor, loss = curve(dice, RESIZED)
    least = loss.argmin()
    assert factor[least] == pytest.approx(1, abs=0.04)
    assert (np.diff(loss[: least + 1]) < 0).all()
    assert (np.diff(loss[least:]) > 0).all()


def test_dice_grows_as_the_disc_is_blurred(dice) -> None:
    _, loss = curve(dice, BLURRED)
    assert loss[0] < 0.03
    assert (np.diff(loss) > 0).all()


def test_a_moved_disc_is_pushed_up_where_it_is_missed_and_down_where_it_is_too_much(dice) -> None:
    pushed = gradient(dice, SHIFTED)
    row, column = (round(place) for place in CENTRE)
    left, right = column + 12 - 20, column + 12 + 20  # the edges of what is predicted
    assert pushed[row, left] < 0 < pushed[row, right]
    assert np.abs(pushed).max() > 100 * np.abs(pushed[row, 2])


def test_a_curve_is_the_loss_of_the_truth_and_its_prediction() -> None:
    """By counting: of discs that are moved, sharp and confident, what they share and what not."""
    sharp = term_pictures.Setting(shift=12.0, softness=0.01)
    loss = term_pictures.loss_named("jaccard")(term_pictures.logits_of(sharp)).item()
    truth = term_pictures.true_mask()[0, 0].numpy() > 0
    moved = np.roll(truth, 12, axis=1)
    expected = 1 - (truth & moved).sum() / (truth | moved).sum()
    assert loss == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("name", ["boundary", "skeleton_recall"])
def test_maps_are_those_of_the_disc(name: str) -> None:
    _, loss = curve(term_pictures.term_figure(name), SHIFTED)
    assert loss.argmin() == 0
    assert loss[-1] > loss[0] + 0.9


def test_the_command_writes_the_pictures_of_the_terms_that_are_named(tmp_path: Path) -> None:
    term_pictures.main(["dice", "--output", str(tmp_path / "new")])
    (picture,) = (tmp_path / "new").iterdir()
    assert picture.name == "dice.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        term_pictures.main(["dyce", "--output", str(tmp_path)])


def test_every_term_has_a_picture() -> None:
    assert set(NAMES) == {*TERMS, "lovasz", "topk_cross_entropy"}
    pictures = {picture.stem for picture in term_pictures.IMAGES.glob("*.png")}
    assert pictures == {*NAMES, "overview"}
