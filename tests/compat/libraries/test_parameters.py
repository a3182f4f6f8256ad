"""Differences in meaning that docs/migrating_from_libraries.md states, by their values.

Where values are the same is in `test_same_values.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import segloss
from segloss import SegLoss
from tests.compat.libraries.pairs import as_masks
from tests.support.versions import needs_monai_1_6

CLASSES = 4
IGNORED = 255


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, CLASSES, 6, 5, dtype=torch.float64)


@pytest.fixture
def labels() -> Tensor:
    """Labels of which each sample has all classes."""
    labels = torch.randint(0, CLASSES, (3, 6, 5))
    labels[:, 0, :CLASSES] = torch.arange(CLASSES)
    return labels


@pytest.fixture
def masks() -> Tensor:
    return torch.randint(0, 2, (3, CLASSES, 6, 5))


def same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.item() == pytest.approx(float(theirs), rel=1e-5)


def differs(ours: Tensor, theirs: Tensor) -> None:
    assert abs(ours.item() / float(theirs) - 1) > 1e-2


class TestSmp:
    @pytest.fixture
    def smp(self):
        return pytest.importorskip("segmentation_models_pytorch").losses

    def test_dice_pools_the_batch(self, smp, logits, labels) -> None:
        per_sample = segloss.DiceLoss("multiclass", smooth=0.0)(logits, labels)
        assert abs(per_sample - smp.DiceLoss("multiclass")(logits, labels)) > 1e-4

    def test_eps_is_a_floor_that_nothing_to_find_gives_0_under(self, smp) -> None:
        empty, nothing = torch.zeros(1, 1, 4), torch.full((1, 1, 4), -200.0)
        assert smp.DiceLoss("binary")(nothing, empty) == 0
        assert segloss.DiceLoss(smooth=0.0)(nothing, empty) == 0

    def test_soft_labels_are_metric(self, smp, logits) -> None:
        soft = torch.rand(3, CLASSES, 6, 5, dtype=torch.float64)
        options = {"smooth": 0.0, "region_reduction": "batch"}
        theirs = smp.DiceLoss("multilabel")(logits, soft)
        same(segloss.DiceLoss("multilabel", soft_labels="metric", **options)(logits, soft), theirs)
        differs(segloss.DiceLoss("multilabel", **options)(logits, soft), theirs)

    def test_tversky_gamma_is_a_power_of_the_mean(self, smp, logits, labels) -> None:
        theirs = smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7, gamma=2.0)(logits, labels)
        ours = segloss.FocalTverskyLoss("multiclass", gamma=2.0, region_reduction="batch")
        assert ours(logits, labels) > theirs  # the mean of squares is above the square of the mean

    def test_focal_of_classes_is_one_against_the_rest(self, smp, logits, labels) -> None:
        theirs = smp.FocalLoss("multiclass", gamma=2.0)(logits, labels)
        differs(segloss.FocalLoss("multiclass", gamma=2.0)(logits, labels), theirs)
        loss = segloss.FocalLoss("multilabel", gamma=2.0)
        same(loss(logits, labels), theirs)
        same(loss(logits, as_masks(labels, CLASSES)), theirs)

    def test_focal_of_several_masks_cannot_ignore(self, smp, logits, masks) -> None:
        with pytest.raises(IndexError):
            smp.FocalLoss("multilabel", ignore_index=IGNORED)(logits, masks)
        ignored = masks.clone()
        ignored[:, :, 2:4] = IGNORED
        ours = segloss.FocalLoss("multilabel", ignore_index=IGNORED)(logits, ignored)
        kept = [0, 1, 4, 5]
        same(ours, smp.FocalLoss("multilabel")(logits[:, :, kept], masks[:, :, kept]))

    def test_lovasz_of_several_masks_pools_them(self, smp, logits, masks) -> None:
        masks = masks.clone()
        masks[:, 0] = 0
        theirs = smp.LovaszLoss("multilabel")(logits.float(), masks)
        differs(segloss.LovaszLoss("multilabel")(logits, masks), theirs)
        flat = (each.flatten(1).unsqueeze(1) for each in (logits, masks))
        same(segloss.LovaszLoss("binary")(*flat), theirs)

    def test_lovasz_of_an_ignored_image_counts_as_0(self, smp, logits, masks) -> None:
        one, ignored = logits[:, :1], masks[:, :1].clone()
        ignored[0] = IGNORED
        options = {"per_image": True, "ignore_index": IGNORED}
        theirs = smp.LovaszLoss("binary", **options)(one.float(), ignored)
        ours = segloss.LovaszLoss("binary", **options)(one, ignored)
        same(ours * 2 / 3, theirs)


class TestMonai:
    @pytest.fixture
    def monai(self):
        return pytest.importorskip("monai.losses")

    def test_smooth_nr_0_makes_an_absent_class_cost_1(self, monai) -> None:
        nothing, empty = torch.full((1, 1, 4), -200.0), torch.zeros(1, 1, 4)
        theirs = monai.DiceLoss(sigmoid=True, smooth_nr=0.0)
        assert theirs(nothing, empty) == 1
        assert segloss.DiceLoss(smooth=0.0)(nothing, empty) == 0

    def test_no_reduction_gives_cells(self, monai, logits, labels) -> None:
        ours = segloss.DiceLoss("multiclass", smooth=1e-5, reduction="none")(logits, labels)
        theirs = monai.DiceLoss(softmax=True, to_onehot_y=True, reduction="none")
        torch.testing.assert_close(ours, theirs(logits, labels[:, None]).flatten(1))

    @needs_monai_1_6
    def test_ignore_index_of_several_masks_means_something_else(self, monai, logits, masks) -> None:
        theirs = monai.DiceLoss(sigmoid=True, ignore_index=IGNORED)(logits, masks)
        ours = segloss.DiceLoss("multilabel", smooth=1e-5, ignore_index=IGNORED)
        differs(ours(logits, masks), theirs)  # though no pixel has this value
        without = masks.where(masks.any(1, keepdim=True), IGNORED)
        same(ours(logits, without), theirs)

    def test_dice_ce_of_several_masks_has_a_softmax_in_it(self, monai, logits, masks) -> None:
        theirs = monai.DiceCELoss(sigmoid=True, lambda_dice=0.0)(logits, masks)
        same(nn.CrossEntropyLoss()(logits, masks.double()), theirs)
        ours = SegLoss(from_logits=True, bce_coef=1.0, dice_coef=0.0)
        differs(ours.as_criterion()(logits, masks), theirs)


def value_and_slope(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    (slope,) = torch.autograd.grad(loss, logits)
    return loss.detach(), slope


def lovasz_of(errors: Tensor, mask: Tensor) -> Tensor:
    """The sum of sorted errors times the steps of the Jaccard loss, as mmsegmentation has it."""
    errors, order = errors.sort(descending=True)
    hits = mask[order].to(errors)
    jaccard = 1 - (hits.sum() - hits.cumsum(0)) / (hits.sum() + (1 - hits).cumsum(0))
    return errors @ torch.diff(jaccard, prepend=jaccard.new_zeros(1))


class TestMmsegmentation:
    def test_lovasz_of_classes_is_of_those_that_are_there(
        self, logits: Tensor, labels: Tensor
    ) -> None:
        lovasz = segloss.LovaszLoss("multiclass", ignore_index=IGNORED)
        labels[:, 1] = IGNORED
        labels[labels == 2] = 1
        kept = labels != IGNORED
        p = logits.requires_grad_().softmax(1).movedim(1, -1)[kept]
        classes = [c for c in range(CLASSES) if (labels == c).any()]
        losses = [
            lovasz_of(((labels[kept] == c).double() - p[:, c]).abs(), labels[kept] == c)
            for c in classes
        ]
        ours = value_and_slope(lovasz(logits, labels), logits)
        theirs = value_and_slope(torch.stack(losses).mean(), logits)
        torch.testing.assert_close(ours, theirs)

    def test_lovasz_of_a_mask_is_the_hinge(self, logits: Tensor, labels: Tensor) -> None:
        lovasz = segloss.LovaszLoss("binary")
        scores, mask = logits[:, :1].detach().requires_grad_(), (labels == 1).long()
        errors = (1 - scores.flatten() * (2 * mask.flatten() - 1)).relu()
        ours = value_and_slope(lovasz(scores, mask), scores)
        torch.testing.assert_close(ours, value_and_slope(lovasz_of(errors, mask.flatten()), scores))

    @pytest.mark.parametrize("min_kept", [5, 60])
    def test_ohem_keeps_improbable_pixels_and_at_least_some(
        self, logits: Tensor, labels: Tensor, min_kept: int
    ) -> None:
        ours = segloss.OhemCrossEntropyLoss(threshold=0.2, min_kept=min_kept, ignore_index=IGNORED)
        labels[0, 2] = IGNORED
        losses = torch.nn.functional.cross_entropy(
            logits.requires_grad_(), labels, ignore_index=IGNORED, reduction="none"
        )[labels != IGNORED]
        p = (-losses).exp().detach()
        kept = p < max(float(p.sort().values[min_kept]), 0.2)
        assert (int(kept.sum()) == min_kept) is (min_kept == 60)
        theirs = value_and_slope(losses[kept].mean(), logits)
        torch.testing.assert_close(value_and_slope(ours(logits, labels), logits), theirs)
