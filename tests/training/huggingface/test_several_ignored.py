"""Several ignored values, with the Trainer of Hugging Face."""

from __future__ import annotations

import pytest
import torch

from segloss import SegLoss
from segloss.training.huggingface import IgnoreIndexCollator, as_compute_loss_func

SEVERAL = [0, 255]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (2, 8, 8), generator=random)
    labels[:, :2, 3:] = 255
    return torch.randn(2, 4, 8, 8, generator=random), labels


def test_the_loss_leaves_out_all_of_them_and_the_label_of_the_trainer() -> None:
    logits, labels = batch()
    compute_loss = as_compute_loss_func(SegLoss(n_classes=4, ignore_index=SEVERAL))
    expected = SegLoss(n_classes=4, ignore_index=255)(logits, labels.masked_fill(labels == 0, 255))
    torch.testing.assert_close(compute_loss({"logits": logits}, labels), expected[0])
    marked = labels.masked_fill(labels == 255, -100)
    torch.testing.assert_close(compute_loss({"logits": logits}, marked), expected[0])


def test_the_collator_marks_all_of_them() -> None:
    sample = {"labels": torch.tensor([0, 1, 255], dtype=torch.uint8)}
    collator = IgnoreIndexCollator(SEVERAL, collate=lambda samples: samples[0])
    assert collator([sample])["labels"].tolist() == [-100, 1, -100]
    with pytest.raises(ValueError, match=r"ignore_index must not hold a value twice"):
        IgnoreIndexCollator([0, 0])


def test_labels_that_the_trainer_counts_are_an_error_that_names_the_collator_of_all() -> None:
    logits, labels = batch()
    compute_loss = as_compute_loss_func(SegLoss(n_classes=4, ignore_index=SEVERAL))
    remedy = r"labels hold 0 and 255, .*=IgnoreIndexCollator\(\[0, 255\]\)"
    with pytest.raises(ValueError, match=remedy):
        compute_loss({"logits": logits}, labels, num_items_in_batch=torch.tensor(1000))
