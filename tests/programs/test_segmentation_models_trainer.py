"""pytorch_segmentation_models_trainer trains with segloss's losses, in each of three ways.

The program is real, at the version that segloss knows. What it lacks is stubbed here, and has
nothing to do with losses: `torch_scatter` and `skan`, which its polygon tools import (the first
must be compiled, the second needs numba); and `FrameFieldModel`, which its frame-field model
imports and version 1.0.1 does not contain.
"""

from __future__ import annotations

import csv
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PROGRAM = "pytorch_segmentation_models_trainer"
if find_spec(PROGRAM) is None:
    pytest.skip(f"{PROGRAM} is not installed", allow_module_level=True)

_STUBS = [name for name in ("torch_scatter", "skan") if find_spec(name) is None]
sys.modules.update({name: ModuleType(name) for name in _STUBS})

import pytorch_lightning as pl  # noqa: E402
import pytorch_segmentation_models_trainer.train  # noqa: E402, F401
from omegaconf import OmegaConf  # noqa: E402
from programs import segmentation_models_trainer as recipe  # noqa: E402
from pytorch_segmentation_models_trainer.custom_callbacks.training_callbacks import (  # noqa: E402
    ComputeWeightNormLossesCallback,
)
from pytorch_segmentation_models_trainer.custom_losses import base_loss, loss_builder  # noqa: E402
from pytorch_segmentation_models_trainer.model_loader import frame_field_model  # noqa: E402
from pytorch_segmentation_models_trainer.model_loader import model as model_module  # noqa: E402

for _name in _STUBS:
    del sys.modules[_name]

import segloss  # noqa: E402
from segloss.compat import segmentation_models_trainer as compat  # noqa: E402
from segloss.training import lightning as callbacks  # noqa: E402

CONFIG = Path(recipe.__file__).with_suffix(".yaml")
OWN = f"{PROGRAM}.custom_losses"
DICE = {"_target_": "segmentation_models_pytorch.losses.DiceLoss", "mode": "multiclass"}
FOUR_CLASSES = {"_target_": "segloss.SegLoss", "name": "seg", "n_classes": 4}


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe.write_images()


@pytest.fixture
def installed() -> Iterator[None]:
    compat.install()
    yield
    compat.uninstall()


def compound(*losses: Any, **options: Any) -> dict[str, Any]:
    """The `loss_params` of a config: the losses, each with a weight."""
    block = {
        "losses": [{"loss": loss, "weight": weight} for loss, weight in losses],
        "epoch_thresholds": [0, 4],
        "normalization_params": {"max_samples": 4},
        **options,
    }
    return {"loss_params": {"compound_loss": block}}


def config_with(loss: dict[str, Any]) -> Any:
    """The recipe's config with another loss, and a model of one layer."""
    config = OmegaConf.load(CONFIG)
    del config["loss_params"]
    config.model = {"_target_": "torch.nn.Conv2d", "_args_": [3, 4, 1]}
    config.optimizer.lr = 0.05
    return OmegaConf.merge(config, loss)


