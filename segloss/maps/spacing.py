"""The size of a pixel along each axis, for distances in millimetres or metres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segloss.foundation.arguments import as_python, check_number, is_list


class Spacing:
    """The size of a pixel along each axis.

    Args:
        value: One number for all axes, or a list of one for each; None: 1.

    Raises:
        TypeError, ValueError: It is neither.
    """

    def __init__(self, value: Any) -> None:
        self.value = _checked(value)

    def along(self, shape: Sequence[int], mask_key: str) -> list[float]:
        """Returns the spacing along each axis of a mask of this shape.

        Raises:
            ValueError: The mask has another number of axes.
        """
        if not isinstance(self.value, list):
            return [self.value] * len(shape)
        if len(self.value) != len(shape):
            raise ValueError(
                f"spacing must have one number per axis of {mask_key}, of shape "
                f"{tuple(shape)}: expected {len(shape)}, got {len(self.value)}."
            )
        return self.value

    def __repr__(self) -> str:
        return repr(self.value)


def _checked(spacing: Any) -> float | list[float]:
    """Returns the checked spacing: one number for all axes, or a list of one for each."""
    spacing = 1.0 if spacing is None else as_python(spacing)
    if not is_list(spacing):
        return check_number("spacing", spacing, open_low=True)
    if not spacing:
        raise ValueError("spacing must have one number per axis, got an empty list.")
    return [check_number(f"spacing[{i}]", size, open_low=True) for i, size in enumerate(spacing)]
