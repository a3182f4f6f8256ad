"""docs/migrating_from_libraries.md says where losses of other libraries have the values of ours.

Each row of its tables names pairs of losses, and the batches on which they differ. On every other
batch, values and gradients are the same.
"""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from segloss import LossWrapper
from segloss.losses.ignored import ignored_values
from tests.compat.libraries.batches import CONDITIONS, KINDS, Batch, batch
from tests.compat.libraries.pairs import Loss, Pair
from tests.support.versions import MONAI_1_5

TESTS = Path(__file__).parents[2]
PAGE = TESTS.parent / "docs" / "migrating_from_libraries.md"
LIBRARIES = {
    "segmentation-models-pytorch": "smp",
    "MONAI": "monai",
    "nnU-Net": "nnunet",
    "PyTorch": "pytorch",
    "torchvision": "torchvision",
    "kornia": "kornia",
    "pytorch-toolbelt": "toolbelt",
    "mmsegmentation": "mmseg",
    "Detectron2": "detectron2",
    "SAM 2": "sam2",
    "SegFormer": "segformer",
}


class Row(NamedTuple):
    """A row of a table: a library's loss, what differs, and the pairs and tests that hold it."""

    library: str
    theirs: str
    differs: str
    pairs: list[str]
    tests: list[str]


def rows_of_the_page() -> list[Row]:
    rows = []
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE):
        table = re.search(r"^\| theirs \|.*\n\|[-| ]+\n((?:\|.+\n)+)", section, re.MULTILINE)
        if table is None:
            continue
        library = LIBRARIES[section.split("\n")[0]]
        for line in table[1].splitlines():
            theirs, _, differs, held_by = line.removeprefix("| ").removesuffix(" |").split(" | ")
            names = re.findall(r"`([^`]+)`", held_by)
            tests = [name for name in names if "::" in name or name.endswith(".py")]
            rows.append(Row(library, theirs, differs, [n for n in names if n not in tests], tests))
    return rows


ROWS = rows_of_the_page()
ROW_OF_PAIR = {f"{row.library}: {name}": row for row in ROWS for name in row.pairs}
each_pair = pytest.mark.parametrize("name", ROW_OF_PAIR)


PACKAGES = {
    "smp": "segmentation_models_pytorch",
    "monai": "monai",
    "nnunet": "nnunetv2",
    "pytorch": "torch",
    "torchvision": "torchvision",
    "kornia": "kornia",
    "toolbelt": "pytorch_toolbelt",
}
"""The packages whose losses are called. Those of other libraries are written as formulas."""


def pairs_of(library: str) -> dict[str, list[Pair]]:
    """Returns a library's pairs, and skips the test without the library."""
    if library in PACKAGES:
        pytest.importorskip(PACKAGES[library])  # first: a skip leaves half of a module behind
    pairs = defaultdict(list)
    for name, pair in importlib.import_module(f"tests.compat.libraries.{library}_pairs").pairs():
        pairs[name].append(pair)
    return dict(pairs)


def pairs_named(name: str) -> list[Pair]:
    library, _, own_name = name.partition(": ")
    pairs = pairs_of(library)
    if MONAI_1_5 and library == "monai" and own_name not in pairs:
        pytest.skip("losses of MONAI 1.6")
    return pairs[own_name]


