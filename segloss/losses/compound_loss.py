"""A mixture of terms as a loss of (prediction, target), for loops without batches of mappings.

`segloss.losses.seg_loss` is the same mixture as a `Loss` of batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from segloss.batch.diagnosis import Finding, FirstBatches
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.batch.reader import BatchTensors, PixelReader, SelectsChannels
from segloss.batch.selectors import Selector
from segloss.batch.shape_checks import check_channel_weights, check_maps, check_prediction
from segloss.foundation.arguments import (
    ChecksKeywords,
    check_choice,
    check_weights,
    checks_keywords,
    shown,
)
from segloss.foundation.distributed import RankSum
from segloss.foundation.ignore_index import IgnoreIndex, written
from segloss.foundation.precision import Precise
from segloss.losses.companions import TakesCompanions
from segloss.losses.modes import MODES, check_mode, checked_channels
from segloss.terms import TERMS, Mixture, RegionTerm, Term
from segloss.terms.algebra import Algebra
from segloss.terms.base import parameters_of
from segloss.terms.mixture.evaluate import REDUCTIONS, reduced
from segloss.terms.mixture.group import MixtureGroup
from segloss.terms.mixture.signed_distances import FirstDistances
from segloss.terms.mixture.spellings import RECOMMENDED, mixture_of
from segloss.terms.mixture.unused import unused_by_terms

_COEFFICIENTS = "terms have their coefficients, as in terms={'cross_entropy': 0.5, 'dice': 0.5}"

_BELONGS_ELSEWHERE = {
    **{
        parameter: f"an argument of terms, as in {type_.__name__}({parameter}=...)"
        for type_ in reversed(TERMS.values())
        for parameter in parameters_of(type_)
    },
    "n_classes": "the channels of the prediction say how many classes there are, so leave it out",
    "bce_coef": _COEFFICIENTS,
    "dice_coef": _COEFFICIENTS,
    "name": "a name belongs to SegLoss(name=...) or LossWrapper(loss, name=...)",
}
"""Arguments that a caller may expect of a `CompoundLoss`, with the remedy of each."""


class CompoundLoss(SelectsChannels, TakesCompanions, ChecksKeywords, Precise):
    r"""Terms with coefficients as a loss of (prediction, target) that returns a tensor.

    .. math:: L = \sum_t c_t\,\mathrm{term}_t

    with :math:`c_t` the coefficient of term t. All terms see the same probabilities, from one pass
    over the pixels. A `MultiLoss` wraps it in a `LossWrapper`, which takes batches, with mixup;
    `segloss.SegLoss` does so itself.

    Args:
        terms: The mixture, such as `0.5 * CrossEntropy() + 0.5 * Dice()` of `segloss.terms`, a
            single term, a mapping such as `{"cross_entropy": 0.5, "dice": 0.5}`, or "recommended",
            as by default, for `segloss.recommended()`.
        mode: "binary": one sigmoid channel; "multilabel": independent sigmoid channels;
            "multiclass": softmax over the channels.
        from_logits: True if predictions are logits, False if they are probabilities.
        ignore_index: The target's value for ignored pixels, or a list of several.
        class_weights: Weights of the classes in the cross-entropy, (C,).
        pos_weight: Weights of the positive class in binary cross-entropy, a number or (C,).
        label_smoothing: Smoothing e of the cross-entropy's targets, in [0, 1]: g (1 - e) + e/2 for
            sigmoid, g (1 - e) + e/C for softmax. The region terms see plain targets.
        pred_channel_selector: The channels of the prediction to look at; None: all. See
            `segloss.SegLoss` for the forms of selectors.
        gt_channel_selector: The channels of the target to compare with, and of weights and maps
            that have its channels; None: all.
        merge_unannotated: True to add, with softmax, the probability of classes that are not
            annotated in a sample to the background, class 0.
        reduction: "mean": a scalar; "sum": the sum that the mean divides, over pixels, or over
            samples and classes; "none": the loss of each pixel if all terms are means over pixels,
            as cross-entropy is, (N, *spatial), or with sigmoid (N, C, *spatial). With a region term
            among them, it is the loss of each sample and class, (N, C), in which other terms are
            the means of the samples, or (N, 1) if every term has one value per sample. Anything
            left out is 0.
        sync_statistics: True to add up statistics over ranks; see `segloss.SegLoss`.
        sync_in_eval: True to add up without gradients, too.
        process_group: The process group of the ranks; None: all ranks.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a prediction or target
            is wrong when it is used.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[0, 0, 1, 255]])
        >>> CompoundLoss(mode="multiclass", ignore_index=255)(torch.zeros(1, 3, 4), labels)
        tensor(0.7440)
        >>> from segloss.terms import CrossEntropy, Dice
        >>> terms = 0.5 * CrossEntropy() + 0.5 * Dice(region_classes=[1, 2])
        >>> loss = CompoundLoss(terms, mode="multiclass", ignore_index=255)
        >>> loss(torch.zeros(1, 3, 4), labels)
        tensor(0.7854)
    """

    belongs_elsewhere: ClassVar[Mapping[str, str]] = _BELONGS_ELSEWHERE
    combination = (
        "mix the terms (0.5 * Dice() + 0.5 * CrossEntropy() of segloss.terms) and pass the mixture "
        "to CompoundLoss, put losses into a MultiLoss, or add up the losses of a batch"
    )
    companions = ("pixel_weights", "maps", "annotated", "sample_weights")
    class_weights: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        terms: Mixture | Term | Mapping[Any, Any] | str | None = RECOMMENDED,
        mode: str = "binary",
        *,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = "mean",
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(terms, str) and terms in MODES:
            raise TypeError(
                f"terms must be a mixture of terms, got the mode {terms!r}: pass mode={terms!r}."
            )
        if isinstance(mode, Algebra):
            raise TypeError(f"mode must be a str, got the term {mode!r}: add up terms with +.")
        self.mode = check_mode(mode)
        self.options = PixelOptions.checked(
            2,  # each prediction says how many there are with softmax
            MODES[mode],
            from_logits=from_logits,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
        )
        self.reader = PixelReader(
            pred_channel_selector,
            gt_channel_selector,
            merge_unannotated,
            self.options.label_smoothing,
        )
        self.register_setting("class_weights", check_weights("class_weights", class_weights))
        self.register_setting("pos_weight", check_weights("pos_weight", pos_weight))
        if self.pos_weight is not None and mode == "multiclass":
            check_channel_weights(None, self.pos_weight, 2, "softmax")
        self.reduction = check_choice("reduction", reduction, REDUCTIONS)
        self.first_batches = FirstBatches()
        self.first_distances = FirstDistances()
        self._add = RankSum(sync_statistics, sync_in_eval, process_group)
        if sync_statistics and reduction == "none":
            raise ValueError(
                "sync_statistics=True adds up the statistics of a mean, but reduction='none' does "
                "not compute one: use reduction='mean'."
            )
        self.mixture = mixture_of(RECOMMENDED if terms is None else terms)

    @property
    def mixture(self) -> Mixture:
        """The terms with their coefficients. To change them, set another mixture."""
        return self._group.mixtures[0]

    @mixture.setter
    def mixture(self, mixture: Mixture) -> None:
        self._check_mixture(Mixture.of(mixture))
        self._group = MixtureGroup([Mixture.of(mixture)])
        self.term_parameters = self.mixture.parameters()

    @property
    def ignore_index(self) -> IgnoreIndex:
        """The target's value for ignored pixels, a tuple of several, or None."""
        return self.options.ignore_index

    @property
    def map_keys(self) -> tuple[str, ...]:  # type: ignore[override]
        """The keys in `maps` that the terms need."""
        return self._group.plan.map_keys

    @property
    def group_key(self) -> str | None:
        """The key of the map of components that the terms need, or None."""
        return self._group.plan.group_key

    @checks_keywords()
    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        pixel_weights: Tensor | None = None,
        maps: Mapping[str, Tensor] | None = None,
        annotated: Tensor | None = None,
        sample_weights: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """Returns the loss: a scalar, or with reduction="none" the losses of pixels or cells.

        Args:
            prediction: (N, C, *spatial), with 1 to 3 spatial dimensions; with sigmoid also (N, P),
                N masks of P pixels, for a target (N, P). They count as (N, 1, P). So an image needs
                its axes of samples and channels: (H, W) would be H masks.
            target: Dense, of the prediction's shape; or a label map or, for one channel, a mask,
                (N, *spatial) or (N, 1, *spatial).
            pixel_weights: Weights of at least 0, (N, 1, *spatial), or (N, C, *spatial) with
                sigmoid.
            maps: The maps that the terms need, by name, each (N, C, *spatial).
            annotated: Booleans (N, C): True where a class is annotated in a sample.
            sample_weights: Weights of at least 0, (N,), of the samples in every term: a sample of
                weight 2 counts as two, and one of weight 0 is left out. With reduction="none", its
                losses are times its weight.
            shares: Factors (N,) of the samples' parts of the means, such as lambdas of mixup; None:
                1. Terms that pool samples do not have such parts.

        Returns:
            A scalar in float64 for float64 predictions, else in float32; with reduction="none", the
                losses of pixels, (N, *spatial) or with sigmoid (N, C, *spatial), or of cells,
                (N, C).

        Raises:
            TypeError, ValueError: A tensor is missing, or has a wrong shape, dtype, device or
                value; the message names it.
        """
        pixels, left_out = self._read(
            BatchTensors(
                prediction,
                target,
                pixel_weights,
                annotated=annotated,
                sample_weights=sample_weights,
            ),
            maps,
        )
        _check_shares(shares, pixels.prediction)
        return self._value(pixels, left_out, shares, prediction.shape)

    def _value(
        self,
        pixels: PixelBatch,
        left_out: Tensor | None,
        shares: Tensor | None,
        shape: Sequence[int],
    ) -> Tensor:
        """Returns the loss of a checked batch, whose prediction has this shape."""
        return reduced(self._group, pixels, self.reduction, shape, self._add, left_out, shares)

    def pixels(self, prediction: Tensor, target: Tensor, **tensors: Any) -> PixelBatch:
        """Returns the checked batch for the arguments of `forward`."""
        maps = tensors.pop("maps", None)
        return self._read(BatchTensors(prediction, target, **tensors), maps)[0]

    def _read(self, tensors: BatchTensors, maps: Any) -> tuple[PixelBatch, Tensor | None]:
        """Returns the checked batch, and the cells that region terms leave out, or None."""
        if not isinstance(tensors.prediction, Tensor):
            check_prediction(tensors.prediction, tensors.names.pred)
        selected = self.reader.select(tensors)
        channels = self._check_channels(selected.prediction, selected.target)
        needed = tensors._replace(maps=self._needed_maps(maps))
        selected = selected._replace(maps=self.reader.select_maps(needed, selected.prediction))
        options = self.options
        if options.activation == "softmax":
            options = options.replace(n_classes=channels)
        group_key = self._group.plan.group_key
        pixels, left_out = self.reader.read(
            selected, options, self.class_weights, self.pos_weight, group_key
        )
        self._group.check_classes(pixels.prediction.shape[1], options.activation)
        if left_out is not None and not self.reader.merges:
            self._group.check_annotated(selected.names.annotated)
        if not self.first_batches.are_over:
            self.first_batches.warn(self.unused_options(), self)
            self.first_batches.look(pixels, selected.names, options, self)
        self.first_distances.look(self._group.mixtures, pixels, self)
        return pixels, left_out

    def unused_options(self) -> list[Finding]:
        """Returns findings about arguments that change nothing, since no term reads them."""
        return unused_by_terms(
            self._group,
            class_weights=self.class_weights,
            pos_weight=self.pos_weight,
            label_smoothing=self.options.label_smoothing or None,
        )

    def _check_mixture(self, mixture: Mixture) -> None:
        """Raises ValueError if the loss can't have these terms."""
        if self.reduction == "none":
            check_unreduced(mixture)

    def extra_repr(self) -> str:
        """Returns the terms, the mode, and how predictions and targets are read."""
        return f"{self.mixture}, {self._reading()}"

    def _reading(self) -> str:
        """Returns the mode, whether predictions are logits, and which pixels are left out."""
        ignored = self.ignore_index
        left_out = "" if ignored is None else f", ignore_index={written(ignored)}"
        return f"{self.mode!r}, from_logits={self.options.from_logits}{left_out}"

    def _check_channels(self, prediction: Any, target: Any) -> int:
        """Checks that the number of channels fits the mode, and returns it."""
        return checked_channels(self.mode, prediction, target)

    def _needed_maps(self, maps: Any) -> Mapping[str, Tensor]:
        """Returns the maps that the terms need, and drops others."""
        given = check_maps(maps, self.map_keys, f" for {type(self).__name__}")
        return {key: given[key] for key in self.map_keys}


