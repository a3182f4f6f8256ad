"""Losses for the Trainer of Hugging Face: `pip install "pytorch-segloss[huggingface]"`."""

from segloss.huggingface.compute_loss import as_compute_loss_func
from segloss.huggingface.loss_schedule import LossSchedule

__all__ = ["LossSchedule", "as_compute_loss_func"]
