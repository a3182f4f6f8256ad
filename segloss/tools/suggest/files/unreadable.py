"""Files that can't be read as masks: the reasons, and the remedies by suffix."""

from __future__ import annotations

from pathlib import Path

_POINTER = b"version https://git-lfs"

_JPEG = (
    "JPEG changes labels near edges: export the masks again, as PNG; if these are images, pass the "
    "folder of the masks"
)

REMEDIES = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": "WebP changes labels near edges: export the masks again, as PNG",
    ".txt": "for outlines of YOLO, export the annotations again as COCO JSON, or as masks",
    ".xml": "export the annotations again as COCO JSON, or as masks (in CVAT: Segmentation mask)",
    ".nrrd": "save it as NIfTI: SimpleITK.WriteImage(SimpleITK.ReadImage(old), 'new.nii.gz')",
    ".mha": "save it as NIfTI: SimpleITK.WriteImage(SimpleITK.ReadImage(old), 'new.nii.gz')",
    ".mhd": "save it as NIfTI: SimpleITK.WriteImage(SimpleITK.ReadImage(old), 'new.nii.gz')",
    ".dcm": "save it as NIfTI, for example with dcm2niix or highdicom",
    ".mat": "save the masks as arrays: numpy.save(new, scipy.io.loadmat(old)['name'])",
    ".h5": "save the masks as arrays: numpy.save(new, h5py.File(old)['name'][()])",
    ".hdf5": "save the masks as arrays: numpy.save(new, h5py.File(old)['name'][()])",
    ".pt": "save the masks as arrays: numpy.save(new, torch.load(old).numpy())",
    ".pth": "save the masks as arrays: numpy.save(new, torch.load(old).numpy())",
    ".pkl": "save the masks as arrays, with numpy.save",
    ".zip": "unpack it",
    ".tar": "unpack it",
    ".gz": "unpack it",
    ".svg": "draw it as PNG, without antialiasing",
    ".geojson": "draw it as GeoTIFF, for example with rasterio.features.rasterize",
    ".shp": "draw it as GeoTIFF, for example with rasterio.features.rasterize",
    ".gpkg": "draw it as GeoTIFF, for example with rasterio.features.rasterize",
}
"""The remedies for files that hold masks in a form that is not read."""


def reason_for(path: Path, error: Exception) -> str:
    """Returns why a file could not be read: an error of a library, or a reason that is known."""
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
    if not start:
        return "it is empty (0 bytes)"
    if start == _POINTER:
        return "it is a pointer of Git LFS: run `git lfs pull`"
    return f"{type(error).__name__}: {error}"
