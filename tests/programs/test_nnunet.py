"""nnU-Net v2 with segloss: its own trainer takes real steps, with nnU-Net's loss and with others.

`nnUNetv2_train` itself is run once, on data that nnU-Net's preprocessor made from hand-written
plans. nnU-Net insists on NCCL and CUDA for several processes. Here they have Gloo and a CPU: its
trainer is made and initialised as its command does it, and `DistributedDataParallel` gets no
device.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

pytest.importorskip("nnunetv2")
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from segloss import CompoundLoss, DeepSupervision, LossWrapper, MultiLoss, SegLoss
from segloss.terms import CrossEntropy, Dice
from segloss.training.nnunet import SegLossTrainer
from tests.programs.nnunet_data import LABELS, dataset_json, label_maps, plans, write_dataset
from tests.support.ranks import on_ranks

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/programs/nnunet.py"
SETTINGS = ("plain", "ignore", "regions", "regions and ignore")

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of nnU-Net and its packages


def environment(folder: Path) -> dict[str, str]:
    folders = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    return {**folders, "nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[SegLossTrainer]:
    """The trainer of the example, as nnU-Net finds it in a user's folder."""
    trainers = folder / "trainers"
    trainers.mkdir()
    shutil.copy(EXAMPLE, trainers / "focal_trainer.py")
    monkeypatch.setenv("nnUNet_extTrainer", str(trainers))
    found: type[SegLossTrainer] = recursive_find_trainer_class_by_name("FocalTrainer")
    return found


def make(
    trainer: type, setting: str = "plain", *, dims: int = 2, deep: bool = True, **planned: Any
) -> Any:
    """Makes a trainer as `nnUNetv2_train` does."""
    made = trainer(
        plans={**plans(dims, **planned), "continue_training": False},
        configuration=f"{dims}d",
        fold=0,
        dataset_json=dataset_json(setting),
        device=torch.device("cpu"),
    )
    made.enable_deep_supervision = deep
    return made


def short(trainer: Any, epochs: int = 3) -> Any:
    trainer.num_epochs, trainer.num_val_iterations_per_epoch = epochs, 4
    trainer.num_iterations_per_epoch = 20
    trainer.logger.plot_progress_png = lambda folder: None  # a second for each epoch
    return trainer


def seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # nnU-Net's augmentation uses it


def trained(trainer: Any) -> dict[str, list[float]]:
    """Trains as nnU-Net does, and returns its log."""
    seeded()
    trainer.run_training()
    log: dict[str, list[float]] = trainer.logger.local_logger.my_fantastic_logging
    return log


# nnU-Net's own loss


def targets_of(trainer: Any, labels: Tensor) -> Tensor | list[Tensor]:
    """Targets for label maps (N, 1, *spatial), by nnU-Net's own transforms."""
    manager = trainer.label_manager
    transforms = trainer.get_validation_transforms(
        trainer._get_deep_supervision_scales(),
        foreground_labels=manager.foreground_labels,
        regions=manager.foreground_regions if manager.has_regions else None,
        ignore_label=manager.ignore_label,
    )
    image = torch.zeros(1, *labels.shape[2:])
    samples = [
        transforms(image=image, segmentation=each.to(torch.int16))["segmentation"]
        for each in labels
    ]
    if isinstance(samples[0], list):
        return [torch.stack(scale) for scale in zip(*samples, strict=True)]
    return torch.stack(samples)


def outputs_for(trainer: Any, targets: Any, scale: float = 2.0) -> Any:
    heads = trainer.label_manager.num_segmentation_heads
    sizes = [t.shape for t in targets] if isinstance(targets, list) else [targets.shape]
    outputs = [
        (scale * torch.randn(size[0], heads, *size[2:], dtype=torch.float64)).requires_grad_()
        for size in sizes
    ]
    return outputs if isinstance(targets, list) else outputs[0]


def value_and_gradients(loss: nn.Module, outputs: Any, targets: Any) -> tuple[Tensor, list[Tensor]]:
    value = loss(outputs, targets)
    leaves = outputs if isinstance(outputs, list) else [outputs]
    gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    return value, [
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(leaves, gradients, strict=True)
    ]


def assert_same_loss(ours: Any, theirs: Any, labels: Tensor, scale: float = 2.0) -> None:
    targets = targets_of(theirs, labels)
    outputs = outputs_for(theirs, targets, scale)
    value, gradients = value_and_gradients(ours._build_loss(), outputs, targets)
    expected, expected_gradients = value_and_gradients(theirs._build_loss(), outputs, targets)
    assert abs(float(value) - float(expected)) <= 1e-6 * max(1, abs(float(expected)))
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        assert (gradient - reference).abs().max() <= 1e-6 * reference.abs().max()


