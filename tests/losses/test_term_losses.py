"""Each term as a loss of its own: the term's value, and the peers' losses at equal settings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import segloss
from segloss import LossWrapper, MultiLoss
from segloss.losses import term_losses
from segloss.losses.compound_loss import MODES
from segloss.losses.term_losses import TERM_LOSSES as LOSSES
from segloss.losses.term_losses import TermLoss
from segloss.terms import TERMS, Boundary
from tests.support.versions import needs_monai_1_6
from tests.terms.test_every_term import Case, alone, value_of

MODE_OF = {"binary": "binary", "multilabel": "multilabel", "multiclass": "multiclass"}


def test_every_term_but_cross_entropy_has_a_loss() -> None:
    assert set(LOSSES) == set(TERMS) - {"cross_entropy"}
    for loss in LOSSES.values():
        assert getattr(segloss, loss.__name__) is loss


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_term(name: str, kind: str) -> None:
    case = Case(kind, masked=True)
    maps = {key: case.maps[key] for key in LOSSES[name](kind).map_keys}
    value = LOSSES[name](kind)(case.logits, case.target, pixel_weights=case.weights, maps=maps)
    assert torch.equal(value, value_of(alone(name, **case.options), case.logits, case))


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_cells_average_to_the_loss(name: str, kind: str) -> None:
    case = Case(kind)
    maps = {key: case.maps[key] for key in LOSSES[name](kind).map_keys}
    cells = LOSSES[name](kind, reduction="none")(case.logits, case.target, maps=maps)
    assert cells.ndim == 2
    assert len(cells) == len(case.logits)
    value = LOSSES[name](kind)(case.logits, case.target, maps=maps)
    torch.testing.assert_close(cells.mean(), value)


def test_options_reach_the_term() -> None:
    case = Case("multiclass")
    case.target[0, :2] = 255
    loss = segloss.JaccardLoss("multiclass", classes=[1, 2], ignore_index=255, smooth=2.0)
    full = segloss.SegLoss(
        n_classes=4,
        bce_coef=0,
        dice_coef=0,
        extra_terms={"jaccard": {"coef": 1.0, "smooth": 2.0, "region_classes": [1, 2]}},
        ignore_index=255,
    )
    assert torch.equal(loss(case.logits, case.target), value_of(full, case.logits, case))
    probabilities = case.logits.softmax(1)
    given = segloss.JaccardLoss("multiclass", from_logits=False, ignore_index=255)
    plain = segloss.JaccardLoss("multiclass", ignore_index=255)
    torch.testing.assert_close(given(probabilities, case.target), plain(case.logits, case.target))


def test_a_loss_fits_into_multi_loss() -> None:
    case = Case("multiclass")
    multi = MultiLoss([segloss.SegLoss(n_classes=4), segloss.FocalLoss("multiclass")], [1.0, 0.5])
    total, losses, _ = multi(case.logits, case.target)
    expected = losses["seg"] + 0.5 * losses["FocalLoss"]
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: segloss.JaccardLoss("multi"), "mode must be one of"),
        (lambda: segloss.FocalLoss(gama=2.0), "FocalLoss.gama is unknown.*did you mean 'gamma'"),
        (lambda: segloss.JaccardLoss()(torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)), "3 channels"),
        (
            lambda: segloss.JaccardLoss("multiclass")(torch.zeros(1, 1, 4), torch.zeros(1, 4)),
            "set mode='binary'",
        ),
        (
            lambda: segloss.BoundaryLoss()(torch.zeros(1, 1, 4), torch.zeros(1, 4)),
            "maps must have 'gt_distance_map'",
        ),
        (
            lambda: segloss.FocalLoss("multiclass", alpha=0.25)(
                torch.zeros(1, 3, 4), torch.zeros(1, 4)
            ),
            "one weight for each class",
        ),
    ],
)
def test_wrong_use_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# Peers, at equal settings. Some keep float32 inside, and an epsilon.


def agree(loss: TermLoss, case: Case, peer: Tensor, rel: float = 1e-6) -> None:
    assert loss(case.logits, case.target).item() == pytest.approx(float(peer), rel=rel)


@pytest.mark.parametrize("mode", MODES)
def test_segmentation_models_pytorch(mode: str) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch").losses
    case, batch = Case(mode), {"region_reduction": "batch"}
    x, y = case.logits, case.target if mode == "multiclass" else case.target.float()
    agree(segloss.JaccardLoss(mode, **batch), case, smp.JaccardLoss(mode)(x, y))
    tversky = smp.TverskyLoss(mode, alpha=0.3, beta=0.7, gamma=1.5)(x, y)
    case_loss = segloss.FocalTverskyLoss(mode, alpha=0.3, beta=0.7, gamma=1.5, **batch)
    if mode == "binary":  # elsewhere it is the power of the mean
        agree(case_loss, case, tversky)
    log_dice = smp.DiceLoss(mode, log_loss=True)(x, y)
    agree(segloss.LogDiceLoss(mode, smooth=1e-9, **batch), case, log_dice)
    if mode != "multiclass":  # whose softmax it does not take
        agree(segloss.FocalLoss(mode, gamma=2.0), case, smp.FocalLoss(mode, gamma=2.0)(x, y))
        weighted = smp.FocalLoss(mode, gamma=2.0, alpha=0.25)(x, y)
        agree(segloss.FocalLoss(mode, gamma=2.0, alpha=0.25), case, weighted)


def test_segmentation_models_pytorchs_mcc() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch").losses
    case = Case("binary")
    peer = smp.MCCLoss(eps=1e-5)(case.logits.sigmoid(), case.target)
    agree(segloss.MCCLoss(eps=1e-5, region_reduction="micro"), case, peer, rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weight_type", ["square", "simple", "uniform"])
def test_monais_generalized_dice(mode: str, weight_type: str) -> None:
    monai = pytest.importorskip("monai.losses")
    case = Case(mode)
    many = mode == "multiclass"
    target = case.target[:, None] if many else case.target
    peer = monai.GeneralizedDiceLoss(
        softmax=many,
        sigmoid=not many,
        to_onehot_y=many,
        w_type=weight_type,
        smooth_nr=0.0,
        smooth_dr=0.0,
    )
    agree(
        segloss.GeneralizedDiceLoss(mode, weight_type=weight_type), case, peer(case.logits, target)
    )


@pytest.mark.parametrize("mode", MODES)
def test_monais_dice_tversky_and_focal(mode: str) -> None:
    monai = pytest.importorskip("monai.losses")
    case = Case(mode)
    many = mode == "multiclass"
    target = case.target[:, None] if many else case.target
    activation = {"softmax": many, "sigmoid": not many, "to_onehot_y": many}
    smooth = {"smooth_nr": 0.5, "smooth_dr": 0.5}
    squared = monai.DiceLoss(squared_pred=True, **activation, **smooth)
    agree(segloss.SquaredDiceLoss(mode, smooth=0.5), case, squared(case.logits, target))
    tversky = monai.TverskyLoss(alpha=0.2, beta=0.8, **activation, **smooth)
    ours = segloss.TverskyLoss(mode, alpha=0.2, beta=0.8, smooth=0.5)
    agree(ours, case, tversky(case.logits, target))
    focal = monai.FocalLoss(gamma=2.0, use_softmax=many, to_onehot_y=many)(case.logits, target)
    scale = case.logits.shape[1] if many else 1  # it divides by the classes too
    assert segloss.FocalLoss(mode)(case.logits, case.target).item() == pytest.approx(
        scale * focal.item(), rel=1e-6
    )


@needs_monai_1_6
def test_monais_unified_focal() -> None:
    monai = pytest.importorskip("monai.losses")
    case = Case("two classes")
    p = case.logits.softmax(1)
    peer = monai.AsymmetricUnifiedFocalLoss(to_onehot_y=True, gamma=0.5, delta=0.7)
    expected = peer(p, case.target[:, None])  # takes a mean over two classes for the first part
    ours = segloss.UnifiedFocalLoss("multiclass", weight=1 / 3, delta=0.7, gamma=0.5)
    assert 0.75 * ours(case.logits, case.target).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_torchvisions_focal(alpha: float | None) -> None:
    ops = pytest.importorskip("torchvision.ops")
    case = Case("multilabel")
    peer = ops.sigmoid_focal_loss(
        case.logits, case.target, alpha=-1 if alpha is None else alpha, reduction="mean"
    )
    agree(segloss.FocalLoss("multilabel", alpha=alpha), case, peer, rel=1e-12)


def test_the_module_is_the_public_place() -> None:
    assert term_losses.JaccardLoss is segloss.JaccardLoss
    assert Boundary.name in LOSSES


def test_a_wrapped_loss_gets_weights_and_maps_of_the_selected_channels() -> None:
    case = Case("multilabel", masked=True)
    case.weights = case.weights * torch.rand_like(case.logits)
    wrapper = LossWrapper(
        segloss.BoundaryLoss("multilabel"), pred_channel_selector=[1, 3], gt_channel_selector=[1, 3]
    )
    value, _ = wrapper({"seg": case.logits}, case.batch())
    expected = segloss.BoundaryLoss("multilabel")(
        case.logits[:, [1, 3]],
        case.target[:, [1, 3]],
        pixel_weights=case.weights[:, [1, 3]],
        maps={"gt_distance_map": case.maps["gt_distance_map"][:, [1, 3]]},
    )
    assert torch.equal(value, expected)


CONFIG = """
loss_params:
  compound_loss:
    loss_list:
      - _target_: segloss.SegLoss
        n_classes: 4
        extra_terms:
          jaccard: 0.2
          focal: {coef: 0.5, gamma: 3.0}
          lesions: {term: dice, coef: 0.5, region_classes: [2, 3]}
        weight: 1.0
      - _target_: segloss.TverskyLoss
        mode: multiclass
        alpha: 0.2
        name: tversky
        weight: 0.5
      - _target_: segloss.DeepSupervision
        loss: {_target_: segloss.FocalLoss, mode: multiclass}
        name: deep
        weight: 0.5
"""


def test_all_of_it_from_a_config() -> None:
    case = Case("multiclass", masked=True)
    multi = segloss.build_loss(CONFIG)
    total, losses, info = multi({"seg": case.logits}, case.batch())
    assert {"focal", "jaccard", "lesions"} <= set(info["seg"])
    tversky = segloss.TverskyLoss("multiclass", alpha=0.2)
    expected = tversky(case.logits, case.target, pixel_weights=case.weights)
    torch.testing.assert_close(losses["tversky"], expected)
    focal = segloss.FocalLoss("multiclass")
    expected = focal(case.logits, case.target, pixel_weights=case.weights)
    torch.testing.assert_close(losses["deep"], expected)
    torch.testing.assert_close(
        total, losses["seg"] + 0.5 * losses["tversky"] + 0.5 * losses["deep"]
    )


def test_losses_have_names_in_the_registry() -> None:
    assert segloss.get_loss("jaccard") is segloss.JaccardLoss
    assert segloss.get_loss("soft_dice") is segloss.DiceLoss
    assert {"focal", "topk_cross_entropy", "unified_focal"} <= set(segloss.list_losses())
