"""The compound segmentation loss: cross-entropy, Dice and focal Tversky from one pass.

A forward pass has four steps: take the tensors from the batch, select their channels, check them as
a `PixelBatch`, and evaluate the mixture of terms on its pixels. The base class `Loss` divides by
the norm, and blends the losses of a mixup batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any, ClassVar

import torch
from torch import Tensor

from segloss.batch.diagnosis import Finding, FirstBatches
from segloss.batch.keys import MAP_REMEDY, Batch, take, take_optional
from segloss.batch.mixing.mixup import MixUp
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.reader import BatchTensors, PixelReader, SelectsChannels
from segloss.batch.selectors import Selector
from segloss.batch.shape_checks import check_channel_weights
from segloss.foundation.arguments import (
    check_flag,
    check_integer,
    check_number,
    check_text,
    check_weights,
    is_list,
    list_meant,
    shown,
)
from segloss.foundation.device_constants import comparable
from segloss.foundation.distributed import RankSum
from segloss.foundation.gradients import Condition
from segloss.foundation.ignore_index import IgnoreIndex, written
from segloss.losses.loss import Loss, is_watched
from segloss.losses.norm import NormSums
from segloss.terms import Mixture, RegionTerm, Term
from segloss.terms.mixture.evaluate import evaluate, term_ratios
from segloss.terms.mixture.group import MixtureGroup
from segloss.terms.mixture.signed_distances import FirstDistances
from segloss.terms.mixture.spellings import documented_mixture
from segloss.terms.mixture.unused import unused_arguments, unused_by_terms


class SegLoss(SelectsChannels, Loss):
    r"""Cross-entropy, Dice and focal Tversky losses, mixed by coefficients.

    .. math:: L = c_\mathrm{bce}\,\overline{\mathrm{CE}} + c_\mathrm{dice}\,\overline{
        \mathrm{Dice}} + c_\mathrm{tversky}\,\overline{\mathrm{FocalTversky}}

    All terms see the same probabilities, from one pass over the pixels. Cross-entropy is a
    weighted mean over the pixels of the batch. A region term is a mean over cells; by default, a
    cell is one class in one sample, and `region_reduction` can change that.

    Args:
        name: The name for logging.
        gt_channel_selector: The channels of the target to compare with; None: all. An int, a
            slice, a list of ints or bools, a tensor of either, a text such as "0:2", or a mapping
            with start, stop, step.
        n_classes: The number of classes. 2: binary cross-entropy of independent sigmoid channels;
            more: softmax cross-entropy.
        bce_coef: Coefficient of the (binary) cross-entropy. All coefficients are at least 0.
        dice_coef: Coefficient of the Dice loss.
        tversky_focal_coef: Coefficient of the focal Tversky loss. A term with coefficient 0 is
            not computed.
        use_mixed_precision: True if predictions of two classes are logits.
        use_mixup: True if batches may have the keys of `MixUp`.
        mixup_alpha: The parameter of the attribute `mixup`, a `MixUp` with this loss's `gt_key`.
        use_label_smooth: True to use `smooth_factor`.
        smooth_factor: Smoothing e of the cross-entropy's targets, in [0, 1]: g (1 - e) + e/2 for
            sigmoid, g (1 - e) + e/C for softmax. The region terms see plain targets.
        from_logits: True if predictions are logits, False if they are probabilities. None: True
            for `n_classes` > 2, else `use_mixed_precision`.
        activation: "sigmoid" or "softmax"; None: the one that `n_classes` implies.
        pred_channel_selector: The channels of the prediction to look at; None: all.
        ignore_index: The target's value for ignored pixels, or a list of several.
        class_weights: Weights of the classes in the cross-entropy, (C,).
        pos_weight: Weights of the positive class in binary cross-entropy, a number or (C,).
        region_reduction: "sample", "batch", "micro" or "sample_micro"; see
            `segloss.terms.RegionTerm`.
        region_classes: The classes that the region terms look at; None: all.
        region_class_weights: The weights of these classes in the mean over classes.
        skip_absent_classes: True to leave classes that are absent from the target out of the
            region terms.
        smooth: Smoothing of the Dice loss; or two numbers, of its numerator and denominator.
        tversky_alpha: Weight of false positives.
        tversky_beta: Weight of false negatives.
        tversky_gamma: Exponent of the focal Tversky loss.
        soft_labels: The form of true positives where targets lie between 0 and 1: "product" or
            "metric"; see `segloss.terms.RegionTerm`.
        region_groups: "components" for a cell of each connected component in the region terms; a
            mapping such as `{"vehicle": [1, 2, 3]}` for a cell of each of these groups of classes;
            None: of each class. See `segloss.terms.RegionTerm`.
        components_key: The key of the map of components in `gt_batch`, (N, C, *spatial).
        extra_terms: More terms: names of `segloss.terms.TERMS`, or term objects, with
            coefficients, such as `{"jaccard": 0.2}`; or names of your own with mappings of the
            coefficient, the term and its parameters, such as
            `{"foreground": {"term": "dice", "coef": 0.5, "region_classes": [1, 2]}}`.
        terms: The whole mixture, such as `0.5 * CrossEntropy() + 0.5 * Dice(region_classes=[1, 2])`
            of `segloss.terms`, a mapping in the form of `extra_terms`, or "recommended" for
            `segloss.recommended()`. The coefficients, `extra_terms` and the arguments of the region
            terms must then keep their defaults.
        merge_unannotated: True to add, with softmax, the probability of classes that are not
            annotated in a sample to the background, class 0 (the marginal loss; see
            `segloss.batch.partial_labels`). With False, such samples are refused, unless all terms
            are region terms.
        sync_statistics: True to add up the statistics of the terms over the ranks of a process
            group while gradients are computed. Then every rank has the loss of the whole batch,
            and `DistributedDataParallel` averages the gradients to that loss's gradient.
        sync_in_eval: True to add up without gradients, too. Then all ranks must take part.
        process_group: The process group; None: all ranks.
        pred_key: The key of the predictions in `pred_batch`, (N, C, *spatial).
        gt_key: The key of the targets in `gt_batch`: dense (N, C, *spatial), or a label map
            (N, *spatial) or (N, 1, *spatial).
        weight_key: The key of the pixel weights in `gt_batch`, (N, 1 or C_gt, *spatial). It may be
            absent. `gt_channel_selector` applies to weights of more than one channel.
        annotated_key: The key of the annotations in `gt_batch`, booleans (N, C): True where a class
            is annotated in a sample. It may be absent. With sigmoid, a channel that is not
            annotated has weight 0 in its sample. With softmax, the region terms leave it out; see
            also `merge_unannotated`.
        sample_weight_key: The key of the weights of the samples in `gt_batch`, (N,), which count in
            every term: a sample of weight 2 counts as two, and one of weight 0 is left out. It may
            be absent.
        class_names: The names of the classes in `extra_info`, one for each selected channel of the
            prediction; None: their indices.

    Some terms need maps, such as distances, (N, C, *spatial). They are in `gt_batch` under the keys
    of these terms. `gt_channel_selector` applies to maps and annotations that have the channels of
    the target.

    The loss is float64 for float64 predictions, and float32 otherwise. `extra_info` has scalars, as
    loggers take them: the value of each term under its name ("cross_entropy", "dice",
    "focal_tversky"), and with several classes the mean of each class ("dice/0", "dice/1" ..., or
    "dice/background" with `class_names`; NaN for a class without a cell). These are losses:
    `scores` turns them into scores, and `segloss.per_class` makes a vector of the classes.

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
        >>> list(extra_info)
        ['cross_entropy', 'dice', 'dice/0', 'dice/1', 'dice/2']
    """

    class_weights: Tensor | None
    pos_weight: Tensor | None

    belongs_elsewhere: ClassVar[Mapping[str, str]] = {
        "label_smoothing": "set use_label_smooth=True, and smooth_factor to it",
        "reduction": "the loss is a mean; CompoundLoss(reduction=...) has others",
    }

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
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        region_reduction: str = "sample",
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        smooth: float | Sequence[float] = 1.0,
        tversky_alpha: float = 0.3,
        tversky_beta: float = 0.7,
        tversky_gamma: float = 0.75,
        soft_labels: str = "product",
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = "gt_components",
        extra_terms: Mapping[Any, Any] | None = None,
        terms: Mixture | Term | Mapping[Any, Any] | str | None = None,
        merge_unannotated: bool = False,
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
        pred_key: str = "seg",
        gt_key: str = "gt_polygons_image",
        weight_key: str = "seg_loss_weights",
        annotated_key: str = "annotated",
        sample_weight_key: str = "sample_weights",
        class_names: Sequence[str] | None = None,
    ) -> None:
        if isinstance(name, int):
            raise TypeError(
                f"The first argument of SegLoss is its name, got {shown(name)}: the number of "
                f"classes is n_classes={shown(name)}."
            )
        super().__init__(name, use_mixup=use_mixup)

        # How pixels are read
        check_integer("n_classes", n_classes)
        if isinstance(use_label_smooth, float):
            raise TypeError(
                f"use_label_smooth must be True or False, got {use_label_smooth}: set "
                f"use_label_smooth=True, smooth_factor={use_label_smooth}."
            )
        check_flag("use_label_smooth", use_label_smooth)
        smoothing = check_number("smooth_factor", smooth_factor, 0, 1)
        self.options = PixelOptions.checked(
            n_classes,
            activation,
            from_logits=_resolve_from_logits(from_logits, n_classes, use_mixed_precision),
            ignore_index=ignore_index,
            label_smoothing=smoothing if use_label_smooth else 0.0,
        )

        # The tensors of a batch, and their channels
        self.pred_key = check_text("pred_key", pred_key)
        self.gt_key = check_text("gt_key", gt_key)
        self.weight_key = check_text("weight_key", weight_key)
        self.annotated_key = check_text("annotated_key", annotated_key)
        self.sample_weight_key = check_text("sample_weight_key", sample_weight_key)
        self.names = BatchNames.of_keys(
            pred_key, gt_key, weight_key, annotated_key, sample_weight_key
        )
        self.reader = PixelReader(
            pred_channel_selector,
            gt_channel_selector,
            merge_unannotated,
            self.options.label_smoothing,
        )
        alpha = check_number("mixup_alpha", mixup_alpha, open_low=True)
        self.mixup = MixUp(alpha, gt_key=self.gt_key)
        self.class_names = _check_class_names(class_names)

        # The terms, their weights, and the ranks that share them
        self.register_setting("class_weights", check_weights("class_weights", class_weights))
        self.register_setting("pos_weight", check_weights("pos_weight", pos_weight))
        documented = {
            "bce_coef": bce_coef,
            "dice_coef": dice_coef,
            "tversky_focal_coef": tversky_focal_coef,
            "smooth": smooth,
            "tversky_alpha": tversky_alpha,
            "tversky_beta": tversky_beta,
            "tversky_gamma": tversky_gamma,
            "extra_terms": extra_terms,
            "terms": terms,
            "region_reduction": region_reduction,
            "region_classes": region_classes,
            "region_class_weights": region_class_weights,
            "skip_absent_classes": skip_absent_classes,
            "soft_labels": soft_labels,
            "region_groups": region_groups,
            "components_key": components_key,
        }
        mixture = documented_mixture(**documented)
        self.first_batches = FirstBatches()
        self.first_distances = FirstDistances()
        self._unused = [
            *unused_arguments(mixture, documented),
            *_unused_switches(
                smooth_factor=None if use_label_smooth else smooth_factor,
                use_label_smooth=use_label_smooth and smoothing == 0,
                mixup_alpha=None if use_mixup else mixup_alpha,
                sync_in_eval=sync_in_eval and not sync_statistics,
            ),
        ]
        self._add = RankSum(sync_statistics, sync_in_eval, process_group)
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
        self._recent_groups: list[MixtureGroup] = []
        self.term_parameters = group.mixtures[0].parameters()

    @property
    def map_keys(self) -> tuple[str, ...]:
        """The keys of the maps in `gt_batch` that the terms need."""
        return self._group.plan.map_keys

    @property
    def group_key(self) -> str | None:
        """The key of the map of components that the terms need, or None."""
        return self._group.plan.group_key

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return self.options.n_classes

    @property
    def activation(self) -> str:
        """The function from logits to probabilities, "sigmoid" or "softmax"."""
        return self.options.activation

    @property
    def from_logits(self) -> bool:
        """True if predictions are logits."""
        return self.options.from_logits

    @property
    def ignore_index(self) -> IgnoreIndex:
        """The target's value for ignored pixels, a tuple of several, or None."""
        return self.options.ignore_index

    @property
    def label_smoothing(self) -> float:
        """The smoothing of the cross-entropy's targets, in [0, 1]."""
        return self.options.label_smoothing

    def extra_repr(self) -> str:
        """Returns the name, the terms, the classes and how they are read."""
        parts = [
            super().extra_repr(),
            str(self.mixture),
            f"n_classes={self.n_classes}",
            f"activation={self.activation!r}",
            f"from_logits={self.from_logits}",
        ]
        if self.ignore_index is not None:
            parts.append(f"ignore_index={written(self.ignore_index)}")
        return ", ".join(parts)

    def scores(self, extra_info: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the scores of the terms whose loss is one minus a score, such as the Dice score.

        They are scores of probabilities, averaged and smoothed as the loss is. For results to
        report, use a metric of thresholded masks over a whole data set.

        Args:
            extra_info: The values of the terms and classes, as a call of the loss returns them.

        Returns:
            Scalars by name: "dice_score" for "dice", "dice_score/2" for "dice/2", and so on.

        Example:
            >>> import torch
            >>> loss = SegLoss(smooth=0.0)
            >>> _, info = loss(torch.tensor([[[0.0, 1.0, 1.0]]]), torch.tensor([[[0, 1, 0]]]))
            >>> loss.scores(info)
            {'dice_score': tensor(0.6667, dtype=torch.float64)}
        """
        terms = {entry.name for entry in self.mixture.components if entry.term.has_score}
        paths = [key.partition("/") for key in extra_info if key.partition("/")[0] in terms]
        if not paths:
            return {}
        scores = 1 - torch.stack([extra_info["".join(path)] for path in paths])
        names = (f"{term}_score{slash}{name}" for term, slash, name in paths)
        return dict(zip(names, scores.unbind(), strict=True))

    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """Returns the compound loss of a batch; the values of its terms go to `extra_info`."""
        value, [info] = self._evaluate(self._group, pred_batch, gt_batch)
        self.extra_info.update(info)
        return value

    def sharing_key(self) -> Any:
        """Returns everything that fixes how this loss reads pixels; None for a subclass.

        Losses with equal keys share one pass over the pixels. A subclass may read them differently.
        """
        if type(self) is not SegLoss:
            return None
        weights = [comparable(w) for w in (self.class_weights, self.pos_weight)]
        ranks = (self._add.enabled, self._add.in_eval, self._add.group)
        group_key = self._group.plan.group_key  # one pass groups the pixels once
        reading = self.names, *self.reader.sharing_key()
        return self.options, reading, weights, self.use_mixup, ranks, self.class_names, group_key

    def prepare_together(self, losses: Sequence[Loss]) -> None:
        """Prepares one pass for all of the losses."""
        if len(losses) > 1:
            self._group_for(losses)

    def compute_together(
        self,
        losses: Sequence[Loss],
        pred_batch: Batch,
        gt_batch: Batch,
        unweighted: Sequence[Condition] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw losses of a batch from one pass, (K,) or () for one."""
        if type(self).compute is not SegLoss.compute:
            return super().compute_together(losses, pred_batch, gt_batch, unweighted, shares)
        group = self._group if len(losses) == 1 else self._group_for(losses)
        return self._evaluate(group, pred_batch, gt_batch, unweighted, shares)

    def norm_coefficients(self) -> Sequence[float]:
        """Returns the coefficients of the terms."""
        if self._has_other_value():
            return super().norm_coefficients()
        return [entry.coefficient for entry in self.mixture.components]

    def norm_sums(
        self, losses: Sequence[Loss], pred_batch: Batch, gt_batch: Batch, nums: float
    ) -> list[NormSums]:
        """Returns the sums of a batch over its pixels and cells, for the norms of losses."""
        if self._has_other_value():
            return super().norm_sums(losses, pred_batch, gt_batch, nums)
        group = self._group if len(losses) == 1 else self._group_for(losses)
        pixels, left_out = self._pixels(group, pred_batch, gt_batch)
        samples = nums * pixels.counted_share()
        per_sample = nums / max(1, len(pixels.prediction))
        means: list[list[float]] = [[] for _ in losses]
        weights: list[list[float]] = [[] for _ in losses]
        ratios = term_ratios(group, pixels, left_out)
        for (loss, entry), ratio in zip(group.components, ratios, strict=True):
            numerator, denominator = (float(each) for each in ratio)
            term = entry.term
            is_pooled = isinstance(term, RegionTerm) and term.reduction.pools_samples
            means[loss].append(numerator / denominator if denominator > 0 else 0.0)
            weights[loss].append(denominator * (samples if is_pooled else per_sample))
        return [NormSums.of_means(*each, samples) for each in zip(means, weights, strict=True)]

    def counted_share(self, pred_batch: Batch, gt_batch: Batch) -> float:
        """Returns the share of a batch's pixels that count."""
        return self.pixels(pred_batch, gt_batch).counted_share()

    def pixels(self, pred_batch: Batch, gt_batch: Batch) -> PixelBatch:
        """Returns the checked batch of the selected channels."""
        return self._pixels(self._group, pred_batch, gt_batch)[0]

    def _has_other_value(self) -> bool:
        """Returns whether a subclass or a hook may give the loss another value than its terms."""
        return is_watched(self) or type(self).compute is not SegLoss.compute

    def _group_for(self, losses: Sequence[Loss]) -> MixtureGroup:
        """Returns the group of the losses' current mixtures, from the last four or a new one."""
        mixtures = [loss.mixture for loss in losses if isinstance(loss, SegLoss)]
        for group in self._recent_groups:  # a list that is replaced, never changed: threads read it
            if len(group.mixtures) == len(mixtures) and all(map(is_, group.mixtures, mixtures)):
                return group
        group = MixtureGroup(mixtures)
        self._recent_groups = [group, *self._recent_groups[:3]]
        return group

    def _evaluate(
        self,
        group: MixtureGroup,
        pred_batch: Batch,
        gt_batch: Batch,
        unweighted: Sequence[Condition] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw losses of a group, (K,) or () for one, and the values of their terms."""
        pixels, left_out = self._pixels(group, pred_batch, gt_batch)
        infos: list[dict[str, Any]] = [{} for _ in group.mixtures]
        value = evaluate(
            group, pixels, self._add, left_out, infos, unweighted, self.class_names, shares
        )
        return value, infos

    def _pixels(
        self, group: MixtureGroup, pred_batch: Batch, gt_batch: Batch
    ) -> tuple[PixelBatch, Tensor | None]:
        """Returns the checked batch, and the cells (N, C) that region terms leave out, or None."""
        selected = self.reader.select(self._take(pred_batch, gt_batch, group.plan.map_keys))
        pixels, left_out = self.reader.read(
            selected, self.options, self.class_weights, self.pos_weight, group.plan.group_key
        )
        channels = pixels.prediction.shape[1]
        group.check_classes(channels, self.options.activation)
        if self.class_names is not None and len(self.class_names) != channels:
            raise ValueError(
                f"class_names must have one name per channel of the prediction, {channels}, got "
                f"{len(self.class_names)}: {list(self.class_names)}."
            )
        if left_out is not None and not self.reader.merges:
            group.check_annotated(self.names.annotated)
        if not self.first_batches.are_over:
            self.first_batches.warn(self.unused_options(group), self)
            self.first_batches.look(pixels, selected.names, self.options, self)
        self.first_distances.look(group.mixtures, pixels, self)
        return pixels, left_out

    def unused_options(self, group: MixtureGroup | None = None) -> list[Finding]:
        """Returns findings about arguments that change nothing, since another turns them off.

        Args:
            group: The terms of all losses that share the pass; None: those of this loss.
        """
        unused = unused_by_terms(
            self._group if group is None else group,
            class_weights=self.class_weights,
            pos_weight=self.pos_weight,
            smooth_factor=self.label_smoothing or None,
        )
        return [*self._unused, *unused]

    def _take(self, pred_batch: Batch, gt_batch: Batch, map_keys: Sequence[str]) -> BatchTensors:
        """Returns the tensors of a batch with all their channels."""
        prediction = take(pred_batch, self.pred_key, "pred_batch")
        target = take(gt_batch, self.gt_key, "gt_batch")
        if isinstance(gt_batch, Tensor):
            if map_keys:
                entries = ", ".join(f"{key!r}: ..." for key in (self.gt_key, *map_keys))
                raise TypeError(
                    f"gt_batch must be a mapping with the maps {', '.join(map_keys)} beside the "
                    f"target {self.gt_key!r}, got a tensor: pass {{{entries}}}. {MAP_REMEDY}"
                )
            return BatchTensors(prediction, target, names=self.names.of_batch(pred_batch, gt_batch))
        weights = take_optional(gt_batch, self.weight_key, "gt_batch")
        annotated = take_optional(gt_batch, self.annotated_key, "gt_batch")
        maps = {key: take(gt_batch, key, "gt_batch", MAP_REMEDY) for key in map_keys}
        samples = take_optional(gt_batch, self.sample_weight_key, "gt_batch")
        names = self.names.of_batch(pred_batch, gt_batch)
        return BatchTensors(prediction, target, weights, maps, annotated, samples, names)


def _unused_switches(
    smooth_factor: float | None,
    use_label_smooth: bool,
    mixup_alpha: float | None,
    sync_in_eval: bool,
) -> list[Finding]:
    """Returns findings about arguments whose switch is off; None or False: it is not."""
    texts = {
        "smooth_factor": smooth_factor
        and f"smooth_factor={smooth_factor} changes nothing: set use_label_smooth=True.",
        "use_label_smooth": use_label_smooth
        and "use_label_smooth=True changes nothing with smooth_factor=0: set smooth_factor, such "
        "as 0.1.",
        "mixup_alpha": mixup_alpha is not None
        and mixup_alpha != 0.5
        and f"mixup_alpha={mixup_alpha} changes nothing: set use_mixup=True, and mix the images "
        "with the attribute mixup.",
        "sync_in_eval": sync_in_eval
        and "sync_in_eval=True changes nothing: set sync_statistics=True.",
    }
    return [Finding(f"unused {name}", text) for name, text in texts.items() if text]


def _check_class_names(names: Any) -> tuple[str, ...] | None:
    """Returns the names of the classes, after checking that they are different texts."""
    if names is None:
        return None
    if not is_list(names):
        raise TypeError(
            f"class_names must be a list of texts, got {shown(names)}"
            f"{list_meant('class_names', names)}."
        )
    checked = tuple(check_text("class_names", name) for name in names)
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(
            f"class_names must hold at least one name, without duplicates, got {list(checked)}."
        )
    return checked


def _resolve_from_logits(
    from_logits: bool | None, n_classes: int, use_mixed_precision: bool
) -> bool:
    """Returns `from_logits`, or its default if it is None."""
    check_flag("use_mixed_precision", use_mixed_precision)
    if from_logits is None:
        return n_classes > 2 or use_mixed_precision
    if use_mixed_precision and not check_flag("from_logits", from_logits):
        raise ValueError(
            "from_logits=False contradicts use_mixed_precision=True, which takes logits: leave "
            "one of them out."
        )
    return check_flag("from_logits", from_logits)
