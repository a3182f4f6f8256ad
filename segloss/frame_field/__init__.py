"""Frame-field segmentation: losses that align building masks with the directions of walls.

Source: Girard, Smirnov, Solomon, Tarabalka, "Polygonal building extraction by frame field
learning" (CVPR 2021). A frame field has two directions u and v at each pixel, whose signs do not
matter: +u, -u, +v and -v are the roots of the polynomial z^4 + c2 z^2 + c0 with c0 = u^2 v^2 and
c2 = -(u^2 + v^2). The network predicts the complex numbers c0 and c2 as the four channels of
`pred_batch["crossfield"]`.
"""

from segloss.frame_field.losses import (
    CrossfieldAlign90Loss,
    CrossfieldAlignLoss,
    CrossfieldSmoothLoss,
    SegCrossfieldLoss,
    SegEdgeInteriorLoss,
)
from segloss.frame_field.pre_processes import ComputeSegGrads, SegLossWeights, compute_gt_field

__all__ = [
    "ComputeSegGrads",
    "CrossfieldAlign90Loss",
    "CrossfieldAlignLoss",
    "CrossfieldSmoothLoss",
    "SegCrossfieldLoss",
    "SegEdgeInteriorLoss",
    "SegLossWeights",
    "compute_gt_field",
]
