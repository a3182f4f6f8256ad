"""Training with a `MultiLoss`: its norms, the loop, and checkpoints.

It works with any model that takes `batch["image"]` and returns the prediction "seg" of the losses,
or a mapping of all their predictions. Data, model and metrics are left to the examples.

The batches and random numbers of an epoch depend only on the seed and the epoch, and so do the
learning rate and the loss weights. A run that continues from a checkpoint therefore gives exactly
the same results as without the interruption.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, RandomSampler
from tqdm import tqdm

from example_parts.configuration import differences
from example_parts.data_parallel import ALONE, Ranks, ShareOfBatches
from example_parts.interruption import check_interruption
from segloss import MultiLoss, build_loss, compute_norms, without_trace

Batch = dict[str, Tensor]

Batches = Callable[[int], DataLoader[Batch]]
"""A function from the number of an epoch to its batches."""

Record = dict[str, Any]
"""The record of a training step; see `train_epoch`."""

TERMINAL_PAUSE, LOG_PAUSE = 0.1, 30.0
"""Seconds between two lines of a progress bar, in a terminal, and in a file."""

OPTIMIZERS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


@dataclass
class TrainingSettings:
    """The settings of the training.

    Attributes:
        epochs: The number of passes through the training data.
        batch_size: The number of samples per step, over all processes.
        learning_rate: One value per entry of `learning_rate_epochs`, interpolated linearly and
            constant outside, like the weights of a `MultiLoss`. It does not depend on `epochs`, so
            that you can extend a run.
        learning_rate_epochs: The epochs of these values, in increasing order.
        optimizer: "adamw" or "sgd".
        weight_decay: The weight decay of the optimiser.
        device: The device for the training, such as "cpu" or "cuda".
    """

    epochs: int
    batch_size: int
    learning_rate: list[float]
    learning_rate_epochs: list[float]
    optimizer: str
    weight_decay: float
    device: str

    def __post_init__(self) -> None:
        check_at_least("training.epochs", self.epochs, 1)
        check_at_least("training.batch_size", self.batch_size, 1)
        check_at_least("training.weight_decay", self.weight_decay, 0)
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"training.optimizer must be one of {', '.join(OPTIMIZERS)}, got "
                f"{self.optimizer!r}."
            )
        _check_schedule(self.learning_rate, self.learning_rate_epochs)
        _check_device(self.device)

    def learning_rate_at(self, epoch: float) -> float:
        """Returns the learning rate at an epoch, which may be a fraction."""
        return float(np.interp(epoch, self.learning_rate_epochs, self.learning_rate))


@dataclass
class Run:
    """Everything that changes during training, and so belongs in a checkpoint.

    Attributes:
        model: The network.
        optimizer: Its optimiser.
        loss: The loss, with its norms and current weights.
        settings: All settings of the run, as plain values.
        epoch: The number of completed epochs.
        history: A record of each step.
        started: The start of the run on the clock of `time.perf_counter`, without interruptions.
        ranks: The processes that train.
        network: The network for the training, in all processes.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: MultiLoss
    settings: dict[str, Any]
    epoch: int = 0
    history: list[Record] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    ranks: Ranks = field(default_factory=Ranks)

    def __post_init__(self) -> None:
        self.network = self.ranks.parallel(self.model)

    @property
    def seconds(self) -> float:
        """The duration of the run so far."""
        return time.perf_counter() - self.started

    def save(self, path: Path) -> None:
        """Writes the checkpoint in the first process, completely or not at all."""
        if not self.ranks.is_first:
            return
        state = {
            "settings": self.settings,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss": self.loss.state_dict(),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def resume(self, path: Path) -> None:
        """Restores the state of a checkpoint.

        Raises:
            FileNotFoundError: There is no checkpoint.
            ValueError: The file is not a checkpoint, or its run had other settings.
        """
        state = _load_checkpoint(path)
        _check_same_settings(state["settings"], self.settings, path)
        _check_epochs_left(state["epoch"], self.settings, path)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss.load_state_dict(state["loss"])
        self.epoch = state["epoch"]
        self.history = state["history"]
        self.started = time.perf_counter() - state["seconds"]


def new_run(
    model: nn.Module,
    loss_params: dict[str, Any],
    settings: TrainingSettings,
    all_settings: dict[str, Any],
    ranks: Ranks | None = None,
) -> Run:
    """Returns a run before its first step.

    Args:
        model: The network, initialised from its seed.
        loss_params: The section of the config.
        settings: The settings of the training.
        all_settings: All settings, for the checkpoint.
        ranks: The processes that train; None: this one.
    """
    ranks = Ranks(device=settings.device) if ranks is None else ranks
    torch.use_deterministic_algorithms(True, warn_only=True)
    model = model.to(memory_format=torch.channels_last).to(ranks.device)
    optimizer = OPTIMIZERS[settings.optimizer](
        model.parameters(), lr=settings.learning_rate_at(0), weight_decay=settings.weight_decay
    )
    loss = build_multi_loss(loss_params).to(ranks.device)
    return Run(model, optimizer, loss, all_settings, ranks=ranks)


def predictions(model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    """Returns the model's predictions for a batch, by the keys of the losses."""
    output = model(batch["image"])
    return output if isinstance(output, Mapping) else {"seg": output}


def build_multi_loss(loss_params: dict[str, Any]) -> MultiLoss:
    """Returns the `MultiLoss` of the section `loss_params` of a config."""
    loss = build_loss({"loss_params": loss_params})
    if not isinstance(loss, MultiLoss):
        raise TypeError(f"loss_params must describe a MultiLoss, got a {type(loss).__name__}.")
    return loss


def seed_of(*keys: int) -> int:
    """Returns a seed that depends on the keys, such as a run's seed, an epoch and a sample."""
    return int(np.random.SeedSequence(keys).generate_state(1)[0])


def shuffled(
    dataset: Dataset[Batch], batch_size: int, seed: int, ranks: Ranks = ALONE
) -> DataLoader[Batch]:
    """Returns this process's share of the batches, in an order that depends only on the seed."""
    generator = torch.Generator().manual_seed(seed)
    order = RandomSampler(cast(Sized, dataset), generator=generator)
    share = ShareOfBatches(order, batch_size, ranks)
    return DataLoader(dataset, batch_sampler=share, generator=generator)


def take_norms(
    model: nn.Module, loss: MultiLoss, batches: Iterable[Batch], *, quiet: bool = False
) -> None:
    """Sets the norm of each loss to its average over the batches, before any training.

    The model runs in training mode, and stays unchanged. If the loss does not normalise its parts,
    this function does nothing. A bar counts the samples, unless it is `quiet`.
    """
    if not loss.normalize_losses:
        return
    with without_trace(model), _bar(desc="norms", unit=" samples", disable=quiet) as bar:
        model.train()
        moved = (to_device(batch, model) for batch in batches)
        pairs = ((predictions(model, batch), batch) for batch in moved)

        def show(samples: int) -> None:
            check_interruption()
            bar.update(samples)

        compute_norms(loss, pairs, on_samples=show)


def train(
    run: Run, batches: Batches, settings: TrainingSettings, seed: int, checkpoint: Path
) -> None:
    """Trains the remaining epochs, with a progress bar and a checkpoint after each epoch."""
    try:
        _train(run, batches, settings, seed, checkpoint)
    except KeyboardInterrupt:
        raise SystemExit(
            f"Interrupted. The same command with --resume continues after epoch {run.epoch}."
        ) from None


def _train(
    run: Run, batches: Batches, settings: TrainingSettings, seed: int, checkpoint: Path
) -> None:
    steps = len(batches(0))
    quiet = not run.ranks.is_first
    total, done = settings.epochs * steps, run.epoch * steps
    with _bar(total=total, initial=done, unit="step", disable=quiet) as bar:
        for epoch in range(run.epoch, settings.epochs):
            bar.set_description(f"epoch {epoch + 1}/{settings.epochs}")
            torch.manual_seed(seed_of(seed, epoch))
            for record in train_epoch(run, batches(epoch), settings):
                check_interruption()
                run.history.append(record)
                losses = {name: f"{value:.3f}" for name, value in record["losses"].items()}
                bar.set_postfix(losses, refresh=False)
                bar.update()
            run.epoch = epoch + 1
            run.save(checkpoint)


def _bar(**options: Any) -> Any:
    """Returns a progress bar, which writes few lines if they go into a file."""
    pause = TERMINAL_PAUSE if sys.stderr.isatty() else LOG_PAUSE
    return tqdm(mininterval=pause, **options)


def train_epoch(
    run: Run, batches: DataLoader[Batch], settings: TrainingSettings
) -> Iterator[Record]:
    """Trains for an epoch, and yields a record of each step.

    A record has the `epoch` as a fraction, `learning_rate` and `total`, the `losses` and `weights`
    by the names of the losses, and their `terms` by names such as "seg.dice".
    """
    run.model.train()
    for step, batch in enumerate(batches):
        now = run.epoch + step / len(batches)
        learning_rate = settings.learning_rate_at(now)
        set_learning_rate(run.optimizer, learning_rate)
        run.loss.set_epoch(now)

        batch = to_device(batch, run.model)
        total, losses, info = run.loss(predictions(run.network, batch), batch)
        run.optimizer.zero_grad()
        total.backward()
        run.optimizer.step()

        yield {
            "epoch": now,
            "learning_rate": learning_rate,
            "total": total.item(),
            "losses": {name: value.item() for name, value in losses.items()},
            "weights": dict(zip(losses, run.loss.current_weights.tolist(), strict=True)),
            "terms": scalars(info),
        }


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Sets the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def to_device(batch: Batch, model: nn.Module) -> Batch:
    """Returns the batch on the device of the model."""
    device = next(model.parameters()).device
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}


def scalars(info: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Returns the values of the losses' terms, without those of classes: {"seg.dice": 0.1}."""
    return {
        f"{loss}.{term}": value.item()
        for loss, terms in info.items()
        for term, value in terms.items()
        if isinstance(value, Tensor) and "/" not in term
    }


def check_at_least(name: str, value: float, least: float) -> None:
    """Raises ValueError if a setting is below its minimum."""
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")


def _check_schedule(values: list[float], epochs: list[float]) -> None:
    if not values or len(values) != len(epochs):
        raise ValueError(
            "training.learning_rate must have one value per entry of "
            f"training.learning_rate_epochs, got {values} for {epochs}."
        )
    if any(left >= right for left, right in itertools.pairwise(epochs)):
        raise ValueError(f"training.learning_rate_epochs must increase, got {epochs}.")
    for value in values:
        check_at_least("training.learning_rate", value, 0)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"training.device must be a device of this machine, such as cpu, got {device!r}."
        ) from error


def _load_checkpoint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is nothing to resume: no checkpoint at {str(path)!r}. Run without --resume "
            "first, or name the folder of the earlier run with --output."
        )
    state = None
    if zipfile.is_zipfile(path):
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not (isinstance(state, dict) and "settings" in state):
        raise ValueError(
            f"{path} is not a checkpoint of an example, or is damaged: run with --overwrite "
            "in place of --resume."
        )
    return state


def _check_same_settings(earlier: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    """Raises ValueError if settings other than the number of epochs differ from the checkpoint."""
    changed = differences(earlier, now)
    changed.pop("training.epochs", None)
    if changed:
        listed = "; ".join(f"{name} was {old}, is {new}" for name, (old, new) in changed.items())
        raise ValueError(
            f"{path} belongs to a run with other settings: {listed}. Resume with the same config "
            "and overrides (only training.epochs may change), or run with --overwrite in place of "
            "--resume."
        )


def _check_epochs_left(done: int, settings: dict[str, Any], path: Path) -> None:
    epochs = settings["training"]["epochs"]
    if done > epochs:
        raise ValueError(
            f"{path} has {done} completed epochs, but training.epochs is {epochs}: expected at "
            f"least {done}."
        )
