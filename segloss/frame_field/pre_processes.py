"""Preprocessing steps that add maps to batches, for the frame-field losses."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from segloss.batch.keys import take
from segloss.batch.shape_checks import check_real
from segloss.batch.value_checks import ValueChecks, check_finite_values, check_unit_range
from segloss.foundation.arguments import ChecksKeywords, check_flag, check_number, check_text
from segloss.foundation.precision import without_autocast
from segloss.frame_field.arithmetic import image_gradient
from segloss.frame_field.batches import check_angle, check_is_mapping, field_of, take_map

_FIELD_CHECKS = ValueChecks()
"""The value checks of `compute_gt_field`. Unlike a class, a function can't hold its own."""

Batches = tuple[dict[str, Any], dict[str, Any]]

_EPS = 1e-6
"""The number that is added to the norm of a gradient before a division by it."""


class ComputeSegGrads(ChecksKeywords):
    r"""Adds the gradients of the predicted masks to `pred_batch`.

    - "seg_grads", (N, C, 2, H, W): the gradients, twice Scharr's derivatives along H and W, so
      that the norm at a step from 0 to 1 is 1;
    - "seg_grad_norm", (N, C, H, W): the norm of the gradients;
    - "seg_grads_normed", (N, C, 2, H, W): the gradients divided by their norm + 1e-6.

    Args:
        seg_key: The key of the predicted masks in `pred_batch`, (N, C, H, W), probabilities. The
            keys above begin with it.

    Raises:
        KeyError, TypeError, ValueError: The masks are missing or have a wrong shape or dtype.

    Example:
        >>> step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 4, 4)
        >>> pred_batch, _ = ComputeSegGrads()({"seg": step}, {})
        >>> pred_batch["seg_grad_norm"][0, 0, 0]
        tensor([0., 1., 1., 0.])
    """

    def __init__(self, seg_key: str = "seg") -> None:
        self.seg_key = check_text("seg_key", seg_key)

    def __call__(self, pred_batch: Any, gt_batch: Any) -> Batches:
        """Returns the batches, with the maps in a copy of `pred_batch`."""
        check_is_mapping(pred_batch, "pred_batch", self.seg_key)
        seg = take_map(pred_batch, self.seg_key, "pred_batch")
        with without_autocast(seg.device):
            gradient = 2 * image_gradient(seg)
            norm = torch.linalg.vector_norm(gradient, dim=2)
            added = {
                f"{self.seg_key}_grads": gradient,
                f"{self.seg_key}_grad_norm": norm,
                f"{self.seg_key}_grads_normed": gradient / (norm.unsqueeze(2) + _EPS),
            }
        return {**pred_batch, **added}, gt_batch


def compute_gt_field(
    pred_batch: Any,
    gt_batch: Any,
    angle_key: str = "gt_crossfield_angle",
    field_key: str = "gt_field",
) -> Batches:
    """Adds the unit directions of walls, "gt_field" (N, 2, H, W): cosine and sine of their angle.

    Args:
        pred_batch: A batch that is returned unchanged.
        gt_batch: A mapping with the angle in radians, (N, 1, H, W).
        angle_key: The key of the angle.
        field_key: The key of the added directions.

    Returns:
        `pred_batch`, and a copy of `gt_batch` with the directions.

    Raises:
        KeyError, TypeError, ValueError: The angle is missing, or has a wrong shape or value.

    Example:
        >>> _, gt_batch = compute_gt_field({}, {"gt_crossfield_angle": torch.zeros(1, 1, 1, 1)})
        >>> gt_batch["gt_field"].flatten()
        tensor([1., 0.])
    """
    check_is_mapping(gt_batch, "gt_batch", angle_key)
    angle = take_map(gt_batch, angle_key, "gt_batch", channels=1)
    check_angle(angle, f"gt_batch[{angle_key!r}]", _FIELD_CHECKS)
    return pred_batch, {**gt_batch, field_key: field_of(angle)}


