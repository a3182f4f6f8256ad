"""Norms before training: they are there, and nothing else shows it."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rich
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from segloss import (
    ComputeSegGrads,
    CrossfieldAlignLoss,
    LossWrapper,
    MultiLoss,
    SegEdgeInteriorLoss,
    SegLoss,
)
from segloss.training.lightning import (
    ComputeWeightNormLossesCallback,
    FrameFieldComputeWeightNormLossesCallback,
    LossSchedule,
)
from tests.training.lightning.lightning_runs import Noise, lit_module, loader, multi_loss, trainer


def fitted(package: ModuleType, callbacks: list[Any], module: Any = None, **options: Any) -> Any:
    torch.manual_seed(3)
    data = options.pop("data", None)
    module = lit_module(package) if module is None else module
    torch.manual_seed(4)
    trainer(package, callbacks, **options).fit(module, loader() if data is None else data)
    return module


def norms(module: Any) -> list[float]:
    return [loss.norm.item() for loss in module.loss.loss_funcs]


def counts(module: Any) -> list[float]:
    return [loss.norm_count.item() for loss in module.loss.loss_funcs]


def test_it_is_a_callback_of_the_package_of_the_trainer(package: ModuleType) -> None:
    callback = ComputeWeightNormLossesCallback()
    assert isinstance(callback, package.Callback)
    assert isinstance(LossSchedule(), package.callbacks.Callback)


def test_norms_are_averages_over_batches(package: ModuleType) -> None:
    module, given = lit_module(package), []

    def loss_inputs(batch: Any) -> tuple[Any, Any]:
        given.append((module(batch["image"]), batch))
        return given[-1]

    module.loss_inputs = loss_inputs
    fitted(package, [ComputeWeightNormLossesCallback(8), LossSchedule()], module)
    raw = [[loss(*inputs, False)[0] for loss in multi_loss().loss_funcs] for inputs in given]
    assert counts(module) == [9, 9]
    assert norms(module) == pytest.approx(np.mean(raw, axis=0).tolist(), rel=1e-6)


def tensors(module: Any) -> dict[str, Tensor]:
    """All parameters and buffers, but for the norms of losses."""
    found = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: value for name, value in found.items() if ".norm" not in name}


class Snapshot:
    """What there is at the first training step."""

    def __new__(cls, package: ModuleType) -> Any:
        class Taking(package.Callback):  # type: ignore[name-defined, misc]
            def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
                if trainer.current_epoch > 0:
                    return
                self.state = copy.deepcopy(tensors(pl_module))
                self.gradients = [parameter.grad for parameter in pl_module.parameters()]
                self.modes = [module.training for module in pl_module.modules()]
                self.random = [torch.get_rng_state().tolist(), random.getstate()]
                self.random.append(np.random.get_state()[1].tolist())  # noqa: NPY002
                self.attributes = set(vars(pl_module))

        return Taking()


@pytest.mark.parametrize("workers", [0, 1])
def test_it_leaves_no_trace(package: ModuleType, workers: int) -> None:
    runs = []
    for callbacks in ([], [ComputeWeightNormLossesCallback(9)]):
        snapshot = Snapshot(package)
        persistent: Any = {"num_workers": workers, "persistent_workers": workers > 0}
        own = torch.Generator().manual_seed(8)
        module = lit_module(package, multi_loss(normalize_losses=bool(callbacks)))
        module.model[1].eval()
        fitted(
            package,
            [*callbacks, LossSchedule(), snapshot],
            module,
            data=loader(generator=own, **persistent),
            max_epochs=1 + (workers == 0),
        )
        runs.append((snapshot, module, own.get_state().tolist()))
    (before, plain, own_before), (after, normed, own_after) = runs
    assert counts(normed) == [9, 9]
    assert normed.calls == plain.calls + 3
    assert normed.seen == plain.seen  # the order of samples, and the dataset's own random numbers
    assert own_after == own_before
    assert after.gradients == before.gradients == [None] * len(before.gradients)
    assert after.random == before.random
    assert after.modes == before.modes
    assert after.attributes == before.attributes
    assert {name for name in after.state if "running" in name}
    assert all(torch.equal(value, before.state[key]) for key, value in after.state.items())


def test_a_run_without_normalisation_goes_as_if_there_were_no_callback(package: ModuleType) -> None:
    plain, module = (
        fitted(package, callbacks, lit_module(package, multi_loss(normalize_losses=False)))
        for callbacks in (
            [LossSchedule()],
            [ComputeWeightNormLossesCallback(), LossSchedule()],
        )
    )
    assert module.totals == plain.totals
    assert module.calls == plain.calls
    assert counts(module) == [0, 0]


def test_norms_come_back_from_a_checkpoint(package: ModuleType, tmp_path: Path) -> None:
    callbacks = [ComputeWeightNormLossesCallback(6), LossSchedule()]
    first = lit_module(package)
    run = trainer(package, callbacks)
    run.fit(first, loader())
    run.save_checkpoint(tmp_path / "first.ckpt")

    second = lit_module(package)
    run = trainer(package, [ComputeWeightNormLossesCallback(3), LossSchedule()], max_epochs=2)
    run.fit(second, loader(), ckpt_path=tmp_path / "first.ckpt")
    assert norms(second) == norms(first)
    assert counts(second) == [6, 6]
    assert second.calls == 4

    torch.save(second.loss.state_dict(), tmp_path / "loss.pt")
    loss = multi_loss()
    loss.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    assert [each.norm.item() for each in loss.loss_funcs] == norms(first)


def test_a_run_that_began_without_norms_goes_on_without(
    package: ModuleType, tmp_path: Path
) -> None:
    run = trainer(package, [LossSchedule()])
    run.fit(lit_module(package), loader())
    run.save_checkpoint(tmp_path / "without.ckpt")
    module = lit_module(package)
    run = trainer(package, [ComputeWeightNormLossesCallback(), LossSchedule()], max_epochs=2)
    run.fit(module, loader(), ckpt_path=tmp_path / "without.ckpt")
    assert counts(module) == [0, 0]


def test_a_second_fit_keeps_the_norms(package: ModuleType) -> None:
    module = fitted(package, [ComputeWeightNormLossesCallback(6), LossSchedule()])
    before = norms(module)
    fitted(package, [ComputeWeightNormLossesCallback(3), LossSchedule()], module)
    assert norms(module) == before


def test_a_loss_by_itself_is_normalised_too(package: ModuleType) -> None:
    class Alone(LossWrapper):
        current_weights = torch.ones(1)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return *super().forward(*args, **kwargs), {}

    module = fitted(
        package,
        [ComputeWeightNormLossesCallback(3)],
        lit_module(package, Alone(nn.L1Loss())),
    )
    assert module.loss.norm_count.item() == 3


def test_the_module_may_say_what_the_losses_get(package: ModuleType) -> None:
    module = lit_module(package)
    given = []

    def loss_inputs(batch: Any) -> tuple[Any, Any]:
        given.append((torch.is_grad_enabled(), module.training))
        return {"seg": module(batch["image"]) * 0}, batch

    module.loss_inputs = loss_inputs
    fitted(package, [ComputeWeightNormLossesCallback(12), LossSchedule()], module)
    assert norms(module)[1] == pytest.approx(0.5, abs=0.1)  # |0 - mask|
    assert given == [(False, True)] * 4


def test_pairs_of_image_and_target_are_understood(package: ModuleType) -> None:
    class Pairs(Noise):
        def __getitem__(self, index: int) -> Any:
            batch = super().__getitem__(index)
            return batch["image"], batch["gt_polygons_image"]

    module = lit_module(package)
    module.training_step = lambda batch, batch_idx: module.loss(module(batch[0]), batch[1])[0]
    callbacks = [ComputeWeightNormLossesCallback(4), LossSchedule()]
    fitted(package, callbacks, module, data=DataLoader(Pairs(), 2))
    assert counts(module) == [4, 4]


def test_hooks_of_the_batch_run_and_the_precision_is_that_of_training(package: ModuleType) -> None:
    module = lit_module(package)
    kinds = []

    def loss_inputs(batch: Any) -> tuple[Any, Any]:
        prediction = module(batch["image"])
        kinds.append((prediction.dtype, batch["mine"]))
        return prediction, batch

    module.loss_inputs = loss_inputs
    module.on_after_batch_transfer = lambda batch, _: {**batch, "mine": "moved"}
    callbacks = [ComputeWeightNormLossesCallback(3), LossSchedule()]
    fitted(package, callbacks, module, precision="bf16-mixed")
    assert kinds == [(torch.bfloat16, "moved")]


def test_several_loaders_are_read_together(package: ModuleType) -> None:
    module = lit_module(package)
    module.loss_inputs = lambda batch: (module(batch["a"]["image"]), batch["a"])
    module.training_step = lambda batch, batch_idx: module.loss(*module.loss_inputs(batch))[0]
    data = {"a": loader(6), "b": loader(3)}
    fitted(package, [ComputeWeightNormLossesCallback(), LossSchedule()], module, data=data)
    assert counts(module) == [6, 6]


def test_the_mask_is_the_target_of_batches_without_the_losses_keys(package: ModuleType) -> None:
    module, callback = lit_module(package), ComputeWeightNormLossesCallback()
    mask, weights = torch.ones(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    batch = {"image": torch.rand(2, 1, 4, 4), "mask": mask, "seg_loss_weights": weights}
    gt_batch = callback.loss_inputs(module, batch)[1]
    assert gt_batch["gt_polygons_image"] is mask
    assert gt_batch["seg_loss_weights"] is weights
    with_key = {**batch, "gt_polygons_image": torch.zeros(2, 1, 4, 4)}
    assert callback.loss_inputs(module, with_key)[1] is with_key
    module.loss = SegLoss(gt_key="mask")
    assert callback.loss_inputs(module, batch)[1] is batch


def test_limits_of_the_trainer_hold(package: ModuleType) -> None:
    callbacks = [ComputeWeightNormLossesCallback(), LossSchedule()]
    assert counts(fitted(package, callbacks, limit_train_batches=2)) == [6, 6]


def test_data_without_a_length_serves(package: ModuleType) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            noise = Noise(5)
            return (noise[i] for i in range(5))

    callbacks = [ComputeWeightNormLossesCallback(), LossSchedule()]
    module = fitted(package, callbacks, data=DataLoader(Stream(), 2))
    assert counts(module) == [5, 5]
    assert [seen[0] for seen in module.seen] == [[0, 1], [2, 3], [4]]


def nothing_but(loss: Any) -> Any:
    return lambda package: lit_module(package, loss)


def with_inputs(result: Any) -> Any:
    def make(package: ModuleType) -> Any:
        module = lit_module(package)
        module.loss_inputs = lambda batch: result
        return module

    return make


class Nameless(Noise):
    def __getitem__(self, index: int) -> Any:
        return {"picture": torch.zeros(1, 4, 4)}


@pytest.mark.parametrize(
    ("make", "data", "arguments", "error", "words"),
    [
        (nothing_but(nn.L1Loss()), None, {}, ValueError, "must have a MultiLoss or a Loss among"),
        (lit_module, None, {"min_samples": 13}, ValueError, r"min_samples=13 samples .* got 12"),
        (lit_module, Nameless(), {}, TypeError, "with the keys 'picture': give Lit a method"),
        (with_inputs(3), None, {}, TypeError, "Lit.loss_inputs must return .*, got int"),
    ],
)
def test_mistakes_are_named(
    make: Any, data: Any, arguments: Any, error: type[Exception], words: str, package: ModuleType
) -> None:
    with pytest.raises(error, match=words):
        fitted(
            package,
            [ComputeWeightNormLossesCallback(**arguments)],
            make(package),
            data=None if data is None else DataLoader(data, 2),
        )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_samples": 0}, ValueError, "max_samples must be at least 1"),
        ({"min_samples": 0.5}, TypeError, "min_samples must be an int"),
        ({"max_samples": 3, "min_samples": 4}, ValueError, "min_samples must be at most"),
    ],
)
def test_arguments_are_checked_at_once(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ComputeWeightNormLossesCallback(**arguments)


def test_data_that_can_be_read_once_is_refused(package: ModuleType) -> None:
    with pytest.raises(TypeError, match="a loader that can be read again, got list_iterator"):
        fitted(package, [ComputeWeightNormLossesCallback()], data=iter(list(loader())))


class FrameFields(Noise):
    def __getitem__(self, index: int) -> Any:
        batch = super().__getitem__(index)
        masks = batch["gt_polygons_image"].expand(2, 4, 4)
        return {**batch, "gt_polygons_image": masks, "gt_crossfield_angle": torch.ones(1, 4, 4)}


def frame_field_module(package: ModuleType) -> Any:
    losses = [CrossfieldAlignLoss("align"), SegEdgeInteriorLoss("edges")]
    module = lit_module(package, MultiLoss(losses, [1, 1], pre_processes=[ComputeSegGrads()]))
    module.model = nn.Conv2d(1, 6, 1)

    def forward(image: Tensor) -> dict[str, Tensor]:
        seg, crossfield = module.model(image).split([2, 4], 1)
        return {"seg": seg.sigmoid(), "crossfield": crossfield}

    module.forward = forward
    return module


def test_norms_of_frame_fields(package: ModuleType) -> None:
    callback = FrameFieldComputeWeightNormLossesCallback(6)
    data = DataLoader(FrameFields(), 3)
    module = fitted(package, [callback], frame_field_module(package), data=data)
    assert counts(module) == [6, 6]
    assert all(0 < norm != 1 for norm in norms(module))


def test_a_frame_field_needs_mappings(package: ModuleType) -> None:
    callback = FrameFieldComputeWeightNormLossesCallback()
    words = "pred_batch must be a mapping for frame-field losses, got Tensor: Lit must return"
    with pytest.raises(TypeError, match=words):
        fitted(package, [callback])


@pytest.mark.parametrize("bar", ["RichProgressBar", "TQDMProgressBar", None])
def test_a_progress_bar_shows_if_the_trainer_has_one(
    bar: str | None,
    package: ModuleType,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich shows nothing that is to vanish in a file
    rich.reconfigure()
    callbacks: list[Any] = [ComputeWeightNormLossesCallback(6), LossSchedule()]
    if bar is not None:
        callbacks.append(getattr(package.callbacks, bar)())
    fitted(package, callbacks, enable_progress_bar=bar is not None)
    shown = capfd.readouterr()
    assert ("Norms of losses" in shown.out + shown.err) == (bar is not None)
