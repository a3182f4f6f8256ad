"""Deep supervision: one loss at every scale of a network with several predictions."""

from segloss.losses.deep_supervision.deep_supervision import DeepSupervision

__all__ = ["DeepSupervision"]
