"""The compound segmentation loss: cross-entropy, Dice and focal Tversky from one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

from torch import Tensor

from segloss.batch.assemble import as_pixel_batch
from segloss.batch.keys import Batch, take, take_optional
from segloss.batch.mixup import MixUp
from segloss.batch.options import PixelOptions
from segloss.batch.partial_labels import merge_unannotated
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.selectors import Selector, optional_selector
from segloss.batch.shape_checks import check_channel_weights
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.arguments import (
    check_flag,
    check_integer,
    check_number,
    check_text,
    check_weights,
)
from segloss.foundation.device_constants import comparable
from segloss.foundation.distributed import RankSum
from segloss.losses.loss import Loss
from segloss.terms import Mixture, PixelTerm, Term
from segloss.terms.mixture.evaluate import evaluate
from segloss.terms.mixture.group import MixtureGroup
from segloss.terms.mixture.spellings import documented_mixture

_MAKE = (
    "Make it in the data loader (segloss.SignedDistanceMap, segloss.SkeletonMap), or name yours in "
    "the term (map_key)."
)


class SegLoss(Loss):
    r"""Cross-entropy, Dice and focal Tversky losses, mixed by coefficients.

    .. math:: L = c_\mathrm{bce}\,\overline{\mathrm{CE}} + c_\mathrm{dice}\,\overline{
        \mathrm{Dice}} + c_\mathrm{tversky}\,\overline{\mathrm{FocalTversky}}

    All terms see the same probabilities, from one pass over the pixels. Cross-entropy is one
    weighted mean over the batch's pixels; the region terms are means over the cells of samples and
    classes, or as `region_reduction` says.

    Args:
        name: The name for logging.
        gt_channel_selector: The channels of the target to compare with; None: all. An int, a
            slice, a list of ints or bools, a tensor of either, "0:2", or a mapping with start,
            stop, step.
        n_classes: The number of classes. 2: binary cross-entropy of independent sigmoid channels;
            more: softmax cross-entropy.
        bce_coef: Coefficient of the (binary) cross-entropy, at least 0, as all of them.
        dice_coef: Coefficient of the Dice loss.
        tversky_focal_coef: Coefficient of the focal Tversky loss. A term with coefficient 0 is
            not computed.
        use_mixed_precision: Whether predictions of two classes are logits.
        use_mixup: Whether batches may carry the keys of `MixUp`.
        mixup_alpha: The parameter of `mixup`, the `MixUp` that fits this loss.
        use_label_smooth: Whether `smooth_factor` is used.
        smooth_factor: Smoothing e of the cross-entropy's targets, in [0, 1]: g (1 - e) + e/2 for
            sigmoid, g (1 - e) + e/C for softmax. The region terms see plain targets.
        from_logits: True if predictions are logits. None: yes if `n_classes` > 2, else as
            `use_mixed_precision` says.
        activation: "sigmoid" or "softmax"; None: as `n_classes` says.
        pred_channel_selector: The channels of the prediction to look at; None: all.
        ignore_index: The target's value for ignored pixels.
        class_weights: Weights of the classes in the cross-entropy, (C,).
        pos_weight: Weights of the positive class in binary cross-entropy, a number or (C,).
        region_reduction: "sample", "batch" or "micro"; see `segloss.terms.RegionTerm`.
        region_classes: The classes that the region terms look at; None: all.
        region_class_weights: Their weights in the mean over classes.
        skip_absent_classes: Whether the region terms leave out classes absent from the target.
        smooth: The Dice loss's smoothing.
        tversky_alpha: Weight of false positives.
        tversky_beta: Weight of false negatives.
        tversky_gamma: Exponent of the focal Tversky loss.
        soft_labels: What region terms take for true positives where targets lie between 0 and 1:
            "product" or "metric"; see `segloss.terms.RegionTerm`.
        extra_terms: More terms: names of `segloss.terms.TERMS`, or term objects, with
            coefficients, such as `{"jaccard": 0.2}`; or names of your own with mappings of the
            coefficient, the term and its parameters, such as
            `{"foreground": {"term": "dice", "coef": 0.5, "region_classes": [1, 2]}}`.
        terms: The whole mixture, beside which the coefficients, `extra_terms` and the arguments of
            the region terms stay at their defaults:
            `0.5 * CrossEntropy() + 0.5 * Dice(region_classes=[1, 2])` of `segloss.terms`, or the
            same as a mapping, as `extra_terms` takes it.
        merge_unannotated: Whether, with softmax, the probability of classes that are not
            annotated in a sample is added to the background's, class 0 (the marginal loss; see
            `segloss.batch.partial_labels`). Otherwise such samples are refused, unless all terms
            are region terms.
        sync_statistics: Whether the terms' statistics are added up over the ranks of a process
            group while gradients are computed. The loss on every rank, and the gradients after
            `DistributedDataParallel` has averaged them, are then those of the whole batch.
        sync_in_eval: Whether that is so without gradients too, where all ranks must take part.
        process_group: The group; None: all ranks.
        pred_key: The key of the predictions in `pred_batch`, (N, C, *spatial).
        gt_key: The key of the targets in `gt_batch`: dense (N, C, *spatial), or a label map
            (N, *spatial) or (N, 1, *spatial).
        weight_key: The key of the pixel weights in `gt_batch`, which may be absent:
            (N, 1 or C_gt, *spatial). The target's channel selector applies to more than one
            channel.
        annotated_key: The key of booleans (N, C) in `gt_batch`, which may be absent: whether a
            class is annotated in a sample. With sigmoid, a channel that is not has weight 0 there;
            with softmax, the region terms leave it out, and see `merge_unannotated`.

    Maps beside the target, which some terms need, are in `gt_batch` under the keys of these terms,
    (N, C, *spatial). The target's channel selector applies to maps and annotations that have its
    channels.

    The loss is float64 for float64 predictions, float32 otherwise. `extra_info` has the value of
    each term under its name ("cross_entropy", "dice", "focal_tversky") and, where it has them, its
    means per class ("dice_per_class" and so on; NaN for a class without a cell).

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a batch is wrong
            when it is used; the message names the argument or the key.

    Example:
        >>> import torch
        >>> loss = SegLoss(n_classes=3, bce_coef=1.0, dice_coef=1.0)
        >>> pred_batch = {"seg": torch.zeros(1, 3, 2, 2)}
        >>> gt_batch = {"gt_polygons_image": torch.tensor([[[0, 1], [2, 2]]])}
        >>> value, extra_info = loss(pred_batch, gt_batch)
        >>> value
        tensor(1.5858)
        >>> sorted(extra_info)
        ['cross_entropy', 'dice', 'dice_per_class']
    """

    class_weights: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        name: str = "seg",
        gt_channel_selector: Selector | None = None,
        n_classes: int = 2,
        bce_coef: float = 0.5,
        dice_coef: float = 0.5,
        tversky_focal_coef: float = 0.0,
        use_mixed_precision: bool = False,
        use_mixup: bool = False,
        mixup_alpha: float = 0.5,
        use_label_smooth: bool = False,
        smooth_factor: float = 0.0,
        *,
        from_logits: bool | None = None,
        activation: str | None = None,
        pred_channel_selector: Selector | None = None,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        region_reduction: str = "sample",
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        smooth: float = 1.0,
        tversky_alpha: float = 0.3,
        tversky_beta: float = 0.7,
        tversky_gamma: float = 0.75,
        soft_labels: str = "product",
        extra_terms: Mapping[Any, Any] | None = None,
        terms: Mixture | Term | Mapping[Any, Any] | None = None,
        merge_unannotated: bool = False,
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
        pred_key: str = "seg",
        gt_key: str = "gt_polygons_image",
        weight_key: str = "seg_loss_weights",
        annotated_key: str = "annotated",
    ) -> None:
        super().__init__(name, use_mixup=use_mixup)
        check_integer("n_classes", n_classes)
        check_flag("use_label_smooth", use_label_smooth)
        smoothing = check_number("smooth_factor", smooth_factor, 0, 1)
        self.options = PixelOptions.checked(
            n_classes,
            activation,
            from_logits=_resolve_from_logits(from_logits, n_classes, use_mixed_precision),
            ignore_index=ignore_index,
            label_smoothing=smoothing if use_label_smooth else 0.0,
        )
        self.pred_key = check_text("pred_key", pred_key)
        self.gt_key = check_text("gt_key", gt_key)
        self.weight_key = check_text("weight_key", weight_key)
        self.annotated_key = check_text("annotated_key", annotated_key)
        self._names = BatchNames(
            f"pred_batch[{self.pred_key!r}]",
            f"gt_batch[{self.gt_key!r}]",
            f"gt_batch[{self.weight_key!r}]",
            f"gt_batch[{self.annotated_key!r}]",
        )
        self.merge_unannotated = check_flag("merge_unannotated", merge_unannotated)
        alpha = check_number("mixup_alpha", mixup_alpha, open_low=True)
        self.mixup = MixUp(alpha, gt_key=self.gt_key)
        self.pred_channels = optional_selector(pred_channel_selector, "pred_channel_selector")
        self.gt_channels = optional_selector(gt_channel_selector, "gt_channel_selector")
        self.register_buffer("class_weights", check_weights("class_weights", class_weights))
        self.register_buffer("pos_weight", check_weights("pos_weight", pos_weight))
        mixture = documented_mixture(
            bce_coef=bce_coef,
            dice_coef=dice_coef,
            tversky_focal_coef=tversky_focal_coef,
            smooth=smooth,
            tversky_alpha=tversky_alpha,
            tversky_beta=tversky_beta,
            tversky_gamma=tversky_gamma,
            extra_terms=extra_terms,
            terms=terms,
            region_reduction=region_reduction,
            region_classes=region_classes,
            region_class_weights=region_class_weights,
            skip_absent_classes=skip_absent_classes,
            soft_labels=soft_labels,
        )
        if self.merge_unannotated and self.options.label_smoothing > 0:
            raise ValueError(
                "merge_unannotated=True leaves classes without probability, to which smooth_factor "
                "would give some: leave one of them out."
            )
        self._add = RankSum(sync_statistics, sync_in_eval, process_group)
        self._checks = ValueChecks()
        if self.options.activation == "softmax":
            check_channel_weights(self.class_weights, self.pos_weight, n_classes, "softmax")
        self.mixture = mixture

    @property
    def mixture(self) -> Mixture:
        """The terms with their coefficients. To change them, set another mixture."""
        return self._group.mixtures[0]

    @mixture.setter
    def mixture(self, mixture: Mixture) -> None:
        group = MixtureGroup([Mixture.of(mixture)])
        if self.options.activation == "softmax":
            group.check_classes(self.options.n_classes, "softmax")
        self._group = group
        self._shared: list[MixtureGroup] = []
        self.term_parameters = group.mixtures[0].parameters()

    @property
    def map_keys(self) -> tuple[str, ...]:
        """The keys of the maps in `gt_batch` that the terms need."""
        return self._group.plan.map_keys

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return self.options.n_classes

    @property
    def activation(self) -> str:
        """The activation, "sigmoid" or "softmax"."""
        return self.options.activation

    @property
    def from_logits(self) -> bool:
        """True if predictions are logits."""
        return self.options.from_logits

    @property
    def ignore_index(self) -> int | None:
        """The target's value that marks pixels to be left out."""
        return self.options.ignore_index

    @property
    def label_smoothing(self) -> float:
        """The smoothing of the cross-entropy's targets."""
        return self.options.label_smoothing

    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """Returns the compound loss of a batch; each term's values go to `extra_info`."""
        value, [info] = self._evaluated(self._group, pred_batch, gt_batch)
        self.extra_info.update(info)
        return value

    def sharing_key(self) -> Any:
        """Returns all that fixes how it reads pixels; None for a subclass, which may differ."""
        if type(self) is not SegLoss:
            return None
        selectors = [s and s.text for s in (self.pred_channels, self.gt_channels)]
        keys = (self.pred_key, self.gt_key, self.weight_key, self.annotated_key)
        weights = [comparable(w) for w in (self.class_weights, self.pos_weight)]
        add = (self._add.enabled, self._add.in_eval, self._add.group)
        return self.options, keys, selectors, weights, self.use_mixup, self.merge_unannotated, add

    def prepare_together(self, losses: Sequence[Loss]) -> None:
        """Prepares one pass for all of the losses."""
        if len(losses) > 1:
            self._group_of(losses)

    def compute_together(
        self, losses: Sequence[Loss], pred_batch: Batch, gt_batch: Batch
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw losses of a batch from one pass, (K,) or () for one."""
        if type(self).compute is not SegLoss.compute:
            return super().compute_together(losses, pred_batch, gt_batch)
        group = self._group if len(losses) == 1 else self._group_of(losses)
        return self._evaluated(group, pred_batch, gt_batch)

    def _group_of(self, losses: Sequence[Loss]) -> MixtureGroup:
        """Returns the group of the losses' current mixtures."""
        mixtures = [loss.mixture for loss in losses if isinstance(loss, SegLoss)]
        for group in self._shared:
            if len(group.mixtures) == len(mixtures) and all(map(is_, group.mixtures, mixtures)):
                return group
        group = MixtureGroup(mixtures)
        self._shared = [group, *self._shared[:3]]
        return group

    def _evaluated(
        self, group: MixtureGroup, pred_batch: Batch, gt_batch: Batch
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        pixels, left_out = self._pixels(pred_batch, gt_batch, group)
        infos: list[dict[str, Any]] = list(map(dict, [()] * len(group.mixtures)))
        return evaluate(group, pixels, self._add, left_out, infos), infos

    def _pixels(
        self, pred_batch: Batch, gt_batch: Batch, group: MixtureGroup
    ) -> tuple[PixelBatch, Tensor | None]:
        """Returns the checked pixels of the selected channels, and a mask of cells to leave out.

        The cells (N, C), or None, are those of classes that are not annotated.
        """
        names = self._names
        map_keys = group.plan.map_keys
        taken = self._taken(pred_batch, gt_batch, names, map_keys)
        prediction, target, weights, maps, annotated = taken
        pixels = as_pixel_batch(
            prediction,
            target,
            self.options,
            pixel_weights=weights,
            class_weights=self._buffers["class_weights"],
            pos_weight=self._buffers["pos_weight"],
            maps=maps,
            annotated=annotated,
            names=names,
            checks=self._checks,
        )
        activation = self.options.activation
        if group.class_dependent:
            group.check_classes(prediction.shape[1], activation)
        if annotated is None or activation == "sigmoid":
            return pixels, None
        if self.merge_unannotated:
            return merge_unannotated(pixels, annotated), ~annotated
        _check_region_terms(group, names.annotated)
        return pixels, ~annotated

    def _taken(
        self, pred_batch: Batch, gt_batch: Batch, names: BatchNames, map_keys: Sequence[str]
    ) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Tensor], Tensor | None]:
        """Returns prediction, target, weights, maps and annotations of the selected channels."""
        prediction = take(pred_batch, self.pred_key, "pred_batch")
        target = take(gt_batch, self.gt_key, "gt_batch")
        if map_keys and isinstance(gt_batch, Tensor):
            raise TypeError(
                f"gt_batch must be a mapping with the maps {', '.join(map_keys)} beside the target "
                f"{self.gt_key!r}, got a tensor."
            )
        weights, annotated, maps = None, None, {}
        if not isinstance(gt_batch, Tensor):
            weights = take_optional(gt_batch, self.weight_key, "gt_batch")
            annotated = take_optional(gt_batch, self.annotated_key, "gt_batch")
        if map_keys:
            maps = {key: take(gt_batch, key, "gt_batch", _MAKE) for key in map_keys}
        if self.pred_channels is not None:
            prediction = self.pred_channels(prediction, names.pred)
        if self.gt_channels is not None:
            if weights is not None and weights.ndim == prediction.ndim and weights.shape[1] > 1:
                _check_same_channels(weights, target, names)
                weights = self.gt_channels(weights, names.pixel_weights)
            maps = {key: self._selected(m, target, prediction) for key, m in maps.items()}
            if annotated is not None:
                annotated = self._selected(annotated, target, prediction)
            target = self.gt_channels(target, names.target, prediction.ndim)
        return prediction, target, weights, maps, annotated

    def _selected(self, values: Tensor, target: Tensor, prediction: Tensor) -> Tensor:
        """Returns the selected channels of values (N, C, ...) that have the target's channels."""
        dense = target.ndim == prediction.ndim and values.ndim > 1
        if self.gt_channels is None or not dense or values.shape[1] != target.shape[1]:
            return values
        selected = self.gt_channels(values.reshape(*values.shape[:2], -1), self.gt_key)
        if selected.shape[1] != prediction.shape[1]:
            return values  # one channel per class, beside selected label maps
        return selected.reshape(*selected.shape[:2], *values.shape[2:])


def _check_region_terms(group: MixtureGroup, annotated: str) -> None:
    for _, part in group.components:
        if isinstance(part.term, PixelTerm):
            raise ValueError(
                f"{annotated} says that classes are not annotated, and {part.name} would learn "
                "them as background: set merge_unannotated=True, which adds their probability to "
                "the background's, or leave the term out."
            )


def _check_same_channels(weights: Tensor, target: Tensor, names: BatchNames) -> None:
    if target.ndim == weights.ndim and weights.shape[1] != target.shape[1]:
        raise ValueError(
            f"{names.pixel_weights} must have one channel, or those of {names.target} of shape "
            f"{tuple(target.shape)}, got {tuple(weights.shape)}."
        )


def _resolve_from_logits(
    from_logits: bool | None, n_classes: int, use_mixed_precision: bool
) -> bool:
    check_flag("use_mixed_precision", use_mixed_precision)
    if from_logits is None:
        return n_classes > 2 or use_mixed_precision
    if use_mixed_precision and not check_flag("from_logits", from_logits):
        raise ValueError(
            "from_logits=False contradicts use_mixed_precision=True, which takes logits: leave "
            "one of them out."
        )
    return check_flag("from_logits", from_logits)
