"""The page about a dataset has a bar for each class, and examples that show the classes."""

from __future__ import annotations

import numpy as np
import pytest

from segloss import suggest
from segloss.tools.suggest.picture import EXAMPLES, MOST_BARS, colours, draw


def masks_of(classes: int, count: int = 5) -> list[np.ndarray]:
    """Masks of stripes, each class a stripe."""
    return [np.repeat(np.arange(classes), 2 + i)[:, None].repeat(40, 1) for i in range(count)]


@pytest.mark.parametrize("classes", [2, 5, 60])
def test_every_class_has_a_bar_as_long_as_its_share(classes: int) -> None:
    suggestion = suggest(masks_of(classes))
    figure = draw(suggestion.classes, suggestion.statistics)
    frequency = figure.subfigs[0].axes[0]
    bars = [bar.get_width() for bar in frequency.patches]
    assert bars == pytest.approx([1 / classes] * min(classes, MOST_BARS))
    assert len(set(colours(suggestion.classes))) == classes
    assert len(figure.subfigs[1].axes) <= EXAMPLES


def test_a_bar_of_twice_the_share_is_twice_as_long_and_all_shares_are_percent() -> None:
    mask = np.repeat([0, 1, 2], [60, 30, 10])[:, None].repeat(40, 1)
    suggestion = suggest([mask])
    frequency, presence, _ = draw(suggestion.classes, suggestion.statistics).subfigs[0].axes
    assert frequency.get_xscale() == presence.get_xscale() == "linear"
    assert frequency.get_xlim()[0] == presence.get_xlim()[0] == 0
    widths = [bar.get_width() for bar in frequency.patches]
    assert widths == pytest.approx([0.6, 0.3, 0.1])
    for axes in (frequency, presence):
        axes.figure.canvas.draw()
        assert all(label.get_text().endswith("%") for label in axes.get_xticklabels())


def test_colour_coded_masks_keep_their_colours() -> None:
    pixels = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    found = suggest([pixels[np.repeat([0, 1, 2], 20)[:, None].repeat(40, 1)]]).classes
    assert colours(found)[1:] == ["#0000ff", "#ff0000"]


def test_examples_show_the_masks_with_most_of_each_class() -> None:
    masks = [np.zeros((30, 30), int) for _ in range(4)]
    masks[1][:5], masks[2][:9], masks[2][20:23], masks[3][20:] = 1, 1, 2, 2
    suggestion = suggest(masks)
    figure = draw(suggestion.classes, suggestion.statistics)
    shown = [axes for axes in figure.subfigs[1].axes if axes.images]
    assert [axes.get_title() for axes in shown] == [
        "mask 3\nmost of: class 2",  # the rarest first
        "mask 2\nmost of: class 1",
    ]
    assert np.array_equal(shown[0].images[0].get_array(), masks[3])


@pytest.mark.parametrize("name", ["page.png", "page.pdf", "new/page.svg"])
def test_it_is_saved_as_what_its_name_says(name: str, tmp_path) -> None:
    path = suggest(masks_of(3)).plot(tmp_path / name)
    assert path.stat().st_size > 1000


def test_channels_and_pixels_left_out_are_drawn(tmp_path) -> None:
    masks = np.zeros((2, 20, 20), int)
    masks[0, :9], masks[1, 5:7] = 1, 1
    channels = suggest([masks], layout="classes")
    axes = draw(channels.classes, channels.statistics).subfigs[1].axes[0]
    drawn = axes.images[0].get_array()
    assert np.array_equal(np.unique(drawn[5:7]), [1])  # the smaller class on top
    assert np.array_equal(np.unique(drawn[9:]), [-1])

    mask = masks_of(3)[0]
    mask[0] = 255
    void = suggest([mask])
    drawn = draw(void.classes, void.statistics).subfigs[1].axes[0].images[0].get_array()
    assert set(np.unique(drawn[0])) == {-2}
