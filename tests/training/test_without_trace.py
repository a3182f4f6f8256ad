"""A model runs over training data, and nothing shows it afterwards."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler

from segloss import LossWrapper
from segloss.training.without_trace import fresh_loader, without_trace


class Restless(nn.Module):
    """Changes a parameter, two buffers in two ways, adds a third, and its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data.mul_(2)
        self.calls.add_(1)
        self.last = x[0].detach()
        self.register_buffer("late", torch.ones(1))
        self.eval()
        return self.norm(x) * self.weight


def test_tensors_and_modes_of_the_model_come_back() -> None:
    model = Restless()
    before, tensors = copy.deepcopy(model.state_dict()), list(model.buffers())
    with without_trace(model):
        model(torch.randn(3, 2))
        assert not torch.equal(model.weight, before["weight"])
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(now is then for now, then in zip(model.buffers(), tensors, strict=True))
    assert model.training
    assert model.norm.training


def test_norms_of_losses_stay() -> None:
    model = nn.ModuleList([Restless(), LossWrapper(nn.L1Loss())])
    with without_trace(model):
        model[1].update_norm(torch.full((2, 1), 3.0), torch.zeros(2, 1), 2)
    assert model[1].norm.item() == 3
    assert model[1].norm_count.item() == 2


def test_a_lazy_layer_may_take_its_shape() -> None:
    model = nn.LazyLinear(2)
    with without_trace(model):
        model(torch.ones(1, 3))
    assert not isinstance(model.weight, nn.UninitializedParameter)
    assert model.weight.shape == (2, 3)


def numbers() -> list[float]:
    return [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002, S311


def test_global_random_numbers_come_again() -> None:
    with without_trace(nn.Identity()):
        first = numbers()
        numbers()
    assert numbers() == first


class Transform:
    def __init__(self, generator: Any) -> None:
        self.generators = {"one": (generator,)}


GENERATORS = {
    "torch": (torch.Generator, lambda g: torch.rand((), generator=g).item()),
    "numpy": (np.random.default_rng, lambda g: g.random()),
    "numpy's older": (np.random.RandomState, lambda g: g.randn()),
    "python": (random.Random, lambda g: g.gauss(0, 1)),
}


class Drawing(Dataset[float]):
    """Draws from a generator that is hidden in a closure, in a transform, in a tuple."""

    def __init__(self, generator: Any, draw: Any) -> None:
        self.transform = Transform(generator)
        self.closure = lambda: draw(generator)
        self.draws = 0
        self.handle: Any = None

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        self.draws += 1
        self.handle = object()
        return self.closure()


@pytest.mark.parametrize("kind", GENERATORS)
def test_generators_and_attributes_of_a_dataset_come_back(kind: str) -> None:
    make, draw = GENERATORS[kind]
    dataset = Drawing(make(), draw)
    dataset[0]
    held = dataset.handle
    with without_trace(nn.Identity(), DataLoader(dataset)):
        first = [dataset[0], dataset[1]]
    assert dataset.draws == 1
    assert dataset.handle is held
    assert [dataset[0], dataset[1]] == first


class Counting(Sampler[int]):
    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter([self.epoch])


def test_samplers_come_back() -> None:
    sampler, generator = Counting(), torch.Generator()
    loader = DataLoader(range(9), sampler=sampler)
    shuffling = DataLoader(range(9), sampler=RandomSampler(range(9), generator=generator))
    with without_trace(nn.Identity(), loader, shuffling):
        first = [list(loader), list(shuffling)]
    assert sampler.epoch == 0
    assert [list(loader), list(shuffling)] == first


def test_it_comes_back_after_an_error_too() -> None:
    model, state = Restless(), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="shape"), without_trace(model):
        model(torch.randn(3, 2)).reshape(7)
    assert torch.equal(model.weight, torch.ones(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_synchronised_batch_norm_is_of_one_rank() -> None:
    model, x = nn.Sequential(nn.SyncBatchNorm(2)), torch.randn(5, 2)
    with without_trace(model):
        inside = model(x)
        assert "forward" in vars(model[0])
    assert "forward" not in vars(model[0])
    torch.testing.assert_close(inside, nn.BatchNorm1d(2)(x))


class FromWorkers(Dataset[float]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        return torch.rand(()).item()


def test_persistent_workers_are_left_alone() -> None:
    """They would keep the state of their generators."""
    results = []
    for look in (False, True):
        torch.manual_seed(0)
        loader = DataLoader(FromWorkers(), num_workers=1, persistent_workers=True)
        first = list(loader)
        if look:
            with without_trace(nn.Identity(), loader):
                list(fresh_loader(loader))
        results.append([first, list(loader)])
    assert results[0] == results[1]


def test_what_is_no_loader_is_read_as_it_is() -> None:
    batches = [1, 2]
    assert fresh_loader(batches) is batches
