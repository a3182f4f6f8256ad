"""The losses as functions, beside the textbook, PyTorch, segmentation-models-pytorch and MONAI."""

from __future__ import annotations

import monai.losses
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor

from segloss import functional as S
from tests.support import naive

EXACT = {"rtol": 1e-9, "atol": 1e-12}
REGION = [S.dice_loss, S.jaccard_loss, S.tversky_loss, S.focal_tversky_loss]


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).double()


def assert_agrees(ours, theirs, logits: Tensor) -> None:
    """Value and gradient agree to 1e-9."""
    mine, yours = (logits.clone().requires_grad_() for _ in range(2))
    value, expected = ours(mine), theirs(yours)
    torch.testing.assert_close(value, expected, **EXACT)
    value.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, yours.grad, **EXACT)


def test_binary_cross_entropy_is_pytorchs(binary) -> None:
    logits, target = binary
    assert_agrees(
        lambda x: S.binary_cross_entropy(x, target, pos_weight=3.0),
        lambda x: F.binary_cross_entropy_with_logits(x, target, pos_weight=torch.tensor(3.0)),
        logits,
    )
    assert_agrees(
        lambda p: S.binary_cross_entropy(p, target, from_logits=False),
        lambda p: F.binary_cross_entropy(p, target),
        logits.sigmoid(),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs(smoothing: float, multiclass) -> None:
    logits, labels = multiclass
    labels = labels.masked_fill(torch.rand(labels.shape) < 0.2, 255)
    weight = torch.tensor([1.0, 0.5, 3.0, 0.1], dtype=torch.float64)
    assert_agrees(
        lambda x: S.cross_entropy(
            x, labels, class_weights=weight, ignore_index=255, label_smoothing=smoothing
        ),
        lambda x: F.cross_entropy(x, labels, weight, ignore_index=255, label_smoothing=smoothing),
        logits,
    )


def test_cross_entropy_takes_soft_targets_as_pytorch_does(multiclass) -> None:
    logits, _ = multiclass
    target = torch.rand_like(logits).softmax(1)
    weight = torch.tensor([1.0, 0.5, 3.0, 0.1], dtype=torch.float64)
    assert_agrees(
        lambda x: S.cross_entropy(x, target, class_weights=weight),
        lambda x: F.cross_entropy(x, target, weight),
        logits,
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            # From version 0.4 on, its smoothing counts twice; 0 means the same everywhere.
            lambda x, y, **k: S.dice_loss(x, y, smooth=0.0, **k),
            lambda mode: smp.losses.DiceLoss(mode, smooth=0.0),
        ),
        (
            lambda x, y, **k: S.jaccard_loss(x, y, smooth=0.7, **k),
            lambda mode: smp.losses.JaccardLoss(mode, smooth=0.7),
        ),
        (
            lambda x, y, **k: S.tversky_loss(x, y, alpha=0.3, beta=0.7, **k),
            lambda mode: smp.losses.TverskyLoss(mode, alpha=0.3, beta=0.7),
        ),
    ],
)
@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
def test_region_losses_are_those_of_segmentation_models_pytorch(
    ours, theirs, mode: str, binary, multiclass
) -> None:
    """Its sums are those of the whole batch."""
    logits, target = binary if mode == "multilabel" else multiclass
    n_classes = 2 if mode == "multilabel" else 4
    assert_agrees(
        lambda x: ours(x, target, n_classes=n_classes, region_reduction="batch"),
        lambda x: theirs(mode)(x, target),
        logits,
    )


def test_focal_tversky_is_that_of_segmentation_models_pytorch(binary) -> None:
    """Its gamma is applied to the mean over classes, so one channel is compared."""
    logits, target = binary[0][:, :1], binary[1][:, :1]
    theirs = smp.losses.TverskyLoss("binary", alpha=0.3, beta=0.7, gamma=0.75)
    assert_agrees(
        lambda x: S.focal_tversky_loss(x, target, region_reduction="batch"),
        lambda x: theirs(x, target),
        logits,
    )


@pytest.mark.parametrize("classes", [None, [1, 2, 3]])
def test_dice_is_monais(classes: list[int] | None, multiclass) -> None:
    logits, labels = multiclass
    theirs = monai.losses.DiceLoss(
        include_background=classes is None, softmax=True, smooth_nr=1.0, smooth_dr=1.0
    )
    assert_agrees(
        lambda x: S.dice_loss(x, labels, n_classes=4, region_classes=classes),
        lambda x: theirs(x, one_hot(labels, 4)),
        logits,
    )


def test_dice_and_tversky_are_monais_for_sigmoid_channels(binary) -> None:
    logits, target = binary
    dice = monai.losses.DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0)
    tversky = monai.losses.TverskyLoss(
        sigmoid=True, alpha=0.3, beta=0.7, smooth_nr=0.0, smooth_dr=0.0
    )
    assert_agrees(lambda x: S.dice_loss(x, target), lambda x: dice(x, target), logits)
    assert_agrees(lambda x: S.tversky_loss(x, target), lambda x: tversky(x, target), logits)


