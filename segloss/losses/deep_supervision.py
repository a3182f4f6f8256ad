"""Deep supervision: one loss at every scale of a network with several predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segloss.batch.keys import Batch, take
from segloss.batch.shape_checks import check_device
from segloss.foundation.arguments import check_weights
from segloss.foundation.gradients import Condition
from segloss.foundation.precision import accumulation_dtype
from segloss.losses.loss import Loss, raw_losses
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.multi_loss import MultiLoss


class DeepSupervision(Loss):
    r"""Weighted sum of a loss over predictions at several scales, finest first.

    .. math:: L = \sum_i w_i\, L(p_i, g_i)

    with :math:`w_i` the weight of scale i, :math:`p_i` the prediction, and :math:`g_i` the targets,
    weights and maps of the batch, resized to the prediction's size.

    Args:
        loss: The inner loss, which is computed at each scale. An `nn.Module` or a function of
            (prediction, target) is wrapped in a `LossWrapper`.
        weights: The weight of each scale, at least 0 and not all 0, used unchanged. None: 1, 1/2,
            1/4 ..., divided by their sum, so that the total has the magnitude of `loss`.
        name: The name for logging; None: the name of `loss`.

    `pred_batch` is a list or tuple of predictions (N, C, *spatial), or a mapping that has such a
    list under the `pred_key` of the inner loss. A single tensor is one scale. In `gt_batch`, every
    tensor (N, ..., *spatial) of the finest prediction's size is resized to each scale by taking the
    nearest pixel, so labels stay labels and masks stay masks. Other entries are passed on.

    A scale with weight 0 is not computed, but stays in the graph. The gradient of its head is 0, as
    `DistributedDataParallel` requires, even where its predictions are NaN. `weights=[1, 0.5, 0]`
    leaves out the coarsest of three scales, as nnU-Net does.

    The inner loss's `use_mixup` decides whether batches may have mixup. The norm belongs to the
    sum; the norm of the inner loss is not used. `extra_info` has the value of each computed scale
    ("scale_0", "scale_1" ...), and the inner loss's extra information at the finest scale.

    Attributes:
        loss: The inner loss, for validation, where networks often predict only the finest scale.
        weights: The given weights, or None.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made. When it is used, the
            numbers of predictions and weights differ, or predictions do not match or are not
            sorted.

    Source: Lee, Xie, Gallagher, Zhang, Tu, "Deeply-supervised nets" (2015); the default weights are
    from Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical
    image segmentation" (2021).

    Example:
        >>> loss = DeepSupervision(nn.L1Loss(), weights=[1, 0.5])
        >>> fine, coarse = torch.zeros(1, 1, 4), torch.zeros(1, 1, 2)
        >>> loss([fine, coarse], torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]))
        (tensor(0.7500), {'scale_0': tensor(0.5000), 'scale_1': tensor(0.5000)})
    """

    def __init__(
        self,
        loss: Loss | nn.Module | Callable[..., Tensor],
        weights: Sequence[float] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        inner = _as_loss(loss)
        super().__init__(inner.name if name is None else name, use_mixup=inner.use_mixup)
        self.loss = inner
        self.pred_key = str(getattr(inner, "pred_key", "seg"))
        self.gt_key = inner.gt_key
        checked = check_weights("weights", weights)
        self.weights = None if checked is None else tuple(checked.tolist())

    def compute(self, pred_batch: Batch | Sequence[Tensor], gt_batch: Batch) -> Tensor:
        """Returns the weighted sum; the value of each scale goes to `extra_info`."""
        value, [info] = self._compute([self], pred_batch, gt_batch)
        self.extra_info.update(info)
        return value.squeeze()

    def sharing_key(self) -> Any:
        """Returns the sharing key of the inner loss, the keys of the batch, and the weights."""
        inner = self.loss.sharing_key()
        if inner is None or type(self) is not DeepSupervision:
            return None
        return "deep supervision", self.pred_key, self.gt_key, self.weights, self.use_mixup, inner

    def prepare_together(self, losses: Sequence[Loss]) -> None:
        """Prepares the inner losses."""
        self.loss.prepare_together(_inner(losses))

    def compute_together(
        self,
        losses: Sequence[Loss],
        pred_batch: Batch | Sequence[Tensor],
        gt_batch: Batch,
        unweighted: Sequence[Condition] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw losses of a batch, (K,) or () for one, from one pass at each scale."""
        if len(losses) == 1 and shares is None:
            return super().compute_together(losses, pred_batch, gt_batch)  # type: ignore[arg-type]
        values, infos = self._compute(losses, pred_batch, gt_batch, unweighted, shares)
        return values.squeeze(0) if len(losses) == 1 else values, infos

    def counted_share(self, pred_batch: Batch | Sequence[Tensor], gt_batch: Batch) -> float:
        """Returns the share of the pixels that count, at the finest scale."""
        finest = self._at_scale(pred_batch, self._scales(pred_batch)[0])
        return self.loss.counted_share(finest, gt_batch)

    def _compute(
        self,
        losses: Sequence[Loss],
        pred_batch: Batch | Sequence[Tensor],
        gt_batch: Batch,
        unweighted: Sequence[Condition] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw losses (K,), and the extra information of each."""
        scales = self._scales(pred_batch)
        weights = self._weights(len(scales))
        inner = _inner(losses)
        infos: list[dict[str, Any]] = [{} for _ in losses]
        parts, dtype = [], scales[0].dtype
        for index, (prediction, weight) in enumerate(zip(scales, weights, strict=True)):
            if weight == 0:  # a 0 in the graph, even where the prediction is NaN
                parts.append(prediction[:0].sum().expand(len(losses)))
                continue
            resized = _resized(gt_batch, scales[0], prediction.shape[2:])
            at_scale = self._at_scale(pred_batch, prediction)
            values, inner_infos = raw_losses(inner, at_scale, resized, unweighted, shares)
            values, dtype = values.reshape(-1), values.dtype
            for info, inner_info, value in zip(
                infos, inner_infos, values.detach().unbind(), strict=True
            ):
                if index == 0:
                    info.update(inner_info)
                info[f"scale_{index}"] = value
            parts.append(weight * values.to(accumulation_dtype(values.device)))
        return torch.stack(parts).sum(0).to(dtype), infos

    def _scales(self, pred_batch: Any) -> Sequence[Tensor]:
        """Returns the predictions, finest first, checked against each other."""
        name, entry = "pred_batch", pred_batch
        if isinstance(pred_batch, Mapping):
            name, entry = f"pred_batch[{self.pred_key!r}]", pred_batch.get(self.pred_key)
        if not isinstance(entry, (list, tuple)):
            return [take(pred_batch, self.pred_key, "pred_batch")]
        _check_scales(entry, name)
        return entry

    def _weights(self, count: int) -> Sequence[float]:
        """Returns one weight per scale."""
        if self.weights is None:
            total = sum(0.5**i for i in range(count))
            return [0.5**i / total for i in range(count)]
        if len(self.weights) != count:
            raise ValueError(
                f"weights must have one weight per prediction of {self.name!r}: there are {count} "
                f"predictions and {len(self.weights)} weights. If a network predicts only the "
                "finest scale, as many do in validation, use the inner loss (.loss)."
            )
        return self.weights

    def _at_scale(self, pred_batch: Any, prediction: Tensor) -> Batch:
        """Returns the batch with the prediction of one scale."""
        if isinstance(pred_batch, Mapping):
            return {**pred_batch, self.pred_key: prediction}
        return prediction

    def extra_repr(self) -> str:
        """Returns the name of the loss, and `use_mixup` and the weights if they are set."""
        weights = "" if self.weights is None else f", weights={list(self.weights)}"
        return super().extra_repr() + weights


def _inner(losses: Sequence[Loss]) -> list[Loss]:
    return [loss.loss for loss in losses if isinstance(loss, DeepSupervision)]


def _as_loss(loss: Any) -> Loss:
    if isinstance(loss, MultiLoss):
        raise TypeError(
            "loss must not be a MultiLoss: put each of its losses into a DeepSupervision, and "
            "these into a MultiLoss."
        )
    return loss if isinstance(loss, Loss) else LossWrapper(loss)


def _check_scales(scales: Sequence[Any], name: str) -> None:
    if not scales:
        raise ValueError(f"{name} must hold one prediction per scale, got an empty list.")
    for index, prediction in enumerate(scales):
        if not isinstance(prediction, Tensor):
            raise TypeError(
                f"{name}[{index}] must be a tensor, got {type(prediction).__name__}: one "
                "prediction per scale is expected."
            )
        if prediction.ndim < 3:
            raise ValueError(
                f"{name}[{index}] must have the shape (N, C, *spatial), got "
                f"{tuple(prediction.shape)}."
            )
        _check_against_finest(prediction, scales[0], f"{name}[{index}]")


def _check_against_finest(prediction: Tensor, finest: Tensor, name: str) -> None:
    if prediction.ndim != finest.ndim or prediction.shape[0] != finest.shape[0]:
        raise ValueError(
            f"{name} must be of the same batch as the finest prediction, of shape "
            f"{tuple(finest.shape)}, got {tuple(prediction.shape)}."
        )
    check_device(prediction, name, finest, "the finest prediction")
    if 0 in prediction.shape[2:]:
        raise ValueError(f"{name} must have at least one pixel, got {tuple(prediction.shape)}.")
    sizes = zip(prediction.shape[2:], finest.shape[2:], strict=True)
    if any(size > limit for size, limit in sizes):
        raise ValueError(
            f"{name} must not be larger than the first prediction, of shape "
            f"{tuple(finest.shape)}, got {tuple(prediction.shape)}: sort them from the finest to "
            "the coarsest."
        )


def _resized(gt_batch: Batch, finest: Tensor, size: torch.Size) -> Batch:
    """Returns the batch; tensors of the finest prediction's size are resized to `size`."""
    if finest.shape[2:] == size:
        return gt_batch
    if isinstance(gt_batch, Mapping):
        return {key: _resized_entry(value, finest, size) for key, value in gt_batch.items()}
    resized: Batch = _resized_entry(gt_batch, finest, size)
    return resized


def _resized_entry(entry: Any, finest: Tensor, size: torch.Size) -> Any:
    if not isinstance(entry, Tensor) or entry.ndim <= len(size):
        return entry
    if entry.shape[0] != finest.shape[0] or entry.shape[-len(size) :] != finest.shape[2:]:
        return entry
    return _nearest(entry, size)


def _nearest(tensor: Tensor, size: torch.Size) -> Tensor:
    """Returns a tensor resized to (..., *size) by taking the nearest pixel.

    Along each dimension, pixel i of `out` takes pixel floor((i + 1/2) in / out) of `in`. The
    computation is in integers, so it is exact.
    """
    for dim, length in zip(range(-len(size), 0), size, strict=True):
        old_length = tensor.shape[dim]
        if old_length != length:
            doubled = 2 * torch.arange(length, device=tensor.device) + 1
            index = torch.div(doubled * old_length, 2 * length, rounding_mode="floor")
            tensor = tensor.index_select(dim, index)
    return tensor
