"""Weights of samples count in every term: weight 2 is the sample twice, weight 0 without it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segloss import (
    CompoundLoss,
    DeepSupervision,
    DiceLoss,
    HardPixelLoss,
    HausdorffDistanceLoss,
    LossWrapper,
    LovaszLoss,
    MixUp,
    MultiLoss,
    OhemCrossEntropyLoss,
    SegLoss,
    SoftClDiceLoss,
    TopKCrossEntropyLoss,
    functional,
    use_backend,
)
from segloss.losses.standalone.selections import TopK
from segloss.terms import (
    TERMS,
    BalancedCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    RegionTerm,
    Term,
    mean,
)
from tests.support.kernels import BACKENDS
from tests.support.ranks import on_ranks

GT, KEY = "gt_polygons_image", "sample_weights"
WEIGHTS = torch.tensor([2.0, 0.0, 1.0])
TWICE = torch.tensor([0, 0, 2])
"""The samples that stand for the weights."""

KINDS = {"binary": 1, "multilabel": 3, "multiclass": 4}


class Case:
    """Three samples of a mode; the second has weight 0, and may hold NaN."""

    def __init__(self, mode: str, dtype: torch.dtype = torch.float64) -> None:
        random = torch.Generator().manual_seed(0)
        shape = (3, KINDS[mode], 6, 5)
        self.mode = mode
        self.logits = torch.randn(shape, generator=random, dtype=dtype)
        self.target = torch.randint(0, 2, shape, generator=random)
        if mode == "multiclass":
            self.target = torch.randint(0, 4, (3, 6, 5), generator=random)
        self.pixel_weights = torch.rand((3, 1, 6, 5), generator=random, dtype=dtype)
        self.maps = {
            "gt_distance_map": torch.randn(shape, generator=random, dtype=dtype),
            "gt_skeleton": torch.rand(shape, generator=random, dtype=dtype).round(),
            "gt_components": torch.randint(0, 4, shape, generator=random),
        }

    def loss_and_gradient(
        self, loss: Any, samples: Tensor, weights: Tensor | None = None, **tensors: Any
    ) -> tuple[Tensor, Tensor]:
        """The loss of some samples, and its gradient, added up for equal samples."""
        logits = self.logits.clone().requires_grad_()
        maps = {key: values[samples] for key, values in self.maps.items()}
        value = loss(
            logits[samples],
            self.target[samples],
            maps=maps,
            sample_weights=weights,
            **{key: values[samples] for key, values in tensors.items()},
        )
        value.sum().backward()
        assert logits.grad is not None
        return value.detach(), logits.grad


def terms() -> list[Term]:
    """Every term in every reduction that it has."""
    made = []
    for term in TERMS.values():
        if not issubclass(term, RegionTerm):
            made.append(term())
            continue
        for reduction in ("sample", "batch", "micro", "sample_micro"):
            with suppress(ValueError):  # a term that can't pool classes
                made.append(term(region_reduction=reduction))
    return [
        *made,
        BalancedCrossEntropy(balance="batch"),
        BalancedCrossEntropy(balance="micro"),
        Focal(normalize="positives"),
        Focal(region_classes=[0]),
        Dice(log=True, region_reduction="batch"),
        Dice(smooth=(0.5, 1.0), clip_tp=20.0, region_reduction="micro"),
        Dice(region_groups="components"),
        Dice(region_groups="components", skip_absent_classes=True, log=True),
    ]


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("term", terms(), ids=repr)
def test_a_weight_says_how_often_a_sample_counts(term: Term, mode: str) -> None:
    pools_classes = isinstance(term, RegionTerm) and "micro" in term.region_reduction
    if term.name.startswith("region_size") and pools_classes:
        mode = "binary"  # all classes of a softmax together have the size of the image
    case = Case(mode)
    loss = CompoundLoss(term, mode)
    value, gradient = case.loss_and_gradient(loss, torch.arange(3), WEIGHTS)
    expected = case.loss_and_gradient(loss, TWICE)
    torch.testing.assert_close((value, gradient), expected)
    case.logits[1] = torch.nan
    again = case.loss_and_gradient(loss, torch.arange(3), WEIGHTS)
    assert torch.equal(again[0], value)
    assert torch.equal(again[1], gradient)


STANDALONE: dict[str, Callable[..., Any]] = {
    "LovaszLoss": LovaszLoss,
    "LovaszLoss per image": lambda *args, **kwargs: LovaszLoss(*args, per_image=True, **kwargs),
    "SoftClDiceLoss": SoftClDiceLoss,
    "SoftClDiceLoss of the batch": lambda *args, **kwargs: SoftClDiceLoss(
        *args, region_reduction="batch", smooth=0.0, **kwargs
    ),
    "SoftClDiceLoss of present classes": lambda *args, **kwargs: SoftClDiceLoss(
        *args, skip_absent_classes=True, **kwargs
    ),
    "HausdorffDistanceLoss": HausdorffDistanceLoss,
    "HardPixelLoss": lambda mode, **kwargs: HardPixelLoss(None, TopK(100), mode, **kwargs),
    "OhemCrossEntropyLoss": lambda mode, **kwargs: OhemCrossEntropyLoss(mode, min_kept=0, **kwargs),
}
"""Losses with a pass of their own. All of their pixels, or a threshold's, count."""


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("name", STANDALONE)
def test_a_weight_says_how_often_a_sample_counts_in_losses_with_a_pass_of_their_own(
    name: str, mode: str
) -> None:
    case = Case(mode)
    loss = STANDALONE[name](mode)

    def of_target(prediction: Tensor, target: Tensor, maps: Any, sample_weights: Any) -> Tensor:
        given = {} if sample_weights is None else {"sample_weights": sample_weights}
        return loss(prediction, target, **given)  # type: ignore[no-any-return]

    expected = case.loss_and_gradient(of_target, TWICE)
    case.logits[1] = torch.nan
    result = case.loss_and_gradient(of_target, torch.arange(3), WEIGHTS)
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", STANDALONE)
def test_a_wrapped_loss_with_a_pass_of_its_own_gets_them(name: str) -> None:
    case = Case("multiclass")
    case.target[2] = 255  # an ignored sample, which a mean over samples would count as 0
    loss = STANDALONE[name]("multiclass", ignore_index=255)
    weights = torch.tensor([1.0, 3.0, 2.0])
    expected = loss(case.logits, case.target, sample_weights=weights)
    batch = {GT: case.target, KEY: weights}
    torch.testing.assert_close(LossWrapper(loss)(case.logits, batch)[0], expected)
    assert expected != loss(case.logits, case.target)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_they_count_on_every_kernel(backend: Any, mode: str, weighted: bool) -> None:
    case = Case(mode, torch.float32)
    terms = CrossEntropy() + Dice() + Dice(region_reduction="batch").named("pooled")
    loss = CompoundLoss(terms, mode)
    tensors = {"pixel_weights": case.pixel_weights} if weighted else {}
    case.logits[1] = torch.nan
    with use_backend(backend):
        value = case.loss_and_gradient(loss, torch.arange(3), WEIGHTS, **tensors)
    torch.testing.assert_close(value, case.loss_and_gradient(loss, TWICE, **tensors))


