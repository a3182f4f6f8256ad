"""Maps of instances, such as cells and roofs: border weights, distances and sizes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from segloss.foundation.arguments import (
    check_choice,
    check_flag,
    check_integer,
    check_mapping,
    check_number,
    shown,
)
from segloss.foundation.map_libraries import Array, library
from segloss.maps.mask_map import MapTransform
from segloss.maps.spacing import Spacing

INSTANCES = ("components", "labels")
"""The two readings of a mask's labels."""


class InstanceMap(MapTransform):
    """A transform that adds a map (1, *spatial) of the instances in a mask.

    A subclass defines `compute_instances`.

    Args:
        instances: "components": an instance is a connected region of equal labels, neighbours
            across corners included, so that the mask may be one of classes or one of numbered
            instances; "labels": an instance is the pixels of one label, in one piece or several.
        mask_key: The name of the mask among the keywords, (H, W) or (D, H, W). Pixels of label 0
            are background.
        out_key: The name of the map in the result, (1, *spatial), float32.
        ignore_index: The label of ignored pixels, which do not belong to an instance; None: no
            label is ignored.

    Raises:
        TypeError, ValueError, MissingKeyError, ImportError: As for `MapTransform`.
    """

    def __init__(
        self, instances: str, mask_key: str, out_key: str, ignore_index: int | None
    ) -> None:
        super().__init__(mask_key, out_key)
        self.instances = check_choice("instances", instances, INSTANCES)
        self.ignore_index = (
            None if ignore_index is None else check_integer("ignore_index", ignore_index)
        )

    def compute(self, labels: Array) -> Array:
        """Returns the map `(1, *spatial)` of a label map `(*spatial)`."""
        numpy = library("numpy")
        labels = labels.astype(numpy.int64)
        kept = numpy.ones(labels.shape, dtype=bool)
        if self.ignore_index is not None:
            kept = labels != self.ignore_index
        labels[~kept] = 0
        values = self.compute_instances(self._numbered(labels), labels, kept)
        return values.astype(numpy.float32)[None]

    @abstractmethod
    def compute_instances(self, numbers: Array, labels: Array, kept: Array) -> Array:
        """Returns the map (*spatial) of instances.

        Args:
            numbers: The number of each pixel's instance, from 1, without gaps; 0: background.
            labels: The labels of the mask, 0 for ignored pixels.
            kept: False for ignored pixels.
        """
        raise NotImplementedError(f"{type(self).__name__} must define compute_instances().")

    def _numbered(self, labels: Array) -> Array:
        """Returns the number of each pixel's instance, from 1, without gaps; 0: background."""
        if self.instances == "components":
            return library("skimage.measure").label(labels, background=0)
        numpy = library("numpy")
        numbers, foreground = numpy.zeros(labels.shape, dtype=numpy.int64), labels != 0
        numbers[foreground] = numpy.unique(labels[foreground], return_inverse=True)[1] + 1
        return numbers


