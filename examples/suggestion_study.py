"""Trains the brain and the buildings examples with the default loss and with the suggested one.

    pip install -e ".[examples]" && python examples/suggestion_study.py --write

The suggestion uses only the training masks, and the default is `SegLoss` with only the necessary
arguments. Network, batches and learning rates are the same as in the examples, with fewer epochs.
The seed changes the initial network and the batches. `--write` puts the table into docs/suggest.md,
and draws the picture of the brain's masks there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import brain_tissue
import building_footprints
import numpy as np
import torch
import typer
import yaml
from brain_tissue import BrainDataset, BrainSettings
from example_parts.configuration import load_config
from example_parts.networks import build_unet
from example_parts.training import (
    Batch,
    TrainingSettings,
    new_run,
    seed_of,
    shuffled,
    take_norms,
    to_device,
    train_epoch,
)
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import segloss

DOCUMENT = Path(__file__).parents[1] / "docs" / "suggest.md"
PICTURE = DOCUMENT.parent / "images" / "dataset_brain.png"
START, END = "<!-- study -->", "<!-- end -->"

SHARE_OF_EPOCHS = {"brain": 0.2, "buildings": 0.5}
"""The share of the examples' epochs: 16 of 80, and 8 of 16."""

LossParams = dict[str, Any]

Scores = dict[str, list[list[float]]]
"""Dice scores by loss, seed and class."""


@dataclass
class Task:
    """A dataset to train on.

    Attributes:
        names: The names of its classes.
        channels: The number of channels that the network predicts.
        in_channels: The number of channels of the images.
        training: A function from a seed to the training data, images and truth.
        test: The test data, images and truth.
        masks: The training masks, (n, height, width) or (n, classes, height, width).
        model: The settings of the network.
        settings: The settings of the training.
        default: The necessary arguments of `SegLoss`.
    """

    names: list[str]
    channels: int
    in_channels: int
    training: Callable[[int], Dataset[Batch]]
    test: Dataset[Batch]
    masks: NDArray[Any]
    model: Any
    settings: TrainingSettings
    default: dict[str, Any]

    @property
    def by_class(self) -> bool:
        """True if there is a mask for each class."""
        return self.masks.ndim == 4


class Scenes(Dataset[Batch]):
    """Scenes with the masks of interiors and walls."""

    def __init__(self, scenes: building_footprints.SceneDataset) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Batch:
        sample = self.scenes[index]
        return {
            "image": sample["image"],
            "gt_polygons_image": sample["gt_polygons_image"][:2],
        }


def brain() -> Task:
    """Returns the task of tissues on slices of the MNI152 brain, with a test slab."""
    settings = load_config(BrainSettings, brain_tissue.HERE / "brain_tissue.yaml")
    slices = brain_tissue.load_brain(settings.data.tissue_threshold)
    training, test = brain_tissue.split(slices, settings.data)
    plain, augmented = brain_tissue.transforms(training, settings.augmentation)
    return Task(
        names=["background", *(name for name, _ in brain_tissue.TISSUES.values())],
        channels=4,
        in_channels=1,
        training=lambda seed: BrainDataset(training, augmented, seed),
        test=BrainDataset(test, plain),
        masks=training.labels,
        model=settings.model,
        settings=shortened(settings.training, SHARE_OF_EPOCHS["brain"]),
        default={"n_classes": 4},
    )


def buildings() -> Task:
    """Returns the task of interiors and walls in synthetic scenes, a mask for each."""
    path = building_footprints.HERE / "building_footprints.yaml"
    settings = load_config(building_footprints.BuildingSettings, path)
    count = settings.data.training_scenes
    scenes = building_footprints.make_scenes(settings, count + settings.data.test_scenes)
    training = Scenes(building_footprints.SceneDataset(scenes[:count]))
    return Task(
        names=["interior", "walls"],
        channels=2,
        in_channels=3,
        training=lambda seed: training,
        test=Scenes(building_footprints.SceneDataset(scenes[count:])),
        masks=np.array([scene.masks[:2] for scene in scenes[:count]]),
        model=settings.model,
        settings=shortened(settings.training, SHARE_OF_EPOCHS["buildings"]),
        default={"from_logits": True},
    )


TASKS: dict[str, Callable[[], Task]] = {"brain": brain, "buildings": buildings}


def shortened(settings: TrainingSettings, share: float) -> TrainingSettings:
    """Returns the settings for fewer epochs, with the learning rate's schedule shortened too."""
    return replace(
        settings,
        epochs=int(settings.epochs * share),
        learning_rate_epochs=[epoch * share for epoch in settings.learning_rate_epochs],
    )


def default_loss(task: Task) -> LossParams:
    """Returns the config of `SegLoss` with its defaults."""
    entry = {"_target_": "segloss.SegLoss", **task.default}
    return {"compound_loss": {"loss_list": [entry]}}


def suggested_loss(task: Task) -> LossParams:
    """Returns the config that `segloss suggest` writes for the training masks."""
    layout = "classes" if task.by_class else "labels"
    suggestion = segloss.suggest(task.masks, layout=layout)
    with tempfile.TemporaryDirectory() as folder:
        path = suggestion.save(Path(folder) / "loss.yaml")
        params: LossParams = yaml.safe_load(path.read_text())["loss_params"]
    return params


