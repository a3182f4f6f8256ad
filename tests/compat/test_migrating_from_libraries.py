"""What docs/migrating_from_libraries.md says of other libraries' parameters, by their values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

import segloss
from segloss import LossWrapper, MultiLoss, SegLoss
from tests.support.versions import needs_monai_1_6

CLASSES = 4
WEIGHTS = [0.5, 1.0, 2.0, 3.0]
IGNORED = 255


def labels_with_all_classes(samples: int = 3) -> Tensor:
    labels = torch.randint(0, CLASSES, (samples, 6, 5))
    labels[:, 0, :CLASSES] = torch.arange(CLASSES)
    return labels


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, CLASSES, 6, 5, dtype=torch.float64)


@pytest.fixture
def labels() -> Tensor:
    return labels_with_all_classes()


@pytest.fixture
def masks() -> Tensor:
    return torch.randint(0, 2, (3, CLASSES, 6, 5))


def with_ignored(labels: Tensor) -> Tensor:
    ignored = labels.clone()
    ignored[:, 2:4] = IGNORED
    return ignored


def same(ours: Tensor, theirs: Tensor, rel: float = 1e-5) -> None:
    assert ours.item() == pytest.approx(float(theirs), rel=rel)


def differs(ours: Tensor, theirs: Tensor) -> None:
    assert abs(ours.item() / float(theirs) - 1) > 1e-4


class TestSmp:
    @pytest.fixture
    def smp(self):
        return pytest.importorskip("segmentation_models_pytorch").losses

    def test_dice_by_default(self, smp, logits, labels, masks) -> None:
        options = {"smooth": 0.0, "region_reduction": "batch"}
        ours = segloss.DiceLoss("multiclass", **options)(logits, labels)
        same(ours, smp.DiceLoss("multiclass")(logits, labels))
        ours = segloss.DiceLoss("multilabel", **options)(logits, masks)
        same(ours, smp.DiceLoss("multilabel")(logits, masks))
        ours = segloss.DiceLoss("binary", **options)(logits[:, :1], masks[:, :1])
        same(ours, smp.DiceLoss("binary")(logits[:, :1], masks[:, :1]))

    def test_dice_pools_the_batch(self, smp, logits, labels) -> None:
        cells = segloss.DiceLoss("multiclass", smooth=0.0)(logits, labels)
        differs(cells, smp.DiceLoss("multiclass")(logits, labels))

    def test_smooth_is_half_of_ours_in_dice_alone(self, smp, logits, labels) -> None:
        batch = {"region_reduction": "batch"}
        ours = segloss.DiceLoss("multiclass", smooth=2.0, **batch)(logits, labels)
        same(ours, smp.DiceLoss("multiclass", smooth=1.0)(logits, labels))
        ours = segloss.JaccardLoss("multiclass", smooth=1.0, **batch)(logits, labels)
        same(ours, smp.JaccardLoss("multiclass", smooth=1.0)(logits, labels))
        ours = segloss.TverskyLoss("multiclass", smooth=1.0, **batch)(logits, labels)
        same(ours, smp.TverskyLoss("multiclass", smooth=1.0, alpha=0.3, beta=0.7)(logits, labels))

    def test_eps_is_a_floor_that_nothing_to_find_gives_0_under(self, smp) -> None:
        empty, nothing = torch.zeros(1, 1, 4), torch.full((1, 1, 4), -200.0)
        assert smp.DiceLoss("binary")(nothing, empty) == 0
        assert segloss.DiceLoss(smooth=0.0)(nothing, empty) == 0

    def test_log_loss(self, smp, logits, labels) -> None:
        ours = segloss.LogDiceLoss("multiclass", smooth=2.0, region_reduction="batch")
        theirs = smp.DiceLoss("multiclass", log_loss=True, smooth=1.0)
        same(ours(logits, labels), theirs(logits, labels))

    def test_classes_and_class_weights(self, smp, logits, labels) -> None:
        options = {"smooth": 0.0, "region_reduction": "batch"}
        ours = segloss.DiceLoss("multiclass", classes=[1, 3], **options)
        same(ours(logits, labels), smp.DiceLoss("multiclass", classes=[1, 3])(logits, labels))
        ours = segloss.DiceLoss("multiclass", region_class_weights=WEIGHTS, **options)
        theirs = smp.DiceLoss("multiclass", class_weights=WEIGHTS)
        same(ours(logits, labels), theirs(logits, labels))

    def test_an_absent_class_counts_as_0(self, smp, logits, labels) -> None:
        labels = labels.clamp_max(2)  # the last class is absent
        options = {"smooth": 0.0, "region_reduction": "batch"}
        theirs = smp.DiceLoss("multiclass")(logits, labels)
        present = segloss.DiceLoss("multiclass", skip_absent_classes=True, **options)
        same(present(logits, labels) * 3 / 4, theirs)
        differs(segloss.DiceLoss("multiclass", **options)(logits, labels), theirs)

    def test_ignore_index_of_the_region_losses(self, smp, logits, labels) -> None:
        ignored = with_ignored(labels)
        options = {"smooth": 0.0, "region_reduction": "batch", "ignore_index": IGNORED}
        ours = segloss.DiceLoss("multiclass", **options)(logits, ignored)
        same(ours, smp.DiceLoss("multiclass", ignore_index=IGNORED)(logits, ignored))

    def test_soft_labels_are_metric(self, smp, logits) -> None:
        soft = torch.rand(3, CLASSES, 6, 5, dtype=torch.float64)
        options = {"smooth": 0.0, "region_reduction": "batch"}
        ours = segloss.DiceLoss("multilabel", soft_labels="metric", **options)(logits, soft)
        theirs = smp.DiceLoss("multilabel")(logits, soft)
        same(ours, theirs)
        differs(segloss.DiceLoss("multilabel", **options)(logits, soft), theirs)

    def test_tversky_alpha_is_of_false_positives(self, smp, logits, labels) -> None:
        theirs = smp.TverskyLoss("multiclass", alpha=0.2, beta=0.8)(logits, labels)
        batch = {"region_reduction": "batch"}
        same(
            segloss.TverskyLoss("multiclass", alpha=0.2, beta=0.8, **batch)(logits, labels), theirs
        )
        swapped = segloss.TverskyLoss("multiclass", alpha=0.8, beta=0.2, **batch)(logits, labels)
        differs(swapped, theirs)

    def test_tversky_gamma_is_a_power_of_the_mean(self, smp, logits, labels) -> None:
        theirs = smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7, gamma=2.0)(logits, labels)
        mean = segloss.TverskyLoss("multiclass", region_reduction="batch")(logits, labels)
        same(mean**2, theirs)
        ours = segloss.FocalTverskyLoss("multiclass", gamma=2.0, region_reduction="batch")
        assert ours(logits, labels) > theirs  # the mean of squares is above the square of the mean

    def test_focal_of_masks(self, smp, logits, masks) -> None:
        ours = segloss.FocalLoss("multilabel", gamma=1.5, alpha=0.25)(logits, masks)
        same(ours, smp.FocalLoss("multilabel", gamma=1.5, alpha=0.25)(logits, masks))

    def test_focal_of_classes_is_one_against_the_rest(self, smp, logits, labels) -> None:
        theirs = smp.FocalLoss("multiclass", gamma=2.0)(logits, labels)
        each = one_hot(labels, CLASSES).movedim(-1, 1)
        same(segloss.FocalLoss("multilabel", gamma=2.0)(logits, each), theirs)
        differs(segloss.FocalLoss("multiclass", gamma=2.0)(logits, labels), theirs)

    def test_focal_sum_is_the_mean_times_the_count(self, smp, logits, masks) -> None:
        one, mask = logits[:, :1], masks[:, :1]
        theirs = smp.FocalLoss("binary", reduction="sum")(one, mask)
        same(segloss.FocalLoss()(one, mask) * mask.numel(), theirs)

    def test_soft_cross_entropy(self, smp, logits, labels) -> None:
        ours = segloss.functional.cross_entropy(logits, labels, label_smoothing=0.1)
        same(ours, smp.SoftCrossEntropyLoss(smooth_factor=0.1)(logits, labels))

    def test_soft_cross_entropy_divides_by_ignored_pixels_too(self, smp, logits, labels) -> None:
        ignored = with_ignored(labels)
        theirs = smp.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=IGNORED)
        ours = segloss.functional.cross_entropy(logits, ignored, ignore_index=IGNORED)
        same(ours * (ignored != IGNORED).double().mean(), theirs(logits, ignored))

    def test_binary_smooth_factor_is_half_of_ours(self, smp, logits, masks) -> None:
        masks = masks.double()
        theirs = smp.SoftBCEWithLogitsLoss(smooth_factor=0.1)(logits, masks)
        ours = segloss.functional.binary_cross_entropy(logits, masks, label_smoothing=0.2)
        same(ours, theirs)

    def test_pos_weight(self, smp, logits, masks) -> None:
        one, mask = logits[:, :1], masks[:, :1].double()
        theirs = smp.SoftBCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))(one, mask)
        same(segloss.functional.binary_cross_entropy(one, mask, pos_weight=3.0), theirs)

    def test_a_compound_of_their_losses_in_one_pass(self, smp, logits, labels) -> None:
        cross_entropy, dice = nn.CrossEntropyLoss(), smp.DiceLoss("multiclass")
        theirs = 0.3 * cross_entropy(logits, labels) + 0.7 * dice(logits, labels)
        ours = SegLoss(
            n_classes=CLASSES, bce_coef=0.3, dice_coef=0.7, smooth=0.0, region_reduction="batch"
        )
        same(ours.as_criterion()(logits, labels), theirs)

    def test_their_own_loss_in_a_wrapper(self, smp, logits, labels) -> None:
        multi = MultiLoss([LossWrapper(smp.LovaszLoss("multiclass"), "lovasz")], [2.0])
        x = logits.float()
        total, _, _ = multi(x, labels)
        same(total, 2 * smp.LovaszLoss("multiclass")(x, labels))


class TestMonai:
    @pytest.fixture
    def monai(self):
        return pytest.importorskip("monai.losses")

    def test_dice_by_default(self, monai, logits, labels, masks) -> None:
        ours = segloss.DiceLoss("multiclass", smooth=1e-5)(logits, labels)
        theirs = monai.DiceLoss(softmax=True, to_onehot_y=True)
        same(ours, theirs(logits, labels[:, None]))
        ours = segloss.DiceLoss("multilabel", smooth=1e-5)(logits, masks)
        same(ours, monai.DiceLoss(sigmoid=True)(logits, masks))

    def test_without_activation_it_takes_probabilities(self, monai, logits, masks) -> None:
        p = logits.sigmoid()
        ours = segloss.DiceLoss("multilabel", smooth=1e-5, from_logits=False)
        same(ours(p, masks), monai.DiceLoss()(p, masks))

    def test_include_background_and_batch(self, monai, logits, labels) -> None:
        theirs = monai.DiceLoss(
            softmax=True, to_onehot_y=True, include_background=False, batch=True
        )
        ours = segloss.DiceLoss(
            "multiclass", smooth=1e-5, classes=[1, 2, 3], region_reduction="batch"
        )
        same(ours(logits, labels), theirs(logits, labels[:, None]))

    def test_smooth_nr_and_smooth_dr_where_they_are_equal(self, monai, logits, labels) -> None:
        smooth = {"smooth_nr": 1.0, "smooth_dr": 1.0, "softmax": True, "to_onehot_y": True}
        target = labels[:, None]
        ours = segloss.DiceLoss("multiclass", smooth=1.0)(logits, labels)
        same(ours, monai.DiceLoss(**smooth)(logits, target))
        ours = segloss.JaccardLoss("multiclass", smooth=0.5)(logits, labels)
        same(ours, monai.DiceLoss(jaccard=True, **smooth)(logits, target))
        ours = segloss.SquaredDiceLoss("multiclass", smooth=1.0)(logits, labels)
        same(ours, monai.DiceLoss(squared_pred=True, **smooth)(logits, target))

    def test_smooth_nr_0_makes_an_absent_class_cost_1(self, monai) -> None:
        nothing, empty = torch.full((1, 1, 4), -200.0), torch.zeros(1, 1, 4)
        theirs = monai.DiceLoss(sigmoid=True, smooth_nr=0.0)
        assert theirs(nothing, empty) == 1
        assert segloss.DiceLoss(smooth=0.0)(nothing, empty) == 0

    def test_weight_is_not_divided_by_its_sum(self, monai, logits, labels) -> None:
        theirs = monai.DiceLoss(softmax=True, to_onehot_y=True, weight=WEIGHTS)
        ours = segloss.DiceLoss("multiclass", smooth=1e-5, region_class_weights=WEIGHTS)
        mean_weight = sum(WEIGHTS) / CLASSES
        same(ours(logits, labels) * mean_weight, theirs(logits, labels[:, None]))

    def test_soft_label(self, monai, logits) -> None:
        soft = torch.rand(3, CLASSES, 6, 5, dtype=torch.float64)
        for soft_label, ours in ((True, "metric"), (False, "product")):
            theirs = monai.DiceLoss(sigmoid=True, soft_label=soft_label)(logits, soft)
            loss = segloss.DiceLoss("multilabel", smooth=1e-5, soft_labels=ours)
            same(loss(logits, soft), theirs)

    def test_reductions(self, monai, logits, labels) -> None:
        options = {"softmax": True, "to_onehot_y": True}
        target = labels[:, None]
        cells = segloss.DiceLoss("multiclass", smooth=1e-5, reduction="none")(logits, labels)
        theirs = monai.DiceLoss(reduction="none", **options)(logits, target)
        torch.testing.assert_close(cells, theirs.flatten(1))
        same(cells.sum(), monai.DiceLoss(reduction="sum", **options)(logits, target))

    @needs_monai_1_6
    def test_ignore_index(self, monai, logits, labels) -> None:
        ignored = with_ignored(labels)
        theirs = monai.DiceLoss(softmax=True, to_onehot_y=True, ignore_index=IGNORED)
        ours = segloss.DiceLoss("multiclass", smooth=1e-5, ignore_index=IGNORED)
        same(ours(logits, ignored), theirs(logits, ignored[:, None]))

    def test_tversky_alpha_is_of_false_positives(self, monai, logits, labels) -> None:
        theirs = monai.TverskyLoss(softmax=True, to_onehot_y=True, alpha=0.2, beta=0.8)
        ours = segloss.TverskyLoss("multiclass", alpha=0.2, beta=0.8, smooth=1e-5)
        same(ours(logits, labels), theirs(logits, labels[:, None]))

    def test_focal_of_masks(self, monai, logits, masks) -> None:
        ours = segloss.FocalLoss("multilabel", gamma=1.5, alpha=0.25)(logits, masks)
        same(ours, monai.FocalLoss(gamma=1.5, alpha=0.25)(logits, masks))

    def test_focal_of_classes_divides_by_the_classes(self, monai, logits, labels) -> None:
        theirs = monai.FocalLoss(use_softmax=True, to_onehot_y=True)(logits, labels[:, None])
        same(segloss.FocalLoss("multiclass")(logits, labels) / CLASSES, theirs)

    def test_focal_alpha_of_classes(self, monai, logits, labels) -> None:
        theirs = monai.FocalLoss(use_softmax=True, to_onehot_y=True, alpha=0.25)
        alpha = [0.75, 0.25, 0.25, 0.25]
        ours = segloss.FocalLoss("multiclass", alpha=alpha)
        same(ours(logits, labels) / CLASSES, theirs(logits, labels[:, None]))

    def test_dice_ce(self, monai, logits, labels) -> None:
        theirs = monai.DiceCELoss(
            softmax=True, to_onehot_y=True, lambda_dice=0.7, lambda_ce=0.3, label_smoothing=0.1
        )
        ours = SegLoss(
            n_classes=CLASSES,
            bce_coef=0.3,
            dice_coef=0.7,
            smooth=1e-5,
            use_label_smooth=True,
            smooth_factor=0.1,
        )
        same(ours.as_criterion()(logits, labels), theirs(logits, labels[:, None]))

    def test_dice_ce_of_one_mask(self, monai, logits, masks) -> None:
        one, mask = logits[:, :1], masks[:, :1]
        ours = SegLoss(from_logits=True, bce_coef=1.0, dice_coef=1.0, smooth=1e-5)
        same(ours.as_criterion()(one, mask), monai.DiceCELoss(sigmoid=True)(one, mask))
        theirs = monai.DiceCELoss(sigmoid=True, weight=torch.tensor([3.0], dtype=torch.float64))
        ours = SegLoss(from_logits=True, bce_coef=1.0, dice_coef=1.0, smooth=1e-5, pos_weight=3.0)
        same(ours.as_criterion()(one, mask), theirs(one, mask))

    def test_dice_ce_of_several_masks_has_a_softmax_in_it(self, monai, logits, masks) -> None:
        theirs = monai.DiceCELoss(sigmoid=True, lambda_dice=0.0)(logits, masks)
        same(nn.CrossEntropyLoss()(logits, masks.double()), theirs)
        ours = SegLoss(from_logits=True, bce_coef=1.0, dice_coef=0.0)
        differs(ours.as_criterion()(logits, masks), theirs)

    def test_dice_ce_weight(self, monai, logits, labels) -> None:
        weight = torch.tensor(WEIGHTS, dtype=torch.float64)
        theirs = monai.DiceCELoss(softmax=True, to_onehot_y=True, weight=weight)
        ours = SegLoss(
            n_classes=CLASSES,
            bce_coef=1.0,
            dice_coef=sum(WEIGHTS) / CLASSES,
            smooth=1e-5,
            class_weights=WEIGHTS,
            region_class_weights=WEIGHTS,
        )
        same(ours.as_criterion()(logits, labels), theirs(logits, labels[:, None]))

    def test_dice_focal(self, monai, logits, labels) -> None:
        theirs = monai.DiceFocalLoss(softmax=True, to_onehot_y=True, lambda_focal=0.5)
        ours = SegLoss(
            n_classes=CLASSES,
            bce_coef=0.0,
            dice_coef=1.0,
            smooth=1e-5,
            extra_terms={"focal": {"coef": 0.5, "gamma": 2.0}},
        )
        focal_of_masks = ours.as_criterion()(logits, labels) - theirs(logits, labels[:, None])
        each = one_hot(labels, CLASSES).movedim(-1, 1)
        softmax_focal = segloss.FocalLoss("multiclass")(logits, labels)
        sigmoid_focal = segloss.FocalLoss("multilabel")(logits, each)
        same(focal_of_masks, 0.5 * (softmax_focal - sigmoid_focal), rel=1e-4)


class TestNnunet:
    @pytest.fixture
    def nnunet(self):
        return pytest.importorskip("nnunetv2.training.loss.compound_losses")

    @pytest.fixture
    def theirs(self, nnunet):
        """Their compound loss as their trainer makes it, but for what is said."""
        from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

        def make(*, batch_dice=False, do_bg=False, smooth=1e-5, ce_kwargs=None, **options):
            dice = {"batch_dice": batch_dice, "do_bg": do_bg, "smooth": smooth, "ddp": False}
            return nnunet.DC_and_CE_loss(
                dice, ce_kwargs or {}, dice_class=MemoryEfficientSoftDiceLoss, **options
            )

        return make

    @staticmethod
    def ours(**options) -> nn.Module:
        made = {"smooth": 1e-5, "region_classes": [1, 2, 3], **options}
        return SegLoss(n_classes=CLASSES, bce_coef=1.0, dice_coef=1.0, **made).as_criterion()

    def test_their_dice_is_negative(self, theirs, logits, labels) -> None:
        same(self.ours()(logits, labels) - 1, theirs()(logits, labels[:, None]))

    def test_gradients_are_equal(self, theirs, logits, labels) -> None:
        x = logits.float().requires_grad_()
        (expected,) = torch.autograd.grad(theirs()(x, labels[:, None]), x)
        (gradient,) = torch.autograd.grad(self.ours()(x, labels), x)
        torch.testing.assert_close(gradient, expected)

    def test_batch_dice(self, theirs, logits, labels) -> None:
        value = theirs(batch_dice=True)(logits, labels[:, None])
        same(self.ours(region_reduction="batch")(logits, labels) - 1, value)

    def test_do_bg(self, theirs, logits, labels) -> None:
        value = theirs(do_bg=True)(logits, labels[:, None])
        same(self.ours(region_classes=None)(logits, labels) - 1, value)

    def test_smooth(self, theirs, logits, labels) -> None:
        value = theirs(smooth=1.0)(logits, labels[:, None])
        same(self.ours(smooth=1.0)(logits, labels) - 1, value)

    def test_weights_of_the_two_parts(self, theirs, logits, labels) -> None:
        value = theirs(weight_ce=0.5, weight_dice=2.0)(logits, labels[:, None])
        ours = SegLoss(
            n_classes=CLASSES, bce_coef=0.5, dice_coef=2.0, smooth=1e-5, region_classes=[1, 2, 3]
        )
        same(ours.as_criterion()(logits, labels) - 2, value)

    def test_ce_kwargs(self, theirs, logits, labels) -> None:
        weight = torch.tensor(WEIGHTS, dtype=torch.float64)
        loss = theirs(ce_kwargs={"weight": weight, "label_smoothing": 0.1})
        ours = self.ours(class_weights=WEIGHTS, use_label_smooth=True, smooth_factor=0.1)
        same(ours(logits, labels) - 1, loss(logits, labels[:, None]))

    def test_ignore_label(self, theirs, logits, labels) -> None:
        ignored = with_ignored(labels)
        value = theirs(ignore_label=IGNORED)(logits, ignored[:, None])
        same(self.ours(ignore_index=IGNORED)(logits, ignored) - 1, value)

    def test_regions(self, nnunet, logits, masks) -> None:
        dice = {"batch_dice": False, "do_bg": True, "smooth": 1e-5, "ddp": False}
        theirs = nnunet.DC_and_BCE_loss({}, dice)(logits, masks.double())
        ours = SegLoss(from_logits=True, bce_coef=1.0, dice_coef=1.0, smooth=1e-5)
        same(ours.as_criterion()(logits, masks) - 1, theirs)

    def test_regions_with_ignored_pixels_sum_over_the_regions(self, nnunet, logits, masks) -> None:
        dice = {"batch_dice": False, "do_bg": True, "smooth": 1e-5, "ddp": False}
        ignored = torch.zeros(3, 1, 6, 5)
        ignored[:, :, 2:4] = 1
        loss = nnunet.DC_and_BCE_loss({}, dice, use_ignore_label=True)
        theirs = loss(logits, torch.cat([masks, ignored], 1).double())
        ours = SegLoss(from_logits=True, bce_coef=CLASSES, dice_coef=1.0, smooth=1e-5)
        batch = {"gt_polygons_image": masks, "seg_loss_weights": 1 - ignored}
        same(ours({"seg": logits}, batch)[0] - 1, theirs)


def test_every_row_of_the_page_names_tests_that_exist() -> None:
    tests = Path(__file__).parents[1]
    page = (tests.parent / "docs" / "migrating_from_libraries.md").read_text()
    header = r"^\| theirs \| ours \| test \|\n\|[-| ]+\n((?:\|.+\n)+)"
    tables = re.findall(header, page, re.MULTILINE)
    rows = [re.split(r" \| ", row.strip("| ")) for table in tables for row in table.splitlines()]
    assert len(tables) == 3
    assert len(rows) > 45
    named = set()
    for row in rows:
        assert len(row) == 3, row
        (name,) = re.findall(r"`([^`]+)`", row[2])
        place, _, test = name.rpartition("::")
        if name.endswith(".py"):
            assert (tests / name).is_file(), name
        elif place.endswith(".py"):
            assert f"def {test}(" in (tests / place).read_text(), name
        else:
            assert hasattr(globals()[place], test), name
            named.add(name)
    classes = (TestSmp, TestMonai, TestNnunet)
    written = {f"{c.__name__}::{t}" for c in classes for t in vars(c) if t.startswith("test_")}
    assert named == written
