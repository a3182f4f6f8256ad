"""Trains a small U-Net to tell brain tissues apart on MRI slices, with a loss from a YAML file.

The data is the MNI152 brain of the package nilearn, so nothing is downloaded: a T1-weighted image,
and maps of the probabilities of grey and white matter, with voxels of 1 mm. A slab of axial slices
is held out for the test, with a gap on either side. At the end, the network is compared with the
best possible prediction from a voxel's intensity alone.

Several processes can share the batches:

    torchrun --standalone --nproc-per-node=2 examples/brain_tissue.py

The output folder gets metrics.json, checkpoint.pt, losses.png and slices.png. On a CPU, the same
settings give the same numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or it looks for a newer version online

import albumentations as A
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from example_parts.configuration import command_line, load_config, mistakes_as_messages, parse
from example_parts.data_parallel import Ranks, processes
from example_parts.interruption import ended_by_ctrl_c
from example_parts.networks import ModelSettings, build_unet
from example_parts.output_folder import OutputFolder, output_folder
from example_parts.pictures import Example, plot_curves, plot_examples
from example_parts.training import (
    Batch,
    Run,
    TrainingSettings,
    check_at_least,
    new_run,
    seed_of,
    shuffled,
    take_norms,
    to_device,
    train,
)
from nilearn import datasets
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

HERE = Path(__file__).parent

TISSUES = {
    1: ("other tissue", "#3d7ea6"),
    2: ("grey matter", "#e2a33e"),
    3: ("white matter", "#f5efe0"),
}
"""Name and colour of each label; 0 is the background."""

MULTIPLE = 16
"""The sides of slices and crops are multiples of this, so that the U-Net can halve them."""

Slices = NDArray[np.uint8]
"""Grey values or labels, (slices, height, width)."""


@dataclass
class DataSettings:
    """The slices for training and test.

    Attributes:
        test_slab: The lowest and highest slice of the test, in mm of the MNI space.
        gap: The mm above and below the slab that are left out of the training, at least 1.
        slice_step: 1 takes every slice of training and test, 2 every second slice, and so on.
        tissue_threshold: A voxel is grey or white matter if the probability is above this.
    """

    test_slab: list[float]
    gap: float
    slice_step: int
    tissue_threshold: float

    def __post_init__(self) -> None:
        if len(self.test_slab) != 2 or self.test_slab[0] > self.test_slab[1]:
            raise ValueError(
                "data.test_slab must be the lowest and the highest slice of the test, in mm, such "
                f"as [13, 43], got {self.test_slab}."
            )
        check_at_least("data.gap", self.gap, 1)
        check_at_least("data.slice_step", self.slice_step, 1)
        check_at_least("data.tissue_threshold", self.tissue_threshold, 0.5)


@dataclass
class AugmentationSettings:
    """The augmentation of training slices.

    Attributes:
        crop: The side of the random square crop of a slice, in voxels.
        flip_probability: The probability of a flip between left and right.
    """

    crop: int
    flip_probability: float

    def __post_init__(self) -> None:
        if self.crop < MULTIPLE or self.crop % MULTIPLE:
            raise ValueError(
                f"augmentation.crop must be a multiple of {MULTIPLE}, got {self.crop}."
            )


@dataclass
class BrainSettings:
    """All settings in brain_tissue.yaml."""

    seed: int
    data: DataSettings
    augmentation: AugmentationSettings
    model: ModelSettings
    training: TrainingSettings
    loss_params: dict[str, Any]

    def __post_init__(self) -> None:
        check_at_least("seed", self.seed, 0)


@dataclass
class Brain:
    """Axial slices of a brain, from the bottom up, with the front of the head on top.

    Attributes:
        image: Grey values.
        labels: Tissues, 0 to 3.
        height: The position of each slice, in mm of the MNI space.
    """

    image: Slices
    labels: Slices
    height: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: Any) -> Brain:
        return Brain(self.image[index], self.labels[index], self.height[index])


class BrainDataset(Dataset[Batch]):
    """Slices for the network; their augmentation depends only on the seed and the index."""

    def __init__(self, brain: Brain, transform: A.Compose, seed: int = 0) -> None:
        self.brain = brain
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.brain)

    def __getitem__(self, index: int) -> Batch:
        self.transform.set_random_seed(seed_of(self.seed, index))
        sample = self.transform(image=self.brain.image[index], mask=self.brain.labels[index])
        return {"image": sample["image"], "gt_polygons_image": sample["mask"][None].long()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, tests and draws with the options of the command line."""
    command = command_line(__doc__, HERE / "brain_tissue.yaml", Path("runs/brain_tissue"))
    options = parse(command, arguments)
    with mistakes_as_messages():
        settings = load_config(BrainSettings, options.config, options.overrides)
    with (
        ended_by_ctrl_c(),
        output_folder(options.output) as folder,
        processes(settings.training.device) as ranks,
    ):
        run_example(settings, folder, ranks, resume=options.resume)


