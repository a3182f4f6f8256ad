"""Which classes a config may name: the package's and PyTorch's losses, and those registered here.

A loss config must not be able to run just any code, so a `_target_` is only ever looked up here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import nn

from segloss.arguments import check_flag, check_text, is_allowed, nearest, shown
from segloss.deep_supervision import DeepSupervision
from segloss.dice_loss import DiceBCELoss, DiceLoss
from segloss.frame_field import (
    ComputeSegGrads,
    CrossfieldAlign90Loss,
    CrossfieldAlignLoss,
    CrossfieldSmoothLoss,
    SegCrossfieldLoss,
    SegEdgeInteriorLoss,
    SegLossWeights,
    compute_gt_field,
)
from segloss.loss_wrapper import LossWrapper
from segloss.losses.compound_loss import CompoundLoss
from segloss.losses.term_losses import TERM_LOSSES
from segloss.multi_loss import MultiLoss
from segloss.seg_loss import SegLoss
from segloss.topk import TopKCrossEntropyLoss

LOSSES: dict[str, type[nn.Module]] = {
    loss.__name__: loss
    for loss in (
        CompoundLoss,
        CrossfieldAlign90Loss,
        CrossfieldAlignLoss,
        CrossfieldSmoothLoss,
        DeepSupervision,
        DiceBCELoss,
        DiceLoss,
        LossWrapper,
        SegCrossfieldLoss,
        SegEdgeInteriorLoss,
        SegLoss,
        TopKCrossEntropyLoss,
        *TERM_LOSSES.values(),
    )
}
"""The package's losses, by the names under which configs know them."""

PRE_PROCESSES: dict[str, Callable[..., Any]] = {
    process.__name__: process for process in (ComputeSegGrads, SegLossWeights, compute_gt_field)
}
"""The package's pre-processes for `MultiLoss`, by name."""

_NAMED: dict[str, type[nn.Module]] = {
    **TERM_LOSSES,
    "bce": nn.BCELoss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "crossfield_align": CrossfieldAlignLoss,
    "crossfield_align90": CrossfieldAlign90Loss,
    "crossfield_smooth": CrossfieldSmoothLoss,
    "dice": DiceLoss,
    "dice_bce": DiceBCELoss,
    "l1": nn.L1Loss,
    "mse": nn.MSELoss,
    "nll": nn.NLLLoss,
    "seg": SegLoss,
    "seg_crossfield": SegCrossfieldLoss,
    "seg_edge_interior": SegEdgeInteriorLoss,
    "smooth_l1": nn.SmoothL1Loss,
    "topk_cross_entropy": TopKCrossEntropyLoss,
}
"""The losses that have a name from the start."""

_registered: dict[str, type[nn.Module]] = {}

Registered = TypeVar("Registered", bound=type[nn.Module])

NAMESAKES = "pytorch_segmentation_models_trainer"
"""The package whose classes have namesakes here."""

LIBRARIES = {
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "monai": "monai",
    "kornia": "kornia",
    "pytorch_toolbelt": "pytorch-toolbelt",
}
"""The packages whose `losses` may be used, and what to install for them."""

_DOWNLOADING = ("monai.losses.perceptual",)
"""The libraries' modules whose losses fetch code from a hub and run it, or read files."""

_TORCH = ("torch.nn", "torch.nn.modules.loss")
_SLICE = "builtins.slice"

_LONGEST = 200
"""How many characters a dotted name may have."""

_DEEPEST = 3
"""How many dots the name of a library's loss has at most: its modules of losses have no parts."""


