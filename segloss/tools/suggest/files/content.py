"""The content of a file before its numbers are labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Content:
    """An array, with what its file says about it.

    Attributes:
        array: The numbers.
        colour: True if the last axis holds the channels of a colour; False if all axes are
            spatial, or classes; None if the file does not say.
        palette: The colours of the indices, (indices, 3); None if there is no palette.
        lossy: True if the compression changes numbers, as that of JPEG does.
    """

    array: NDArray[Any]
    colour: bool | None = None
    palette: NDArray[Any] | None = field(default=None, compare=False)
    lossy: bool = False
