r"""Sums of functions of the probability, with their slopes, for the reference and the chunks.

Each sum of :math:`w f(p, q, g)` has the values f and the derivative df/dp. The caller computes
q = 1 - p separately, so that it keeps its digits. The reference kernel differentiates the values;
the chunks use the slopes. With label maps, g is the number 1 for the label's class and 0 for the
other classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.foundation.device_constants import on_device
from segloss.sums.plan import (
    REGION,
    SEMIMETRIC,
    SEMIMETRIC_TRUE_NEGATIVE,
    SQUARED_ERROR,
    TRUE_NEGATIVE,
    ClassGroupSum,
    DistanceSum,
    FocalSum,
    MapSum,
    Plan,
    PowerSum,
)


class PixelValues(NamedTuple):
    """The arguments of f at some pixels, all of one shape.

    Attributes:
        p: The probabilities.
        q: 1 - p, computed separately.
        g: The target; a number if it is the same for all pixels.
        maps: The maps beside the target, by name.
        exclusive: True if classes exclude each other.
    """

    p: Tensor
    q: Tensor
    g: Tensor | float
    maps: Mapping[str, Tensor]
    exclusive: bool = False


class PixelSum:
    """One or more sums over pixels of functions of the probability.

    Attributes:
        names: The keys of the sums that depend on the predictions.
        reads_q: True if it reads q of classes other than the label.
    """

    names: tuple[str, ...]
    reads_q: bool = True

    @abstractmethod
    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes f at each pixel, for each key in `names`."""

    @abstractmethod
    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Computes the derivative with respect to p of the sum of `upstream` times `values`."""


class RegionCounts(PixelSum):
    """The sums of p g, p (1 - g) and q g, for groups of classes: kernels have those of classes."""

    names = tuple(row.key for row in REGION.rows)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes the true positives, false positives and false negatives of a pixel."""
        p, q, g = pixel.p, pixel.q, pixel.g
        return dict(zip(self.names, (p * g, p * (1 - g), q * g), strict=True))

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Computes (t - n) g + f (1 - g), from the slopes t, f, n of the three sums."""
        t, f, n = (upstream[name] for name in self.names)
        return (t - n) * pixel.g + f * (1 - pixel.g)


class SquaredError(PixelSum):
    """The sum of (p - g)^2, with p - g computed as p (1 - g) - q g, which loses no digits."""

    names = ("squared_error",)
    reads_q = False

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes the squared error."""
        return {"squared_error": _error(pixel).square()}

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Computes twice the error, times `upstream`."""
        return _error(pixel) * (2 * upstream["squared_error"])


class Semimetric(PixelSum):
    """The sums of min(p, g), (p - g)^+ and (g - p)^+. At p = g the slopes are as for p > g."""

    names = tuple(row.key for row in SEMIMETRIC.rows)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes the true positives, false positives and false negatives of a pixel."""
        p, g = pixel.p, torch.as_tensor(pixel.g).to(pixel.p)
        difference, zero = _target_minus_p(pixel), torch.zeros_like(p)
        below = difference > 0
        counts = (
            torch.where(below, p, g),
            torch.where(below, zero, p - g),
            torch.where(below, difference, zero),
        )
        return dict(zip(self.names, counts, strict=True))

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Selects t - n if p < g, else f, from the slopes t, f, n of the three sums."""
        t, f, n = (upstream[name] for name in self.names)
        return torch.where(_target_minus_p(pixel) > 0, t - n, f)


class TrueNegative(PixelSum):
    """The sum of q (1 - g)."""

    names = ("true_negative",)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes the true negatives of a pixel."""
        return {"true_negative": pixel.q * (1 - pixel.g)}

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Computes g - 1, times `upstream`."""
        return upstream["true_negative"] * (pixel.g - 1)


class SemimetricTrueNegative(PixelSum):
    """The sum of min(q, 1 - g). At p = g the slope is as for p > g."""

    names = ("semimetric_true_negative",)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes the true negatives of a pixel."""
        return {self.names[0]: torch.where(_target_minus_p(pixel) > 0, 1 - pixel.g, pixel.q)}

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Computes -1 where p >= g, else 0, times `upstream`."""
        return torch.where(_target_minus_p(pixel) > 0, 0, -upstream[self.names[0]])


class MapProducts(PixelSum):
    """The sums of p m and q m, for a map m."""

    def __init__(self, map_sum: MapSum) -> None:
        self.map_key = map_sum.map_key
        self.names = (map_sum.hit, map_sum.missed)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes p m and q m."""
        (hit, missed), m = self.names, pixel.maps[self.map_key]
        return {hit: pixel.p * m, missed: pixel.q * m}

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Computes the map times the difference of the two slopes in `upstream`."""
        hit, missed = (upstream[name] for name in self.names)
        return (hit - missed) * pixel.maps[self.map_key]


class PowerLosses(PixelSum):
    """The sum of g f(p), and of (1 - g) f(q) with sigmoid, for f(p) = (1 - p^k) / k."""

    def __init__(self, power_sum: PowerSum) -> None:
        self.exponent = power_sum.exponent
        self.names = (power_sum.name,)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes the loss of a pixel."""
        p, q, g = pixel.p, pixel.q, pixel.g
        loss = g * self._of(p, q) if isinstance(g, Tensor) or g > 0 else torch.zeros_like(p)
        return {self.names[0]: loss if pixel.exclusive else loss + (1 - g) * self._of(q, p)}

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Computes (1 - g) q^(k - 1), for sigmoid alone, minus g p^(k - 1), times `upstream`."""
        slope = -pixel.g * self._steepness(pixel.p)
        if not pixel.exclusive:
            slope = slope + (1 - pixel.g) * self._steepness(pixel.q)
        return slope * upstream[self.names[0]]

    def _of(self, p: Tensor, q: Tensor) -> Tensor:
        """Computes f(p), from q where p is above 1/2. The slope of expm1 loses digits below."""
        k, is_high = self.exponent, p > 0.5
        high = -torch.expm1(k * torch.log1p(-torch.where(is_high, q, 0.0)))
        low = 1 - torch.where(is_high, 1.0, p).clamp(min=torch.finfo(p.dtype).tiny) ** k
        return torch.where(is_high, high, low) / k

    def _steepness(self, p: Tensor) -> Tensor:
        return p.clamp(min=torch.finfo(p.dtype).tiny) ** (self.exponent - 1)


class ChannelDistances(PixelSum):
    """The sums of a `DistanceSum` for a sigmoid channel, whose two classes have p and q."""

    def __init__(self, distance_sum: DistanceSum) -> None:
        background, foreground = distance_sum.distances or ((0.0, 1.0), (1.0, 0.0))
        self.of_background, self.of_foreground = background[1], foreground[0]
        self.names = tuple(row.key for row in distance_sum.rows)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Computes the distance and the nearness of the foreground, then of the background."""
        p, q, g, a, b = pixel.p, pixel.q, pixel.g, self.of_foreground, self.of_background
        foreground = (g * (a * q), g * (p + (1 - a) * q))
        background = ((1 - g) * (b * p), (1 - g) * (q + (1 - b) * p))
        return dict(zip(self.names, (*foreground, *background), strict=True))

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Computes the slope in p, from the slopes of the four sums."""
        far, near, background_far, background_near = (upstream[name] for name in self.names)
        of_foreground = pixel.g * (self.of_foreground * (near - far))
        of_background = (1 - pixel.g) * (self.of_background * (background_far - background_near))
        return of_foreground + of_background


def class_distances(distance_sum: DistanceSum, like: Tensor) -> Tensor:
    """Returns the distances between the classes of `like` (N, C, P), (C, C)."""
    classes = like.shape[1]
    if not distance_sum.distances:
        return 1 - torch.eye(classes, device=like.device, dtype=like.dtype)
    flat = tuple(number for row in distance_sum.distances for number in row)
    return on_device(flat, like.device, like.dtype).reshape(classes, classes)


def _target_minus_p(pixel: PixelValues) -> Tensor:
    """Computes g - p. If g > 0.5 it is q - (1 - g), which keeps its digits for p near 1."""
    g = torch.as_tensor(pixel.g).to(pixel.p)
    return torch.where(g > 0.5, pixel.q - (1 - g), g - pixel.p)


def _error(pixel: PixelValues) -> Tensor:
    """Computes p - g."""
    p, q, g = pixel.p, pixel.q, pixel.g
    if isinstance(g, Tensor):
        return p * (1 - g) - q * g
    return p if g == 0 else -q


def pixel_sums(plan: Plan, *, exclusive: bool) -> list[PixelSum]:
    """Returns a plan's sums of functions of the probability."""
    found: list[PixelSum] = []
    for each in plan.sums:
        if each.name in PIXEL_SUMS:
            found.append(PIXEL_SUMS[each.name]())
        elif isinstance(each, MapSum):
            found.append(MapProducts(each))
        elif isinstance(each, PowerSum):
            found.append(PowerLosses(each))
        elif isinstance(each, DistanceSum) and not exclusive:
            found.append(ChannelDistances(each))
    return found


