r"""Hooks of MkDocs for the site: formulas without scripts, and links to files outside docs/.

Formulas become MathML when the site is built, so pages need no script from the network. Pages link
to files of the repository, such as ../examples/brain_tissue.py. Each such file becomes a page, and
the links lead to it.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "sh"}
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
OUTWARDS = re.compile(r"\]\((?:\.\./)+((?!\.\.)[^)#\s]+)(#[^)]*)?\)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
TEST_NAME = re.compile(r"<code>[^<]*(?:::|test_)[^<]*</code>")
LONG_BAR = ('<mo accent="true">&#x02015;</mo>', '<mo stretchy="true">&#x000AF;</mo>')
LONG_FORMULA = 50
"""Characters of LaTeX beyond which a formula in a line may be wider than a phone."""
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each file of the repository that a page links to, directly or not."""
    paths = [*ALWAYS]
    for file in files.documentation_pages():
        paths += _repository_files(file.content_string)
    while paths:
        path = paths.pop()
        if files.get_file_from_path(page_of(path)) is not None:
            continue
        content = content_of(path)
        files.append(File.generated(config, page_of(path), content=content))
        paths += _repository_files(content)
    return files


def on_page_markdown(markdown: str, page: Page, **kwargs: Any) -> str:
    """Changes links to files outside docs/ into links to their pages."""
    up = "../" * page.file.src_uri.count("/")

    def link_to_page(match: re.Match[str]) -> str:
        path = match[1]
        if path == "README.md":
            return f"]({up}index.md)"
        return f"]({up}{page_of(path)}{match[2] or ''})" if is_page(path) else "](#)"

    return OUTWARDS.sub(link_to_page, markdown)


def on_page_content(content: str, **kwargs: Any) -> str:
    """Converts formulas to MathML, and allows line breaks in the names of tests."""
    content = TEST_NAME.sub(lambda match: match[0].replace("_", "_<wbr>"), content)
    return FORMULA.sub(as_mathml, content)


def as_mathml(match: re.Match[str]) -> str:
    """Returns one formula as MathML; a block or a long one is wrapped, so that it can scroll."""
    block = match[1] == "div"
    latex = _simplified(html.unescape(match[2]).strip())
    formula = convert(latex, display="block" if block else "inline")
    formula = formula.replace(*LONG_BAR)
    if block:
        return f'<span class="formula">{formula}</span>'
    is_long = len(latex) > LONG_FORMULA
    return f'<span class="formula--inline">{formula}</span>' if is_long else formula


def content_of(path: str) -> str:
    """Returns the Markdown of the page for a file of the repository."""
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        # Its links start at the root, but the links of a page start at docs/.
        return re.sub(r"\]\((?!http|#|docs/)", "](../", text).replace("](docs/", "](")
    return f"# {path}\n\n```{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}```\n"


def page_of(path: str) -> str:
    """Returns the path in the site of a file of the repository."""
    return path if path.endswith(".md") else f"source/{path}.md"


def is_page(path: str) -> bool:
    """Returns whether a path is a file that becomes a page; folders do not."""
    return (ROOT / path).is_file() and path != "README.md"


def _repository_files(markdown: str) -> list[str]:
    paths = [match[1] for match in OUTWARDS.finditer(CODE.sub("", markdown))]
    return [path for path in paths if is_page(path)]


def _simplified(latex: str) -> str:
    r"""Returns a formula for the converter: without sizes, and with a space after \\log."""
    latex = re.sub(r"\\(log|cosh|cos|max)\s+(?=[\\A-Za-z])", r"\\\1\\, ", latex)
    latex = re.sub(r"\\(?:Bigl|Bigr|bigl|bigr|textstyle|displaystyle)(?![a-zA-Z])", "", latex)
    return re.sub(r"\\tfrac(?![a-zA-Z])", r"\\frac", latex)
