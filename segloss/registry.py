"""Which classes a config may name, and how a dotted name becomes one of them.

A loss config must not be able to run just any code, so a `_target_` is only ever looked up here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from segloss.arguments import nearest
from segloss.loss import Loss
from segloss.loss_wrapper import LossWrapper
from segloss.multi_loss import MultiLoss
from segloss.seg_loss import SegLoss

LOSSES: dict[str, type[Loss]] = {"LossWrapper": LossWrapper, "SegLoss": SegLoss}
"""The package's losses, by the names under which configs know them."""

PRE_PROCESSES: dict[str, Callable[..., Any]] = {}
"""The package's pre-processes for `MultiLoss`, by name."""

NAMESAKES = "pytorch_segmentation_models_trainer"
"""The package whose classes have namesakes here."""

LIBRARIES = {
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "monai": "monai",
    "kornia": "kornia",
    "pytorch_toolbelt": "pytorch-toolbelt",
}
"""The packages whose `losses` may be used, and what to install for them."""

_DOWNLOADING = ("PerceptualLoss",)
"""The libraries' losses that fetch code from a hub and run it."""

_TORCH = ("torch.nn", "torch.nn.modules.loss")
_SLICE = "builtins.slice"


def find_target(target: str, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """The class that a `_target_` names.

    Args:
        target: A dotted name, such as "segloss.SegLoss" or "torch.nn.CrossEntropyLoss".
        allow: Prefixes ("my_package.") or whole names that are allowed beside the known ones.

    Raises:
        ImportError: The library is allowed, and is not installed.
        ValueError: The target is not allowed, or does not exist.
    """
    module, _, name = target.rpartition(".")
    package = target.split(".")[0]
    if package in ("segloss", NAMESAKES):
        return _own(target, name)
    if target == _SLICE:
        return slice
    if module in _TORCH:
        return _module_class(target, nn.modules.loss, name, nn.modules.loss._Loss)
    if any(target == entry or target.startswith(entry.rstrip(".") + ".") for entry in allow):
        return _allowed(target, module, name)
    if package in LIBRARIES and target.startswith(f"{package}.losses."):
        return _library_class(target, package, module, name)
    raise ValueError(
        f"{target!r} is not among what a loss config may use: segloss's losses, PyTorch's losses "
        f"(torch.nn...), and those of {', '.join(f'{library}.losses' for library in LIBRARIES)}. "
        f"If you trust it, allow it: build_loss(cfg, allow=({(module or target) + '.'!r},))."
    )


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
    if name in _DOWNLOADING:
        raise ValueError(
            f"{target!r} downloads code and runs it. If you trust it, allow it: "
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
