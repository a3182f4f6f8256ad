"""`install` and the classes under the program's names, with a small stand-in for the program.

`tests/programs/test_segmentation_models_trainer.py` has the same with the program itself.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import segloss

PROGRAM = "pytorch_segmentation_models_trainer"
COMPAT = "segloss.compat.segmentation_models_trainer"

BASE_LOSS = """
import torch

class Loss(torch.nn.Module):
    def __init__(self, name):
        super(Loss, self).__init__()
        self.name = name
        self.norm = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, pred_batch, gt_batch, normalize=True):
        value = self.compute(pred_batch, gt_batch)
        return (value / self.norm[0] if normalize else value), {}

    def __repr__(self):
        return f"{self.name} {self.norm[0]}"

class SegLoss(Loss):
    def __init__(self, name, gt_channel_selector, n_classes=2):
        super(SegLoss, self).__init__(name)

class CrossfieldAlignLoss(Loss): pass
class CrossfieldAlign90Loss(Loss): pass
class CrossfieldSmoothLoss(Loss): pass
class SegEdgeInteriorLoss(Loss): pass

class SegCrossfieldLoss(Loss):
    def __init__(self, name, pred_channel):
        super(SegCrossfieldLoss, self).__init__(name)

class ComputeSegGrads:
    def __init__(self, device):
        self.device = device

class MultiLoss(torch.nn.Module):
    def __init__(self, loss_funcs, weights, epoch_thresholds=None, pre_processes=None):
        super(MultiLoss, self).__init__()
        self.loss_funcs = torch.nn.ModuleList(loss_funcs)
        self.norm_updated = False

    def set_norm_updated(self, updated):
        self.norm_updated = updated

def build_combined_loss(cfg):
    raise RuntimeError("the program's")
"""

LOSS_BUILDER = """
import torch

class LossWrapper(torch.nn.Module):
    def __init__(self, loss_func, name=None):
        super(LossWrapper, self).__init__()
        self.loss_func, self.name = loss_func, name

def build_compound_loss_from_config(compound_loss_cfg, pre_processes=None):
    return compound_loss_cfg
"""

MODEL = """
class Model:
    def __init__(self, loss):
        self.loss = loss

    def get_loss_function(self):
        return self.loss
"""

FILES = {
    "__init__.py": "",
    "custom_losses/__init__.py": "",
    "custom_losses/base_loss.py": BASE_LOSS,
    "custom_losses/loss_builder.py": LOSS_BUILDER,
    "model_loader/__init__.py": "",
    "model_loader/model.py": MODEL,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program, at a version that is known."""
    for name, text in FILES.items():
        path = tmp_path / PROGRAM / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    set_version(tmp_path, "1.0.1")
    return tmp_path


def set_version(folder: Path, version: str) -> None:
    metadata = folder / f"{PROGRAM}-1.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {PROGRAM}\nVersion: {version}\n")


