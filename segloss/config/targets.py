"""Looks up the classes that a `_target_` may name: from segloss, PyTorch and known libraries.

A loss config must not be able to run arbitrary code, so every dotted `_target_` is looked up here.
`registry` handles names without dots, and `instantiate` the arguments.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from torch import nn

from segloss.foundation.arguments import is_allowed, nearest, nearest_name, shown
from segloss.foundation.names.meaning import of_same_meaning
from segloss.losses.term_losses import TERM_LOSSES

_MODULES = {
    "segloss.losses.compound_loss": ("CompoundLoss",),
    "segloss.losses.deep_supervision": ("DeepSupervision",),
    "segloss.losses.loss_wrapper": ("LossWrapper",),
    "segloss.losses.multi_loss": ("MultiLoss",),
    "segloss.losses.seg_loss": ("SegLoss",),
    "segloss.losses.term_losses": tuple(loss.__name__ for loss in TERM_LOSSES.values()),
    "segloss.losses.standalone.cldice": ("SoftClDiceLoss",),
    "segloss.losses.standalone.hausdorff": ("HausdorffDistanceLoss",),
    "segloss.losses.standalone.hard_pixels": ("HardPixelLoss", "OhemCrossEntropyLoss"),
    "segloss.losses.standalone.lovasz": ("LovaszLoss",),
    "segloss.losses.standalone.topk": ("TopKCrossEntropyLoss",),
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
"""The public losses and pre-processes, by module."""

OWN: dict[str, str] = {
    "segloss.compat.tutorial.DiceBCELoss": "segloss.compat.tutorial.dice",
    "segloss.compat.tutorial.DiceLoss": "segloss.compat.tutorial.dice",
    **{f"segloss.{name}": module for module, names in _MODULES.items() for name in names},
}
"""The package's losses and pre-processes as configs name them, and the module of each.

If two of them have the same last name, names of `_TRAINER` mean the first one.
"""

_TRAINER = "pytorch_segmentation_models_trainer"
"""A package whose names in configs stand for segloss's classes of the same last name."""

_LIBRARIES = {
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "monai": "monai",
    "kornia": "kornia",
    "pytorch_toolbelt": "pytorch-toolbelt",
}
"""The packages whose `losses` may be used, and their names for pip."""

_OTHER_NAMES = {
    "pytorch_segloss": "segloss",
    "Segloss": "segloss",
    "nn": "torch.nn",
    "smp": "segmentation_models_pytorch",
    "toolbelt": "pytorch_toolbelt",
}
"""Other names of packages: for pip, and those under which programs import them."""

_DOWNLOADING = ("monai.losses.perceptual",)
"""Modules of these libraries with losses that download code and run it, or read files."""

_TORCH = ("torch.nn", "torch.nn.modules.loss")
_SLICE = "builtins.slice"

_MAX_CHARACTERS = 200
"""Characters of a dotted name."""

_MAX_DOTS = 3
"""Dots in the longest name of a library's loss: modules in `losses` have no submodules."""


