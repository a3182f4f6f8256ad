"""Trains the same small network with several losses, and compares the masks.

    pip install -e ".[bench,maps,suggest]"
    python benchmarks/outcomes_study.py nuclei.npz cracks.npz --seeds 5

A file has the arrays `image` (N, H, W, channels) uint8, `label` (N, H, W) with 255 for pixels that
do not count, and `split` (N,): 0 for training, 1 for validation, 2 for test. All losses of a seed
see the same batches and begin with the same weights. Each run adds a line to the results, and is
not repeated. Losses with the same settings count as the same, whatever their names.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from outcomes.data import Dataset
from outcomes.losses import LOSSES, VARIANTS, of_name
from outcomes.report import draw, markdown, rows_of, tables
from outcomes.training import Settings, train_and_test
from rich.console import Console
from tqdm import tqdm

app = typer.Typer(add_completion=False)

Run = dict[str, Any]


@app.command()
def main(
    data: Annotated[list[Path], typer.Argument(help="The data sets, .npz files.")],
    loss: Annotated[
        list[str] | None,
        typer.Option(help="The name of a loss, or a YAML file; may be repeated. Default: all."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="The number of seeds.")] = 5,
    steps: Annotated[int, typer.Option(help="The steps of each training.")] = Settings.steps,
    part: Annotated[str, typer.Option(help="The part to show: validation or test.")] = "validation",
    output: Annotated[Path, typer.Option(help="The results.")] = Path("runs/outcomes.jsonl"),
    picture: Annotated[Path | None, typer.Option(help="A picture of the differences.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Print tables for a page.")] = False,
    workers: Annotated[
        int, typer.Option(help="Number of runs at a time; if several, each has one thread.")
    ] = 1,
) -> None:
    """Trains all runs that are missing from the results, and prints a table."""
    names = loss or [*LOSSES]
    for name in names:
        if name not in LOSSES | VARIANTS and not Path(name).is_file():
            known = ", ".join([*LOSSES, *VARIANTS])
            raise typer.BadParameter(f"{name!r} is neither a YAML file nor one of: {known}.")
    settings = replace(Settings(), steps=steps)
    texts = {(path, name): of_name(name)(_load(path)).text for path in data for name in names}
    wanted = [
        {
            "data": path.stem,
            "loss": name,
            "text": texts[path, name],
            "seed": seed,
            "settings": asdict(settings),
        }
        for seed, path, name in itertools.product(range(seeds), data, names)
    ]
    output.parent.mkdir(parents=True, exist_ok=True)
    done = {_key(run): run for run in _lines(output)}
    paths = {path.stem: path for path in data}
    missing = [*{_key(run): run for run in wanted if _key(run) not in done}.values()]
    for run in tqdm(_finished(missing, paths, settings, workers), "runs", len(missing)):
        done[_key(run)] = run
        with output.open("a") as file:
            print(json.dumps(run), file=file)
    shown = [{**done[_key(run)], "loss": run["loss"]} for run in wanted]
    rows = rows_of(shown, names, part)
    if page:
        print(markdown(rows))
    else:
        Console().print(*tables(rows, part))
    if picture is not None:
        draw(shown, names, part, picture)


def _finished(
    runs: list[Run], paths: dict[str, Path], settings: Settings, workers: int
) -> Iterable[Run]:
    """Yields runs with their scores, as they end."""
    if workers == 1:
        yield from (_finish(run, paths[run["data"]], settings) for run in runs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        futures = [pool.submit(_finish, run, paths[run["data"]], settings) for run in runs]
        for future in as_completed(futures):
            yield future.result()


def _finish(run: Run, path: Path, settings: Settings) -> Run:
    start = time.monotonic()
    dataset = _load(path)
    contender = of_name(run["loss"])(dataset)
    results = train_and_test(dataset, contender, run["seed"], settings)
    facts = {"rarest": dataset.rarest, "shares": dataset.shares}
    return {**run, **facts, "scores": results, "seconds": round(time.monotonic() - start)}


_load = cache(Dataset.load)


def _lines(path: Path) -> list[Run]:
    """Returns the runs in a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(run: Run) -> str:
    """Returns everything that a run depends on, as text."""
    loss = run["text"] or run["loss"]
    return json.dumps([run["data"], loss, run["seed"], run["settings"]])


if __name__ == "__main__":
    app()
