"""Any loss of (prediction, target), PyTorch's or another library's, as a `Loss`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segloss.arguments import check_text
from segloss.batch import Batch, take
from segloss.loss import Loss
from segloss.selectors import Selector, optional_selector

_LABEL_MAP_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss)
"""PyTorch's losses whose label maps have no channel axis."""


class LossWrapper(Loss):
    """Gives a loss of (prediction, target) a name, a norm, batches, selectors and mixup.

    Args:
        loss_func: An `nn.Module` or any callable of (prediction, target) that returns a scalar.
        name: The name for logging; None: that of `loss_func`, or of its class.
        pred_key: The key of the predictions in `pred_batch`.
        gt_key: The key of the targets in `gt_batch`.
        pred_channel_selector: The channels of the predictions to look at; None: all.
        gt_channel_selector: The channels of the targets to look at; None: all. An int drops the
            channel axis where predictions have several channels, since the target is a label map
            then; a list or slice of one keeps it.
        target_dtype: What to convert targets to, a `torch.dtype` or its name ("long", "float32").
        use_mixup: Whether batches may carry the keys of `MixUp`.

    Predictions in half precision are computed in float32. A label map (N, 1, *spatial) for
    `nn.CrossEntropyLoss` or `nn.NLLLoss` loses its channel axis, which these do not take, and is
    converted to int64.

    Raises:
        TypeError, ValueError: An argument is of a wrong type, or `loss_func` is a `Loss` already.

    Example:
        >>> loss = LossWrapper(nn.CrossEntropyLoss(), name="ce")
        >>> value, _ = loss({"seg": torch.zeros(1, 3, 4)},
        ...                 {"gt_polygons_image": torch.tensor([[[0, 1, 2, 1]]])})
        >>> value
        tensor(1.0986)
    """

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
    ) -> None:
        if isinstance(loss_func, Loss):
            raise TypeError(
                f"loss_func must be a loss of (prediction, target), got {loss_func!r}, which takes "
                "batches already: use it as it is."
            )
        if isinstance(loss_func, type) or not callable(loss_func):
            hint = (
                f" Make an instance: {loss_func.__name__}()." if isinstance(loss_func, type) else ""
            )
            raise TypeError(f"loss_func must be a module or a function, got {loss_func!r}.{hint}")
        super().__init__(_default_name(loss_func) if name is None else name, use_mixup=use_mixup)
        self.loss_func = loss_func
        self.pred_key = check_text("pred_key", pred_key)
        self.gt_key = check_text("gt_key", gt_key)
        self.pred_channels = optional_selector(pred_channel_selector, "pred_channel_selector")
        self.gt_channels = optional_selector(gt_channel_selector, "gt_channel_selector")
        self.target_dtype = _dtype(target_dtype)

    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """The wrapped loss of the selected predictions and targets."""
        prediction = self._prediction(pred_batch)
        loss = self.loss_func(prediction, self._target(gt_batch, prediction))
        if not isinstance(loss, Tensor):
            raise TypeError(
                f"{self.name!r} must return a tensor, got {type(loss).__name__} from "
                f"{self.loss_func!r}."
            )
        if loss.numel() != 1:
            raise ValueError(
                f"{self.name!r} must return a scalar, got a tensor of shape {tuple(loss.shape)}: "
                "set its reduction to 'mean' or 'sum'."
            )
        return loss.reshape(())

    def _prediction(self, pred_batch: Batch) -> Tensor:
        prediction = take(pred_batch, self.pred_key, "pred_batch")
        if self.pred_channels is not None:
            prediction = self.pred_channels(prediction, f"pred_batch[{self.pred_key!r}]")
        half = prediction.dtype in (torch.float16, torch.bfloat16)
        return prediction.float() if half else prediction

    def _target(self, gt_batch: Batch, prediction: Tensor) -> Tensor:
        target = take(gt_batch, self.gt_key, "gt_batch")
        if self.gt_channels is not None:
            target = self.gt_channels(target, f"gt_batch[{self.gt_key!r}]")
        if self._is_label_map(target, prediction):
            target = target.squeeze(1)
            if isinstance(self.loss_func, _LABEL_MAP_LOSSES):
                target = target.long()
        return target if self.target_dtype is None else target.to(self.target_dtype)

    def _is_label_map(self, target: Tensor, prediction: Tensor) -> bool:
        """Whether the one channel of `target` holds classes, and its axis is not wanted."""
        one_for_many = (
            target.ndim == prediction.ndim > 2 and target.shape[1] == 1 and prediction.shape[1] > 1
        )
        selected_one = self.gt_channels is not None and isinstance(self.gt_channels.index, int)
        return one_for_many and (selected_one or isinstance(self.loss_func, _LABEL_MAP_LOSSES))


def _default_name(loss_func: Any) -> str:
    named = getattr(loss_func, "name", None) or getattr(loss_func, "__name__", None)
    return named if isinstance(named, str) else type(loss_func).__name__


def _dtype(dtype: Any) -> torch.dtype | None:
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype.removeprefix("torch."), dtype)
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise ValueError(
            f"target_dtype must be a torch.dtype or its name, such as 'long' or 'float32', got "
            f"{dtype!r}."
        )
    return dtype