def find_target(target: str, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """Returns the class that a `_target_` names.

    Args:
        target: A dotted name, such as "segloss.SegLoss" or "torch.nn.CrossEntropyLoss".
        allow: Prefixes ("my_package.") or full names that are allowed in addition.

    Raises:
        ImportError: The library is allowed, but is not installed.
        ValueError: The target is not allowed, or does not exist.
    """
    module, _, name = target.rpartition(".")
    _check_dotted(target)
    package = target.split(".")[0]
    if package in ("segloss", _TRAINER):
        return _package_target(target, name)
    if target == _SLICE:
        return slice
    if module in _TORCH:
        return _class_in(nn.modules.loss, target, nn.modules.loss._Loss)
    if is_allowed(target, allow):
        return _allowed_target(target, module, name)
    if package in _LIBRARIES and _is_library_loss(target, package):
        return _library_class(target, package, module)
    raise ValueError(
        f"{target!a} is not one of the losses that a config may use: segloss's, PyTorch's "
        f"(torch.nn...), and those of {', '.join(f'{library}.losses' for library in _LIBRARIES)}"
        f"{_remedy(target)}"
    )


def allow_remedy(prefix: str) -> str:
    """Returns the remedy for a class that the user must vouch for."""
    return f"If you trust it, allow it: build_loss(cfg, allow=({prefix!r},))."


def _remedy(target: str) -> str:
    """Returns the end of the message for a target that is not allowed."""
    package, _, rest = target.partition(".")
    name = target.rpartition(".")[2]
    if package in _OTHER_NAMES:
        return f" (did you mean '{_OTHER_NAMES[package]}.{rest}'?)."
    if package in sys.stdlib_module_names:
        return f". {package} is a module of Python itself, which has no losses."
    if target.startswith("torch."):
        if name.lower().endswith("tensor"):
            return ". Numbers of a config become tensors where needed: write the list itself."
        meant = of_same_meaning(name, _class_names(nn.modules.loss, nn.modules.loss._Loss))
        guess = f" (did you mean 'torch.nn.{meant}'?). " if meant else ". "
        return f"{guess}{allow_remedy(target)}"
    return f". {allow_remedy(target.rpartition('.')[0] + '.')}"


def _check_dotted(target: str) -> None:
    """Raises ValueError unless each part of a name is a valid identifier of Python."""
    if len(target) > _MAX_CHARACTERS or not all(part.isidentifier() for part in target.split(".")):
        raise ValueError(
            f"A _target_ must be a dotted name of at most {_MAX_CHARACTERS} characters, such as "
            f"'segloss.SegLoss', got {shown(target)}."
        )


def _is_library_loss(target: str, package: str) -> bool:
    """Returns whether a name is `package.losses.Loss` or `package.losses.module.Loss`."""
    return target.startswith(f"{package}.losses.") and target.count(".") <= _MAX_DOTS


def _package_target(target: str, name: str) -> Callable[..., Any]:
    """Returns one of segloss's classes, by its public name, its module's or `_TRAINER`'s."""
    any_package = target.startswith(f"{_TRAINER}.")
    for public, module in OWN.items():
        if not public.endswith(f".{name}"):
            continue
        if any_package or target in (public, f"{module}.{name}"):
            found: Callable[..., Any] = getattr(importlib.import_module(module), name)
            return found
    publics = {public.rpartition(".")[2]: public for public in reversed(OWN)}
    meant = nearest_name(name, publics)
    remedy = (
        f" (did you mean {publics[meant]!r}?)"
        if meant
        else f"; the names are: {', '.join(sorted(OWN))}"
    )
    raise ValueError(f"{target!r} does not exist in segloss{remedy}.")


def _library_class(target: str, package: str, module: str) -> Callable[..., Any]:
    """Returns a library's loss; raises ValueError for anything else, or a loss that downloads."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{target!r} needs {_LIBRARIES[package]}, which can't be imported ({error}): "
            f"pip install {_LIBRARIES[package]}."
        ) from error
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{target!r} does not exist: there is no module {module!r}.") from error
    found = _class_in(imported, target, nn.Module)
    if not found.__module__.startswith(f"{package}.losses"):
        raise ValueError(
            f"{target!r} is not a loss of {package}: it comes from {found.__module__}."
        )
    if found.__module__ in _DOWNLOADING:
        raise ValueError(
            f"{target!r} downloads code and runs it, or reads files. {allow_remedy(target)}"
        )
    return found


def _class_in(module: ModuleType, target: str, base: type) -> Callable[..., Any]:
    """Returns the public class in a module that the last part of `target` names."""
    name = target.rpartition(".")[2]
    found = getattr(module, name, None)
    if inspect.isclass(found) and issubclass(found, base) and not name.startswith("_"):
        return found
    losses = _class_names(module, base)
    raise ValueError(f"{target!r} is not a loss{nearest(name, losses)}.")


def _class_names(module: ModuleType, base: type) -> list[str]:
    """Returns the names of the public classes in a module that derive from `base`."""
    return [
        key
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and not key.startswith("_")
    ]


def _allowed_target(target: str, module: str, name: str) -> Callable[..., Any]:
    """Imports a target that the user allowed."""
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{target!r} can't be imported: {error}.") from error
    if not callable(found):
        raise ValueError(f"{target!r} can't be called: it is a {type(found).__name__}.")
    return found  # type: ignore[no-any-return]
