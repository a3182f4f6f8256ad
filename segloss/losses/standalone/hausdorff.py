"""The Hausdorff distance loss by distance transforms.

It needs the distances of the prediction, which the pass over the pixels does not have. So it is not
a term, but a module of (prediction, target). A `LossWrapper` gives it batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.foundation.arguments import check_flag, check_number, check_text
from segloss.foundation.map_libraries import distance_to_border, library
from segloss.losses.standalone.shape_loss import Regions, ShapeLoss, total
from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import RegionTerm, mean


class _Hausdorff(RegionTerm):
    """The mean over pixels of squared errors times powers of distances."""

    name = "hausdorff_distance"

    def pooled(self, confusion: SoftConfusion) -> SoftConfusion:
        return self.reduction.pool(confusion)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the mean of each cell."""
        return mean(confusion["distant_error"], confusion.pixel_weight)


class HausdorffDistanceLoss(ShapeLoss):
    r"""Mean squared error, weighted by the distances to the true and the predicted border.

    .. math:: \frac{\sum (p - g)^2 (d_g^\alpha + d_p^\alpha)}{\sum 1}

    with the distance :math:`d_g` of a pixel to the border of the true mask, and :math:`d_p` to that
    of the predicted mask, p > 1/2, both in pixels and without a sign; see
    `segloss.maps.DistanceMap`. The loss is at least 0, and 0 for a perfect hard prediction. It
    grows with the power alpha of the distance by which borders differ, and so lowers the Hausdorff
    distance. No gradient goes through the distances. Use it beside Dice or cross-entropy, with a
    small weight: its value depends on the size of the image.

    Args:
        mode: "multiclass": softmax over the channels; "binary": one sigmoid channel; "multilabel":
            sigmoid of each.
        alpha: The power of the distances, above 0. The paper finds 1 to 3 good, and uses 2.
        predicted_distance: False to leave out :math:`d_p`, which the paper calls one-sided. Then a
            false alarm is weighted by its distance, but a miss only by that to the true border.
        map_key: The name of the maps :math:`d_g` in `maps` and in batches, (N, C, *spatial), such
            as "gt_distance", as `segloss.maps.DistanceMap` makes them in the data loader; None:
            the loss computes them from the target, where values above 1/2 are inside.
        classes: The classes that count, such as `[1, 2]`; None: all, but with softmax not the
            background (0).
        region_reduction: "sample": the mean over samples and classes of the means over pixels;
            "batch": the sums over pixels of all samples are pooled first; "micro": those of samples
            and classes.
        region_class_weights: Weights of the classes in the mean, one for each that counts.
        skip_absent_classes: True to leave out samples and classes without a pixel in the target.
        reduction: "mean": a scalar; "sum": the sum over samples and classes; "none": the loss of
            each of them, 0 if left out.
        from_logits: True if predictions are logits, False if they are probabilities.
        ignore_index: The target's value for ignored pixels. They do not count in the mean, and are
            outside both masks when distances are computed.

    The prediction is (N, C, *spatial), with 1 to 3 spatial dimensions. For "multiclass", the target
    is a label map (N, *spatial) or (N, 1, *spatial), or dense (N, C, *spatial). For the other
    modes, it is a mask of the prediction's shape, or for one channel (N, *spatial). A mask that is
    empty or full has no border, and its distances are 0.

    SciPy computes distances on the CPU, so on an accelerator the loss waits for the prediction in
    every step. With `predicted_distance=False` and a `map_key` nothing waits. On several ranks,
    each has the loss of its own samples.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a batch is wrong when
            it is used.
        ImportError: SciPy is not installed.

    Source: Karimi, Salcudean, "Reducing the Hausdorff distance in medical image segmentation with
    convolutional neural networks" (2019).

    Example:
        >>> mask = torch.tensor([[[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]]])
        >>> far = mask.clone()
        >>> far[..., -1] = 1  # 4 pixels from the true border, 1 from its own
        >>> HausdorffDistanceLoss("binary", from_logits=False)(far, mask)
        tensor(2.1250)
    """

    def __init__(
        self,
        mode: str = "binary",
        alpha: float = 2.0,
        *,
        predicted_distance: bool = True,
        map_key: str | None = None,
        classes: Sequence[int] | None = None,
        region_reduction: str = "sample",
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        reduction: str = "mean",
        from_logits: bool = True,
        ignore_index: Any = None,
    ) -> None:
        term = _Hausdorff(
            region_reduction=region_reduction,
            region_class_weights=region_class_weights,
            skip_absent_classes=skip_absent_classes,
        )
        map_key = None if map_key is None else check_text("map_key", map_key)
        super().__init__(
            term,
            mode,
            classes=classes,
            reduction=reduction,
            from_logits=from_logits,
            ignore_index=ignore_index,
            map_keys=() if map_key is None else (map_key,),
        )
        self.alpha = check_number("alpha", alpha, open_low=True)
        self.predicted_distance = check_flag("predicted_distance", predicted_distance)

    def sums(self, regions: Regions) -> dict[str, Tensor]:
        """Returns the sum of squared errors times powers of distances."""
        given = [regions.maps[key] for key in self.map_keys]
        [distance] = given or [_distances(regions.target > 0.5, like=regions.p)]
        weights = distance**self.alpha
        if self.predicted_distance:
            weights = weights + _distances(regions.p > 0.5, like=regions.p) ** self.alpha
        weights = weights.where(regions.kept > 0, 0.0)  # a map may be NaN there
        return {"distant_error": total((regions.p - regions.target) ** 2 * weights)}


def _distances(masks: Tensor, *, like: Tensor) -> Tensor:
    """Returns the distance to the border of each mask (N, K, *spatial), in the dtype of `like`."""
    distances: Tensor = _distance_to_border(masks.detach())
    return distances.to(like.dtype)


@torch.library.custom_op(
    "segloss::distance_to_border", mutates_args=(), schema="(Tensor masks) -> Tensor"
)
def _distance_to_border(masks: Tensor) -> Tensor:
    """Computes distances by SciPy on the CPU, as an operator, which compilers do not look into."""
    library("numpy")  # named if it is missing: without it, `Tensor.numpy` fails
    distances = torch.zeros(masks.shape, dtype=_dtype_of(masks.device))
    for distance, mask in zip(distances.flatten(0, 1), masks.cpu().flatten(0, 1), strict=True):
        distance.copy_(torch.from_numpy(distance_to_border(mask.numpy())))
    return distances.to(masks.device)


@_distance_to_border.register_fake
def _(masks: Tensor) -> Tensor:
    return torch.empty_like(masks, dtype=_dtype_of(masks.device))


def _dtype_of(device: torch.device) -> torch.dtype:
    """Returns the dtype of distances on a device, which may lack float64."""
    return torch.float32 if device.type == "mps" else torch.float64
