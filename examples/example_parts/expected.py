"""The classes that the loss of a config expects, compared with the masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from example_parts.folders import MaskOptions, Pair, raise_all
from segloss import MultiLoss, SegLoss, suggest
from segloss.tools.suggest.classes import Classes


@dataclass(frozen=True)
class Expected:
    """The interpretation of masks by a loss.

    Attributes:
        n_classes: The number of classes.
        sigmoid: True if channels are independent.
        ignore_index: The ignored value.
    """

    n_classes: int
    sigmoid: bool
    ignore_index: int | None

    def classes_in(self, masks: Path, options: MaskOptions, pairs: Sequence[Pair]) -> Classes:
        """Returns the classes of the masks, as the loss sees them.

        Args:
            masks: The folder of masks.
            options: The options about them; see `segloss.suggest`.
            pairs: The images and masks.

        Raises:
            ValueError: Masks hold numbers without a class, or are of another kind.
        """
        by_class = pairs[0].mask.by_class
        if by_class and not self.sigmoid:
            raise ValueError(
                "Masks with one file per class need a loss with a sigmoid, but the config's loss "
                "has a softmax: leave out --config, or convert the masks to label maps."
            )
        found = suggest(masks, **asdict(options)).classes
        if not by_class and found.kind == "labels":
            raise_all(self._values_without_class(pairs))
            ignored = "none" if self.ignore_index is None else self.ignore_index
            found = suggest(masks, **asdict(replace(options, ignore_index=ignored))).classes
        if found.channels > self.n_classes and not self.sigmoid:
            raise ValueError(
                f"The masks have {found.channels} classes, but the config's loss has "
                f"{self.n_classes}: leave out --config, or set n_classes."
            )
        return found if self.sigmoid else self._with_softmax(found)

    def _values_without_class(self, pairs: Sequence[Pair]) -> list[str]:
        """Returns a message for each mask with numbers without a class."""
        allowed = self._labels(pairs)
        valid = {*allowed, self.ignore_index}
        void = "" if self.ignore_index is None else f", and {self.ignore_index} to be left out"
        return [
            f"{pair.mask.name}: it holds {', '.join(map(str, sorted(unknown)))}, but the config's "
            f"labels are {', '.join(map(str, allowed))}{void}"
            for pair in pairs
            if (unknown := pair.values - valid)
        ]

    def _labels(self, pairs: Sequence[Pair]) -> list[int]:
        """Returns the valid labels; for two classes, 0 and the most common other number."""
        if self.n_classes > 2:
            return list(range(self.n_classes))
        counts = Counter(v for pair in pairs for v in pair.values - {0, self.ignore_index})
        return [0, *(value for value, _ in counts.most_common(1))]

    def _with_softmax(self, found: Classes) -> Classes:
        """Returns the classes found, and the classes of the loss that do not occur."""
        missing = range(len(found.names), self.n_classes)
        return replace(
            found,
            n_classes=self.n_classes,
            channels=self.n_classes,
            sigmoid=False,
            statistics=[*found.statistics, *(None for _ in missing)],
            names=[*found.names, *(f"class {label}" for label in missing)],
        )


def expected_by(loss: MultiLoss, ignore_index: int | None) -> Expected:
    """Returns the expectations of the first `SegLoss` of a config.

    Args:
        loss: The loss of the config.
        ignore_index: The value from the command line, which must equal the loss's value; None:
            not given.

    Raises:
        ValueError: There is no `SegLoss`, or it ignores another value.
    """
    seg = next((part for part in loss.loss_funcs if isinstance(part, SegLoss)), None)
    if seg is None:
        raise ValueError(
            "The config must have a segloss.SegLoss, because its n_classes defines the masks."
        )
    if ignore_index not in (None, seg.ignore_index):
        raise ValueError(
            f"--ignore-index is {ignore_index}, but the config's ignore_index {seg.ignore_index}: "
            "leave out --ignore-index, or change the config."
        )
    return Expected(seg.n_classes, seg.activation == "sigmoid", seg.ignore_index)