CONTENDERS = {"default": default_loss, "suggested": suggested_loss}


def train_and_test(task: Task, params: LossParams, seed: int) -> list[float]:
    """Trains with a loss and a seed, and returns the Dice score of each class on the test data."""
    torch.manual_seed(seed)
    model = build_unet(task.model, task.in_channels, task.channels)
    run = new_run(model, params, task.settings, asdict(task.settings))

    def batches(epoch: int) -> DataLoader[Batch]:
        epoch_seed = seed_of(seed, epoch)
        return shuffled(task.training(epoch_seed), task.settings.batch_size, epoch_seed)

    take_norms(run.model, run.loss, batches(0))
    for epoch in range(task.settings.epochs):
        torch.manual_seed(seed_of(seed, epoch))
        for _ in train_epoch(run, batches(epoch), task.settings):
            pass
        run.epoch = epoch + 1
    return dice_scores(run.model, task)


@torch.inference_mode()
def dice_scores(model: nn.Module, task: Task) -> list[float]:
    """Returns the Dice score of each class over all pixels of the test data."""
    model.eval()
    overlap, size = torch.zeros(task_classes(task)), torch.zeros(task_classes(task))
    for batch in DataLoader(task.test, batch_size=8):
        logits = model(to_device(batch, model)["image"])
        predicted, actual = masks_of(task, logits, batch["gt_polygons_image"])
        overlap += (predicted & actual).sum((0, 2, 3))
        size += predicted.sum((0, 2, 3)) + actual.sum((0, 2, 3))
    return (2 * overlap / size).tolist()


def task_classes(task: Task) -> int:
    """Returns the number of classes with a Dice score."""
    return len(task.names)


def masks_of(task: Task, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Returns prediction and truth as a mask for each class, (N, C, H, W)."""
    if task.by_class:
        return logits > 0, target > 0
    labels = torch.arange(task.channels)[None, :, None, None]
    return logits.argmax(1, keepdim=True) == labels, target == labels


def rarest(task: Task) -> int:
    """Returns the class with the fewest pixels in the training masks."""
    if task.by_class:
        return int(task.masks.mean((0, 2, 3)).argmin())
    return int(np.bincount(task.masks.ravel()).argmin())


def rows(results: dict[str, Scores], tasks: dict[str, Task]) -> list[list[str]]:
    """Returns the rows of the table, one for each dataset and loss."""
    table = []
    for name, task in tasks.items():
        rare = rarest(task)
        for contender, scores in results[name].items():
            means = [mean(class_scores) for class_scores in scores]
            rare_scores = [class_scores[rare] for class_scores in scores]
            cells = [mean_and_range(means), task.names[rare], mean_and_range(rare_scores)]
            table.append([name, contender, *cells])
    return table


def mean_and_range(values: list[float]) -> str:
    """Returns the mean, with the smallest and the largest value."""
    return f"{mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


HEADINGS = ["dataset", "loss", "mean Dice of all classes", "rarest class", "its Dice"]


def write_table(table: list[list[str]], seeds: int) -> None:
    """Puts the table between its markers in the document."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *table]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    before, _, remainder = DOCUMENT.read_text().partition(START)
    _, _, after = remainder.partition(END)
    caption = f"Mean of {seeds} seeds, with the smallest and the largest value."
    DOCUMENT.write_text(f"{before}{START}\n{text}\n\n{caption}\n{END}{after}")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    dataset: Annotated[
        list[str] | None, typer.Option(help="brain or buildings; default: both.")
    ] = None,
    results: Annotated[
        Path, typer.Option(help="Folder of the scores; existing scores are reused.")
    ] = Path("runs/suggestion_study"),
    write: Annotated[bool, typer.Option(help="Put the table and the picture into docs.")] = False,
) -> None:
    """Trains with both losses and all seeds, and prints the Dice scores side by side."""
    results.mkdir(parents=True, exist_ok=True)
    tasks = {name: TASKS[name]() for name in dataset or TASKS}
    scores = {name: saved_scores(results / f"{name}.json") for name in tasks}
    jobs = [(n, c, s) for s in range(seeds) for n in tasks for c in CONTENDERS]
    for name, contender, seed in track(jobs, "training", console=Console(stderr=True)):
        if seed < len(scores[name][contender]):
            continue
        params = CONTENDERS[contender](tasks[name])
        scores[name][contender].append(train_and_test(tasks[name], params, seed))
        (results / f"{name}.json").write_text(json.dumps(scores[name], indent=2) + "\n")
    table = Table(*HEADINGS)
    for row in rows(scores, tasks):
        table.add_row(*row)
    Console(width=120).print(table)
    if write:
        segloss.suggest(brain().masks).plot(PICTURE)
        write_table(rows(scores, tasks), seeds)


def saved_scores(path: Path) -> Scores:
    """Returns the scores of an earlier run."""
    scores: Scores = json.loads(path.read_text()) if path.is_file() else {}
    return {contender: scores.get(contender, []) for contender in CONTENDERS}


if __name__ == "__main__":
    typer.run(main)
