"""A collator that marks ignored labels such that the Trainer does not count them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.foundation.arguments import shown
from segloss.foundation.dtypes import equals_any
from segloss.foundation.ignore_index import check_ignore_index, values_of

UNCOUNTED = -100
"""The label that the Trainer leaves out of its count."""


class IgnoreIndexCollator:
    """Replaces the labels of ignored pixels by -100, which the Trainer does not count.

    The Trainer weighs micro-batches by their numbers of labels, and counts all but -100. Processors
    of images write 255 instead, and label maps of 8 bits can't hold -100. This collator converts
    labels to 64 bits. A function of `as_compute_loss_func` still gives the loss its own
    `ignore_index`.

    Args:
        ignore_index: The label of ignored pixels, or a list of several; None: only the dtype
            changes.
        collate: The function that makes a batch of samples; None: the `default_data_collator` of
            transformers.

    Raises:
        TypeError: `ignore_index` is not an int or a list of ints, or `collate` can't be called.

    Example:
        >>> collator = IgnoreIndexCollator(255)  # for Trainer(data_collator=collator)
        >>> sample = {"labels": torch.tensor([0, 1, 255], dtype=torch.uint8)}
        >>> collator([sample])["labels"]
        tensor([[   0,    1, -100]])
    """

    def __init__(
        self,
        ignore_index: int | Sequence[int] | None = 255,
        collate: Callable[[Any], Any] | None = None,
    ) -> None:
        if collate is not None and (isinstance(collate, type) or not callable(collate)):
            raise TypeError(f"collate must be a function of samples, got {shown(collate)}.")
        self.ignore_index = check_ignore_index(ignore_index)
        self.collate = collate

    def __call__(self, samples: Any) -> Any:
        """Returns the batch of samples, with the labels replaced."""
        if self.collate is None:
            from transformers import default_data_collator

            batch = default_data_collator(samples)
        else:
            batch = self.collate(samples)
        labels = batch.get("labels")
        if isinstance(labels, Tensor) and not labels.is_floating_point():
            ignored = equals_any(labels, values_of(self.ignore_index))
            batch["labels"] = labels.to(torch.int64).masked_fill(ignored, UNCOUNTED)
        return batch
