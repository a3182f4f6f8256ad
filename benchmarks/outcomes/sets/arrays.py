"""The arrays of a data set, and the classes that are merged from the codes of a map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.uint8]]
"""`image` (N, H, W, channels), `label` (N, H, W) and `split` (N,), as the study reads them."""


def merged(codes: NDArray[Any], groups: Iterable[Iterable[int]]) -> NDArray[np.uint8]:
    """Returns the index of the group that holds each code, and 0 for codes without a group."""
    classes = np.zeros(256, dtype=np.uint8)
    for index, group in enumerate(groups):
        classes[[*group]] = index
    labels: NDArray[np.uint8] = classes[codes]
    return labels
