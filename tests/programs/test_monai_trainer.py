"""MONAI's trainers and bundles learn with losses of segloss, which have the numbers of DiceCELoss.

The networks are tiny and random, and the volumes MONAI's own synthetic ones, of balls. Nothing is
stubbed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

pytest.importorskip("ignite", reason="MONAI's engines need pytorch-ignite")
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, StatsHandler, TensorBoardStatsHandler, from_engine
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet, UNet
from monai.transforms import AsDiscreted, EnsureTyped
from programs import monai_trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segloss import CompoundLoss, DeepSupervision, MultiLoss, SegLoss
from segloss.terms import CrossEntropy, Dice, FocalTversky
from tests.programs.comparison import assert_equal

BUNDLE = Path(monai_trainer.__file__).with_name("monai_bundle.yaml")
CLASSES = 4
FOREGROUND = [1, 2, 3]

Loss = Callable[[Tensor, Tensor], Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    np.random.seed(0)  # noqa: NPY002  # of MONAI's volumes
    yield
    torch.set_num_threads(threads)


def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(3, in_channels=1, out_channels=CLASSES, channels=(8, 16), strides=(2,))


def volumes() -> list[dict[str, Any]]:
    return [monai_trainer.balls(24) for _ in range(4)]


def mean_dice(network: nn.Module, samples: Sequence[dict[str, Any]]) -> float:
    """Dice of the foreground, by MONAI's evaluator."""
    output = from_engine(["pred", "label"])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(samples, EnsureTyped(["image", "label"])), batch_size=2),
        network=network,
        postprocessing=AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=CLASSES),
        key_val_metric={"dice": MeanDice(include_background=False, output_transform=output)},
    )
    evaluator.run()
    return float(evaluator.state.metrics["dice"])


def train(network: nn.Module, samples: Sequence[dict[str, Any]], **options: Any) -> list[float]:
    """Trains the network with the recipe's trainer, and returns the loss of each step."""
    trainer = monai_trainer.trainer_of(network, samples, **options)
    losses: list[float] = []

    def keep_loss(engine: Any) -> None:
        losses.append(float(from_engine("loss", first=True)(engine.state.output)))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, keep_loss)
    trainer.run()
    return losses


LOSSES: dict[str, Loss] = {
    "CompoundLoss": CompoundLoss(mode="multiclass"),
    "SegLoss": SegLoss(n_classes=CLASSES),
    "terms": CompoundLoss(CrossEntropy() + FocalTversky(region_classes=FOREGROUND), "multiclass"),
    "MultiLoss": MultiLoss([SegLoss(n_classes=CLASSES), nn.CrossEntropyLoss()], weights=[0.5, 0.5]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_network_learns_with_each_loss_as_it_is(name: str) -> None:
    network, samples = unet(), volumes()
    before = mean_dice(network, samples)
    losses = train(network, samples, loss_function=LOSSES[name], max_epochs=25)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert mean_dice(network, samples) > before + 0.2


def test_a_network_with_stacked_heads_learns_with_deep_supervision() -> None:
    torch.manual_seed(0)
    kernels, strides = [3, 3, 3], [1, 2, 2]
    network = DynUNet(
        3, 1, CLASSES, kernels, strides, strides[1:], filters=[4, 8, 8], deep_supervision=True
    )
    samples, loss = volumes(), DeepSupervision(LOSSES["CompoundLoss"])
    before = mean_dice(network, samples)
    losses = train(network, samples, loss_function=loss, max_epochs=25)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert mean_dice(network, samples) > before + 0.2


def test_the_loss_gets_tensors_with_metadata_and_returns_one_without() -> None:
    seen: list[tuple[type, ...]] = []

    def spied(prediction: Tensor, target: Tensor) -> Any:
        value = LOSSES["SegLoss"](prediction, target)
        seen.append((type(prediction), type(target), type(value.value)))
        return value

    train(unet(), volumes(), loss_function=spied, max_epochs=1)
    assert set(seen) == {(MetaTensor, MetaTensor, Tensor)}


def test_training_is_that_with_the_loss_of_monai() -> None:
    samples = volumes()
    theirs = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False)
    dice = Dice(smooth=1e-5, region_classes=FOREGROUND)
    networks = []
    for loss in (theirs, CompoundLoss(CrossEntropy() + dice, "multiclass")):
        network = unet().double()
        doubled = [{key: value.astype(np.float64) for key, value in s.items()} for s in samples]
        losses = train(network, doubled, loss_function=loss, max_epochs=5, accumulation_steps=2)
        networks.append((losses, nn.utils.parameters_to_vector(network.parameters())))
    (their_losses, expected), (losses, parameters) = networks
    assert losses == pytest.approx(their_losses, abs=1e-6)
    torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-6)


def test_a_network_learns_in_bfloat16() -> None:
    losses, seen = {}, set()
    for dtype in (torch.float32, torch.bfloat16):

        def spied(prediction: Tensor, target: Tensor) -> Tensor:
            seen.add(prediction.dtype)
            return LOSSES["CompoundLoss"](prediction, target)

        is_half = dtype == torch.bfloat16  # around many steps, a cache would keep old weights
        with torch.autocast("cpu", dtype=dtype, enabled=is_half, cache_enabled=False):
            losses[dtype] = train(unet(), volumes(), loss_function=spied, max_epochs=25)
    assert seen == set(losses)
    for each in losses.values():
        assert sum(each[-5:]) < 0.7 * sum(each[:5])


