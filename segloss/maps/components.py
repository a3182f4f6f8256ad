"""The connected components of each class."""

from __future__ import annotations

from collections.abc import Sequence

from segloss.foundation.arguments import check_choice, check_integer
from segloss.foundation.map_libraries import Array, library
from segloss.maps.mask_map import MaskMap
from segloss.maps.spacing import Spacing

PARTITIONS = ("component", "nearest")
"""The pixels that belong to a component: only its own, or all those that it is nearest to."""

DTYPES = ("uint8", "int16", "int32")
"""The dtypes of the ids."""


class ComponentMap(MaskMap):
    """Adds the connected components of each class, for losses with `region_groups="components"`.

    Each component of a class (a lesion, a cell, a roof) has an id, 1, 2, ...; pixels of no
    component have 0. Each sample and class starts at 1.

    Args:
        n_classes: The number of classes. 2: one map, of the foreground; more: one map for each.
        mask_key: The name of the mask among the keywords, (H, W) or (D, H, W).
        out_key: The name of the maps in the result, (C, *spatial).
        partition: "component": an id marks only the component's pixels, as in blob loss; "nearest":
            it marks all pixels that are nearer to this component than to others, as in CC-DiceCE,
            so that each component also has the false positives around it.
        connectivity: The number of axes along which neighbouring pixels may differ: 1 for
            neighbours that share an edge (2D) or a face (3D); None: the number of dimensions, so
            that pixels that touch at a corner belong together.
        spacing: The size of a pixel along each axis, or one number for all, for the distances of
            "nearest"; None: 1.
        dtype: The dtype of the ids: "uint8", "int16" or "int32". On a GPU and in a compiled model,
            "uint8" is the fastest, because it bounds the number of components.
        ignore_index: The label of ignored pixels, or a list of them, as in the loss: they belong to
            no component. None: no label is ignored.

    To treat the instances of an instance mask as components, put the instance ids into the batch,
    each class's in a map of its own.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map, holds
            a label that is neither a class nor ignored, has another number of dimensions than
            `spacing`, or has more components than `dtype` can number.
        MissingKeyError: There is no mask.
        ImportError: SciPy is not installed.

    Source: Kofler et al., "blob loss: instance imbalance aware loss functions for semantic
    segmentation" (2022); Jaus, Seibold, Reiss, Marinov, Li, Ye, Krieg, Kleesiek, Stiefelhagen,
    "Every component counts: rethinking the measure of success for medical semantic segmentation in
    multi-instance segmentation tasks" (2024), for "nearest".

    Example:
        >>> import torch
        >>> mask = torch.tensor([[1, 1, 0, 0, 0, 0, 1, 0]])
        >>> ComponentMap()(mask=mask)["gt_components"]
        tensor([[[1, 1, 0, 0, 0, 0, 2, 0]]], dtype=torch.int16)
        >>> ComponentMap(partition="nearest")(mask=mask)["gt_components"]
        tensor([[[1, 1, 1, 1, 2, 2, 2, 2]]], dtype=torch.int16)
    """

    def __init__(
        self,
        n_classes: int = 2,
        *,
        mask_key: str = "mask",
        out_key: str = "gt_components",
        partition: str = "component",
        connectivity: int | None = None,
        spacing: float | Sequence[float] | None = None,
        dtype: str = "int16",
        ignore_index: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(n_classes, mask_key, out_key, ignore_index)
        self.partition = check_choice("partition", partition, PARTITIONS)
        if connectivity is not None:
            check_integer("connectivity", connectivity, 1)
        self.connectivity = connectivity
        self.spacing = Spacing(spacing)
        self.dtype = check_choice("dtype", dtype, DTYPES)

    def compute(self, labels: Array) -> Array:
        """Returns the ids of components `(C, *spatial)` of a label map `(*spatial)`."""
        numpy, measure = library("numpy"), library("scipy.ndimage")
        spacing = self.spacing.along(labels.shape, self.mask_key)
        structure = measure.generate_binary_structure(labels.ndim, self._connectivity_of(labels))
        maps = self.zeros(labels).astype(self.dtype)
        for class_map, label in zip(maps, self.class_labels(), strict=True):
            ids, count = measure.label(labels == label, structure)
            self._check_count(count, label, numpy.iinfo(self.dtype).max)
            if self.partition == "nearest" and count > 0:
                nearest = measure.distance_transform_edt(
                    ids == 0, sampling=spacing, return_distances=False, return_indices=True
                )
                ids = ids[tuple(nearest)]
            class_map[:] = ids
        return maps

    def _connectivity_of(self, labels: Array) -> int:
        connectivity = labels.ndim if self.connectivity is None else self.connectivity
        if connectivity > labels.ndim:
            raise ValueError(
                f"connectivity must be at most the number of dimensions of {self.mask_key}, "
                f"{labels.ndim}, got {connectivity}."
            )
        return connectivity

    def _check_count(self, count: int, label: int, most: int) -> None:
        if count > most:
            raise ValueError(
                f"{self.mask_key} has {count} components of class {label}, and dtype="
                f"{self.dtype!r} numbers {most}: set dtype='int32', or remove the smallest "
                "components, which are often noise."
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_classes={self.n_classes}, partition={self.partition!r})"
