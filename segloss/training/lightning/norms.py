"""Callbacks that compute the norms of losses before the first step of a Trainer.

They provide the batches as the Trainer would; `segloss.training.norms` does the rest.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch.distributed.fsdp import FullyShardedDataParallel

from segloss.batch.keys import Batch
from segloss.foundation.arguments import check_integer
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss
from segloss.training.lightning.callback import Callback
from segloss.training.lightning.find import find_losses, members
from segloss.training.lightning.progress import progress
from segloss.training.norms import compute_norms, sample_limits
from segloss.training.without_trace import fresh_loader, without_trace


class ComputeWeightNormLossesCallback(Callback):
    """Sets the norms of the losses in the module, before the first training step.

    The model runs over training batches without gradients, in the mode and precision of training.
    Each rank uses its own batches, and the ranks combine their averages. Only the norms change:
    parameters, buffers (of batch norm, for example), random states and the order of later samples
    stay as they would be without the callback. See `segloss.training.without_trace.without_trace`.

    Every `MultiLoss` in the module takes part unless its `normalize_losses` is False, and every
    `Loss` outside of a `MultiLoss`. Nothing happens if all have norms already, or if training
    resumes from a checkpoint: norms are buffers and come with it.

    The module's `loss_inputs` method says what the losses get from a batch:

        def loss_inputs(self, batch):
            return pred_batch, gt_batch

    The module's `training_step` may use it too. Without this method, a batch that is a mapping
    gives `self(batch["image"])` and the batch itself, or its "mask" if the batch has none of the
    losses' keys; and a pair (image, target) gives `self(image)` and the target.

    Args:
        max_samples: The number of samples to use, over all ranks, at least 1. Each rank uses its
            share, rounded up, in complete batches. None: the `max_samples` of the losses'
            `normalization_params`, or 1000.
        min_samples: The minimum number of samples. None: the `min_samples` of the losses'
            `normalization_params`, or 0.

    Raises:
        TypeError, ValueError: An argument is wrong, the module has no loss, a batch has none of
            these forms, or there are fewer than `min_samples` samples.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from segloss.training.lightning import ComputeWeightNormLossesCallback
        >>> callback = ComputeWeightNormLossesCallback(max_samples=200)
        >>> trainer = Trainer(callbacks=[callback], logger=False)
    """

    def __init__(self, max_samples: int | None = None, min_samples: int | None = None) -> None:
        super().__init__()
        if max_samples is not None:
            sample_limits([], max_samples, min_samples)
        elif min_samples is not None:
            check_integer("min_samples", min_samples, 0)
        self.max_samples = max_samples
        self.min_samples = min_samples

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Computes the norms, if some are missing."""
        losses = [loss for loss in find_losses(pl_module).values() if _lacks_norms(loss)]
        if not losses or trainer.ckpt_path is not None:
            return
        _check_not_sharded(trainer.strategy.model)
        max_samples, min_samples = sample_limits(losses, self.max_samples, self.min_samples)
        loaders = trainer.fit_loop._combined_loader
        share = math.ceil(max_samples / trainer.world_size)
        with (
            without_trace(pl_module, *loaders.flattened),
            progress(trainer, "Norms of losses", share) as advance,
        ):
            batches = self._batches(trainer, pl_module, loaders)
            compute_norms(losses, batches, max_samples, min_samples, on_samples=advance)

    def loss_inputs(self, pl_module: Any, batch: Any) -> tuple[Batch, Batch]:
        """Returns the losses' inputs from a batch, for modules without `loss_inputs`."""
        if isinstance(batch, Mapping) and "image" in batch:
            return pl_module(batch["image"]), _with_mask(pl_module, batch)
        if isinstance(batch, (list, tuple)) and len(batch) == 2:
            return pl_module(batch[0]), batch[1]
        keys = f" with the keys {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else ""
        raise TypeError(
            "A batch must be a mapping with the key 'image', or a pair (image, target), got "
            f"{type(batch).__name__}{keys}: give {type(pl_module).__name__} a method "
            "loss_inputs(self, batch) that returns (pred_batch, gt_batch)."
        )

    def _batches(self, trainer: Any, pl_module: Any, loaders: Any) -> Iterator[tuple[Batch, Batch]]:
        """Yields the losses' inputs from each batch of the loaders, as training reads them."""
        fresh = copy.copy(loaders)
        fresh.flattened = [_repeatable(fresh_loader(loader)) for loader in loaders.flattened]
        try:
            for batch, _, _ in itertools.islice(fresh, _batches_in_epoch(trainer)):
                transferred = _transferred(batch, trainer, pl_module)
                with trainer.precision_plugin.forward_context():
                    inputs = self._inputs(pl_module, transferred)
                yield inputs
        finally:
            fresh.reset()

    def _inputs(self, pl_module: Any, batch: Any) -> tuple[Batch, Batch]:
        if not callable(getattr(pl_module, "loss_inputs", None)):
            return self.loss_inputs(pl_module, batch)
        inputs = pl_module.loss_inputs(batch)
        if not (isinstance(inputs, tuple) and len(inputs) == 2):
            raise TypeError(
                f"{type(pl_module).__name__}.loss_inputs must return (pred_batch, gt_batch), got "
                f"{type(inputs).__name__}."
            )
        return inputs


