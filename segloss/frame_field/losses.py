"""Losses of frame fields, and losses that align masks with frame fields."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from segloss.batch.keys import Batch, take
from segloss.batch.value_checks import ValueChecks, check_unit_range
from segloss.foundation.arguments import check_integer, check_text
from segloss.foundation.precision import without_autocast
from segloss.foundation.printable import counted
from segloss.frame_field.arithmetic import alignment_error, laplacian, turned
from segloss.frame_field.batches import (
    EDGE,
    VERTEX,
    take_gradients,
    take_gt_field,
    take_map,
    take_masks,
)
from segloss.losses.loss import Loss


class FrameFieldLoss(Loss):
    """A loss of maps (N, C, H, W), computed in float32 or higher, outside autocast.

    A subclass defines `read`, which takes checked maps from the batches, and `energy`, which
    computes the loss from them.

    Args:
        name: The name for logging.
        use_mixup: True if batches may have the keys of `MixUp`.
        crossfield_key: The key of the predicted frame field in `pred_batch`, (N, 4, H, W).
        seg_key: The key of the predicted masks in `pred_batch`, (N, C, H, W).
        gt_key: The key of the true masks in `gt_batch`, whose channels are interior, edge, vertex.
        field_key: The key of the walls' unit directions in `gt_batch`, (N, 2, H, W).
        angle_key: The key of their angle in radians in `gt_batch`, (N, 1, H, W), used if there are
            no directions.
    """

    def __init__(
        self,
        name: str,
        *,
        use_mixup: bool = False,
        crossfield_key: str = "crossfield",
        seg_key: str = "seg",
        gt_key: str = "gt_polygons_image",
        field_key: str = "gt_field",
        angle_key: str = "gt_crossfield_angle",
    ) -> None:
        super().__init__(name, use_mixup=use_mixup)
        self.crossfield_key = check_text("crossfield_key", crossfield_key)
        self.seg_key = check_text("seg_key", seg_key)
        self.gt_key = check_text("gt_key", gt_key)
        self.field_key = check_text("field_key", field_key)
        self.angle_key = check_text("angle_key", angle_key)
        self._checks = ValueChecks()

    @abstractmethod
    def read(self, pred_batch: Batch, gt_batch: Batch) -> tuple[Tensor, ...]:
        """Returns the maps that the loss needs."""

    @abstractmethod
    def energy(self, *maps: Tensor) -> Tensor:
        """Returns the loss, a scalar, from the maps of `read`."""

    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """Returns the loss of a batch."""
        maps = self.read(pred_batch, gt_batch)
        if maps[0].numel() == 0:
            return maps[0].sum()  # 0 with a graph: the mean of an empty batch would be NaN
        with without_autocast(maps[0].device):
            return self.energy(*maps)

    def _crossfield(self, pred_batch: Batch) -> Tensor:
        return take_map(pred_batch, self.crossfield_key, "pred_batch", channels=4)

    def _field(self, gt_batch: Batch, like: Tensor) -> Tensor:
        return take_gt_field(gt_batch, self.field_key, self.angle_key, like, self._checks)

    def _masks(self, gt_batch: Batch, like: Tensor, least: int) -> Tensor:
        return take_masks(gt_batch, self.gt_key, like, least, self._checks)


class CrossfieldAlignLoss(FrameFieldLoss):
    r"""Makes one direction of the frame field follow the walls.

    .. math:: \frac1{NHW} \sum e\,f(z), \qquad f(z) = |z^4 + c_2 z^2 + c_0|^2

    with the edge mask e (channel 1 of the masks) and the unit directions z of walls. At least 0.

    The keyword arguments are the same as for `FrameFieldLoss`.

    Raises:
        KeyError, TypeError, ValueError: A map is missing, or has a wrong shape or range.

    Source: Girard, Smirnov, Solomon, Tarabalka, "Polygonal building extraction by frame field
    learning" (2021).

    Example:
        >>> loss = CrossfieldAlignLoss("crossfield_align")
        >>> pred_batch = {"crossfield": torch.zeros(1, 4, 2, 2)}
        >>> masks = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
        >>> angle = torch.zeros(1, 1, 2, 2)
        >>> loss(pred_batch, {"gt_polygons_image": masks, "gt_crossfield_angle": angle})[0]
        tensor(1.)
    """

    def __init__(self, name: str = "crossfield_align", **options: Any) -> None:
        super().__init__(name, **options)

    def read(self, pred_batch: Batch, gt_batch: Batch) -> tuple[Tensor, ...]:
        """Returns the frame field, the walls' directions and the masks."""
        crossfield = self._crossfield(pred_batch)
        field = self._field(gt_batch, crossfield)
        return crossfield, field, self._masks(gt_batch, crossfield, least=EDGE + 1)

    def energy(self, *maps: Tensor) -> Tensor:
        """Returns the mean alignment error on edges."""
        crossfield, field, masks = maps
        return (alignment_error(field, crossfield) * masks[:, EDGE]).mean()


