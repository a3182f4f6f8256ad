"""Trains the brain example's network with four losses, and puts the results into docs/choosing.md.

All runs share the data, the network, the optimiser and the learning rates of
examples/brain_tissue.yaml; only the loss and the seed differ. Arguments change fields for all runs:

    PYTHONPATH=examples python scripts/choosing_runs.py data.slice_step=2

A complete run is not repeated, and an interrupted one continues from its checkpoint. The tables go
between markers of the page, and the pictures into docs/images/choosing.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brain_tissue import (
    HERE,
    TISSUES,
    BrainDataset,
    BrainSettings,
    load_brain,
    run_example,
    split,
    transforms,
)
from example_parts.configuration import load_config, mistakes_as_messages
from example_parts.data_parallel import ALONE
from example_parts.networks import build_unet
from example_parts.output_folder import output_folder
from example_parts.pictures import COLOURS, ERROR_COLOUR, show_grey, show_labels
from marked import put_between_markers
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from term_pictures import save
from torch.utils.data import DataLoader
from tqdm import tqdm

ROOT = Path(__file__).parents[1]

SURE = 0.99
"""The smallest probability of a prediction that counts as sure."""


@dataclass
class Outcome:
    """The results of a trained network on the test slab.

    Attributes:
        dice: The Dice score of each tissue.
        confidence: The probability of the predicted class, for each voxel of the brain.
        right: For each voxel of the brain, True if that class is the true one.
        cross_entropy: The mean of -log of the true class's probability, in nats.
    """

    dice: dict[str, float]
    confidence: NDArray[np.float32]
    right: NDArray[np.bool_]
    cross_entropy: float

    @property
    def mean_dice(self) -> float:
        """The mean Dice score over the tissues."""
        return float(np.mean([*self.dice.values()]))

    @property
    def sure_errors(self) -> float:
        """The share of the wrong voxels with a sure prediction."""
        wrong = self.confidence[~self.right]
        return float((wrong >= SURE).mean()) if len(wrong) else 0.0


def recipes(loss_list: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Returns the four losses, from the two of the example: a `SegLoss`, and one that fades out."""
    seg, fading = loss_list
    zeros = {"bce_coef": 0.0, "dice_coef": 0.0, "tversky_focal_coef": 0.0}
    return {
        "cross-entropy alone": [{**seg, **zeros, "bce_coef": 1.0}],
        "Dice alone": [{**seg, **zeros, "dice_coef": 1.0}],
        "SegLoss": [seg],
        "SegLoss, scheduled": [seg, fading],
    }


def settings_of(recipe: str, seed: int, overrides: Sequence[str]) -> BrainSettings:
    """Returns the settings of the example with the losses of the recipe."""
    settings = load_config(
        BrainSettings,
        HERE / "brain_tissue.yaml",
        [*overrides, f"seed={seed}", "training.device=cpu"],
    )
    compound = settings.loss_params["compound_loss"]
    compound["loss_list"] = recipes(compound["loss_list"])[recipe]
    return settings


def train_all(
    names: Sequence[str], seeds: Sequence[int], overrides: Sequence[str], output: Path
) -> dict[tuple[str, int], Outcome]:
    """Trains all runs that are not complete, with a progress bar, and tests all of them."""
    outcomes = {}
    for seed, recipe in tqdm([*itertools.product(seeds, names)], "runs"):
        folder = folder_of(output, recipe, seed)
        settings = settings_of(recipe, seed, overrides)
        resume = (folder / "checkpoint.pt").is_file()
        with output_folder(folder) as taken:
            run_example(settings, taken, ALONE, resume=resume)
        outcomes[recipe, seed] = outcome_of(settings, folder)
    return outcomes


def outcome_of(settings: BrainSettings, folder: Path) -> Outcome:
    """Returns the results of a complete run on the test slab."""
    report = json.loads((folder / "metrics.json").read_text())
    probabilities, labels = predictions_on_test(settings, folder)
    brain = labels > 0
    true = np.take_along_axis(probabilities, labels[:, None].astype(np.intp), axis=1)[:, 0]
    return Outcome(
        dice=report["dice"],
        confidence=probabilities.max(axis=1)[brain],
        right=(probabilities.argmax(axis=1) == labels)[brain],
        cross_entropy=float(-np.log(np.maximum(true[brain], 1e-30)).mean()),
    )


