"""Losses from configs: dialects, instantiation, what is allowed, and errors with their path."""

from __future__ import annotations

import sys
import types
from itertools import permutations
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from segloss import (
    LossWrapper,
    MultiLoss,
    SegLoss,
    build_compound_loss_from_config,
    build_loss,
)

SEG = {"_target_": "segloss.SegLoss", "name": "seg"}
CE = {"_target_": "torch.nn.CrossEntropyLoss"}


def compound(*entries: dict, **keys) -> dict:
    return {"loss_params": {"compound_loss": {"loss_list": list(entries), **keys}}}


def pair(loss: dict, **keys) -> dict:
    return {"loss_params": {"compound_loss": {"losses": [{"loss": loss, **keys}]}}}


# Where configs come from

TEXT = """
loss:
  _target_: segloss.SegLoss
  n_classes: 4
  class_weights: [1, 2, 3, 4]
"""


@pytest.mark.parametrize("form", ["text", "path", "path text", "mapping", "omegaconf", "one line"])
def test_a_config_is_a_mapping_a_path_or_text(form: str, tmp_path: Path) -> None:
    path = tmp_path / "loss.yaml"
    path.write_text(TEXT)
    cfg = {
        "text": TEXT,
        "path": path,
        "path text": str(path),
        "mapping": OmegaConf.to_container(OmegaConf.create(TEXT)),
        "omegaconf": OmegaConf.create(TEXT),
        "one line": "loss: {_target_: segloss.SegLoss, n_classes: 4, class_weights: [1, 2, 3, 4]}",
    }[form]
    loss = build_loss(cfg)
    assert isinstance(loss, SegLoss)
    assert loss.class_weights.tolist() == [1, 2, 3, 4]


def test_a_config_may_be_the_block_of_a_loss() -> None:
    text = "{_target_: segloss.SegLoss, n_classes: 4, ignore_index: '${void}', void: 255}"
    with pytest.raises(ValueError, match=r"config.void is unknown to SegLoss"):
        build_loss(text)
    assert build_loss({"_target_": "segloss.SegLoss", "n_classes": 4}).n_classes == 4
    assert isinstance(build_loss(CE).loss_func, nn.CrossEntropyLoss)
    with pytest.raises(ValueError, match=r"config.dice_cof .*did you mean 'dice_coef'"):
        build_loss({"_target_": "segloss.SegLoss", "dice_cof": 1.0})
    both = {"loss": {"_target_": "segloss.SegLoss", "n_classes": 4}, "_target_": "my.Trainer"}
    assert build_loss(both).n_classes == 4


def test_interpolations_are_resolved_and_the_rest_of_the_config_is_left_alone() -> None:
    cfg = OmegaConf.create(
        """
        classes: 5
        data: ${not.there}
        trainer: {devices: "???"}
        loss_params:
          seg_loss_params: ${hydra:runtime}
          compound_loss:
            loss_list: [{_target_: segloss.SegLoss, n_classes: "${classes}"}]
        """
    )
    assert build_loss(cfg).loss_funcs[0].n_classes == 5


@pytest.mark.parametrize("rest", [{"prompt": "cost ${"}, {"table": {(1, 2): 3}}])
def test_a_mapping_may_hold_what_omegaconf_does_not_take(rest: dict) -> None:
    assert isinstance(build_loss({**rest, "loss": SEG}), SegLoss)


def test_a_path_that_is_null_is_as_good_as_absent() -> None:
    cfg = {"loss_params": {"compound_loss": None, "multi_loss": None}, "loss": SEG}
    assert isinstance(build_loss(cfg), SegLoss)


@pytest.mark.parametrize("key", ["multi_loss", "multiloss"])
def test_the_second_path_has_two_spellings(key: str) -> None:
    assert isinstance(build_loss({"loss_params": {key: {"loss_list": [SEG]}}}), MultiLoss)


# Dialects


