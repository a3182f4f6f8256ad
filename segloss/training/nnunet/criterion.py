"""A loss of batches as nnU-Net calls it: of outputs and targets, each a tensor or a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from segloss.losses.compound_loss import CompoundLoss
from segloss.losses.deep_supervision import DeepSupervision
from segloss.losses.loss import Loss
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.multi_loss import MultiLoss
from segloss.losses.seg_loss import SegLoss

Scales = Tensor | list[Tensor]
"""A tensor, or with deep supervision one for each scale, finest first."""


class NnUNetCriterion(nn.Module):
    """A loss as nnU-Net's trainer calls it, `loss(outputs, targets)`.

    Args:
        loss: A `Loss`, a `MultiLoss`, or any module or function of (prediction, target).
        deep_supervision: True if outputs and targets are lists, finest first. Scales have nnU-Net's
            weights.
        ignore_label: The label of pixels to leave out, or None.
        regions: True if targets are masks (N, R, *spatial), one for each region. If there are
            pixels to leave out, the last channel marks them.

    Pixels to leave out get the weight 0.

    Raises:
        TypeError: The loss takes no weights, and can't tell from the targets which pixels to leave
            out.
    """

    def __init__(
        self, loss: Any, *, deep_supervision: bool, ignore_label: int | None, regions: bool
    ) -> None:
        super().__init__()
        loss = loss if isinstance(loss, (Loss, MultiLoss)) else LossWrapper(loss)
        self.ignore_label, self.regions = ignore_label, regions
        for each in _losses_of(loss):
            if isinstance(each, DeepSupervision):
                raise TypeError(
                    f"{each.name!r} must be the loss of one scale, got a DeepSupervision: return "
                    "the loss in it, and the trainer adds the scales with nnU-Net's weights. A "
                    "trainer changes the MultiLoss that it gets: make a new one for each."
                )
        self._keys = [_keys_of(each) for each in _losses_of(loss)]
        if regions and ignore_label is not None:
            for each in _losses_of(loss):
                _check_takes_weights(each)
        self.loss = _deeply_supervised(loss) if deep_supervision else loss

    def forward(self, outputs: Scales, targets: Scales) -> Tensor:
        """Returns the loss, a scalar."""
        value: Tensor = self.loss(outputs, self._batch(targets))[0]
        return value

    def _batch(self, targets: Scales) -> Scales | Mapping[str, Scales]:
        """Returns the targets, and the weights of their pixels if some are left out."""
        label = self.ignore_label
        if label is None:
            return targets
        if self.regions:
            counts = _each(lambda target: target[:, -1:].eq(0), targets)
            targets = _each(lambda target: target[:, :-1], targets)
        else:
            counts = _each(lambda target: target.ne(label), targets)
        batch: dict[str, Scales] = {}
        for target_key, weight_key in self._keys:
            batch |= {target_key: targets} | ({weight_key: counts} if weight_key else {})
        return batch


def _losses_of(loss: Loss | MultiLoss) -> list[Loss]:
    losses = list(loss.loss_funcs) if isinstance(loss, MultiLoss) else [loss]
    return [each for each in losses if isinstance(each, Loss)]


def _keys_of(loss: Loss) -> tuple[str, str | None]:
    """Returns the keys of targets and of pixel weights in the loss's batch."""
    return loss.gt_key, loss.weight_key if isinstance(loss, (SegLoss, LossWrapper)) else None


def _check_takes_weights(loss: Loss) -> None:
    """Raises TypeError if a loss would take pixels to leave out for background."""
    takes = isinstance(getattr(loss, "loss_func", loss), (SegLoss, CompoundLoss))
    if not takes:
        raise TypeError(
            f"{loss.name!r} must take pixel weights, since pixels to leave out are not marked in "
            "the masks of regions: use terms of segloss.terms, a SegLoss or a CompoundLoss."
        )


def _deeply_supervised(loss: Loss | MultiLoss) -> Loss | MultiLoss:
    """Returns the loss at all scales; the losses of a `MultiLoss` are replaced."""
    if not isinstance(loss, MultiLoss):
        return DeepSupervision(loss, "nnunet")
    for index, each in enumerate(_losses_of(loss)):
        loss.loss_funcs[index] = DeepSupervision(each, "nnunet")
    return loss


def _each(function: Callable[[Tensor], Tensor], scales: Scales) -> Scales:
    """Returns a function's value of a tensor, or of each tensor in a list."""
    return [*map(function, scales)] if isinstance(scales, (list, tuple)) else function(scales)
