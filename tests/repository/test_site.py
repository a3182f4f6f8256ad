"""The documentation site: it builds, stands by itself, and misses no public name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import segloss
from segloss import frame_field
from segloss.compat import mmf, nn4n, perceptrain, segmentation_models_trainer, tutorial
from segloss.terms import TERMS

ROOT = Path(__file__).parents[2]
API = sorted((ROOT / "docs" / "api").glob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `mkdocs build --strict` builds it."""
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def pages(site: Path) -> list[Path]:
    return [path for path in site.rglob("*.html") if path.name != "404.html"]


def test_every_public_name_is_in_the_api() -> None:
    pages = "\n".join(page.read_text() for page in API)
    named = set(re.findall(r"^::: (segloss[\w.]+)$", pages, re.MULTILINE))
    own = {name.rpartition(".")[2] for name in named if not name.startswith("segloss.compat.")}
    assert {*segloss.__all__, *frame_field.__all__} <= own
    systems = (mmf, nn4n, perceptrain, segmentation_models_trainer, tutorial)
    assert {f"{each.__name__}.{name}" for each in systems for name in each.__all__} <= named


def test_every_term_is_in_the_api() -> None:
    page = (ROOT / "docs" / "api" / "terms.md").read_text()
    assert {f"::: segloss.terms.{term.__name__}" for term in TERMS.values()} <= {*page.split("\n")}


def test_asterisks_of_shapes_are_no_emphasis(site: Path) -> None:
    for page in pages(site):
        assert not re.findall(r"<em>[^<]*spatial[^<]*</em>", page.read_text()), page


def test_what_the_api_names_is_what_the_site_shows(site: Path) -> None:
    for page in API:
        shown = (site / "api" / page.stem / "index.html").read_text()
        for name in re.findall(r"^::: (segloss[\w.]+)$", page.read_text(), re.MULTILINE):
            assert f'id="{name}"' in shown, name


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in pages(site):
        text = page.read_text()
        tags = re.findall(r"<(?:script|img|iframe|source)\b[^>]*>", text)
        tags += re.findall(r"<link\b[^>]*rel=\"?(?:stylesheet|preload|preconnect|icon)[^>]*>", text)
        assert tags
        for tag in tags:
            assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", tag), (page, tag)


def test_every_formula_is_drawn_by_the_browser(site: Path) -> None:
    formulas = 0
    for page in pages(site):
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        formulas += text.count("<math ")
        for left in ("arithmatex", ".. math::", ":math:", "$$"):
            assert left not in text, (page, left)
    assert formulas > 100


def test_formulas_have_a_font_that_the_site_has_with_its_licence(site: Path) -> None:
    style = (site / "site.css").read_text()
    (font,) = re.findall(
        r'@font-face \{\s*font-family: "STIX Two Math";\s*src: url\("(.+?)"', style
    )
    assert re.search(r'^math \{\s*font-family: "STIX Two Math"', style, re.MULTILINE)
    assert (site / font).read_bytes().startswith(b"wOF2")
    assert "SIL OPEN FONT LICENSE" in ((site / font).parent / "OFL.txt").read_text()


def test_a_formula_that_may_be_wider_than_a_phone_scrolls(site: Path) -> None:
    """An inline formula does not wrap, and would widen the whole page."""
    page = (site / "api" / "losses" / "index.html").read_text()
    inline = r'<span class="formula--inline"><math [^>]*display="inline">.*?</math></span>'
    assert re.search(inline, page, re.DOTALL)


@pytest.mark.parametrize("name", ["SegLoss", "DeepSupervision", "CompoundLoss"])
def test_the_call_of_a_loss_is_documented(site: Path, name: str) -> None:
    page = (site / "api" / "losses" / "index.html").read_text()
    call = page.split(f'id="segloss.{name}.forward"', 1)[1].split("<h2", 1)[0].split("<h3", 1)[0]
    headings = ["Parameters:", "Returns:", "Raises:"]
    assert all(f"{heading}</span>" in call or heading in call for heading in headings)


def test_every_page_and_picture_of_docs_is_in_the_site(site: Path) -> None:
    docs = ROOT / "docs"
    for source in (*docs.rglob("*.md"), *docs.rglob("*.png")):
        path = source.relative_to(docs)
        page = path.with_suffix("") / "index.html" if path.stem != "index" else Path("index.html")
        assert (site / (page if path.suffix == ".md" else path)).is_file(), path
    assert not [path for path in site.rglob("*.py") if path.is_file()]


def test_files_of_the_repository_that_are_linked_to_have_pages(site: Path) -> None:
    page = (site / "scaling" / "index.html").read_text()
    assert 'href="../source/examples/lightning_brain.py/"' in page
    shown = (site / "source" / "examples" / "lightning_brain.py" / "index.html").read_text()
    assert "LightningModule" in shown


def test_doctests_are_shown_as_code(site: Path) -> None:
    for page in pages(site):
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        assert "&gt;&gt;&gt;" not in text, page


def test_docstrings_are_turned_into_markdown() -> None:
    pytest.importorskip("griffe")
    from docstring_markdown import as_markdown

    docstring = "Loss.\n\n    .. math:: a +\n        b\n\n    with :math:`c`.\n\n    Example:\n"
    assert as_markdown(docstring) == "Loss.\n\n    $$a + b$$\n\n    with $c$.\n\n    Examples:\n"