def test_entries_of_loss_list_carry_their_weight_inline() -> None:
    multi = build_loss(compound({**SEG, "weight": 2.5}, {**CE, "name": "ce"}))
    assert multi.current_weights.tolist() == [2.5, 1.0]
    assert [loss.name for loss in multi.loss_funcs] == ["seg", "ce"]


def test_entries_of_losses_leave_an_inner_weight_to_the_loss() -> None:
    multi = build_loss(pair({**CE, "weight": [1, 2, 0.5]}, weight=3))
    assert multi.current_weights.tolist() == [3.0]
    wrapped = multi.loss_funcs[0]
    assert wrapped.name == "CrossEntropyLoss"
    torch.testing.assert_close(wrapped.loss_func.weight, torch.tensor([1, 2, 0.5]))


def test_schedules_norms_and_pre_processes_are_read(tmp_path, monkeypatch) -> None:
    module = types.ModuleType("my_package")

    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, pred_batch, gt_batch):
            pred_batch["seg"] = pred_batch["seg"] * self.factor
            return pred_batch, gt_batch

    def shift(pred_batch, gt_batch, by=0.0):
        pred_batch["seg"] = pred_batch["seg"] + by
        return pred_batch, gt_batch

    module.Scale, module.shift = Scale, shift
    monkeypatch.setitem(sys.modules, "my_package", module)
    cfg = compound(
        {"_target_": "torch.nn.L1Loss", "weight": [0, 1]},
        epoch_thresholds=[0, 10],
        normalize_losses=False,
        normalization_params={"max_samples": 10},
        pre_processes=[
            {"_target_": "my_package.Scale", "factor": 2.0},
            {"_target_": "my_package.shift", "by": 1.0},
        ],
    )
    multi = build_loss(cfg, allow=("my_package.",))
    assert not multi.normalize_losses
    assert multi.normalization_params == {"max_samples": 10}
    pred, gt = {"seg": torch.full((1, 1, 2), 3.0)}, {"gt_polygons_image": torch.zeros(1, 1, 2)}
    assert multi(pred, gt, epoch=5)[0].item() == 3.5


# Instantiation


def test_a_nested_loss_is_instantiated_and_its_lists_become_tensors() -> None:
    block = {
        "_target_": "segloss.LossWrapper",
        "name": "ce",
        "loss_func": {**CE, "weight": [1, 2]},
        "gt_channel_selector": 0,
    }
    wrapped = build_loss({"loss": block})
    logits, labels = torch.randn(2, 2, 5), torch.randint(0, 2, (2, 1, 5))
    expected = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))(logits, labels[:, 0])
    torch.testing.assert_close(wrapped({"seg": logits}, {"gt_polygons_image": labels})[0], expected)


@pytest.mark.parametrize(
    "target",
    [
        "torch.nn.BCEWithLogitsLoss",
        "torch.nn.modules.loss.SmoothL1Loss",
        "segloss.SegLoss",
        "segloss.losses.seg_loss.SegLoss",
        "pytorch_segmentation_models_trainer.custom_losses.base_loss.SegLoss",
        "kornia.losses.TverskyLoss",
    ],
)
def test_known_losses_are_found_by_their_names(target: str) -> None:
    arguments = {"alpha": 0.5, "beta": 0.5} if "kornia" in target else {}
    loss = build_loss({"loss": {"_target_": target, **arguments}})
    inner = loss.loss_func if isinstance(loss, LossWrapper) else loss
    assert type(inner).__name__ == target.split(".")[-1]


@pytest.mark.parametrize(
    "block",
    [
        {"_target_": "segmentation_models_pytorch.losses.DiceLoss", "mode": "multiclass"},
        {"_target_": "monai.losses.DiceCELoss", "softmax": True, "weight": [1.0, 2.0]},
        {"_target_": "kornia.losses.FocalLoss", "alpha": 0.5, "weight": [1.0, 2.0]},
        {"_target_": "pytorch_toolbelt.losses.DiceLoss", "mode": "multiclass"},
    ],
)
def test_losses_of_known_libraries_are_wrapped(block: dict) -> None:
    wrapped = build_loss({"loss": block})
    assert isinstance(wrapped, LossWrapper)
    assert wrapped.name == block["_target_"].split(".")[-1]