BATCHES: dict[str, Callable[[Tensor], Tensor]] = {
    "ordinary": lambda labels: labels,
    "background alone": torch.zeros_like,
    "one class": lambda labels: labels.clamp(max=1),
    "a sample ignored": lambda labels: labels.index_fill(0, torch.tensor(1), int(labels.max())),
    "all ignored": lambda labels: torch.full_like(labels, int(labels.max())),
    "one sample": lambda labels: labels[:1],
}
"""Label maps from random ones. The largest label is ignored, if one is."""


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("setting", [*SETTINGS, "many"])
def test_the_default_loss_is_nnunets_in_value_and_gradient(
    setting: str, deep: bool, batch_dice: bool, dims: int
) -> None:
    settings = {"setting": setting, "deep": deep, "batch_dice": batch_dice, "dims": dims}
    ours, theirs = make(SegLossTrainer, **settings), make(nnUNetTrainer, **settings)
    for change in BATCHES.values():
        assert_same_loss(ours, theirs, change(label_maps(setting, dims)))


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_default_loss_is_nnunets_for_confident_networks(setting: str) -> None:
    ours, theirs = make(SegLossTrainer, setting), make(nnUNetTrainer, setting)
    assert_same_loss(ours, theirs, label_maps(setting, 2), scale=30.0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_training_runs_as_with_nnunets_loss(setting: str, folder: Path) -> None:
    write_dataset(folder, setting)
    ours, theirs = (
        trained(short(make(each, setting), 2)) for each in (SegLossTrainer, nnUNetTrainer)
    )
    for key in ("train_losses", "val_losses", "mean_fg_dice"):
        np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=1e-5)
    assert ours["train_losses"][1] < ours["train_losses"][0] - 0.3
    assert ours["mean_fg_dice"][1] > 0.8


# Losses of a user


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_example_trains(setting: str, example: type, folder: Path) -> None:
    write_dataset(folder, setting)
    log = trained(short(make(example, setting)))
    assert log["train_losses"][-1] < 0.6 * log["train_losses"][0]
    assert log["mean_fg_dice"][-1] > max(0.9, log["mean_fg_dice"][0])


def test_a_term_with_nnunets_region_options_is_nnunets_loss_plus_1() -> None:
    class Plain(SegLossTrainer):
        def build_segloss(self) -> Any:
            return CrossEntropy() + Dice(smooth=1e-5, **self.region_options)

    theirs, ours = make(nnUNetTrainer), make(Plain)
    targets = targets_of(theirs, label_maps("plain", 2))
    outputs = outputs_for(theirs, targets)
    expected = 1 + theirs._build_loss()(outputs, targets)
    assert abs(float(ours._build_loss()(outputs, targets)) - float(expected)) <= 1e-6


def with_loss(build: Callable[[Any], Any]) -> type[SegLossTrainer]:
    class Trainer(SegLossTrainer):
        def build_segloss(self) -> Any:
            return build(self)

    return Trainer


TERMS = 0.3 * CrossEntropy() + 0.7 * Dice()


def seg_loss(trainer: Any) -> SegLoss:
    if trainer.label_manager.has_regions:
        return SegLoss(from_logits=True, terms=TERMS, gt_key="labels")
    return SegLoss(n_classes=3, terms=TERMS, gt_key="labels")


def compound_loss(trainer: Any) -> CompoundLoss:
    regions = trainer.label_manager.has_regions
    return CompoundLoss(TERMS, "multilabel" if regions else "multiclass")


LOSSES: dict[str, Callable[[Any], Any]] = {
    "SegLoss": seg_loss,
    "CompoundLoss": compound_loss,
    "LossWrapper": lambda trainer: LossWrapper(compound_loss(trainer), weight_key="importance"),
    "MultiLoss": lambda trainer: MultiLoss([seg_loss(trainer)], [1.0]),
}


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_object_ignores_and_has_scales_as_its_terms_do(
    loss: str, setting: str, deep: bool
) -> None:
    terms = make(with_loss(lambda trainer: TERMS), setting, deep=deep)
    trainer = make(with_loss(LOSSES[loss]), setting, deep=deep)
    targets = targets_of(trainer, label_maps(setting, 2))
    outputs = outputs_for(trainer, targets)
    value, gradients = value_and_gradients(trainer._build_loss(), outputs, targets)
    expected, expected_gradients = value_and_gradients(terms._build_loss(), outputs, targets)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradients, expected_gradients)


