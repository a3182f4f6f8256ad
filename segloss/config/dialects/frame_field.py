"""The legacy dialect of configs: switches request frame-field losses, `coefs` has their weights.

See `docs/configuration.md`, "Frame fields, the legacy dialect".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from segloss.config.paths import Path, path_text
from segloss.config.specs import CompoundSpec, LossSpec
from segloss.foundation.arguments import check_flag, check_keys, check_mapping

_COMPUTE_SEG: Path = ("compute_seg",)
_COMPUTE_CROSSFIELD: Path = ("compute_crossfield",)
_SEG_PARAMS: Path = ("seg_params",)
_SEG_LOSS_PARAMS: Path = ("loss_params", "seg_loss_params")
ROOT_PATHS = (_COMPUTE_SEG, _COMPUTE_CROSSFIELD, _SEG_PARAMS, _SEG_LOSS_PARAMS)
"""The paths of the entire config that the dialect reads, besides its own block."""

_MASKS = ("interior", "edge", "vertex")
"""The names of the masks, in the order of the target's channels."""

LOSSES = (
    "seg",
    "crossfield_align",
    "crossfield_align90",
    "crossfield_smooth",
    "seg_interior_crossfield",
    "seg_edge_crossfield",
    "seg_edge_interior",
)
"""The names of the losses and of their coefficients, in order."""

_BLOCK_KEYS = ("coefs", "normalization_params", "normalize_losses")
_WEIGHT_KEYS = ("use_dist", "use_size", "w0", "sigma")
"""The keys of `seg_loss_params` for the pixel weights; the others are `SegLoss`'s arguments."""


def is_frame_field(block: Mapping[str, Any]) -> bool:
    """Returns whether a `multi_loss` block is in this dialect."""
    return "coefs" in block


def frame_field_spec(block: Mapping[str, Any], root: Mapping[Path, Any], path: str) -> CompoundSpec:
    """Reads a `multi_loss` block, and the switches outside of it.

    Args:
        block: The block, with `coefs`.
        root: The values of `ROOT_PATHS` in the entire config; None or absent where it has none.
        path: The path of the block in the config.

    Raises:
        TypeError, ValueError: A switch or coefficient is missing, unknown or of a wrong type.
    """
    check_keys(path, block, _BLOCK_KEYS)
    coefs = check_mapping(f"{path}.coefs", block["coefs"])
    check_keys(f"{path}.coefs", coefs, ("epoch_thresholds", *LOSSES))
    blocks = dict(_loss_blocks(root))
    if not blocks:
        raise ValueError(
            f"{path} does not request a loss: set compute_seg or compute_crossfield to true, next "
            "to loss_params."
        )
    return CompoundSpec(
        path,
        [_loss_spec(n, blocks[n], coefs, f"{path}.coefs") for n in LOSSES if n in blocks],
        coefs.get("epoch_thresholds"),
        list(_pre_processes(root, blocks)),
        {key: block[key] for key in _BLOCK_KEYS[1:] if block.get(key) is not None},
    )


def _loss_spec(
    name: str, block: Mapping[str, Any], coefs: Mapping[str, Any], path: str
) -> LossSpec:
    if coefs.get(name) is None:
        raise ValueError(f"{path}.{name} is missing: the config's switches request this loss.")
    origin = path_text(_SEG_LOSS_PARAMS) if name == "seg" else path
    return LossSpec(coefs[name], f"{path}.{name}", {**block, "name": name}, origin)


def _loss_blocks(root: Mapping[Path, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name and the block of each loss that the switches request."""
    seg, crossfield = _switch(root, _COMPUTE_SEG), _switch(root, _COMPUTE_CROSSFIELD)
    masks = _masks(root) if seg else []
    if seg:
        params = {k: v for k, v in _seg_params(root).items() if k not in _WEIGHT_KEYS}
        channels = [_MASKS.index(mask) for mask in masks]
        yield "seg", {"_target_": "segloss.SegLoss", "gt_channel_selector": channels, **params}
    if crossfield:
        yield "crossfield_align", {"_target_": "segloss.CrossfieldAlignLoss"}
        yield "crossfield_align90", {"_target_": "segloss.CrossfieldAlign90Loss"}
        yield "crossfield_smooth", {"_target_": "segloss.CrossfieldSmoothLoss"}
    for mask in ("interior", "edge"):
        if crossfield and mask in masks:
            channel = {"pred_channel": masks.index(mask)}
            yield f"seg_{mask}_crossfield", {"_target_": "segloss.SegCrossfieldLoss", **channel}
    if {"interior", "edge"} <= set(masks):
        yield "seg_edge_interior", {"_target_": "segloss.SegEdgeInteriorLoss"}


def _pre_processes(root: Mapping[Path, Any], losses: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the blocks of the pre-processes that the losses need."""
    params = _seg_params(root)
    if "seg" in losses and (params.get("use_dist") or params.get("use_size")):
        weighting = {"use_dist": False, "use_size": False} | {
            key: params[key] for key in _WEIGHT_KEYS if key in params
        }
        yield {"_target_": "segloss.SegLossWeights", **weighting}
    if "crossfield_align" in losses:
        yield {"_target_": "segloss.compute_gt_field"}
    if any(name.startswith("seg_") for name in losses):
        yield {"_target_": "segloss.ComputeSegGrads"}


def _masks(root: Mapping[Path, Any]) -> list[str]:
    """Returns the masks that the model predicts, one channel each."""
    params = check_mapping(path_text(_SEG_PARAMS), root.get(_SEG_PARAMS) or {})
    masks = [
        mask
        for mask in _MASKS
        if check_flag(f"seg_params.compute_{mask}", params.get(f"compute_{mask}", False))
    ]
    if not masks:
        raise ValueError(
            "seg_params must set at least one of compute_interior, compute_edge and "
            "compute_vertex to true, because compute_seg is true."
        )
    return masks


def _seg_params(root: Mapping[Path, Any]) -> Mapping[str, Any]:
    return check_mapping(path_text(_SEG_LOSS_PARAMS), root.get(_SEG_LOSS_PARAMS) or {})


def _switch(root: Mapping[Path, Any], path: Path) -> bool:
    value = root.get(path)
    return False if value is None else check_flag(path_text(path), value)