class SegLossWeights(ChecksKeywords):
    r"""Adds pixel weights for masks of many small objects: "seg_loss_weights" (N, C, H, W).

    .. math:: w = \left(\frac1f + w_0\,e^{-d^2/\sigma^2}\right) \left(1 + \frac1{r s}\right)

    with the frequency f of a pixel's class (`class_freq` of a class where its mask is set, and 1
    minus the sum of `class_freq` elsewhere), the sum d of the distances to the two nearest objects
    in pixels, the size s of the pixel's object, and r = sqrt(H W) / 2.

    Args:
        use_dist: True to add the term with the distance.
        use_size: True to multiply by the factor with the size.
        w0: The weight of the gap between two objects that touch.
        sigma: The width of a gap in pixels, above 0.
        gt_key: The key of the masks in `gt_batch`, (N, C, H, W), with values in [0, 1].
        weight_key: The key of the added weights.

    `gt_batch` needs "class_freq", (N, C); "distances", (N, 1, H, W), divided by H + W, if
    `use_dist`; and "sizes", (N, 1, H, W), divided by the area of the image, if `use_size`.

    Raises:
        KeyError, TypeError, ValueError: A map is missing, or a frequency or size is not above 0.

    Source: Ronneberger, Fischer, Brox, "U-Net" (2015), with the frequencies and sizes of Girard et
    al. (2021).

    Example:
        >>> weights = SegLossWeights(use_dist=False, use_size=False)
        >>> masks = torch.tensor([0.0, 1.0]).expand(1, 1, 1, 2)
        >>> gt_batch = {"gt_polygons_image": masks, "class_freq": torch.tensor([[0.25]])}
        >>> weights({}, gt_batch)[1]["seg_loss_weights"].flatten()
        tensor([1.3333, 4.0000])
    """

    def __init__(
        self,
        use_dist: bool = True,
        use_size: bool = True,
        w0: float = 50.0,
        sigma: float = 10.0,
        *,
        gt_key: str = "gt_polygons_image",
        weight_key: str = "seg_loss_weights",
    ) -> None:
        self.use_dist = check_flag("use_dist", use_dist)
        self.use_size = check_flag("use_size", use_size)
        self.w0 = check_number("w0", w0)
        self.sigma = check_number("sigma", sigma, open_low=True)
        self.gt_key = check_text("gt_key", gt_key)
        self.weight_key = check_text("weight_key", weight_key)
        self._checks = ValueChecks()

    def __call__(self, pred_batch: Any, gt_batch: Any) -> Batches:
        """Returns the batches, with the weights in a copy of `gt_batch`."""
        check_is_mapping(gt_batch, "gt_batch", self.gt_key)
        masks = take_map(gt_batch, self.gt_key, "gt_batch")
        given = take(gt_batch, self.gt_key, "gt_batch").dtype
        check_unit_range(masks, f"gt_batch[{self.gt_key!r}]", self._checks, dtype=given)
        frequency = self._frequency(gt_batch, masks)
        height, width = masks.shape[2:]
        weights = 1 / frequency
        if self.use_dist:
            distances = take_map(gt_batch, "distances", "gt_batch", channels=1, like=masks)
            check_finite_values(distances, "gt_batch['distances']", self._checks)
            distances = distances * (height + width)
            weights = weights + self.w0 * torch.exp(-((distances / self.sigma) ** 2))
        if self.use_size:
            sizes = take_map(gt_batch, "sizes", "gt_batch", channels=1, like=masks)
            self._check_above_zero(sizes, "sizes")
            radius = math.sqrt(height * width) / 2
            weights = weights * (1 + 1 / (radius * sizes))
        return pred_batch, {**gt_batch, self.weight_key: weights}

    def _frequency(self, gt_batch: Any, masks: Tensor) -> Tensor:
        """Returns the frequency of each pixel's class, (N, C, H, W)."""
        classes = take(gt_batch, "class_freq", "gt_batch", "Add it: SegLossWeights needs it.")
        check_real(classes, "gt_batch['class_freq']")
        if classes.shape != masks.shape[:2]:
            raise ValueError(
                f"gt_batch['class_freq'] must have one frequency per sample and mask: expected "
                f"{tuple(masks.shape[:2])}, got {tuple(classes.shape)}."
            )
        classes = classes.to(masks)
        background = 1 - classes.sum(1, keepdim=True)
        frequency = torch.where(masks > 0.5, classes[..., None, None], background[..., None, None])
        self._check_above_zero(frequency, "class_freq")
        return frequency

    def _check_above_zero(self, tensor: Tensor, key: str) -> None:
        if not self._checks.due(key, tensor):
            return
        wrong = ~(tensor.detach().flatten(1) > 0).all(1)
        if wrong.any():
            samples = wrong.nonzero().flatten().tolist()
            raise ValueError(
                f"gt_batch[{key!r}] must be above 0 wherever it is used, but is not in the samples "
                f"{samples}{_HINTS[key]}"
            )
        self._checks.passed(key, tensor)


_HINTS = {
    "class_freq": ": frequencies are shares of the pixels of the dataset or the image, and must "
    "leave a share for the background.",
    "sizes": ": give pixels outside objects the size 1.",
}
