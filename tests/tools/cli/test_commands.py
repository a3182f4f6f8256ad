"""What the commands say is true of the losses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("typer")

from torch import nn

from segloss import build_loss, register_loss
from segloss.config.registry import list_losses
from segloss.tools.cli.app import run
from segloss.tools.cli.configs import load_config
from segloss.tools.cli.cost import PRE_PROCESSES, costs_of
from segloss.tools.cli.list_losses import purpose_of

FIVE_CLASSES = """
loss_params:
  compound_loss:
    loss_list:
      - {_target_: segloss.SegLoss, name: seg, n_classes: 5}
      - {_target_: segloss.FocalLoss, name: focal, mode: multiclass}
"""

EXAMPLES = Path(__file__).parents[3] / "examples"
BRAIN, BUILDINGS = EXAMPLES / "brain_tissue.yaml", EXAMPLES / "building_footprints.yaml"


@pytest.fixture(autouse=True)
def _narrow(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def output(arguments: list[str], capsys, code: int = 0) -> str:
    assert run(arguments) == code
    return capsys.readouterr().out


def test_list_has_every_registered_loss_once(capsys, monkeypatch) -> None:
    monkeypatch.setattr("segloss.config.registry._registered", {})

    @register_loss("brightness")
    class Brightness(nn.Module):
        """How bright a prediction is. More of it."""

    lines = output(["list"], capsys).splitlines()
    named = [line.split()[:2] for line in lines if line[1:2].strip() and len(line.split()) > 2]
    assert sorted(name for name, _ in named if name in list_losses()) == list_losses()
    assert ["brightness", "Brightness:"] in named
    assert any("How bright a prediction is." in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_purpose_is_the_first_sentence_without_markup() -> None:
    class Own(nn.Module):
        """Pulls :math:`x` towards
        `y`. Then more.
        """

    class Bare(nn.Module):
        pass

    Bare.__doc__ = None
    assert purpose_of(Own) == "Pulls x towards y."
    assert purpose_of(Bare) == ""


class TestExplain:
    def test_it_shows_terms_arguments_and_weights(self, capsys) -> None:
        text = output(["explain", str(BRAIN), "--no-cost"], capsys)
        seg, balanced = re.split(r"^balanced_ce", text, flags=re.MULTILINE)
        assert "0.4 cross_entropy: (∑w ce) / ∑w" in seg
        assert "* n_classes = 4 (default 2)" in seg
        assert re.search(r"default +use_mixed_precision=False", seg)
        assert "1 in all epochs" in seg
        assert "CrossEntropyLoss(weight=[0.2, 2.0, 1.0, 1.0])" in balanced
        assert "1 at epoch 0, 0 at epoch 40" in balanced
        assert max(map(len, text.splitlines())) <= 80

    def test_it_times_each_loss_of_the_config(self, capsys) -> None:
        text = output(["explain", str(BRAIN), "--shape", "1,4,16,16"], capsys)
        table = text[text.index("A step here") :]
        rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.strip()}
        times = [float(rows[name][0]) for name in ("seg", "balanced_ce")]
        assert float(rows["total"][0]) == pytest.approx(sum(times), rel=0.02)
        shares = [int(rows[name][1].rstrip("%")) for name in ("seg", "balanced_ce")]
        assert sum(shares) in (99, 100, 101)
        assert "logits (1, 4, 16, 16)" in table

    def test_a_single_loss_is_explained(self, tmp_path, capsys) -> None:
        config = tmp_path / "loss.yaml"
        config.write_text("loss: {_target_: segloss.FocalLoss, gamma: 3.0, mode: multiclass}")
        text = output(["explain", str(config), "--no-cost"], capsys)
        assert "1 loss\n" in text
        assert "* gamma = 3.0 (default 2.0)" in text
        assert "formula  (∑w " in text

    def test_every_loss_of_frame_fields_is_timed_and_so_are_pre_processes(self) -> None:
        multi_loss = load_config(BUILDINGS, None).multi_loss
        multi_loss.set_epoch(0)
        costs = dict(costs_of(multi_loss, [1, 4, 16, 16]))
        assert list(costs) == [*(loss.name for loss in multi_loss.loss_funcs), PRE_PROCESSES]
        assert all(cost.milliseconds > 0 for cost in costs.values())

    def test_losses_are_timed_on_one_batch(self, tmp_path) -> None:
        path = tmp_path / "loss.yaml"
        path.write_text(FIVE_CLASSES)
        costs = dict(costs_of(load_config(path, None).multi_loss, [2, 4, 16, 16]))
        assert {cost.batch for cost in costs.values()} == {"logits (2, 5, 16, 16)"}

    def test_a_loss_that_takes_no_example_is_not_timed_and_says_why(self, tmp_path) -> None:
        path = tmp_path / "loss.yaml"
        path.write_text("loss: {_target_: torch.nn.TripletMarginLoss}")
        [(_, cost)] = costs_of(load_config(path, None).multi_loss, [1, 4, 16, 16])
        assert cost.milliseconds is None
        assert cost.batch.startswith("not measured: TypeError")

    def test_timing_leaves_the_loss_as_it_was(self) -> None:
        multi_loss = load_config(BRAIN, None).multi_loss
        multi_loss.set_epoch(0)
        before = {k: str(v) for k, v in multi_loss.state_dict().items()}
        dict(costs_of(multi_loss, [1, 4, 16, 16]))
        assert {k: str(v) for k, v in multi_loss.state_dict().items()} == before


class TestCheck:
    def test_a_config_that_passes(self, capsys) -> None:
        arguments = ["check", str(BRAIN), "--only", "scalar", "--only", "gradient flow"]
        text = output(arguments, capsys)
        for name in ("seg", "balanced_ce", "all together"):
            assert f"{name}: passed (2 passed, 0 failed" in text
        assert text.endswith("brain_tissue.yaml: passed\n")

    def test_a_config_of_which_a_loss_fails_has_exit_code_1(self, tmp_path, capsys) -> None:
        config = tmp_path / "loss.yaml"
        config.write_text("loss: {_target_: torch.nn.BCELoss, reduction: none}")
        text = output(["check", str(config), "--only", "scalar"], capsys, code=1)
        assert "loss.yaml: failed: BCELoss" in text

    def test_losses_of_a_config_see_one_prediction(self, tmp_path, capsys) -> None:
        config = tmp_path / "loss.yaml"
        config.write_text(FIVE_CLASSES)
        text = output(["check", str(config), "--only", "scalar"], capsys)
        assert text.count("logits of 5 channel(s), label map in mappings") == 3
        assert "all together: passed" in text

    @pytest.mark.parametrize("command", ["check", "plot", "explain"])
    def test_losses_that_can_not_see_one_prediction_are_refused(
        self, command, tmp_path, capsys
    ) -> None:
        config = tmp_path / "loss.yaml"
        config.write_text(FIVE_CLASSES.replace("mode: multiclass", "mode: binary"))
        options = ["--output", str(tmp_path / "losses.png")] if command == "plot" else []
        assert run([command, str(config), *options]) == 2
        message = capsys.readouterr().err
        assert "'seg' takes 5 channels (n_classes=5), and 'focal' takes one channel" in message
        assert "Give them the same n_classes, mode" in message

    def test_a_loss_that_takes_no_batch_does_not_hinder_the_others(self, tmp_path, capsys) -> None:
        config = tmp_path / "loss.yaml"
        losses = "- {_target_: torch.nn.TripletMarginLoss}\n      - {_target_: segloss.SegLoss"
        config.write_text(FIVE_CLASSES.replace("- {_target_: segloss.SegLoss", losses))
        text = output(["check", str(config), "--only", "scalar"], capsys, code=1)
        assert "loss.yaml: failed: TripletMarginLoss, all together" in text

    def test_losses_of_frame_fields_are_checked_behind_their_pre_processes(self, capsys) -> None:
        text = output(["check", str(BUILDINGS), "--only", "gradient values"], capsys)
        assert text.count(": passed (1 passed") == 8


def test_the_busiest_epoch_has_the_most_weights_above_0() -> None:
    assert load_config(BUILDINGS, None).busiest_epoch == 8
    assert load_config(BRAIN, None).busiest_epoch == 0


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_writes_a_picture_of_the_kind_that_its_name_says(suffix, tmp_path, capsys) -> None:
    config, picture = tmp_path / "loss.yaml", tmp_path / f"losses.{suffix}"
    config.write_text("loss: {_target_: segloss.SegLoss}")
    assert output(["plot", str(config), "--output", str(picture)], capsys).strip() == str(picture)
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[suffix]
    assert picture.read_bytes().startswith(start)


def test_loading_builds_what_build_loss_builds() -> None:
    loaded, built = load_config(BUILDINGS, None), build_loss(BUILDINGS)
    assert [c.loss.name for c in loaded.components] == [loss.name for loss in built.loss_funcs]
    assert loaded.components[0].block["bce_coef"] == 0.7
