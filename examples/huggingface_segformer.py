"""Trains a tiny SegFormer with the Trainer of Hugging Face and a loss of segloss.

Nothing is downloaded: the network is built from its configuration, and the images are discs and
squares on noise. With several processes: `torchrun --nproc-per-node 2 huggingface_segformer.py`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

from example_parts.shapes import CLASSES, Shapes
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    Trainer,
    TrainingArguments,
    set_seed,
)

from segloss import SegLoss
from segloss.training.huggingface import as_compute_loss_func


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Trains with the options of the command line, and returns the logged losses."""
    options = command_line().parse_args(arguments)
    set_seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=tiny_segformer(),
            args=training_arguments(options, folder),
            train_dataset=Shapes(options.samples, options.side, "pixel_values", "labels"),
            compute_loss_func=as_compute_loss_func(
                SegLoss(n_classes=CLASSES, bce_coef=0.5, dice_coef=0.5, region_reduction="batch")
            ),
        )
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if trainer.is_world_process_zero():
        print(f"The loss fell from {losses[0]:.3f} to {losses[-1]:.3f} in {options.steps} steps.")
    return losses


def tiny_segformer() -> SegformerForSemanticSegmentation:
    """Returns a SegFormer with 32,000 parameters; its logits are a quarter of the images' size."""
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            num_labels=CLASSES,
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 16, 16],
            num_attention_heads=[1, 2, 2, 2],
            decoder_hidden_size=16,
        )
    )


def training_arguments(options: argparse.Namespace, folder: str) -> TrainingArguments:
    """Returns the settings of the Trainer; `folder` is the place for its files."""
    return TrainingArguments(
        folder,
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.learning_rate,
        logging_steps=max(1, options.steps // 10),
        save_strategy="no",
        report_to=[],
        seed=options.seed,
        dataloader_pin_memory=False,
    )


def command_line() -> argparse.ArgumentParser:
    """Returns the options; with the defaults, training takes seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=60, help="optimiser steps (%(default)s)")
    parser.add_argument("--samples", type=int, default=256, help="images (%(default)s)")
    parser.add_argument("--side", type=int, default=64, help="pixels per side (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=4, help="per process (%(default)s)")
    parser.add_argument(
        "--accumulate", type=int, default=2, help="micro-batches in a step (%(default)s)"
    )
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    return parser


if __name__ == "__main__":
    main()
