"""What the numbers in masks are taken for."""

from __future__ import annotations

import numpy as np
import pytest

from segloss import suggest


def mask_of(**shares: int) -> np.ndarray:
    """A square mask with this many pixels of each value, such as v0=90, v255=10."""
    values = [np.full(count, int(name[1:])) for name, count in shares.items()]
    flat = np.concatenate(values)
    return flat.reshape(-1, 10)


def test_0_and_255_are_background_and_foreground() -> None:
    mask = mask_of(v0=80, v255=20)
    found = suggest([mask]).classes
    assert (found.n_classes, found.channels, found.sigmoid) == (2, 1, True)
    assert found.ignore_index is None
    assert found.statistics[1].frequency == pytest.approx(0.2)
    assert np.array_equal(found.labels(mask), mask // 255)
    assert "255 is the foreground, and must become 1" in found.reason


def test_255_above_labels_is_the_ignore_value() -> None:
    found = suggest([mask_of(v0=60, v1=20, v2=10, v255=10)]).classes
    assert (found.n_classes, found.ignore_index, found.sigmoid) == (3, 255, False)
    assert "marks 10.0% of the pixels, which are left out" in found.reason
    assert found.statistics[1].frequency == pytest.approx(20 / 90)


def test_0_1_and_255_are_two_classes_and_the_ignore_value() -> None:
    mask = mask_of(v0=60, v1=20, v255=20)
    found = suggest([mask]).classes
    assert (found.n_classes, found.channels, found.ignore_index) == (2, 1, 255)
    assert np.array_equal(found.labels(mask), mask)


def test_a_foreground_of_another_number_keeps_the_ignore_value() -> None:
    mask = mask_of(v0=60, v128=20, v255=20)
    found = suggest([mask], ignore_index=255).classes
    assert set(np.unique(found.labels(mask))) == {0, 1, 255}
    assert (found.labels(mask) == 1).sum() == 20


def test_an_ignore_value_may_be_negative() -> None:
    mask = mask_of(v0=50, v1=20, v2=20, v9=10)
    mask[mask == 9] = -100
    suggestion = suggest([mask], ignore_index=-100)
    assert suggestion.classes.n_classes == 3
    assert suggestion.statistics.void == 10


def test_a_class_missing_in_between_keeps_its_number() -> None:
    suggestion = suggest([mask_of(v0=690, v1=302, v3=8)])
    assert suggestion.classes.n_classes == 4
    assert suggestion.classes.unused == [2]
    assert "unused labels" in str(suggestion)


def test_labels_with_great_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks hold 0, 50, 100\. Have them numbered"):
        suggest([mask_of(v0=50, v50=30, v100=20)])


@pytest.mark.parametrize("value", [0, 1, 255])
def test_one_class_alone_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=f"all of these hold only {value}"):
        suggest([np.full((5, 5), value)])
    with pytest.raises(ValueError, match="hold no label besides the ignore value"):
        suggest([np.full((5, 5), value)], ignore_index=value)


def test_a_channel_that_is_never_there_is_refused() -> None:
    masks = np.zeros((2, 4, 4), int)
    masks[1, 0] = 1
    with pytest.raises(ValueError, match=r"the masks of .* are all 0"):
        suggest([masks], layout="classes")


def test_several_values_are_left_out() -> None:
    suggestion = suggest([mask_of(v0=40, v1=30, v2=20, v254=4, v255=6)], ignore_index=[254, 255])
    loss = suggestion.config["loss_params"]["compound_loss"]["loss_list"][0]
    assert loss["ignore_index"] == [254, 255]
    assert (suggestion.classes.n_classes, suggestion.statistics.void) == (3, 10)
    assert "254 and 255, as you set, mark 10.0%" in str(suggestion)
    built = suggestion.build()
    assert built.loss_funcs[0].ignore_index == (254, 255)


def test_several_values_are_left_out_of_files_of_a_class_each() -> None:
    channels = np.zeros((2, 10, 10), int)
    channels[0, :5], channels[1, 5:], channels[:, 0, 0], channels[:, 0, 1] = 1, 1, 255, -1
    found = suggest([channels], layout="classes", ignore_index=[-1, 255])
    assert [each.pixels for each in found.classes.present] == [48, 50]
    assert found.classes.ignore_index == (-1, 255)


