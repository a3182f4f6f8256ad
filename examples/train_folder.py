"""Trains a small U-Net on your own images and masks, with a loss suggested for them.

    python examples/train_folder.py --images images/ --masks masks/

An image and its mask have the same name, except for the suffix and an ending such as _mask. Images
are grey or colour, of any size; the slices of volumes are images. Masks may be of any kind that
`segloss suggest` reads, such as labels, colours, or a file for each class. The script lists all
problems of the folders before training.

The output folder gets metrics.json, checkpoint.pt, losses.png and predictions.png. Without
--config, the script reads the masks first, prints its suggestion with reasons, and adds its config,
loss.yaml, and dataset.png. On a CPU, the same settings give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or it looks for a newer version online

import albumentations as A
import cv2
import numpy as np
import torch
from example_parts.configuration import command_line, load_config, parse
from example_parts.expected import expected_by
from example_parts.folders import MaskOptions, Pair, read_folders
from example_parts.interruption import ended_by_ctrl_c
from example_parts.networks import ModelSettings, build_unet
from example_parts.output_folder import OutputFolder, output_folder
from example_parts.pictures import Example, plot_curves, plot_examples
from example_parts.training import (
    Batch,
    Run,
    TrainingSettings,
    build_multi_loss,
    check_at_least,
    new_run,
    seed_of,
    shuffled,
    take_norms,
    train,
)
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from segloss import suggest
from segloss.foundation.ignore_index import values_of
from segloss.tools.suggest.classes import Classes
from segloss.tools.suggest.meaning import VALUES
from segloss.tools.suggest.picture import colours
from segloss.tools.suggest.sources import LAYOUTS

HERE = Path(__file__).parent
MULTIPLE = 16
"""The sides of crops and padded images are multiples of this, so that the U-Net can halve them."""

MISTAKE = 2
"""The exit code after a user's mistake."""

EXAMPLES = 4


@dataclass
class DataSettings:
    """The use of the folders.

    Attributes:
        validation_share: The share of the images to hold out.
    """

    validation_share: float

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise ValueError(
                "data.validation_share must lie between 0 and 1, such as 0.2, got "
                f"{self.validation_share}."
            )


@dataclass
class AugmentationSettings:
    """The augmentation of training images.

    Attributes:
        crop: The largest side of the random square crop of an image, in pixels.
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
class FolderSettings:
    """All settings in train_folder.yaml and in the config of the loss."""

    seed: int
    data: DataSettings
    augmentation: AugmentationSettings
    model: ModelSettings
    training: TrainingSettings
    loss_params: dict[str, Any]

    def __post_init__(self) -> None:
        check_at_least("seed", self.seed, 0)


class FolderDataset(Dataset[Batch]):
    """Images and masks for the network; their augmentation depends only on seed and index."""

    def __init__(
        self, pairs: Sequence[Pair], classes: Classes, transform: A.Compose, seed: int = 0
    ) -> None:
        self.pairs = pairs
        self.classes = classes
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Batch:
        self.transform.set_random_seed(seed_of(self.seed, index))
        pair = self.pairs[index]
        mask = self.classes.labels(pair.read_mask()).astype(np.int32)
        channels = mask if pair.mask.by_class else mask[None]
        sample = self.transform(image=pair.read_image(), mask=channels.transpose(1, 2, 0))
        return {
            "image": _channels_first(sample["image"]).float(),
            "gt_polygons_image": _channels_first(sample["mask"]).long(),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks, suggests, trains, tests and draws with the options of the command line."""
    options = read_command_line(arguments)
    with ended_by_ctrl_c(), output_folder(options.output) as folder:
        run_example(options, folder)


def run_example(options: argparse.Namespace, folder: OutputFolder) -> None:
    """Checks, suggests, trains, tests and draws."""
    with mistakes_listed():
        settings, pairs, classes = prepare(options, folder)
        training, validation = split(pairs, settings)
        run = start(settings, classes, pairs[0].channels, options)
        folder.take()
        if options.resume:
            run.resume(options.output / "checkpoint.pt")
    plain, augmented = transforms(training, settings.augmentation)

    def batches(epoch: int) -> DataLoader[Batch]:
        seed = seed_of(settings.seed, epoch)
        dataset = FolderDataset(training, classes, augmented, seed)
        return shuffled(dataset, settings.training.batch_size, seed)

    checkpoint = options.output / "checkpoint.pt"
    if not options.resume:
        take_norms(run.model, run.loss, batches(0))
        run.save(checkpoint)
    train(run, batches, settings.training, settings.seed, checkpoint)
    evaluate(run, FolderDataset(validation, classes, plain), options.output)


