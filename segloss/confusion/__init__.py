"""The pass: the only code that touches a pixel.

`soft_confusion` turns predictions and targets into a few sums per sample and class, of which every
term is a small function. Two paths compute them, and nothing above can tell which ran:

- "fused": in closed form, keeping nothing for the backward pass but its inputs. It serves logits,
  of sigmoid channels or with label maps, in eager mode and, as one operator, under `torch.compile`
  for a CPU. On a CPU it is machine code, which is built with the package; what that does not
  compute, and all on accelerators, goes in chunks through PyTorch's operations;
- "reference": in plain PyTorch operations. It serves everything else: given probabilities, dense
  softmax targets, second derivatives, compilers for accelerators, exporters, `torch.func` and
  forward-mode differentiation.

`use_path("reference")`, or the environment variable `SEGLOSS_PATH=reference`, makes the reference
path serve everything, and "chunks" leaves the machine code out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from segloss.arguments import (
    check_flag,
    check_integer,
    check_mapping,
    check_number,
    check_weights,
    shown,
)
from segloss.confusion.fused import fused_confusion, serves
from segloss.confusion.operator import operator_confusion, serves_compiler
from segloss.confusion.path import current_path, use_path
from segloss.confusion.reference import reference_confusion
from segloss.confusion.sums import DEFAULT, FocalSum, MapSum, SoftConfusion, map_sums, names_of
from segloss.targets import Pixels, as_pixels, resolve_activation

__all__ = ["FocalSum", "MapSum", "SoftConfusion", "confusion_of", "soft_confusion", "use_path"]


def confusion_of(pixels: Pixels, sums: Collection[str] = DEFAULT) -> SoftConfusion:
    """Runs the pass over pixels that `as_pixels` has checked, for the groups of sums."""
    if "metric" not in sums or pixels.is_soft:
        return _run(pixels, sums)
    confusion = _run(pixels, [*dict.fromkeys("region" if s == "metric" else s for s in sums)])
    return confusion.with_metric()


def _run(pixels: Pixels, sums: Collection[str]) -> SoftConfusion:
    if current_path() != "reference":
        if serves(pixels):
            return fused_confusion(pixels, sums)
        if serves_compiler(pixels):
            return operator_confusion(pixels, sums)
    return reference_confusion(pixels, sums)


def soft_confusion(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    ignore_index: int | None = None,
    class_weights: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    sums: Collection[str] = DEFAULT,
    maps: Mapping[str, Tensor] | None = None,
) -> SoftConfusion:
    r"""Computes soft confusion counts and cross-entropy of a batch in one pass.

    Args:
        pred: Logits or probabilities, (N, C, *spatial), with 1 to 3 spatial dimensions.
        target: Dense, of the shape of `pred`, with values in [0, 1]; or, for softmax and for a
            single sigmoid channel, a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` says else.
        from_logits: Whether `pred` holds logits; probabilities otherwise.
        activation: "sigmoid", "softmax", or None for what `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        ignore_index: The target's value that marks pixels to be left out.
        class_weights: Weights of the classes in the cross-entropy, (C,).
        pos_weight: Weights of the positive class in binary cross-entropy, a number or (C,).
        label_smoothing: Smoothing of the cross-entropy's targets, in [0, 1].
        sums: Which groups of sums to compute: "region", "cross_entropy", "squared_error",
            "metric", or the `group` of a `FocalSum` or `MapSum`.
        maps: The maps of `MapSum` by name, each (N, C, *spatial).

    Returns:
        The sums, per sample and class.

    Raises:
        TypeError: An argument has a wrong type, or a target or weight requires grad.
        ValueError: Shapes or devices do not match, or values are out of range.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[0., 0., 100., -100.]]])
        >>> mask = torch.tensor([[[1, 0, 1, 0]]])
        >>> confusion = soft_confusion(logits, mask)
        >>> confusion.true_positive, confusion.false_positive
        (tensor([[1.5000]], dtype=torch.float64), tensor([[0.5000]], dtype=torch.float64))
    """
    _check_sums(sums)
    _check_maps({} if maps is None else check_mapping("maps", maps), sums)
    pixels = as_pixels(
        pred,
        target,
        n_classes=n_classes,
        activation=resolve_activation(n_classes, activation),
        from_logits=check_flag("from_logits", from_logits),
        pixel_weights=pixel_weights,
        ignore_index=None if ignore_index is None else check_integer("ignore_index", ignore_index),
        class_weights=check_weights("class_weights", class_weights),
        pos_weight=check_weights("pos_weight", pos_weight),
        label_smoothing=check_number("label_smoothing", label_smoothing, 0, 1),
        maps=maps,
    )
    return confusion_of(pixels, sums)


def _check_sums(sums: Any) -> None:
    if isinstance(sums, str) or not isinstance(sums, Collection):
        raise TypeError(f"sums must be a list of names of groups of sums, got {shown(sums)}.")
    names_of(sums)


def _check_maps(maps: Mapping[str, Tensor], sums: Collection[str]) -> None:
    for of_map in map_sums(sums):
        if of_map.key not in maps:
            raise ValueError(
                f"maps must have the map {of_map.key!r}, which sums asks for; the maps that there "
                f"are: {', '.join(maps) or 'none'}."
            )
