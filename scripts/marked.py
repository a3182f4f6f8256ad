"""The parts of a page that scripts write, between `<!-- name -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from pathlib import Path


def put_between_markers(page: Path, name: str, content: str) -> None:
    """Renews what stands between the markers of that name.

    Raises:
        ValueError: The page has no such markers.
    """
    marked = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
    text, count = re.subn(
        marked, lambda m: f"{m[1]}{content}\n{m[2]}", page.read_text(), flags=re.DOTALL
    )
    if not count:
        raise ValueError(f"{page} must have the markers <!-- {name} --> and <!-- end -->.")
    page.write_text(text)
