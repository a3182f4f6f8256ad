"""Draws the response of each term to three kinds of errors, for docs/losses.md.

    python scripts/term_pictures.py

The truth is a disc. Its prediction, confident inside and soft at the edge, is moved sideways, grown
or shrunk, and blurred. A figure for each term shows the loss over these errors, and its gradient
with respect to the logits at one setting of each. The overview shows all terms side by side. The
script takes half a minute, and needs Matplotlib, tqdm, SciPy and scikit-image beside segloss.
"""

from __future__ import annotations

import argparse
import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from tqdm import tqdm

import segloss
from segloss import HausdorffDistanceLoss, LovaszLoss, SoftClDiceLoss, TopKCrossEntropyLoss
from segloss.losses.term_losses import TermLoss
from segloss.terms import TERMS, CrossEntropy
from segloss.tools.plots.landscape import curve, draw_sweep, name_errors, share_limits
from segloss.tools.plots.reference_maps import maps_of
from segloss.tools.plots.reference_shape import (
    ERROR_RANGES,
    SWEEPS,
    Array,
    Setting,
    Sweep,
    logits_of,
    true_mask,
)

Loss = Callable[[Tensor], Tensor]
"""A function from logits (1, 1, SIDE, SIDE) to a scalar."""

IMAGES = Path(__file__).parents[1] / "docs" / "images" / "terms"

TITLES = {
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
    "generalized_wasserstein_dice": "Generalised Wasserstein Dice",
    "generalized_cross_entropy": "Generalised cross-entropy",
    "symmetric_cross_entropy": "Symmetric cross-entropy",
    "balanced_cross_entropy": "Balanced cross-entropy",
    "mcc": "Matthews correlation",
    "region_size_l1": "Region size, L1",
    "region_size_kl": "Region size, KL",
    "focal": "Focal",
    "poly1": "Poly-1",
    "unified_focal": "Unified focal",
    "boundary": "Boundary",
    "skeleton_recall": "Skeleton recall",
    "lovasz": "Lovász hinge",
    "topk_cross_entropy": "Top-k cross-entropy",
    "cldice": "clDice, 20 iterations",
    "hausdorff_distance": "Hausdorff distance",
}
"""The titles in the figures, for the terms and for the losses that are not terms."""

NAMES = {name: TITLES.get(name, name.replace("_", " ").capitalize()) for name in TITLES | TERMS}
"""The names of all pictures, with their titles."""

NOT_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "lovasz": LovaszLoss("binary"),
    "topk_cross_entropy": TopKCrossEntropyLoss("binary"),
    "cldice": SoftClDiceLoss("binary", iterations=20),
    "hausdorff_distance": HausdorffDistanceLoss("binary"),
}
"""The losses that are not terms."""

PARAMETERS: dict[str, dict[str, Any]] = {"f_beta": {"beta": 2.0}}
"""Parameters other than the defaults; with its default, F-beta equals Dice."""


class CrossEntropyLoss(TermLoss):
    """The loss of the cross-entropy term, which segloss leaves to PyTorch."""

    term_type = CrossEntropy


GRADIENT_AT = {
    "shift": (12.0, "12 pixels"),
    "factor": (1.4, "1.4 times"),
    "softness": (4.0, "4 pixels"),
}
"""The setting of each sweep for the picture of the gradient, as a number and in words."""


def loss_named(name: str) -> Loss:
    """Returns a loss of a predicted disc, with the logits as the only argument."""
    mask = true_mask()
    if name in NOT_TERMS:
        return lambda logits: NOT_TERMS[name](logits, mask)
    loss = loss_types()[name](**PARAMETERS.get(name, {}))
    maps = maps_of(loss, mask.long(), exclusive=False)
    return lambda logits: loss(logits, mask, maps=maps)


def loss_types() -> dict[str, type[TermLoss]]:
    """Returns the losses of single terms, by the names of the terms."""
    public = [value for value in vars(segloss).values() if isinstance(value, type)]
    losses = [value for value in public if issubclass(value, TermLoss) and value is not TermLoss]
    return {loss.term_type.name: loss for loss in (CrossEntropyLoss, *losses)}


def over_settings(loss: Loss) -> Callable[[Setting], float]:
    """Returns the loss as a function of a setting instead of logits."""
    return lambda setting: loss(logits_of(setting)).item()


