r"""Partially labelled data: samples in which only some of the classes are annotated.

The pixels of a class that is not annotated have the label of the background, class 0. So with
softmax, such a label means "background or one of these classes", and their probabilities are added
up, with A the annotated classes:

.. math:: p_0' = p_0 + \sum_{c \notin A} p_c, \quad p_c' = 0

For sigmoid channels, `segloss.batch.assemble` gives such pixels weight 0 instead.

Source: Shi, Xiao, Chen, Zhou, "Marginal loss and exclusion loss for partially supervised
multi-organ segmentation" (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import arithmetic_dtype


def merge_unannotated(pixels: PixelBatch, annotated: Tensor) -> PixelBatch:
    """Merges classes that are not annotated into the background, class 0, for softmax.

    Args:
        pixels: The batch.
        annotated: Booleans (N, C): True where a class is annotated in a sample.
    """
    merged = ~annotated.unsqueeze(-1)
    merged[:, 0] = False
    return pixels.replace(
        prediction=_merged_prediction(pixels, merged),
        target=_merged_labels(pixels, merged)
        if pixels.is_label_map
        else _merged_masks(pixels, merged),
    )


def _merged_prediction(pixels: PixelBatch, merged: Tensor) -> Tensor:
    prediction = pixels.prediction.to(arithmetic_dtype(pixels.prediction.dtype))
    valid = pixels.valid()
    if valid is not None:
        prediction = torch.where(valid, prediction, 0)  # a NaN would spoil the gradient
    impossible = 0.0
    if pixels.options.from_logits:  # a sum of infinite logits alone would have no gradient
        impossible = torch.finfo(prediction.dtype).min
        prediction = prediction.clamp(min=impossible)
    addends = prediction.masked_fill(~_with_background(merged), impossible)
    background = addends.logsumexp(1) if pixels.options.from_logits else addends.sum(1)
    foreground = prediction.masked_fill(merged, impossible)[:, 1:]
    return torch.cat([background.unsqueeze(1), foreground], 1)


def _merged_labels(pixels: PixelBatch, merged: Tensor) -> Tensor:
    classes, wrong = pixels.labels(pixels.valid())
    is_merged = merged.squeeze(-1).gather(1, classes) & ~wrong
    kept = pixels.kept()
    if kept is not None:
        is_merged = is_merged & kept.squeeze(1)  # ignored pixels stay ignored
    return pixels.target.masked_fill(is_merged, 0)


def _merged_masks(pixels: PixelBatch, merged: Tensor) -> Tensor:
    target, kept = pixels.target, pixels.kept()
    background = target.masked_fill(~_with_background(merged), 0)
    dtype = target.dtype
    if dtype.is_floating_point:
        dtype = torch.promote_types(dtype, arithmetic_dtype(pixels.prediction.dtype))
    background = background.sum(1, keepdim=True, dtype=dtype)
    if kept is not None:
        background = torch.where(kept, background, target[:, :1])  # ignored pixels stay ignored
    foreground = target.masked_fill(merged if kept is None else merged & kept, 0)[:, 1:]
    return torch.cat([background, foreground.to(background.dtype)], 1)


def _with_background(merged: Tensor) -> Tensor:
    """Returns the mask of the merged classes and the background."""
    is_background = torch.arange(merged.shape[1], device=merged.device) == 0
    return merged | is_background[None, :, None]
