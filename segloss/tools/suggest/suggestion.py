"""`segloss.suggest`: makes the config of a loss from masks, with a reason for every number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from segloss.config.build import build_loss
from segloss.foundation.arguments import check_choice, check_flag, check_integer
from segloss.foundation.installation.extras import needs
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss
from segloss.tools.suggest.advice import Advice, Note
from segloss.tools.suggest.classes import Classes
from segloss.tools.suggest.interpretation import interpret
from segloss.tools.suggest.meaning import VALUES
from segloss.tools.suggest.rules import Facts, notes
from segloss.tools.suggest.settings import all_advice, as_config
from segloss.tools.suggest.sources import LAYOUTS
from segloss.tools.suggest.statistics import DatasetStatistics
from segloss.tools.suggest.streaming import count_masks
from segloss.tools.suggest.text import as_text, as_yaml, tables


@dataclass(frozen=True)
class Suggestion:
    """A loss for a dataset, with reasons; printed, it is a table.

    Attributes:
        classes: The classes and the ignored value, among the numbers in the masks.
        statistics: The counts in the masks.
        advice: The settings, each with its value, the reason and the source of the rule.
        notes: Other findings about the masks.
    """

    classes: Classes
    statistics: DatasetStatistics
    advice: Sequence[Advice]
    notes: Sequence[Note]

    @property
    def config(self) -> dict[str, Any]:
        """The config, for `segloss.build_loss`."""
        return as_config(self.advice)

    def build(self) -> Loss | MultiLoss:
        """Returns the loss, a `MultiLoss`, to which you can add more losses."""
        return build_loss(self.config)

    def to_yaml(self) -> str:
        """Returns the config as YAML, with the reason and source of each number in a comment."""
        return as_yaml(self.advice, self.classes, self.statistics, self.notes)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes the config as YAML.

        Args:
            path: The path of the file.
            force: True replaces an existing file.

        Returns:
            The path.

        Raises:
            FileExistsError: The file exists, and `force` is False.
        """
        path = Path(path)
        if path.exists() and not force:
            raise FileExistsError(
                f"{str(path)!r} already exists: replace it with force=True (--force), or choose "
                "another name."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_yaml(), encoding="utf-8")
        return path

    def plot(self, path: str | Path) -> Path:
        """Draws a page about the dataset: frequency, presence and size of classes, and examples."""
        with needs("The picture of a suggestion", "suggest"):
            from segloss.tools.suggest.picture import draw

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(self.classes, self.statistics).savefig(path, dpi=130)
        return path

    def tables(self) -> list[Any]:
        """Returns the printed report for a console of rich, which fits it to the terminal."""
        with needs("The report of a suggestion", "suggest"):
            return tables(self.advice, self.classes, self.statistics, self.notes)

    def __str__(self) -> str:
        return as_text(self.advice, self.classes, self.statistics, self.notes)


def suggest(
    masks: Any,
    *,
    layout: str = "auto",
    ignore_index: int | str | Sequence[int] | None = None,
    values: str = "auto",
    colours: Any = None,
    only: str | None = None,
    workers: int = 2,
    progress: bool = False,
) -> Suggestion:
    r"""Reads the masks of a dataset, and suggests a loss for it.

    The rules are in `segloss.tools.suggest.rules`, and every setting comes with the figures behind
    it. Each worker reads one mask at a time, and keeps none.

    Args:
        masks: A folder (PNG, BMP, GIF, TIFF, NumPy, NIfTI), a JSON file of COCO, a list of files,
            or an iterable of arrays or tensors. A mask has a label for each pixel, (*spatial) of
            one to three dimensions, or a colour, or is one-hot. Two classes are 0 and any other
            number.
        layout: "labels": each file is a mask; "classes": a folder has a subfolder for each class,
            with the same names in all of them, or names end in the class, or an array is
            (classes, *spatial); "auto": what the folder looks like.
        ignore_index: The number that marks ignored pixels, or a list of several. None: a number
            recognised by its place or shape, such as 255 above labels; "none": none is ignored.
        values: "labels": each number is a class; "soft": black and white with greys between;
            "objects": numbers of objects, all of one class; "auto": what the numbers look like.
        colours: The palette of colour-coded masks: "camvid", "cityscapes", "voc", a file with a
            name and a colour in each line, or a mapping from names to (R, G, B). "data": the
            colours in the masks, also of images with palettes. None: as "data", if there are any.
        only: A pattern for the names of the files to be read, such as "*_mask.png"; None: all.
        workers: The number of masks read at the same time.
        progress: True shows a progress bar.

    Raises:
        FileNotFoundError: The folder does not exist, or holds no mask.
        ImportError: A library for these files is missing.
        ValueError: Masks can't be used (the message lists them all, with the reasons), hold
            only one class, or leave open what they mean.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((64, 64), dtype=int)
        >>> mask[:8, :8] = 1  # 1/64 of the pixels
        >>> suggestion = suggest([mask])
        >>> suggestion.config["loss_params"]["compound_loss"]["loss_list"][0]["terms"]["dice"]
        {'coef': 0.3, 'skip_absent_classes': True}
        >>> loss = suggestion.build()
    """
    check_choice("layout", layout, LAYOUTS)
    check_choice("values", values, VALUES)
    check_integer("workers", workers, 1)
    check_flag("progress", progress)
    with needs("segloss.suggest", "suggest"):
        classes, statistics = interpret(
            masks,
            layout=layout,
            ignore_index=ignore_index,
            values=values,
            colours=colours,
            only=only,
            count=partial(count_masks, workers=workers, progress=progress),
        )
    facts = Facts(statistics, classes)
    return Suggestion(classes, statistics, all_advice(facts), notes(facts))