def value_and_gradient(loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
    logits = batch.logits.clone().requires_grad_()
    value = loss(logits, batch.target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach().double(), gradient.double()


def distance(pair: Pair, batch: Batch) -> float:
    """Returns how far theirs is from ours, in value or in gradient; NaN is infinitely far."""
    (ours, our_gradient), (theirs, their_gradient) = (
        value_and_gradient(loss, batch) for loss in (pair.ours, pair.theirs)
    )
    assert ours.isfinite()
    assert our_gradient.isfinite().all()
    of_values = (ours - theirs).abs() / ours.abs().clamp_min(1e-6)
    largest = our_gradient.abs().max().clamp_min(1e-9)
    of_gradients = (our_gradient - their_gradient).abs().max() / largest
    furthest = torch.stack([of_values, of_gradients])
    return float("inf") if furthest.isnan().any() else furthest.max().item()


def in_a_wrapper(loss: Loss) -> Loss:
    wrapped = LossWrapper(loss)
    return lambda x, y: wrapped(x, y)[0]


def conditions(row: Row) -> list[str]:
    return re.findall(r"\*([^*]+)\*", row.differs)


@each_pair
def test_two_losses_differ_where_the_page_says_and_nowhere_else(name: str) -> None:
    listed = conditions(ROW_OF_PAIR[name])
    shown = set()
    for pair in pairs_named(name):
        for kind, (make, forms, needs) in KINDS.items():
            if pair.form in forms and (not needs or needs in pair.takes):
                batch = make(pair.form)
                holding = [condition for condition in listed if CONDITIONS[condition](batch)]
                found = distance(pair, batch)
                what = f"{name}, {pair.form}, {kind}: {found:.2g}, though the page says {holding}"
                assert found > 1e-3 if holding else found < 1e-4, what
                shown.update(holding)
    assert shown == set(listed)


@each_pair
def test_a_batch_without_samples_costs_0_here_and_is_0_nan_or_an_error_there(name: str) -> None:
    for pair in pairs_named(name):
        nothing = batch(pair.form, samples=0)
        value, gradient = value_and_gradient(pair.ours, nothing)
        assert value == 0
        assert gradient.shape == nothing.logits.shape
        try:
            theirs = pair.theirs(*nothing)
        except (RuntimeError, IndexError):
            continue
        assert theirs == 0 or theirs.isnan()


@each_pair
def test_a_loss_of_a_library_keeps_its_values_in_a_wrapper(name: str) -> None:
    for pair in pairs_named(name):
        for kind, (make, forms, needs) in KINDS.items():
            if pair.form in forms and (not needs or needs in pair.takes):
                batch = make(pair.form)
                theirs = value_and_gradient(pair.theirs, batch)
                if kind == "all ignored" and ignored_values(pair.theirs):
                    theirs = tuple(torch.zeros_like(each) for each in theirs)  # the wrapper's
                kept = value_and_gradient(in_a_wrapper(pair.theirs), batch)
                torch.testing.assert_close(kept, theirs, rtol=0, atol=0, equal_nan=True)


def test_every_row_names_what_holds_it() -> None:
    assert len(ROWS) > 45
    assert {row.library for row in ROWS} == set(LIBRARIES.values())
    for row in ROWS:
        assert row.pairs or row.tests, row
        assert set(conditions(row)) <= set(CONDITIONS), row
        said = row.differs == "never" or bool(conditions(row))
        assert said if row.pairs else row.differs == "-", row
        for test in row.tests:
            path, *places = test.split("::")
            text = (TESTS / path).read_text()
            for place in places:
                assert re.search(rf"^ *(class|def) {place}\b", text, re.MULTILINE), test


@pytest.mark.skipif(MONAI_1_5, reason="losses of MONAI 1.6")
@pytest.mark.parametrize("library", LIBRARIES.values())
def test_every_pair_is_named_by_one_row(library: str) -> None:
    named = [name for row in ROWS if row.library == library for name in row.pairs]
    assert sorted(named) == sorted(pairs_of(library))


def test_every_condition_is_explained_on_the_page() -> None:
    text = PAGE.read_text()
    for condition in CONDITIONS:
        assert f"| *{condition}* |" in text, condition


def test_losses_that_the_page_of_terms_calls_equal_are_compared() -> None:
    text = (TESTS.parent / "docs" / "losses.md").read_text()
    header = (
        r"^\| term \| smp \| MONAI \| nnU-Net \| kornia \| torchvision \|\n\|[-|]+\n((?:\|.+\n)+)"
    )
    table = re.search(header, text, re.MULTILINE)
    assert table is not None
    libraries = ["smp", "monai", "nnunet", "kornia", "torchvision"]
    compared = dict.fromkeys(libraries, "")
    for row in ROWS:
        if row.pairs and row.library in compared:
            compared[row.library] += row.theirs
    for line in table[1].splitlines():
        for library, cell in zip(libraries, line.strip("| ").split(" | ")[1:], strict=True):
            for loss in re.findall(r"`(\w+)", cell):
                assert re.search(rf"\b{loss}\b", compared[library]), (library, loss)