class UNetWeightMap(InstanceMap):
    r"""Adds pixel weights that are large between instances that nearly touch.

    .. math:: w(x) = w_c(x) + w_0 \exp\left(-\frac{(d_1(x) + d_2(x))^2}{2 \sigma^2}\right)

    with the distances :math:`d_1` and :math:`d_2` to the nearest and second nearest instance, and
    the weight :math:`w_c` of the pixel's class. In an instance :math:`d_1` is 0, so where instances
    touch, the pixels along the border get weights too. With fewer than two instances there is no
    border term.

    Args:
        w0: The weight of the border term.
        sigma: The width of the border, in pixels or in the unit of `spacing`, above 0.
        class_weights: The weights w_c: None: 1; "balanced": foreground and background have the same
            total, and their mean is 1; or a mapping from labels of the mask to weights, where a
            label without an entry has 1.
        background_only: True to leave the border term out in instances. The paper has it at every
            pixel, and many implementations only in the background.
        instances: "components": an instance is a connected region of equal labels, neighbours
            across corners included; "labels": an instance is the pixels of one label.
        mask_key: The name of the mask among the keywords, (H, W) or (D, H, W), of classes or
            numbers of instances. Label 0 is the background.
        out_key: The name of the weights in the result, (1, *spatial), float32. In a batch they are
            (N, 1, *spatial), as losses take them.
        ignore_index: The label of ignored pixels, such as 255, which get the weight 0; None: no
            label is ignored.
        spacing: The size of a pixel along each axis, or one number for all; None: 1.

    The distances are exact, from 2 log2(n) + 3 distance transforms for n instances.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map, or has
            another number of dimensions than `spacing`.
        MissingKeyError: There is no mask.
        ImportError: SciPy or scikit-image is not installed.

    Source: Ronneberger, Fischer, Brox, "U-Net: convolutional networks for biomedical image
    segmentation" (2015).

    Example:
        >>> import torch
        >>> mask = torch.tensor([[1, 1, 0, 0, 1, 1]])
        >>> weights = UNetWeightMap(w0=10, sigma=2)(mask=mask)["seg_loss_weights"]
        >>> weights
        tensor([[[2.3534, 4.2465, 4.2465, 4.2465, 4.2465, 2.3534]]])
    """

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        *,
        class_weights: str | Mapping[int, float] | None = None,
        background_only: bool = False,
        instances: str = "components",
        mask_key: str = "mask",
        out_key: str = "seg_loss_weights",
        ignore_index: int | None = None,
        spacing: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(instances, mask_key, out_key, ignore_index)
        self.w0 = check_number("w0", w0)
        self.sigma = check_number("sigma", sigma, open_low=True)
        self.class_weights = _checked_class_weights(class_weights)
        self.background_only = check_flag("background_only", background_only)
        self.spacing = Spacing(spacing)

    def compute_instances(self, numbers: Array, labels: Array, kept: Array) -> Array:
        """Returns the weights (*spatial)."""
        numpy = library("numpy")
        spacing = self.spacing.along(labels.shape, self.mask_key)
        nearest, second = two_nearest(numbers, spacing)
        weights = self.w0 * numpy.exp(-((nearest + second) ** 2) / (2 * self.sigma**2))
        if self.background_only:
            weights[numbers > 0] = 0
        return numpy.where(kept, weights + self._class_weights(labels, kept), 0)

    def _class_weights(self, labels: Array, kept: Array) -> Array:
        """Returns the weight of each pixel's class."""
        numpy = library("numpy")
        weights = numpy.ones(labels.shape)
        if isinstance(self.class_weights, dict):
            for label, weight in self.class_weights.items():
                weights[labels == label] = weight
        elif self.class_weights == "balanced":
            foreground = labels != 0
            for part in (foreground & kept, ~foreground & kept):
                if part.any() and not (part == kept).all():
                    weights[part] = kept.sum() / (2 * part.sum())
        return weights

    def __repr__(self) -> str:
        return f"{type(self).__name__}(w0={self.w0}, sigma={self.sigma}, spacing={self.spacing})"


