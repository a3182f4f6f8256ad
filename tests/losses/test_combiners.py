"""Combiners of a MultiLoss: the package's own, and TorchJD's as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segloss import LossWrapper, MultiLoss, SegLoss, UncertaintyWeighting

LABELS = torch.randint(0, 3, (2, 6))
LOGITS = torch.randn(2, 3, 6)


def losses() -> list[nn.Module]:
    return [SegLoss(n_classes=3), LossWrapper(nn.CrossEntropyLoss(), name="ce")]


def test_the_vector_holds_the_weighted_normalised_losses() -> None:
    multi = MultiLoss(losses(), [2.0, [0.0, 1.0]], epoch_thresholds=[0, 10])
    multi.update_norm(LOGITS, LABELS, nums=2)
    vector = multi.losses(LOGITS, LABELS, epoch=5)
    total, parts, _ = multi(LOGITS, LABELS)
    torch.testing.assert_close(vector, torch.stack([2 * parts["seg"], 0.5 * parts["ce"]]))
    torch.testing.assert_close(vector, torch.tensor([2.0, 0.5]))
    torch.testing.assert_close(vector.sum(), total)
    raw = multi.losses(LOGITS, LABELS, normalize=False)
    torch.testing.assert_close(raw[0], 2 * SegLoss(n_classes=3)(LOGITS, LABELS)[0])


def test_any_callable_combines() -> None:
    multi = MultiLoss(losses(), [1.0, 3.0], combiner=torch.max)
    total, _, _ = multi(LOGITS, LABELS)
    assert total == multi.losses(LOGITS, LABELS).max()
    assert total.dtype == torch.float32


def test_a_learned_combiner_is_trained_and_saved_with_the_multi_loss() -> None:
    multi = MultiLoss(losses(), [1.0, 1.0], combiner=UncertaintyWeighting(2))
    optimizer = torch.optim.SGD(multi.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        multi(LOGITS, LABELS)[0].backward()
        optimizer.step()
    expected = multi.losses(LOGITS, LABELS).log()
    torch.testing.assert_close(multi.combiner.log_vars.detach(), expected, rtol=1e-3, atol=1e-3)
    other = MultiLoss(losses(), [1.0, 1.0], combiner=UncertaintyWeighting(2))
    other.load_state_dict(multi.state_dict())
    assert other(LOGITS, LABELS)[0] == multi(LOGITS, LABELS)[0]


def test_wrong_combiners_are_told_what_is_wrong() -> None:
    with pytest.raises(TypeError, match="combiner must be a callable"):
        MultiLoss(losses(), [1.0, 1.0], combiner=3)
    with pytest.raises(TypeError, match="combiner must be a callable"):
        MultiLoss(losses(), [1.0, 1.0], combiner=UncertaintyWeighting)
    with pytest.raises(ValueError, match=r"scalar tensor, got the shape \(2,\)"):
        MultiLoss(losses(), [1.0, 1.0], combiner=torch.exp)(LOGITS, LABELS)
    with pytest.raises(ValueError, match=r"for 2 losses, got .*3.: pass .*Weighting\(2\)"):
        MultiLoss(losses(), [1.0, 1.0], combiner=UncertaintyWeighting(3))
    with pytest.raises(ValueError, match="num_losses=3"):
        UncertaintyWeighting(3)(torch.ones(2))


@pytest.mark.parametrize("name", ["UW", "DWA", "FAMO", "IMTLL", "STCH"])
def test_torchjds_scalarizers_combine_as_they_are(name: str) -> None:
    scalarization = pytest.importorskip("torchjd.scalarization")
    arguments = {"UW": (2,), "DWA": (), "FAMO": (2,), "IMTLL": (2,), "STCH": (0.1,)}[name]
    scalarizer = getattr(scalarization, name)(*arguments)
    logits = LOGITS.clone().requires_grad_()
    multi = MultiLoss(losses(), [1.0, 2.0], combiner=scalarizer)
    vector = multi.losses(logits, LABELS)
    total, _, _ = multi(logits, LABELS)
    total.backward()
    assert logits.grad is not None
    if name == "UW":
        torch.testing.assert_close(total, UncertaintyWeighting(2)(vector))


@pytest.mark.parametrize("name", ["UPGrad", "PCGrad", "Mean"])
def test_torchjds_aggregators_take_the_vector(name: str) -> None:
    aggregation = pytest.importorskip("torchjd.aggregation")
    autojac = pytest.importorskip("torchjd.autojac")
    model = nn.Conv1d(2, 3, 1)
    multi = MultiLoss(losses(), [1.0, 2.0])
    vector = multi.losses(model(torch.randn(2, 2, 6)), LABELS)
    autojac.backward(vector)
    autojac.jac_to_grad(model.parameters(), getattr(aggregation, name)())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
