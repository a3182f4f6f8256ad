"""The base class of callbacks: a `Callback` of every Lightning package that is installed.

Two packages, `lightning` and `pytorch_lightning`, have the same code but different classes. The
package of the Trainer is unknown until there is one, so a callback inherits from both classes.
The import of the second package costs next to nothing: the two share nearly all their imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def installed_callbacks() -> tuple[type, ...]:
    """Returns the `Callback` classes of all Lightning packages that are installed.

    Raises:
        ImportError: Neither package is installed.
    """
    found, reason = [], None
    for package in _PACKAGES:
        try:
            found.append(import_module(package).Callback)
        except ImportError as error:
            reason = error
    if not found:
        raise ImportError(
            "segloss.training.lightning needs the package lightning or pytorch-lightning: "
            'pip install "pytorch-segloss[lightning]".'
        ) from reason
    return tuple(found)


if TYPE_CHECKING:
    from lightning.pytorch import Callback as Callback
else:
    Callback = type("Callback", installed_callbacks(), {"__module__": __name__})
