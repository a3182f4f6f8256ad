"""Classes that answer a wrong keyword have the signature of their `__init__` on every Python."""

from __future__ import annotations

import importlib
import inspect

import pytest

import segloss
from segloss import CompoundLoss, DiceLoss, SegLoss, get_loss
from segloss.foundation.arguments import ChecksKeywords
from segloss.losses.loss import Loss
from segloss.terms import TERMS
from segloss.terms.base import OPTIONS_OF_LOSS
from segloss.terms.mixture.spellings import LOSSES_WITHOUT_TERMS


class Brightness(Loss):
    def compute(self, pred_batch, gt_batch):
        return pred_batch["seg"].mean()


CLASSES = [
    each
    for each in vars(segloss).values()
    if isinstance(each, type) and issubclass(each, ChecksKeywords)
]


@pytest.mark.parametrize("cls", [*CLASSES, Brightness], ids=lambda cls: cls.__name__)
def test_a_class_has_the_parameters_of_its_constructor(cls: type) -> None:
    ours = list(inspect.signature(cls).parameters)
    if "__signature__" not in vars(cls):
        assert ours == list(inspect.signature(cls.__init__).parameters)[1:]
    assert "keywords" not in ours


def test_all_kinds_of_losses_are_asked() -> None:
    assert {SegLoss, CompoundLoss, DiceLoss} <= set(CLASSES)
    assert list(inspect.signature(Brightness).parameters) == ["name", "use_mixup"]


def test_an_instance_is_called_with_other_arguments() -> None:
    assert "name" not in inspect.signature(Brightness("brightness")).parameters


def test_a_name_that_means_an_argument_goes_before_one_of_another_place() -> None:
    with pytest.raises(TypeError, match=r"'weight' \(did you mean 'class_weights'\?\)"):
        segloss.CompoundLoss(weight=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"weights is unknown to SegLoss: .* the key weight of"):
        segloss.build_loss("loss: {_target_: segloss.SegLoss, weights: 1.0}")
    with pytest.raises(AttributeError, match=r"'CrossEntropyLoss': .*segloss\.terms\.CrossEntropy"):
        segloss.CrossEntropyLoss  # noqa: B018


@pytest.mark.parametrize(
    ("module", "name", "meant"),
    [
        ("segloss", "IoULoss", "JaccardLoss"),
        ("segloss", "Diceloss", "DiceLoss"),
        ("segloss", "DiceCELoss", "CompoundLoss"),
        ("segloss.functional", "iou_loss", "jaccard_loss"),
        ("segloss.functional", "bce_with_logits", "binary_cross_entropy"),
        ("segloss.terms", "BCE", "CrossEntropy"),
        ("segloss.terms", "DiceLoss", "Dice"),
    ],
)
def test_a_module_knows_the_names_of_other_libraries(module: str, name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"'{name}' \\(did you mean '{meant}'"):
        getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", ["__wrapped__", "_private", "zzz"])
def test_a_module_guesses_nothing_for_other_names(name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'$"):
        getattr(segloss, name)


def test_what_belongs_elsewhere_is_a_name_of_the_package() -> None:
    options = inspect.signature(CompoundLoss).parameters
    assert set(OPTIONS_OF_LOSS) < set(options)
    assert not CompoundLoss.belongs_elsewhere.keys() & options.keys()
    for name, loss in LOSSES_WITHOUT_TERMS.items():
        assert get_loss(name) is getattr(segloss, loss)
        assert name not in TERMS
