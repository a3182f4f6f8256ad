"""Data sets for the study of outcomes, from files that packages carry and from the examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from outcomes.sets import brain, cortex, earth, examples
from outcomes.sets.arrays import Arrays
from outcomes.sets.packages import Package


@dataclass(frozen=True)
class Source:
    """The source of a data set.

    Attributes:
        packages: The packages with the files.
        make: A function from the folder with the packages' archives to the arrays.
    """

    packages: tuple[Package, ...]
    make: Callable[[Path], Arrays]


SETS = {
    "landcover": Source(earth.PACKAGES, earth.landcover),
    "lakes": Source(earth.PACKAGES, earth.lakes),
    "brain": Source((brain.MRICRON,), brain.brain),
    "cortex": Source((cortex.PYCORTEX,), cortex.cortex),
    "tissues": Source((), examples.tissues),
    "buildings": Source((), examples.buildings),
}
"""The data sets by name."""