@pytest.fixture
def compat(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module under test; the program is the one in the folder."""
    names = [n for n in sys.modules if n.startswith((PROGRAM, COMPAT))]
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder)
    invalidate_caches()
    module = import_module(COMPAT)
    yield module
    module.uninstall()
    for name in [n for n in sys.modules if n.startswith((PROGRAM, COMPAT)) and n not in names]:
        del sys.modules[name]


@pytest.fixture
def program(compat: Any) -> SimpleNamespace:
    """The modules of the program, imported before anything is installed."""
    modules = ("custom_losses.base_loss", "custom_losses.loss_builder", "model_loader.model")
    return SimpleNamespace(
        **{name.rpartition(".")[2]: import_module(f"{PROGRAM}.{name}") for name in modules}
    )


MASKS = torch.tensor([[[[0.0, 1.0, 1.0]]]])
PREDICTION = torch.tensor([[[[0.2, 0.6, 0.9]]]])


# Versions


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2", "2.0"])
def test_an_unknown_version_is_refused_with_what_works_in_any(
    compat: Any, program: SimpleNamespace, folder: Path, version: str
) -> None:
    set_version(folder, version)
    with pytest.raises(ImportError) as caught:
        compat.install()
    for word in ("1.0.1", f"got {version}", "pip install", "_target_: segloss.SegLoss"):
        assert word in str(caught.value)
    with pytest.raises(ImportError, match=version):
        _ = compat.SegLoss
    assert not isinstance(segloss.SegLoss(), program.base_loss.Loss)


def test_a_missing_program_is_named_with_its_version(
    compat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ImportError, match=f"needs the program {PROGRAM} 1.0.1.*pip install"):
        compat.install()


def test_the_program_is_not_imported_before_it_is_needed() -> None:
    code = f"import sys, {COMPAT}; sys.exit({PROGRAM!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def test_an_unknown_name_is_an_error(compat: Any) -> None:
    with pytest.raises(AttributeError, match="NoLoss"):
        _ = compat.NoLoss


# Installing


@pytest.mark.parametrize("times", [1, 3])
def test_making_one_of_the_programs_losses_makes_segloss(
    compat: Any, program: SimpleNamespace, times: int
) -> None:
    from_before = program.base_loss.SegLoss
    for _ in range(times):
        compat.install()
    loss = from_before("seg", 0)
    assert isinstance(loss, segloss.SegLoss)
    assert type(loss) is compat.SegLoss
    assert isinstance(loss, (from_before, program.base_loss.Loss))
    for name in ("CrossfieldAlignLoss", "CrossfieldAlign90Loss", "CrossfieldSmoothLoss"):
        assert isinstance(getattr(program.base_loss, name)("a"), getattr(segloss, name))
    assert isinstance(program.base_loss.SegEdgeInteriorLoss("a"), segloss.SegEdgeInteriorLoss)
    assert program.base_loss.SegCrossfieldLoss("a", pred_channel=1).pred_channel == 1
    made = program.base_loss.MultiLoss([loss], [1.0])
    assert isinstance(made, segloss.MultiLoss)
    assert isinstance(made, program.base_loss.MultiLoss)
    assert isinstance(program.base_loss.ComputeSegGrads("cuda"), segloss.ComputeSegGrads)


def test_losses_of_segloss_are_the_programs_while_installed(
    compat: Any, program: SimpleNamespace
) -> None:
    loss = segloss.SegLoss()
    multi_loss = segloss.MultiLoss([loss], [1.0])
    text = repr(loss)
    compat.install()
    assert isinstance(loss, program.base_loss.Loss)
    assert isinstance(multi_loss, program.base_loss.MultiLoss)
    assert not multi_loss.norm_updated
    multi_loss.set_norm_updated(True)
    assert multi_loss.norm_updated
    assert repr(loss) == text
    compat.uninstall()
    assert not isinstance(loss, program.base_loss.Loss)
    assert not isinstance(multi_loss, program.base_loss.MultiLoss)


def test_uninstalling_restores_the_program_and_segloss(
    compat: Any, program: SimpleNamespace
) -> None:
    bases = segloss.Loss.__bases__, segloss.MultiLoss.__bases__
    get_loss_function = program.model.Model.get_loss_function
    for _ in range(2):
        compat.install()
        compat.uninstall()
        compat.uninstall()
    assert (segloss.Loss.__bases__, segloss.MultiLoss.__bases__) == bases
    assert program.model.Model.get_loss_function is get_loss_function
    assert type(program.base_loss.SegLoss("seg", 0)) is program.base_loss.SegLoss
    assert type(program.loss_builder.LossWrapper(nn.L1Loss())) is program.loss_builder.LossWrapper
    with pytest.raises(RuntimeError, match="the program's"):
        program.base_loss.build_combined_loss({})


def test_an_installation_that_fails_leaves_nothing_behind(
    compat: Any, program: SimpleNamespace
) -> None:
    class Both(program.base_loss.Loss, segloss.Loss):  # no order of its bases would fit
        pass

    bases = segloss.Loss.__bases__
    with pytest.raises(TypeError):
        compat.install()
    assert segloss.Loss.__bases__ == bases
    assert type(program.base_loss.SegLoss("seg", 0)) is program.base_loss.SegLoss


def test_your_subclasses_of_the_programs_losses_stay_what_they_are(
    compat: Any, program: SimpleNamespace
) -> None:
    class Brightness(program.base_loss.Loss):
        def compute(self, pred_batch: Any, gt_batch: Any) -> Tensor:
            return pred_batch["seg"].mean()

    class Twice(program.base_loss.SegLoss):
        def compute(self, pred_batch: Any, gt_batch: Any) -> Tensor:
            return 2 * pred_batch["seg"].mean()

    compat.install()
    losses = [Brightness("one"), Twice("two", 0)]
    assert [type(loss) for loss in losses] == [Brightness, Twice]
    multi_loss = program.base_loss.MultiLoss(losses, [1.0, 1.0])
    batches = {"seg": torch.full((2, 1, 3), 0.5)}, {}
    assert multi_loss(*batches)[0] == 1.5
    multi_loss.update_norm(*batches, 2)
    assert [loss.norm.item() for loss in multi_loss.loss_funcs] == [0.5, 1.0]
    assert multi_loss(*batches)[0] == 2


def test_the_programs_objects_are_copied_as_they_are(compat: Any, program: SimpleNamespace) -> None:
    own = program.base_loss.SegLoss("seg", 0)
    compat.install()
    for copied in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert type(copied) is program.base_loss.SegLoss
        assert copied.name == "seg"
    ours = program.base_loss.SegLoss("seg", 0)
    assert type(pickle.loads(pickle.dumps(ours))) is compat.SegLoss


def test_a_single_loss_of_segloss_returns_a_tensor_to_the_model(
    compat: Any, program: SimpleNamespace
) -> None:
    compat.install()
    for loss in (segloss.SegLoss(), program.base_loss.SegLoss("seg", 0)):
        value = program.model.Model(loss).get_loss_function()(PREDICTION, MASKS)
        assert type(value) is Tensor
    other = nn.L1Loss()
    assert program.model.Model(other).get_loss_function() is other


def test_older_configs_build_a_multi_loss(compat: Any, program: SimpleNamespace) -> None:
    compat.install()
    multi_loss = program.base_loss.build_combined_loss(
        {
            "compute_seg": True,
            "seg_params": {"compute_interior": True},
            "loss_params": {
                "multi_loss": {"coefs": {"seg": [1.0, 2.0], "epoch_thresholds": [0, 1]}}
            },
        }
    )
    assert isinstance(multi_loss, program.base_loss.MultiLoss)
    assert multi_loss({"seg": PREDICTION}, {"gt_polygons_image": MASKS}, epoch=1)[0] > 0


def test_a_loss_list_is_read_as_losses(compat: Any, program: SimpleNamespace) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    entries = [
        {"_target_": "segloss.SegLoss", "n_classes": "${n}", "weight": [0, 1]},
        {"name": "a"},
    ]
    cfg = omegaconf.OmegaConf.create({"n": 4, "block": {"loss_list": entries, "x": 1}})
    compat.install()
    build = program.loss_builder.build_compound_loss_from_config
    assert build(cfg.block) == {
        "x": 1,
        "losses": [
            {"loss": {"_target_": "segloss.SegLoss", "n_classes": 4}, "weight": [0, 1]},
            {"loss": {"name": "a"}, "weight": 1.0},
        ],
    }
    for unchanged in (omegaconf.OmegaConf.create({"losses": []}), None):
        assert build(unchanged) is unchanged


# The classes


def test_the_classes_are_the_programs_without_installing(
    compat: Any, program: SimpleNamespace
) -> None:
    loss = compat.SegLoss("seg", 0)
    assert isinstance(loss, (segloss.SegLoss, program.base_loss.SegLoss))
    assert "SegLoss('seg', " in repr(loss)
    assert not isinstance(segloss.SegLoss(), program.base_loss.Loss)

    class Brightness(compat.Loss):
        def compute(self, pred_batch: Any, gt_batch: Any) -> Tensor:
            return pred_batch["seg"].mean()

    assert isinstance(Brightness("mine"), program.base_loss.Loss)
    assert Brightness("mine")({"seg": torch.ones(1, 1, 2)}, {})[0] == 1


def test_the_focal_tversky_loss_has_the_programs_constants(compat: Any) -> None:
    options = {"bce_coef": 0, "dice_coef": 0, "tversky_focal_coef": 1}
    explicit = {"tversky_alpha": 0.01, "tversky_beta": 0.99, "tversky_gamma": 0.25}
    value = compat.SegLoss("seg", 0, **options)(PREDICTION, MASKS)[0]
    assert value == segloss.SegLoss("seg", 0, **options, **explicit)(PREDICTION, MASKS)[0]
    changed = compat.SegLoss("seg", 0, **options, tversky_gamma=1.0)(PREDICTION, MASKS)[0]
    assert changed != value


@pytest.mark.parametrize("selector", [None, 0, slice(0, 1)])
def test_a_label_map_is_its_only_channel(compat: Any, selector: Any) -> None:
    logits, labels = torch.randn(2, 4, 5, 5), torch.randint(0, 4, (2, 5, 5))
    expected = segloss.SegLoss(n_classes=4)(logits, labels)[0]
    loss = compat.SegLoss("seg", selector, 4)
    assert loss(logits, labels)[0] == expected
    loss.update_norm(logits, labels, 2)
    assert loss(logits, labels)[0].item() == pytest.approx(1)
    with pytest.raises(ValueError, match="out of range"):
        compat.SegLoss("seg", 1, 4)(logits, labels)


def test_a_wrapped_loss_keeps_the_norm_1(compat: Any, program: SimpleNamespace) -> None:
    compat.install()
    loss = program.loss_builder.LossWrapper(nn.L1Loss(), name="l1")
    assert isinstance(loss, (compat.LossWrapper, program.loss_builder.LossWrapper))
    multi_loss = program.base_loss.MultiLoss([loss, segloss.SegLoss("seg")], [1.0, 1.0])
    batches = {"seg": PREDICTION}, {"gt_polygons_image": MASKS}
    segloss.compute_norms(multi_loss, [batches, batches])
    wrapped, seg = multi_loss.loss_funcs
    assert (wrapped.norm, wrapped.norm_count) == (1, 2)
    assert seg.norm != 1
    torch.testing.assert_close(multi_loss(*batches)[1]["l1"], nn.L1Loss()(PREDICTION, MASKS))


def test_a_wrapped_loss_may_need_the_prediction_alone(compat: Any) -> None:
    loss = compat.LossWrapper(lambda prediction: prediction.square().mean(), "size")
    value, _ = loss({"seg": PREDICTION}, {})
    torch.testing.assert_close(value, PREDICTION.square().mean())


def test_wrappers_made_earlier_are_taken(compat: Any, program: SimpleNamespace) -> None:
    class Brightness(program.base_loss.Loss):
        def compute(self, pred_batch: Any, gt_batch: Any) -> Tensor:
            return pred_batch.mean()

    wrapper = program.loss_builder.LossWrapper
    losses = [wrapper(nn.L1Loss(), name="l1"), wrapper(Brightness("mine"), name="bright")]
    total, parts, _ = compat.MultiLoss(losses, [1.0, 1.0])(PREDICTION, MASKS)
    assert parts["l1"] == nn.L1Loss()(PREDICTION, MASKS)
    assert parts["bright"] == PREDICTION.mean()
    torch.testing.assert_close(total, parts["l1"] + parts["bright"])


def test_pre_processes_may_be_blocks_of_a_config(compat: Any) -> None:
    block = {"_target_": f"{PROGRAM}.custom_losses.base_loss.ComputeSegGrads"}
    loss = compat.SegEdgeInteriorLoss("edges")
    multi_loss = compat.MultiLoss([loss], [1.0], pre_processes=[block])
    assert multi_loss({"seg": torch.rand(1, 2, 4, 4)}, {})[0] > 0


def test_a_checkpoint_of_the_programs_losses_loads(compat: Any, program: SimpleNamespace) -> None:
    own = program.base_loss.MultiLoss(
        [program.base_loss.SegLoss("seg", 0), program.base_loss.CrossfieldAlignLoss("a")], [1, 1]
    )
    own.loss_funcs[0].norm.fill_(0.25)
    compat.install()
    ours = program.base_loss.MultiLoss(
        [program.base_loss.SegLoss("seg", 0), program.base_loss.CrossfieldAlignLoss("a")],
        [1.0, [1.0, 2.0]],
        [0, 1],
    )
    ours.load_state_dict(own.state_dict())
    assert [loss.norm.item() for loss in ours.loss_funcs] == [0.25, 1.0]
    assert [loss.norm_count.item() for loss in ours.loss_funcs] == [1.0, 0.0]
    ours.set_epoch(1)
    again = copy.deepcopy(ours)
    again.load_state_dict(ours.state_dict())
    assert again.current_weights.tolist() == [1.0, 2.0]