def gradient(loss: Loss, setting: Setting) -> Array:
    """Returns the gradient with respect to the logits, (SIDE, SIDE)."""
    logits = logits_of(setting).requires_grad_()
    (by_logits,) = torch.autograd.grad(loss(logits), logits)
    return by_logits[0, 0].numpy()


def term_figure(name: str) -> Figure:
    """Draws the loss over each sweep, and below it the gradient at one setting."""
    loss = loss_named(name)
    figure = Figure(figsize=(6.67, 4.9), layout="constrained")
    figure.suptitle(NAMES[name], fontsize=13, fontweight="bold")
    above, below = figure.subplots(2, 3, height_ratios=[1, 1.15])
    for axes, sweep in zip(above, SWEEPS, strict=True):
        draw_curve(axes, sweep, curve(over_settings(loss), sweep))
    share_limits(above)
    above[0].set_ylabel("loss", fontsize=10)
    settings = [sweep.at(GRADIENT_AT[sweep.field][0]) for sweep in SWEEPS]
    gradients = [gradient(loss, setting) for setting in settings]
    limit = np.abs(gradients).max()
    for axes, sweep, setting, by_logits in zip(below, SWEEPS, settings, gradients, strict=True):
        draw_gradient(axes, by_logits, limit, logits_of(setting)[0, 0].numpy())
        axes.set_title(
            f"gradient at {GRADIENT_AT[sweep.field][1]}", fontsize=10, color=sweep.colour
        )
    figure.supxlabel(
        f"blue: pushed up, red: pushed down, darkest: {in_words(limit)} per pixel\n"
        "line: the true disc, dashes: the prediction",
        fontsize=9,
    )
    return figure


def in_words(number: float) -> str:
    """Returns a number with two digits and a power of ten, as a formula for Matplotlib."""
    digits, exponent = f"{number:.1e}".split("e")
    return rf"${digits} \times 10^{{{int(exponent)}}}$"


def draw_curve(axes: Axes, sweep: Sweep, losses: Array) -> None:
    """Draws the loss over a sweep, with a dot at the setting of the gradient."""
    draw_sweep(axes, sweep, losses)
    value, _ = GRADIENT_AT[sweep.field]
    height = np.interp(value, sweep.values, losses)
    axes.plot(value, height, "o", color=sweep.colour, markersize=7)


def draw_gradient(axes: Axes, by_logits: Array, limit: float, logits: Array) -> None:
    """Draws a gradient, the outline of the disc, and the outline of its prediction in dashes."""
    axes.imshow(by_logits, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.contour(true_mask()[0, 0].numpy(), [0.5], colors="black", linewidths=1.0)
    axes.contour(logits, [0.0], colors="#555555", linewidths=0.9, linestyles="dashed")
    axes.set(xticks=[], yticks=[])


def increases(name: str) -> list[Array]:
    """Returns the increase of the loss over each error, as a share of the largest increase."""
    loss = over_settings(loss_named(name))
    without_error = loss(Setting())
    added = [curve(loss, error.sweep, error.values) - without_error for error in ERROR_RANGES]
    return [values / max(increase.max() for increase in added) for values in added]


def overview_figure() -> Figure:
    """Draws all terms side by side, each as a share of its largest increase, and a legend."""
    rows = len(NAMES) // 4 + 1  # the last panel has the legend
    figure = Figure(figsize=(6.67, 1.64 * rows), layout="constrained")
    figure.supylabel("increase of the loss (1: the largest increase)", fontsize=10)
    panels = figure.subplots(rows, 4, sharex=True, sharey=True)
    for name, axes in zip(tqdm(NAMES, "overview"), panels.flat, strict=False):
        for error, values in zip(ERROR_RANGES, increases(name), strict=True):
            shares = np.linspace(0, 1, len(values))
            axes.plot(shares, values, color=error.colour, linewidth=1.8, label=error.label)
        title = textwrap.fill(NAMES[name], 21)
        axes.set_title(title, fontsize=9 if "\n" not in title else 7, fontweight="bold")
        name_errors(axes)
        axes.set(yticks=[0, 0.5, 1], ylim=(-0.12, 1.08))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    for axes in panels.flat[len(NAMES) :]:
        axes.axis("off")
    panels[-1, -1].legend(handles, labels, loc="center", frameon=False, fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a small PNG with 128 colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150)
    picture = Image.open(drawn).convert("RGB")
    reduced = picture.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws the figures of the named terms, or of all terms and the overview."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "terms",
        nargs="*",
        metavar="term",
        help="the terms to draw (default: all, and the overview)",
    )
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
