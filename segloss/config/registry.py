"""Names of losses: built-in names of segloss and PyTorch, and names that users register.

`targets` handles dotted names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import nn

from segloss.config.targets import find_target
from segloss.foundation.arguments import (
    check_flag,
    check_text,
    checks_keywords,
    is_allowed,
    nearest,
    shown,
)
from segloss.losses.term_losses import TERM_LOSSES

_BUILT_IN: dict[str, str] = {
    **{name: f"segloss.{loss.__name__}" for name, loss in TERM_LOSSES.items()},
    "bce": "torch.nn.BCELoss",
    "bce_with_logits": "torch.nn.BCEWithLogitsLoss",
    "cross_entropy": "torch.nn.CrossEntropyLoss",
    "cldice": "segloss.SoftClDiceLoss",
    "crossfield_align": "segloss.CrossfieldAlignLoss",
    "crossfield_align90": "segloss.CrossfieldAlign90Loss",
    "crossfield_smooth": "segloss.CrossfieldSmoothLoss",
    "dice": "segloss.compat.tutorial.DiceLoss",  # the meaning from before DiceLoss had modes
    "dice_bce": "segloss.compat.tutorial.DiceBCELoss",
    "hard_pixels": "segloss.HardPixelLoss",
    "hausdorff_distance": "segloss.HausdorffDistanceLoss",
    "l1": "torch.nn.L1Loss",
    "lovasz": "segloss.LovaszLoss",
    "mse": "torch.nn.MSELoss",
    "nll": "torch.nn.NLLLoss",
    "ohem_cross_entropy": "segloss.OhemCrossEntropyLoss",
    "seg": "segloss.SegLoss",
    "seg_crossfield": "segloss.SegCrossfieldLoss",
    "seg_edge_interior": "segloss.SegEdgeInteriorLoss",
    "smooth_l1": "torch.nn.SmoothL1Loss",
    "soft_dice": "segloss.DiceLoss",
    "topk_cross_entropy": "segloss.TopKCrossEntropyLoss",
}
"""The targets of the built-in names, imported on demand."""

_registered: dict[str, type[nn.Module]] = {}
"""The classes that users registered, by name."""

Registered = TypeVar("Registered", bound=type[nn.Module])


def register_loss(name: str, *, override: bool = False) -> Callable[[Registered], Registered]:
    """Registers the decorated loss under a name that configs can use.

    The name may be that of a built-in loss, which the class then replaces. If the same class is
    registered again, as when a notebook's cell is run again, it replaces the earlier one.

    Args:
        name: The name.
        override: True if the class replaces another that is registered under the name.

    Raises:
        TypeError: The decorated object is not a subclass of `nn.Module`.
        ValueError: The name is taken.

    Example:
        >>> @register_loss("brightness")
        ... class Brightness(nn.Module):
        ...     def forward(self, prediction, target):
        ...         return (prediction.mean() - target.mean()).abs()
        >>> get_loss("brightness").__name__
        'Brightness'
    """
    check_text("name", name)
    check_flag("override", override)

    def register(loss: Registered) -> Registered:
        if not (inspect.isclass(loss) and issubclass(loss, nn.Module)):
            raise TypeError(f"register_loss decorates subclasses of nn.Module, got {shown(loss)}.")
        earlier = _registered.get(name)
        if earlier is not None and not override and _origin(earlier) != _origin(loss):
            raise ValueError(
                f"The name {name!r} is taken by {'.'.join(_origin(earlier))}: choose another, or "
                f"register_loss({name!r}, override=True)."
            )
        _registered[name] = loss
        return loss

    return register


@checks_keywords(". It returns a class, which takes the arguments: get_loss('jaccard')(mode=...)")
def get_loss(name: str) -> type[nn.Module]:
    """Returns the class with a built-in or registered name.

    Raises:
        ValueError: The name is unknown; the message suggests the nearest name.
    """
    check_text("name", name)
    if name in _registered:
        return _registered[name]
    if name not in _BUILT_IN:
        remedy = nearest(name, list_losses()) or (
            f"; the names are: {', '.join(list_losses())}. Register your own with "
            f"@register_loss({shown(name)})"
        )
        raise ValueError(f"There is no loss named {shown(name)}{remedy}.")
    found: Any = find_target(_BUILT_IN[name])
    return found  # type: ignore[no-any-return]


def list_losses() -> list[str]:
    """Returns the names of all losses that `get_loss` knows, sorted."""
    return sorted({*_BUILT_IN, *_registered})


def resolve_target(target: str, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """Returns the class that a `_target_` names, by a dotted name or one of `list_losses`.

    Raises:
        ImportError: The library is allowed, but is not installed.
        ValueError: The target is not allowed, or does not exist.
    """
    return find_target(target, allow) if "." in target else get_loss(target)


def is_trusted(target: str, allow: Sequence[str] = ()) -> bool:
    """Returns whether the program vouches for a target: it has registered it, or allows it."""
    return target in _registered or is_allowed(target, allow)


def _origin(loss: type) -> tuple[str, str]:
    return loss.__module__, loss.__qualname__
