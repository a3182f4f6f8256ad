"""The file in which nnU-Net finds the trainer."""

from segloss.training.nnunet import SegLossTrainer

__all__ = ["SegLossTrainer"]
