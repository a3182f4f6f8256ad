"""The pictures of the examples say what they show."""

from __future__ import annotations

import pytest
from example_parts.pictures import curves_figure


@pytest.mark.parametrize(
    ("normalized", "title"), [(True, "Losses, each divided by its norm"), (False, "Losses")]
)
def test_losses_are_called_divided_by_their_norms_only_if_they_are(normalized, title) -> None:
    step = {
        "learning_rate": 0.1,
        "losses": {"seg": 0.5},
        "terms": {"seg.dice": 0.5},
        "weights": {"seg": 1.0},
    }
    figure = curves_figure([{"epoch": epoch, **step} for epoch in range(3)], normalized)
    assert figure.axes[0].get_title("left") == title
