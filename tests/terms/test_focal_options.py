"""Options of the focal loss, against torchvision, MONAI, kornia and formulas in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segloss import CompoundLoss, FocalLoss, SegLoss, use_backend
from segloss.sums.kernels.registry import backend_names
from segloss.terms import Focal

BACKENDS = [name for name in backend_names() if name not in ("auto", "triton")]
PAIRS = [[0.75, 0.25], [0.5, 1.5], [0.1, 0.9]]


def masks(*shape: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    return x, torch.randint(0, 2, shape).double()


def labels_of(x: Tensor) -> Tensor:
    return torch.randint(0, x.shape[1], (x.shape[0], *x.shape[2:]))


def same(ours: Tensor, theirs: Tensor, x: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)
    slopes = [torch.autograd.grad(each.sum(), x, retain_graph=True)[0] for each in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-13)


def sigmoid_focal(x: Tensor, g: Tensor, alpha: Any = None, gamma: float = 2.0) -> Tensor:
    """The losses of elements, with alpha a pair of background's and foreground's weights."""
    entropy = F.binary_cross_entropy_with_logits(x, g, reduction="none")
    error = x.sigmoid() * (1 - g) + (-x).sigmoid() * g
    background, foreground = (1.0, 1.0) if alpha is None else alpha
    return (foreground * g + background * (1 - g)) * error**gamma * entropy


def of_channels(pairs: list[list[float]]) -> tuple[Tensor, Tensor]:
    background, foreground = torch.tensor(pairs, dtype=torch.float64).T
    return background.view(-1, 1), foreground.view(-1, 1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_each_channel_may_have_its_pair_of_weights(backend: str, reduction: str) -> None:
    x, g = masks(2, 3, 40)
    losses = sigmoid_focal(x, g, of_channels(PAIRS))
    expected = losses if reduction == "none" else getattr(losses, reduction)()
    with use_backend(backend):
        same(FocalLoss("multilabel", alpha=PAIRS, reduction=reduction)(x, g), expected, x)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_interpolated_soft_targets_are_torchvisions(soft: bool, alpha, gamma: float) -> None:
    torchvision = pytest.importorskip("torchvision")
    x, g = masks(2, 3, 40)
    g = torch.rand_like(g) if soft else g
    for reduction in ("none", "mean", "sum"):
        theirs = torchvision.ops.sigmoid_focal_loss(
            x, g, -1 if alpha is None else alpha, gamma, reduction
        )
        options = {"alpha": alpha, "gamma": gamma, "reduction": reduction}
        same(FocalLoss("multilabel", soft_targets="interpolated", **options)(x, g), theirs, x)


def test_the_two_readings_of_soft_targets_differ_and_agree_on_hard_ones() -> None:
    x, g = masks(2, 3, 40)
    soft = torch.rand_like(g)
    for mode, hard, blurred in (
        ("multilabel", g, soft),
        ("multiclass", F.one_hot(g.argmax(1), 3).movedim(-1, 1).double(), soft.softmax(1)),
    ):
        losses = [FocalLoss(mode, soft_targets=each) for each in ("expectation", "interpolated")]
        same(losses[0](x, hard), losses[1](x, hard), x)
        assert abs(losses[0](x, blurred) - losses[1](x, blurred)) > 1e-3
    p, t = x.softmax(1), soft.softmax(1)
    expected = (1 - (p * t).sum(1)) ** 2 * -(t * p.log()).sum(1)
    same(losses[1](x, t), expected.mean(), x)


@pytest.mark.parametrize("target", ["labels", "integers"])
def test_hard_targets_do_not_need_the_interpolation(target: str) -> None:
    """They have the sums of every kernel, to the bit."""
    x = torch.randn(2, 3, 40)
    given = labels_of(x) if target == "labels" else torch.randint(0, 2, x.shape)
    mode = "multiclass" if target == "labels" else "multilabel"
    plain, interpolated = FocalLoss(mode), FocalLoss(mode, soft_targets="interpolated")
    assert torch.equal(plain(x, given), interpolated(x, given))
    torch.compiler.reset()
    compiled = torch.compile(interpolated, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, given), plain(x, given))


@pytest.mark.parametrize("backend", BACKENDS)
def test_pixels_of_other_classes_are_left_out(backend: str) -> None:
    x, _ = masks(2, 4, 50)
    labels = labels_of(x)
    kept = labels > 0
    nll = F.cross_entropy(x, labels, reduction="none")
    losses = (1 - (-nll).exp()) ** 2 * nll
    with use_backend(backend):
        same(FocalLoss("multiclass", classes=[1, 2, 3])(x, labels), losses[kept].mean(), x)
        per_pixel = FocalLoss("multiclass", region_classes=[1, 2, 3], reduction="none")(x, labels)
        same(per_pixel, losses * kept, x)
        alpha = [9.0, 1.0, 2.0, 3.0]
        weighted = torch.tensor(alpha).double()[labels] * losses
        ours = FocalLoss("multiclass", alpha=alpha, classes=[1, 3])(x, labels)
        chosen = (labels == 1) | (labels == 3)
        same(ours, weighted[chosen].mean(), x)


def test_other_channels_are_left_out() -> None:
    x, g = masks(2, 3, 40)
    losses = sigmoid_focal(x, g)
    same(FocalLoss("multilabel", classes=[0, 2])(x, g), losses[:, [0, 2]].mean(), x)
    info = SegLoss(terms=Focal(region_classes=[0, 2]), activation="sigmoid", from_logits=True)(
        {"seg": x}, {"gt_polygons_image": g}
    )[1]
    assert info["focal/1"].isnan()
    torch.testing.assert_close(info["focal/2"], losses[:, 2].mean().detach())


def test_monai_leaves_the_background_out_of_channels_and_before_the_softmax() -> None:
    """So its softmax is over the other channels, and its mean counts the background's pixels."""
    monai = pytest.importorskip("monai.losses")
    x = torch.randn(2, 4, 50, requires_grad=True)
    labels = labels_of(x)
    options = {"include_background": False, "to_onehot_y": True}
    theirs = monai.FocalLoss(**options)(x, labels.unsqueeze(1))
    dense = F.one_hot(labels, 4).movedim(-1, 1)
    ours = FocalLoss("multilabel", classes=[1, 2, 3])(x, dense)
    torch.testing.assert_close(ours, theirs)
    theirs = monai.FocalLoss(use_softmax=True, **options)(x, labels.unsqueeze(1))
    without = FocalLoss("multiclass", pred_channel_selector="1:", ignore_index=-1, reduction="sum")
    torch.testing.assert_close(without(x, labels - 1) / (2 * 3 * 50), theirs)


