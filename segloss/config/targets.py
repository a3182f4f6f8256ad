"""The classes that a `_target_` may name: segloss's, PyTorch's and those of known libraries.

A loss config must not be able to run just any code, so a `_target_` is only ever looked up here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from segloss.foundation.arguments import is_allowed, nearest, shown
from segloss.losses.term_losses import TERM_LOSSES

_MODULES = {
    "segloss.losses.compound_loss": ("CompoundLoss",),
    "segloss.losses.deep_supervision": ("DeepSupervision",),
    "segloss.losses.loss_wrapper": ("LossWrapper",),
    "segloss.losses.multi_loss": ("MultiLoss",),
    "segloss.losses.seg_loss": ("SegLoss",),
    "segloss.losses.term_losses": tuple(loss.__name__ for loss in TERM_LOSSES.values()),
    "segloss.losses.topk": ("TopKCrossEntropyLoss",),
    "segloss.frame_field.losses": (
        "CrossfieldAlign90Loss",
        "CrossfieldAlignLoss",
        "CrossfieldSmoothLoss",
        "SegCrossfieldLoss",
        "SegEdgeInteriorLoss",
    ),
    "segloss.frame_field.pre_processes": (
        "ComputeSegGrads",
        "SegLossWeights",
        "compute_gt_field",
    ),
}

OWN: dict[str, str] = {
    "segloss.compat.tutorial.DiceBCELoss": "segloss.compat.tutorial.dice",
    "segloss.compat.tutorial.DiceLoss": "segloss.compat.tutorial.dice",
    **{f"segloss.{name}": module for module, names in _MODULES.items() for name in names},
}
"""The package's losses and pre-processes as configs name them, and the module of each.

If two share their last name, the first one serves for `NAMESAKES`.
"""

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
"""Characters that a dotted name may have."""

_DEEPEST = 3
"""Dots in the longest name of a library's loss: its modules of losses have no submodules."""


def find_target(target: str, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """Returns the class that a `_target_` names.

    Args:
        target: A dotted name, such as "segloss.SegLoss" or "torch.nn.CrossEntropyLoss".
        allow: Prefixes ("my_package.") or whole names that are allowed beside the known ones.

    Raises:
        ImportError: The library is allowed, and is not installed.
        ValueError: The target is not allowed, or does not exist.
    """
    module, _, name = target.rpartition(".")
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
    """Returns whether a name is `package.losses.Loss` or `package.losses.module.Loss`."""
    return target.startswith(f"{package}.losses.") and target.count(".") <= _DEEPEST


def _own(target: str, name: str) -> Callable[..., Any]:
    """Returns one of the package's classes, by its public name or its module's."""
    namesake = target.startswith(f"{NAMESAKES}.")
    for public, module in OWN.items():
        if not public.endswith(f".{name}"):
            continue
        if namesake or target in (public, f"{module}.{name}"):
            found: Callable[..., Any] = getattr(importlib.import_module(module), name)
            return found
    names = [public.rpartition(".")[2] for public in OWN]
    raise ValueError(
        f"{target!r} names nothing that segloss has{nearest(name, names)}; there are: "
        f"{', '.join(sorted(OWN))}."
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
        raise ValueError(
            f"{target!r} is not a loss of {package}: it comes from {found.__module__}."
        )
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
    raise ValueError(f"{target!r} is not a loss{nearest(name, losses)}.")


def _allowed(target: str, module: str, name: str) -> Callable[..., Any]:
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{target!r} can't be imported: {error}.") from error
    if not callable(found):
        raise ValueError(f"{target!r} can't be called: it is a {type(found).__name__}.")
    return found  # type: ignore[no-any-return]
