"""Generalised Dice terms: classes are weighted, and added up before the division."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import torch
from torch import Tensor

from segloss.foundation.arguments import as_python, check_choice, check_number, is_list, shown
from segloss.foundation.device_constants import on_device
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import DistanceSum, Sum
from segloss.terms.overlap import Overlap

__all__ = ["GeneralizedDice", "GeneralizedWassersteinDice"]

_EXPONENTS = {"square": 2, "simple": 1, "uniform": 0}


class GeneralizedDice(Overlap):
    r"""Generalised Dice loss.

    .. math:: 1 - \frac{2 \sum_c v_c\,TP_c + s}{\sum_c v_c (\sum p_c + \sum g_c) + s}
        = \frac{\sum_c v_c (FP_c + FN_c)}{\sum_c v_c (2\,TP_c + FP_c + FN_c) + s},
        \quad v_c = \left(\sum g_c\right)^{-2}

    in [0, 1]: 0 for a perfect prediction; 1 if nothing is hit and s is 0. There is one value for
    each sample, or one for the batch if it is pooled. A class that is absent gets the largest
    weight of the classes that are present, instead of an infinite one.

    Args:
        weight_type: "square" for the weights above, "simple" for their square roots, or "uniform"
            for 1.
        smooth: The smoothing s, at least 0, on the scale of the weighted sums; or a pair, as in
            `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells. `region_class_weights`
            multiply the weights v.

    Source: Sudre, Li, Vercauteren, Ourselin, Cardoso, "Generalised Dice overlap as a deep learning
    loss function for highly unbalanced segmentations" (2017).

    Example:
        >>> import torch
        >>> from segloss import GeneralizedDiceLoss
        >>> GeneralizedDiceLoss("multiclass")(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5000)
    """

    name = "generalized_dice"
    mixes_classes = True
    weight_type: str = "square"
    smooth: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("weight_type", self.weight_type, _EXPONENTS)

    def pooled_losses_and_weights(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the loss of each sample, (N, 1), and its weight: 1, or 0 if all is left out."""
        included = (self.cell_weights(pooled) > 0).any(1, keepdim=True)
        return self.cell_loss(pooled), included.to(pooled.actual)

    def errors_and_hits(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the weighted errors and hits of each sample, (N, 1)."""
        weights = self.cell_weights(confusion) * self._size_weights(confusion.actual)
        errors = confusion.false_positive + confusion.false_negative
        errors, hits = (
            (weights * values).sum(1, keepdim=True)
            for values in (errors, 2 * self.true_positive(confusion))
        )
        return errors, hits

    def _size_weights(self, actual: Tensor) -> Tensor:
        absent = actual <= 0
        weights = actual.masked_fill(absent, torch.inf) ** -_EXPONENTS[self.weight_type]
        largest = weights.amax(1, keepdim=True)
        return torch.where(absent, torch.where(largest > 0, largest, 1), weights)


class GeneralizedWassersteinDice(Overlap):
    r"""Generalised Wasserstein Dice loss: mistaking a class for a similar one costs less.

    .. math:: 1 - \frac{2\,T + s}{2\,T + \sum_i w_i \delta_i + s},
        \quad T = \sum_i w_i v_{y_i} (1 - \delta_i),
        \quad \delta_i = \sum_c M_{y_i c}\,p_{ic}

    in [0, 1]: 0 for a perfect prediction; 1 if nothing is hit and s is 0. M has the distances
    between the classes, divided by the largest; :math:`\delta_i` is the Wasserstein distance of a
    pixel's probabilities from its class y. The weights v are 1 for the foreground and 0 for the
    background, class 0. There is one value for each sample, or one for the batch if it is pooled.
    With sigmoid, each channel has a background and a foreground, and a value of its own: by
    default, that of the Dice loss.

    Args:
        distances: M, (C, C), a row for each true class, with 0 on the diagonal. None: 1 between any
            two classes.
        weight_type: "foreground" for the weights above; "inverse_size" for
            :math:`v_c = 1 / (\sum w g_c + 1)`, which also weights the errors.
        smooth: The smoothing s, at least 0; or a pair, as in `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on T, at least 0.
        **region: The arguments of `RegionTerm`. `region_classes` are the true classes whose pixels
            count, and `region_class_weights` weight these pixels. "micro" and "sample_micro" are
            errors, because they would mix background and foreground. `soft_labels` changes nothing.

    Source: Fidon, Li, Garcia-Peraza-Herrera, Ekanayake, Kitchen, Ourselin, Vercauteren,
    "Generalised Wasserstein Dice score for imbalanced multi-class segmentation using holistic
    convolutional networks" (2017); for "inverse_size", Tilborghs et al., "Comparative study of deep
    learning methods for the automatic segmentation of lung, lesion and lesion type in CT scans of
    COVID-19 patients" (2020).

    Example:
        >>> import torch
        >>> from segloss import GeneralizedWassersteinDiceLoss
        >>> distances = [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]  # classes 1 and 2 are similar
        >>> loss = GeneralizedWassersteinDiceLoss("multiclass", distances=distances)
        >>> loss(torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2, 0]]))
        tensor(0.5385)
    """

    name = "generalized_wasserstein_dice"
    mixes_softmax = True
    distances: Any = None
    weight_type: str = "foreground"
    sum: DistanceSum = field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("weight_type", self.weight_type, ("foreground", "inverse_size"))
        distances = _check_distances(self.distances)
        self._set(distances=distances, sum=DistanceSum(_normalized(distances or ())))
        if self.reduction.pools_classes:
            raise ValueError(
                f"region_reduction={self.region_reduction!r} mixes background and foreground, "
                "which this term treats differently: use 'sample' or 'batch'."
            )

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The sums of distances, with either `soft_labels`."""
        return (self.sum,)

    @property
    def fits_any_classes(self) -> bool:
        """True if neither distances nor classes are given."""
        return self.distances is None and self.reduction.fits_any_classes

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if the distances or the classes do not fit the number of channels."""
        super().check_classes(channels, activation)
        expected = 2 if activation == "sigmoid" else channels
        if self.distances is not None and len(self.distances) != expected:
            each = "background and foreground" if activation == "sigmoid" else "each class"
            given = len(self.distances)
            raise ValueError(
                f"distances must have a row and a column for {each} with {activation}: expected "
                f"({expected}, {expected}), got ({given}, {given})."
            )

    def pooled_losses_and_weights(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the losses and their weights: (N, 1) for softmax, (N, C) for sigmoid."""
        weights = self.cell_weights(pooled)
        if pooled.exclusive:
            weights = (weights > 0).any(1, keepdim=True).to(weights)
        return self.cell_loss(pooled), weights

    def errors_and_hits(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the errors and twice the hits: (N, 1) for softmax, (N, C) for sigmoid."""
        far, near = confusion[self.sum.far], confusion[self.sum.near]
        weights, background_hits = self._size_weights(confusion.actual), self._background_hits
        if confusion.exclusive:
            classes = self.region_classes or range(far.shape[1])
            flags = tuple(1.0 if c > 0 else background_hits for c in classes)
            weights = weights * self.cell_weights(confusion)
            errors = (weights * far).sum(1, keepdim=True)
            near = near * on_device(flags, near.device, near.dtype)
            hits = (weights * near).sum(1, keepdim=True)
        else:
            of_background = self._size_weights(confusion.pixel_weight - confusion.actual)
            errors = weights * far + of_background * confusion[self.sum.background_far]
            near_background = of_background * confusion[self.sum.background_near]
            hits = weights * near + background_hits * near_background
        return errors, 2 * (hits.clamp(min=self.clip_tp) if self.clip_tp > 0 else hits)

    @property
    def _background_hits(self) -> float:
        """The factor of the background's hits."""
        return 0.0 if self.weight_type == "foreground" else 1.0

    def _size_weights(self, size: Tensor) -> Tensor:
        return torch.ones_like(size) if self.weight_type == "foreground" else 1 / (size + 1)


def _check_distances(given: Any) -> tuple[tuple[float, ...], ...] | None:
    rows = as_python(given)
    if rows is None:
        return None
    is_square = is_list(rows) and all(is_list(row) and len(row) == len(rows) for row in rows)
    if not is_square or len(rows) < 2:
        raise ValueError(
            "distances must be a square matrix (C, C), a row for each true class, got "
            f"{shown(rows)}."
        )
    checked = tuple(
        tuple(check_number(f"distances[{i}][{j}]", each) for j, each in enumerate(row))
        for i, row in enumerate(rows)
    )
    if any(row[i] > 0 for i, row in enumerate(checked)) or not any(map(any, checked)):
        raise ValueError(
            "distances must be 0 between a class and itself, and above 0 between some others, got "
            f"{shown(rows)}."
        )
    return checked


def _normalized(distances: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    largest = max((max(row) for row in distances), default=1.0)
    return tuple(tuple(each / largest for each in row) for row in distances)
