"""A trainer for nnU-Net v2 with losses of this package: `pip install nnunetv2`.

nnU-Net looks for trainers in the folders that the variable `nnUNet_extTrainer` names. A file there
that imports `SegLossTrainer`, or defines a subclass, is enough for `-tr` to find it:

    mkdir trainers
    echo "from segloss.training.nnunet import SegLossTrainer" > trainers/segloss_trainer.py
    export nnUNet_extTrainer=$PWD/trainers
    nnUNetv2_train DATASET 2d 0 -tr SegLossTrainer
"""

from segloss.training.nnunet.dice import NegativeDice
from segloss.training.nnunet.trainer import SegLossTrainer

__all__ = ["NegativeDice", "SegLossTrainer"]
