"""Functions that take maps from batches, check them, and convert them to the arithmetic dtype."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segloss.batch.keys import MissingKeyError, take, take_optional
from segloss.batch.shape_checks import check_companion, check_prediction, check_real
from segloss.batch.value_checks import ValueChecks, check_finite_values, check_unit_range
from segloss.foundation.arguments import shown
from segloss.foundation.precision import arithmetic_dtype

EDGE, VERTEX = 1, 2
"""Channels of the masks, which are interior, edge and vertex."""

_FAR = 4 * math.pi
"""The angle beyond which several values are not in radians."""

_REMEDY = "Rename the key in the batch, or name yours with the argument that ends in _key."


def take_map(
    batch: Any,
    key: str,
    batch_name: str,
    *,
    channels: int | None = None,
    least: int = 1,
    like: Tensor | None = None,
) -> Tensor:
    """Returns a map (N, C, H, W) of a batch, in float32 or higher, or in the dtype of `like`.

    Args:
        batch: A mapping.
        key: The key of the map.
        batch_name: The name of the batch in messages.
        channels: The required number of channels, or None.
        least: The minimum number of channels.
        like: A prediction, for maps of the ground truth: they must have its N, H, W and device,
            must not require grad, and are converted to its dtype. None for predictions.

    Raises:
        KeyError, TypeError, ValueError: The map is missing, or has a wrong shape, dtype or device.
    """
    tensor, name = take(batch, key, batch_name, _REMEDY), f"{batch_name}[{key!r}]"
    expected = f"(N, {channels or f'at least {least}'}, H, W)"
    fits = tensor.ndim == 4 and tensor.shape[1] >= least
    if not fits or (channels is not None and tensor.shape[1] != channels):
        raise ValueError(f"{name} must have the shape {expected}, got {tuple(tensor.shape)}.")
    if 0 in tensor.shape[2:]:
        raise ValueError(f"{name} must have at least one pixel, got {tuple(tensor.shape)}.")
    if tensor.is_complex():
        raise TypeError(
            f"{name} must be real: write complex numbers as two channels, real and imaginary."
        )
    if batch_name == "pred_batch":
        check_prediction(tensor, name)
    else:
        check_real(tensor, name)
    if like is None:
        return tensor.to(arithmetic_dtype(tensor.dtype))
    return _as_ground_truth(tensor, name, like)


def take_gt_field(
    gt_batch: Any, field_key: str, angle_key: str, like: Tensor, checks: ValueChecks
) -> Tensor:
    """Returns the directions of the walls, (N, 2, H, W), from the batch or from their angle.

    Raises:
        KeyError, TypeError, ValueError: Both are missing, or the map has a wrong shape or value.
    """
    if take_optional(gt_batch, field_key, "gt_batch") is not None:
        field = take_map(gt_batch, field_key, "gt_batch", channels=2, like=like)
        check_finite_values(field, f"gt_batch[{field_key!r}]", checks)
        return field
    check_is_mapping(gt_batch, "gt_batch", angle_key)
    if take_optional(gt_batch, angle_key, "gt_batch") is None:
        raise MissingKeyError(
            f"gt_batch must have the key {field_key!r}, unit directions of walls (N, 2, H, W), or "
            f"{angle_key!r}, their angle (N, 1, H, W); its keys are: {_keys(gt_batch)}."
        )
    angle = take_map(gt_batch, angle_key, "gt_batch", channels=1, like=like)
    check_angle(angle, f"gt_batch[{angle_key!r}]", checks)
    return field_of(angle)


def check_angle(angle: Tensor, name: str, checks: ValueChecks) -> None:
    """Raises ValueError if the check is due, and an angle is not finite, or is not in radians.

    An angle in radians is far from 4 pi, even after rotations of the image. A single value beyond
    may mark pixels without a wall.
    """
    is_due = checks.due(f"range of {name}", angle)
    check_finite_values(angle, name, checks)
    if not is_due:
        return
    far = angle[angle.abs() > _FAR]
    if far.numel() and far.min() != far.max():
        raise ValueError(
            f"{name} must be in radians, got values from {angle.min():g} to {angle.max():g}: if "
            f"these are degrees, pass torch.deg2rad({name}); if they are from an image of 8 bits, "
            f"where 255 is pi, {name} * math.pi / 255."
        )
    checks.passed(f"range of {name}", angle)


def field_of(angle: Tensor) -> Tensor:
    """Returns the unit directions (N, 2, H, W) of an angle (N, 1, H, W): its cosine and sine."""
    return torch.cat([angle.cos(), angle.sin()], 1)


def check_is_mapping(batch: Any, batch_name: str, key: str) -> None:
    """Raises TypeError if the batch is not a mapping, which can hold more than the map of a key."""
    if not isinstance(batch, Mapping):
        raise TypeError(
            f"{batch_name} must be a mapping, which can hold several maps, got {shown(batch)}: "
            f"pass {{{key!r}: ...}} with each map under its key."
        )


def take_gradients(pred_batch: Any, key: str, shape: str) -> Tensor:
    """Returns a map that `ComputeSegGrads` adds to a batch, of a shape such as "(N, C, H, W)".

    Raises:
        KeyError, TypeError, ValueError: The map is missing, or has a wrong shape or dtype.
    """
    check_is_mapping(pred_batch, "pred_batch", key.removesuffix("_normed").rpartition("_grad")[0])
    if take_optional(pred_batch, key, "pred_batch") is None:
        raise MissingKeyError(
            f"pred_batch must have the key {key!r}, which ComputeSegGrads adds: put it into the "
            f"pre_processes of the MultiLoss; its keys are: {_keys(pred_batch)}."
        )
    gradients, name = take(pred_batch, key, "pred_batch"), f"pred_batch[{key!r}]"
    if gradients.ndim != len(shape.split(",")) or (gradients.ndim == 5 and gradients.shape[2] != 2):
        raise ValueError(
            f"{name} must have the shape {shape}, as ComputeSegGrads makes it, got "
            f"{tuple(gradients.shape)}."
        )
    check_prediction(gradients, name)
    return gradients


def take_masks(gt_batch: Any, key: str, like: Tensor, least: int, checks: ValueChecks) -> Tensor:
    """Returns the masks of interior, edges and vertices, (N, C, H, W), with values in [0, 1]."""
    masks = take_map(gt_batch, key, "gt_batch", least=least, like=like)
    given = take(gt_batch, key, "gt_batch").dtype
    check_unit_range(masks, f"gt_batch[{key!r}]", checks, dtype=given)
    return masks


def _keys(batch: Any) -> str:
    return ", ".join(repr(name) for name in batch) or "none"


def _as_ground_truth(tensor: Tensor, name: str, like: Tensor) -> Tensor:
    check_companion(tensor, name, like, "the predictions")
    expected = (len(like), *like.shape[2:])
    if (len(tensor), *tensor.shape[2:]) != expected:
        raise ValueError(
            f"{name} must have as many samples and pixels as the predictions: expected "
            f"N, H, W = {expected}, got the shape {tuple(tensor.shape)}."
        )
    return tensor.to(like.dtype)
