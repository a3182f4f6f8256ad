"""Each term as a loss of its own: the term's value, its options, and its place in other losses."""

from __future__ import annotations

import pytest
import torch

import segloss
from segloss import LossWrapper, MultiLoss
from segloss.losses import term_losses
from segloss.losses.modes import MODES
from segloss.losses.term_losses import TERM_LOSSES as LOSSES
from segloss.terms import TERMS, Boundary, RegionTerm
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
@pytest.mark.parametrize("name", [n for n in LOSSES if issubclass(TERMS[n], RegionTerm)])
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


def test_an_unknown_argument_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(TypeError, match=r"FocalLoss\(\).*'gama' \(did you mean 'gamma'"):
        segloss.FocalLoss(gama=2.0)


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


@pytest.mark.parametrize(
    "options", [{"class_weights": [1.0, 2.0, 3.0]}, {"pos_weight": 2.0}, {"label_smoothing": 0.1}]
)
@pytest.mark.parametrize("name", LOSSES)
def test_options_of_cross_entropy_count_or_are_refused(name: str, options) -> None:
    x, y = torch.randn(2, 3, 8), torch.randint(0, 2, (2, 3, 8)).float()
    if name in ("poly1", "symmetric_cross_entropy"):
        plain = LOSSES[name]("multilabel")(x, y)
        assert LOSSES[name]("multilabel", **options)(x, y) != plain
        return
    with pytest.raises(ValueError, match=f"leave {next(iter(options))} out"):
        LOSSES[name]("multilabel", **options)
