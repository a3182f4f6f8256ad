"""Trains the same small network with several losses, and compares the masks.

    pip install -e ".[bench,maps]" && python benchmarks/outcomes_study.py nuclei.npz --seeds 3

The file has the arrays `image` (N, H, W, channels) uint8, `label` (N, H, W) with 255 for pixels
that do not count, and `split` (N,): 0 for training, 1 for validation, 2 for test. All losses of a
seed see the same batches and begin with the same weights. Each run adds a line to the results, and
is not repeated.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from outcomes.data import Dataset
from outcomes.report import table_of
from outcomes.training import Recipe, train_and_test
from rich.console import Console
from tqdm import tqdm

app = typer.Typer(add_completion=False)

LOSSES = Path(__file__).parent / "outcomes" / "losses.yaml"


@app.command()
def main(
    data: Annotated[Path, typer.Argument(help="The data set, an .npz file.")],
    losses: Annotated[str, typer.Option(help="Names of losses, separated by commas.")] = "all",
    configs: Annotated[Path, typer.Option(help="The losses' configs, by name.")] = LOSSES,
    seeds: Annotated[int, typer.Option(help="The number of seeds.")] = 3,
    steps: Annotated[int, typer.Option(help="The steps of each training.")] = Recipe.steps,
    part: Annotated[str, typer.Option(help="The part to show: validation or test.")] = "validation",
    output: Annotated[Path, typer.Option(help="The results.")] = Path("runs/outcomes.jsonl"),
    threads: Annotated[int, typer.Option(help="The number of threads.")] = 1,
) -> None:
    """Trains all runs that are missing from the results, and prints a table."""
    torch.set_num_threads(threads)
    dataset, recipe = Dataset.load(data), Recipe(steps)
    known = yaml.safe_load(configs.read_text())
    names = [*known] if losses == "all" else losses.split(",")
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"{unknown[0]!r} is not in {configs}: {', '.join(known)}.")
    output.parent.mkdir(parents=True, exist_ok=True)
    done = {_key(line): line for line in _lines(output)}
    shown = []
    for seed, name in tqdm([*itertools.product(range(seeds), names)], "runs"):
        config = known[name]
        run = {"data": dataset.name, "loss": name, "seed": seed, "config": config}
        run["recipe"] = asdict(recipe)
        if _key(run) not in done:
            done[_key(run)] = {**run, "scores": train_and_test(dataset, config, seed, recipe)}
            with output.open("a") as file:
                print(json.dumps(done[_key(run)]), file=file)
        shown.append(done[_key(run)])
    Console().print(table_of(shown, names, part))


def _lines(path: Path) -> list[dict[str, Any]]:
    """Returns the complete runs in a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(run: dict[str, Any]) -> str:
    """Returns everything that a run depends on, as text."""
    return json.dumps({key: run[key] for key in ("data", "loss", "seed", "config", "recipe")})


if __name__ == "__main__":
    app()