def _check_shares(shares: Any, prediction: Tensor) -> None:
    """Raises ValueError if factors of samples do not fit the prediction."""
    if shares is None:
        return
    if not isinstance(shares, Tensor) or shares.shape != prediction.shape[:1]:
        raise ValueError(
            f"shares must be a tensor ({prediction.shape[0]},), a factor for each sample, got "
            f"{tuple(shares.shape) if isinstance(shares, Tensor) else shown(shares)}."
        )


def check_unreduced(mixture: Mixture) -> None:
    """Raises ValueError if the terms do not have losses per sample and class to return."""
    for part in mixture.components:
        term = part.term
        if not isinstance(term, RegionTerm):
            continue
        if term.reduction.pools_samples or term.region_class_weights is not None:
            raise ValueError(
                "reduction='none' gives the loss of each sample and class, before any mean, and "
                f"{term!r} has none: leave region_reduction='sample' and "
                "region_class_weights=None, as the terms 0.5 * CrossEntropy() + 0.5 * Dice() do."
            )
        if term.class_groups is not None and len(mixture.components) > 1:
            raise ValueError(
                "reduction='none' adds up terms of the same classes, but region_groups has cells "
                "of groups of classes: make a loss of this term alone, with reduction='none'."
            )
        if term.region_classes is not None and len(mixture.components) > 1:
            raise ValueError(
                "reduction='none' adds up terms of the same classes: leave region_classes=None, "
                "and select from the result."
            )
