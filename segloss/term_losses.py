"""Each term as a loss of its own: a module of (prediction, target), as other packages have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from segloss.arguments import (
    check_choice,
    check_flag,
    check_integer,
    check_keys,
    check_mapping,
    shown,
)
from segloss.confusion import confusion_of
from segloss.distributed import RankSum
from segloss.precision import Precise, arithmetic_dtype
from segloss.targets import Names, ValueChecks, as_pixels
from segloss.terms import (
    MCC,
    Boundary,
    Compound,
    Dice,
    FBeta,
    Focal,
    FocalTversky,
    GeneralizedDice,
    Jaccard,
    LogCoshDice,
    LogDice,
    Poly1,
    RegionSizeKL,
    RegionSizeL1,
    SkeletonRecall,
    SquaredDice,
    Term,
    Tversky,
    UnifiedFocal,
    Weighted,
    parameters_of,
)

MODES = {"binary": "sigmoid", "multiclass": "softmax", "multilabel": "sigmoid"}
"""What predictions can be, and the activation that goes with each."""


class TermLoss(Precise):
    """A term as a loss of (prediction, target), from one pass as in `SegLoss`.

    A subclass names its `term_type`.

    Args:
        mode: "binary": one sigmoid channel; "multilabel": several, independent; "multiclass":
            softmax over the channels.
        classes: The classes that a region term looks at; None: all. It is `region_classes`.
        from_logits: Whether predictions are logits, and not probabilities.
        ignore_index: The target's value that marks pixels to be left out.
        reduction: "mean": a scalar; "none": the loss of each sample and class, (N, C), 0 where it
            is left out, or (N, 1) where the term does not tell them apart.
        sync_statistics: Whether statistics are added up over ranks; see `segloss.SegLoss`.
        sync_in_eval: Whether that is so without gradients too.
        process_group: The ranks' group; None: all.
        **parameters: The term's own parameters, and for region terms those of
            `segloss.terms.RegionTerm`.

    Raises:
        TypeError, ValueError: An argument is wrong or unknown; later, a prediction or target is.
    """

    term_type: ClassVar[type[Term]]

    def __init__(
        self,
        mode: str = "binary",
        *,
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        reduction: str = "mean",
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
        **parameters: Any,
    ) -> None:
        super().__init__()
        if not hasattr(self, "term_type"):
            raise TypeError(f"{type(self).__name__} must name its term_type: use a subclass of it.")
        self.mode = check_choice("mode", mode, MODES)
        self.from_logits = check_flag("from_logits", from_logits)
        self.ignore_index = (
            None if ignore_index is None else check_integer("ignore_index", ignore_index)
        )
        self.reduction = check_choice("reduction", reduction, ("mean", "none"))
        known = parameters_of(self.term_type)
        check_keys(type(self).__name__, parameters, known)
        if classes is not None:
            if "region_classes" not in known or "region_classes" in parameters:
                raise ValueError(
                    f"classes selects those of a region term, once, got {shown(classes)} for "
                    f"{type(self).__name__} with the parameters {', '.join(known)}."
                )
            parameters["region_classes"] = classes
        self.compound = Compound([Weighted(1.0, self.term_type(**parameters))])
        self._add = RankSum(sync_statistics, sync_in_eval, process_group)
        if sync_statistics and reduction == "none":
            raise ValueError(
                "sync_statistics=True adds up means, and reduction='none' has none: use 'mean'."
            )
        self._checks = ValueChecks()

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        pixel_weights: Tensor | None = None,
        maps: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            prediction: (N, C, *spatial), with 1 to 3 spatial dimensions.
            target: Dense, of that shape, or a label map or, for one channel, a mask, (N, *spatial)
                or (N, 1, *spatial).
            pixel_weights: Weights of at least 0, (N, 1, *spatial), or (N, C, *spatial) with
                sigmoid.
            maps: The maps that the term needs by name, each (N, C, *spatial).
        """
        activation = MODES[self.mode]
        self._check_channels(prediction)
        if maps is not None:
            check_mapping("maps", maps)
        maps = {key: self._map(maps, key) for key in self.compound.maps}
        pixels = as_pixels(
            prediction,
            target,
            n_classes=prediction.shape[1] if activation == "softmax" else 2,
            activation=activation,
            from_logits=self.from_logits,
            pixel_weights=pixel_weights,
            ignore_index=self.ignore_index,
            maps=maps,
            names=Names("prediction"),
            checks=self._checks,
        )
        self.compound.check_classes(prediction.shape[1], activation)
        if self.reduction == "mean":
            return self.compound.evaluate(pixels, self._add).loss
        cells = self.compound.cells(confusion_of(pixels, self.compound.sums))
        return cells.to(arithmetic_dtype(prediction.dtype))

    def extra_repr(self) -> str:
        """The mode, and whether predictions are logits."""
        return f"{self.mode!r}, from_logits={self.from_logits}"

    def _check_channels(self, prediction: Tensor) -> None:
        if not isinstance(prediction, Tensor):
            raise TypeError(f"prediction must be a tensor, got {type(prediction).__name__}.")
        channels = prediction.shape[1] if prediction.ndim > 1 else 0
        fits = channels == 1 if self.mode == "binary" else channels > 1 or self.mode != "multiclass"
        if prediction.ndim > 2 and not fits:
            other = "mode='multiclass' or 'multilabel'" if channels > 1 else "mode='binary'"
            raise ValueError(
                f"prediction has {channels} channels in the shape {tuple(prediction.shape)}, which "
                f"does not fit mode={self.mode!r}: set {other}."
            )

    def _map(self, maps: Mapping[str, Tensor] | None, key: str) -> Tensor:
        if maps is None or key not in maps:
            raise ValueError(
                f"maps must have {key!r} for {type(self).__name__}: pass "
                f"loss(prediction, target, maps={{{key!r}: ...}})."
            )
        return maps[key]


