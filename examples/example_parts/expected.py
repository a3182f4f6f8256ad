"""What a config's loss expects of masks, held against the masks that there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from example_parts.folders import Pair, raise_all
from segloss import MultiLoss, SegLoss, suggest
from segloss.tools.suggest.classes import Classes


@dataclass(frozen=True)
class Expected:
    """How a loss reads masks.

    Attributes:
        n_classes: How many classes it has.
        sigmoid: Whether channels are independent.
        ignore_index: The value that it leaves out.
    """

    n_classes: int
    sigmoid: bool
    ignore_index: int | None

    def classes_in(self, masks: Path, layout: str, pairs: Sequence[Pair]) -> Classes:
        """The classes of masks, as the loss has them.

        Args:
            masks: The folder of masks.
            layout: Its layout; see `segloss.suggest`.
            pairs: What was read of them.

        Raises:
            ValueError: Masks hold numbers which no class has, or are of another kind.
        """
        by_class = pairs[0].mask.by_class
        if by_class and not self.sigmoid:
            raise ValueError(
                "Masks with one file a class need a loss with a sigmoid, and the config's has a "
                "softmax: leave --config out, or make label maps of the masks."
            )
        if not by_class:
            raise_all(self._alien_values(pairs))
        found = suggest(masks, layout=layout, ignore_index=self.ignore_index).classes
        return found if self.sigmoid else self._with_softmax(found)

    def _alien_values(self, pairs: Sequence[Pair]) -> list[str]:
        """The masks that hold numbers which no class has, each with these numbers."""
        allowed = self._labels(pairs)
        known = {*allowed, self.ignore_index}
        void = "" if self.ignore_index is None else f", and {self.ignore_index} to be left out"
        return [
            f"{pair.mask.name}: it holds {', '.join(map(str, sorted(alien)))}, and the config's "
            f"labels are {', '.join(map(str, allowed))}{void}"
            for pair in pairs
            if (alien := pair.values - known)
        ]

    def _labels(self, pairs: Sequence[Pair]) -> list[int]:
        """The labels that may occur; of two classes, 0 and what most masks hold beside it."""
        if self.n_classes > 2:
            return list(range(self.n_classes))
        others = Counter(v for pair in pairs for v in pair.values - {0, self.ignore_index})
        return [0, *(value for value, _ in others.most_common(1))]

    def _with_softmax(self, found: Classes) -> Classes:
        """The classes found, with those that the masks don't hold."""
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
    """What the first `SegLoss` of a config expects.

    Args:
        loss: The config's loss.
        ignore_index: The command line's, which must be that of the loss, if it is given.

    Raises:
        ValueError: There is no `SegLoss`, or it leaves out another value.
    """
    seg = next((part for part in loss.loss_funcs if isinstance(part, SegLoss)), None)
    if seg is None:
        raise ValueError(
            "The config must have a segloss.SegLoss, whose n_classes says what masks hold."
        )
    if ignore_index not in (None, seg.ignore_index):
        raise ValueError(
            f"--ignore-index is {ignore_index}, and the config's ignore_index {seg.ignore_index}: "
            "leave --ignore-index out, or change the config."
        )
    return Expected(seg.n_classes, seg.activation == "sigmoid", seg.ignore_index)
