"""Trains a SegFormer with the Trainer of Hugging Face; 255 marks the pixels to leave out."""

import torch
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    Trainer,
    TrainingArguments,
)

from segloss import CompoundLoss
from segloss.training.huggingface import IgnoreIndexCollator, as_compute_loss_func


def trainer_of(model, samples, folder="out", **arguments) -> Trainer:
    """Returns a Trainer of samples, each with pixel_values (3, H, W) and labels (H, W)."""
    loss = CompoundLoss(mode="multiclass", ignore_index=255)
    return Trainer(
        model,
        TrainingArguments(folder, **arguments),
        train_dataset=samples,
        data_collator=IgnoreIndexCollator(255),
        compute_loss_func=as_compute_loss_func(loss),
    )


if __name__ == "__main__":
    model = SegformerForSemanticSegmentation(SegformerConfig(num_labels=3))
    images, labels = torch.randn(8, 3, 64, 64), torch.randint(0, 3, (8, 64, 64))
    samples = [{"pixel_values": x, "labels": y} for x, y in zip(images, labels, strict=True)]
    trainer_of(model, samples, max_steps=10, gradient_accumulation_steps=2).train()