def test_the_picture_shows_all_ignored_pixels_alike() -> None:
    mask = np.array([[0, 7, 255, 254]])
    found = suggest([np.repeat(mask, 8, 0)], ignore_index=[254, 255]).classes
    assert found.ignored(mask).tolist() == [[False, False, True, True]]
    assert found.labels(mask).tolist() == [[0, 1, 255, 254]]


@pytest.mark.parametrize("foreground", [2, 9, 255])
def test_a_foreground_that_becomes_1_is_not_left_out(foreground: int) -> None:
    mask = mask_of(v0=60, v1=20, **{f"v{foreground}": 20})
    found = suggest([mask], ignore_index=1).classes
    labels = found.labels(mask)
    assert found.ignore_index == 255
    assert "1 must become 255" in found.reason
    assert [(labels == value).sum() for value in (0, 1, 255)] == [60, 20, 20]


@pytest.mark.parametrize("options", [{"layout": "classes"}, {"values": "objects"}])
def test_where_1_is_the_foreground_it_is_not_left_out(options: dict[str, str]) -> None:
    mask = mask_of(v0=70, v1=20, v2=10)
    masks = [np.stack([mask, mask]) > 0] if "layout" in options else [mask]
    with pytest.raises(ValueError, match="change these pixels to 255 in the files"):
        suggest(masks, ignore_index=1, **options)


@pytest.mark.parametrize(
    ("labels", "void"),
    [([10, 20, 30, 40], 255), ([10, 20, 30, 40], 0), ([20 * i for i in range(1, 41)], 9999)],
)
def test_the_code_that_renumbers_labels_keeps_the_void_apart(labels: list[int], void: int) -> None:
    mask = np.repeat([*labels, void], 100).reshape(-1, 10)
    with pytest.raises(ValueError, match="or renumber them") as caught:
        suggest([mask], ignore_index=void)
    code = str(caught.value).partition("for example with ")[2].rstrip(".")
    expected = np.repeat([*range(len(labels)), 255], 100).reshape(-1, 10)
    assert np.array_equal(eval(code, {"numpy": np, "mask": mask}), expected)  # noqa: S307
    option = f"--colours data --ignore-index {void}"
    assert option in str(caught.value)
    found = suggest([mask], ignore_index=void, colours="data").classes
    assert np.array_equal(found.labels(mask), expected)


def test_numbers_in_their_order_are_shown_as_they_are(tmp_path) -> None:
    mask = np.repeat([0, 257, 311, 523], 25).reshape(10, 10)
    suggestion = suggest([mask], colours="data")
    assert suggestion.classes.reason == "masks hold numbers: 0 is 0, 257 is 1, 311 is 2, 523 is 3"
    assert list(suggestion.classes.names) == ["background", "257", "311", "523"]
    suggestion.plot(tmp_path / "a.png")


def test_a_number_far_above_the_others_may_be_left_out() -> None:
    mask = mask_of(v0=40, v60=30, v182=20, v255=10)
    found = suggest([mask], colours="data").classes
    assert found.n_classes == 4
    assert found.guesses == (
        "255 is a class; if it marks pixels to be left out, set --ignore-index 255",
    )
    assert not suggest([mask], colours="data", ignore_index="none").classes.guesses


def test_two_numberings_of_the_foreground_are_refused() -> None:
    masks = [mask_of(v0=80, v1=20), mask_of(v0=70, v255=30), mask_of(v0=60, v255=40)]
    with pytest.raises(ValueError, match="1 hold 1, and 2 others 255: if both"):
        suggest(masks)
    assert suggest(masks, values="objects").classes.statistics[1].pixels == 90
    assert suggest(masks, ignore_index=255).classes.ignore_index == 255


def test_one_label_that_is_missing_never_occurs() -> None:
    assert "; 2 never occurs" in suggest([mask_of(v0=60, v1=20, v3=20)]).classes.reason
    assert "; 2, 3 never occur" in suggest([mask_of(v0=60, v1=20, v4=20)]).classes.reason


def test_names_of_labels_name_the_foreground(tmp_path) -> None:
    np.save(tmp_path / "a.npy", mask_of(v0=60, v1=20, v2=20).astype(np.uint8))
    (tmp_path / "dataset.json").write_text(
        '{"labels": {"background": 0, "ignore": 1, "tumour": 2}}'
    )
    found = suggest(tmp_path).classes
    assert (list(found.names), found.ignore_index) == (["background", "tumour"], 255)
