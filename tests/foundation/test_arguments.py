"""Classes that answer a wrong keyword have the signature of their `__init__` on every Python."""

from __future__ import annotations

import inspect

import pytest

import segloss
from segloss import CompoundLoss, DiceLoss, SegLoss
from segloss.foundation.arguments import ChecksKeywords
from segloss.losses.loss import Loss


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
