"""nnU-Net's trainer with a loss of this package."""

from __future__ import annotations

from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from segloss.losses.multi_loss import MultiLoss
from segloss.losses.seg_loss import SegLoss
from segloss.terms import CrossEntropy, Mixture, Term
from segloss.training.nnunet.criterion import NnUNetCriterion
from segloss.training.nnunet.dice import NegativeDice


class SegLossTrainer(nnUNetTrainer):  # type: ignore[misc]  # nnU-Net has no types
    """nnU-Net's trainer with a loss of this package, by default nnU-Net's own.

    A subclass overrides `build_segloss` to train with another loss. Deep supervision with nnU-Net's
    weights, ignored pixels, regions and several processes need nothing further.

    nnU-Net finds it by `-tr SegLossTrainer`, and a subclass by its name, if `nnUNet_extTrainer`
    lists the folder with its file, also in `nnUNetv2_predict`.

    With several processes, a mixture is the loss of the whole batch, as in one process. nnU-Net
    itself does that only for the Dice of `batch_dice`; the other parts are means over processes,
    which differ from those of the batch if samples or ignored pixels are spread unevenly.

    Example:
        >>> from segloss.terms import FocalTversky
        >>> class FocalTrainer(SegLossTrainer):
        ...     def build_segloss(self):
        ...         return CrossEntropy() + FocalTversky(**self.region_options)
    """

    def build_segloss(self) -> Mixture | Term | nn.Module:
        """Returns the loss of one scale; here nnU-Net's own, cross-entropy and Dice.

        An override returns one of these:

        - terms with coefficients, such as `CrossEntropy() + Dice(**self.region_options)`. The rest
          comes from the data set: softmax for labels, sigmoid for regions, the ignored label, and
          sums over processes;
        - a `SegLoss`, a `CompoundLoss` or another loss of logits. Its targets are label maps
          (N, 1, *spatial), or masks of regions (N, R, *spatial). Ignored pixels get the weight 0;
        - a `MultiLoss` of such losses. Its weights follow nnU-Net's epochs.
        """
        labels = self.label_manager
        # nnU-Net's cross-entropy of regions is a sum over regions if pixels are ignored
        is_sum = labels.has_regions and labels.has_ignore_label
        cross_entropy = (labels.num_segmentation_heads if is_sum else 1.0) * CrossEntropy()
        return cross_entropy + NegativeDice(**self.region_options)

    @property
    def region_options(self) -> dict[str, Any]:
        """nnU-Net's arguments of region terms: classes without the background, and `batch_dice`."""
        labels = self.label_manager
        foreground = None if labels.has_regions else range(1, labels.num_segmentation_heads)
        pooled = "batch" if self.configuration_manager.batch_dice else "sample"
        return {"region_classes": foreground, "region_reduction": pooled}

    def on_train_epoch_start(self) -> None:
        """Sets the weights of a `MultiLoss` to those of the epoch."""
        super().on_train_epoch_start()
        if isinstance(self.loss.loss, MultiLoss):
            self.loss.loss.set_epoch(self.current_epoch)

    def _build_loss(self) -> nn.Module:
        """Returns the loss of (outputs, targets), for nnU-Net."""
        loss = self.build_segloss()
        if loss is None:
            raise TypeError(
                f"{type(self).__name__}.build_segloss() must return a loss or terms, got None: end "
                "it with return."
            )
        if isinstance(loss, (Mixture, Term)):
            loss = SegLoss(terms=loss, **self._options())
        criterion = NnUNetCriterion(
            loss,
            deep_supervision=self.enable_deep_supervision,
            ignore_label=self.label_manager.ignore_label,
            regions=self.label_manager.has_regions,
        )
        return criterion.to(self.device)

    def _options(self) -> dict[str, Any]:
        """Returns the arguments of `SegLoss` that follow from the data set and the processes."""
        synced = {"sync_statistics": self.is_ddp, "sync_in_eval": self.is_ddp}
        if self.label_manager.has_regions:
            return {"activation": "sigmoid", "from_logits": True, **synced}
        heads = self.label_manager.num_segmentation_heads
        return {"n_classes": heads, "activation": "softmax", "from_logits": True, **synced}
