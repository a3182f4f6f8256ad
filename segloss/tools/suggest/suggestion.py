"""`segloss.suggest`: from masks to a loss's config, with the reason of every number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segloss.config.build import build_loss
from segloss.foundation.arguments import check_choice, check_flag, check_integer
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss
from segloss.tools.suggest.advice import Advice, Note
from segloss.tools.suggest.classes import Classes, find_classes
from segloss.tools.suggest.rules import Facts, notes
from segloss.tools.suggest.settings import as_config, make_plan
from segloss.tools.suggest.sources import LAYOUTS, find_masks
from segloss.tools.suggest.statistics import DatasetStatistics
from segloss.tools.suggest.streaming import count_masks
from segloss.tools.suggest.text import as_text, as_yaml, tables


@dataclass(frozen=True)
class Suggestion:
    """A loss for a dataset, and why; printed, it is a table.

    Attributes:
        classes: Which numbers in the masks are classes, and which is the ignore value.
        statistics: What was counted in the masks.
        advice: The settings, each with its value, the reason and the rule's source.
        notes: What was found beside them.
    """

    classes: Classes
    statistics: DatasetStatistics
    advice: Sequence[Advice]
    notes: Sequence[Note]

    @property
    def config(self) -> dict[str, Any]:
        """The config, as `segloss.build_loss` takes it."""
        return as_config(self.advice)

    def build(self) -> Loss | MultiLoss:
        """Returns the loss: a `MultiLoss`, to which more losses can be added."""
        return build_loss(self.config)

    def to_yaml(self) -> str:
        """Returns the config as YAML, with each number's reason and source in a comment."""
        return as_yaml(self.advice, self.classes, self.statistics, self.notes)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes the config as YAML.

        Args:
            path: Where to.
            force: Whether a file that is there is replaced.

        Returns:
            The path.

        Raises:
            FileExistsError: There is such a file, and `force` is False.
        """
        path = Path(path)
        if path.exists() and not force:
            raise FileExistsError(
                f"{str(path)!r} is there already: replace it by force=True (--force), or choose "
                "another name."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_yaml(), encoding="utf-8")
        return path

    def plot(self, path: str | Path) -> Path:
        """Draws the dataset on a page: frequencies, presence and sizes of classes, and examples."""
        from segloss.tools.suggest.picture import draw

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(self.classes, self.statistics).savefig(path, dpi=130)
        return path

    def tables(self) -> list[Any]:
        """Yields the printed report for a console of rich, which fits it to the terminal."""
        return tables(self.advice, self.classes, self.statistics, self.notes)

    def __str__(self) -> str:
        return as_text(self.advice, self.classes, self.statistics, self.notes)


def suggest(
    masks: Any,
    *,
    layout: str = "auto",
    ignore_index: int | None = None,
    workers: int = 2,
    progress: bool = False,
) -> Suggestion:
    r"""Reads the masks of a dataset, and suggests a loss for it.

    The rules are those of `segloss.tools.suggest.rules`, and every setting comes with the figures
    that it was made of. Masks are read one at a time by each worker, and none is kept.

    Args:
        masks: A folder (PNG, BMP, GIF, TIFF, NumPy, NIfTI), a list of files, or an iterable of
            arrays or tensors. A mask has a label for each pixel, (*spatial) of one to three
            dimensions; 0 and any other number are two classes.
        layout: "labels": each file is a mask; "classes": a folder has a subfolder for each class,
            with the same names in all, or an array is (classes, *spatial); "auto": "classes" if
            a folder looks like it.
        ignore_index: The number that marks ignored pixels. None: 255, if it is far
            above at least two labels.
        workers: How many masks are read at a time.
        progress: Whether a progress bar is shown.

    Raises:
        FileNotFoundError: There is no such folder, or no mask in it.
        ImportError: A library that reads these files is missing.
        ValueError: Masks can't be used (all are named, with the reasons), or hold one class alone.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((64, 64), dtype=int)
        >>> mask[:8, :8] = 1  # 1/64 of the pixels
        >>> suggestion = suggest([mask])
        >>> suggestion.config["loss_params"]["compound_loss"]["loss_list"][0]["tversky_beta"]
        0.6
        >>> loss = suggestion.build()
    """
    check_choice("layout", layout, LAYOUTS)
    check_integer("workers", workers, 1)
    check_flag("progress", progress)
    if ignore_index is not None:
        check_integer("ignore_index", ignore_index)
    found = find_masks(masks, layout, ignore_index)
    try:
        statistics = count_masks(found, ignore_index, workers=workers, progress=progress)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"suggest needs {error.name}, which is not installed: pip install "
            "'pytorch-segloss[suggest]'"
        ) from error
    classes = find_classes(
        statistics, ignore_index, by_class=found.by_class, names=found.class_names
    )
    if classes.ignore_index is None:
        statistics.take_void_back()
    facts = Facts(statistics, classes)
    return Suggestion(classes, statistics, make_plan(facts), notes(facts))