@pytest.mark.parametrize("term", [CrossEntropy(), Dice(), Dice(skip_absent_classes=True)])
def test_equal_weights_change_nothing(term: Term) -> None:
    case = Case("multiclass")
    loss = CompoundLoss(term, "multiclass")
    torch.testing.assert_close(
        case.loss_and_gradient(loss, torch.arange(3), torch.full((3,), 0.25)),
        case.loss_and_gradient(loss, torch.arange(3)),
    )


def test_a_weighted_mean_is_what_its_formula_says() -> None:
    case = Case("binary")
    weights = torch.tensor([0.5, 3.0, 1.25])
    each = torch.stack(
        [DiceLoss()(case.logits[n : n + 1], case.target[n : n + 1]) for n in range(3)]
    )
    expected = (weights * each).sum() / weights.sum()
    value = DiceLoss()(case.logits, case.target, sample_weights=weights)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("mode", KINDS)
def test_weights_of_0_alone_give_loss_and_gradient_0(mode: str) -> None:
    case = Case(mode)
    case.logits[:] = torch.nan
    terms = CrossEntropy() + Dice() + Dice(region_reduction="micro").named("pooled")
    value, gradient = case.loss_and_gradient(
        CompoundLoss(terms, mode), torch.arange(3), torch.zeros(3)
    )
    assert value == 0
    assert (gradient == 0).all()


def test_without_a_reduction_the_losses_of_a_sample_are_times_its_weight() -> None:
    case = Case("multilabel")
    loss = DiceLoss("multilabel", reduction="none")
    plain = loss(case.logits, case.target)
    weighted = loss(case.logits, case.target, sample_weights=WEIGHTS)
    torch.testing.assert_close(weighted, WEIGHTS.unsqueeze(1) * plain)
    values = functional.dice_loss(
        case.logits, case.target, sample_weights=WEIGHTS, reduction="none"
    )
    torch.testing.assert_close(values, weighted)


