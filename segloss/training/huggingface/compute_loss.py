r"""Adapts a loss to the `compute_loss_func` of the Trainer.

With such a function, the Trainer does not divide by the number of micro-batches in a step. Instead,
it passes the number of labels in the step, over all ranks. For a micro-batch b, with :math:`n_b` of
the step's n labels, the function must therefore return the mean :math:`L_b` as

.. math:: \frac{n_b}{n} L_b

The step's loss is then the mean over all its labels, exactly:

- for a plain mean over pixels, such as cross-entropy, even if pixels are ignored and micro-batches
  are uneven;
- for region terms with `region_reduction="sample"` and samples that have equally many labels.
  Otherwise their micro-batches are weighted by labels, not by samples;
- not for `region_reduction="batch"` and `"micro"`, whose ratios of sums over a batch are not means
  of those over micro-batches, and not for `class_weights` of cross-entropy, whose mean divides by
  the weights. Their micro-batches are weighted by labels, too.

The Trainer counts all labels but -100. A loss that ignores others, such as the 255 of image
processors, needs `IgnoreIndexCollator`; without it, micro-batches with such labels are an error if
a step has several. The check reads labels in the first batch on an accelerator, and in every batch
on a CPU; in a later batch on an accelerator, the loss is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segloss.batch.remedies import for_target_shape, named
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.arguments import check_flag, shown
from segloss.foundation.dtypes import can_hold, equals_any
from segloss.foundation.precision import Precise
from segloss.losses.ignored import ignored_values, over_counted_pixels
from segloss.training.huggingface.collator import UNCOUNTED

_MODES = {3: "linear", 4: "bilinear", 5: "trilinear"}
"""The mode of interpolation for logits, by number of dimensions."""


def as_compute_loss_func(
    loss: Callable[..., Any], *, upsample_logits: bool = True
) -> Callable[..., Tensor]:
    """Returns a loss as `compute_loss_func` of `transformers.Trainer`.

    The result is a mean over the labels of a step, with gradient accumulation and on several ranks;
    the docstring of this module says for which losses it is exact.

    Args:
        loss: A `Loss`, a `MultiLoss`, or any module or function of (logits, labels) that is a mean
            over the batch. It gets tensors, not mappings, and moves to the logits' device. Its
            parameters, if any, are trained only if it is also part of the model.
        upsample_logits: True if logits smaller or larger than the labels are resized to the labels'
            size, by linear interpolation. SegFormer's logits have a quarter of that size.

    Returns:
        A function of (outputs, labels, num_items_in_batch). The outputs have `logits` (N, C,
        *spatial) as an attribute or a key, or are a tuple that begins with the logits; labels are
        (N, *spatial).

    Raises:
        TypeError: `loss` can't be called, or `upsample_logits` is not a bool.
        ValueError: The function gets labels that the loss ignores and the Trainer counts.

    Example:
        >>> from segloss import SegLoss
        >>> compute_loss = as_compute_loss_func(SegLoss(n_classes=3, ignore_index=255))
        >>> outputs = {"logits": torch.zeros(2, 3, 4, 4)}
        >>> labels = torch.zeros(2, 16, 16, dtype=torch.long)
        >>> compute_loss(outputs, labels)
        tensor(0.9619)
    """
    return _ComputeLoss(loss, upsample_logits)


class _ComputeLoss:
    """The result of `as_compute_loss_func`, a class because a nested function can't be pickled."""

    def __init__(self, loss: Callable[..., Any], upsample_logits: bool) -> None:
        if isinstance(loss, type) or not callable(loss):
            raise TypeError(
                f"loss must be a loss of (logits, labels), such as SegLoss(n_classes=3), got "
                f"{loss!r}."
            )
        self.loss = loss
        self.upsample_logits = check_flag("upsample_logits", upsample_logits)
        self._checks = ValueChecks()

    def __call__(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Returns the loss of a micro-batch, as its share of the step's loss.

        Raises:
            TypeError, ValueError: There are no labels or logits, their sizes differ and
                `upsample_logits` is False, or the loss ignores labels that the Trainer counts.
        """
        if not isinstance(labels, Tensor):
            raise TypeError(
                f"labels must be a tensor, got {type(labels).__name__}: the samples of the dataset "
                "must have the key 'labels', a label map."
            )
        logits = self._resized(_logits(outputs), labels)
        share = None if num_items_in_batch is None else self._share(labels, num_items_in_batch)
        if isinstance(self.loss, nn.Module):
            self.loss.to(logits.device)
        ignored = ignored_values(self.loss)
        if ignored and UNCOUNTED not in ignored:
            held = next((each for each in ignored if can_hold(labels.dtype, each)), ignored[0])
            labels = labels.masked_fill(equals_any(labels, (UNCOUNTED,)), held)
        if isinstance(self.loss, Precise):
            result = self.loss(logits, labels)
        else:
            result = over_counted_pixels(self.loss, logits, labels, ignored or (UNCOUNTED,))
        value: Tensor = result[0] if isinstance(result, tuple) else result
        return value if share is None else value * share

    def _share(self, labels: Tensor, items: Tensor | int) -> Tensor:
        """Returns the fraction of a step's labels that are in this micro-batch.

        Raises:
            ValueError: The loss ignores other labels than the Trainer, and the step has more labels
                than this micro-batch.
        """
        if not isinstance(items, (Tensor, int)):
            raise TypeError(
                f"num_items_in_batch must be a number of labels, got {shown(items)}: the Trainer "
                "counts them if this function is its compute_loss_func."
            )
        trainers = labels.ne(UNCOUNTED)  # as the Trainer writes it
        counted = trainers.sum()
        of_step = torch.as_tensor(items).flatten()[0].clamp(min=1)
        # A scalar on the CPU works with tensors on any device
        share = counted / (of_step if of_step.is_cpu else of_step.to(counted.device))
        known = ignored_values(self.loss)
        if not known and can_hold(labels.dtype, UNCOUNTED):
            return share  # a loss that ignores nothing else
        ignored = equals_any(labels, (*known, UNCOUNTED))
        differ = (ignored == trainers).any() & (share != 1)
        if self._checks.due("labels", labels, on_every_batch=True):
            if differ:
                raise ValueError(_why_not_exact(labels, known))
            self._checks.passed("labels", labels)
        return torch.where(differ, torch.nan, share)

    def _resized(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.ndim not in _MODES:
            raise ValueError(f"logits must be (N, C, *spatial), got {tuple(logits.shape)}.")
        if labels.ndim != logits.ndim - 1 and labels.shape[1:2] not in ((1,), logits.shape[1:2]):
            remedy = for_target_shape(labels, logits, logits.shape[1], exclusive=True)
            raise ValueError(
                f"labels must be (N, *spatial), with the spatial dimensions of the logits "
                f"{tuple(logits.shape)}, got {tuple(labels.shape)}."
                f"{named(remedy, 'logits', 'labels')}"
            )
        size = labels.shape[2 - logits.ndim :]
        if logits.shape[2:] == size:
            return logits
        if not self.upsample_logits:
            raise ValueError(
                f"logits must have the size of the labels, {tuple(size)}, got "
                f"{tuple(logits.shape[2:])}: set upsample_logits=True."
            )
        return F.interpolate(logits, size, mode=_MODES[logits.ndim], align_corners=False)


def _logits(outputs: Any) -> Tensor:
    """Returns the logits in a model's output."""
    if isinstance(outputs, Mapping):
        found = outputs.get("logits")
    elif isinstance(outputs, tuple):
        found = outputs[0] if outputs else None
    else:
        found = getattr(outputs, "logits", None)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"outputs must have logits, a tensor, got {type(outputs).__name__} without "
            "logits: use a model for semantic segmentation, or override Trainer.compute_loss."
        )
    return found


def _why_not_exact(labels: Tensor, ignored: tuple[float, ...]) -> str:
    """Returns the message for labels that the loss ignores, but not the Trainer, or vice versa."""
    values = [value for value in ignored if equals_any(labels, (value,)).any()]
    marked = next(iter(values), None) if len(values) < 2 else values
    cause = (
        f"labels hold {' and '.join(map(str, values))}, which the loss ignores (ignore_index) and "
        "the Trainer counts"
        if values
        else f"labels of {labels.dtype} can't hold -100, which the Trainer takes for "
        f"{torch.tensor(UNCOUNTED).to(labels.dtype).item()}"
    )
    return (
        f"{cause}: it leaves out only -100, and would weight the micro-batches of a step wrongly. "
        f"Pass data_collator=IgnoreIndexCollator({marked}) of segloss.training.huggingface to the "
        "Trainer, which marks ignored labels as -100, or train without gradient accumulation on "
        "one process."
    )