@torch.inference_mode()
def predictions_on_test(
    settings: BrainSettings, folder: Path
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Returns probabilities (slices, classes, height, width) on the test slab, and its labels."""
    model = build_unet(settings.model, in_channels=1, classes=1 + len(TISSUES))
    model.load_state_dict(torch.load(folder / "checkpoint.pt", weights_only=True)["model"])
    model.eval()
    training, test = split(load_brain(settings.data.tissue_threshold), settings.data)
    plain, _ = transforms(training, settings.augmentation)
    batches = DataLoader(BrainDataset(test, plain), batch_size=8)
    probabilities = torch.cat([model(batch["image"]).double().softmax(1) for batch in batches])
    return np.asarray(probabilities.float()), test.labels


def by_recipe(outcomes: dict[tuple[str, int], Outcome]) -> dict[str, list[Outcome]]:
    """Returns the outcomes of all seeds, by the name of the recipe."""
    names = dict.fromkeys(recipe for recipe, _ in outcomes)
    return {name: [o for (recipe, _), o in outcomes.items() if recipe == name] for name in names}


def table(groups: dict[str, list[Outcome]], lookup: dict[str, float]) -> str:
    """Returns a table with a row for each recipe: means over seeds, with their ranges."""
    tissues = [name for name, _ in TISSUES.values()]
    lines = [["loss", *tissues, "mean"], ["---"] * (len(tissues) + 2)]
    for name, group in groups.items():
        cells = [mean_and_range([outcome.dice[tissue] for outcome in group]) for tissue in tissues]
        lines.append([name, *cells, mean_and_range([outcome.mean_dice for outcome in group])])
    lookup_dice = [lookup[tissue] for tissue in tissues]
    lines.append(
        ["*(lookup by intensity)*", *(f"{v:.3f}" for v in [*lookup_dice, np.mean(lookup_dice)])]
    )
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def best_by_seed(groups: dict[str, list[Outcome]]) -> str:
    """Returns the number of seeds in which each recipe had the best mean Dice, as a sentence."""
    seeds = zip(*groups.values(), strict=True)
    best = [
        max(zip(groups, seed, strict=True), key=lambda pair: pair[1].mean_dice) for seed in seeds
    ]
    counts = Counter(name for name, _ in best)
    listed = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    return f"Number of seeds with the best mean: {listed}."


def confidence_table(groups: dict[str, list[Outcome]]) -> str:
    """Returns a table on the quality of the probabilities, as means over seeds."""
    lines = [["loss", "right", "mean confidence", "cross-entropy, nats", "sure errors"]]
    lines.append(["---"] * 5)
    for name, group in groups.items():
        values = [
            np.mean([outcome.right.mean() for outcome in group]),
            np.mean([outcome.confidence.mean() for outcome in group]),
            np.mean([outcome.cross_entropy for outcome in group]),
            np.mean([outcome.sure_errors for outcome in group]),
        ]
        percents = [f"{100 * values[i]:.1f} %" for i in (0, 1, 3)]
        lines.append([name, *percents[:2], f"{values[2]:.3f}", percents[2]])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def mean_and_range(values: Sequence[float]) -> str:
    """Returns the mean and the range, such as "0.941 (0.938 to 0.943)"."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def dice_figure(groups: dict[str, list[Outcome]], lookup: dict[str, float]) -> Figure:
    """Draws a panel for each tissue, with a row of dots for each recipe, one for each seed."""
    figure = Figure(figsize=(6.67, 2.5), layout="constrained")
    panels = figure.subplots(1, len(TISSUES), sharey=True)
    for axes, (tissue, _) in zip(panels, TISSUES.values(), strict=True):
        axes.axvline(lookup[tissue], color="#8c8c8c", linewidth=1, linestyle="--")
        for row, (group, colour) in enumerate(zip(groups.values(), COLOURS, strict=False)):
            scores = [outcome.dice[tissue] for outcome in group]
            axes.plot(scores, [row] * len(scores), "o", color=colour, alpha=0.6, markersize=6)
            axes.plot(np.mean(scores), row, "|", color=colour, markersize=16, markeredgewidth=2)
        axes.set_title(tissue, fontsize=10, fontweight="bold")
        axes.xaxis.set_major_locator(MaxNLocator(3))
        finish(axes)
    panels[0].set_yticks(range(len(groups)), list(groups))
    panels[0].set_ylim(len(groups) - 0.5, -0.5)
    figure.supxlabel("Dice on the test slab; dashed: the lookup by intensity", fontsize=9)
    return figure


def reliability_figure(groups: dict[str, list[Outcome]]) -> Figure:
    """Draws the share of correct predictions over the probability of the network, for all seeds."""
    figure = Figure(figsize=(6.67, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0.3, 1, 15)
    axes.plot([0.3, 1], [0.3, 1], color="#8c8c8c", linewidth=1, linestyle="--", label="ideal")
    for (name, group), colour in zip(groups.items(), COLOURS, strict=False):
        confidence = np.concatenate([outcome.confidence for outcome in group])
        right = np.concatenate([outcome.right for outcome in group])
        bins = np.digitize(confidence, edges[1:-1])
        filled = [b for b in range(len(edges) - 1) if (bins == b).sum() >= 100]
        sure = [confidence[bins == b].mean() for b in filled]
        axes.plot(sure, [right[bins == b].mean() for b in filled], "o-", color=colour, label=name)
    axes.set(xlabel="probability from the network", ylabel="share of correct predictions")
    axes.legend(frameon=False, fontsize=9)
    finish(axes)
    return figure


def finish(axes: Axes) -> None:
    """Gives a panel its grid."""
    axes.grid(alpha=0.2)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def slice_figure(names: Sequence[str], overrides: Sequence[str], output: Path) -> Figure:
    """Draws errors and confidence of the networks of seed 0 in the middle of a test slice."""
    colours = [colour for _, colour in TISSUES.values()]
    figure = Figure(figsize=(8.4, 4.1), layout="constrained")
    rows = figure.subplots(2, 1 + len(names), squeeze=False)
    for column, name in enumerate(names, start=1):
        settings = settings_of(name, 0, overrides)
        probabilities, labels = predictions_on_test(settings, folder_of(output, name, 0))
        _, test = split(load_brain(settings.data.tissue_threshold), settings.data)
        image, truth, p = (middle_of(array) for array in (test.image, labels, probabilities))
        show_grey(rows[0, 0], image)
        show_labels(rows[1, 0], truth, colours)
        errors = np.ma.masked_equal(truth != p.argmax(axis=0), False)
        show_grey(rows[0, column], image // 2)
        rows[0, column].imshow(errors, cmap=ListedColormap([ERROR_COLOUR]))
        shown = rows[1, column].imshow(p.max(axis=0), cmap="viridis", vmin=0.5, vmax=1)
        rows[0, column].set_title(name, fontsize=9, fontweight="bold")
    rows[0, 0].set_title("image, and truth", fontsize=9, fontweight="bold")
    for axes in rows.flat:
        axes.set(xticks=[], yticks=[])
    rows[0, 1].set_ylabel("errors", fontsize=9)
    rows[1, 1].set_ylabel("confidence", fontsize=9)
    bar = figure.colorbar(shown, ax=rows[:, -1], shrink=0.6)
    bar.set_label("probability of the predicted class", fontsize=9)
    bar.ax.tick_params(labelsize=9)
    return figure


def middle_of(slices: NDArray[Any]) -> NDArray[Any]:
    """Returns the middle of the middle slice, with half the height and width."""
    height, width = slices.shape[-2:]
    rows, columns = (slice(side // 4, side // 4 + side // 2) for side in (height, width))
    return slices[len(slices) // 2][..., rows, columns]


def folder_of(output: Path, recipe: str, seed: int) -> Path:
    """Returns the folder of a run."""
    return output / recipe.replace(", ", "_").replace(" ", "_") / str(seed)


def description(seeds: int, overrides: Sequence[str], settings: BrainSettings) -> str:
    """Returns a sentence about the settings of the runs."""
    changed = f", with {', '.join(f'`{o}`' for o in overrides)}" if overrides else ""
    return f"Seeds for each loss: {seeds}. Epochs of each run: {settings.training.epochs}{changed}."


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, draws and updates the page, according to the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="field=value", help="for all runs")
    parser.add_argument("--seeds", type=int, default=3, help="number of runs for each loss (3)")
    parser.add_argument("--output", type=Path, default=Path("runs/choosing"), help="for the runs")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "choosing.md")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images" / "choosing")
    options = parser.parse_intermixed_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}")
    names = list(recipes([{}, {}]))
    with mistakes_as_messages():
        settings = settings_of(names[0], 0, options.overrides)
        outcomes = train_all(names, range(options.seeds), options.overrides, options.output)
    groups = by_recipe(outcomes)
    metrics = folder_of(options.output, names[0], 0) / "metrics.json"
    lookup = json.loads(metrics.read_text())["lookup_dice"]
    save(dice_figure(groups, lookup), options.images / "dice.png")
    save(reliability_figure(groups), options.images / "reliability.png")
    slices = slice_figure(names, options.overrides, options.output)
    save(slices, options.images / "slices.png")
    put_between_markers(
        options.page, "runs: how", description(options.seeds, options.overrides, settings)
    )
    put_between_markers(options.page, "runs: dice", table(groups, lookup))
    put_between_markers(options.page, "runs: best", best_by_seed(groups))
    put_between_markers(options.page, "runs: confidence", confidence_table(groups))


if __name__ == "__main__":
    main()
