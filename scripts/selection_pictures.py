"""Draws which pixels components and hard pixels give weight to, for docs/losses.md.

    python scripts/selection_pictures.py

A prediction finds a large disc, and is unsure about four small ones. `components.png` compares the
gradients of Dice over the image and over components, and `hard_pixels.png` the pixels that `TopK`
and `Threshold` keep. Needs Matplotlib and SciPy beside segloss.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from term_pictures import in_words, save
from torch import Tensor

from segloss import ComponentMap, CompoundLoss, HardPixelLoss, Threshold, TopK
from segloss.terms import CrossEntropy, Dice, Term
from segloss.tools.plots.style import COLOURS, WIDTH

IMAGES = Path(__file__).parents[1] / "docs" / "images" / "selections"

SIDE = 96

DISCS = ((38.0, 40.0, 25.0), (14.0, 82.0, 4.0), (78.0, 78.0, 5.0), (86.0, 18.0, 4.0), (48.0, 84, 3))
"""Row, column and radius of each disc; the first is the large one."""

Image = NDArray[np.float32]


def distances() -> Tensor:
    """Returns the distance of each pixel to the border of each disc, positive inside."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = [radius - np.hypot(rows - row, columns - column) for row, column, radius in DISCS]
    return torch.from_numpy(np.array(inside, dtype=np.float32))


def mask() -> Tensor:
    """Returns the truth, (1, 1, SIDE, SIDE)."""
    return (distances().amax(0) > 0).float()[None, None]


def prediction() -> Tensor:
    """Returns logits (1, 1, SIDE, SIDE): sure of the large disc, unsure of the small ones."""
    large, *small = distances()
    return torch.maximum(large.clamp(-5, 5), torch.stack(small).amax(0).clamp(-5, 2) - 2)[
        None, None
    ]


def gradient(term: Term) -> Image:
    """Returns the gradient of a term with respect to the logits."""
    logits = prediction().requires_grad_()
    ids = ComponentMap()(mask=mask()[0, 0].long())["gt_components"][None]
    loss = CompoundLoss(term)
    maps = dict.fromkeys(loss.map_keys, ids)
    loss(logits, mask(), maps=maps).backward()
    assert logits.grad is not None
    return logits.grad[0, 0].numpy()


def kept(select: TopK | Threshold) -> Image:
    """Returns 1 for the pixels that a selection keeps."""
    logits = prediction().requires_grad_()
    HardPixelLoss(CrossEntropy(), select, "binary")(logits, mask()).backward()
    assert logits.grad is not None
    return (logits.grad[0, 0] != 0).float().numpy()


def outline(axes: Axes, title: str) -> None:
    """Draws the outlines of the discs over an image."""
    axes.contour(mask()[0, 0].numpy(), [0.5], colors="black", linewidths=0.9)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)


def components_figure() -> Figure:
    """Draws the gradients of Dice over the image and over components."""
    figure = Figure((WIDTH, 2.9), layout="constrained")
    ids, *panels = figure.subplots(1, 3)
    numbers = ComponentMap()(mask=mask()[0, 0].long())["gt_components"][0].numpy()
    ids.imshow(numbers, cmap=ListedColormap(["white", *COLOURS[: len(DISCS)]]))
    outline(ids, "components")
    gradients = [gradient(Dice()), gradient(Dice(region_groups="components"))]
    limit = max(np.abs(each).max() for each in gradients)
    for axes, by_logits, title in zip(
        panels, gradients, ("Dice of the image", "Dice of components"), strict=True
    ):
        axes.imshow(by_logits, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        outline(axes, title)
    figure.supxlabel(
        f"gradient: blue is pushed up, red is pushed down, darkest: {in_words(limit)} per pixel",
        fontsize=9,
    )
    return figure


def hard_pixels_figure() -> Figure:
    """Draws the cross-entropy of each pixel, and the pixels that two selections keep."""
    figure = Figure((WIDTH, 2.9), layout="constrained")
    losses, *panels = figure.subplots(1, 3)
    unreduced = CompoundLoss(CrossEntropy(), reduction="none")(prediction(), mask())[0, 0]
    shown = losses.imshow(unreduced.numpy(), cmap="Reds", vmin=0, interpolation="nearest")
    figure.colorbar(shown, ax=losses, shrink=0.7)
    outline(losses, "cross-entropy")
    selections = {"TopK(2)": TopK(2), "Threshold(0.7, min_kept=50)": Threshold(0.7, min_kept=50)}
    for axes, (title, select) in zip(panels, selections.items(), strict=True):
        axes.imshow(kept(select), cmap=ListedColormap(["white", COLOURS[1]]), vmin=0, vmax=1)
        outline(axes, title)
    return figure


if __name__ == "__main__":
    save(components_figure(), IMAGES / "components.png")
    save(hard_pixels_figure(), IMAGES / "hard_pixels.png")
