"""The data of the project's examples: tissues of a brain, and synthetic buildings.

The folder `examples` must be on Python's path.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from outcomes.sets.arrays import Arrays

VALIDATION_SLAB = [-27.0, 3.0]
"""The lowest and the highest slice for validation, in mm of the MNI space: below the test slab."""

SCENES = (192, 32, 32)
"""The number of scenes for training, validation and test."""


def tissues(_: Path) -> Arrays:
    """Returns slices of the MNI152 brain with three tissues; slabs are for validation and test."""
    import brain_tissue
    from example_parts.configuration import load_config

    settings = load_config(brain_tissue.BrainSettings, brain_tissue.HERE / "brain_tissue.yaml").data
    rest, test = brain_tissue.split(brain_tissue.load_brain(settings.tissue_threshold), settings)
    parts = brain_tissue.split(rest, replace(settings, test_slab=VALIDATION_SLAB))
    return _joined([(part.image[..., None], part.labels) for part in (*parts, test)])


def buildings(_: Path) -> Arrays:
    """Returns synthetic scenes with the ground, interiors of buildings, and walls."""
    from example_parts.scenes import make_scene

    scenes = [make_scene(128, 7, seed) for seed in range(sum(SCENES))]
    images = np.array([scene.image for scene in scenes])
    labels = np.array([np.where(scene.masks[1], 2, scene.masks[0]) for scene in scenes])
    ends = np.cumsum(SCENES)[:-1]
    return _joined([*zip(np.split(images, ends), np.split(labels, ends), strict=True)])


def _joined(parts: list[tuple[Any, Any]]) -> Arrays:
    """Returns the arrays of a data set from the images and labels of each part."""
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    split = np.repeat(np.arange(len(parts)), [len(image) for image, _ in parts])
    return {
        "image": images.astype(np.uint8),
        "label": labels.astype(np.uint8),
        "split": split.astype(np.uint8),
    }