class History(pl.Callback):
    """The metrics of validation after each epoch, and all metrics at the end."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.final: dict[str, Tensor] = {}

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs.append(metrics)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.final = dict(trainer.callback_metrics)

    def first_and_last(self, name: str) -> tuple[float, float]:
        return self.epochs[0][name], self.epochs[-1][name]


def trained(model: pl.LightningModule, *others: pl.Callback, epochs: int = 4) -> History:
    """The history of a model that has taken steps."""
    history = History()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[history, *others],
        num_sanity_val_steps=0,
        enable_model_summary=False,
        **quiet,
    )
    trainer.fit(model)
    return history


def model_of(loss: dict[str, Any], kind: type = model_module.Model) -> Any:
    torch.manual_seed(0)
    return kind(config_with(loss))


def masks_of(channels: int, *shape: int) -> Tensor:
    return (torch.rand(3, channels, *(shape or (8, 9))) > 0.6).double()


def value_and_gradient(
    loss: Any, prediction: Tensor, gt_batch: Any, **options: Any
) -> list[Tensor]:
    leaf = prediction.clone().requires_grad_()
    value = loss({"seg": leaf}, gt_batch, **options)[0]
    value.backward()
    return [value.detach(), leaf.grad]


def assert_equal(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 1e-6):
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, check_dtype=False)


def assert_trained(history: History, loss: str) -> None:
    first, last = history.first_and_last(loss)
    assert last < 0.97 * first
    first, last = history.first_and_last("val/MulticlassJaccardIndex")
    assert last > 1.1 * first


def test_the_version_is_the_one_that_is_known() -> None:
    assert version(PROGRAM) in compat.version.KNOWN_VERSIONS


# The ways in


def test_the_recipe_trains_the_programs_model_with_its_own_callback() -> None:
    try:
        trainer = recipe.fit()
    finally:
        compat.uninstall()
    with open("lightning_logs/version_0/metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["loss/val"]]
    losses = [float(row["losses/val_seg"]) for row in rows]
    scores = [float(row["val/MulticlassJaccardIndex"]) for row in rows]
    assert len(rows) == 6
    assert losses[-1] < 0.8 * losses[0]
    assert scores[-1] > scores[0] + 0.2
    loss = trainer.lightning_module.loss_function
    assert isinstance(loss, segloss.MultiLoss)
    assert [member.norm_count.item() for member in loss.loss_funcs] == [16, 16]
    assert float(rows[-1]["extra/val_seg_dice/3"]) < float(rows[0]["extra/val_seg_dice/3"])


@pytest.mark.parametrize(
    "loss",
    [
        FOUR_CLASSES,
        {**FOUR_CLASSES, "_target_": "segloss.compat.segmentation_models_trainer.SegLoss"},
        {"_target_": "segloss.CompoundLoss", "mode": "multiclass"},
        {"_target_": "segloss.DiceLoss", "mode": "multiclass", "classes": [1, 2, 3]},
    ],
    ids=lambda loss: loss["_target_"],
)
def test_a_loss_in_compound_loss_trains_four_classes_of_label_maps(loss: dict[str, Any]) -> None:
    model = model_of(compound((loss, 1.0), (DICE, [0.0, 1.0])))
    history = trained(model, ComputeWeightNormLossesCallback())
    assert type(model.loss_function).__module__ == base_loss.__name__
    name = loss.get("name", loss["_target_"].rpartition(".")[2])
    assert_trained(history, f"losses/val_{name}")


@pytest.mark.parametrize("name", ["CompoundLoss", "JaccardLoss"])
def test_a_loss_of_prediction_and_target_trains_in_loss(name: str) -> None:
    model = model_of({"loss": {"_target_": f"segloss.{name}", "mode": "multiclass"}})
    assert_trained(trained(model), "loss/val")


@pytest.mark.usefixtures("installed")
def test_a_seg_loss_trains_in_loss_once_installed() -> None:
    assert_trained(trained(model_of({"loss": FOUR_CLASSES})), "loss/val")


def test_four_classes_of_label_maps_need_only_install() -> None:
    own = {"_target_": f"{OWN}.base_loss.SegLoss", "name": "seg", "gt_channel_selector": 0}
    loss = compound(({**own, "n_classes": 4}, 1.0))
    with pytest.raises(TypeError):  # the program's own loss can't
        trained(model_of(loss))
    compat.install()
    try:
        history = trained(model_of(loss), ComputeWeightNormLossesCallback())
    finally:
        compat.uninstall()
    assert_trained(history, "loss/val")


@pytest.mark.usefixtures("installed")
def test_the_config_that_the_programs_pages_show_trains() -> None:
    own = {"_target_": f"{OWN}.base_loss.SegLoss", "gt_channel_selector": 0, "n_classes": 4}
    block = {
        "normalize_losses": True,
        "normalization_params": {"max_samples": 1000},
        "loss_list": [
            {**own, "name": "seg", "bce_coef": 0.5, "dice_coef": 0.5, "weight": 1.0},
            {**own, "name": "late", "weight": [0.0, 0.0, 1.0, 1.0]},
        ],
        "epoch_thresholds": [0, 1, 2, 3],
    }
    model = model_of({"loss_params": {"compound_loss": block}})
    assert_trained(trained(model, ComputeWeightNormLossesCallback()), "losses/val_seg")


def test_the_command_line_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "pytorch_segmentation_models_trainer.main.main", lambda: seen.append(made())
    )

    def made() -> Any:
        return base_loss.SegLoss("seg", 0)

    try:
        runpy.run_module("segloss.compat.segmentation_models_trainer", run_name="__main__")
    finally:
        compat.uninstall()
    assert isinstance(seen[0], segloss.SegLoss)


# Equal values


@pytest.mark.parametrize("channels", [1, 2, 16])
@pytest.mark.parametrize(
    "coefs",
    [
        {"bce_coef": 1.0, "dice_coef": 0.0},
        {"bce_coef": 0.0, "dice_coef": 1.0},
        {"bce_coef": 0.0, "dice_coef": 0.0, "tversky_focal_coef": 1.0},
        {"bce_coef": 0.7, "dice_coef": 0.2, "tversky_focal_coef": 0.3},
    ],
)
def test_value_and_gradient_are_those_of_the_programs_seg_loss(
    channels: int, coefs: dict[str, float]
) -> None:
    masks = masks_of(channels + 1)
    masks[0] = 0  # nothing to find in one image
    masks[1, 0] = 1
    prediction = torch.rand(3, channels, 8, 9, dtype=torch.float64)
    selected = slice(0, channels)
    own, ours = (
        base_loss.SegLoss("seg", selected, **coefs),
        compat.SegLoss("seg", selected, **coefs),
    )
    gt_batch = {"gt_polygons_image": masks}
    assert_equal(
        value_and_gradient(ours, prediction, gt_batch),
        value_and_gradient(own, prediction, gt_batch),
    )


def test_value_and_gradient_are_those_of_the_programs_seg_loss_over_soft_masks() -> None:
    prediction = torch.rand(3, 2, 8, 9, dtype=torch.float64)
    gt_batch = {"gt_polygons_image": torch.rand(3, 2, 8, 9, dtype=torch.float64)}
    own, ours = (module.SegLoss("seg", slice(0, 2)) for module in (base_loss, compat))
    assert_equal(
        value_and_gradient(ours, prediction, gt_batch),
        value_and_gradient(own, prediction, gt_batch),
    )


@pytest.mark.parametrize("normalize", [True, False])
def test_normalised_losses_are_equal(normalize: bool) -> None:
    prediction, gt_batch = torch.rand(3, 2, 8, 9).double(), {"gt_polygons_image": masks_of(2)}
    results = []
    for module in (compat, base_loss):
        loss = module.SegLoss("seg", slice(0, 2))
        loss.update_norm({"seg": prediction}, gt_batch, 3)
        results.append(value_and_gradient(loss, prediction, gt_batch, normalize=normalize))
    assert_equal(*results)


@pytest.mark.parametrize("epoch", [0, 1.5, 4, 9])
def test_weights_follow_the_epochs_as_in_the_program(epoch: float) -> None:
    torch.manual_seed(1)
    prediction, gt_batch = torch.rand(3, 1, 8, 9).double(), {"gt_polygons_image": masks_of(1)}
    thresholds, results = [1, 2, 5], []
    for module in (compat, base_loss):
        losses = [module.SegLoss("a", [0]), module.SegLoss("b", [0], dice_coef=0.0)]
        multi_loss = module.MultiLoss(losses, [[0.0, 2.0, 0.5], 1.5], thresholds)
        results.append(value_and_gradient(multi_loss, prediction, gt_batch, epoch=epoch))
    assert_equal(*results)


def test_mixup_blends_the_programs_losses() -> None:
    with pytest.raises(TypeError):  # the program's own mixup can't be made
        base_loss.SegLoss("seg", slice(0, 1), use_mixup=True)
    prediction, masks, others = torch.rand(3, 1, 8, 9).double(), masks_of(1), masks_of(1)
    own = base_loss.SegLoss("seg", slice(0, 1))
    pairs = [
        value_and_gradient(own, prediction, {"gt_polygons_image": target})
        for target in (masks, others)
    ]
    mixed = {"mixup_y_a": masks, "mixup_y_b": others, "mixup_lam": torch.tensor(0.3)}
    found = value_and_gradient(
        compat.SegLoss("seg", slice(0, 1), use_mixup=True),
        prediction,
        {"gt_polygons_image": masks, **mixed},
    )
    assert_equal(found, [0.3 * a + 0.7 * b for a, b in zip(*pairs, strict=True)])


def test_pixel_weights_make_cross_entropy_a_weighted_mean() -> None:
    prediction, masks = torch.rand(3, 1, 8, 9).double(), masks_of(1)
    weights = torch.rand(3, 1, 8, 9).double()
    gt_batch = {"gt_polygons_image": masks, "seg_loss_weights": weights}
    with pytest.raises(TypeError):  # the program passes them under a name that PyTorch has not
        base_loss.SegLoss("seg", slice(0, 1))({"seg": prediction}, gt_batch)
    leaf = prediction.clone().requires_grad_()
    expected = F.binary_cross_entropy(leaf, masks, weights, reduction="sum") / weights.sum()
    expected.backward()
    ours = compat.SegLoss("seg", slice(0, 1), dice_coef=0, bce_coef=1)
    assert_equal(value_and_gradient(ours, prediction, gt_batch), [expected.detach(), leaf.grad])


@pytest.mark.parametrize(
    "loss",
    [
        compound((DICE, 1.0), ({"_target_": "torch.nn.CrossEntropyLoss"}, [0.5, 1.0])),
        compound(({"_target_": f"{OWN}.loss.WeightedDiceCrossEntropyLoss", "num_classes": 4}, 2.0)),
        {"loss": DICE},
    ],
)
def test_a_config_without_segloss_keeps_its_numbers_when_installed(loss: dict[str, Any]) -> None:
    before = trained(model_of(loss), ComputeWeightNormLossesCallback())
    compat.install()
    try:
        after = trained(model_of(loss), ComputeWeightNormLossesCallback())
    finally:
        compat.uninstall()
    assert before.epochs[-1].keys() == after.epochs[-1].keys()
    for found, expected in zip(after.epochs, before.epochs, strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


# Norms and callbacks


@pytest.mark.usefixtures("installed")
def test_the_programs_callback_computes_norms_once() -> None:
    model = model_of(compound((FOUR_CLASSES, 1.0)))
    assert not model.loss_function.norm_updated
    trained(model, ComputeWeightNormLossesCallback(), epochs=1)
    assert model.loss_function.norm_updated
    norm = model.loss_function.loss_funcs[0].norm.item()
    assert 0.5 < norm != 1
    trained(model, ComputeWeightNormLossesCallback(), epochs=1)
    assert model.loss_function.loss_funcs[0].norm.item() == norm


@pytest.mark.parametrize("is_installed", [False, True])
def test_the_callbacks_of_segloss_work_on_the_programs_model(is_installed: bool) -> None:
    if is_installed:
        compat.install()
    try:
        model = model_of(compound((FOUR_CLASSES, 1.0), (DICE, [0.0, 1.0])))
        log = callbacks.LogLossComponents(prefix="part", on_epoch=True)
        history = trained(
            model, callbacks.ComputeWeightNormLossesCallback(4), callbacks.LossSchedule(), log
        )
    finally:
        compat.uninstall()
    (found, *_) = (m for m in model.modules() if isinstance(m, segloss.SegLoss))
    assert found.norm_count == 4
    assert_trained(history, "losses/val_seg")
    assert 0 < history.final["part/seg"] < 2
    assert history.final["part/seg/norm"] == found.norm.float()


def test_a_run_with_the_programs_losses_goes_on_with_segloss(tmp_path: Path) -> None:
    loss = compound((FOUR_CLASSES | {"_target_": f"{OWN}.base_loss.SegLoss"}, 1.0), (DICE, 1.0))
    config = config_with(loss)
    config.loss_params.compound_loss.losses[0].loss.gt_channel_selector = 0
    own = model_module.Model(config)
    own.loss_function.loss_funcs[0].norm.fill_(0.5)
    compat.install()
    try:
        ours = model_module.Model(config)
        ours.load_state_dict(own.state_dict())
    finally:
        compat.uninstall()
    assert [loss.norm.item() for loss in ours.loss_function.loss_funcs] == [0.5, 1.0]
    assert ours.loss_function.loss_funcs[0].norm_count == 1
    torch.testing.assert_close(ours.model.weight, own.model.weight)


# Names


@pytest.mark.usefixtures("installed")
def test_losses_of_segloss_are_instances_of_the_programs_names() -> None:
    seg, multi = segloss.SegLoss("seg"), segloss.MultiLoss([segloss.SegLoss("seg")], [1.0])
    assert isinstance(seg, loss_builder.Loss)
    assert isinstance(multi, model_module.MultiLoss)
    made = base_loss.MultiLoss([base_loss.SegLoss("seg", 0)], [1.0])
    assert isinstance(made, (segloss.MultiLoss, base_loss.MultiLoss))
    assert isinstance(made.loss_funcs[0], segloss.SegLoss)
    assert isinstance(made.loss_funcs[0], base_loss.SegLoss)
    assert isinstance(base_loss.CrossfieldAlignLoss("a"), segloss.CrossfieldAlignLoss)


# Frame fields


class FrameFieldModel(nn.Module):
    """A network of one layer for masks and frame fields, in place of what the program lacks."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.masks, self.field = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"seg": self.masks(image).sigmoid(), "crossfield": 2 * self.field(image).tanh()}


