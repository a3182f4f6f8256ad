"""CompoundLoss, and what is made from the table of terms: losses, functions, signatures, stubs."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import term_stubs
import torch
import torch.nn.functional as F
from torch import nn

import segloss
from segloss import CompoundLoss, DeepSupervision, LossWrapper, MultiLoss, SegLoss, functional
from segloss.losses.term_losses import TERM_LOSSES
from segloss.terms import MCC, TERMS, Boundary, CrossEntropy, Dice, Jaccard

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "masked": {"ignore_index": 255},
    "weighted": {"class_weights": [1.0, 2.0, 0.5]},
    "smoothed": {"label_smoothing": 0.1},
    "everything": {"ignore_index": 255, "class_weights": [1.0, 2.0, 0.5], "label_smoothing": 0.1},
}


def batch_of(mode: str) -> tuple[torch.Tensor, torch.Tensor]:
    channels = 1 if mode == "binary" else 3
    logits = torch.randn(2, channels, 9, 8)
    target = torch.randint(0, 3, (2, 9, 8)) if mode == "multiclass" else (logits > 0.3).long()
    target[0, ..., :2] = 255
    return logits, target


@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
@pytest.mark.parametrize("name", OPTIONS)
def test_it_is_seg_loss_of_the_same_terms(mode: str, name: str) -> None:
    logits, target = batch_of(mode)
    options = dict(OPTIONS[name])
    if "ignore_index" not in options:
        target = target.masked_fill(target == 255, 0)
    mixture = 0.4 * CrossEntropy() + 0.6 * Dice() + 0.1 * MCC()
    weights = torch.rand(2, 1, 9, 8)
    value = CompoundLoss(mixture, mode, **options)(logits, target, pixel_weights=weights)
    smoothing = options.pop("label_smoothing", 0.0)
    loss = SegLoss(
        n_classes=3,
        activation="softmax" if mode == "multiclass" else "sigmoid",
        from_logits=True,
        terms=mixture,
        use_label_smooth=True,
        smooth_factor=smoothing,
        **options,
    )
    batch = {"gt_polygons_image": target, "seg_loss_weights": weights}
    assert torch.equal(value, loss({"seg": logits}, batch)[0])


def test_cross_entropy_is_pytorchs() -> None:
    logits, target = batch_of("multiclass")
    weights = torch.tensor([1.0, 2.0, 0.5])
    loss = CompoundLoss(
        CrossEntropy(), "multiclass", ignore_index=255, class_weights=weights, label_smoothing=0.1
    )
    expected = F.cross_entropy(logits, target, weights, ignore_index=255, label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, target), expected)


def test_it_is_a_module_like_any() -> None:
    loss = CompoundLoss(Dice() + CrossEntropy(), class_weights=[2.0])
    assert dict(loss.named_buffers()).keys() == {"class_weights"}
    assert str(loss) == "CompoundLoss(Dice() + CrossEntropy(), 'binary', from_logits=True)"
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    value = loss(model(torch.randn(1, 1, 8, 8)), torch.ones(1, 1, 8, 8))
    value.backward()
    assert model[0].weight.grad is not None


def test_maps_go_along() -> None:
    logits, target = batch_of("binary")
    target = target.clamp(max=1)
    distance = torch.randn(2, 1, 9, 8)
    loss = CompoundLoss(Boundary(map_key="d") + Dice())
    assert loss.map_keys == ("d",)
    value = loss(logits, target, maps={"d": distance})
    expected = (logits.sigmoid() * distance).mean() + CompoundLoss(Dice())(logits, target)
    torch.testing.assert_close(value, expected)
    with pytest.raises(ValueError, match="maps must have 'd'"):
        loss(logits, target)


def test_cells_of_several_terms() -> None:
    logits, target = batch_of("multiclass")
    loss = CompoundLoss(
        0.5 * Dice() + 2 * Jaccard(), "multiclass", ignore_index=255, reduction="none"
    )
    cells = loss(logits, target)
    assert cells.shape == (2, 3)
    whole = CompoundLoss(0.5 * Dice() + 2 * Jaccard(), "multiclass", ignore_index=255)
    torch.testing.assert_close(cells.mean(), whole(logits, target))
    with pytest.raises(ValueError, match="reduction='none' gives"):
        CompoundLoss(Dice(region_reduction="batch"), reduction="none")


@pytest.mark.parametrize("name", TERM_LOSSES)
def test_signatures_are_real(name: str) -> None:
    loss, function = TERM_LOSSES[name], getattr(functional, f"{name}_loss")
    assert getattr(segloss, loss.__name__) is loss
    own = inspect.signature(TERMS[name]).parameters
    for made in (inspect.signature(loss), inspect.signature(function)):
        for parameter in own.values():
            assert made.parameters[parameter.name].default == parameter.default
        kinds = {parameter.kind for parameter in made.parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds
    defaults = {key: each.default for key, each in inspect.signature(loss).parameters.items()}
    mode = defaults.pop("mode")
    assert isinstance(loss(mode, **defaults), loss)


@pytest.mark.parametrize("path", term_stubs.MADE, ids=lambda path: path.name)
def test_what_is_made_from_the_table_is_of_this_table(path) -> None:
    assert path.read_text() == term_stubs.MADE[path](), "run python scripts/term_stubs.py"


@pytest.mark.parametrize("mode", ["binary", "multilabel", "multiclass"])
@pytest.mark.parametrize("name", TERM_LOSSES)
def test_a_function_is_the_loss_of_its_term(name: str, mode: str) -> None:
    logits, target = batch_of(mode)
    maps = {key: torch.rand(logits.shape) for key in TERM_LOSSES[name](mode).map_keys}
    expected = TERM_LOSSES[name](mode, ignore_index=255)(logits, target, maps=maps)
    options = {"n_classes": 3} if mode == "multiclass" else {}
    function = getattr(functional, f"{name}_loss")
    value = function(logits, target, ignore_index=255, maps=maps, **options)
    assert torch.equal(value, expected)
    again = function(logits, target, ignore_index=255, maps=maps, **options)
    assert torch.equal(again, expected)


def test_functions_take_lists_and_tensors_too() -> None:
    logits, target = batch_of("multiclass")
    options = {"n_classes": 3, "ignore_index": 255}
    one = functional.dice_loss(logits, target, region_classes=[1, 2], **options)
    two = functional.dice_loss(logits, target, region_classes=(1, 2), **options)
    weights = torch.tensor([1.0, 1.0])
    three = functional.dice_loss(
        logits, target, region_classes=[1, 2], region_class_weights=weights, **options
    )
    assert one == two == three
    assert one != functional.dice_loss(logits, target, region_classes=[0, 2], **options)


def test_functions_compile_without_a_break() -> None:
    logits, target = batch_of("multiclass")
    logits.requires_grad_()
    for name in ("dice", "mcc", "focal"):
        function = getattr(functional, f"{name}_loss")

        def loss(x, function=function):
            return function(x, target, n_classes=3, ignore_index=255)

        torch._dynamo.reset()
        value = torch.compile(loss, fullgraph=True, backend="aot_eager")(logits)
        torch.testing.assert_close(value, loss(logits))


SELECTORS: dict[str, dict[str, Any]] = {
    "prediction": {"pred_channel_selector": [0, 1, 2]},
    "both": {"pred_channel_selector": "1:4", "gt_channel_selector": "1:4"},
    "weights too": {"pred_channel_selector": [0, 2], "gt_channel_selector": [0, 2]},
}


@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
@pytest.mark.parametrize("name", SELECTORS)
def test_it_selects_channels_as_seg_loss_does(mode: str, name: str) -> None:
    options = SELECTORS[name]
    channels = 3 if name == "prediction" else 4
    logits = torch.randn(2, 4, 6, 5)
    target = torch.rand(2, channels, 6, 5).softmax(1)
    weights = torch.rand(2, 1 if mode == "multiclass" else channels, 6, 5)
    softmax = {"n_classes": 2 if name == "weights too" else 3, "activation": "softmax"}
    kind = softmax if mode == "multiclass" else {"n_classes": 2}
    loss = SegLoss(from_logits=True, terms="recommended", **kind, **options)
    batch = {"gt_polygons_image": target, "seg_loss_weights": weights}
    value = CompoundLoss(mode=mode, **options)(logits, target, pixel_weights=weights)
    assert torch.equal(value, loss({"seg": logits}, batch)[0])


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
def test_it_leaves_out_classes_that_are_not_annotated(
    mode: str, reduction: str, merge: bool
) -> None:
    logits, target = batch_of(mode)
    target = target.masked_fill(target == 255, 0)
    annotated = torch.tensor([[True, True, False], [True, False, True]])
    if mode == "multiclass":
        target[0, target[0] == 2] = 0
        target[1, target[1] == 1] = 0
    terms = Dice() + Jaccard()
    loss = CompoundLoss(terms, mode, merge_unannotated=merge, reduction=reduction)
    value = loss(logits, target, annotated=annotated)
    if reduction == "none":
        assert value.shape == (2, 3)
        assert (value[~annotated] == 0).all()
        value = value.sum() / annotated.sum()
    activation = "softmax" if mode == "multiclass" else "sigmoid"
    seg = SegLoss(
        n_classes=3, activation=activation, from_logits=True, terms=terms, merge_unannotated=merge
    )
    expected = seg(logits, {"gt_polygons_image": target, "annotated": annotated})[0]
    torch.testing.assert_close(value, expected)


def test_without_terms_it_has_the_recommended_ones() -> None:
    for mode, n_classes in {"binary": 2, "multilabel": 2, "multiclass": 3}.items():
        logits, target = batch_of(mode)
        recommended = segloss.recommended()
        settings = {"n_classes": n_classes, "from_logits": True, "ignore_index": 255}
        expected = SegLoss(terms=recommended, **settings)(logits, target)[0]
        assert torch.equal(SegLoss(terms="recommended", **settings)(logits, target)[0], expected)
        for terms in ({}, {"terms": None}, {"terms": "recommended"}, {"terms": recommended}):
            value = CompoundLoss(mode=mode, ignore_index=255, **terms)(logits, target)
            assert torch.equal(value, expected)


def test_a_name_that_is_no_mixture_is_refused() -> None:
    with pytest.raises(TypeError, match="or 'recommended', got 'recomended'"):
        CompoundLoss("recomended")


def test_pixel_terms_refuse_classes_that_are_not_annotated() -> None:
    logits, target = batch_of("multiclass")
    annotated = torch.tensor([[True, True, False], [True, False, True]])
    loss = CompoundLoss(mode="multiclass", ignore_index=255)
    with pytest.raises(ValueError, match="merge_unannotated=True"):
        loss(logits, target, annotated=annotated)


def test_a_mode_in_place_of_terms_is_named() -> None:
    with pytest.raises(TypeError, match="pass mode='multiclass'"):
        CompoundLoss("multiclass")


@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
@pytest.mark.parametrize("selected", [False, True])
def test_annotations_reach_it_through_every_door(mode: str, selected: bool) -> None:
    logits, target = torch.randn(2, 4, 6, 5), torch.rand(2, 4, 6, 5).softmax(1)
    annotated = torch.tensor([[True, True, False, True], [True, False, True, True]])
    chosen = {"pred_channel_selector": [0, 1, 2], "gt_channel_selector": [0, 1, 2]}
    options = chosen if selected else {}
    loss = CompoundLoss(mode=mode, merge_unannotated=True)
    direct = CompoundLoss(mode=mode, merge_unannotated=True, **options)
    expected = direct(logits, target, annotated=annotated)
    assert not torch.equal(expected, direct(logits, target))
    batch = {"gt_polygons_image": target, "annotated": annotated}
    wrapped = LossWrapper(loss, **options)
    for door in (wrapped, MultiLoss([wrapped], [1.0]), DeepSupervision(wrapped, [1.0])):
        torch.testing.assert_close(door(logits, batch)[0], expected)
    renamed = LossWrapper(loss, annotated_key="known", **options)
    value = renamed(logits, {"gt_polygons_image": target, "known": annotated})[0]
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_shares_are_factors_of_the_samples_parts(reduction: str) -> None:
    logits, target = batch_of("multilabel")
    shares = torch.tensor([0.25, 0.5])
    loss = CompoundLoss(Dice() + Jaccard(), "multilabel", ignore_index=255, reduction=reduction)
    of_samples = CompoundLoss(Dice() + Jaccard(), "multilabel", ignore_index=255, reduction="none")(
        logits, target
    )
    expected = shares.unsqueeze(1) * of_samples
    value = loss(logits, target, shares=shares)
    torch.testing.assert_close(value, expected if reduction == "none" else expected.mean())
    with pytest.raises(ValueError, match=r"shares must be a tensor \(2,\).*got \(3,\)"):
        loss(logits, target, shares=torch.ones(3))
