"""Text fit to show: that from outside, such as names of files, made safe; notes on errors."""

from __future__ import annotations


def printable(text: object, longest: int | None = None) -> str:
    r"""Returns text in one line, in which characters that can't be seen are escapes.

    A terminal obeys escape sequences, reverses text around direction marks, and fails on lone
    surrogates, which stand for the undecodable bytes of a file's name; YAML breaks lines at more
    characters than "\n". All of these become escapes, as in `repr`, and so do unusual spaces.

    Args:
        text: The text, or an object with a `str`.
        longest: The length beyond which the middle is left out; None: no limit.

    Example:
        >>> printable("a\x1b[31mb\u2028\u202ec\udcff é")
        'a\\x1b[31mb\\u2028\\u202ec\\udcff é'
        >>> printable("x" * 99, 20)
        'xxxxxxxx...xxxxxxxxx'
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    if longest is None or len(shown) <= longest:
        return shown
    kept = longest - 3
    return f"{shown[: kept // 2]}...{shown[len(shown) - kept + kept // 2 :]}"


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun, in the plural if it is not 1.

    Example:
        >>> counted(1, "channel"), counted(2, "channel")
        ('1 channel', '2 channels')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def add_note(error: BaseException, note: str) -> None:
    """Adds a note to an error, or to its message where errors have no notes.

    Example:
        >>> error = ValueError("the label 255")
        >>> add_note(error, "In the loss 'seg'.")
        >>> is_noted(error, "the loss 'seg'")
        True
    """
    if hasattr(error, "add_note"):
        error.add_note(note)
    elif len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n{note}",)


def is_noted(error: BaseException, words: str) -> bool:
    """Returns whether the message of an error, or a note, has some words."""
    return any(words in text for text in (str(error), *getattr(error, "__notes__", ())))
