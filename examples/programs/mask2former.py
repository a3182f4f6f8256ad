"""Trains Mask2Former of Hugging Face with terms of segloss as the losses of its masks."""

import torch
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Trainer,
    TrainingArguments,
)

from segloss.terms import CrossEntropy, FocalTversky
from segloss.training.huggingface import use_mask_losses


def trainer_of(model, samples, folder="out", **arguments) -> Trainer:
    """Returns a Trainer of samples: pixel_values, mask_labels (K, H, W) and class_labels (K,)."""
    use_mask_losses(model, loss_mask=CrossEntropy(), loss_dice=FocalTversky())
    arguments = TrainingArguments(folder, **arguments)
    return Trainer(model, arguments, train_dataset=samples, data_collator=collate)


def collate(samples):
    """Returns a batch, with the masks in lists: images have different numbers of them."""
    batch = {key: [sample[key] for sample in samples] for key in samples[0]}
    return {**batch, "pixel_values": torch.stack(batch["pixel_values"])}


if __name__ == "__main__":
    model = Mask2FormerForUniversalSegmentation(Mask2FormerConfig(num_labels=3))
    labels = torch.randint(0, 3, (8, 64, 64))
    samples = [
        {
            "pixel_values": torch.randn(3, 64, 64),
            "mask_labels": torch.stack([y == k for k in y.unique()]).float(),
            "class_labels": y.unique(),
        }
        for y in labels
    ]
    trainer_of(model, samples, max_steps=3).train()