def run_example(
    settings: BrainSettings, folder: OutputFolder, ranks: Ranks, *, resume: bool
) -> None:
    """Trains in all processes, and tests and draws in the first."""
    checkpoint = folder.path / "checkpoint.pt"
    with mistakes_as_messages():
        torch.manual_seed(settings.seed)
        model = build_unet(settings.model, in_channels=1, classes=1 + len(TISSUES))
        run = new_run(model, settings.loss_params, settings.training, asdict(settings), ranks)
        if resume:
            run.resume(checkpoint)
        brain = load_brain(settings.data.tissue_threshold, quiet=not ranks.is_first)
        training, test = split(brain, settings.data)
        plain, augmented = transforms(training, settings.augmentation)
        folder.take()

    def batches(epoch: int) -> DataLoader[Batch]:
        seed = seed_of(settings.seed, epoch)
        dataset = BrainDataset(training, augmented, seed)
        return shuffled(dataset, settings.training.batch_size, seed, ranks)

    if not resume:
        take_norms(run.model, run.loss, batches(0), quiet=not ranks.is_first)
        run.save(checkpoint)
    train(run, batches, settings.training, settings.seed, checkpoint)
    if ranks.is_first:
        evaluate(run, training, test, plain, folder.path)


def evaluate(run: Run, training: Brain, test: Brain, plain: A.Compose, output: Path) -> None:
    """Compares the network with the lookup on the test slab, in numbers and pictures."""
    prediction = predict(run.model, BrainDataset(test, plain))
    lookup = fit_lookup(training)[test.image]
    report = metrics(prediction, lookup, test.labels)
    print_table(report)
    plot_curves(run, output / "losses.png")
    plot_examples(examples(test, prediction), TISSUES, output / "slices.png")
    report["seconds"] = round(run.seconds, 1)
    (output / "metrics.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{run.seconds:.0f} seconds; the results are in {output}")


def load_brain(tissue_threshold: float, *, quiet: bool = False) -> Brain:
    """Returns the MNI152 brain: its T1-weighted image, and labels from the maps of its tissues.

    A bar shows the progress, unless it is `quiet`: reading takes several seconds.
    """
    volumes = (
        datasets.load_mni152_template,
        datasets.load_mni152_gm_template,
        datasets.load_mni152_wm_template,
        datasets.load_mni152_brain_mask,
    )
    bar = tqdm(volumes, "reading the brain", unit="volume", disable=quiet)
    template, *others = [load(resolution=1) for load in bar]
    grey_matter, white_matter, brain = (volume.get_fdata() for volume in others)
    brain = brain > 0

    labels = np.select(
        [~brain, grey_matter > tissue_threshold, white_matter > tissue_threshold], [0, 2, 3], 1
    )
    image = np.rint(255 * template.get_fdata())
    height = template.affine[2, 3] + template.affine[2, 2] * np.arange(brain.shape[2])
    box = brain_box(brain)
    return Brain(axial(image[box]), axial(labels[box]), height[box[2]])