def test_hydras_keys_are_understood() -> None:
    block = {
        **SEG,
        "_convert_": "all",
        "_recursive_": True,
        "gt_channel_selector": {"_target_": "builtins.slice", "_args_": [0, 2]},
    }
    assert build_loss({"loss": block}).gt_channels.index == slice(0, 2, None)
    unresolved = {**block, "_recursive_": False}
    assert build_loss({"loss": unresolved}).gt_channels.index == slice(0, 2, None)
    weighted = build_loss({"loss": {**CE, "_args_": [[1, 2]]}})
    assert weighted.loss_func.weight.tolist() == [1, 2]
    positional = {"_target_": "segloss.SegLoss", "_args_": ["first", 1, 3]}
    loss = build_loss({"loss": positional})
    assert (loss.name, loss.gt_channels.index, loss.n_classes) == ("first", 1, 3)


def test_hydra_itself_instantiates_the_same_classes() -> None:
    cfg = OmegaConf.create(
        """
        _target_: segloss.MultiLoss
        loss_funcs:
          - {_target_: segloss.SegLoss, n_classes: 3, class_weights: [1, 2, 3],
             gt_channel_selector: [true, false], region_classes: [1, 2], extra_terms: {jaccard: 1}}
          - {_target_: segloss.LossWrapper, name: ce, gt_channel_selector: 0,
             loss_func: {_target_: torch.nn.CrossEntropyLoss}}
        weights: [1.0, [0.0, 1.0]]
        epoch_thresholds: [0, 10]
        normalization_params: {max_samples: 10}
        """
    )
    multi = instantiate(cfg)
    logits, gt = torch.randn(2, 3, 6), torch.randint(0, 3, (2, 2, 6))
    total, parts, _ = multi({"seg": logits}, {"gt_polygons_image": gt}, epoch=5)
    torch.testing.assert_close(total, parts["seg"] + 0.5 * parts["ce"])


# What may be instantiated

REFUSED = [
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.Popen",
    "torch.load",
    "torch.hub.load",
    "torch.nn.Linear",
    "torch.nn.functional.cross_entropy",
    "torch.nn.modules.loss.F.torch.load",
    "torch.nn.modules.loss._Loss",
    "torch.nn.Module.__init__",
    "segloss.config.build.Path",
    "segloss.os.system",
    "segloss.anything.SegLoss",
    "monai.losses.PerceptualLoss",
    "pytorch_segmentation_models_trainer.os.system",
    "monai.losses.dice.np.load",
    "monai.losses.dice.one_hot",
    "monai.losses.dice.nn.Sequential",
    "monai.losses.spectral_loss.fftn",
    "monai.transforms.Lambda",
    "segmentation_models_pytorch.losses.dice.soft_dice_score",
    "segmentation_models_pytorch.Unet",
    "kornia.losses.focal.nn.Linear",
    "my_package.Loss",
    "",
    "...",
]


@pytest.mark.parametrize("target", REFUSED)
def test_nothing_but_losses_may_be_instantiated(target: str) -> None:
    with pytest.raises(ValueError, match=r"^loss\._target_: "):
        build_loss({"loss": {"_target_": target}})


