"""The extras of the package, and the message if one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXTRAS = {
    "cli": "the command line",
    "examples": "the programs in examples/",
    "huggingface": "segloss.training.huggingface, Accelerate",
    "lightning": "segloss.training.lightning",
    "maps": "segloss.maps, and losses that measure distances",
    "plots": "segloss.tools.plots, segloss plot",
    "suggest": "segloss.suggest, segloss suggest",
    "torchjd": "TorchJD's combiners in a MultiLoss",
}
"""The extras for users, with the parts that need them. The others are for developers."""


@contextmanager
def needs(part: str, extra: str) -> Iterator[None]:
    """Imports optional packages in a context.

    Args:
        part: The part of segloss that needs them, for the message.
        extra: The extra that installs them.

    Raises:
        ImportError: A package is not installed, or can't be imported; with the command that
            installs the extra.

    Example:
        >>> with needs("The weather", "maps"):
        ...     import no_such_package
        Traceback (most recent call last):
        ImportError: The weather needs no_such_package, which is not installed: pip install
        "pytorch-segloss[maps]"
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").split(".")[0]
        if package == "segloss":
            raise
        is_missing = isinstance(error, ModuleNotFoundError)
        reason = "is not installed" if is_missing else f"can't be imported ({error})"
        raise ImportError(
            f"{part} needs {error.name or 'a package'}, which {reason}: "
            f'pip install "pytorch-segloss[{extra}]"',
            name=error.name,
        ) from error
