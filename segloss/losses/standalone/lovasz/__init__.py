"""The Lovasz loss: the convex extension of the Jaccard loss to errors of any size.

`loss` has the module, with its means over classes, images and ranks. `sets` chooses what computes
the loss of each set of pixels: C++ on CPUs, or `operations` of PyTorch.
"""

from segloss.losses.standalone.lovasz.loss import LovaszLoss

__all__ = ["LovaszLoss"]