DOORS: dict[str, Callable[..., Any]] = {
    "SegLoss": lambda x, batch: SegLoss(n_classes=4, from_logits=True)(x, batch)[0],
    "LossWrapper": lambda x, batch: LossWrapper(CompoundLoss(mode="multiclass"))(x, batch)[0],
    "LossWrapper of PyTorch": lambda x, batch: LossWrapper(nn.CrossEntropyLoss())(x, batch)[0],
    "LossWrapper of top-k": lambda x, batch: LossWrapper(TopKCrossEntropyLoss(k=100))(x, batch)[0],
    "MultiLoss": lambda x, batch: MultiLoss(
        [SegLoss("a", n_classes=4), SegLoss("b", n_classes=4, bce_coef=0)], [1.0, 2.0]
    )(x, batch)[0],
    "DeepSupervision": lambda x, batch: DeepSupervision(SegLoss(n_classes=4))(
        [x, x[..., ::2, ::2]], batch
    )[0],
    "seg_loss": lambda x, batch: functional.seg_loss(
        x, batch[GT], n_classes=4, sample_weights=batch.get(KEY)
    ),
    "cross_entropy": lambda x, batch: functional.cross_entropy(
        x, batch[GT], sample_weights=batch.get(KEY)
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_reads_them(door: str) -> None:
    case = Case("multiclass")
    value = DOORS[door](case.logits, {GT: case.target, KEY: WEIGHTS})
    expected = DOORS[door](case.logits[TWICE], {GT: case.target[TWICE]})
    torch.testing.assert_close(value, expected)
    assert DOORS[door](case.logits, {GT: case.target, KEY: torch.zeros(3)}) == 0


def test_the_key_has_a_name_of_its_own() -> None:
    case = Case("multiclass")
    batch = {GT: case.target, "w": WEIGHTS}
    for loss in (
        SegLoss(n_classes=4, sample_weight_key="w"),
        LossWrapper(CompoundLoss(mode="multiclass"), sample_weight_key="w"),
    ):
        expected = loss(case.logits[TWICE], {GT: case.target[TWICE]})[0]
        torch.testing.assert_close(loss(case.logits, batch)[0], expected)


@pytest.mark.parametrize("per_sample", [False, True])
def test_with_mixup_weights_follow_their_targets(per_sample: bool) -> None:
    case = Case("multiclass")
    loss = SegLoss(n_classes=4, use_mixup=True)
    mixup = MixUp(per_sample=per_sample)
    batch = {GT: case.target, KEY: WEIGHTS}
    _, mixed = mixup(torch.rand(3, 1, 6, 5), batch, torch.Generator().manual_seed(3))
    index, lam = mixed["mixup_index"], torch.as_tensor(mixed["mixup_lam"])
    assert index.tolist() != [0, 1, 2]

    def part(order: Tensor, shares: Tensor) -> Tensor:
        weights = WEIGHTS[order]
        shares = shares.expand(3) * weights * 3 / weights.sum()
        compound = CompoundLoss(0.5 * CrossEntropy() + 0.5 * Dice(), mode="multiclass")
        parts = [compound(case.logits[n : n + 1], case.target[order][n : n + 1]) for n in range(3)]
        return (shares * torch.stack(parts)).mean()

    expected = part(torch.arange(3), lam) + part(index, 1 - lam)
    torch.testing.assert_close(loss(case.logits, mixed)[0], expected, check_dtype=False)


@pytest.mark.parametrize(
    ("term", "remedy"),
    [
        (Dice(region_reduction="batch"), "set region_reduction='sample'"),
        (BalancedCrossEntropy(balance="batch"), "set balance='sample'"),
        (BalancedCrossEntropy(balance="micro"), "set balance='sample'"),
    ],
)
def test_a_term_of_pooled_samples_refuses_a_lambda_for_each(term: Term, remedy: str) -> None:
    case = Case("multiclass")
    images = torch.rand(3, 1, 6, 5)
    _, batch = MixUp(per_sample=True)(images, {GT: case.target})
    loss = SegLoss(n_classes=4, terms=term, use_mixup=True)
    with pytest.raises(ValueError, match=f"{remedy}, or give one mixup_lam for the batch"):
        loss(case.logits, batch)


def test_norms_count_samples_as_often() -> None:
    case = Case("multiclass")
    for make in (
        lambda: SegLoss(n_classes=4),
        lambda: SegLoss(n_classes=4, region_reduction="batch"),
        lambda: LossWrapper(nn.CrossEntropyLoss()),
    ):
        weighted, twice = make(), make()
        weighted.update_norm(case.logits, {GT: case.target, KEY: WEIGHTS}, 3)
        weighted.update_norm(case.logits, {GT: case.target}, 3)
        twice.update_norm(case.logits[TWICE], {GT: case.target[TWICE]}, 3)
        twice.update_norm(case.logits, {GT: case.target}, 3)
        torch.testing.assert_close(weighted.norm, twice.norm)
        torch.testing.assert_close(weighted.norm_count, twice.norm_count)


def test_merged_classes_are_weighted_too() -> None:
    case = Case("multiclass")
    annotated = torch.tensor([[True, True, False, True]] * 3)
    loss = CompoundLoss(CrossEntropy() + Dice(), "multiclass", merge_unannotated=True)
    target = case.target.masked_fill(case.target == 2, 0)
    value = loss(case.logits, target, annotated=annotated, sample_weights=WEIGHTS)
    expected = loss(case.logits[TWICE], target[TWICE], annotated=annotated)
    torch.testing.assert_close(value, expected)


def test_a_compiled_and_an_exported_loss_weight_samples() -> None:
    case = Case("multiclass", torch.float32)
    loss = CompoundLoss(CrossEntropy() + Dice(), "multiclass")
    tensors = {"sample_weights": WEIGHTS}
    expected = loss(case.logits, case.target, **tensors)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(case.logits, case.target, **tensors), expected)
    exported = torch.export.export(loss, (case.logits, case.target), tensors).module()
    torch.testing.assert_close(exported(case.logits, case.target, **tensors), expected)


def test_the_gradient_is_the_slope_of_the_value() -> None:
    case = Case("multiclass")
    loss = CompoundLoss(CrossEntropy() + Dice(), "multiclass")
    logits = case.logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: loss(x, case.target, sample_weights=WEIGHTS), (logits,)
    )
    assert torch.autograd.gradgradcheck(
        lambda x: loss(x[..., :2], case.target[..., :2], sample_weights=WEIGHTS),
        (logits,),
        fast_mode=True,
    )


