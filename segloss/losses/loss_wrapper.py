"""Any loss of (prediction, target), from PyTorch or another library, as a `Loss` of batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from segloss.batch.diagnosis import FirstPrediction
from segloss.batch.keys import MAP_REMEDY, Batch, take, take_optional
from segloss.batch.pixel_batch import BatchNames
from segloss.batch.remedies import for_label_map_shape, for_mask_shape
from segloss.batch.selectors import Selector, optional_selector, select_companion
from segloss.batch.shape_checks import (
    check_device,
    check_prediction,
    check_real,
    check_sample_weights,
)
from segloss.batch.value_checks import (
    ValueChecks,
    check_label_range,
    check_unit_range,
    check_weight_range,
    check_whole_labels,
)
from segloss.foundation.arguments import check_text, shown
from segloss.foundation.dtypes import equals_any
from segloss.foundation.gradients import Condition
from segloss.foundation.ignore_index import (
    IgnoreIndex,
    check_ignore_index,
    values_of,
    written,
)
from segloss.foundation.precision import accumulation_dtype, without_autocast
from segloss.foundation.printable import add_note
from segloss.losses.companions import TakesCompanions
from segloss.losses.compound_loss import CompoundLoss
from segloss.losses.ignored import ignored_values, over_counted_pixels
from segloss.losses.loss import Loss
from segloss.terms.algebra import Algebra
from segloss.terms.base import mean

LABEL_MAP_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss)
"""PyTorch's losses of label maps, which do not have a channel axis."""

ELEMENTWISE_LOSSES = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.HuberLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.SmoothL1Loss,
)
"""PyTorch's losses of two floating-point tensors of equal shape; some would broadcast them."""


_ACTIVATIONS = {
    nn.CrossEntropyLoss: "softmax",
    nn.BCEWithLogitsLoss: "sigmoid",
    nn.NLLLoss: "log_softmax",
}
"""The activation that losses of PyTorch compute, and the one whose result `nn.NLLLoss` takes."""


