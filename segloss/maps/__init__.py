"""Transforms for the data loader that compute the maps that some losses need, such as distances.

They work like Albumentations' transforms: called with keywords, they return the keywords and one
more entry. Run them on the CPU, after all transforms that warp, crop or scale the mask. They need
NumPy, SciPy and scikit-image: `pip install "pytorch-segloss[maps]"`.
"""

from segloss.maps.components import ComponentMap
from segloss.maps.distance import DistanceMap
from segloss.maps.instances import (
    InstanceDistanceMap,
    InstanceMap,
    InstanceSizeMap,
    UNetWeightMap,
)
from segloss.maps.mask_map import MapTransform, MaskMap
from segloss.maps.signed_distance import SignedDistanceMap
from segloss.maps.skeleton import SkeletonMap

__all__ = [
    "ComponentMap",
    "DistanceMap",
    "InstanceDistanceMap",
    "InstanceMap",
    "InstanceSizeMap",
    "MapTransform",
    "MaskMap",
    "SignedDistanceMap",
    "SkeletonMap",
    "UNetWeightMap",
]
