"""Compares random losses and batches with a naive textbook in float64, on every kernel.

    pip install -e ".[dev]" && python scripts/textbook_errors.py --count 6000 --write

The tests compare a sample of these configurations. Results are kept in a file, and an interrupted
run continues from there; remove the file after a change of the package. Prints those whose errors
are more than rounding, as code that runs them again, and the worst error of each term. With
--write, the table goes into docs/testing.md. On a machine with a GPU, `SEGLOSS_BACKEND=triton` adds
its kernel.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from marked import put_between_markers
from rich.progress import track

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.comparison import ALL_KERNELS, Error, errors  # noqa: E402
from tests.support.configurations import Configuration, drawn  # noqa: E402

PAGE = ROOT / "docs" / "testing.md"
HEADS = ("term", "configurations", "value, float32", "slopes, float32", "value, float64")
HEADS = (*HEADS, "slopes, float64", "in roundings")


class Outcome(NamedTuple):
    """The errors of a seed's configuration, or what it raised."""

    seed: int
    errors: list[Error]
    raised: str

    @property
    def configuration(self) -> Configuration:
        """The configuration."""
        return drawn(self.seed)

    @classmethod
    def of_line(cls, line: str) -> Outcome:
        """Returns the outcome from a line of the file."""
        seed, found, raised = json.loads(line)
        return cls(seed, [Error(*each) for each in found], raised)

    @property
    def is_right(self) -> bool:
        """True if the errors are those of rounding."""
        return not self.raised and all(error.is_rounding for error in self.errors)


def outcome(seed: int) -> Outcome:
    """Returns the outcome of a seed's configuration."""
    torch.set_num_threads(1)
    try:
        return Outcome(seed, errors(drawn(seed), ALL_KERNELS), "")
    except Exception as error:  # it is shown with the configuration
        return Outcome(seed, [], f"{type(error).__name__}: {error}")


def outcomes_of(seeds: Iterable[int], workers: int, results: Path) -> list[Outcome]:
    """Returns the outcomes of seeds: those in the file, and then those that it lacks."""
    lines = results.read_text().splitlines() if results.exists() else []
    known = {each.seed: each for each in map(Outcome.of_line, lines)}
    missing = [seed for seed in seeds if seed not in known]
    with ProcessPoolExecutor(workers) as pool, results.open("a") as file:
        computed = pool.map(outcome, missing, chunksize=5)
        for each in track(computed, "comparing", total=len(missing)):
            known[each.seed] = each
            print(json.dumps(each), file=file, flush=True)
    return [known[seed] for seed in seeds]


def table(outcomes: list[Outcome]) -> str:
    """Returns the worst errors of each term by itself, and of mixtures."""
    groups: dict[str, list[Outcome]] = {}
    for each in outcomes:
        [name, *others] = each.configuration.terms
        groups.setdefault("several terms" if others else f"`{name}`", []).append(each)
    names = sorted(groups, key=lambda name: (name == "several terms", name))
    lines = [_line(name, groups[name]) for name in names]
    return "\n".join([_row(HEADS), _row(["---"] * len(HEADS)), *lines])


def _line(name: str, outcomes: list[Outcome]) -> str:
    single, half, double = ("float32",), ("float32", "float16", "bfloat16"), ("float64",)
    cells = [
        _worst(error.value for error in _of(outcomes, half)),
        _worst(error.gradient for error in _of(outcomes, single)),
        _worst(error.value for error in _of(outcomes, double)),
        _worst(error.gradient for error in _of(outcomes, double)),
    ]
    of_all = [error for each in outcomes for error in each.errors]
    roundings = max(max(error.value_roundings, error.slope_roundings) for error in of_all)
    return _row([name, str(len(outcomes)), *cells, f"{roundings:.1f}"])


def _of(outcomes: list[Outcome], dtypes: tuple[str, ...]) -> Iterable[Error]:
    """Yields the errors for logits of some dtypes."""
    return (
        error for each in outcomes if each.configuration.dtype in dtypes for error in each.errors
    )


def _worst(values: Iterable[float]) -> str:
    return f"{max(values, default=0.0):.1e}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(
    count: Annotated[int, typer.Option(help="The number of configurations.")] = 6000,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    workers: Annotated[int, typer.Option(help="The number of processes.")] = 2,
    results: Annotated[Path, typer.Option(help="The file for the raw results.")] = Path(
        "textbook_errors.jsonl"
    ),
    write: Annotated[bool, typer.Option(help="Put the table into docs/testing.md.")] = False,
) -> None:
    """Compares configurations with the textbook."""
    outcomes = outcomes_of(range(first, first + count), workers, results)
    wrong = [each for each in outcomes if not each.is_right]
    for each in wrong:
        print(f"\n{each.configuration!r}\n    {each.raised or each.errors}")
    found = table([each for each in outcomes if not each.raised])
    answers = sum(len(each.errors) for each in outcomes)
    summary = (
        f"{count:,} configurations from seed {first}, {answers:,} answers of kernels; "
        f"{len(wrong)} errors are more than rounding."
    )
    print(f"\n{found}\n\n{summary}")
    if write:
        put_between_markers(PAGE, "textbook errors", f"{found}\n\n{summary}")
    raise typer.Exit(bool(wrong))


if __name__ == "__main__":
    typer.run(main)
