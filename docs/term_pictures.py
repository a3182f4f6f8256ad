"""Draws how each term answers to three kinds of errors, for docs/losses.md.

    python docs/term_pictures.py

The truth is a disc. Its prediction, confident inside and soft at the edge, is moved sideways, grown
or shrunk, and blurred. A figure for each term has the loss over these, and its gradient by the
logits at one setting of each; the overview has all terms side by side. It takes half a minute, and
needs Matplotlib, tqdm, SciPy and scikit-image beside segloss.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

import segloss
from segloss import SignedDistanceMap, SkeletonMap, TermLoss, TopKCrossEntropyLoss
from segloss.terms import CrossEntropy

Array = NDArray[np.float64]
Loss = Callable[[Tensor], Tensor]
"""From logits (1, 1, SIDE, SIDE) to a scalar."""

IMAGES = Path(__file__).parent / "images" / "terms"

SIDE = 96
CENTRE = (47.5, 35.5)
"""Row and column; the disc stays in the image when it is moved or grown as far as it is here."""

RADIUS = 20.0
CONFIDENT = 8.0
"""The largest logit, of either sign: a probability of 0.9997."""

SHIFT_COLOUR, GROWN_COLOUR, BLUR_COLOUR = "#1b6ca8", "#d1495b", "#2e8b57"
SHRUNK_COLOUR = "#e0932a"

NAMES = {
    "cross_entropy": "Cross-entropy",
    "dice": "Dice",
    "focal_tversky": "Focal Tversky",
    "jaccard": "Jaccard",
    "tversky": "Tversky",
    "f_beta": "F-beta, beta = 2",
    "log_dice": "Log Dice",
    "log_cosh_dice": "Log-cosh Dice",
    "squared_dice": "Squared Dice",
    "generalized_dice": "Generalised Dice",
    "mcc": "Matthews correlation",
    "region_size_l1": "Region size, L1",
    "region_size_kl": "Region size, KL",
    "focal": "Focal",
    "poly1": "Poly-1",
    "unified_focal": "Unified focal",
    "boundary": "Boundary",
    "skeleton_recall": "Skeleton recall",
    "topk_cross_entropy": "Top-k cross-entropy",
}
"""What the terms, and the one loss that is none, are called in the figures."""

PARAMETERS: dict[str, dict[str, Any]] = {"f_beta": {"beta": 2.0}}
"""Those that are not the defaults: with its own, F-beta is Dice."""


class CrossEntropyLoss(TermLoss):
    """The one term that has no loss of its own in segloss, since PyTorch has it."""

    term_type = CrossEntropy


class Setting(NamedTuple):
    """A prediction of the disc.

    Attributes:
        shift: How far it is moved to the right, in pixels.
        factor: Its radius over the true one.
        softness: Over how many pixels a logit changes by 1 at the edge.
    """

    shift: float = 0.0
    factor: float = 1.0
    softness: float = 1.0


class Sweep(NamedTuple):
    """Settings of which one field changes.

    Attributes:
        field: The field.
        values: Its values.
        chosen: The value whose gradient is shown.
        title: What is done to the prediction.
        label: What the values are.
        words: The chosen value in words.
        colour: The colour of the curve.
    """

    field: str
    values: Array
    chosen: float
    title: str
    label: str
    words: str
    colour: str

    def at(self, value: float) -> Setting:
        """The setting with that value."""
        return Setting()._replace(**{self.field: float(value)})


SHIFTED = Sweep(
    "shift",
    np.arange(0.0, 41.0),
    12.0,
    "moved sideways",
    "shift in pixels",
    "12 pixels",
    SHIFT_COLOUR,
)
RESIZED = Sweep(
    "factor",
    np.linspace(0.4, 1.8, 43),
    1.4,
    "shrunk or grown",
    "radius over the true one",
    "1.4 times",
    GROWN_COLOUR,
)
BLURRED = Sweep(
    "softness",
    np.geomspace(0.25, 16.0, 37),
    4.0,
    "blurred",
    "softness of the edge in pixels",
    "4 pixels",
    BLUR_COLOUR,
)
SWEEPS = (SHIFTED, RESIZED, BLURRED)


def distance(row: float, column: float) -> Tensor:
    """The distance of each pixel from a point, (1, 1, SIDE, SIDE)."""
    axis = torch.arange(SIDE, dtype=torch.float64)
    return torch.hypot(axis[:, None] - row, axis[None] - column)[None, None]


def true_mask() -> Tensor:
    """The disc, (1, 1, SIDE, SIDE)."""
    return (distance(*CENTRE) < RADIUS).double()


def logits_of(setting: Setting) -> Tensor:
    """A prediction of the disc, (1, 1, SIDE, SIDE)."""
    inside = setting.factor * RADIUS - distance(CENTRE[0], CENTRE[1] + setting.shift)
    return (inside / setting.softness).clamp(-CONFIDENT, CONFIDENT)


def loss_named(name: str) -> Loss:
    """The loss of a prediction of the disc: its logits are the only argument."""
    mask = true_mask()
    if name == "topk_cross_entropy":
        topk = TopKCrossEntropyLoss("binary")
        return lambda logits: topk(logits, mask)
    loss = loss_types()[name](**PARAMETERS.get(name, {}))
    maps = {key: maps_of_mask()[key] for key in loss.compound.maps}
    return lambda logits: loss(logits, mask, maps=maps)


def loss_types() -> dict[str, type[TermLoss]]:
    """The losses of single terms, by the names of these."""
    public = [value for value in vars(segloss).values() if isinstance(value, type)]
    losses = [value for value in public if issubclass(value, TermLoss) and value is not TermLoss]
    return {loss.term_type.name: loss for loss in (CrossEntropyLoss, *losses)}


def maps_of_mask() -> dict[str, Tensor]:
    """The distances and the skeleton of the disc, each (1, 1, SIDE, SIDE)."""
    sample = SkeletonMap()(**SignedDistanceMap()(mask=true_mask()[0, 0].long()))
    return {key: sample[key][None].double() for key in ("gt_distance_map", "gt_skeleton")}


def curve(loss: Loss, sweep: Sweep, values: Array | None = None) -> Array:
    """The loss at each value of a sweep, or at others of its field."""
    values = sweep.values if values is None else values
    return np.array([loss(logits_of(sweep.at(value))).item() for value in values])


def gradient(loss: Loss, setting: Setting) -> Array:
    """The gradient by the logits, (SIDE, SIDE)."""
    logits = logits_of(setting).requires_grad_()
    (by_logits,) = torch.autograd.grad(loss(logits), logits)
    return by_logits[0, 0].numpy()


def term_figure(name: str) -> Figure:
    """Draws the loss over each sweep, and below its gradient at one setting of it."""
    loss = loss_named(name)
    figure = Figure(figsize=(6.67, 4.9), layout="constrained")
    figure.suptitle(NAMES[name], fontsize=13, fontweight="bold")
    above, below = figure.subplots(2, 3, height_ratios=[1, 1.15])
    for axes, sweep in zip(above, SWEEPS, strict=True):
        draw_curve(axes, sweep, curve(loss, sweep))
    share_limits(above)
    above[0].set_ylabel("loss", fontsize=10)
    settings = [sweep.at(sweep.chosen) for sweep in SWEEPS]
    gradients = [gradient(loss, setting) for setting in settings]
    limit = np.abs(gradients).max()
    for axes, sweep, setting, by_logits in zip(below, SWEEPS, settings, gradients, strict=True):
        draw_gradient(axes, by_logits, limit, logits_of(setting)[0, 0].numpy())
        axes.set_title(f"gradient at {sweep.words}", fontsize=10, color=sweep.colour)
    figure.supxlabel(
        f"blue: pushed up, red: pushed down, darkest: {in_words(limit)} per pixel\n"
        "line: the true disc, dashes: the prediction",
        fontsize=9,
    )
    return figure


def in_words(number: float) -> str:
    """A number with two digits and a power of ten, as Matplotlib sets formulas."""
    digits, exponent = f"{number:.1e}".split("e")
    return rf"${digits} \times 10^{{{int(exponent)}}}$"


def draw_curve(axes: Axes, sweep: Sweep, losses: Array) -> None:
    """Draws the loss over a sweep, with a dot where the gradient is shown."""
    axes.plot(sweep.values, losses, color=sweep.colour, linewidth=2.2)
    chosen = np.interp(sweep.chosen, sweep.values, losses)
    axes.plot(sweep.chosen, chosen, "o", color=sweep.colour, markersize=7)
    axes.set_title(sweep.title, fontsize=11, fontweight="bold", color=sweep.colour)
    axes.set_xlabel(sweep.label, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    if sweep.field == "softness":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([0.25, 1, 4, 16]))
        axes.xaxis.set_major_formatter(FixedFormatter(["¼", "1", "4", "16"]))
        axes.xaxis.set_minor_locator(NullLocator())


def share_limits(panels: Sequence[Axes]) -> None:
    """Gives panels one loss axis, which holds 0."""
    values = np.concatenate([line.get_ydata() for axes in panels for line in axes.lines])
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    room = 0.06 * (high - low)
    for axes in panels:
        axes.set_ylim(low - room * (low < 0), high + room)
    for axes in panels[1:]:
        axes.tick_params(labelleft=False)


def draw_gradient(axes: Axes, by_logits: Array, limit: float, logits: Array) -> None:
    """Draws a gradient with the outlines of the disc, and of its prediction in dashes."""
    axes.imshow(by_logits, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.contour(true_mask()[0, 0].numpy(), [0.5], colors="black", linewidths=1.0)
    axes.contour(logits, [0.0], colors="#555555", linewidths=0.9, linestyles="dashed")
    axes.set(xticks=[], yticks=[])


class Stretch(NamedTuple):
    """An error from none to the largest, of a panel of the overview."""

    sweep: Sweep
    values: Array
    label: str
    colour: str


STRETCHES = (
    Stretch(SHIFTED, np.linspace(0, 40, 41), "moved, up to\n40 pixels", SHIFT_COLOUR),
    Stretch(RESIZED, np.linspace(1, 1.8, 25), "grown, up to\n1.8 times", GROWN_COLOUR),
    Stretch(RESIZED, np.linspace(1, 0.4, 25), "shrunk, down to\n0.4 times", SHRUNK_COLOUR),
    Stretch(BLURRED, np.geomspace(1, 16, 25), "blurred, up to\n16 pixels", BLUR_COLOUR),
)


def rises(name: str) -> list[Array]:
    """What each error adds to the loss, over the largest that any of them adds."""
    loss = loss_named(name)
    right = loss(logits_of(Setting())).item()
    added = [curve(loss, stretch.sweep, stretch.values) - right for stretch in STRETCHES]
    return [values / max(rise.max() for rise in added) for values in added]


def overview_figure() -> Figure:
    """Draws all terms side by side, each as a share of its largest rise, and a legend last."""
    figure = Figure(figsize=(6.67, 8.2), layout="constrained")
    figure.supylabel(
        "what an error adds to the loss (1: the most that any of them adds)", fontsize=10
    )
    panels = figure.subplots(5, 4, sharex=True, sharey=True)
    for name, axes in zip(tqdm(NAMES, "overview"), panels.flat, strict=False):
        for stretch, values in zip(STRETCHES, rises(name), strict=True):
            places = np.linspace(0, 1, len(values))
            axes.plot(places, values, color=stretch.colour, linewidth=1.8, label=stretch.label)
        axes.set_title(NAMES[name], fontsize=9, fontweight="bold")
        axes.set(xticks=[0, 1], yticks=[0, 0.5, 1], ylim=(-0.12, 1.08))
        axes.set_xticklabels(["none", "most"], fontsize=9)
        axes.tick_params(labelsize=9)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    panels[-1, -1].axis("off")
    panels[-1, -1].legend(handles, labels, loc="center", frameon=False, fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a small PNG, of 128 colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150)
    picture = Image.open(drawn).convert("RGB")
    few = picture.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws the figures of the terms that are named, or of all, and then the overview."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("terms", nargs="*", metavar="term", help="the terms to draw; none: all")
    parser.add_argument("--output", type=Path, default=IMAGES, help="the folder for the figures")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.terms if name not in NAMES]:
        parser.error(f"unknown terms {unknown}; expected some of {list(NAMES)}")
    for name in tqdm(options.terms or list(NAMES), "terms"):
        save(term_figure(name), options.output / f"{name}.png")
    if not options.terms:
        save(overview_figure(), options.output / "overview.png")


if __name__ == "__main__":
    main()
