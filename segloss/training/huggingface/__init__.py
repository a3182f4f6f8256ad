"""Losses for Hugging Face's Trainer: `pip install "pytorch-segloss[huggingface]"`."""

from segloss.training.huggingface.collator import IgnoreIndexCollator
from segloss.training.huggingface.compute_loss import as_compute_loss_func
from segloss.training.huggingface.loss_schedule import LossSchedule
from segloss.training.huggingface.mask_losses import use_mask_losses

__all__ = ["IgnoreIndexCollator", "LossSchedule", "as_compute_loss_func", "use_mask_losses"]