class LossWrapper(Loss):
    """Gives a loss of (prediction, target) a name, a norm, batches, selectors and mixup.

    Args:
        loss_func: An `nn.Module` or any callable of (prediction, target) that returns a scalar.
        name: The name for logging; None: the name of `loss_func`, or of its class.
        pred_key: The key of the predictions in `pred_batch`.
        gt_key: The key of the targets in `gt_batch`.
        pred_channel_selector: The channels of the predictions to look at; None: all.
        gt_channel_selector: The channels of the targets to look at; None: all. With an int, a
            target is a label map if predictions have several channels, and loses its channel axis.
            A list or slice of one channel keeps the axis.
        target_dtype: The dtype to convert targets to, a `torch.dtype` or its name ("long",
            "float32").
        use_mixup: True if batches may have the keys of `MixUp`.
        weight_key: The key of pixel weights in `gt_batch`, which may be absent. Only a
            `segloss.CompoundLoss` gets the weights, the maps that its terms need, and the
            annotations, a `LovaszLoss` the weights, and a loss of shapes its maps. Other losses
            take a prediction and a target.
        ignore_index: The value of a target that `loss_func` ignores, or a list of several; None:
            its attribute `ignore_index`, or that of modules in it. For a target with only such
            values, where many losses are NaN, the loss and its gradient are 0. Other batches are
            passed on unchanged, so it is `loss_func` that leaves pixels out; a value that a loss of
            PyTorch does not ignore is refused.
        annotated_key: The key of the annotations in `gt_batch`, which may be absent; see
            `segloss.SegLoss`.
        sample_weight_key: The key of the weights of the samples in `gt_batch`, (N,), which may be
            absent. A `segloss.CompoundLoss`, a `LovaszLoss` and a loss of shapes get them. Any
            other loss is computed for each sample alone, and the weighted mean is taken.

    Predictions in half precision are converted to float32, and computed outside of autocast. If
    `target_dtype` is None, a label map for `nn.CrossEntropyLoss` or `nn.NLLLoss` is converted to
    int64 and loses a channel axis of size 1, and a mask for an elementwise loss of PyTorch, or a
    dense target for `nn.CrossEntropyLoss`, is converted to the dtype of the prediction. For
    `nn.BCELoss`, values that rounding has put outside [0, 1] are clamped, since it refuses them.

    Raises:
        TypeError, ValueError: An argument has a wrong type, or `loss_func` is already a `Loss`.

    Example:
        >>> loss = LossWrapper(nn.CrossEntropyLoss(), name="ce")
        >>> value, _ = loss({"seg": torch.zeros(1, 3, 4)},
        ...                 {"gt_polygons_image": torch.tensor([[[0, 1, 2, 1]]])})
        >>> value
        tensor(1.0986)
    """

    belongs_elsewhere: ClassVar[Mapping[str, str]] = {
        "weights": "weights of losses belong to MultiLoss([...], weights=[...])"
    }

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        name: str | None = None,
        *,
        pred_key: str = "seg",
        gt_key: str = "gt_polygons_image",
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        target_dtype: torch.dtype | str | None = None,
        use_mixup: bool = False,
        weight_key: str = "seg_loss_weights",
        ignore_index: int | Sequence[int] | None = None,
        annotated_key: str = "annotated",
        sample_weight_key: str = "sample_weights",
    ) -> None:
        if isinstance(loss_func, Loss):
            raise TypeError(
                f"loss_func must be a loss of (prediction, target), got {shown(loss_func)}, "
                "which already takes batches: use it directly."
            )
        if isinstance(name, nn.Module):
            raise TypeError(f"name must be a str, got {shown(name)}: the loss comes first.")
        check_loss_func("loss_func", loss_func)
        super().__init__(_default_name(loss_func) if name is None else name, use_mixup=use_mixup)
        self.loss_func = loss_func
        self.pred_key = check_text("pred_key", pred_key)
        self.gt_key = check_text("gt_key", gt_key)
        self.weight_key = check_text("weight_key", weight_key)
        self.annotated_key = check_text("annotated_key", annotated_key)
        self.sample_weight_key = check_text("sample_weight_key", sample_weight_key)
        self.names = BatchNames.of_keys(
            pred_key, gt_key, weight_key, annotated_key, sample_weight_key
        )
        self.pred_channels = optional_selector(pred_channel_selector, "pred_channel_selector")
        self.gt_channels = optional_selector(gt_channel_selector, "gt_channel_selector")
        self.target_dtype = _dtype(target_dtype)
        self.ignore_index = check_ignore_index(ignore_index)
        _check_is_ignored(loss_func, self.ignore_index)
        self._checks = ValueChecks()
        self._first_prediction = FirstPrediction()

    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """Returns the wrapped loss of the selected predictions and targets."""
        return self._value(pred_batch, gt_batch)

    def compute_together(
        self,
        losses: Sequence[Loss],
        pred_batch: Batch,
        gt_batch: Batch,
        unweighted: Sequence[Condition] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw loss of a batch; terms give the samples their parts in one pass."""
        if type(self).compute is LossWrapper.compute:
            if shares is not None and isinstance(self.loss_func, CompoundLoss):
                return self._value(pred_batch, gt_batch, shares=shares), [{}]
            if shares is None and self._passes_sample_weights:
                return super().compute_together(losses, pred_batch, gt_batch, unweighted)
        weights = self._sample_weights(pred_batch, gt_batch)
        if weights is not None:  # as shares of a mean of samples
            assert isinstance(gt_batch, Mapping)
            gt_batch = {k: v for k, v in gt_batch.items() if k != self.sample_weight_key}
            weights = mean(weights * len(weights), weights.sum())
            shares = weights if shares is None else shares.to(weights) * weights
        return super().compute_together(losses, pred_batch, gt_batch, unweighted, shares)

    def _sample_weights(self, pred_batch: Batch, gt_batch: Batch) -> Tensor | None:
        """Returns the checked weights of the samples, or None."""
        weights = take_optional(gt_batch, self.sample_weight_key, "gt_batch")
        if weights is None:
            return None
        names = self.names.of_batch(pred_batch, gt_batch)
        prediction = take(pred_batch, self.pred_key, "pred_batch")
        check_sample_weights(weights, names.sample_weights, prediction, names.pred)
        check_weight_range(weights, names.sample_weights, self._checks, of="samples")
        return weights.to(accumulation_dtype(weights.device))

    def _value(self, pred_batch: Batch, gt_batch: Batch, **more: Any) -> Tensor:
        """Returns the wrapped loss; `more` are further options of a `CompoundLoss`."""
        prediction, target = self._selected(pred_batch, gt_batch)
        if not self._first_prediction.is_over and (takes := _activation_of(self.loss_func)):
            name = self.names.of_batch(pred_batch, gt_batch).pred
            self._first_prediction.look(prediction, name, takes, self)
        companions = {**self._companions(gt_batch, prediction), **more}
        try:
            with without_autocast(prediction.device):
                value: Tensor
                if isinstance(self.loss_func, TakesCompanions):
                    value = self.loss_func(prediction, target, **companions)
                else:
                    known = self._ignored_values()
                    value = over_counted_pixels(self.loss_func, prediction, target, known)
                return value
        except Exception as error:
            add_note(
                error,
                f"In the loss {self.name!r}: prediction {_described(prediction)}, target "
                f"{_described(target)}. See pred_channel_selector, gt_channel_selector and "
                "target_dtype.",
            )
            raise

    def counted_share(self, pred_batch: Batch, gt_batch: Batch) -> float:
        """Returns the share of a batch's pixels that count, as far as it is known."""
        prediction, target = self._selected(pred_batch, gt_batch)
        if isinstance(self.loss_func, TakesCompanions):
            companions = self._companions(gt_batch, prediction)
            return self.loss_func.pixels(prediction, target, **companions).counted_share()
        if target.numel() == 0:
            return 0.0
        ignored = equals_any(target, self._ignored_values())
        share = 1 - float(ignored.sum(dtype=torch.int64) / ignored.numel())
        weights = self._sample_weights(pred_batch, gt_batch)
        return share if weights is None else share * float(weights.mean())

    def _ignored_values(self) -> tuple[float, ...]:
        """Returns the values of a target that the loss ignores, as far as they are known."""
        given = values_of(self.ignore_index)
        return given or ignored_values(self.loss_func)

    def _selected(self, pred_batch: Batch, gt_batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the selected prediction and target, checked where the loss is one of PyTorch."""
        names = self.names.of_batch(pred_batch, gt_batch)
        prediction = self._prediction(pred_batch, names)
        if isinstance(self.loss_func, (*LABEL_MAP_LOSSES, *ELEMENTWISE_LOSSES)):
            check_prediction(prediction, names.pred)
        target = self._target(gt_batch, prediction, names)
        if isinstance(self.loss_func, (nn.BCELoss, nn.BCEWithLogitsLoss)):
            dtype = take(gt_batch, self.gt_key, "gt_batch").dtype
            check_unit_range(target, names.target, self._checks, dtype=dtype)
            _check_channel_weights(self.loss_func, self.name, prediction, names.pred)
        if isinstance(self.loss_func, nn.BCELoss):
            dtype = take(pred_batch, self.pred_key, "pred_batch").dtype
            prediction = self._in_unit_range(prediction, dtype, names.pred)
            target = target.clamp(0, 1).to(prediction.dtype)
        return prediction, target

    def _prediction(self, pred_batch: Batch, names: BatchNames) -> Tensor:
        """Returns the selected channels of the prediction, in float32 if it has half precision."""
        prediction = take(pred_batch, self.pred_key, "pred_batch")
        if self.pred_channels is not None:
            prediction = self.pred_channels(prediction, names.pred)
        half = prediction.dtype in (torch.float16, torch.bfloat16)
        return prediction.float() if half else prediction

    @property
    def _passes_sample_weights(self) -> bool:
        """True if the wrapped loss takes weights of samples itself."""
        loss = self.loss_func
        return isinstance(loss, TakesCompanions) and "sample_weights" in loss.companions

    def _companions(self, gt_batch: Batch, prediction: Tensor) -> dict[str, Any]:
        """Returns the arguments beside the target that the loss takes, of selected channels."""
        loss = self.loss_func
        if not isinstance(loss, TakesCompanions):
            return {}
        read: dict[str, Callable[[], Any]] = {
            "pixel_weights": lambda: self._weights(gt_batch),
            "maps": lambda: self._maps(gt_batch, loss.map_keys),
            "annotated": lambda: self._annotated(gt_batch, prediction),
            "sample_weights": lambda: take_optional(gt_batch, self.sample_weight_key, "gt_batch"),
        }
        return {name: read[name]() for name in loss.companions}

    def _weights(self, gt_batch: Batch) -> Tensor | None:
        """Returns the pixel weights of the selected channels, or None."""
        weights = take_optional(gt_batch, self.weight_key, "gt_batch")
        if self.gt_channels is None or weights is None or weights.ndim < 3 or weights.shape[1] == 1:
            return weights
        return self.gt_channels(weights, self.names.pixel_weights)

    def _maps(self, gt_batch: Batch, keys: Sequence[str]) -> dict[str, Tensor]:
        """Returns the selected channels of maps."""
        maps = {key: take(gt_batch, key, "gt_batch", MAP_REMEDY) for key in keys}
        if self.gt_channels is None:
            return maps
        return {key: self.gt_channels(m, f"gt_batch[{key!r}]") for key, m in maps.items()}

    def _annotated(self, gt_batch: Batch, prediction: Tensor) -> Tensor | None:
        """Returns the annotations of the selected channels, or None."""
        annotated = take_optional(gt_batch, self.annotated_key, "gt_batch")
        if self.gt_channels is None or annotated is None:
            return annotated
        target = take(gt_batch, self.gt_key, "gt_batch")
        return select_companion(self.gt_channels, annotated, target, self.gt_key, prediction)

    def _target(self, gt_batch: Batch, prediction: Tensor, names: BatchNames) -> Tensor:
        """Returns the selected channels of the target, in the shape and dtype of the loss."""
        target = take(gt_batch, self.gt_key, "gt_batch")
        check_device(target, names.target, prediction, names.pred)
        if isinstance(self.loss_func, (*LABEL_MAP_LOSSES, *ELEMENTWISE_LOSSES)):
            check_real(target, names.target)
        if self.gt_channels is not None:
            target = self.gt_channels(target, names.target, prediction.ndim)
        if self._has_channel_axis_of_one(target, prediction):
            target = target.squeeze(1)
        if self.target_dtype is not None:
            target = target.to(self.target_dtype)
        elif self._needs_labels(target, prediction):
            target = self._labels(target, prediction, names)
        elif isinstance(self.loss_func, (*LABEL_MAP_LOSSES, *ELEMENTWISE_LOSSES)):
            target = target if target.is_floating_point() else target.to(prediction.dtype)
        if isinstance(self.loss_func, ELEMENTWISE_LOSSES) and target.shape != prediction.shape:
            has_space = prediction.ndim > 2
            remedy = for_mask_shape("{target}", target, prediction) if has_space else ""
            raise ValueError(
                f"{names.target} must have the shape of {names.pred} for {self.name!r}, "
                f"{tuple(prediction.shape)}, got {tuple(target.shape)}.{names.in_remedy(remedy)}"
            )
        return target

    def _needs_labels(self, target: Tensor, prediction: Tensor) -> bool:
        """Returns whether the target must be a label map; cross-entropy takes dense ones, too."""
        if isinstance(self.loss_func, nn.CrossEntropyLoss):
            return target.ndim < prediction.ndim
        return isinstance(self.loss_func, nn.NLLLoss)

    def _has_channel_axis_of_one(self, target: Tensor, prediction: Tensor) -> bool:
        """Returns whether the target is a label map with a channel axis of size 1."""
        one_for_many = (
            target.ndim == prediction.ndim > 2 and target.shape[1] == 1 < prediction.shape[1]
        )
        selected_one = self.gt_channels is not None and isinstance(self.gt_channels.index, int)
        return one_for_many and (selected_one or isinstance(self.loss_func, LABEL_MAP_LOSSES))

    def _in_unit_range(self, prediction: Tensor, dtype: torch.dtype, name: str) -> Tensor:
        """Returns probabilities, clamped with a slope of 1; raises ValueError for anything else.

        `nn.BCELoss` refuses 1 plus a rounding error; on a GPU, its assertion makes the GPU unusable
        for the process.
        """
        check_unit_range(prediction, name, self._checks, dtype=dtype, probabilities=True)
        return prediction + (prediction.clamp(0, 1) - prediction).detach()

    def _check_class_weights(self, channels: int) -> None:
        """Raises ValueError if PyTorch's loss does not have a weight for each class."""
        weight = getattr(self.loss_func, "weight", None)
        if isinstance(weight, Tensor) and weight.numel() != channels:
            raise ValueError(
                f"The weight of {self.name!r} must have one number for each of the prediction's "
                f"{channels} channels, got {weight.numel()}."
            )

    def _labels(self, target: Tensor, prediction: Tensor, names: BatchNames) -> Tensor:
        """Returns a label map as int64; raises ValueError for a wrong shape or label."""
        labels = target.long()
        expected = (*prediction.shape[:1], *prediction.shape[2:])
        if prediction.ndim > 1 and labels.shape != expected:
            remedy = for_label_map_shape(target, prediction) if prediction.ndim > 2 else ""
            raise ValueError(
                f"{names.target} must be a label map of the pixels of {names.pred} for "
                f"{self.name!r}: expected {expected}, got {tuple(labels.shape)}."
                f"{names.in_remedy(remedy)}"
            )
        if target.is_floating_point() and self._checks.due("labels", target, on_every_batch=True):
            check_whole_labels(target, names.target)
            self._checks.passed("labels", target)
        if prediction.ndim > 1:
            ignored = getattr(self.loss_func, "ignore_index", None)
            self._check_class_weights(prediction.shape[1])
            check_label_range(labels, names.target, prediction.shape[1], ignored, self._checks)
        return labels


def _activation_of(loss: Any) -> str:
    """Returns the entry of `_ACTIVATIONS` for a loss, or an empty text."""
    return next((found for kind, found in _ACTIVATIONS.items() if isinstance(loss, kind)), "")


def _check_channel_weights(loss: nn.Module, name: str, prediction: Tensor, pred_name: str) -> None:
    """Raises ValueError if a loss of PyTorch has a list of weights, which would be of columns."""
    weights = {key: getattr(loss, key, None) for key in ("pos_weight", "weight")}
    for key, weight in weights.items():
        if weight is None or weight.ndim != 1 or len(weight) == 1 or prediction.ndim < 3:
            continue
        shape = (prediction.shape[1], *[1] * (prediction.ndim - 2))
        remedy = f": pass {key}.view{shape}" if len(weight) == shape[0] else ""
        raise ValueError(
            f"{key} of {name!r} must have the shape {shape} for one weight per channel of "
            f"{pred_name}, got {tuple(weight.shape)}, which PyTorch takes for weights of the last "
            f"axis{remedy}."
        )


def _check_is_ignored(loss: Any, ignore_index: IgnoreIndex) -> None:
    """Raises ValueError if a loss of PyTorch does not ignore what it is said to ignore."""
    values = values_of(ignore_index)
    given = f"ignore_index={written(ignore_index)}"
    if values and isinstance(loss, ELEMENTWISE_LOSSES):
        raise ValueError(
            f"{given} has no effect, since {shown(loss)} leaves no pixels out: "
            f"{_instead(loss, given, values[0])}."
        )
    if values and isinstance(loss, LABEL_MAP_LOSSES) and loss.ignore_index not in values:
        raise ValueError(
            f"{given} has no effect, since {shown(loss)} ignores {loss.ignore_index}: give it to "
            f"that loss, {type(loss).__name__}({given})."
        )


def _instead(loss: nn.Module, given: str, value: int) -> str:
    """Returns the remedy for an elementwise loss of PyTorch that should leave pixels out."""
    if isinstance(loss, nn.BCEWithLogitsLoss):
        return f"pass CompoundLoss(CrossEntropy(), {given})"
    if isinstance(loss, nn.BCELoss):
        return f"pass CompoundLoss(CrossEntropy(), from_logits=False, {given})"
    kept = f"p[t != {value}], t[t != {value}]"
    return f"pass a function that does, such as lambda p, t: nn.{shown(loss)}({kept})"


def check_loss_func(argument: str, loss: Any) -> None:
    """Raises TypeError if something is not a loss: a module or a function, with its remedy."""
    if isinstance(loss, type):
        remedy = f". Make an instance: {loss.__name__}()"
    elif isinstance(loss, Algebra):
        remedy = f", a term: pass CompoundLoss({loss!r})"
    elif isinstance(loss, str) and "." in loss:
        remedy = f": pass the loss itself, which a config writes as {{_target_: {loss}}}"
    elif isinstance(loss, str):
        remedy = ": pass the loss itself; segloss.get_loss(name) returns the class of a name"
    elif callable(loss):
        return
    else:
        remedy = ""
    raise TypeError(f"{argument} must be a module or a function, got {shown(loss)}{remedy}.")


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {tensor.dtype}"


def _default_name(loss_func: Any) -> str:
    """Returns the name of a function or module, or of its class."""
    named = getattr(loss_func, "name", None) or getattr(loss_func, "__name__", None)
    return named if isinstance(named, str) else type(loss_func).__name__


def _dtype(dtype: Any) -> torch.dtype | None:
    """Returns `target_dtype` as a dtype, after checking it."""
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype.removeprefix("torch."), dtype)
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise ValueError(
            f"target_dtype must be a torch.dtype or its name, such as 'long' or 'float32', got "
            f"{shown(dtype)}."
        )
    return dtype
