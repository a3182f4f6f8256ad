"""Trains the Model of pytorch_segmentation_models_trainer on label maps of four classes."""

from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image
from pytorch_lightning import Trainer
from pytorch_segmentation_models_trainer.train import train

from segloss.compat.segmentation_models_trainer import install


def fit() -> Trainer:
    """Trains with the config beside this file, which has a loss of segloss."""
    install()
    return train(OmegaConf.load(Path(__file__).with_suffix(".yaml")))


def write_images() -> None:
    """Writes 16 images, their label maps and a list of both into the working directory."""
    random, rows = np.random.default_rng(0), ["image,mask"]
    for i in range(16):
        labels = np.kron(random.integers(0, 4, (4, 4)), np.ones((8, 8))).astype(np.uint8)
        image = 50 * labels[..., None] + random.integers(0, 50, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(image).save(f"image_{i}.png")
        Image.fromarray(labels).save(f"mask_{i}.png")
        rows.append(f"image_{i}.png,mask_{i}.png")
    Path("images.csv").write_text("\n".join(rows))


if __name__ == "__main__":
    write_images()
    print(fit().callback_metrics)