@pytest.mark.parametrize(
    ("ours", "textbook"),
    list(zip(REGION, [naive.dice, naive.jaccard, naive.tversky, naive.focal_tversky], strict=True)),
)
@pytest.mark.parametrize("soft", [False, True])
def test_region_losses_are_the_textbooks(ours, textbook, soft: bool, binary) -> None:
    logits, target = binary
    target = target * 0.7 + 0.2 if soft else target
    weights = torch.rand(3, 1, 7, 6, dtype=torch.float64)
    table = naive.cells(logits.sigmoid(), target, weights)
    value = ours(logits, target, pixel_weights=weights)
    assert value.item() == pytest.approx(naive.region_mean(table, textbook), rel=1e-12)
    cells = ours(logits, target, pixel_weights=weights, reduction="none")
    expected = [[textbook(cell) for cell in row] for row in table]
    torch.testing.assert_close(cells, torch.tensor(expected, dtype=torch.float64), **EXACT)


def test_without_reduction_a_compound_loss_has_the_cells_of_its_region_terms(
    binary, multiclass
) -> None:
    """In them, a mean over pixels is that of the sample (and channel, for sigmoid)."""
    logits, target = binary
    element = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    compound = S.seg_loss(logits, target, reduction="none")
    dice = S.dice_loss(logits, target, reduction="none")
    torch.testing.assert_close(compound, 0.5 * element.mean((2, 3)) + 0.5 * dice, **EXACT)
    logits, labels = multiclass
    element = F.cross_entropy(logits, labels, reduction="none").mean((1, 2)).unsqueeze(1)
    compound = S.seg_loss(logits, labels, n_classes=4, reduction="none")
    dice = S.dice_loss(logits, labels, n_classes=4, reduction="none")
    torch.testing.assert_close(compound, 0.5 * element + 0.5 * dice, **EXACT)


@pytest.mark.parametrize(
    "options",
    [
        {"region_reduction": "batch"},
        {"region_reduction": "micro"},
        {"region_class_weights": [1.0, 2.0]},
        {"region_classes": [0]},
    ],
)
def test_cells_of_different_classes_are_not_added_up(options, binary) -> None:
    with pytest.raises(ValueError, match=r"reduction='none' .* leave region_"):
        S.seg_loss(*binary, reduction="none", **options)


def test_cells_left_out_are_zero_without_reduction() -> None:
    labels = torch.tensor([[0, 0, 1, 1], [255, 255, 255, 255]])
    cells = S.dice_loss(
        torch.randn(2, 3, 4),
        labels,
        n_classes=3,
        ignore_index=255,
        skip_absent_classes=True,
        reduction="none",
    )
    assert (cells == 0).tolist() == [[False, False, True], [True, True, True]]


def test_seg_loss_is_the_sum_of_its_terms(binary) -> None:
    logits, target = binary
    value = S.seg_loss(
        logits,
        target,
        bce_coef=0.2,
        dice_coef=0.3,
        tversky_focal_coef=0.4,
        extra_terms={"jaccard": 0.1},
        label_smoothing=0.1,
    )
    table = naive.cells(logits.sigmoid(), target)
    expected = (
        0.2 * naive.binary_cross_entropy(logits.sigmoid(), target, smoothing=0.1)
        + 0.3 * naive.region_mean(table, naive.dice)
        + 0.4 * naive.region_mean(table, naive.focal_tversky)
        + 0.1 * naive.region_mean(table, naive.jaccard)
    )
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", REGION)
def test_values_have_the_predictions_precision(loss) -> None:
    logits, target = torch.randn(2, 1, 8), torch.randint(0, 2, (2, 1, 8))
    assert loss(logits, target).dtype == torch.float32
    assert loss(logits.bfloat16(), target).dtype == torch.float32
    assert loss(logits.double(), target).dtype == torch.float64


def test_wrong_reductions_and_options_are_refused() -> None:
    logits, target = torch.randn(2, 1, 8), torch.randint(0, 2, (2, 1, 8))
    with pytest.raises(
        ValueError, match="reduction must be one of 'mean', 'sum', 'none', got 'max'"
    ):
        S.dice_loss(logits, target, reduction="max")
    with pytest.raises(TypeError, match="region_clases"):
        S.dice_loss(logits, target, region_clases=[1])
    with pytest.raises(ValueError, match="One of bce_coef, dice_coef"):
        S.seg_loss(logits, target, bce_coef=0, dice_coef=0)


def test_a_weight_tensor_that_changes_in_place_is_seen() -> None:
    logits, labels = torch.randn(2, 3, 5), torch.randint(0, 3, (2, 5))
    weights = torch.tensor([1.0, 2.0, 3.0])
    before = S.dice_loss(logits, labels, n_classes=3, region_class_weights=weights)
    weights[0] = 9.0
    after = S.dice_loss(logits, labels, n_classes=3, region_class_weights=weights)
    expected = S.dice_loss(logits, labels, n_classes=3, region_class_weights=[9.0, 2.0, 3.0])
    assert after == expected != before
