"""A plugin of pytest that halves the time of Triton's interpreter.

The interpreter patches `triton.language` in each launch, and again in each call of a function of
the device. Here it stays patched.
"""

from __future__ import annotations

from triton import language
from triton.language import core
from triton.runtime import interpreter


def _uses_all() -> tuple[object, object]:
    """The interpreter patches the modules that a function can see."""
    return language, core


interpreter._patch_lang(_uses_all)
interpreter._patch_lang = lambda _: interpreter._LangPatchScope()
