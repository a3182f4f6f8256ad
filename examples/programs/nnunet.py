"""nnU-Net with cross-entropy and focal Tversky loss. Put this file into a folder `trainers`.

export nnUNet_extTrainer=$PWD/trainers
nnUNetv2_train DATASET 2d 0 -tr FocalTrainer
"""

from segloss.terms import CrossEntropy, FocalTversky, Mixture
from segloss.training.nnunet import SegLossTrainer


class FocalTrainer(SegLossTrainer):
    """nnU-Net's trainer with another loss. `SegLossTrainer` itself has nnU-Net's own."""

    def build_segloss(self) -> Mixture:
        """Returns the loss of one scale."""
        return CrossEntropy() + FocalTversky(gamma=0.75, **self.region_options)
