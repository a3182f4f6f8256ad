r"""Adapts a loss to the `compute_loss_func` of the Trainer.

With such a function, the Trainer does not divide by the number of micro-batches in a step. Instead,
it passes the number of labels in the step, over all ranks. For a micro-batch b, with :math:`n_b` of
the step's n labels, the function must therefore return the mean :math:`L_b` as

.. math:: \frac{n_b}{n} L_b

The step's loss is then the mean over all its labels. This is exact for a plain mean over pixels,
such as cross-entropy; region terms are not such means, and their micro-batches are weighted by
their numbers of labels. Labels of -100 are not counted, as in the Trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segloss.batch.remedies import for_target_shape
from segloss.foundation.arguments import check_flag, shown

_UNCOUNTED = -100
"""The label that the Trainer leaves out of its count."""

_MODES = {3: "linear", 4: "bilinear", 5: "trilinear"}
"""The mode of interpolation for logits, by number of dimensions."""


def as_compute_loss_func(
    loss: Callable[..., Any], *, upsample_logits: bool = True
) -> Callable[..., Tensor]:
    """Returns a loss as `compute_loss_func` of `transformers.Trainer`.

    The result is correct with gradient accumulation and on several ranks; see the docstring of
    this module.

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

    def __call__(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Returns the loss of a micro-batch, as its share of the step's loss.

        Raises:
            TypeError, ValueError: There are no labels or logits, or their sizes differ and
                `upsample_logits` is False.
        """
        if not isinstance(labels, Tensor):
            raise TypeError(
                f"labels must be a tensor, got {type(labels).__name__}: the samples of the dataset "
                "must have the key 'labels', a label map."
            )
        logits = self._resized(_logits(outputs), labels)
        if isinstance(self.loss, nn.Module):
            self.loss.to(logits.device)
        result = self.loss(logits, labels)
        value: Tensor = result[0] if isinstance(result, tuple) else result
        return value if num_items_in_batch is None else value * _share(labels, num_items_in_batch)

    def _resized(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.ndim not in _MODES:
            raise ValueError(f"logits must be (N, C, *spatial), got {tuple(logits.shape)}.")
        if labels.ndim != logits.ndim - 1 and labels.shape[1:2] not in ((1,), logits.shape[1:2]):
            raise ValueError(
                f"labels must be (N, *spatial), with the spatial dimensions of the logits "
                f"{tuple(logits.shape)}, got {tuple(labels.shape)}."
                f"{for_target_shape(labels, logits, logits.shape[1])}"
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


def _share(labels: Tensor, items: Tensor | int) -> Tensor:
    """Returns the fraction of a step's labels that are in this micro-batch."""
    if not isinstance(items, (Tensor, int)):
        raise TypeError(
            f"num_items_in_batch must be a number of labels, got {shown(items)}: the Trainer "
            "counts them if this function is its compute_loss_func."
        )
    counted = labels.ne(_UNCOUNTED).sum()
    of_step = torch.as_tensor(items).flatten()[0].clamp(min=1)
    # A scalar on the CPU works with tensors on any device
    return counted / (of_step if of_step.is_cpu else of_step.to(counted.device))