def register_loss(name: str, *, override: bool = False) -> Callable[[Registered], Registered]:
    """Registers a loss under a name, which configs then know: a decorator of its class.

    A class of your own may take the name of a built-in loss, which it then stands for. The same
    class again, as when a notebook's cell is run again, replaces itself.

    Args:
        name: The name.
        override: Whether another class that was registered under the name is replaced.

    Raises:
        TypeError: What is decorated is no class of an `nn.Module`.
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
            raise TypeError(f"register_loss decorates classes of nn.Module, got {shown(loss)}.")
        earlier = _registered.get(name)
        if earlier is not None and not override and _origin(earlier) != _origin(loss):
            raise ValueError(
                f"The name {name!r} is taken by {'.'.join(_origin(earlier))}: choose another, or "
                f"register_loss({name!r}, override=True)."
            )
        _registered[name] = loss
        return loss

    return register


def get_loss(name: str) -> type[nn.Module]:
    """The class that is registered under a name.

    Raises:
        ValueError: There is none; the message has the nearest names.
    """
    found = {**_NAMED, **_registered}.get(check_text("name", name))
    if found is None:
        raise ValueError(
            f"There is no loss named {shown(name)}{nearest(name, list_losses())}; there are: "
            f"{', '.join(list_losses())}. Register your own with @register_loss({shown(name)})."
        )
    return found


def list_losses() -> list[str]:
    """The names of all losses that `get_loss` knows, sorted."""
    return sorted({**_NAMED, **_registered})


def _origin(loss: type) -> tuple[str, str]:
    return loss.__module__, loss.__qualname__


def find_target(target: str, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """The class that a `_target_` names.

    Args:
        target: A dotted name, such as "segloss.SegLoss" or "torch.nn.CrossEntropyLoss", or the
            name of a registered loss.
        allow: Prefixes ("my_package.") or whole names that are allowed beside the known ones.

    Raises:
        ImportError: The library is allowed, and is not installed.
        ValueError: The target is not allowed, or does not exist.
    """
    module, _, name = target.rpartition(".")
    if not module:
        return get_loss(name)
    _check_dotted(target)
    package = target.split(".")[0]
    if package in ("segloss", NAMESAKES):
        return _own(target, name)
    if target == _SLICE:
        return slice
    if module in _TORCH:
        return _module_class(target, nn.modules.loss, name, nn.modules.loss._Loss)
    if is_allowed(target, allow):
        return _allowed(target, module, name)
    if package in LIBRARIES and _is_of_losses(target, package):
        return _library_class(target, package, module, name)
    raise ValueError(
        f"{target!a} is not among what a loss config may use: segloss's losses, PyTorch's losses "
        f"(torch.nn...), and those of {', '.join(f'{library}.losses' for library in LIBRARIES)}. "
        f"If you trust it, allow it: build_loss(cfg, allow=({(module or target) + '.'!r},))."
    )


def _check_dotted(target: str) -> None:
    """Raises ValueError unless the parts of a name could each be one of Python's."""
    if len(target) > _LONGEST or not all(part.isidentifier() for part in target.split(".")):
        raise ValueError(
            f"A _target_ must be a dotted name of at most {_LONGEST} characters, such as "
            f"'segloss.SegLoss', got {shown(target)}."
        )


def _is_of_losses(target: str, package: str) -> bool:
    """Whether a name is `package.losses.Loss` or `package.losses.module.Loss`."""
    return target.startswith(f"{package}.losses.") and target.count(".") <= _DEEPEST


def _own(target: str, name: str) -> Callable[..., Any]:
    known: dict[str, Callable[..., Any]] = {**LOSSES, **PRE_PROCESSES, "MultiLoss": MultiLoss}
    found = known.get(name)
    if found is not None and (
        target.startswith(f"{NAMESAKES}.")
        or target in (f"segloss.{name}", f"{found.__module__}.{name}")
    ):
        return found
    raise ValueError(
        f"{target!r} names nothing that segloss has{nearest(name, known)}; there are: "
        f"{', '.join(f'segloss.{key}' for key in sorted(known))}."
    )


def _library_class(target: str, package: str, module: str, name: str) -> Callable[..., Any]:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{target!r} needs {LIBRARIES[package]}, which can't be imported ({error}): "
            f"pip install {LIBRARIES[package]}."
        ) from error
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{target!r} does not exist: there is no module {module!r}.") from error
    found = _module_class(target, imported, name, nn.Module)
    if not found.__module__.startswith(f"{package}.losses"):
        raise ValueError(f"{target!r} is no loss of {package}: it comes from {found.__module__}.")
    if found.__module__ in _DOWNLOADING:
        raise ValueError(
            f"{target!r} downloads code and runs it, or reads files. If you trust it, allow it: "
            f"build_loss(cfg, allow=({target!r},))."
        )
    return found


def _module_class(target: str, module: Any, name: str, base: type) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if inspect.isclass(found) and issubclass(found, base) and not name.startswith("_"):
        return found
    losses = [
        key
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and not key.startswith("_")
    ]
    raise ValueError(f"{target!r} is no loss{nearest(name, losses)}.")


def _allowed(target: str, module: str, name: str) -> Callable[..., Any]:
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{target!r} can't be imported: {error}.") from error
    if not callable(found):
        raise ValueError(f"{target!r} can't be called: it is a {type(found).__name__}.")
    return found  # type: ignore[no-any-return]
