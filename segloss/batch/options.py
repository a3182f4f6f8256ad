"""The options that fix how a loss reads pixels: classes, activation, ignored value, smoothing.

They hold for any batch. The tensors of one batch are in `segloss.batch.pixel_batch`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from segloss.foundation.arguments import check_choice, check_flag, check_integer, check_number
from segloss.foundation.ignore_index import IgnoreIndex, check_ignore_index

ACTIVATIONS = ("sigmoid", "softmax")
"""The functions from logits to probabilities."""


class PixelOptions(NamedTuple):
    """The options that fix how a loss reads the pixels of any batch.

    Attributes:
        n_classes: The number of classes. With n_classes=2, any number of sigmoid channels fits.
        activation: "sigmoid" (independent channels) or "softmax" (channels are classes).
        from_logits: True if predictions are logits, False if they are probabilities.
        ignore_index: The target's value for ignored pixels, a tuple of several, or None. In the
            options of a `PixelBatch` it is one value or None.
        label_smoothing: The smoothing of the cross-entropy's targets, in [0, 1].
        one_against_rest: True if sigmoid channels may have a label map: the target of channel c is
            1 where the label is c. It is True if the activation "sigmoid" was asked for: with
            n_classes=2 alone, a label map of several channels is more likely one for softmax.
    """

    n_classes: int
    activation: str
    from_logits: bool = True
    ignore_index: IgnoreIndex = None
    label_smoothing: float = 0.0
    one_against_rest: bool = False

    def replace(self, **options: Any) -> PixelOptions:
        """Returns the options with some replaced. Not every compiler knows `_replace`."""
        current = zip(PixelOptions._fields, self, strict=True)
        values: list[Any] = [options.get(name, value) for name, value in current]
        return PixelOptions(*values)

    @classmethod
    def checked(
        cls,
        n_classes: Any,
        activation: Any = None,
        *,
        from_logits: Any = True,
        ignore_index: Any = None,
        label_smoothing: Any = 0.0,
    ) -> PixelOptions:
        """Returns the options after checking each under the name of its argument.

        Raises:
            TypeError, ValueError: An option is wrong.
        """
        return cls(
            n_classes,
            resolve_activation(n_classes, activation),
            check_flag("from_logits", from_logits),
            check_ignore_index(ignore_index),
            check_number("label_smoothing", label_smoothing, 0, 1),
            activation == "sigmoid",
        )


def resolve_activation(n_classes: int, activation: str | None) -> str:
    """Returns the given activation, or the default for `n_classes` if it is None.

    Raises:
        TypeError, ValueError: `n_classes` is not an int of at least 2, or `activation` is unknown.
    """
    check_integer("n_classes", n_classes)
    if n_classes < 2:
        raise ValueError(
            f"n_classes must be at least 2, got {n_classes}: one foreground class against the "
            "background is n_classes=2, predicted in one sigmoid channel."
        )
    if activation is None:
        return "sigmoid" if n_classes == 2 else "softmax"
    return check_choice("activation", activation, ACTIVATIONS)
