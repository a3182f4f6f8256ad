r"""What the site needs beyond MkDocs: formulas without a network, and links out of docs/.

Formulas are turned into MathML while the site is built, so that no script has to be fetched or run.
Pages link to files of the repository, such as ../examples/brain_tissue.py: each such file becomes a
page of its own, and the links lead there.
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
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each file of the repository that a page links to, and for those after it."""
    waiting = [*ALWAYS]
    for file in files.documentation_pages():
        waiting += _repository_files(file.content_string)
    while waiting:
        path = waiting.pop()
        if files.get_file_from_path(page_of(path)) is not None:
            continue
        content = content_of(path)
        files.append(File.generated(config, page_of(path), content=content))
        waiting += _repository_files(content)
    return files


def on_page_markdown(markdown: str, page: Page, **kwargs: Any) -> str:
    """Leads links out of docs/ to the pages made of these files."""
    up = "../" * page.file.src_uri.count("/")

    def inwards(match: re.Match[str]) -> str:
        path = match[1]
        if path == "README.md":
            return f"]({up}index.md)"
        return f"]({up}{page_of(path)}{match[2] or ''})" if is_page(path) else "](#)"

    return OUTWARDS.sub(inwards, markdown)


def on_page_content(content: str, **kwargs: Any) -> str:
    """Turns formulas into MathML, and lets the names of tests break into lines."""
    content = TEST_NAME.sub(lambda match: match[0].replace("_", "_<wbr>"), content)
    return FORMULA.sub(as_mathml, content)


def as_mathml(match: re.Match[str]) -> str:
    """One formula; a block is wrapped, so that it can scroll."""
    block = match[1] == "div"
    latex = _within_reach(html.unescape(match[2]).strip())
    formula = convert(latex, display="block" if block else "inline")
    formula = formula.replace(*LONG_BAR)
    return f'<span class="formula">{formula}</span>' if block else formula


def content_of(path: str) -> str:
    """The Markdown of the page that is made of a file of the repository."""
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        # Its links start at the root, and those of a page at docs/.
        return re.sub(r"\]\((?!http|#|docs/)", "](../", text).replace("](docs/", "](")
    return f"# {path}\n\n```{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}```\n"


def page_of(path: str) -> str:
    """The place in the site of a file of the repository."""
    return path if path.endswith(".md") else f"source/{path}.md"


def is_page(path: str) -> bool:
    """Whether the file is there to be shown; folders are not."""
    return (ROOT / path).is_file() and path != "README.md"


def _repository_files(markdown: str) -> list[str]:
    paths = [match[1] for match in OUTWARDS.finditer(CODE.sub("", markdown))]
    return [path for path in paths if is_page(path)]


def _within_reach(latex: str) -> str:
    r"""The formula as the converter knows it: without sizes, and with a space after \\log."""
    latex = re.sub(r"\\(log|cosh|cos|max)\s+(?=[\\A-Za-z])", r"\\\1\\, ", latex)
    latex = re.sub(r"\\(?:Bigl|Bigr|bigl|bigr|textstyle|displaystyle)(?![a-zA-Z])", "", latex)
    return re.sub(r"\\tfrac(?![a-zA-Z])", r"\\frac", latex)