def brain_box(brain: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Returns the box around a brain, widened in the axial plane to multiples of `MULTIPLE`."""
    x, y, z = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return widened(x), widened(y), slice(z[0], z[-1] + 1)


def widened(indices: NDArray[np.intp]) -> slice:
    """Returns a range around the indices, with a length that is a multiple of `MULTIPLE`."""
    length = -(-(indices[-1] + 1 - indices[0]) // MULTIPLE) * MULTIPLE
    start = (indices[0] + indices[-1] + 1 - length) // 2
    return slice(start, start + length)


def axial(volume: NDArray[Any]) -> Slices:
    """Returns the slices (z, y, x) of a volume (x, y, z), with the front of the head on top."""
    return np.ascontiguousarray(volume.transpose(2, 1, 0)[:, ::-1], dtype=np.uint8)


def split(brain: Brain, settings: DataSettings) -> tuple[Brain, Brain]:
    """Returns the training slices and the test slab, with the gap between them."""
    low, high = settings.test_slab
    in_slab = (low <= brain.height) & (brain.height <= high)
    near_slab = (low - settings.gap <= brain.height) & (brain.height <= high + settings.gap)
    training = brain[np.flatnonzero(~near_slab)[:: settings.slice_step]]
    test = brain[np.flatnonzero(in_slab)[:: settings.slice_step]]
    if not (len(training) and len(test)):
        raise ValueError(
            "data must leave slices for the training and for the test, got "
            f"{len(training)} and {len(test)}: the brain extends from {brain.height[0]:g} to "
            f"{brain.height[-1]:g} mm, data.test_slab is {settings.test_slab} and data.gap "
            f"{settings.gap:g}."
        )
    return training, test


def transforms(training: Brain, settings: AugmentationSettings) -> tuple[A.Compose, A.Compose]:
    """Returns the transforms of slices for the test and for the training.

    Intensities are standardised by the brain's mean and deviation, and not augmented: there is only
    one scanner and one brain, and the difficulty is where its tissues look alike.
    """
    smallest = min(training.image.shape[1:])
    if settings.crop > smallest:
        raise ValueError(
            f"augmentation.crop must be at most {smallest}, the size of slices, "
            f"got {settings.crop}."
        )
    inside = training.image[training.labels > 0]
    finish = [A.Normalize(inside.mean(), inside.std(), max_pixel_value=1.0), ToTensorV2()]
    changes = [
        A.RandomCrop(settings.crop, settings.crop),
        A.HorizontalFlip(p=settings.flip_probability),
    ]
    return A.Compose(finish), A.Compose([*changes, *finish])


def fit_lookup(brain: Brain) -> Slices:
    """Returns the most frequent label of each of the 256 grey values: the best use of intensity.

    The image has 225 different grey values, so bins lose no information.
    """
    pairs = 4 * brain.image.astype(np.intp) + brain.labels
    counts = np.bincount(pairs.ravel(), minlength=4 * 256).reshape(256, 4)
    return np.asarray(counts.argmax(axis=1), dtype=np.uint8)


@torch.inference_mode()
def predict(model: nn.Module, slices: BrainDataset) -> Slices:
    """Returns the labels that the model predicts for whole slices."""
    model.eval()
    batches = DataLoader(slices, batch_size=8)
    labels = [model(to_device(batch, model)["image"]).argmax(dim=1) for batch in batches]
    return np.asarray(torch.cat(labels).cpu(), dtype=np.uint8)


def dice_scores(prediction: Slices, truth: Slices) -> dict[str, float]:
    """Returns the Dice score of each tissue over all slices; 1 for a tissue in neither."""
    scores = {}
    for label, (name, _) in TISSUES.items():
        predicted, actual = prediction == label, truth == label
        size = int(predicted.sum() + actual.sum())
        scores[name] = 2 * int((predicted & actual).sum()) / size if size else 1.0
    return scores


def metrics(prediction: Slices, lookup: Slices, truth: Slices) -> dict[str, Any]:
    """Returns the Dice scores of the network and of the intensity lookup."""
    dice, lookup_dice = dice_scores(prediction, truth), dice_scores(lookup, truth)
    return {
        "mean_dice": float(np.mean([*dice.values()])),
        "dice": dice,
        "lookup_mean_dice": float(np.mean([*lookup_dice.values()])),
        "lookup_dice": lookup_dice,
    }


def print_table(report: dict[str, Any]) -> None:
    """Prints the Dice scores of the tissues side by side."""
    print(f"{'Dice on the test slab':<24}{'network':>9}{'intensity lookup':>19}")
    for name, score in report["dice"].items():
        print(f"{name:<24}{score:>9.4f}{report['lookup_dice'][name]:>19.4f}")
    print(f"{'mean':<24}{report['mean_dice']:>9.4f}{report['lookup_mean_dice']:>19.4f}")


def examples(test: Brain, prediction: Slices) -> list[Example]:
    """Returns three slices of the slab, from its upper, middle and lower third."""
    indices = sorted({len(test) * sixth // 6 for sixth in (1, 3, 5)}, reverse=True)
    return [
        Example(f"z = {test.height[i]:+.0f} mm", test.image[i], test.labels[i], prediction[i])
        for i in indices
    ]


if __name__ == "__main__":
    main()