def _on_rank(rank: int, ranks: int) -> float:
    case = Case("multiclass")
    terms = CrossEntropy() + Dice() + Dice(region_reduction="batch").named("pooled")
    loss = CompoundLoss(terms, "multiclass", sync_statistics=True, sync_in_eval=True)
    part = slice(0, 2) if rank == 0 else slice(2, 3)
    value = loss(case.logits[part], case.target[part], sample_weights=WEIGHTS[part])
    return float(value)


def test_ranks_have_the_weighted_loss_of_the_whole_batch(tmp_path: Path) -> None:
    case = Case("multiclass")
    terms = CrossEntropy() + Dice() + Dice(region_reduction="batch").named("pooled")
    expected = CompoundLoss(terms, "multiclass")(case.logits, case.target, sample_weights=WEIGHTS)
    for value in on_ranks(2, tmp_path, _on_rank):
        assert value == pytest.approx(float(expected), rel=1e-9)


def test_a_term_without_losses_of_samples_is_refused() -> None:
    class Pooled(Term):
        name = "pooled"
        sums = ("region",)

        def losses_and_weights(self, confusion: Any) -> tuple[Tensor, Tensor]:
            errors = confusion.false_positive.sum(0, keepdim=True)
            return mean(errors, errors + 1), torch.ones_like(errors)

    case = Case("binary")
    with pytest.raises(ValueError, match="no loss for each sample, so samples can't have weights"):
        CompoundLoss(Pooled())(case.logits, case.target, sample_weights=WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([1.0, 2.0, 1.0], TypeError, ("list", "torch.tensor(...)")),
        (WEIGHTS.numpy(), TypeError, ("ndarray", "torch.as_tensor(...)")),
        (WEIGHTS.unsqueeze(1), ValueError, ("(3,)", "(3, 1)", "sample_weights.flatten()")),
        (WEIGHTS[:2], ValueError, ("(3,)", "(2,)")),
        (torch.tensor(2.0), ValueError, ("leave sample_weights out",)),
        (torch.ones(4), ValueError, ("(4,)", "class_weights")),
        (torch.ones(3, 1, 6, 5), ValueError, ("pixel_weights",)),
        (-WEIGHTS, ValueError, ("at least 0", "-2")),
        (WEIGHTS * torch.nan, ValueError, ("finite", "nan")),
        (WEIGHTS / 0, ValueError, ("finite",)),
        (WEIGHTS.to(torch.complex64), TypeError, ("real",)),
        (WEIGHTS.clone().requires_grad_(), TypeError, ("must not require grad", "detach")),
        (WEIGHTS.to("meta"), ValueError, ("device", "meta")),
    ],
    ids=str,
)
@pytest.mark.parametrize("door", ["SegLoss", "LossWrapper", "LossWrapper of PyTorch", "seg_loss"])
def test_wrong_weights_are_refused(
    weights: Any, error: type[Exception], words: tuple[str, ...], door: str
) -> None:
    case = Case("multiclass")
    with pytest.raises(error) as caught:
        DOORS[door](case.logits, {GT: case.target, KEY: weights})
    assert all(word in str(caught.value) for word in (KEY, *words))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16])
def test_weights_have_any_real_dtype(dtype: torch.dtype) -> None:
    case = Case("multiclass")
    weights = torch.tensor([1, 0, 1])
    loss = CompoundLoss(CrossEntropy() + Dice(), "multiclass")
    torch.testing.assert_close(
        loss(case.logits, case.target, sample_weights=weights.to(dtype)),
        loss(case.logits[::2], case.target[::2]),
    )