def test_a_plain_loss_of_labels_ignores_by_itself() -> None:
    cross_entropy = nn.CrossEntropyLoss(ignore_index=3)
    trainer = make(with_loss(lambda trainer: cross_entropy), "ignore", deep=False)
    targets = targets_of(trainer, label_maps("ignore", 2))
    outputs = outputs_for(trainer, targets)
    value = trainer._build_loss()(outputs, targets)
    torch.testing.assert_close(value, cross_entropy(outputs, targets.squeeze(1).long()))
    forgetful = make(with_loss(lambda trainer: nn.CrossEntropyLoss()), "ignore", deep=False)
    with pytest.raises(ValueError, match="set ignore_index=3"):
        forgetful._build_loss()(outputs, targets)


def test_a_method_without_return_is_named() -> None:
    with pytest.raises(TypeError, match=r"build_segloss\(\) must return a loss or terms, got None"):
        make(with_loss(lambda trainer: None), "plain")._build_loss()


def test_a_loss_that_would_learn_ignored_pixels_as_background_is_refused() -> None:
    trainer = with_loss(lambda trainer: nn.BCEWithLogitsLoss())
    with pytest.raises(TypeError, match="'BCEWithLogitsLoss' must take pixel weights"):
        make(trainer, "regions and ignore")._build_loss()
    make(trainer, "regions")._build_loss()


def test_the_weights_of_a_multi_loss_follow_nnunets_epochs(folder: Path) -> None:
    def scheduled(trainer: Any) -> MultiLoss:
        region = SegLoss("region", n_classes=3, bce_coef=0, dice_coef=1)
        pixel = SegLoss("pixel", n_classes=3, bce_coef=1, dice_coef=0)
        return MultiLoss([pixel, region], [1.0, [0.0, 1.0]], epoch_thresholds=[0, 2])

    write_dataset(folder, "plain")
    trainer = short(make(with_loss(scheduled)))
    trained(trainer)
    multi = trainer.loss.loss
    assert multi.current_weights.tolist() == [1.0, 1.0]
    assert all(isinstance(each, DeepSupervision) for each in multi.loss_funcs)


# How nnU-Net finds it


def test_nnunet_finds_every_trainer_that_a_file_of_the_folder_has(example: type) -> None:
    assert example.__name__ == "FocalTrainer"
    assert recursive_find_trainer_class_by_name("SegLossTrainer") is SegLossTrainer
    with pytest.raises(RuntimeError, match="Could not find requested nnunet trainer"):
        recursive_find_trainer_class_by_name("SegLosTrainer")


