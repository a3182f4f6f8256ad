"""Transforms for the data loader that compute maps of some losses, such as distances.

They work like Albumentations' transforms: called with keywords, they return the keywords and one
more entry. Run them on the CPU, after all transforms that bend, crop or scale the mask. They need
NumPy, SciPy and scikit-image: `pip install "pytorch-segloss[maps]"`.
"""

from segloss.maps.components import ComponentMap
from segloss.maps.mask_map import MaskMap
from segloss.maps.signed_distance import SignedDistanceMap
from segloss.maps.skeleton import SkeletonMap

__all__ = ["ComponentMap", "MaskMap", "SignedDistanceMap", "SkeletonMap"]