class CrossfieldAlign90Loss(FrameFieldLoss):
    r"""Makes the other direction of the frame field perpendicular to the walls.

    .. math:: \frac1{NHW} \sum \mathrm{clamp}(e - v, 0, 1)\,f(iz)

    with the edge and vertex masks e and v (channels 1 and 2 of the masks), f and z as in
    `CrossfieldAlignLoss`. Corners, where two walls meet, do not count. At least 0.

    The keyword arguments are the same as for `FrameFieldLoss`.

    Raises:
        KeyError, TypeError, ValueError: A map is missing, or has a wrong shape or range. The masks
            need three channels.

    Source: Girard et al. (2021); see `CrossfieldAlignLoss`.

    Example:
        >>> loss = CrossfieldAlign90Loss("crossfield_align90")
        >>> pred_batch = {"crossfield": torch.zeros(1, 4, 2, 2)}
        >>> masks = torch.tensor([0.0, 1.0, 0.5]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
        >>> angle = torch.zeros(1, 1, 2, 2)
        >>> loss(pred_batch, {"gt_polygons_image": masks, "gt_crossfield_angle": angle})[0]
        tensor(0.5000)
    """

    def __init__(self, name: str = "crossfield_align90", **options: Any) -> None:
        super().__init__(name, **options)

    def read(self, pred_batch: Batch, gt_batch: Batch) -> tuple[Tensor, ...]:
        """Returns the frame field, the walls' directions and the masks."""
        crossfield = self._crossfield(pred_batch)
        field = self._field(gt_batch, crossfield)
        return crossfield, field, self._masks(gt_batch, crossfield, least=VERTEX + 1)

    def energy(self, *maps: Tensor) -> Tensor:
        """Returns the mean alignment error of the normals of the edges, except at corners."""
        crossfield, field, masks = maps
        walls = (masks[:, EDGE] - masks[:, VERTEX]).clamp(0, 1)
        return (alignment_error(turned(field), crossfield) * walls).mean()


class CrossfieldSmoothLoss(FrameFieldLoss):
    r"""Makes the frame field smooth where there are no walls.

    .. math:: \frac1{4NHW} \sum (1 - e)\,|\Delta c|

    with the edge mask e and the Laplacian, divided by 12, of each channel c of the field. At least
    0.

    The keyword arguments are the same as for `FrameFieldLoss`.

    Raises:
        KeyError, TypeError, ValueError: A map is missing, or has a wrong shape or range.

    Source: Girard et al. (2021); see `CrossfieldAlignLoss`.

    Example:
        >>> loss = CrossfieldSmoothLoss("crossfield_smooth")
        >>> pred_batch = {"crossfield": torch.ones(1, 4, 1, 1)}
        >>> loss(pred_batch, {"gt_polygons_image": torch.zeros(1, 2, 1, 1)})[0]
        tensor(0.5000)
    """

    def __init__(self, name: str = "crossfield_smooth", **options: Any) -> None:
        super().__init__(name, **options)

    def read(self, pred_batch: Batch, gt_batch: Batch) -> tuple[Tensor, ...]:
        """Returns the frame field and the masks."""
        crossfield = self._crossfield(pred_batch)
        return crossfield, self._masks(gt_batch, crossfield, least=EDGE + 1)

    def energy(self, *maps: Tensor) -> Tensor:
        """Returns the mean absolute Laplacian outside edges."""
        crossfield, masks = maps
        outside_edges = 1 - masks[:, EDGE : EDGE + 1]
        return (laplacian(crossfield).abs() * outside_edges).mean()