PIXEL_SUMS: dict[str, type[PixelSum]] = {
    SQUARED_ERROR.name: SquaredError,
    SEMIMETRIC.name: Semimetric,
    SEMIMETRIC_TRUE_NEGATIVE.name: SemimetricTrueNegative,
    TRUE_NEGATIVE.name: TrueNegative,
}
"""The sums without parameters that are functions of the probability, by name."""


def class_group_sum(each: ClassGroupSum) -> PixelSum:
    """Returns a group's sum as a function of the group's probability and target."""
    return RegionCounts() if each.base is REGION else PIXEL_SUMS[each.of]()


def members_of(each: ClassGroupSum, classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the indices of a group's classes, and those of the other classes."""
    others = tuple(c for c in range(classes) if c not in each.classes)
    return (
        on_device(each.classes, device, torch.int64),
        on_device(others, device, torch.int64),
    )


def are_members(group: tuple[int, ...], labels: Tensor, like: Tensor) -> Tensor:
    """Returns 1 where a label is in a group of the classes of `like` (N, C, P), else 0."""
    flags = tuple(float(c in group) for c in range(like.shape[1]))
    return on_device(flags, like.device, like.dtype)[labels]


class FocalParameters(NamedTuple):
    """The exponent and weight of a class, or of each pixel's class, in a `FocalSum`."""

    gamma: float | Tensor
    alpha: float | Tensor

    def value(self, error: Tensor, nll: Tensor) -> Tensor:
        """Computes the focal loss alpha e^gamma nll, with e = 1 - p and nll = -log p."""
        return error.pow(self.gamma).mul_(self.alpha).mul_(nll)

    def slope(self, p: Tensor, error: Tensor, nll: Tensor) -> Tensor:
        """Computes its derivative in the logit of e: alpha e^gamma (gamma p nll + e).

        Do not compute p as 1 - e: if e is close to 1, nll is large, and p needs its digits.
        """
        slope = (p * nll).mul_(self.gamma).add_(error).mul_(self.alpha)
        return slope.mul_(error.pow(self.gamma))


def focal_of_class(focal: FocalSum, index: int) -> FocalParameters:
    """Returns the parameters of one class."""
    parameters = (focal.gamma, focal.alpha)
    return FocalParameters(*(values[min(index, len(values) - 1)] for values in parameters))


def focal_of_labels(focal: FocalSum, labels: Tensor, like: Tensor) -> FocalParameters:
    """Returns the parameters of each pixel's class; numbers where all classes share them."""
    return FocalParameters(
        *(_of_labels(values, labels, like) for values in (focal.gamma, focal.alpha))
    )


def _of_labels(values: tuple[float, ...], labels: Tensor, like: Tensor) -> float | Tensor:
    if len(values) == 1:
        return values[0]
    table = on_device(values, like.device, like.dtype)
    return table[labels.clamp(max=len(values) - 1)]