def test_handlers_write_the_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loss_of = from_engine("loss", first=True)
    tensorboard = TensorBoardStatsHandler(log_dir=str(tmp_path), output_transform=loss_of)
    losses = train(
        unet(),
        volumes(),
        loss_function=LOSSES["SegLoss"],
        max_epochs=3,
        train_handlers=[StatsHandler(name="stats", output_transform=loss_of), tensorboard],
    )
    tensorboard.close()
    printed = [float(text) for text in re.findall(r"Loss: ([\d.]+)", capsys.readouterr().out)]
    assert printed == pytest.approx(losses, abs=1e-4)
    events = EventAccumulator(str(tmp_path)).Reload()
    [tag] = events.Tags()["scalars"]
    assert [event.value for event in events.Scalars(tag)] == pytest.approx(losses)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_bundle_trains_with_a_loss_of_its_config(tmp_path: Path, suffix: str) -> None:
    config = tmp_path / f"train{suffix}"
    text = BUNDLE.read_text()
    config.write_text(json.dumps(yaml.safe_load(text)) if suffix == ".json" else text)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config)]
    done = subprocess.run(  # noqa: S603
        [*command, "--max_epochs", "8"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    losses = [float(each) for each in re.findall(r"Loss: ([\d.]+)", done.stdout + done.stderr)]
    assert len(losses) == 16
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"_target_": "segloss.CompoundLoss"}, CompoundLoss),
        ({"_target_": "segloss.SegLoss", "n_classes": 3, "region_classes": [1, 2]}, SegLoss),
        (
            {
                "_target_": "segloss.MultiLoss",
                "loss_funcs": [{"_target_": "segloss.SegLoss", "n_classes": 3}],
                "weights": [1.0],
            },
            MultiLoss,
        ),
    ],
)
def test_a_config_makes_each_loss(config: dict[str, Any], expected: type) -> None:
    loss = ConfigParser({"loss": config}).get_parsed_content("loss")
    assert isinstance(loss, expected)
    assert "Config" not in repr(loss)  # no list or mapping of the parser's is left in it


def labels_of(classes: int, content: str) -> Tensor:
    labels = torch.randint(0, classes, (3, 1, 6, 5, 4), generator=torch.Generator().manual_seed(1))
    if content == "empty":
        labels.zero_()
    if content == "absent":
        labels[1] = 0
        labels[labels == classes - 1] = 0
    return labels


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("content", ["random", "empty", "absent"])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("weight", [False, True])
@pytest.mark.parametrize("classes", [3, 40])
def test_classes_have_the_numbers_of_dice_ce_loss(
    classes: int, weight: bool, background: bool, batch: bool, content: str, dtype: torch.dtype
) -> None:
    weights = torch.linspace(0.5, 2, classes, dtype=dtype) if weight else None
    theirs = DiceCELoss(
        softmax=True,
        to_onehot_y=True,
        include_background=background,
        batch=batch,
        weight=weights,
        lambda_dice=0.7,
        lambda_ce=0.3,
    )
    first = 0 if background else 1
    of_dice = None if weights is None else weights[first:]
    dice = Dice(
        smooth=1e-5,
        region_classes=range(first, classes),
        region_reduction="batch" if batch else "sample",
        region_class_weights=of_dice,
    )
    mean_weight = 1.0 if of_dice is None else float(of_dice.mean())  # theirs are not normalised
    ours = CompoundLoss(
        0.3 * CrossEntropy() + 0.7 * mean_weight * dice, "multiclass", class_weights=weights
    )
    logits = torch.randn(3, classes, 6, 5, 4, dtype=dtype)
    assert_equal(ours, theirs, logits, labels_of(classes, content))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("content", ["random", "empty"])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("pos_weight", [None, 3.0])
def test_a_mask_has_the_numbers_of_dice_ce_loss(
    pos_weight: float | None, batch: bool, content: str, dtype: torch.dtype
) -> None:
    weight = None if pos_weight is None else torch.tensor([pos_weight], dtype=dtype)
    theirs = DiceCELoss(sigmoid=True, batch=batch, weight=weight)
    dice = Dice(smooth=1e-5, region_reduction="batch" if batch else "sample")
    ours = CompoundLoss(CrossEntropy() + dice, pos_weight=pos_weight)
    logits = torch.randn(3, 1, 6, 5, 4, dtype=dtype)
    assert_equal(ours, theirs, logits, labels_of(2, content))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_several_masks_have_the_numbers_of_dice_ce_loss(dtype: torch.dtype) -> None:
    """Their cross-entropy of several masks is that of classes, whatever the activation."""
    theirs = DiceCELoss(sigmoid=True)
    dice = CompoundLoss(Dice(smooth=1e-5), "multilabel")
    entropy = CompoundLoss(CrossEntropy(), "multiclass")
    masks = nn.functional.one_hot(labels_of(3, "random").squeeze(1), 3).movedim(-1, 1)
    logits = torch.randn(3, 3, 6, 5, 4, dtype=dtype)
    assert_equal(lambda x, y: dice(x, y) + entropy(x, y), theirs, logits, masks)