class Walls(torch.utils.data.Dataset):
    """Images with masks of interior, edge and vertex, and the angles of walls."""

    def __init__(self, **unused: Any) -> None:
        random = torch.Generator().manual_seed(0)
        self.masks = (torch.rand(8, 3, 8, 8, generator=random) > 0.5).float()
        self.angles = 3 * torch.rand(8, 1, 8, 8, generator=random)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        masks = self.masks[i]
        maps = {"gt_polygons_image": masks, "gt_crossfield_angle": self.angles[i]}
        return {"image": masks + 0.1 * self.angles[i], **maps}


SEG = {"_target_": f"{OWN}.base_loss.SegLoss", "name": "seg", "gt_channel_selector": [0, 1]}
FIELD_LOSSES = {
    "CrossfieldAlignLoss": {},
    "CrossfieldAlign90Loss": {},
    "CrossfieldSmoothLoss": {},
    "SegCrossfieldLoss": {"pred_channel": 0},
    "SegEdgeInteriorLoss": {},
}


def block_of(name: str) -> dict[str, Any]:
    return {"_target_": f"{OWN}.base_loss.{name}", "name": name, **FIELD_LOSSES[name]}


@pytest.fixture
def frame_field(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes the program's frame-field model with some losses."""
    monkeypatch.setattr(frame_field_model, "FrameFieldModel", FrameFieldModel, raising=False)

    def model_with(loss: dict[str, Any]) -> Any:
        config = config_with(loss)
        config.train_dataset._target_ = f"{__name__}.Walls"
        config.backbone = config.model = {"_target_": "torch.nn.Identity"}
        config.compute_seg, config.compute_crossfield, config.device = True, True, "cpu"
        config.seg_params = {"compute_interior": True, "compute_edge": True}
        config.seg_params.compute_vertex = False
        config.hyperparameters.batch_size = 8  # all images: the program's norm is that of one batch
        del config["metrics"]
        torch.manual_seed(0)
        return frame_field_model.FrameFieldSegmentationPLModel(config)

    return model_with


@pytest.mark.parametrize("name", FIELD_LOSSES)
def test_value_and_gradient_are_those_of_the_programs_frame_field_losses(name: str) -> None:
    masks, angle = masks_of(3).float(), 3 * torch.rand(3, 1, 8, 9)
    inputs = {"seg": torch.rand(3, 2, 8, 9), "crossfield": torch.randn(3, 4, 8, 9)}
    _, gt_batch = base_loss.compute_gt_field(
        {}, {"gt_polygons_image": masks, "gt_crossfield_angle": angle}
    )
    results = []
    for module in (compat, base_loss):
        leaves = {key: value.clone().requires_grad_() for key, value in inputs.items()}
        batches = module.ComputeSegGrads("cpu")(dict(leaves), gt_batch)
        value = getattr(module, name)("loss", **FIELD_LOSSES[name])(*batches)[0]
        gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        results.append([value.detach(), *(g for g in gradients if g is not None)])
    assert_equal(*results, tolerance=1e-5)  # the program's kernels are in float32


def test_the_frame_field_model_has_the_same_numbers_when_installed(
    frame_field: Callable[..., Any],
) -> None:
    loss = compound((SEG, 10.0), (block_of("SegEdgeInteriorLoss"), [0.0, 0.2]))
    own = trained(frame_field(loss))
    compat.install()
    try:
        ours = trained(frame_field(loss))
    finally:
        compat.uninstall()
    for found, expected in zip(ours.epochs, own.epochs, strict=True):
        assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-4)


