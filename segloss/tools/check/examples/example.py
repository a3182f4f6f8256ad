"""One batch to try a loss on, and variants of it: other dtypes, fewer samples, extremes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.tools.check.nested_batches import copied, described, in_dtype, map_tensors, tensors_in


@dataclass(frozen=True)
class Example:
    """Predictions and targets.

    Attributes:
        pred: A prediction, or a nested batch of predictions.
        gt: A target, or a nested batch of targets and further inputs.
        form: A description in words.
        watched: For each tensor of `pred`, True if its gradient is checked.
        all_watched: True if every watched tensor must get a gradient; False if one is enough.
        pred_key: The key of the segmentation among the predictions.
        gt_key: The key of its target.
        make_large: A function that returns a similar example with many pixels, or None.
    """

    pred: Any
    gt: Any
    form: str
    watched: tuple[bool, ...] = ()
    all_watched: bool = True
    pred_key: str = "seg"
    gt_key: str = "gt_polygons_image"
    make_large: Callable[[], Example] | None = field(default=None, compare=False)

    @classmethod
    def given(cls, pred: Any, gt: Any, pred_key: str, gt_key: str) -> Example:
        """Returns the caller's batch.

        Each prediction that requires grad must get a gradient. If none does, all floating-point
        predictions are watched, and one of them must get a gradient.
        """
        tensors = tensors_in(pred)
        require_grad = tuple(t.requires_grad for t in tensors)
        floating = tuple(t.is_floating_point() for t in tensors)
        watched = require_grad if any(require_grad) else floating
        form = f"given; prediction {described(pred)}, target {described(gt)}"
        return cls(
            map_tensors(pred, copied),
            map_tensors(gt, copied),
            form,
            watched,
            any(require_grad) or len(tensors) == 1,
            pred_key,
            gt_key,
        )

    @property
    def samples(self) -> int:
        """The number of samples; 0 if the tensors disagree about it."""
        sizes = {t.shape[0] for t in tensors_in(self.pred) if t.ndim > 0}
        return sizes.pop() if len(sizes) == 1 else 0

    @property
    def device(self) -> torch.device:
        """The device of the predictions."""
        return tensors_in(self.pred)[0].device

    def large(self) -> Example:
        """Returns an example of this form with many pixels, or the caller's own example."""
        return self if self.make_large is None else self.make_large()

    def copy(self) -> Example:
        """Returns the example with copies of the tensors."""
        return replace(self, pred=map_tensors(self.pred, copied), gt=map_tensors(self.gt, copied))

    def to(self, dtype: torch.dtype) -> Example:
        """Returns the example with all floating-point tensors in another dtype."""
        return replace(self, pred=in_dtype(self.pred, dtype), gt=in_dtype(self.gt, dtype))

    def of_samples(self, index: Tensor) -> Example:
        """Returns some of the samples, from every tensor that is as long as the predictions."""
        samples = self.samples
        index = index.to(self.device)

        def take(t: Tensor) -> Tensor:
            return t[index.to(t.device)] if t.ndim > 0 and t.shape[0] == samples else t

        return replace(self, pred=map_tensors(self.pred, take), gt=map_tensors(self.gt, take))

    def with_pred(self, change: Callable[[Tensor], Tensor]) -> Example:
        """Returns the example with changed floating-point predictions."""
        return replace(
            self, pred=map_tensors(self.pred, lambda t: change(t) if t.is_floating_point() else t)
        )

    def with_gt(self, change: Callable[[Tensor], Tensor]) -> Example:
        """Returns the example with changed targets."""
        return replace(self, gt=map_tensors(self.gt, change))

    @property
    def prediction(self) -> Tensor | None:
        """The segmentation among the predictions, if it can be identified."""
        return _main(self.pred, self.pred_key)

    @property
    def target(self) -> Tensor | None:
        """The mask or label map among the targets, if it can be identified."""
        target = _main(self.gt, self.gt_key)
        return target if target is not None and _is_mask(target) else None

    def with_target(self, target: Tensor) -> Example:
        """Returns the example with another target."""
        return replace(self, gt=_replaced(self.gt, self.target, target))

    def with_prediction(self, prediction: Tensor) -> Example:
        """Returns the example with another prediction."""
        return replace(self, pred=_replaced(self.pred, self.prediction, prediction))

    def masks(self) -> Tensor | None:
        """Returns the target as one mask per channel of the prediction, if that is possible."""
        target, prediction = self.target, self.prediction
        if target is None or prediction is None or prediction.ndim < 2:
            return None
        if target.shape == prediction.shape:
            return target.to(prediction.dtype)
        channels = prediction.shape[1]
        label_map = target.unsqueeze(1) if target.ndim < prediction.ndim else target
        if label_map.shape != (prediction.shape[0], 1, *prediction.shape[2:]):
            return None
        if channels == 1:
            return label_map.to(prediction.dtype)
        labels = label_map.squeeze(1).long().clamp(0, channels - 1)
        return F.one_hot(labels, channels).movedim(-1, 1).to(prediction.dtype).contiguous()

    def filled(self, empty: bool) -> Example | None:
        """Returns the example with a target of background only, or of foreground only."""
        target, prediction = self.target, self.prediction
        if target is None or prediction is None or prediction.ndim < 2:
            return None
        channels = prediction.shape[1]
        if target.shape != prediction.shape and not _holds_masks(target):
            return self.with_target(torch.full_like(target, 0 if empty else max(channels - 1, 1)))
        if target.shape == prediction.shape and channels > 1 and bool((target.sum(1) == 1).all()):
            one_hot = torch.zeros_like(target)
            one_hot[:, 0 if empty else -1] = 1
            return self.with_target(one_hot)
        return self.with_target(torch.full_like(target, 0 if empty else 1))


def is_probability(tensor: Tensor) -> bool:
    """Returns whether all values could be probabilities."""
    return tensor.numel() > 0 and bool((tensor >= 0).all() and (tensor <= 1).all())


def _holds_masks(target: Tensor) -> bool:
    """Returns whether a target that differs in shape from the prediction holds masks."""
    return target.is_floating_point() and is_probability(target)


def _is_mask(target: Tensor) -> bool:
    """Returns whether a target has labels, or values in [0, 1]."""
    return not target.is_floating_point() or bool(
        (target == target.round()).all() or is_probability(target)
    )


def _main(batch: Any, key: str) -> Tensor | None:
    if isinstance(batch, Mapping) and isinstance(batch.get(key), Tensor):
        main: Tensor = batch[key]
        return main
    tensors = tensors_in(batch)
    return tensors[0] if len(tensors) == 1 else None


def _replaced(batch: Any, old: Tensor | None, new: Tensor) -> Any:
    return map_tensors(batch, lambda t: new if t is old else t)
