"""A run that is killed and goes on: what decides the next loss is in the state, bit for bit."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segloss import DeepSupervision, MultiLoss, SegLoss, UncertaintyWeighting, build_loss
from segloss.compat.perceptrain import GradWeightedLoss


def make() -> tuple[nn.Module, MultiLoss]:
    torch.manual_seed(0)
    losses = [
        SegLoss(n_classes=3, extra_terms={"focal": 0.5}),
        DeepSupervision(SegLoss("deep", n_classes=3)),
        nn.CrossEntropyLoss(),
    ]
    multi = MultiLoss(
        losses, [1.0, [0.0, 1.0], 0.5], epoch_thresholds=[0, 4], combiner=UncertaintyWeighting(3)
    )
    return nn.Conv2d(2, 3, 3, padding=1), multi


def batch(step: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(step)
    image = torch.randn(2, 2, 6, 6, generator=source)
    return image, torch.randint(0, 3, (2, 6, 6), generator=source)


class Training:
    """A model, its MultiLoss and an optimiser of both."""

    def __init__(self) -> None:
        self.model, self.loss = make()
        self.optimizer = torch.optim.AdamW([*self.model.parameters(), *self.loss.parameters()])

    def norms(self) -> None:
        image, target = batch(99)
        self.loss.update_norm(self.model(image), target, 2)

    def step(self, step: int) -> float:
        image, target = batch(step)
        total, _, _ = self.loss(self.model(image), target)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return total.item()

    def state(self) -> bytes:
        file = io.BytesIO()
        parts = {name: part.state_dict() for name, part in vars(self).items()}
        torch.save(parts, file)
        return file.getvalue()

    def load(self, state: bytes) -> None:
        parts = torch.load(io.BytesIO(state), weights_only=True)
        for name, part in vars(self).items():
            part.load_state_dict(parts[name])


def test_a_resumed_run_goes_on_bit_for_bit() -> None:
    whole = Training()
    whole.norms()
    expected = []
    for step in range(8):
        if step % 2 == 0:
            whole.loss.set_epoch(step / 2)
        expected.append(whole.step(step))
        if step == 4:  # in the middle of an epoch
            state = whole.state()
    resumed = Training()
    resumed.load(state)
    assert resumed.loss.epoch == 2
    values = []
    for step in range(5, 8):
        if step % 2 == 0:
            resumed.loss.set_epoch(step / 2)
        values.append(resumed.step(step))
    assert values == expected[5:]
    for name, value in whole.loss.state_dict().items():
        if isinstance(value, Tensor):
            assert torch.equal(value, resumed.loss.state_dict()[name])


def gradient_weighted(*names: str) -> GradWeightedLoss:
    def metrics(batch: dict[str, Tensor], model: nn.Module) -> tuple[None, dict[str, Tensor]]:
        return None, {name: model(x).square().mean() for name, x in batch.items()}

    return GradWeightedLoss(points(*names), metrics, None, dict.fromkeys(names, 1.0), names[0])


def points(*names: str) -> dict[str, Tensor]:
    return {name: torch.full((1, 1), 1.0 + i) for i, name in enumerate(names)}


def test_weights_of_gradients_come_back() -> None:
    torch.manual_seed(0)
    model, first, second = nn.Linear(1, 1), gradient_weighted("a", "b"), gradient_weighted("a", "b")
    first(points("a", "b"), model)
    second.load_state_dict(first.state_dict())
    batch = points("a", "b")
    assert torch.equal(first(batch, model)[0], second(batch, model)[0])
    with pytest.raises(ValueError, match="different metrics: a, b then, a, c now"):
        gradient_weighted("a", "c").load_state_dict(first.state_dict())


CONFIG = """
loss_params:
  multi_loss:
    loss_list:
      - {_target_: segloss.SegLoss, name: a, weight: 1.0}
      - {_target_: torch.nn.BCEWithLogitsLoss, name: b, weight: [1.0, 0.5]}
    epoch_thresholds: [0, 10]
"""


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("name: b", "name: renamed"),
        lambda text: text.replace("name: a", "name: x").replace("name: b", "name: a"),
        lambda text: text.replace(
            "    epoch_thr", "      - {_target_: torch.nn.L1Loss, weight: 1}\n    epoch_thr"
        ),
        lambda text: "\n".join(line for line in text.splitlines() if "name: a" not in line),
    ],
    ids=["renamed", "another", "added", "removed"],
)
def test_a_checkpoint_of_another_config_is_refused(change: Callable[[str], str]) -> None:
    state = build_loss(CONFIG).state_dict()
    other: Any = build_loss(change(CONFIG))
    before = {name: str(value) for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"different losses: a, b then, .* now"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="different losses"):
        nn.ModuleDict({"loss": other}).load_state_dict({f"loss.{k}": v for k, v in state.items()})
    assert {name: str(value) for name, value in other.state_dict().items()} == before


def test_the_same_config_loads() -> None:
    first, second = build_loss(CONFIG), build_loss(CONFIG)
    first.set_epoch(5)
    second.load_state_dict(first.state_dict())
    assert second.epoch == 5
    assert torch.equal(first.current_weights, second.current_weights)
