"""Segloss's losses under the program's names: each is an instance of the program's class, too.

Importing this module imports the program. Where the two differ in what they compute, these classes
follow the program: the constants of the focal Tversky loss, and wrapped losses, which keep the norm
1.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segloss import frame_field
from segloss.batch.keys import Batch
from segloss.compat.segmentation_models_trainer.version import check_version
from segloss.config.instantiate import build_pre_process
from segloss.losses.loss import Loss as OurLoss
from segloss.losses.loss_wrapper import LossWrapper as OurLossWrapper
from segloss.losses.multi_loss import MultiLoss as OurMultiLoss
from segloss.losses.norm import NormSums
from segloss.losses.schedule import Weight
from segloss.losses.seg_loss import SegLoss as OurSegLoss

check_version()  # before the program's names are needed, which another version may not have

from pytorch_segmentation_models_trainer.custom_losses import base_loss, loss_builder  # noqa: E402


class InProgram(nn.Module):
    """The base between segloss's class and the program's, whose constructor and `repr` it hides.

    It reads the checkpoints of the program's own losses, too.
    """

    norm_updated: bool = False

    def __init__(self) -> None:
        nn.Module.__init__(self)

    __repr__ = nn.Module.__repr__

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        norm = state_dict.get(f"{prefix}norm")
        if isinstance(norm, Tensor) and norm.shape == (1,):
            is_computed = (norm[0] != 1).to(torch.float64)
            state_dict |= {f"{prefix}norm": norm[0], f"{prefix}norm_count": is_computed}
        if isinstance(self, OurMultiLoss) and f"{prefix}epoch" not in state_dict:
            state_dict |= {f"{prefix}{key}": value for key, value in self._buffers.items()}
            state_dict[f"{prefix}_extra_state"] = self.get_extra_state()
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class Loss(OurLoss, InProgram, base_loss.Loss):
    """`segloss.Loss` as a base class of losses for the program."""


class SegLoss(OurSegLoss, InProgram, base_loss.SegLoss):
    """`segloss.SegLoss` with the program's constants of the focal Tversky loss.

    `gt_channel_selector`, which the program requires, may be 0 for label maps (N, *spatial), which
    are what its data sets have: a label map is the only channel of its target.

    Args:
        *args: The arguments of `segloss.SegLoss`, in its order, which is the program's.
        tversky_alpha: Weight of false positives.
        tversky_beta: Weight of false negatives.
        tversky_gamma: Exponent of the focal Tversky loss.
        **options: The other arguments of `segloss.SegLoss`.
    """

    def __init__(
        self,
        *args: Any,
        tversky_alpha: float = 0.01,
        tversky_beta: float = 0.99,
        tversky_gamma: float = 0.25,
        **options: Any,
    ) -> None:
        super().__init__(
            *args,
            tversky_alpha=tversky_alpha,
            tversky_beta=tversky_beta,
            tversky_gamma=tversky_gamma,
            **options,
        )

    def _take(self, *args: Any) -> Any:
        """Returns the tensors of a batch, in which label maps have a channel axis."""
        tensors = super()._take(*args)
        is_label_map = tensors.target.ndim == tensors.prediction.ndim - 1
        return tensors._replace(target=tensors.target.unsqueeze(1)) if is_label_map else tensors


class CrossfieldAlignLoss(
    frame_field.CrossfieldAlignLoss, InProgram, base_loss.CrossfieldAlignLoss
):
    """`segloss.CrossfieldAlignLoss` for the program."""


class CrossfieldAlign90Loss(
    frame_field.CrossfieldAlign90Loss, InProgram, base_loss.CrossfieldAlign90Loss
):
    """`segloss.CrossfieldAlign90Loss` for the program."""


class CrossfieldSmoothLoss(
    frame_field.CrossfieldSmoothLoss, InProgram, base_loss.CrossfieldSmoothLoss
):
    """`segloss.CrossfieldSmoothLoss` for the program."""


class SegCrossfieldLoss(frame_field.SegCrossfieldLoss, InProgram, base_loss.SegCrossfieldLoss):
    """`segloss.SegCrossfieldLoss` for the program."""


class SegEdgeInteriorLoss(
    frame_field.SegEdgeInteriorLoss, InProgram, base_loss.SegEdgeInteriorLoss
):
    """`segloss.SegEdgeInteriorLoss` for the program."""


class ComputeSegGrads(frame_field.ComputeSegGrads, base_loss.ComputeSegGrads):
    """`segloss.ComputeSegGrads` with the program's argument.

    Args:
        device: Any device. It makes no difference: gradients are computed where the masks are.
    """

    def __init__(self, device: Any = None) -> None:
        super().__init__()


class LossWrapper(OurLossWrapper, InProgram, loss_builder.LossWrapper):
    """A loss of (prediction, target), or of the prediction alone, from any library.

    As in the program, it keeps the norm 1: its weight in the sum is the one in the config.

    Args:
        loss_func: The loss.
        name: The name for logging; None: the name of `loss_func`, or of its class.
    """

    is_custom_loss = False

    def __init__(self, loss_func: Callable[..., Tensor], name: str | None = None) -> None:
        super().__init__(loss_func, name)
        self.takes_target = _takes_target(loss_func)

    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """Returns the wrapped loss."""
        if self.takes_target:
            return super().compute(pred_batch, gt_batch)
        names = self.names.of_batch(pred_batch, gt_batch)
        return self.loss_func(self._prediction(pred_batch, names))

    def add_to_norm(self, sums: NormSums) -> None:
        """Counts the samples of a batch; the norm stays 1."""
        self.norm_count.add_(sums.samples)


class WrappedLoss(OurLoss, InProgram, loss_builder.LossWrapper):
    """A loss of batches, such as a subclass of the program's `Loss`, as a loss of segloss.

    Args:
        loss_func: The loss of (pred_batch, gt_batch), which returns its value and a mapping.
        name: The name for logging; None: the name of `loss_func`.
    """

    is_custom_loss = True

    def __init__(self, loss_func: Any, name: str | None = None) -> None:
        super().__init__(loss_func.name if name is None else name)
        self.loss_func = loss_func

    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """Returns the wrapped loss, without its own norm."""
        value, info = self.loss_func(pred_batch, gt_batch, normalize=False)
        self.extra_info.update(info)
        return value  # type: ignore[no-any-return]


class MultiLoss(OurMultiLoss, InProgram, base_loss.MultiLoss):
    """`segloss.MultiLoss` that takes the program's losses, and pre-processes from its configs.

    Args:
        loss_funcs: Losses of segloss, of the program, or of any library.
        weights: As for `segloss.MultiLoss`.
        epoch_thresholds: As for `segloss.MultiLoss`.
        pre_processes: As for `segloss.MultiLoss`; or blocks with `_target_`, which the program
            passes on as they are.
        **options: The other arguments of `segloss.MultiLoss`.
    """

    def __init__(
        self,
        loss_funcs: Sequence[Any],
        weights: Sequence[Weight],
        epoch_thresholds: Sequence[float] | None = None,
        pre_processes: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        losses = [_as_loss(loss) for loss in loss_funcs]
        processes = [
            build_pre_process(process, f"pre_processes[{i}]", ())
            if isinstance(process, Mapping)
            else process
            for i, process in enumerate(pre_processes or ())
        ]
        super().__init__(losses, weights, epoch_thresholds, processes, **options)


def wrapper_class(loss_func: Any, name: str | None = None) -> type[LossWrapper | WrappedLoss]:
    """Returns the class that wraps a loss: of batches, or of (prediction, target)."""
    return WrappedLoss if isinstance(loss_func, (OurLoss, base_loss.Loss)) else LossWrapper


def _as_loss(loss: Any) -> Any:
    """Returns a loss that segloss's `MultiLoss` takes: the program's are wrapped."""
    if isinstance(loss, OurLoss):
        return loss
    if isinstance(loss, loss_builder.LossWrapper):
        return wrapper_class(loss.loss_func)(loss.loss_func, loss.name)
    if isinstance(loss, base_loss.Loss):
        return WrappedLoss(loss)
    return LossWrapper(loss)


def _takes_target(loss_func: Callable[..., Any]) -> bool:
    """Returns whether a loss takes a target beside the prediction."""
    called = loss_func.forward if isinstance(loss_func, nn.Module) else loss_func
    try:
        inspect.signature(called).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a signature that Python does not know
        return True
    return True