def read_command_line(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options: the shared options of the examples, and the folders."""
    command = command_line(__doc__, HERE / "train_folder.yaml", Path("runs/train_folder"))
    command.set_defaults(config=None)
    command.add_argument("--images", type=Path, required=True, metavar="DIR", help="the images")
    command.add_argument("--masks", type=Path, required=True, metavar="DIR", help="the masks")
    command.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="auto",
        help="labels: a file is a mask; classes: a subfolder is a class; auto: detect (auto)",
    )
    command.add_argument(
        "--ignore-index",
        type=lambda text: text if text == "none" else int(text),
        metavar="N",
        help="the number in masks that marks ignored pixels; none: there is none (detected)",
    )
    command.add_argument(
        "--values",
        choices=VALUES,
        default="auto",
        help="labels: a number is a class; soft: black and white with greys between; objects: "
        "numbers of objects; auto: detect (auto)",
    )
    command.add_argument(
        "--colours",
        metavar="PALETTE",
        help="the palette of colour-coded masks: a name, a file, or data",
    )
    command.add_argument(
        "--only", metavar="PATTERN", help="the names of masks, such as '*_mask.png'"
    )
    return parse(command, arguments)


@contextmanager
def mistakes_listed() -> Iterator[None]:
    """Ends the program with a message and exit code 2 instead of a traceback."""
    try:
        yield
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(MISTAKE) from error


def prepare(
    options: argparse.Namespace, folder: OutputFolder
) -> tuple[FolderSettings, list[Pair], Classes]:
    """Reads settings and folders; without a loss, writes a suggested one to the output folder."""
    base, config = HERE / "train_folder.yaml", options.config
    if options.resume and config is None:
        config = options.output / "loss.yaml"
    without_loss = [override for override in options.overrides if "loss_params" not in override]
    settings = load_config(FolderSettings, base, without_loss)  # before the slow steps
    about_masks = MaskOptions(
        options.layout, options.ignore_index, options.values, options.colours, options.only
    )
    if config is not None:
        settings = load_config(FolderSettings, base, options.overrides, additional=config)
        expected = expected_by(build_multi_loss(settings.loss_params), options.ignore_index)
        pairs = read_folders(options.images, options.masks, about_masks)
        return settings, pairs, expected.classes_in(options.masks, about_masks, pairs)
    pairs = read_folders(options.images, options.masks, about_masks)
    suggestion = suggest(options.masks, **asdict(about_masks), progress=True)
    Console().print(*suggestion.tables())
    folder.take()
    suggestion.plot(options.output / "dataset.png")
    config = suggestion.save(options.output / "loss.yaml", force=True)
    settings = load_config(FolderSettings, base, options.overrides, additional=config)
    return settings, pairs, suggestion.classes


def start(
    settings: FolderSettings, classes: Classes, in_channels: int, options: argparse.Namespace
) -> Run:
    """Returns the run before its first step."""
    torch.manual_seed(settings.seed)
    model = build_unet(settings.model, in_channels, classes.channels)
    folders = {"images": str(options.images), "masks": str(options.masks)}
    all_settings = asdict(settings) | folders
    return new_run(model, settings.loss_params, settings.training, all_settings)


def split(pairs: list[Pair], settings: FolderSettings) -> tuple[list[Pair], list[Pair]]:
    """Returns the training pairs and the held-out pairs, which depend on the seed.

    The slices of a volume stay together.
    """
    names = list(dict.fromkeys(pair.name for pair in pairs))
    held_out = max(1, round(len(names) * settings.data.validation_share))
    if held_out >= len(names):
        raise ValueError(
            f"There must be images for training and for validation: of {len(names)}, "
            f"data.validation_share={settings.data.validation_share:g} holds out {held_out}."
        )
    order = np.random.default_rng(settings.seed).permutation(len(names))
    validation = {names[i] for i in order[:held_out]}
    training = [pair for pair in pairs if pair.name not in validation]
    return training, [pair for pair in pairs if pair.name in validation]


def transforms(
    training: Sequence[Pair], settings: AugmentationSettings
) -> tuple[A.Compose, A.Compose]:
    """Returns the transforms of images for validation and for training.

    Channels are standardised by their mean and deviation over the training images. A crop is not
    larger than the smallest image, so that training sees the true edges of images; only tiny images
    are mirrored at their edges.
    """
    smallest = min(min(pair.size) for pair in training)
    crop = max(MULTIPLE, min(settings.crop, smallest // MULTIPLE * MULTIPLE))
    mean, deviation = brightness(training)
    finish = A.Normalize(mean.tolist(), deviation.tolist(), max_pixel_value=1.0)
    changes = [
        A.PadIfNeeded(crop, crop, border_mode=cv2.BORDER_REFLECT_101),
        A.RandomCrop(crop, crop),
        A.HorizontalFlip(p=settings.flip_probability),
    ]
    return A.Compose([finish]), A.Compose([*changes, finish])


def brightness(pairs: Sequence[Pair]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and deviation of each channel over all pixels; the deviation at least 1e-6."""
    sums = np.sum([pair.brightness[0] for pair in pairs], axis=0)
    squares = np.sum([pair.brightness[1] for pair in pairs], axis=0)
    pixels = sum(pair.brightness[2] for pair in pairs)
    mean = sums / pixels
    return mean, np.sqrt(np.maximum(squares / pixels - mean**2, 1e-12))


def evaluate(run: Run, validation: FolderDataset, output: Path) -> None:
    """Compares prediction and truth on the held-out images, in numbers and pictures."""
    classes = validation.classes
    overlap, size = np.zeros(len(classes.names)), np.zeros(len(classes.names))
    shown, every = [], max(1, len(validation) // EXAMPLES)
    batches = zip(validation.pairs, DataLoader(validation), strict=True)
    for number, (pair, batch) in enumerate(batches):
        predicted, actual = masks_of(classes, predict(run.model, batch["image"]), batch)
        overlap += (predicted & actual).sum((1, 2))
        size += predicted.sum((1, 2)) + actual.sum((1, 2))
        if number % every == 0 and len(shown) < EXAMPLES:
            shown.append(example(pair, classes, predicted, actual))
    report = metrics(classes, overlap, size)
    report["images"] = {"validation": len(validation)}
    report["seconds"] = round(run.seconds, 1)
    print_table(report)
    plot_curves(run, output / "losses.png")
    named = list(zip(classes.names, colours(classes), strict=True))
    legend = dict(enumerate(named if is_by_class(classes) else named[1:], 1))
    plot_examples(shown, legend, output / "predictions.png")
    (output / "metrics.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{run.seconds:.0f} seconds; the results are in {output}")


@torch.inference_mode()
def predict(model: nn.Module, image: Tensor) -> Tensor:
    """Returns the logits of a whole image, (1, C, H, W), mirrored up to multiples for the model."""
    model.eval()
    height, width = image.shape[2:]
    padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    mode = "reflect" if min(height, width) >= MULTIPLE else "replicate"
    padded = F.pad(image, padding, mode=mode)
    logits: Tensor = model(padded.to(next(model.parameters()).device))
    return logits[..., :height, :width].cpu()


def masks_of(
    classes: Classes, logits: Tensor, batch: Batch
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns prediction and truth as a mask for each class, (C, H, W), without ignored pixels."""
    target = batch["gt_polygons_image"][0].numpy()
    count = np.arange(len(classes.names))[:, None, None]
    if is_by_class(classes):
        predicted, actual = logits[0].numpy() > 0, target == 1
    else:
        labels = logits[0].numpy() > 0 if classes.sigmoid else logits.argmax(1).numpy()
        predicted, actual = labels == count, target == count
    valid = ~np.isin(target, values_of(classes.ignore_index))
    return predicted & valid, actual & valid


def is_by_class(classes: Classes) -> bool:
    """Returns whether each class has a separate channel and mask."""
    return classes.sigmoid and classes.foreground is None


def metrics(
    classes: Classes, overlap: NDArray[np.float64], size: NDArray[np.float64]
) -> dict[str, Any]:
    """Returns the Dice score of each class (of two classes, the foreground); None: absent."""
    scores = {
        name: 2 * float(o) / float(s) if s else None
        for name, o, s in zip(classes.names, overlap, size, strict=True)
    }
    if classes.foreground is not None:
        del scores[classes.names[0]]
    present = [score for score in scores.values() if score is not None]
    return {"mean_dice": float(np.mean(present)) if present else None, "dice": scores}


def print_table(report: dict[str, Any]) -> None:
    """Prints the Dice scores of the classes."""
    print(f"{'on the held-out images':<32}{'Dice':>8}")
    for name, score in [*report["dice"].items(), ("mean", report["mean_dice"])]:
        print(f"{name:<32}{'absent' if score is None else f'{score:.4f}':>8}")


def example(
    pair: Pair, classes: Classes, predicted: NDArray[np.bool_], actual: NDArray[np.bool_]
) -> Example:
    """Returns the row of an image in the picture."""
    return Example(
        Path(pair.title).name[:24],
        as_grey(pair.read_image()),
        as_labels(classes, actual),
        as_labels(classes, predicted),
    )


def as_grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns an image in 0 to 255, clipped at 1 % and 99 %; RGB, or its first channel."""
    image = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    low, high = np.percentile(image, [1, 99])
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return np.asarray(255 * scaled, dtype=np.uint8)


def as_labels(classes: Classes, masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Returns masks as labels from 1 for all classes but the background, the rarest on top."""
    first = 1 if is_by_class(classes) else 0
    labels = np.zeros(masks.shape[1:], dtype=np.uint8)
    for channel in np.argsort(-masks.sum((1, 2)), kind="stable"):
        labels[masks[channel]] = channel + first
    return labels


def _channels_first(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


if __name__ == "__main__":
    main()
