"""The losses of single pixels and their sums: PyTorch's, torchvision's, and the reference's."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segloss import CompoundLoss, FocalLoss, Poly1Loss, use_backend
from segloss import functional as S
from segloss.sums.kernels.registry import backend_names
from segloss.terms import CrossEntropy, Dice, Focal, PixelTerm

torchvision = pytest.importorskip("torchvision")

WEIGHTS = [1.0, 0.5, 2.0, 0.25]
SPACES = [(7,), (5, 4), (3, 4, 2)]
BACKENDS = [name for name in backend_names() if name not in ("auto", "triton")]


def same(ours: Tensor, theirs: Tensor, x: Tensor) -> None:
    """Equal values, and equal gradients for some upstream gradients of both signs."""
    rounding = {"rtol": 1e-12, "atol": 1e-14} if x.dtype == torch.float64 else {}
    torch.testing.assert_close(ours, theirs, **rounding)
    upstream = torch.randn_like(theirs)
    gradients = [torch.autograd.grad((each * upstream).sum(), x)[0] for each in (ours, theirs)]
    torch.testing.assert_close(*gradients, **rounding)


def logits_of(*spatial: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(3, 4, *spatial, dtype=dtype, requires_grad=True)


def per_channel(values: list[float] | None, x: Tensor) -> Tensor | None:
    return None if values is None else torch.tensor(values).to(x).reshape(-1, *[1] * (x.ndim - 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spatial", SPACES)
@pytest.mark.parametrize(
    ("ignore_index", "weights", "smoothing", "weighs_pixels"),
    list(itertools.product([None, 255], [None, WEIGHTS], [0.0, 0.2], [False, True])),
)
def test_cross_entropy_of_label_maps_is_pytorchs(
    spatial, dtype, ignore_index, weights, smoothing, weighs_pixels
) -> None:
    x, labels = logits_of(*spatial, dtype=dtype), torch.randint(0, 4, (3, *spatial))
    if ignore_index is not None:
        labels[torch.rand(labels.shape) < 0.3] = ignore_index
    pixel_weights = torch.rand(3, 1, *spatial, dtype=dtype) if weighs_pixels else None
    theirs = F.cross_entropy(
        x,
        labels,
        weight=None if weights is None else torch.tensor(weights, dtype=dtype),
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=smoothing,
        reduction="none",
    )
    theirs = theirs if pixel_weights is None else theirs * pixel_weights.squeeze(1)
    options = {
        "ignore_index": ignore_index,
        "class_weights": weights,
        "label_smoothing": smoothing,
        "pixel_weights": pixel_weights,
    }
    same(S.cross_entropy(x, labels, reduction="none", **options), theirs, x)
    torch.testing.assert_close(S.cross_entropy(x, labels, reduction="sum", **options), theirs.sum())


@pytest.mark.parametrize("spatial", SPACES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities_as_targets_is_pytorchs(spatial, weights, smoothing) -> None:
    x, target = logits_of(*spatial), torch.randn(3, 4, *spatial).double().softmax(1)
    weight = None if weights is None else torch.tensor(weights).double()
    theirs = F.cross_entropy(x, target, weight, label_smoothing=smoothing, reduction="none")
    options = {"class_weights": weights, "label_smoothing": smoothing}
    same(S.cross_entropy(x, target, reduction="none", **options), theirs, x)
    torch.testing.assert_close(S.cross_entropy(x, target, reduction="sum", **options), theirs.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spatial", SPACES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("pos_weight", [None, [2.0, 1.0, 0.5, 0.0]])
def test_binary_cross_entropy_is_pytorchs(spatial, dtype, weights, pos_weight) -> None:
    x, target = logits_of(*spatial, dtype=dtype), torch.rand(3, 4, *spatial, dtype=dtype)
    theirs = F.binary_cross_entropy_with_logits(
        x,
        target,
        weight=per_channel(weights, x),
        pos_weight=per_channel(pos_weight, x),
        reduction="none",
    )
    options = {"class_weights": weights, "pos_weight": pos_weight}
    same(S.binary_cross_entropy(x, target, reduction="none", **options), theirs, x)
    total = S.binary_cross_entropy(x, target, reduction="sum", **options)
    torch.testing.assert_close(total, theirs.sum())


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_focal_loss_is_torchvisions(alpha, gamma, dtype) -> None:
    x = logits_of(5, 4, dtype=dtype)
    mask = torch.randint(0, 2, x.shape).to(dtype)
    theirs = torchvision.ops.sigmoid_focal_loss(
        x, mask, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="none"
    )
    same(FocalLoss("multilabel", gamma=gamma, alpha=alpha, reduction="none")(x, mask), theirs, x)
    total = FocalLoss("multilabel", gamma=gamma, alpha=alpha, reduction="sum")(x, mask)
    torch.testing.assert_close(total, theirs.sum())


def test_given_probabilities_are_pytorchs() -> None:
    p, target = torch.rand(3, 4, 6).double().requires_grad_(), torch.rand(3, 4, 6).double()
    theirs = F.binary_cross_entropy(p, target, reduction="none")
    same(S.binary_cross_entropy(p, target, from_logits=False, reduction="none"), theirs, p)
    labels = torch.randint(0, 4, (3, 6))
    theirs = F.nll_loss(p.log(), labels, reduction="none")
    same(S.cross_entropy(p, labels, from_logits=False, reduction="none"), theirs, p)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
def test_mixtures_of_means_over_pixels_add_up(backend: str, mode: str) -> None:
    x, labels = logits_of(5, 4, dtype=torch.float32), torch.randint(0, 4, (3, 5, 4))
    target = labels if mode == "multiclass" else torch.randint(0, 2, x.shape)
    options = {"ignore_index": 1, "reduction": "none"}
    with use_backend(backend):
        mixed = CompoundLoss(0.5 * CrossEntropy() + 2 * Focal(gamma=1), mode, **options)
        entropy, focal = (
            CompoundLoss(term, mode, **options)(x, target)
            for term in (CrossEntropy(), Focal(gamma=1))
        )
        same(mixed(x, target), 0.5 * entropy + 2 * focal, x)


@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
def test_poly1_has_the_losses_of_its_two_parts(mode: str) -> None:
    x, labels = logits_of(5, 4), torch.randint(0, 4, (3, 5, 4))
    target = labels if mode == "multiclass" else torch.randint(0, 2, x.shape)
    if mode == "multiclass":
        p = x.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    else:
        p = torch.where(target == 1, x.sigmoid(), (-x).sigmoid())
    ours = Poly1Loss(mode, epsilon=2.0, reduction="none")(x, target)
    same(ours, -p.log() + 2 * (1 - p), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pixels_left_out_are_zero_even_if_they_hold_nan(backend: str) -> None:
    x, labels = torch.randn(2, 3, 50), torch.randint(0, 3, (2, 50))
    weights = torch.rand(2, 1, 50).ceil() * (torch.rand(2, 1, 50) > 0.3)
    labels[0, :20] = 255
    left_out = (labels == 255) | (weights[:, 0] == 0)
    x = x.masked_fill(left_out.unsqueeze(1), torch.nan).requires_grad_()
    with use_backend(backend):
        losses = S.cross_entropy(
            x, labels, ignore_index=255, pixel_weights=weights, reduction="none"
        )
        (losses * torch.where(left_out, torch.nan, 1.0)).nansum().backward()
    assert torch.equal(losses == 0, left_out)
    assert x.grad is not None
    assert torch.equal((x.grad == 0).all(1), left_out)


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 3, 0), (2, 3, 5)])
def test_nothing_but_ignored_pixels_is_zero(shape: tuple[int, ...], reduction: str) -> None:
    x = torch.full(shape, torch.nan, requires_grad=True)
    labels = torch.full((shape[0], shape[2]), 255)
    losses = S.cross_entropy(x, labels, ignore_index=255, reduction=reduction)
    losses.sum().backward()
    assert losses.shape == (labels.shape if reduction == "none" else ())
    assert x.grad is not None
    assert not losses.any()
    assert not x.grad.any()


def test_the_shape_is_that_of_a_label_map_or_of_sigmoid_channels() -> None:
    x = torch.randn(2, 4, 3, 5)
    for labels in (torch.ones(2, 3, 5).long(), torch.ones(2, 1, 3, 5), torch.ones_like(x) / 4):
        assert S.cross_entropy(x, labels, reduction="none").shape == (2, 3, 5)
    assert S.binary_cross_entropy(x, torch.ones_like(x), reduction="none").shape == x.shape
    assert S.binary_cross_entropy(x[:, :1], x[:, 0] > 0, reduction="none").shape == (2, 1, 3, 5)
    masks = torch.randn(2, 9)
    assert S.binary_cross_entropy(masks, masks > 0, reduction="none").shape == (2, 9)


def test_sums_of_region_terms_are_over_the_cells_that_count() -> None:
    x, labels = torch.randn(3, 4, 20).double(), torch.randint(0, 2, (3, 20))
    labels[1] = 255
    options: dict[str, Any] = {"ignore_index": 255, "skip_absent_classes": True}
    cells = S.dice_loss(x, labels, n_classes=4, reduction="none", **options)
    total = S.dice_loss(x, labels, n_classes=4, reduction="sum", **options)
    torch.testing.assert_close(total, cells.sum())
    torch.testing.assert_close(
        S.dice_loss(x, labels, n_classes=4, **options), total / (cells > 0).sum()
    )
    weights = [1.0, 2.0, 3.0, 4.0]
    weighted = S.dice_loss(
        x, labels, n_classes=4, reduction="sum", region_class_weights=weights, **options
    )
    torch.testing.assert_close(weighted, (cells * torch.tensor(weights)).sum())
    mixed = CompoundLoss(CrossEntropy() + Dice(), "multiclass", ignore_index=255, reduction="sum")
    entropy = F.cross_entropy(x, labels, ignore_index=255, reduction="sum")
    every = S.dice_loss(x, labels, n_classes=4, ignore_index=255, reduction="none").sum()
    torch.testing.assert_close(mixed(x, labels), entropy + every)


@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
def test_gradients_pass_gradcheck_twice(mode: str) -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 4)) if mode == "multiclass" else torch.rand(2, 3, 4)
    loss = CompoundLoss(
        CrossEntropy() + Focal(),
        mode,
        label_smoothing=0.1,
        class_weights=[1, 2, 3],
        reduction="none",
    )
    assert torch.autograd.gradcheck(lambda x: loss(x, target), x, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target), x, fast_mode=True)


def test_transforms_and_compilers_see_the_same_losses() -> None:
    x, labels = torch.randn(2, 3, 5, requires_grad=True), torch.randint(0, 3, (2, 5))
    loss = CompoundLoss(CrossEntropy() + Focal(), "multiclass", reduction="none")
    expected = loss(x, labels)
    each = torch.func.vmap(lambda x, y: loss(x[None], y[None])[0])(x, labels)
    torch.testing.assert_close(each, expected)
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(x, labels)
    same(compiled, expected, x)
    exported = torch.export.export(loss, (x.detach(), labels)).module()
    torch.testing.assert_close(exported(x.detach(), labels), expected.detach())


def test_the_forward_pass_keeps_only_its_inputs() -> None:
    x, labels = torch.randn(2, 4, 1000, requires_grad=True), torch.randint(0, 4, (2, 1000))
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        S.cross_entropy(x, labels, reduction="none")
    large = [t for t in kept if t.numel() >= 1000]
    assert {t.data_ptr() for t in large} == {x.data_ptr(), labels.data_ptr()}


def test_confident_pixels_keep_their_digits() -> None:
    x = torch.tensor([[[20.0, 25.0, 40.0], [0.0, 0.0, 0.0]]])
    losses = S.cross_entropy(x, torch.zeros(1, 3).long(), reduction="none")
    torch.testing.assert_close(losses, (-x[:, 0]).exp(), rtol=1e-5, atol=0)


def test_a_learned_factor_of_a_term_has_its_gradient() -> None:
    class Scaled(PixelTerm):
        name, sums = "scaled", ("cross_entropy",)
        factor: Any = None

        def pixels(self, confusion):
            return self.factor * confusion.cross_entropy, confusion.weight

    factor = torch.nn.Parameter(torch.tensor(2.0))
    x, labels = torch.randn(2, 3, 5), torch.randint(0, 3, (2, 5))
    losses = CompoundLoss(Scaled(factor=factor), "multiclass", reduction="none")(x, labels)
    losses.sum().backward()
    torch.testing.assert_close(factor.grad, F.cross_entropy(x, labels, reduction="sum"))


def test_losses_that_do_not_add_up_over_pixels_have_none() -> None:
    class RootOfSum(PixelTerm):
        name, sums = "root", ("cross_entropy",)

        def pixels(self, confusion):
            return confusion.cross_entropy.sqrt(), confusion.weight

    x, labels = torch.randn(2, 3, 5), torch.randint(0, 3, (2, 5))
    message = r"RootOfSum\(\) has no loss of a single pixel: .*reduction='mean'"
    with pytest.raises(ValueError, match=message):
        CompoundLoss(RootOfSum(), "multiclass", reduction="none")(x, labels)
    for reduction in ("mean", "sum"):
        assert CompoundLoss(RootOfSum(), "multiclass", reduction=reduction)(x, labels).isfinite()


def test_factors_of_samples_scale_their_pixels() -> None:
    x, labels = torch.randn(2, 3, 5), torch.randint(0, 3, (2, 5))
    loss = CompoundLoss(CrossEntropy(), "multiclass", reduction="none")
    shares = torch.tensor([0.2, 3.0])
    torch.testing.assert_close(
        loss(x, labels, shares=shares), shares.unsqueeze(1) * loss(x, labels)
    )
