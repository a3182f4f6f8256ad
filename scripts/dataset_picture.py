"""Draws docs/images/dataset_brain.png, the counts and examples of the brain example's masks.

PYTHONPATH=examples python scripts/dataset_picture.py
"""

from __future__ import annotations

from pathlib import Path

from brain_tissue import HERE, BrainSettings, load_brain, split
from example_parts.configuration import load_config

import segloss

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "dataset_brain.png"

if __name__ == "__main__":
    settings = load_config(BrainSettings, HERE / "brain_tissue.yaml").data
    training, _ = split(load_brain(settings.tissue_threshold), settings)
    segloss.suggest(training.labels).plot(PICTURE)