class InstanceDistanceMap(InstanceMap):
    """Adds the sum of the distances to the two nearest instances, for `SegLossWeights`.

    It is divided by H + W, or with three axes by their sum, and is at most 1. It is 1 everywhere if
    there are fewer than two instances.

    Args:
        instances: "components": an instance is a connected region of equal labels, neighbours
            across corners included; "labels": an instance is the pixels of one label.
        mask_key: The name of the mask among the keywords, (H, W) or (D, H, W), of classes or
            numbers of instances. Label 0 is the background.
        out_key: The name of the map in the result, (1, *spatial), float32.
        ignore_index: The label of ignored pixels, which do not belong to an instance; None: no
            label is ignored.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map.
        MissingKeyError: There is no mask.
        ImportError: SciPy or scikit-image is not installed.

    Source: Girard, Smirnov, Solomon, Tarabalka, "Polygonal building extraction by frame field
    learning" (2021).

    Example:
        >>> import torch
        >>> mask = torch.tensor([[1, 0, 0, 1, 0, 0, 0, 0, 0]])  # H + W = 10
        >>> InstanceDistanceMap()(mask=mask)["distances"]
        tensor([[[0.3000, 0.3000, 0.3000, 0.3000, 0.5000, 0.7000, 0.9000, 1.0000, 1.0000]]])
    """

    def __init__(
        self,
        *,
        instances: str = "components",
        mask_key: str = "mask",
        out_key: str = "distances",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(instances, mask_key, out_key, ignore_index)

    def compute_instances(self, numbers: Array, labels: Array, kept: Array) -> Array:
        """Returns the sums of distances (*spatial)."""
        nearest, second = two_nearest(numbers, [1.0] * numbers.ndim)
        shares = (nearest + second) / sum(numbers.shape)
        return library("numpy").minimum(shares, 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(instances={self.instances!r})"


class InstanceSizeMap(InstanceMap):
    """Adds the size of each pixel's instance, for `SegLossWeights`.

    It is divided by the size of the image. Pixels outside instances have 1.

    Args:
        instances: "components": an instance is a connected region of equal labels, neighbours
            across corners included; "labels": an instance is the pixels of one label.
        mask_key: The name of the mask among the keywords, (H, W) or (D, H, W), of classes or
            numbers of instances. Label 0 is the background.
        out_key: The name of the map in the result, (1, *spatial), float32.
        ignore_index: The label of ignored pixels, which do not belong to an instance; None: no
            label is ignored.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map.
        MissingKeyError: There is no mask.
        ImportError: scikit-image is not installed.

    Source: Girard, Smirnov, Solomon, Tarabalka, "Polygonal building extraction by frame field
    learning" (2021).

    Example:
        >>> import torch
        >>> InstanceSizeMap()(mask=torch.tensor([[1, 1, 0, 1]]))["sizes"]
        tensor([[[0.5000, 0.5000, 1.0000, 0.2500]]])
    """

    def __init__(
        self,
        *,
        instances: str = "components",
        mask_key: str = "mask",
        out_key: str = "sizes",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(instances, mask_key, out_key, ignore_index)

    def compute_instances(self, numbers: Array, labels: Array, kept: Array) -> Array:
        """Returns the sizes (*spatial)."""
        shares = library("numpy").bincount(numbers.ravel()) / numbers.size
        shares[0] = 1
        return shares[numbers]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(instances={self.instances!r})"


def two_nearest(numbers: Array, spacing: Sequence[float]) -> tuple[Array, Array]:
    """Returns the distances of each pixel to the nearest and the second nearest instance.

    The number of the second nearest differs from that of the nearest in some bit. So its distance
    is the minimum, over all bits, of the distance to the instances with the other value of the bit.
    This takes two distance transforms for each bit, in place of one for each instance.

    Args:
        numbers: The number of each pixel's instance, from 1, without gaps; 0: background.
        spacing: The size of a pixel along each axis.

    Returns:
        The two distances (*spatial), infinite where there is no such instance.
    """
    numpy, distance = library("numpy"), library("scipy.ndimage").distance_transform_edt
    count = int(numbers.max(initial=0))
    second = numpy.full(numbers.shape, numpy.inf)
    if count == 0:
        return second.copy(), second
    nearest, places = distance(numbers == 0, sampling=spacing, return_indices=True)
    zero_based = numbers - 1
    nearest_number = zero_based[tuple(places)]
    for bit in range((count - 1).bit_length()):
        for value in (0, 1):
            has_value = (numbers > 0) & (zero_based >> bit & 1 == value)
            elsewhere = nearest_number >> bit & 1 != value
            to_others = distance(~has_value, sampling=spacing)
            numpy.minimum(second, to_others, out=second, where=elsewhere)
    return nearest, second


def _checked_class_weights(weights: Any) -> str | dict[int, float] | None:
    """Returns the checked weights of classes."""
    if weights is None or isinstance(weights, str):
        return None if weights is None else check_choice("class_weights", weights, ("balanced",))
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"class_weights must be None, 'balanced' or a mapping of labels to weights, such as "
            f"{{0: 1.0, 1: 5.0}}, got {shown(weights)}."
        )
    return {
        check_integer("class_weights", label): check_number(f"class_weights[{label}]", weight)
        for label, weight in check_mapping("class_weights", weights).items()
    }
