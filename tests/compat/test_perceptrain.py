"""Losses of (batch, model), and weights that follow gradients."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segloss import LossWrapper, MultiLoss, SegLoss
from segloss.compat.perceptrain import (
    GradWeightedLoss,
    as_loss_fn,
    cross_entropy_loss,
    get_loss_fn,
    mse_loss,
)


def test_any_loss_becomes_a_function_of_batch_and_model() -> None:
    model = nn.Conv2d(3, 4, 1)
    batch = (torch.randn(2, 3, 5, 5), torch.randint(0, 4, (2, 5, 5)))
    logits, labels = model(batch[0]), batch[1]
    seg = SegLoss(n_classes=4)

    loss, metrics = as_loss_fn(nn.CrossEntropyLoss())(batch, model)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))
    assert metrics == {}

    loss, metrics = as_loss_fn(seg)(batch, model)
    torch.testing.assert_close(loss, seg(logits, labels)[0])
    assert list(metrics) == ["cross_entropy", "dice", *(f"dice/{c}" for c in range(4))]

    multi = MultiLoss([seg, LossWrapper(nn.CrossEntropyLoss(), name="ce")], [1.0, 0.5])
    loss, metrics = as_loss_fn(multi)(batch, model)
    torch.testing.assert_close(loss, multi(logits, labels)[0])
    assert set(metrics) == {"seg", "ce"}


def test_a_batch_of_another_form_is_unpacked() -> None:
    batch = {"x": torch.ones(2, 3), "y": torch.zeros(2, 3)}
    loss, _ = as_loss_fn(nn.L1Loss(), unpack=lambda b: (b["x"], b["y"]))(batch, nn.Identity())
    assert loss == 1
    with pytest.raises(TypeError, match="unpack="):
        as_loss_fn(nn.L1Loss())(batch, nn.Identity())


def test_mean_squares_of_pairs_and_of_residuals() -> None:
    pair = (torch.randn(4, 2), torch.randn(4, 2))
    torch.testing.assert_close(mse_loss(pair, nn.Identity())[0], F.mse_loss(*pair))
    residuals = {"equation": torch.randn(5), "boundary": torch.randn(3)}
    loss, metrics = mse_loss(residuals, nn.Identity())
    expected = {key: value.square().mean() for key, value in residuals.items()}
    torch.testing.assert_close(metrics, expected)
    torch.testing.assert_close(loss, sum(expected.values()))


def test_losses_by_name() -> None:
    assert get_loss_fn() is mse_loss
    assert get_loss_fn("mse") is mse_loss
    assert get_loss_fn("cross_entropy") is cross_entropy_loss
    assert get_loss_fn(len) is len
    with pytest.raises(ValueError, match="'cross_entropy' or a function, got 'cross_entrop'"):
        get_loss_fn("cross_entrop")


class Residuals(nn.Module):
    """A model whose two residuals depend on some of its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([2.0, 3.0]))
        self.b = nn.Parameter(torch.tensor([5.0]))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"equation": batch["equation"] * self.a, "boundary": batch["boundary"] * self.b}


BATCH = {"equation": torch.tensor([1.0, 1.0]), "boundary": torch.tensor([2.0])}


def weighted_loss(model: nn.Module, alpha: float = 0.9, **weights: float) -> GradWeightedLoss:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    start = {"equation": 1.0, "boundary": 0.5} | weights
    return GradWeightedLoss(BATCH, mse_loss, optimizer, start, "equation", alpha)


def test_weights_follow_the_gradients() -> None:
    model = Residuals()
    loss = weighted_loss(model)
    total, metrics = loss(BATCH, model)
    greatest, mean = 3.0, 40.0  # of d mean(a^2) / da = a, and of d (2 b)^2 / db = 8 b
    weight = 0.1 * 0.5 + 0.9 * greatest / mean
    assert loss.metric_weights == pytest.approx({"equation": 1.0, "boundary": weight})
    assert metrics["boundary"].item() == pytest.approx(weight * 100)
    assert total.item() == pytest.approx(6.5 + weight * 100)


def test_gradients_of_the_parameters_are_left_alone() -> None:
    model = Residuals()
    model.a.grad = torch.tensor([7.0, 7.0])
    loss = weighted_loss(model)
    total, _ = loss(BATCH, model)
    assert model.a.grad.tolist() == [7, 7]
    assert model.b.grad is None
    total.backward()
    weight = loss.metric_weights["boundary"]
    assert model.b.grad.item() == pytest.approx(weight * 40)


def test_one_gradient_per_term_is_taken() -> None:
    model, taken = Residuals(), []
    for parameter in model.parameters():
        parameter.register_hook(lambda _: taken.append(1))
    weighted_loss(model)(BATCH, model)
    assert len(taken) == 2