class SegCrossfieldLoss(FrameFieldLoss):
    r"""Makes a mask's contour follow the frame field.

    .. math:: \frac1{NHW} \sum \|\nabla y\|\,f\!\left(\frac{\nabla y}{\|\nabla y\|}\right)

    with one channel y of the predicted masks, whose gradient `ComputeSegGrads` adds, and f as in
    `CrossfieldAlignLoss`. At least 0.

    Args:
        name: The name for logging.
        pred_channel: The channel of the predicted masks.
        **options: The keyword arguments of `FrameFieldLoss`.

    Raises:
        KeyError, TypeError, ValueError: A map is missing or has a wrong shape, or the masks do not
            have the channel.

    Source: Girard et al. (2021); see `CrossfieldAlignLoss`.

    Example:
        >>> from segloss import ComputeSegGrads
        >>> loss = SegCrossfieldLoss("seg_interior_crossfield", pred_channel=0)
        >>> step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 4, 4)
        >>> batch = {"seg": step, "crossfield": torch.zeros(1, 4, 4, 4)}
        >>> loss(*ComputeSegGrads()(batch, {}))[0]
        tensor(0.5000)
    """

    def __init__(self, name: str = "seg_crossfield", pred_channel: int = 0, **options: Any) -> None:
        super().__init__(name, **options)
        self.pred_channel = check_integer("pred_channel", pred_channel, 0)

    def read(self, pred_batch: Batch, gt_batch: Batch) -> tuple[Tensor, ...]:
        """Returns the frame field, and the direction and the norm of the channel's gradient."""
        crossfield = self._crossfield(pred_batch)
        keys = (f"{self.seg_key}_grads_normed", f"{self.seg_key}_grad_norm")
        shapes = ("(N, C, 2, H, W)", "(N, C, H, W)")
        maps = [take_gradients(pred_batch, k, s) for k, s in zip(keys, shapes, strict=True)]
        channels = maps[0].shape[1]
        if self.pred_channel >= channels:
            raise ValueError(
                f"pred_channel={self.pred_channel} is out of range: pred_batch[{self.seg_key!r}] "
                f"has {counted(channels, 'channel')} (0 to {channels - 1})."
            )
        for tensor, key in zip(maps, keys, strict=True):
            _check_pixels(tensor, f"pred_batch[{key!r}]", crossfield)
        return crossfield, *(tensor[:, self.pred_channel] for tensor in maps)

    def energy(self, *maps: Tensor) -> Tensor:
        """Returns the mean alignment error of the contour."""
        crossfield, direction, norm = maps
        return (alignment_error(direction, crossfield) * norm).mean()


class SegEdgeInteriorLoss(FrameFieldLoss):
    r"""Makes the predicted edges match the contours of the predicted interior.

    .. math:: \frac1{NHW} \sum \bigl|e - \|\nabla y\|\bigr| \max\left(\frac{1 + \cos \pi y}2,
        \frac{1 - \cos \pi \|\nabla y\|}2\right)

    with the interior y (channel 0 of the predicted masks) and the edge e (channel 1). Pixels
    outside buildings and on their contours count. Edges inside, such as between two buildings that
    touch, are not penalised. At least 0.

    The keyword arguments are the same as for `FrameFieldLoss`. `pred_batch` needs the maps that
    `ComputeSegGrads` adds.

    Raises:
        KeyError, TypeError, ValueError: A map is missing, or has a wrong shape or range.

    Source: Girard et al. (2021); see `CrossfieldAlignLoss`.

    Example:
        >>> from segloss import ComputeSegGrads
        >>> loss = SegEdgeInteriorLoss("seg_edge_interior")
        >>> masks = torch.tensor([0.0, 0.25]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> loss(*ComputeSegGrads()({"seg": masks}, {}))[0]
        tensor(0.2500)
    """

    def __init__(self, name: str = "seg_edge_interior", **options: Any) -> None:
        super().__init__(name, **options)

    def read(self, pred_batch: Batch, gt_batch: Batch) -> tuple[Tensor, ...]:
        """Returns the predicted interior and edge, and the norm of the interior's gradient."""
        seg = take_map(pred_batch, self.seg_key, "pred_batch", least=EDGE + 1)
        name, given = f"pred_batch[{self.seg_key!r}]", take(pred_batch, self.seg_key, "pred_batch")
        check_unit_range(seg, name, self._checks, dtype=given.dtype, probabilities=True)
        norm = take_gradients(pred_batch, f"{self.seg_key}_grad_norm", "(N, C, H, W)")
        _check_pixels(norm, f"pred_batch['{self.seg_key}_grad_norm']", seg)
        return seg[:, 0], seg[:, EDGE], norm[:, 0]

    def energy(self, *maps: Tensor) -> Tensor:
        """Returns the mean absolute difference of edge and gradient norm, weighted."""
        interior, edge, norm = maps
        outside = torch.cos(math.pi / 2 * interior).square()  # (1 + cos(pi y)) / 2
        contour = torch.sin(math.pi / 2 * norm).square()
        return ((edge - norm).abs() * torch.maximum(outside, contour)).mean()


def _check_pixels(tensor: Tensor, name: str, like: Tensor) -> None:
    found, expected = (len(tensor), *tensor.shape[-2:]), (len(like), *like.shape[-2:])
    if found != expected:
        raise ValueError(
            f"{name} must have as many samples and pixels as the other predictions: expected "
            f"N, H, W = {expected}, got {found}."
        )
