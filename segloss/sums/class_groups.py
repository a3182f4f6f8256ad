"""Groups of classes, such as the parts of a tumour, each of which counts as a region of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from segloss.foundation.arguments import check_class_range, check_classes, check_text
from segloss.sums.plan import COUNTS, FLOAT64, NAMED, ClassGroupSum, Sum, has_groups

_EXAMPLE = "region_groups={'vehicle': [1, 2, 3], 'person': [4, 5]}"


class ClassGroups(Mapping[str, tuple[int, ...]]):
    """An immutable, ordered mapping from the names of groups to their lists of classes.

    Attributes:
        names: The names of the groups.
        classes: The classes of each group.
        keys_of_rows: The keys of the groups' rows, by the key of a class's row.
    """

    def __init__(self, classes: Mapping[str, tuple[int, ...]]) -> None:
        self._by_name = dict(classes)
        self.names = tuple(classes)
        self.classes = tuple(classes.values())
        sums = [[ClassGroupSum(each.name, group) for group in self.classes] for each in _GROUPED]
        self.keys_of_rows = {
            row.key: tuple(of_group.rows[i].key for of_group in of_groups)
            for each, of_groups in zip(_GROUPED, sums, strict=True)
            for i, row in enumerate(each.rows)
        }

    @classmethod
    def checked(cls, given: Mapping[Any, Any]) -> ClassGroups:
        """Returns the groups for an argument `region_groups`, after checking them.

        Raises:
            TypeError, ValueError: A name or a list of classes is wrong.
        """
        if not given:
            raise ValueError(
                f"region_groups must have at least one group of classes, as in {_EXAMPLE}; got "
                "none. Leave it out for a cell of each class."
            )
        return cls(
            {
                _check_name(name): tuple(sorted(check_classes(f"region_groups[{name!r}]", classes)))
                for name, classes in given.items()
            }
        )

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassGroups) and tuple(self.items()) == tuple(other.items())

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return repr({name: list(classes) for name, classes in self.items()})

    def sums(self, of_classes: Iterable[Sum], owner: str) -> tuple[Sum, ...]:
        """Returns the sums of all groups, in place of those of classes.

        Args:
            of_classes: The sums that a term needs of each class.
            owner: The name of the term, for messages.

        Raises:
            ValueError: Groups of classes do not have one of these sums.
        """
        needed = [each for each in of_classes if each != COUNTS]
        lacking = [each.name for each in needed if each not in (*_GROUPED, FLOAT64)]
        if lacking:
            raise ValueError(
                f"{owner} needs {' and '.join(lacking)}, which a group of classes does not have: "
                f"leave its region_groups=None, and add a term of groups beside it, such as "
                "Dice(region_groups=...)."
            )
        others = tuple(each for each in needed if each == FLOAT64)
        of_groups = (
            ClassGroupSum(each.name, group)
            for each in needed
            if each != FLOAT64
            for group in self.classes
        )
        return (*others, *of_groups)

    def check_channels(self, channels: int, activation: str) -> None:
        """Raises ValueError if the groups do not fit the channels of the prediction."""
        for name, classes in self.items():
            check_classes_of_group(f"region_groups[{name!r}]", classes, channels, activation)

    def are_even(self, channels: int) -> bool:
        """Returns whether each class is in equally many groups, so that their sizes are known."""
        members = [each for classes in self.classes for each in classes]
        return len({members.count(c) for c in range(channels)}) == 1


_GROUPED = tuple(each for each in NAMED.values() if has_groups(each))
"""The sums that groups of classes have."""


def check_classes_of_group(
    name: str, classes: tuple[int, ...], channels: int, activation: str
) -> None:
    """Raises ValueError if a group of classes does not fit the channels of the prediction."""
    if activation != "softmax":
        raise ValueError(
            f"{name} adds up probabilities of classes that exclude each other, but with "
            f"activation={activation!r} channels are independent: give each group a channel and a "
            "mask of its own, or set activation='softmax' or mode='multiclass', whichever the loss "
            "has."
        )
    check_class_range(name, classes, channels)


def _check_name(name: Any) -> str:
    check_text("A name in region_groups", name)
    if "/" in name:
        raise ValueError(
            f"A name in region_groups must not hold '/', got {name!r}: 'dice/vehicle' is the value "
            "of dice for the group vehicle in the extra information."
        )
    return str(name)
