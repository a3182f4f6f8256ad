"""The arithmetic of terms and mixtures, and the errors for arithmetic that has no meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from segloss.foundation.arguments import check_number, nearest, shown

if TYPE_CHECKING:
    from segloss.terms.mixture import Mixture


class _NeedsInstance(type):
    """Answers an operator on a class, where an instance is meant, with a TypeError."""

    def _refuse_operator(cls, *others: Any) -> Any:
        name = cls.__name__
        raise TypeError(f"{name} is a class: use an instance of it, {name}(...).")

    __add__ = __radd__ = __sub__ = __rsub__ = _refuse_operator
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse_operator


class RefusesOperators(metaclass=_NeedsInstance):
    """Answers every operator with a TypeError that says how objects of the class are combined.

    A subclass may define operators of its own.

    Attributes:
        combination: The end of the message.
    """

    combination: ClassVar[str] = (
        "put losses into a MultiLoss([...], weights=[...]), or add up the losses of a batch"
    )

    def _refuse_operator(self, *others: Any) -> Any:
        raise TypeError(self._operator_message(*others))

    def _operator_message(self, *others: Any) -> str:
        """Returns the message for an operator with these operands."""
        return (
            f"{type(self).__name__} is a loss, and losses are not added up or multiplied: "
            f"{self.combination}."
        )

    __add__ = __radd__ = __sub__ = __rsub__ = _refuse_operator
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse_operator
    __pow__ = __rpow__ = __neg__ = __matmul__ = __rmatmul__ = _refuse_operator


class Algebra(RefusesOperators):
    """The arithmetic of terms: numbers multiply and divide them, and sums of them are mixtures."""

    def _as_mixture(self) -> Mixture:
        from segloss.terms.mixture import Mixture  # here, because that module imports this one

        return Mixture.of(self)  # type: ignore[arg-type]

    def __mul__(self, coefficient: Any) -> Mixture:
        return self._as_mixture().times(coefficient)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Mixture:
        return self * (1 / check_number("A divisor", divisor, open_low=True))

    def __add__(self, other: Any) -> Mixture:
        if not isinstance(other, Algebra):
            raise TypeError(self._operator_message(other))
        return self._as_mixture().plus(other._as_mixture())

    def __radd__(self, other: Any) -> Mixture:
        if isinstance(other, int) and other == 0:  # where `sum` begins
            return self._as_mixture()
        raise TypeError(self._operator_message(other))

    def _operator_message(self, *others: Any) -> str:
        and_others = "".join(f" and {shown(other)}{term_meant(other)}" for other in others)
        return (
            "Terms are multiplied or divided by numbers above 0, and added up, as in "
            f"0.5 * CrossEntropy() + 0.5 * Dice(); got another operation on {self!r}{and_others}."
        )


def not_a_loss(term: Any) -> str:
    """Returns the message for a term or mixture where a loss is expected."""
    return (
        f"{term!r} is {'a term' if hasattr(term, 'sums') else 'a mixture of terms'}, not a loss of "
        f"predictions and targets: make one of it, CompoundLoss({term!r})."
    )


def term_meant(value: Any) -> str:
    """Returns " (did you mean ...?)" with the term that a loss or a text stands for."""
    from segloss.terms import TERMS  # here, because that module imports this one

    if isinstance(value, Algebra):
        return ""
    name = value if isinstance(value, str) else type(value).__name__
    return nearest(name, [f"{term.__name__}()" for term in TERMS.values()])
