r"""Partially labelled data: samples in which only some of the classes were looked for.

Where a class is not annotated, its pixels bear the label of the background. With softmax, what can
be learnt from such a pixel is that it is one of both, so their probabilities are added up:

.. math:: p_0' = p_0 + \sum_{c \notin A} p_c, \quad p_c' = 0

Source: Shi, Xiao, Chen, Zhou, "Marginal loss and exclusion loss for partially supervised
multi-organ segmentation" (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch


def merge_unannotated(pixels: PixelBatch, annotated: Tensor) -> PixelBatch:
    """Merges classes that are not annotated into the background, class 0, for softmax."""
    merged = ~annotated.unsqueeze(-1)
    merged[:, 0] = False
    return pixels.replace(
        prediction=_merged_prediction(pixels, merged),
        target=_merged_labels(pixels, merged)
        if pixels.is_label_map
        else _merged_masks(pixels, merged),
    )


def _merged_prediction(pixels: PixelBatch, merged: Tensor) -> Tensor:
    prediction, valid = pixels.prediction, pixels.valid()
    if valid is not None:
        prediction = torch.where(valid, prediction, 0)  # whose NaN would stay in the gradient
    gone = -torch.inf if pixels.options.from_logits else 0.0
    joined = prediction.masked_fill(~_with_background(merged), gone)
    background = joined.logsumexp(1) if pixels.options.from_logits else joined.sum(1)
    rest = prediction.masked_fill(merged, gone)
    return torch.cat([background.unsqueeze(1), rest[:, 1:]], 1)


def _merged_labels(pixels: PixelBatch, merged: Tensor) -> Tensor:
    labels = pixels.target.long()
    known = labels.clamp(0, merged.shape[1] - 1)
    is_merged = merged.squeeze(-1).gather(1, known) & (known == labels)
    return pixels.target.masked_fill(is_merged, 0)


def _merged_masks(pixels: PixelBatch, merged: Tensor) -> Tensor:
    target, kept = pixels.target, pixels.kept()
    of_background = target.masked_fill(~_with_background(merged), 0).sum(1, keepdim=True)
    if kept is not None:
        of_background = torch.where(kept, of_background, target[:, :1])  # ignored, as it was
    rest = target.masked_fill(merged if kept is None else merged & kept, 0)
    return torch.cat([of_background.to(target.dtype), rest[:, 1:]], 1)


def _with_background(merged: Tensor) -> Tensor:
    """Returns the classes that are merged, and the one that they are merged with."""
    is_background = torch.arange(merged.shape[1], device=merged.device) == 0
    return merged | is_background[None, :, None]
