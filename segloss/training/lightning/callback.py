"""The class that callbacks come from: a `Callback` for every Lightning that is installed.

There are two packages with the same code and different classes, `lightning` and
`pytorch_lightning`. Which one a Trainer comes from shows only once it is there, so a callback is
one of both. Importing the second costs next to nothing: nearly all of it is what both import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def installed_callbacks() -> tuple[type, ...]:
    """Returns the `Callback` classes of all Lightning packages that are installed.

    Raises:
        ImportError: There is none.
    """
    found, reason = [], None
    for package in PACKAGES:
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