@pytest.mark.parametrize("share", [0.1, 0.0])
def test_positives_normalise_as_in_detectors(share: float) -> None:
    x, _ = masks(2, 3, 40)
    g = (torch.rand(2, 3, 40) < share).double()
    losses = sigmoid_focal(x, g, (0.75, 0.25))
    loss = FocalLoss("multilabel", alpha=0.25, normalize="positives")
    same(loss(x, g), losses.sum() / max(1, g.sum()), x)
    labels = (torch.rand(2, 40) < share).long() * torch.randint(1, 3, (2, 40))
    nll = F.cross_entropy(x, labels, reduction="none")
    expected = ((1 - (-nll).exp()) ** 2 * nll).sum() / max(1, (labels > 0).sum())
    same(FocalLoss("multiclass", normalize="positives")(x, labels), expected, x)


def test_positives_with_shares_of_samples_and_of_ranks_are_sums_of_sums() -> None:
    x, g = masks(2, 3, 40)
    loss = FocalLoss("multilabel", normalize="positives")
    shares = torch.tensor([0.25, 1.5], dtype=torch.float64)
    expected = (sigmoid_focal(x, g) * shares.view(-1, 1, 1)).sum() / g.sum()
    same(loss(x, g, shares=shares), expected, x)


def test_kornias_weights_of_channels_are_pairs() -> None:
    kornia = pytest.importorskip("kornia.losses")
    x, g = masks(2, 3, 5, 8)
    alpha, positive = 0.25, torch.tensor([0.5, 1.0, 2.0]).double()
    theirs = kornia.binary_focal_loss_with_logits(
        x, g, alpha=alpha, gamma=2.0, reduction="none", pos_weight=positive
    )
    pairs = [[1 - alpha, alpha * float(each)] for each in positive]
    same(FocalLoss("multilabel", alpha=pairs, reduction="none")(x, g), theirs, x)


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": PAIRS},
        {"region_classes": [1, 2], "normalize": "positives"},
        {"soft_targets": "interpolated", "alpha": PAIRS, "gamma": 1.5},
    ],
)
def test_gradients_pass_gradcheck_twice_and_copies_are_equal(options: dict[str, Any]) -> None:
    x, g = masks(1, 3, 6)
    g = torch.rand_like(g)
    loss = FocalLoss("multilabel", **options)
    assert torch.autograd.gradcheck(lambda x: loss(x, g), x)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, g), x)
    assert copy.deepcopy(loss).mixture == loss.mixture == CompoundLoss(Focal(**options)).mixture
    assert not loss(x, torch.full_like(g, 0.5), pixel_weights=torch.zeros(1, 1, 6)).any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Focal(normalize="positive"),
            "normalize must be one of .*did you mean 'positives'",
        ),
        (lambda: Focal(soft_targets="mean"), "soft_targets must be one of 'expectation'"),
        (
            lambda: Focal(alpha=[[0.5, 0.5], 0.3]),
            r"alpha must have a pair \[background, foreground\]",
        ),
        (lambda: Focal(region_classes=[]), "region_classes must name at least one class"),
        (
            lambda: FocalLoss("multilabel", alpha=[0.2, 0.3, 0.4])(*masks(1, 3, 4)),
            r"pass a pair for each, such as \[\[0.8, 0.2\], \[0.7, 0.3\], \[0.6, 0.4\]\]",
        ),
        (
            lambda: FocalLoss("multilabel", alpha=PAIRS)(*masks(1, 2, 4)),
            "needs sigmoid and 2 pairs, got 3 pairs",
        ),
        (lambda: FocalLoss("multilabel", classes=[5])(*masks(1, 3, 4)), "5"),
    ],
)
def test_wrong_options_are_refused(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
