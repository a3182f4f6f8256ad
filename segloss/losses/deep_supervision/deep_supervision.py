"""The loss at every scale, weighted, as one loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segloss.batch.keys import Batch, take
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.gradients import Condition
from segloss.foundation.precision import accumulation_dtype
from segloss.losses.deep_supervision.heads import heads_of
from segloss.losses.deep_supervision.scales import (
    batch_at_scale,
    check_lists,
    check_scales,
    holds_scales,
    target_of,
)
from segloss.losses.deep_supervision.weights import check_scale_weights, weights_of_scales
from segloss.losses.loss import Loss, raw_losses
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.multi_loss import MultiLoss
from segloss.losses.seg_loss import SegLoss

Scales = Batch | Sequence[Tensor]
"""A batch, or a list with one tensor for each scale, finest first."""


class DeepSupervision(Loss):
    r"""Weighted sum of a loss over predictions at several scales, finest first.

    .. math:: L = \sum_i w_i\, L(p_i, g_i)

    with :math:`w_i` the weight of scale i, :math:`p_i` the prediction, and :math:`g_i` the targets,
    weights and maps of the batch at the prediction's size.

    Args:
        loss: The inner loss, which is computed at each scale. An `nn.Module` or a function of
            (prediction, target) is wrapped in a `LossWrapper`.
        weights: The weight of each scale, at least 0 and not all 0, used unchanged. None: 1, 1/2,
            1/4 ..., divided by their sum, so that the total has the magnitude of `loss`. "nnunet":
            nnU-Net's, the same without the coarsest of several scales. "monai": those of MONAI's
            `DeepSupervisionLoss`, 1, 1/2, 1/4 ..., at least 1/16, which are not divided.
        name: The name for logging; None: the name of `loss`.

    `pred_batch` is a list or tuple of predictions (N, C, *spatial), or a mapping that has such a
    list under the `pred_key` of the inner loss. A single tensor (N, C, *spatial) is one scale.
    Heads in one tensor (N, S, C, *spatial), as MONAI's DynUNet stacks them, are S scales. Where a
    target fits both, pass `prediction.unbind(1)` or `[prediction]`.

    `gt_batch` is a target, a list or tuple with a target for each prediction, as nnU-Net has it, or
    a mapping with either under the inner loss's `gt_key`. Pixel weights and maps may be such lists,
    too. Any tensor (N, ..., *spatial) of the finest prediction's size is resized to each scale by
    taking the nearest pixel, so labels stay labels and masks stay masks. Other entries are passed
    on.

    A scale with weight 0 is not computed, but stays in the graph. The gradient of its head is 0, as
    `DistributedDataParallel` requires, even where its predictions are NaN.

    The inner loss's `use_mixup` decides whether batches may have mixup. The norm belongs to the
    sum; the norm of the inner loss is not used. `extra_info` has the value of each computed scale
    ("scale_0", "scale_1" ...), and the inner loss's extra information at the finest scale.

    Attributes:
        loss: The inner loss, for validation, where networks often predict only the finest scale.
        weights: The given weights, or None.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made. When it is used, the
            numbers of predictions, targets and weights differ, or predictions or targets do not
            match or are not sorted.

    Source: Lee, Xie, Gallagher, Zhang, Tu, "Deeply-supervised nets" (2015); the default weights are
    from Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical
    image segmentation" (2021).

    Example:
        >>> loss = DeepSupervision(nn.L1Loss(), weights=[1, 0.5])
        >>> fine, coarse = torch.zeros(1, 1, 4), torch.zeros(1, 1, 2)
        >>> loss([fine, coarse], torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]))
        (tensor(0.7500), {'scale_0': tensor(0.5000), 'scale_1': tensor(0.5000)})
        >>> targets = [torch.ones(1, 1, 4), torch.zeros(1, 1, 2)]
        >>> loss([fine, coarse], targets)
        (tensor(1.), {'scale_0': tensor(1.), 'scale_1': tensor(0.)})
    """

    def __init__(
        self,
        loss: Loss | nn.Module | Callable[..., Tensor],
        weights: Sequence[float] | str | None = None,
        *,
        name: str | None = None,
    ) -> None:
        inner = _as_loss(loss)
        super().__init__(inner.name if name is None else name, use_mixup=inner.use_mixup)
        self.loss = inner
        self.pred_key = str(getattr(inner, "pred_key", "seg"))
        self.gt_key = inner.gt_key
        self.weights = check_scale_weights(weights)
        self._checks = ValueChecks()

    def compute(self, pred_batch: Scales, gt_batch: Scales) -> Tensor:
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
        pred_batch: Scales,
        gt_batch: Scales,
        unweighted: Sequence[Condition] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw losses of a batch, (K,) or () for one, from one pass at each scale."""
        if len(losses) == 1 and shares is None:
            return super().compute_together(losses, pred_batch, gt_batch)  # type: ignore[arg-type]
        values, infos = self._compute(losses, pred_batch, gt_batch, unweighted, shares)
        return values.squeeze(0) if len(losses) == 1 else values, infos

    def counted_share(self, pred_batch: Scales, gt_batch: Scales) -> float:
        """Returns the share of the pixels that count, at the finest scale."""
        keys = _listed_keys([self.loss])
        scales = self._scales(pred_batch, gt_batch, keys)
        finest = batch_at_scale(gt_batch, keys, scales, 0)
        return self.loss.counted_share(self._at_scale(pred_batch, scales[0]), finest)

    def _compute(
        self,
        losses: Sequence[Loss],
        pred_batch: Scales,
        gt_batch: Scales,
        unweighted: Sequence[Condition] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw losses (K,), and the extra information of each."""
        inner = _inner(losses)
        keys = _listed_keys(inner)
        scales = self._scales(pred_batch, gt_batch, keys)
        weights = self._weights(len(scales))
        infos: list[dict[str, Any]] = [{} for _ in losses]
        parts, dtype = [], scales[0].dtype
        for index, (prediction, weight) in enumerate(zip(scales, weights, strict=True)):
            if weight == 0:  # a 0 in the graph, even where the prediction is NaN
                parts.append(prediction[:0].sum().expand(len(losses)))
                continue
            at_scale = self._at_scale(pred_batch, prediction)
            targets = batch_at_scale(gt_batch, keys, scales, index)
            values, inner_infos = raw_losses(inner, at_scale, targets, unweighted, shares)
            values, dtype = values.reshape(-1), values.dtype
            for info, inner_info, value in zip(
                infos, inner_infos, values.detach().unbind(), strict=True
            ):
                if index == 0:
                    info.update(inner_info)
                info[f"scale_{index}"] = value
            parts.append(weight * values.to(accumulation_dtype(values.device)))
        return torch.stack(parts).sum(0).to(dtype), infos

    def _scales(self, pred_batch: Any, gt_batch: Any, keys: Sequence[str]) -> Sequence[Tensor]:
        """Returns the predictions, finest first, checked against each other and the targets."""
        name, entry = "pred_batch", pred_batch
        if isinstance(pred_batch, Mapping):
            name, entry = f"pred_batch[{self.pred_key!r}]", pred_batch.get(self.pred_key)
        if holds_scales(entry):
            check_scales(entry, name)
            scales: Sequence[Tensor] = entry
        else:
            prediction = take(pred_batch, self.pred_key, "pred_batch")
            target = target_of(gt_batch, self.gt_key)
            scales = heads_of(prediction, target, name, self.loss, self._checks)
        check_lists(gt_batch, keys, scales)
        return scales

    def _weights(self, count: int) -> Sequence[float]:
        """Returns one weight per scale."""
        weights = weights_of_scales(self.weights, count)
        if len(weights) != count:
            raise ValueError(
                f"weights must have one weight per prediction of {self.name!r}: there are {count} "
                f"predictions and {len(weights)} weights. If a network predicts only the "
                "finest scale, as many do in validation, use the inner loss (.loss)."
            )
        return weights

    def _at_scale(self, pred_batch: Any, prediction: Tensor) -> Batch:
        """Returns the batch with the prediction of one scale."""
        if isinstance(pred_batch, Mapping):
            return {**pred_batch, self.pred_key: prediction}
        return prediction

    def extra_repr(self) -> str:
        """Returns the name of the loss, and `use_mixup` and the weights if they are set."""
        if self.weights is None:
            return super().extra_repr()
        shown = self.weights if isinstance(self.weights, str) else list(self.weights)
        return f"{super().extra_repr()}, weights={shown!r}"


def _inner(losses: Sequence[Loss]) -> list[Loss]:
    return [loss.loss for loss in losses if isinstance(loss, DeepSupervision)]


def _listed_keys(losses: Sequence[Loss]) -> Sequence[str]:
    """Returns the keys of `gt_batch` under which a list has one entry per scale, targets first."""
    keys = [loss.gt_key for loss in losses]
    keys += [loss.weight_key for loss in losses if isinstance(loss, (SegLoss, LossWrapper))]
    for loss in losses:
        source = loss.loss_func if isinstance(loss, LossWrapper) else loss
        keys += getattr(source, "map_keys", ())
    return list(dict.fromkeys(keys))


def _as_loss(loss: Any) -> Loss:
    if isinstance(loss, MultiLoss):
        raise TypeError(
            "loss must not be a MultiLoss: put each of its losses into a DeepSupervision, and "
            "these into a MultiLoss."
        )
    return loss if isinstance(loss, Loss) else LossWrapper(loss)
