"""`segloss suggest`: reads a folder of masks, and writes a config with reasons and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segloss.foundation.printable import printable
from segloss.tools.cli.terminal import console, show_lines


def suggest(
    masks: Annotated[
        Path,
        typer.Argument(
            help="The folder of masks: PNG, BMP, GIF, TIFF, NumPy or NIfTI; label maps, colours, "
            "or for each class a subfolder or an ending of file names. Or a COCO JSON file.",
            metavar="MASKS",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The YAML file for the config.")
    ] = Path("loss.yaml"),
    picture: Annotated[
        Path, typer.Option(help="The file for the picture of the dataset: PNG, PDF or SVG.")
    ] = Path("dataset.png"),
    ignore_index: Annotated[
        list[str] | None,
        typer.Option(
            help="The number that marks ignored pixels; repeat it for several; none: there is "
            "none. Default: detect.",
            metavar="INTEGER|none",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(help="labels: a file is a mask; classes: a folder is a class; auto: detect."),
    ] = "auto",
    values: Annotated[
        str,
        typer.Option(
            help="labels: a number is a class; soft: black and white with greys between; objects: "
            "numbers of objects; auto: detect."
        ),
    ] = "auto",
    colours: Annotated[
        str | None,
        typer.Option(
            help="The palette of colour-coded masks: camvid, cityscapes, voc, a file with a name "
            "and a colour in each line, or data for the colours in the masks.",
            metavar="PALETTE",
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="A pattern for the files to be read, such as '*_mask.png'."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="The number of masks to read at a time.")] = 2,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Suggest a loss for a folder of masks, with reasons."""
    from segloss.tools.suggest import suggest as suggest_loss
    from segloss.tools.suggest.folders.listing import check_folder

    check_folder(masks)
    _check_free(output, picture, force=force)
    suggestion = suggest_loss(
        masks,
        layout=layout,
        ignore_index=_ignored(ignore_index or []),
        values=values,
        colours=colours,
        only=only,
        workers=workers,
        progress=True,
    )
    console().print(*suggestion.tables())
    suggestion.save(output, force=force)
    suggestion.plot(picture)
    show_lines(
        f"The config is in {printable(output)}, and the picture of the dataset in "
        f"{printable(picture)}."
    )


def _ignored(values: list[str]) -> list[int] | str | None:
    """Returns the option `ignore_index` for its values in text."""
    if values == ["none"]:
        return "none"
    try:
        return [int(value) for value in values] or None
    except ValueError:
        raise typer.BadParameter(
            f"it must be a number, such as 255, repeated for several, or none, got "
            f"{', '.join(values)}.",
            param_hint="--ignore-index",
        ) from None


def _check_free(*paths: Path, force: bool) -> None:
    """Raises FileExistsError before the masks are read, not after."""
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise FileExistsError(
            f"{' and '.join(existing)} already {'exists' if len(existing) == 1 else 'exist'}: "
            "replace with --force, or choose other names with --output and --picture."
        )
