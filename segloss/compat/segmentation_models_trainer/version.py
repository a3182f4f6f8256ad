"""The versions of the program that this folder supports."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

PROGRAM = "pytorch_segmentation_models_trainer"
"""The program's name, as a package and for pip."""

KNOWN_VERSIONS = ("1.0.1",)
"""The versions with which the tests train."""


def check_version() -> None:
    """Raises ImportError if the program is missing, or has an unknown version."""
    known = " or ".join(KNOWN_VERSIONS)
    try:
        found = version(PROGRAM)
    except PackageNotFoundError as error:
        raise ImportError(
            f"segloss.compat.segmentation_models_trainer needs the program {PROGRAM} {known}, "
            f'which is not installed: pip install "{PROGRAM}=={KNOWN_VERSIONS[-1]}".'
        ) from error
    if found not in KNOWN_VERSIONS:
        raise ImportError(
            f"segloss.compat.segmentation_models_trainer supports {PROGRAM} {known}, got {found}, "
            f'which may build losses differently: pip install "{PROGRAM}=={KNOWN_VERSIONS[-1]}". '
            "Or keep your version, and use losses in the config that work with any: _target_: "
            "segloss.SegLoss in compound_loss, or _target_: segloss.CompoundLoss in loss."
        )
