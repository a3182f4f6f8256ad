"""Another distribution that writes into the folder of this package.

The name `segloss` on PyPI belongs to a different project, whose files go into the same folder. Two
such distributions overwrite files of each other, and removing one removes files of both.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "pytorch-segloss"
"""The name of this package on PyPI."""

SITE = Path(__file__).parents[3]
"""The folder in which this package is installed, or the root of its sources."""

REPAIR = (
    f"pip uninstall --yes segloss {DISTRIBUTION} && "
    f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
)
"""The command that leaves only this package."""

_RECORD = re.compile(r"segloss-[^-]+\.(dist|egg)-info", re.IGNORECASE)


def damage() -> str:
    """Returns what is wrong with the folder of this package; empty if nothing is.

    It reads the names in one folder, in a third of a millisecond, and no metadata.
    """
    try:
        others = sorted(filter(_RECORD.fullmatch, os.listdir(SITE)))
    except OSError:  # the package is in an archive
        return ""
    if others:
        return (
            f"another project, named segloss, is installed into the same folder "
            f"({SITE / others[0]}). The two overwrite each other's files"
        )
    if getattr(sys.modules["segloss"], "__file__", None) is None:
        return (
            f"{SITE / 'segloss'} has no __init__.py: it is deleted when another project, named "
            "segloss, is uninstalled"
        )
    return ""


def warn_of_damage() -> None:
    """Warns if the folder of this package is damaged, with the command that repairs it."""
    if found := damage():
        warnings.warn(f"The installation of segloss: {found}. To repair it: {REPAIR}", stacklevel=2)


def other_distributions() -> list[str]:
    """Returns the other installed distributions with a package `segloss`, anywhere on the path."""
    owners = metadata.packages_distributions().get("segloss", ())
    return sorted({name for name in owners if name.replace("_", "-").lower() != DISTRIBUTION})