class FrameFieldComputeWeightNormLossesCallback(ComputeWeightNormLossesCallback):
    """Sets the norms of frame-field losses, before the first training step.

    It is a `ComputeWeightNormLossesCallback` for modules whose predictions are a mapping with the
    masks and the frame field. Batches must be mappings too: the losses' `pre_processes` need
    mappings, and run on each batch. Anything else is refused before a loss gets it.

    Args:
        max_samples: As for `ComputeWeightNormLossesCallback`.
        min_samples: As for `ComputeWeightNormLossesCallback`.

    Raises:
        TypeError, ValueError: As for `ComputeWeightNormLossesCallback`; or batches or predictions
            are not mappings.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from segloss.training.lightning import FrameFieldComputeWeightNormLossesCallback
        >>> callback = FrameFieldComputeWeightNormLossesCallback(min_samples=10)
        >>> trainer = Trainer(callbacks=[callback], logger=False)
    """

    def _inputs(self, pl_module: Any, batch: Any) -> tuple[Batch, Batch]:
        pred_batch, gt_batch = super()._inputs(pl_module, batch)
        for name, value in (("pred_batch", pred_batch), ("gt_batch", gt_batch)):
            if not isinstance(value, Mapping):
                raise TypeError(
                    f"{name} must be a mapping for frame-field losses, got {type(value).__name__}: "
                    f"{type(pl_module).__name__} must return a mapping with 'seg' and "
                    "'crossfield' and be given batches with 'image', or have a method "
                    "loss_inputs(self, batch) that returns (pred_batch, gt_batch)."
                )
        return pred_batch, gt_batch


def _lacks_norms(loss: Loss | MultiLoss) -> bool:
    """Returns whether a loss should be normalised, but has no norm yet."""
    if isinstance(loss, MultiLoss) and not loss.normalize_losses:
        return False
    return any(not bool(member.norm_count > 0) for member in members(loss))


def _with_mask(pl_module: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the batch, with its "mask" as the target if no loss in the module finds its key."""
    losses = find_losses(pl_module).values()
    keys = {member.gt_key for loss in losses for member in members(loss)}
    if "mask" not in batch or not keys.isdisjoint(batch):
        return batch
    return {**batch, **dict.fromkeys(keys, batch["mask"])}


def _batches_in_epoch(trainer: Any) -> int | None:
    """Returns the number of training batches in an epoch; None if it is unknown."""
    batches = trainer.num_training_batches
    return int(batches) if math.isfinite(batches) else None


def _transferred(batch: Any, trainer: Any, pl_module: Any) -> Any:
    """Returns the batch on the device and in the precision of training."""
    batch = trainer.precision_plugin.convert_input(batch)
    batch = pl_module._on_before_batch_transfer(batch, dataloader_idx=0)
    return trainer.strategy.batch_to_device(batch, dataloader_idx=0)


def _repeatable(loader: Any) -> Any:
    """Returns the loader; raises TypeError if it is an iterator, which can be read only once."""
    if hasattr(loader, "__next__"):
        raise TypeError(
            f"Training data must be a loader that can be read again, got {type(loader).__name__}, "
            "which would lose its first batches before training starts: give the Trainer a "
            "DataLoader, or call segloss.training.norms.compute_norms before training."
        )
    return loader


def _check_not_sharded(model: Any) -> None:
    """Raises TypeError for a sharded model, since a shard can't compute alone."""
    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        raise TypeError(
            "The model must not be sharded by FullyShardedDataParallel while norms are computed: "
            "call segloss.compute_norms before Trainer.fit, or take the norms from a "
            "checkpoint of a short run with strategy='ddp'."
        )