def test_a_metric_without_a_gradient_keeps_its_weight() -> None:
    model = Residuals()
    loss = weighted_loss(model)
    flat = {**BATCH, "boundary": torch.zeros(1)}
    loss(flat, model)
    assert loss.metric_weights["boundary"] == 0.5
    with torch.no_grad():
        loss(BATCH, model)
    assert loss.metric_weights["boundary"] == 0.5


def test_weights_come_back_from_a_checkpoint() -> None:
    model = Residuals()
    loss, other = weighted_loss(model), weighted_loss(model)
    loss(BATCH, model)
    other.load_state_dict(loss.state_dict())
    assert other.metric_weights == loss.metric_weights


def test_it_works_under_autocast() -> None:
    model = Residuals()
    loss = weighted_loss(model)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = loss(BATCH, model)
    total.backward()
    assert model.a.grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric_weights": {"equation": 1.0}}, "lacks \\['boundary'\\]"),
        ({"fixed_metric": "start"}, "fixed_metric must be one of"),
        ({"alpha": 1.5}, "alpha must be"),
        ({"metric_weights": {"equation": 1.0, "boundary": -1.0}}, "boundary"),
    ],
)
def test_wrong_arguments_are_told_what_is_wrong(change, message: str) -> None:
    arguments = {
        "batch": BATCH,
        "unweighted_loss_function": mse_loss,
        "optimizer": None,
        "metric_weights": {"equation": 1.0, "boundary": 0.5},
        "fixed_metric": "equation",
    }
    with pytest.raises(ValueError, match=message):
        GradWeightedLoss(**{**arguments, **change})


def test_other_metrics_than_expected_are_refused() -> None:
    model = Residuals()
    loss = weighted_loss(model)
    loss.unweighted_loss_function = lambda batch, model: (torch.ones(()), {"x": torch.ones(())})
    with pytest.raises(ValueError, match="must return the metrics"):
        loss(BATCH, model)


@pytest.mark.skipif(find_spec("perceptrain") is None, reason="perceptrain is not installed")
def test_perceptrains_own_trainer_trains_with_both(tmp_path) -> None:
    program = textwrap.dedent(
        """
        from itertools import count
        import torch
        from perceptrain import TrainConfig, Trainer
        from perceptrain.data import DictDataLoader, to_dataloader
        from perceptrain.models import PINN
        from segloss.compat.perceptrain import GradWeightedLoss, as_loss_fn, mse_loss
        from segloss.compat.tutorial import WeightedMSELoss

        torch.manual_seed(0)
        x = torch.linspace(-1, 1, 64).unsqueeze(1)
        data = to_dataloader(x, 2 * x, batch_size=16, infinite=True)
        config = TrainConfig(max_iter=60, root_folder="ROOT")

        def train(model, loss_fn, data):
            start = loss_fn(next(iter(data)), model)[0].item()
            optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
            Trainer(model=model, optimizer=optimizer, config=config, loss_fn=loss_fn).fit(data)
            return start, loss_fn(next(iter(data)), model)[0].item()

        start, end = train(torch.nn.Linear(1, 1), as_loss_fn(torch.nn.MSELoss()), data)
        assert end < start / 3, (start, end)

        cnt = count()
        criterion = WeightedMSELoss()

        def loss_fn_custom(batch, model):
            next(cnt)
            x, y = batch
            out = model(x)
            loss = criterion(out, y)
            return loss, {}

        start, end = train(torch.nn.Linear(1, 1), loss_fn_custom, data)
        assert end < start / 3, (start, end)
        assert next(cnt) > 60

        def equation(x, net):
            x = x.requires_grad_()
            u = net(x)
            [slope] = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
            return slope - u

        def boundary(x, net):
            return net(torch.zeros_like(x)) - 1

        def points():
            def stack(rows):
                return torch.stack([row[0] for row in rows])
            return to_dataloader(x, batch_size=16, infinite=True, collate_fn=stack)

        loaders = DictDataLoader({"eq": points(), "bc": points()})
        net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        model = PINN(net, {"eq": equation, "bc": boundary})
        batch = next(iter(loaders))
        weights = {"eq": 1.0, "bc": 1.0}
        loss_fn = GradWeightedLoss(batch, mse_loss, None, weights, "eq", alpha=0.1)
        before = mse_loss(batch, model)[0].item()
        train(model, loss_fn, loaders)
        after = mse_loss(batch, model)[0].item()
        assert after < before / 3, (before, after)
        assert loss_fn.metric_weights["bc"] != 1.0
        print("trained")
        """
    ).replace("ROOT", str(tmp_path))
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "trained" in done.stdout, done.stderr[-2000:]
