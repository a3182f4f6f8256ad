"""Updates the generated parts of a page, between `<!-- name -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from pathlib import Path


def put_between_markers(page: Path, name: str, content: str) -> None:
    """Replaces the text between the markers of a name.

    Raises:
        ValueError: The page does not have these markers.
    """
    marked = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
    text, count = re.subn(
        marked, lambda m: f"{m[1]}{content}\n{m[2]}", page.read_text(), flags=re.DOTALL
    )
    if not count:
        raise ValueError(f"{page} must have the markers <!-- {name} --> and <!-- end -->.")
    page.write_text(text)