def test_nnunets_command_trains_and_validates_the_example(example: type, folder: Path) -> None:
    write_dataset(folder, "regions and ignore")
    (folder / "trainers/short_trainer.py").write_text(
        "import numpy, torch\n"
        "from focal_trainer import FocalTrainer\n\n\n"
        "class ShortTrainer(FocalTrainer):\n"
        "    def initialize(self):\n"
        "        torch.manual_seed(0)\n"
        "        numpy.random.seed(0)\n"
        "        self.num_epochs, self.num_iterations_per_epoch = 3, 20\n"
        "        self.num_val_iterations_per_epoch = 4\n"
        "        super().initialize()\n"
    )
    train = str(Path(sys.executable).with_name("nnUNetv2_train"))
    run = subprocess.run(  # noqa: S603  # the test's own words
        [train, "1", "2d", "0", "-tr", "ShortTrainer", "-device", "cpu"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    dice = float(run.stdout.split("Mean Validation Dice:")[1].split()[0])
    assert dice > 0.5
    results = folder / "results/Dataset001_Squares/ShortTrainer__nnUNetPlans__2d/fold_0"
    assert (results / "checkpoint_final.pth").exists()


# Compilers


@pytest.mark.parametrize("setting", ["regions and ignore"])
def test_a_compiled_network_and_a_compiled_loss_take_the_same_step(
    setting: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nnU-Net compiles networks on GPUs only; its CPU build of kernels is left out for its time
    write_dataset(folder, setting)
    batches: list[Any] = []

    def loss_of_step(compiles: bool) -> float:
        seeded()
        trainer = make(SegLossTrainer, setting)
        monkeypatch.setattr(trainer, "_do_i_compile", lambda: compiles)
        trainer.initialize()
        if compiles:
            trainer.loss = torch.compile(trainer.loss, fullgraph=True)
        trainer.set_deep_supervision_enabled(True)
        if not batches:
            batches.append(next(trainer.get_dataloaders()[0]))
        return float(trainer.train_step(batches[0])["loss"])

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    assert loss_of_step(True) == pytest.approx(loss_of_step(False), abs=1e-5)


# Several processes


class InFloat64:
    """A trainer whose network computes in float64."""

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        network: nn.Module = nnUNetTrainer.build_network_architecture(
            plans_manager,
            configuration_manager,
            num_input_channels,
            num_output_channels,
            enable_deep_supervision,
        )
        return network.double()


class Ours(InFloat64, SegLossTrainer):
    """The package's trainer."""


class Theirs(InFloat64, nnUNetTrainer):
    """nnU-Net's trainer."""


class Case(NamedTuple):
    """What is trained with several processes."""

    trainer: type
    setting: str = "plain"
    batch_dice: bool = True
    is_even: bool = True


CASES = {
    "ours": Case(Ours),
    "theirs": Case(Theirs),
    "ignore": Case(Ours, "ignore", is_even=False),
    "ignore, samples": Case(Ours, "ignore", batch_dice=False, is_even=False),
    "regions and ignore": Case(Ours, "regions and ignore", is_even=False),
}


def step(case: Case, rank: int, ranks: int) -> dict[str, Any]:
    """Takes two steps on this rank's share of a batch, as nnU-Net does with several processes."""
    torch.manual_seed(0)
    # It makes DDP for a GPU, and sets CUDA where there are processes
    patched = mock.patch(
        f"{nnUNetTrainer.__module__}.DDP", lambda network, **_: DistributedDataParallel(network)
    )
    with patched:
        trainer = make(case.trainer, case.setting, batch_size=4, batch_dice=case.batch_dice)
        trainer.device, trainer.grad_scaler = torch.device("cpu"), None
        trainer.initialize()
    labels = label_maps(case.setting, 2, samples=4)
    if not case.is_even:  # most of the pixels of one rank are ignored
        labels[:2, ..., : labels.shape[-1] - 3] = len(LABELS[case.setting]) - 1
    images = torch.randn(4, 1, *labels.shape[2:], dtype=torch.float64)
    share = slice(rank * 4 // ranks, (rank + 1) * 4 // ranks)
    targets = [target[share] for target in targets_of(trainer, labels)]
    batch = {"data": images[share], "target": targets}
    losses = [float(trainer.train_step(batch)["loss"]) for _ in range(2)]
    gradients = {
        name.removeprefix("module."): parameter.grad
        for name, parameter in trainer.network.named_parameters()
        if parameter.grad is not None
    }
    return {"losses": losses, "gradients": gradients}


def all_steps(rank: int, ranks: int, folder: Path) -> dict[str, dict[str, Any]]:
    os.environ.update(environment(folder))
    return {name: step(case, rank, ranks) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The results of each case in one process, and then on each of two ranks."""
    folder = tmp_path_factory.mktemp("processes")
    with mock.patch.dict(os.environ, environment(folder)):
        write_dataset(folder, "plain")  # from which nnU-Net takes the type of files
        runs = [all_steps(0, 1, folder), *on_ranks(2, folder, partial(all_steps, folder=folder))]
    return {name: [run[name] for run in runs] for name in CASES}


def largest_difference(gradients: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest difference, by the largest gradient; a head without a gradient has 0."""
    differences = [
        gradients.get(name, torch.zeros(())) - expected.get(name, torch.zeros(()))
        for name in {**gradients, **expected}
    ]
    largest = max(float(each.abs().max()) for each in expected.values())
    return max(float(each.abs().max()) for each in differences) / largest


@pytest.mark.parametrize("name", ["ours", "ignore", "ignore, samples", "regions and ignore"])
def test_two_processes_are_one(name: str, results: dict[str, list[dict[str, Any]]]) -> None:
    one, *two = results[name]
    for rank in two:
        np.testing.assert_allclose(rank["losses"], one["losses"], rtol=0, atol=1e-10)
        assert largest_difference(rank["gradients"], one["gradients"]) <= 1e-10


def test_two_processes_are_nnunets_where_nothing_is_ignored(
    results: dict[str, list[dict[str, Any]]],
) -> None:
    (_, *ours), (_, *theirs) = results["ours"], results["theirs"]
    means = [np.mean([rank["losses"] for rank in ranks], 0) for ranks in (ours, theirs)]
    np.testing.assert_allclose(*means, rtol=0, atol=1e-6)
    # With processes, nnU-Net gives the coarsest scale 1e-6 of a weight, in one process none
    assert largest_difference(ours[0]["gradients"], theirs[0]["gradients"]) <= 2e-6