@pytest.mark.usefixtures("installed")
def test_the_frame_field_model_trains_with_all_losses(frame_field: Callable[..., Any]) -> None:
    fields = [(block_of(name), 0.5) for name in FIELD_LOSSES]
    model = frame_field(compound((SEG, 10.0), *fields))  # the program's own crash its logger
    history = trained(model, callbacks.FrameFieldComputeWeightNormLossesCallback(8), epochs=8)
    for name in ("loss/val", "losses/val_seg", "losses/val_CrossfieldAlignLoss"):
        first, last = history.first_and_last(name)
        assert last < first
    assert all(loss.norm_count > 0 for loss in model.loss_function.loss_funcs)


@pytest.mark.usefixtures("installed")
def test_an_older_config_trains_the_frame_field_model(frame_field: Callable[..., Any]) -> None:
    names = ("seg", "crossfield_align", "crossfield_align90", "crossfield_smooth")
    names += ("seg_interior_crossfield", "seg_edge_crossfield", "seg_edge_interior")
    coefs = dict.fromkeys(names, 1.0) | {
        "seg_edge_interior": [0.0, 0.2],
        "epoch_thresholds": [0, 4],
    }
    params = {"bce_coef": 1.0, "dice_coef": 0.2, "use_dist": False, "use_size": False}
    model = frame_field(
        {"loss_params": {"multi_loss": {"coefs": coefs}, "seg_loss_params": params}}
    )
    assert [loss.name for loss in model.loss_function.loss_funcs] == list(names)
    first, last = trained(model, epochs=8).first_and_last("losses/val_seg")
    assert last < first
