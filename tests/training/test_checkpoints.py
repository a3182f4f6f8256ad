"""Checkpoints hold what was learned and measured; what the config sets is the config's."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segloss import (
    CompoundLoss,
    DeepSupervision,
    LossWrapper,
    LovaszLoss,
    MultiLoss,
    Poly1Loss,
    SegLoss,
    TopKCrossEntropyLoss,
    build_loss,
)
from segloss.terms import CrossEntropy

Make = Callable[..., nn.Module]

WEIGHTED: dict[str, Make] = {
    "SegLoss": lambda **given: SegLoss(n_classes=3, **given),
    "SegLoss of masks": lambda **given: SegLoss(from_logits=True, **given),
    "CompoundLoss": lambda **given: CompoundLoss(CrossEntropy(), "multilabel", **given),
    "LovaszLoss": lambda **given: LovaszLoss("multilabel", **given),
    "TopKCrossEntropyLoss": lambda **given: TopKCrossEntropyLoss("multilabel", **given),
    "Poly1Loss": lambda **given: Poly1Loss("multilabel", **given),
    "LossWrapper": lambda **given: LossWrapper(CompoundLoss(CrossEntropy(), "multilabel", **given)),
    "DeepSupervision": lambda **given: DeepSupervision(SegLoss(from_logits=True, **given)),
    "MultiLoss": lambda **given: MultiLoss([SegLoss(n_classes=3, **given), nn.L1Loss()], [1, 0]),
    "as_criterion": lambda **given: SegLoss(n_classes=3, **given).as_criterion(),
    "a model": lambda **given: nn.ModuleDict({"loss": SegLoss(n_classes=3, **given)}),
    "build_loss": lambda **given: build_loss(
        {"loss": {"_target_": "segloss.SegLoss", "n_classes": 3, **given}}
    ),
}
NAMES = ("class_weights", "pos_weight")


def names_of(name: str) -> tuple[str, ...]:
    """The weights that a loss can have."""
    sigmoid = name in ("SegLoss of masks", "CompoundLoss", "LossWrapper", "DeepSupervision")
    return NAMES if sigmoid or name == "Poly1Loss" else NAMES[:1]


def settings(loss: nn.Module) -> dict[str, list[float] | None]:
    """The weights in a loss, by the paths of their modules."""
    return {
        f"{path}.{name}": None if value is None else value.tolist()
        for path, module in loss.named_modules()
        for name in NAMES
        if (value := getattr(module, name, None)) is not None or name in module._buffers
    }


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


GIVEN: tuple[Any, ...] = (None, [1.0, 2.0, 3.0], [3.0, 0.5, 1.0])


@pytest.mark.parametrize("then", GIVEN)
@pytest.mark.parametrize("now", GIVEN)
@pytest.mark.parametrize("name", WEIGHTED)
def test_the_weights_are_those_of_the_config(name: str, now: Any, then: Any) -> None:
    make, names = WEIGHTED[name], names_of(name)
    saved = make(**dict.fromkeys(names, then))
    loss = make(**dict.fromkeys(names, now))
    before = settings(loss)
    loss.load_state_dict(through_a_file(saved.state_dict()), strict=True)
    assert settings(loss) == before
    assert not any(key.split(".")[-1] in NAMES for key in saved.state_dict())


@pytest.mark.parametrize("now", GIVEN)
@pytest.mark.parametrize("name", WEIGHTED)
def test_a_checkpoint_of_an_earlier_version_that_holds_weights_loads(name: str, now: Any) -> None:
    loss = WEIGHTED[name](**dict.fromkeys(names_of(name), now))
    before, earlier = settings(loss), loss.state_dict()
    for path in before:
        earlier[path.lstrip(".")] = torch.tensor([9.0, 9.0, 9.0], dtype=torch.float64)
    given = through_a_file(earlier)
    loss.load_state_dict(given, strict=True)
    assert settings(loss) == before
    assert given.keys() == earlier.keys()  # the caller's mapping stays


def test_other_unknown_keys_are_still_refused() -> None:
    loss = SegLoss(n_classes=3)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"class_weight"'):
        loss.load_state_dict({**loss.state_dict(), "class_weight": torch.ones(3)})


def test_the_norm_comes_from_the_checkpoint() -> None:
    logits, labels = torch.randn(2, 3, 5), torch.randint(0, 3, (2, 5))
    saved, loss = SegLoss(n_classes=3, class_weights=[1, 2, 3]), SegLoss(n_classes=3)
    saved.update_norm(logits, labels, 2)
    loss.load_state_dict(saved.state_dict())
    assert loss.state_dict().keys() == {"norm", "norm_count"}
    assert (loss.norm, loss.norm_count) == (saved.norm, saved.norm_count)


def test_a_wrapped_loss_of_pytorch_keeps_what_pytorch_does() -> None:
    saved = LossWrapper(nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])))
    loss = LossWrapper(nn.CrossEntropyLoss(torch.tensor([3.0, 3.0])))
    loss.load_state_dict(saved.state_dict())
    assert loss.loss_func.weight.tolist() == [1, 2]


def test_weights_still_move_and_are_copied_with_the_loss() -> None:
    loss = SegLoss(n_classes=3, class_weights=[1, 2, 3])
    moved: Tensor | None = copy.deepcopy(loss).to("meta").class_weights
    assert moved is not None
    assert moved.is_meta
    assert loss.half().class_weights.dtype == torch.float64
