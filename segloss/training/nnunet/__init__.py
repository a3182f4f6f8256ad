"""A trainer for nnU-Net v2, which finds it by `-tr SegLossTrainer`: `pip install nnunetv2`.

nnU-Net looks for trainers in the folders that the variable `nnUNet_extTrainer` lists. Name a folder
of yours, with a file that imports `SegLossTrainer` or defines a subclass, or this package's own:

    export nnUNet_extTrainer=$(python -m segloss.training.nnunet)
    nnUNetv2_train DATASET 2d 0 -tr SegLossTrainer
"""

from segloss.training.nnunet.dice import NegativeDice
from segloss.training.nnunet.trainer import SegLossTrainer

__all__ = ["NegativeDice", "SegLossTrainer"]