class SoftDiceLoss(TermLoss):
    """Dice loss; see `segloss.terms.Dice`.

    Example:
        >>> import torch
        >>> SoftDiceLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.4000)
    """

    term_type = Dice


class JaccardLoss(TermLoss):
    """Jaccard (intersection over union) loss; see `segloss.terms.Jaccard`.

    Example:
        >>> import torch
        >>> JaccardLoss("multiclass")(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.6667)
    """

    term_type = Jaccard


class TverskyLoss(TermLoss):
    """Tversky loss; see `segloss.terms.Tversky`.

    Example:
        >>> import torch
        >>> TverskyLoss(alpha=0.5, beta=0.5)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5000)
    """

    term_type = Tversky


class FocalTverskyLoss(TermLoss):
    """Focal Tversky loss; see `segloss.terms.FocalTversky`.

    Example:
        >>> import torch
        >>> FocalTverskyLoss(gamma=2.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.2500)
    """

    term_type = FocalTversky


class FBetaLoss(TermLoss):
    """F-beta loss; see `segloss.terms.FBeta`.

    Example:
        >>> import torch
        >>> FBetaLoss(beta=2.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 1]]))
        tensor(0.4643)
    """

    term_type = FBeta


class LogDiceLoss(TermLoss):
    """Negative logarithm of the Dice score; see `segloss.terms.LogDice`.

    Example:
        >>> import torch
        >>> LogDiceLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5108)
    """

    term_type = LogDice


class LogCoshDiceLoss(TermLoss):
    """Log-cosh Dice loss; see `segloss.terms.LogCoshDice`.

    Example:
        >>> import torch
        >>> LogCoshDiceLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.0780)
    """

    term_type = LogCoshDice


class SquaredDiceLoss(TermLoss):
    """Dice loss with squares in its denominator; see `segloss.terms.SquaredDice`.

    Example:
        >>> import torch
        >>> SquaredDiceLoss(smooth=0.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.3333)
    """

    term_type = SquaredDice


class GeneralizedDiceLoss(TermLoss):
    """Generalised Dice loss; see `segloss.terms.GeneralizedDice`.

    Example:
        >>> import torch
        >>> GeneralizedDiceLoss("multiclass")(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5000)
    """

    term_type = GeneralizedDice


class MCCLoss(TermLoss):
    """Matthews' correlation coefficient as a loss; see `segloss.terms.MCC`.

    Example:
        >>> import torch
        >>> MCCLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(1.)
    """

    term_type = MCC


class RegionSizeL1Loss(TermLoss):
    """Absolute difference of region sizes; see `segloss.terms.RegionSizeL1`.

    Example:
        >>> import torch
        >>> RegionSizeL1Loss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 0, 0]]))
        tensor(0.2500)
    """

    term_type = RegionSizeL1


class RegionSizeKLLoss(TermLoss):
    """Divergence of region sizes; see `segloss.terms.RegionSizeKL`.

    Example:
        >>> import torch
        >>> RegionSizeKLLoss("multiclass")(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 0, 0]]))
        tensor(0.1308)
    """

    term_type = RegionSizeKL


class FocalLoss(TermLoss):
    """Focal loss, of sigmoid or softmax; see `segloss.terms.Focal`.

    Example:
        >>> import torch
        >>> FocalLoss("multiclass", gamma=2.0)(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.1733)
    """

    term_type = Focal


class Poly1Loss(TermLoss):
    """Poly-1 loss; see `segloss.terms.Poly1`.

    Example:
        >>> import torch
        >>> Poly1Loss(epsilon=2.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(1.6931)
    """

    term_type = Poly1


class UnifiedFocalLoss(TermLoss):
    """Unified focal loss; see `segloss.terms.UnifiedFocal`.

    Example:
        >>> import torch
        >>> UnifiedFocalLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.4548)
    """

    term_type = UnifiedFocal


class BoundaryLoss(TermLoss):
    """Boundary loss; see `segloss.terms.Boundary`.

    Example:
        >>> import torch
        >>> distances = torch.tensor([[[1.0, 0.0, -1.0, 0.0]]])
        >>> loss = BoundaryLoss(map_key="distances")
        >>> logits = torch.tensor([[[-40.0, 40.0, 40.0, 40.0]]])
        >>> loss(logits, torch.tensor([[0, 1, 1, 1]]), maps={"distances": distances})
        tensor(-0.2500)
    """

    term_type = Boundary


class SkeletonRecallLoss(TermLoss):
    """Skeleton recall loss; see `segloss.terms.SkeletonRecall`.

    Example:
        >>> import torch
        >>> skeleton = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
        >>> loss = SkeletonRecallLoss(map_key="skeleton")
        >>> logits = torch.tensor([[[0.0, 40.0, 0.0, 0.0]]])
        >>> loss(logits, torch.tensor([[0, 1, 1, 1]]), maps={"skeleton": skeleton})
        tensor(0.2500)
    """

    term_type = SkeletonRecall
