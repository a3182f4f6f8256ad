r"""Sums of functions of the probability, with their slopes, for the reference and the chunks.

Each sum of :math:`w f(p, q, g)` has its values f and the derivative df/dp, where q = 1 - p is
given with digits of its own. The reference path differentiates the values; the kernels use the
slopes. With label maps g is the number 0 or 1, for a class that a pixel does not have or has.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.foundation.device_constants import on_device
from segloss.sums.plan import SEMIMETRIC, SQUARED_ERROR, FocalSum, MapSum, Plan


class PixelValues(NamedTuple):
    """The values at pixels that a sum is a function of, all of one shape.

    Attributes:
        p: The probabilities.
        q: 1 - p, with digits of its own.
        g: The target; a number where it is the same for all.
        maps: The maps beside the target, by name.
    """

    p: Tensor
    q: Tensor
    g: Tensor | float
    maps: Mapping[str, Tensor]


class PixelSum:
    """A sum over pixels of a function of their probability.

    Attributes:
        names: The names of the sums that depend on the predictions.
    """

    names: tuple[str, ...]

    @abstractmethod
    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Returns the summands by name, without pixel weights."""

    @abstractmethod
    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Returns the derivative with respect to p of the sum of `upstream` times `values`."""


class SquaredError(PixelSum):
    """The sum of (p - g)^2, where p - g = p (1 - g) - q g loses no digits."""

    names = ("squared_error",)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Returns the squared error."""
        return {"squared_error": _error(pixel).square()}

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Twice the error, times `upstream`."""
        return _error(pixel) * (2 * upstream["squared_error"])


class Semimetric(PixelSum):
    """The sums of min(p, g), (p - g)^+ and (g - p)^+, whose slopes at p = g are those above."""

    names = tuple(row.key for row in SEMIMETRIC.rows)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Returns the true positives, false positives and false negatives of a pixel."""
        p, g = pixel.p, torch.as_tensor(pixel.g).to(pixel.p)
        missing, none = _missing(pixel), torch.zeros_like(p)
        below = missing > 0
        counts = (
            torch.where(below, p, g),
            torch.where(below, none, p - g),
            torch.where(below, missing, none),
        )
        return dict(zip(self.names, counts, strict=True))

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Returns the upstream of false positives above g, of hits minus misses below."""
        hit, extra, missed = (upstream[name] for name in self.names)
        return torch.where(_missing(pixel) > 0, hit - missed, extra)


class OfMap(PixelSum):
    """The sums of p m and q m, for a map m."""

    def __init__(self, of_map: MapSum) -> None:
        self.map_key = of_map.map_key
        self.names = (of_map.hit, of_map.missed)

    def values(self, pixel: PixelValues) -> dict[str, Tensor]:
        """Returns the map where it is predicted, and where it is not."""
        (hit, missed), of_map = self.names, pixel.maps[self.map_key]
        return {hit: pixel.p * of_map, missed: pixel.q * of_map}

    def slope(self, upstream: Mapping[str, Tensor], pixel: PixelValues) -> Tensor:
        """Returns the map, times the difference of both in `upstream`."""
        hit, missed = (upstream[name] for name in self.names)
        return (hit - missed) * pixel.maps[self.map_key]


def _missing(pixel: PixelValues) -> Tensor:
    """Returns the difference g - p, in the digits of the smaller of p and 1 - p."""
    g = torch.as_tensor(pixel.g).to(pixel.p)
    return torch.where(g > 0.5, pixel.q - (1 - g), g - pixel.p)


def _error(pixel: PixelValues) -> Tensor:
    """Returns the difference p - g."""
    p, q, g, _ = pixel
    if isinstance(g, Tensor):
        return p * (1 - g) - q * g
    return p if g == 0 else -q


def pixel_sums(plan: Plan) -> list[PixelSum]:
    """Returns the sums of functions of the probability in a plan."""
    known = {SQUARED_ERROR.name: SquaredError, SEMIMETRIC.name: Semimetric}
    fixed = [known[each.name]() for each in plan.sums if each.name in known]
    return [*fixed, *map(OfMap, plan.maps)]


class FocalParameters(NamedTuple):
    """A class's part of a `FocalSum`: its exponent and weight."""

    gamma: float | Tensor
    alpha: float | Tensor

    def value(self, error: Tensor, nll: Tensor) -> Tensor:
        """Returns alpha e^gamma s of pixels of that class, with e = 1 - p and s = -log p."""
        return error.pow(self.gamma).mul_(self.alpha).mul_(nll)

    def slope(self, p: Tensor, error: Tensor, nll: Tensor) -> Tensor:
        """Returns its derivative by the logit of e: alpha e^gamma (gamma p s + e).

        Where e is close to 1, p must have digits of its own, since s is large there.
        """
        slope = (p * nll).mul_(self.gamma).add_(error).mul_(self.alpha)
        return slope.mul_(error.pow(self.gamma))


def focal_of_class(focal: FocalSum, index: int) -> FocalParameters:
    """Returns the part of one class of all."""
    parameters = (focal.gamma, focal.alpha)
    return FocalParameters(*(values[min(index, len(values) - 1)] for values in parameters))


def focal_of_labels(focal: FocalSum, labels: Tensor, like: Tensor) -> FocalParameters:
    """Returns the parts of each pixel's class, where they differ."""
    return FocalParameters(
        *(_of_labels(values, labels, like) for values in (focal.gamma, focal.alpha))
    )


def _of_labels(values: tuple[float, ...], labels: Tensor, like: Tensor) -> float | Tensor:
    if len(values) == 1:
        return values[0]
    table = on_device(values, like.device, like.dtype)
    return table[labels.clamp(max=len(values) - 1)]