def test_a_refused_module_is_not_even_imported(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "evil_losses.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"allow=\('evil_losses\.',\)"):
        build_loss({"loss": {"_target_": "evil_losses.Loss"}})


def test_what_is_allowed_is_instantiated(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own_losses.py").write_text(
        "import torch\nclass Own(torch.nn.Module):\n"
        "    def forward(self, p, t):\n        return (p - t).abs().max()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for allow in [("own_losses.",), ("own_losses",), ("own_losses.Own",), ["own_losses."]]:
        loss = build_loss({"loss": {"_target_": "own_losses.Own"}}, allow=allow)
        assert loss(torch.ones(1, 1, 2), torch.zeros(1, 1, 2))[0].item() == 1
    with pytest.raises(ValueError, match="is not one of the losses that a config may use"):
        build_loss({"loss": {"_target_": "own_losses.Own"}}, allow=("own_loss",))
    for allow in ("own_losses.", None, (3,)):
        with pytest.raises(TypeError, match="allow must be a tuple of prefixes"):
            build_loss({"loss": SEG}, allow=allow)


def test_a_library_that_is_missing_is_named_with_its_remedy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.delitem(sys.modules, "kornia.losses", raising=False)
    with pytest.raises(ImportError, match="pip install kornia"):
        build_loss({"loss": {"_target_": "kornia.losses.FocalLoss", "alpha": 1}})


# Errors

ROOT = "loss_params.compound_loss"

BAD = [
    ({}, ValueError, "has no loss: .* got the keys none"),
    ({"model": 1}, ValueError, "got the keys model"),
    (3, TypeError, "cfg must be a mapping"),
    ("loss: [", ValueError, "The config can't be read"),
    ("nowhere.yaml", FileNotFoundError, "no config file at 'nowhere.yaml'"),
    ({"loss": 3}, TypeError, "loss must be a mapping, got 3"),
    ({"loss": {"name": "seg"}}, ValueError, "loss must have a _target_.* keys: name"),
    (
        {"loss": {"_target_": "segloss.SegLos"}},
        ValueError,
        r"loss\._target_: .*did you mean 'segloss.SegL",
    ),
    (
        {"loss": {"_target_": "torch.nn.CrossEntropy"}},
        ValueError,
        "did you mean 'CrossEntropyLoss'",
    ),
    (
        {"loss": {**SEG, "dice_cof": 1}},
        ValueError,
        r"loss\.dice_cof is unknown to SegLoss.*dice_coef",
    ),
    ({"loss": {**SEG, "dice_coef": -1}}, ValueError, r"^loss: dice_coef must be"),
    ({"loss": {**SEG, "dice_coef": "big"}}, TypeError, r"^loss\.dice_coef must be a number"),
    ({"loss": {**SEG, "_partial_": True}}, ValueError, r"loss\._partial_ is not supported"),
    ({"loss": {**SEG, "_recursive_": "no"}}, TypeError, "^loss: _recursive_ must be True or False"),
    ({"loss": {**SEG, "_convert_": "some"}}, ValueError, "^loss: _convert_ must be one of"),
    ({"loss": "???", "x": 1}, ValueError, r"loss can't be resolved: it is '\?\?\?'"),
    ({"loss_params": "???", "loss": SEG}, ValueError, r"compound_loss can't be resolved"),
    ({"loss_params": "abc", "loss": SEG}, TypeError, "loss_params must be a mapping, got 'abc'"),
    ({"loss_params": [1], "loss": SEG}, TypeError, "loss_params must be a mapping"),
    ({"loss_params": "${lp}"}, ValueError, "loss_params.compound_loss can't be resolved"),
    ({"loss_params": {"compound_loss": "???"}, "loss": SEG}, ValueError, "can't be resolved"),
    (
        {"loss": {"_target_": "segmentation_models_pytorch.losses.DiceLoss", "mode": "nope"}},
        ValueError,
        "^loss: AssertionError",
    ),
    (compound(SEG, normalization_params=[1]), TypeError, "normalization_params must be a mapping"),
    (
        compound({**SEG, "weight": [1, "a"]}, epoch_thresholds=[0, 1]),
        TypeError,
        r"weight\[1\] must",
    ),
    ({"loss": {**SEG, "_args_": 3}}, TypeError, r"loss\._args_ must be a list"),
    (
        {"loss": {"_target_": "segloss.LossWrapper"}},
        TypeError,
        "missing a required argument: 'loss_f",
    ),
    ({"loss": {**SEG, "name": "${x.y}"}}, ValueError, "loss can't be resolved"),
    ({"loss": {**SEG, "name": "???"}}, ValueError, "loss can't be resolved"),
    (compound({**SEG, "weigt": 1}), ValueError, rf"{ROOT}\.loss_list\[0\]\.weigt is unknown"),
    (compound(SEG, {**CE, "weight": -1}), ValueError, rf"{ROOT}\.loss_list\[1\]\.weight must be"),
    (compound({**SEG, "weight": "1"}), TypeError, rf"{ROOT}\.loss_list\[0\]\.weight must be a num"),
    (compound({**SEG, "weight": None}), TypeError, rf"{ROOT}\.loss_list\[0\]\.weight must be a n"),
    (compound({**SEG, "weight": [0, 1]}), ValueError, r"loss_list\[0\]\.weight is a schedule"),
    (
        compound({**SEG, "weight": [0, 1]}, epoch_thresholds=[0, 1, 2]),
        ValueError,
        r"loss_list\[0\]\.weight must have one value per epoch threshold: expected 3",
    ),
    (
        compound({**SEG, "weight": [0, 1]}, epoch_thresholds=[2, 1]),
        ValueError,
        rf"{ROOT}: epoch_thresholds must increase",
    ),
    (compound(SEG, SEG), ValueError, rf"{ROOT}: The losses' names must be unique"),
    (compound(), ValueError, rf"{ROOT}\.loss_list must be a list of at least one loss"),
    (compound("seg"), TypeError, rf"{ROOT}\.loss_list\[0\] must be a mapping"),
    (compound(SEG, losses=[]), ValueError, "got loss_list and losses"),
    ({"loss_params": {"compound_loss": {}}}, ValueError, "got neither"),
    (
        compound(SEG, epoch_treshold=[1]),
        ValueError,
        r"epoch_treshold is unknown.*'epoch_thresholds'",
    ),
    (compound(SEG, normalize_losses="yes"), TypeError, rf"{ROOT}: normalize_losses must be True"),
    (compound(SEG, pre_processes=3), TypeError, rf"{ROOT}\.pre_processes must be a list"),
    (compound(SEG, pre_processes=[3]), TypeError, r"pre_processes\[0\] must be a mapping"),
    (
        compound(SEG, pre_processes=[{"_target_": "os.getcwd"}]),
        ValueError,
        rf"{ROOT}\.pre_processes\[0\]\._target_: 'os.getcwd' is not one of",
    ),
    (pair(SEG, wieght=1), ValueError, rf"{ROOT}\.losses\[0\]\.wieght is unknown.*'weight'"),
    (pair(None), TypeError, rf"{ROOT}\.losses\[0\]\.loss must be a mapping"),
    (pair(SEG, weight=-1), ValueError, rf"{ROOT}\.losses\[0\]\.weight must be"),
    (
        pair({"_target_": "segloss.LossWrapper", "loss_func": {"_target_": "os.system"}}),
        ValueError,
        rf"{ROOT}\.losses\[0\]\.loss\.loss_func\._target_: 'os.system' is not one of",
    ),
    (pair({**CE, "weight": ["a"]}), (TypeError, ValueError), rf"{ROOT}\.losses\[0\]\.loss"),
]


@pytest.mark.parametrize(("cfg", "kind", "words"), BAD)
def test_wrong_configs_are_refused_with_their_path(cfg, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        build_loss(cfg)


def test_a_block_by_itself_has_paths_too() -> None:
    with pytest.raises(ValueError, match=r"^compound_loss\.loss_list\[0\]\.weight must be"):
        build_compound_loss_from_config({"loss_list": [{**SEG, "weight": -1}]})


ENTRIES = {
    "loss_params.compound_loss.loss_list": [{**SEG, "weight": 1.0}],
    "loss_params.compound_loss.losses": [{"loss": SEG, "weight": 1.0}],
    "losses": [{"type": "dice", "weight": 1.0}],
}
"""The lists of losses, each with entries of its own."""


def at(path: str, value: object) -> dict:
    """A config with a value at a path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.mark.parametrize("path", ENTRIES)
def test_each_list_has_entries_of_its_own(path: str) -> None:
    build_loss(at(path, ENTRIES[path]))


@pytest.mark.parametrize(("here", "there"), [*permutations(ENTRIES, 2)])
def test_an_entry_of_another_list_is_told_which(here: str, there: str) -> None:
    with pytest.raises(ValueError, match=f"move it to the list {there}, whose entries have that"):
        build_loss(at(here, ENTRIES[there]))


@pytest.mark.parametrize("there", ["loss_params.compound_loss.losses", "losses"])
def test_an_entry_in_the_place_of_a_single_loss_is_told_its_list(there: str) -> None:
    with pytest.raises(ValueError, match=f"move it to the list {there}, whose entries have that"):
        build_loss({"loss": ENTRIES[there][0]})


@pytest.mark.parametrize(
    ("cfg", "place"),
    [
        ({"loss_list": [SEG]}, "loss_list belongs in loss_params.compound_loss"),
        ({"loss_params": {"loss_list": [SEG]}}, "loss_list belongs in loss_params.compound_loss"),
        ({"loss_params": {"compound_loss": None, "loss_list": [SEG]}}, "loss_list belongs in"),
        ({"compound_loss": {"loss_list": [SEG]}}, "compound_loss belongs in loss_params"),
        ({"multi_loss": {"loss_list": [SEG]}}, "multi_loss belongs in loss_params"),
        ({"loss": [SEG]}, "move the list to loss_params.compound_loss.loss_list"),
    ],
)
def test_a_key_at_another_depth_is_told_its_place(cfg: dict, place: str) -> None:
    with pytest.raises((TypeError, ValueError), match=place):
        build_loss(cfg)


@pytest.mark.parametrize(
    "path",
    [
        *("loss", "losses", "loss_params"),
        *("loss_params.compound_loss", "loss_params.multi_loss", "loss_params.multiloss"),
    ],
)
def test_a_key_without_a_value_is_told_what_it_lacks(path: str) -> None:
    text = "".join(f"{depth * '  '}{key}:\n" for depth, key in enumerate(path.split(".")))
    with pytest.raises(ValueError, match=rf"; {path} is null: indent what belongs to it\.$"):
        build_loss(text)


def test_a_slice_is_a_text_and_not_a_number_in_base_60() -> None:
    config = "loss: {_target_: segloss.SegLoss, n_classes: 3, gt_channel_selector: 1:4}"
    logits, masks = torch.randn(1, 3, 2, 2), torch.eye(4)[None, :, :, None].expand(1, 4, 4, 2)
    masks = masks[:, :, 1:3]
    expected = SegLoss(n_classes=3, gt_channel_selector=slice(1, 4))(logits, masks)
    assert build_loss(config)(logits, masks)[0].item() == expected[0].item()
    with pytest.raises(TypeError, match="'1:30'"):
        build_loss("loss: {_target_: segloss.SegLoss, dice_coef: 1:30}")


def test_a_file_that_is_not_yaml_is_named(tmp_path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("loss: {a: [1\n")
    with pytest.raises(ValueError, match=r"(?s)config\.yaml' can't be read: .*in line 1") as caught:
        build_loss(path)
    assert "unicode string" not in str(caught.value)


def test_what_can_not_be_left_out_is_not_said_to_have_a_default() -> None:
    for wrong in (
        lambda: MultiLoss([SegLoss("a"), SegLoss("b")], [None, 1.0]),
        lambda: MultiLoss([SegLoss()], [[0.0, 1.0]], [0, 1]).set_epoch(None),
        lambda: SegLoss(extra_terms={"focal": None}),
        lambda: SegLoss(terms={"dice": None}),
    ):
        with pytest.raises(TypeError, match=r"must be a number, got None \(NoneType\)\.$"):
            wrong()
