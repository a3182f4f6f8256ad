"""Names from outside reach no terminal as they are, crash no command, and break no file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("typer")

from PIL import Image
from torch import nn

from segloss import DiceLoss, MultiLoss, SegLoss, build_loss, register_loss, suggest
from segloss.foundation.printable import printable
from segloss.tools.check import check_loss
from segloss.tools.cli.app import run
from segloss.tools.plots import plot_curves, plot_landscape, plot_overview

NAMES = {
    "colour": "\x1b[31mred",
    "link": "\x1b]8;;http:evil\x1b\\click\x1b]8;;\x1b\\",
    "title": "\x1b]0;owned\x07",
    "bell": "a\x07b\x08\x08",
    "C1": "a\x9b31mb\x85c",
    "markup": "[red]a",
    "closing markup": "a[]x[/]y",
    "emoji of rich": ":warning: a",
    "separators": "a\u2028b\u2029c",
    "lines": "a\nb\r\nsegloss: passed",
    "tabs": "a\tb",
    "right to left": "a\u202egnp.b\u2066",
    "invisible": "a\u200bb\ufeffc\u00ad",
    "surrogate": "a\udcff\udc80b",
    "formula": "$\\frac{a$ b_{",
    "one dollar": "a $ b \\",
    "underscore": "_a",
    "long": "a" * 200,
    "wide": "\u65e5\u672c\u8a9e \U0001f600" * 9,
    "hash": "a # b: - c, {d} [e] 'f' \"g\" !h &i *j %k @l `m",
    "yaml": "x: {_target_: os.system}",
    "document": "--- ...",
    "references": "${oc.env:HOME}",
    "spaces": "  a   b  ",
    "combining": "a" + "\u0301" * 20,
    "null-like": "null",
    "option": "--help",
}

DRAWN = [NAMES[kind] for kind in ("colour", "formula", "one dollar", "underscore", "lines", "long")]
"""Names for the pictures of losses, which take a second each."""

BY_NAME = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@pytest.fixture(autouse=True)
def _plain(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


def output(arguments: list[str], capsys, *codes: int) -> str:
    """What a command writes; all of it can be seen."""
    assert run(arguments) in codes
    captured = capsys.readouterr()
    for line in (captured.out + captured.err).split("\n"):
        assert line.isprintable(), repr(line)
    if codes == (2,):
        assert captured.err.count("\n") == 1
        assert len(captured.err) < 5000
    return captured.out + captured.err


def squeezed(text: str) -> str:
    """The text without the white space at which a table breaks lines."""
    return re.sub(r"\s", "", text)


def file_name(name: str) -> str:
    """A name that a file can have."""
    return name.replace("/", "|")[:80]


def write_mask(path: Path, size: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((40, 40), np.uint8)
    mask[:size, :size] = 1
    with path.open("wb") as file:
        Image.fromarray(mask).save(file, "PNG")


def check_config(path: Path, name: str) -> None:
    """Checks that a written config is the suggested one, with no other keys or lines."""
    loss = build_loss(path)
    assert isinstance(loss.loss_funcs[0], SegLoss)
    text = path.read_text(encoding="utf-8")
    assert list(yaml.safe_load(text)) == ["loss_params"]
    for line in text.splitlines():
        assert line.isprintable()
        assert len(line) <= 100
    assert name not in text or name.isprintable()


@BY_NAME
def test_suggest_with_names_of_classes(name: str, tmp_path: Path, capsys) -> None:
    folders = [file_name(name), "other"]
    for folder in folders:
        write_mask(tmp_path / "masks" / folder / "1.png")
        write_mask(tmp_path / "masks" / folder / "2.png", 6)
    text = output(["suggest", "masks"], capsys, 0)
    shown = printable(folders[0], 60)
    assert squeezed(shown)[:8] in squeezed(text)
    check_config(tmp_path / "loss.yaml", name)
    assert Path("dataset.png").stat().st_size > 10_000
    found = suggest(tmp_path / "masks")
    assert set(found.classes.names) == set(folders)
    assert yaml.safe_load(found.to_yaml()) == found.config
    assert all(line.isprintable() for line in str(found).split("\n"))


@BY_NAME
def test_suggest_with_names_of_files(name: str, tmp_path: Path, capsys) -> None:
    write_mask(tmp_path / "masks" / f"{file_name(name)}.png")
    output(["suggest", "masks"], capsys, 0)
    check_config(tmp_path / "loss.yaml", name)
    (tmp_path / "masks" / f"b{file_name(name)}.png").write_bytes(b"broken")
    assert "1 of 2 masks can't be used" in output(["suggest", "masks", "--force"], capsys, 2)


@BY_NAME
def test_suggest_with_names_of_its_own_files(name: str, tmp_path: Path, capsys) -> None:
    folder = tmp_path / file_name(name)
    write_mask(folder / "a.png")
    files = ["--output", f"./{file_name(name)}.yaml", "--picture", f"./{file_name(name)}.png"]
    output(["suggest", str(folder), *files], capsys, 0)
    check_config(tmp_path / files[1], name)
    assert "already" in output(["suggest", str(folder), *files], capsys, 2)
    assert "no folder" in output(["suggest", f"{folder}0"], capsys, 2)


@BY_NAME
def test_suggest_with_folders_that_it_refuses(name: str, tmp_path: Path, capsys) -> None:
    write_mask(tmp_path / "masks" / file_name(name) / "1.png")
    write_mask(tmp_path / "masks" / "other" / "2.png")
    output(["suggest", "masks", "--layout", "classes"], capsys, 2)
    empty = tmp_path / "empty" / f"a.{file_name(name)}"
    empty.parent.mkdir()
    empty.touch()
    output(["suggest", "empty"], capsys, 2)
    for path in (
        tmp_path / "absent" / file_name(name) / "1.png",
        tmp_path / "absent" / "b" / "1.png",
    ):
        write_mask(path, 0)
    assert "are all 0" in output(["suggest", "absent", "--layout", "classes"], capsys, 2)


def write_config(config: object, path: Path) -> str:
    path.write_text(yaml.safe_dump(config, allow_unicode=False))
    return str(path)


@BY_NAME
def test_commands_that_read_a_config_with_names_of_losses(name: str, tmp_path: Path, capsys):
    losses = [
        {"_target_": "segloss.SegLoss", "name": name, "from_logits": True},
        {"_target_": "torch.nn.BCEWithLogitsLoss", "name": f"{name} 2", "weight": 0.5},
    ]
    config = {"loss_params": {"compound_loss": {"loss_list": losses}}}
    path = write_config(config, tmp_path / f"{file_name(name)}.yaml")
    code = 2 if name == NAMES["references"] else 0  # a resolver, which must not run
    output(["explain", path, "--no-cost"], capsys, code)
    output(["check", path, "--only", "scalar"], capsys, code)
    if name in DRAWN:
        output(["plot", path, "--output", f"./{file_name(name)}.svg"], capsys, 0)


def test_the_table_of_costs(tmp_path: Path, capsys) -> None:
    names = [NAMES[kind] for kind in ("colour", "markup", "lines")]
    losses = [{"_target_": "segloss.SegLoss", "name": name} for name in names]
    config = {"loss_params": {"compound_loss": {"loss_list": losses}}}
    path = write_config(config, tmp_path / "loss.yaml")
    text = output(["explain", path, "--shape", "1,1,8,8"], capsys, 0)
    assert text.count("[red]a") == 2


@BY_NAME
def test_what_is_wrong_in_a_config(name: str, tmp_path: Path, capsys) -> None:
    seg = {"_target_": "segloss.SegLoss"}
    wrong = [
        {name: 1},
        {"loss": {**seg, name: 1}},
        {"loss": {"_target_": name}},
        {"loss": {**seg, "extra_terms": {name: 1.0}}},
        {"loss": {**seg, "dice_coef": name}},
        {"losses": [name]},
        {"losses": [{"type": "dice", name: 1}]},
        {"model_config": {name: {"losses": [{"type": "nothing"}]}}},
        {"loss_params": {"compound_loss": {"loss_list": [seg], name: 1}}},
        {"loss": {**seg, "name": "${" + name + "}"}},
        {"loss": name},
    ]
    for config in wrong:
        path = write_config(config, tmp_path / "loss.yaml")
        for command in ("explain", "check", "plot"):
            output([command, path], capsys, 2)
    output(["explain", f"{file_name(name)}.yaml"], capsys, 2)
    output(["explain", path, "--shape", name], capsys, 2)
    output(["explain", path, "--no-cost", "--allow", name], capsys, 2)
    output(["check", path, "--only", name], capsys, 2)
    output(["plot", path, "--output", name], capsys, 2)
    output([f"x{name}"], capsys, 2)
    output(["list", f"x{name}"], capsys, 2)


@BY_NAME
def test_list_with_names_that_are_registered(name: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr("segloss.config.registry._registered", {})
    made = type(
        "Own", (nn.L1Loss,), {"__doc__": f"{name} is it.".encode("utf-8", "replace").decode()}
    )
    register_loss(name)(made)
    text = output(["list"], capsys, 0)
    assert squeezed(printable(name, 60))[:8] in squeezed(text)


@pytest.mark.parametrize("kind", ["formula", "one dollar", "underscore", "surrogate", "lines"])
def test_pictures_and_reports_from_python(kind: str, tmp_path: Path) -> None:
    name = NAMES[kind]
    seg = SegLoss(name=name.replace(".", ""), from_logits=True)
    losses = MultiLoss([seg, DiceLoss()], [1.0, 1.0])
    plot_overview(losses).savefig(tmp_path / "a.pdf")
    plot_landscape(losses.loss_funcs[0]).savefig(tmp_path / "b.png")
    report = str(check_loss(losses.loss_funcs[0], checks=["scalar"]))
    assert all(line.isprintable() for line in report.split("\n"))
    log = tmp_path / "metrics.csv"
    column = '"' + f"loss/{name}".replace('"', '""').replace("\r", " ") + '"'
    log.write_text(f"step,{column}\n0,1.0\n1,0.5\n", encoding="utf-8", errors="replace")
    plot_curves(log).savefig(tmp_path / "c.png")


def test_a_terminal_without_utf_8_gets_escapes(tmp_path: Path) -> None:
    write_mask(tmp_path / "masks" / "mur\u00e9" / "1.png")
    write_mask(tmp_path / "masks" / "toit" / "1.png")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "segloss", "suggest", str(tmp_path / "masks")],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"mur\\xe9" in done.stdout


def test_a_terminal_with_colours_gets_those_of_segloss_alone(tmp_path: Path) -> None:
    for name in ("link", "title", "colour", "C1"):
        write_mask(tmp_path / "masks" / file_name(NAMES[name]) / "1.png")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "segloss", "suggest", str(tmp_path / "masks")],
        env={
            **{key: value for key, value in os.environ.items() if key != "NO_COLOR"},
            "FORCE_COLOR": "1",
            "TTY_COMPATIBLE": "1",
            "TERM": "xterm",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "\x1b[" in text
    assert "\x1b[31m" not in text
    assert re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\n", "").isprintable()
