"""The Lovasz loss as a module of (prediction, target)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.assemble import as_pixel_batch
from segloss.batch.diagnosis import FirstBatches
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.shape_checks import check_channel_weights
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.arguments import (
    ChecksKeywords,
    as_python,
    check_choice,
    check_classes,
    check_flag,
    check_weights,
    is_list,
    shown,
)
from segloss.foundation.device_constants import buffer_on_device, on_device
from segloss.foundation.distributed import RankSum
from segloss.foundation.ignore_index import check_ignore_index
from segloss.foundation.precision import Precise, arithmetic_dtype, without_autocast
from segloss.losses.companions import TakesCompanions
from segloss.losses.modes import MODES, check_mode, checked_channels
from segloss.losses.standalone.lovasz.operations import SetLosses
from segloss.losses.standalone.lovasz.sets import set_losses

ERRORS = ("hinge", "probability")
"""The errors of sigmoid channels; softmax has those of probabilities."""


class LovaszLoss(TakesCompanions, ChecksKeywords, Precise):
    r"""The Lovasz extension of the Jaccard loss: the surrogate of 1 - IoU that is convex in errors.

    .. math:: \frac{1}{|C|} \sum_c \sum_i m_{(i)}\,[\Delta_c(i) - \Delta_c(i - 1)],
        \quad \Delta_c(i) = \frac{i}{G_c + b_i}

    with the errors :math:`m_{(1)} \ge m_{(2)} \ge \dots` of all pixels for class c in descending
    order, :math:`\Delta_c(i)` the Jaccard loss if exactly the first i pixels are wrong, G the
    number of pixels of the class, and :math:`b_i` the number of other pixels among the first i.
    With softmax, and with `errors="probability"`, the errors are :math:`|g - p|`, and the loss is
    in [0, 1]. With `errors="hinge"` they are :math:`\max(0, 1 - (2 g - 1) x)` of the logits x, and
    the loss is at least 0.

    Args:
        mode: "multiclass": softmax over the channels (Lovasz-softmax); "binary": one sigmoid
            channel; "multilabel": independent sigmoid channels, each with a loss of its own.
        errors: "hinge" (Lovasz hinge), the default of sigmoid channels, or "probability", the only
            errors of "multiclass".
        per_image: True for a loss of each image, and their mean; False to rank the pixels of the
            whole batch together.
        classes: The classes of the mean: "present": those that the target has (in the image, or in
            the batch), the default of "multiclass"; "all", the default of sigmoid channels; or a
            list such as [1, 2]. A class that is counted but absent has its largest error as its
            loss.
        class_weights: Weights (C,) of the classes in the mean over them.
        ignore_index: The target's value for ignored pixels. They may hold NaN. If all pixels are
            ignored, the loss and its gradient are 0.
        sync_statistics: True for the mean over the images of all ranks, with `per_image=True`.
            Pixels are never ranked across ranks.
        sync_in_eval: True to add up without gradients, too.
        process_group: The process group of the ranks; None: all ranks.

    The prediction is logits (N, C, *spatial), with 1 to 3 spatial dimensions. For "multiclass", the
    target is a label map (N, *spatial) or (N, 1, *spatial), or dense (N, C, *spatial). For the
    other modes, it is a mask of the prediction's shape, or for one channel (N, *spatial). A soft
    target counts as g of a foreground pixel and 1 - g of a background pixel.

    The loss is exact: no errors are binned. Pixels with equal errors and targets have equal
    gradients, in any order of the pixels; where errors of both targets are equal, the gradient is
    the mean of two subgradients. On a CPU, C++ computes the loss, and keeps one float32 per logit
    for the backward pass; elsewhere PyTorch's operations do.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a batch is wrong when
            it is used.

    Source: Berman, Triki, Blaschko, "The Lovasz-softmax loss" (2018); Yu, Blaschko, "Learning
    submodular losses with the Lovasz hinge" (2015).

    Example:
        >>> labels = torch.tensor([[0, 1, 2, 255]])
        >>> LovaszLoss("multiclass", ignore_index=255)(torch.zeros(1, 3, 4), labels)
        tensor(0.6667)
        >>> logits, mask = torch.tensor([[[3.0, -0.5, 0.2, -2.0]]]), torch.tensor([[[1, 1, 0, 0]]])
        >>> LovaszLoss("binary")(logits, mask)
        tensor(0.9500)
    """

    companions = ("pixel_weights", "sample_weights")
    takes_probabilities = False
    class_weights: Tensor | None

    def __init__(
        self,
        mode: str = "multiclass",
        *,
        errors: str | None = None,
        per_image: bool = False,
        classes: str | Sequence[int] | None = None,
        class_weights: Any = None,
        ignore_index: int | Sequence[int] | None = None,
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None:
        super().__init__()
        self.mode = check_mode(mode)
        is_softmax = MODES[mode] == "softmax"
        default = "probability" if is_softmax else "hinge"
        self.errors = default if errors is None else check_choice("errors", errors, ERRORS)
        if is_softmax and self.errors == "hinge":
            raise ValueError(
                "errors='hinge' is for independent channels, but mode='multiclass' has a softmax: "
                "use errors='probability', or mode='multilabel'."
            )
        self.per_image = check_flag("per_image", per_image)
        if classes is None:
            classes = "present" if is_softmax else "all"
        self.classes = _check_classes(classes)
        self.register_setting("class_weights", check_weights("class_weights", class_weights))
        self.ignore_index = check_ignore_index(ignore_index)
        self._add = RankSum(sync_statistics, sync_in_eval, process_group)
        if sync_statistics and not per_image:
            raise ValueError(
                "sync_statistics=True adds up the losses of images over the ranks, but "
                "per_image=False ranks the pixels of a rank's whole batch together, which no sum "
                "can extend to other ranks: set per_image=True."
            )
        self._checks = ValueChecks()
        self.first_batches = FirstBatches()

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        pixel_weights: Tensor | None = None,
        sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Returns the loss of logits and a label map or mask.

        Args:
            prediction: Logits (N, C, *spatial).
            target: A label map or a mask.
            pixel_weights: Weights of at least 0, (N, 1, *spatial), or (N, C, *spatial) with
                sigmoid. They take the place of counts in the Jaccard loss.
            sample_weights: Weights (N,) of at least 0. With `per_image`, they weight the mean over
                the images; otherwise they multiply the pixel weights.
        """
        pixels = self.pixels(
            prediction, target, pixel_weights=pixel_weights, sample_weights=sample_weights
        )
        if not self.first_batches.are_over:
            self.first_batches.look(pixels, BatchNames("prediction"), pixels.options, self)
        hinge, pooled = self.errors == "hinge", not self.per_image
        with without_autocast(prediction.device):
            sets = set_losses(pixels, hinge=hinge, pooled=pooled)
            value = self._mean(sets, sample_weights)
        return value.to(arithmetic_dtype(prediction.dtype))

    def pixels(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        pixel_weights: Tensor | None = None,
        sample_weights: Tensor | None = None,
    ) -> PixelBatch:
        """Returns the checked batch for the arguments of `forward`."""
        activation = MODES[self.mode]
        channels = checked_channels(self.mode, prediction, target)
        n_classes = channels if activation == "softmax" else 2
        pixels = as_pixel_batch(
            prediction,
            target,
            PixelOptions.checked(n_classes, activation, ignore_index=self.ignore_index),
            pixel_weights=pixel_weights,
            sample_weights=sample_weights,
            names=BatchNames("prediction"),
            checks=self._checks,
        )
        if pixels.is_label_map and not pixels.is_exclusive:
            pixels = pixels.with_masks()
        channels = pixels.prediction.shape[1]
        check_channel_weights(self.class_weights, None, channels, activation)
        if isinstance(self.classes, tuple) and max(self.classes) >= channels:
            raise ValueError(
                f"classes must name channels of prediction, 0 to {channels - 1}, got "
                f"{list(self.classes)}."
            )
        if sample_weights is None:
            return pixels
        factor = sample_weights.reshape(-1, 1, 1)
        weight = factor if pixels.weight is None else factor * pixels.weight
        count = pixels.prediction.shape[2]
        return pixels.replace(weight=weight.expand(-1, -1, count))

    def _mean(self, sets: SetLosses, sample_weights: Tensor | None) -> Tensor:
        """Returns the mean over images of the means over their classes."""
        counts = sets.weight > 0
        if self.classes == "present":
            counts = counts & (sets.foreground > 0)
        weights = counts.to(sets.losses.dtype) * self._weights_of_classes(sets.losses)
        of_images, total = _weighted_sum(sets.losses, weights), weights.sum(1)
        has_classes = total > 0
        of_images = of_images / torch.where(has_classes, total, 1.0)
        images = has_classes.to(of_images.dtype)
        if sample_weights is not None and self.per_image:
            images = images * sample_weights.to(images.dtype)
        sums = {"images": [(of_images * images).sum(), images.sum()]}
        numerator, denominator = self._add(sums)["images"]
        is_counted = denominator > 0
        return numerator / torch.where(is_counted, denominator, 1.0)

    def _weights_of_classes(self, like: Tensor) -> Tensor:
        """Returns the weights (1, C) of the classes in their mean, 0 for those not in `classes`."""
        channels = like.shape[1]
        weights = like.new_ones((1, channels))
        if self.class_weights is not None:
            weights = buffer_on_device(self.class_weights, like.device).to(like.dtype)[None]
        if not isinstance(self.classes, tuple):
            return weights
        chosen = tuple(float(c in self.classes) for c in range(channels))
        return weights * on_device(chosen, like.device, like.dtype)


def _weighted_sum(losses: Tensor, weights: Tensor) -> Tensor:
    """Returns the sums over classes of losses times weights; those of weight 0 are left out."""
    return torch.where(weights > 0, losses, torch.zeros_like(losses)).mul(weights).sum(1)


def _check_classes(classes: Any) -> str | tuple[int, ...]:
    """Returns `classes` as "present", "all" or a tuple of indices, after checking it."""
    if isinstance(classes, str):
        return check_choice("classes", classes, ("present", "all"))
    classes = as_python(classes)
    if not is_list(classes):
        raise TypeError(
            f"classes must be 'present', 'all' or a list of class indices, got {shown(classes)}."
        )
    return check_classes("classes", classes)
