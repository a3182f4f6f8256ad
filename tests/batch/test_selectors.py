"""Channel selectors in all their forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from segloss.batch.selectors import ChannelSelector

IMAGE = torch.arange(4.0).reshape(1, 4, 1, 1)

FORMS = [
    (0, [0]),
    (-1, [3]),
    (slice(0, 2), [0, 1]),
    (slice(None), [0, 1, 2, 3]),
    (slice(1, None, 2), [1, 3]),
    (slice(None, None, -1), [3, 2, 1, 0]),
    ([2, 0], [2, 0]),
    ((1, 3), [1, 3]),
    ([True, False, False, True], [0, 3]),
    (torch.tensor(2), [2]),
    (np.int64(2), [2]),
    (np.array([True, False, True, False]), [0, 2]),
    ({"_target_": "builtins.slice", "_args_": [0, 2]}, [0, 1]),
    (torch.tensor([3, 1]), [3, 1]),
    (torch.tensor([False, True, False, False]), [1]),
    ("0:2", [0, 1]),
    (":", [0, 1, 2, 3]),
    ("-2:", [2, 3]),
    ("::2", [0, 2]),
    ("3", [3]),
    ({"start": 1, "stop": 3}, [1, 2]),
    ({"stop": 4, "step": 3}, [0, 3]),
    (OmegaConf.create([1, 2]), [1, 2]),
    (OmegaConf.create({"start": 2}), [2, 3]),
]


@pytest.mark.parametrize(("selector", "channels"), FORMS)
def test_a_selector_keeps_the_channel_axis(selector, channels: list[int]) -> None:
    selected = ChannelSelector(selector)(IMAGE, "image")
    assert selected.shape == (1, len(channels), 1, 1)
    assert selected.flatten().tolist() == channels


@pytest.mark.parametrize("selector", [0, slice(0, 2), [1, 2], "1:3"])
def test_neighbouring_channels_are_a_view(selector) -> None:
    assert ChannelSelector(selector)(IMAGE, "image").untyped_storage().data_ptr() == (
        IMAGE.untyped_storage().data_ptr()
    )


@pytest.mark.parametrize(
    "selector", [4, -5, slice(0, 5), slice(4, None), [0, 4], [True, False], "2:9", {"start": 4}]
)
def test_out_of_range_names_the_selector_the_key_and_the_channels(selector) -> None:
    chosen = ChannelSelector(selector, "gt_channel_selector")
    with pytest.raises(ValueError, match=r"gt_channel_selector=.* out of range: image has 4 chan"):
        chosen(IMAGE, "image")


@pytest.mark.parametrize(
    ("selector", "kind", "words"),
    [
        (True, TypeError, "must be an int, a slice"),
        (1.5, TypeError, "must be an int, a slice"),
        (None, TypeError, "must be an int, a slice"),
        ([], TypeError, "at least one of them"),
        ([0, True], TypeError, "ints or bools"),
        ([0.5], TypeError, "ints or bools"),
        ([False, False], ValueError, "selects no channel"),
        (torch.tensor([0.5]), TypeError, "ints or bools"),
        (torch.zeros(2, 2, dtype=torch.long), TypeError, "ints or bools"),
        ("a:b", ValueError, "text like '0:2'"),
        ("0:1:2:3", ValueError, "text like '0:2'"),
        ("", ValueError, "text like '0:2'"),
        ({"begin": 0}, ValueError, "start, stop, step"),
        ({}, ValueError, "start, stop, step"),
        ({"start": 0.5}, TypeError, "slice of ints"),
        (slice("a", "b"), TypeError, "slice of ints"),
        (slice(0, 2, 0), ValueError, "step 0"),
    ],
)
def test_wrong_selectors_are_refused_when_they_are_made(selector, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        ChannelSelector(selector)


def test_a_tensor_without_channels_can_not_be_selected_from() -> None:
    with pytest.raises(ValueError, match=r"needs channels: labels must have the shape"):
        ChannelSelector(0)(torch.zeros(2, 5), "labels")
