"""The meaning of the numbers in masks, from their statistics: a module for each kind.

- `objects`: Numbers that count objects, not classes.
- `blurred`: Numbers in between, which JPEG or resizing made.
- `void`: Numbers of pixels to be left out.
"""

from segloss.tools.suggest.meaning.blurred import find_blur
from segloss.tools.suggest.meaning.objects import find_objects
from segloss.tools.suggest.meaning.void import Void, far_void, find_border, find_void, given_void

__all__ = [
    "VALUES",
    "Void",
    "far_void",
    "find_blur",
    "find_border",
    "find_objects",
    "find_void",
    "given_void",
]

VALUES = ("auto", "labels", "soft", "objects")
"""The meanings that can be stated: classes; black and white with greys between; objects."""
