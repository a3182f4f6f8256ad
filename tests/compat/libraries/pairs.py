"""Pairs of a loss of another library and the loss of segloss that has its values.

docs/migrating_from_libraries.md names each pair and says on which batches its two losses differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from segloss import SegLoss
from tests.compat.libraries.batches import IGNORED, Form

Loss = Callable[[Tensor, Tensor], Tensor]

MODES: dict[Form, str] = {"labels": "multiclass", "masks": "multilabel", "mask": "binary"}
IGNORING = {"ignore_index": IGNORED}
BATCH = {"region_reduction": "batch"}


class Pair(NamedTuple):
    """Two losses that should have the same values, the targets of both, and what both take."""

    form: Form
    theirs: Loss
    ours: Loss
    takes: tuple[Literal["soft", "ignoring"], ...] = ()


Pairs = Iterator[tuple[str, Pair]]
"""Pairs and the names that the pages give them; a name may have several."""

SOFT: tuple[Literal["soft"]] = ("soft",)
IGNORES: tuple[Literal["ignoring"]] = ("ignoring",)


def soft_masks(form: Form) -> tuple[Literal["soft"], ...]:
    """Masks may be soft, where a library takes only hard label maps."""
    return () if form == "labels" else SOFT


def with_channel(loss: Loss) -> Loss:
    """A loss that gets label maps with a channel axis."""
    return lambda x, y: loss(x, y.unsqueeze(1) if y.ndim < x.ndim else y)


def with_float_target(loss: Loss) -> Loss:
    return lambda x, y: loss(x, y.to(x.dtype))


def as_masks(labels: Tensor, classes: int) -> Tensor:
    return one_hot(labels, classes).movedim(-1, 1)


def kept_share(y: Tensor) -> float:
    return int((y != IGNORED).sum()) / max(y.numel(), 1)


def mean(cells: Tensor) -> Tensor:
    """Returns the mean of cells, 0 if there are none."""
    return cells.sum() / max(cells.numel(), 1)


def class_weights(x: Tensor) -> list[float]:
    return torch.linspace(0.5, 3.0, x.shape[1]).tolist()


def mean_weight(x: Tensor) -> float:
    return sum(class_weights(x)) / x.shape[1]


def foreground(x: Tensor) -> list[int]:
    return list(range(1, x.shape[1]))


def compound(x: Tensor, y: Tensor, **options: object) -> Tensor:
    """Cross-entropy plus Dice, as MONAI and nnU-Net add them."""
    defaults = {"n_classes": x.shape[1], "bce_coef": 1.0, "dice_coef": 1.0, "smooth": 1e-5}
    return SegLoss(**{**defaults, **options}).as_criterion()(x, y)


def compound_of_masks(x: Tensor, y: Tensor, **options: object) -> Tensor:
    return compound(x, y, n_classes=2, from_logits=True, **options)
