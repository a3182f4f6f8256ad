"""Sigmoid channels with a label map: the target of channel c is 1 where the label is c."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segloss import (
    CompoundLoss,
    DeepSupervision,
    LossWrapper,
    MixUp,
    MultiLoss,
    SegLoss,
    assert_loss,
    functional,
    soft_confusion,
    use_backend,
)
from segloss.terms import TERMS, CrossEntropy, Dice, Focal, Mixture
from tests.support.kernels import BACKENDS

GT = "gt_polygons_image"
EVERY = {name: term() for name, term in TERMS.items()}


class Case:
    """Logits of channels, and labels, of which some may be ignored."""

    def __init__(
        self,
        *spatial: int,
        channels: int = 4,
        dtype: torch.dtype = torch.float64,
        ignored: bool = True,
    ) -> None:
        random = torch.Generator().manual_seed(0)
        size = spatial or (7, 6)
        shape = (3, channels, *size)
        self.logits = torch.randn(shape, generator=random, dtype=dtype)
        self.labels = torch.randint(0, channels, (3, *size), generator=random)
        self.left_out = torch.rand(3, *size, generator=random) < 0.25
        self.labels[self.left_out & torch.tensor(ignored)] = 255
        self.weights = torch.rand((3, 1, *size), generator=random, dtype=dtype)
        self.channel_weights = torch.rand(shape, generator=random, dtype=dtype).round()
        self.maps = {
            "gt_distance_map": torch.randn(shape, generator=random, dtype=dtype),
            "gt_skeleton": torch.rand(shape, generator=random, dtype=dtype).round(),
        }

    @property
    def masks(self) -> Tensor:
        """The same target, dense: 255 in every channel where the label is 255."""
        kept = self.labels != 255
        classes = self.logits.shape[1]
        one_hot = F.one_hot(self.labels * kept, classes).movedim(-1, 1)
        return one_hot.masked_fill(~kept.unsqueeze(1), 255)

    def result(self, loss: Callable[..., Tensor], target: Tensor, **tensors: Any) -> Any:
        """The value of a loss, and its gradient."""
        logits = self.logits.clone().requires_grad_()
        value = loss(logits, target, **tensors)
        value.sum().backward()
        return value.detach(), logits.grad


OPTIONS: dict[str, tuple[dict[str, Any], Callable[[Case], dict[str, Any]]]] = {
    "plain": ({}, lambda case: {}),
    "smoothing and weights": (
        {
            "label_smoothing": 0.1,
            "pos_weight": [1.0, 2.0, 3.0, 0.5],
            "class_weights": [1.0, 0.0, 2.0, 1.0],
        },
        lambda case: {"pixel_weights": case.weights},
    ),
    "weights of channels": ({}, lambda case: {"pixel_weights": case.channel_weights}),
    "annotated": (
        {},
        lambda case: {"annotated": torch.tensor([[True, False, True, True]] * 3)},
    ),
    "samples": ({}, lambda case: {"sample_weights": torch.tensor([2.0, 0.0, 1.0])}),
    "probabilities": ({"from_logits": False}, lambda case: {}),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("term", EVERY)
def test_a_label_map_is_a_mask_for_each_channel(term: str, options: str) -> None:
    case = Case()
    of_loss, of_call = OPTIONS[options]
    if of_loss.get("from_logits") is False:
        case.logits = case.logits.sigmoid()
    loss = CompoundLoss(EVERY[term], "multilabel", ignore_index=255, **of_loss)
    tensors = {"maps": case.maps, **of_call(case)}
    torch.testing.assert_close(
        case.result(loss, case.labels, **tensors), case.result(loss, case.masks, **tensors)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_kernel_reads_it(
    backend: str, dtype: torch.dtype, ignored: bool, weighted: bool
) -> None:
    case = Case(33, 31, dtype=dtype, ignored=ignored)
    every = [EVERY[name] for name in ("cross_entropy", "dice", "mcc", "focal", "squared_dice")]
    terms: Any = Mixture.of(every[0])
    for term in every[1:]:
        terms = terms + term
    loss = CompoundLoss(terms, "multilabel", ignore_index=255)
    tensors = {"pixel_weights": case.weights} if weighted else {}
    with use_backend(backend):
        value = case.result(loss, case.labels, **tensors)
    torch.testing.assert_close(value, case.result(loss, case.masks, **tensors))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32]
)
def test_labels_have_any_dtype(backend: str, dtype: torch.dtype) -> None:
    case = Case(dtype=torch.float32, ignored=dtype != torch.int8)
    loss = CompoundLoss(CrossEntropy() + Dice(), "multilabel", ignore_index=255)
    with use_backend(backend):
        value = case.result(loss, case.labels.to(dtype))
    torch.testing.assert_close(value, case.result(loss, case.masks))


def test_boolean_labels_are_two_channels() -> None:
    case = Case(channels=2, ignored=False)
    loss = CompoundLoss(CrossEntropy() + Dice(), "multilabel")
    torch.testing.assert_close(case.result(loss, case.labels.bool()), case.result(loss, case.masks))


@pytest.mark.parametrize("size", [(9,), (5, 4), (3, 4, 5)])
@pytest.mark.parametrize("with_axis", [False, True])
def test_images_have_one_to_three_dimensions(size: tuple[int, ...], with_axis: bool) -> None:
    case = Case(*size)
    labels = case.labels.unsqueeze(1) if with_axis else case.labels
    loss = CompoundLoss(CrossEntropy() + Dice(), "multilabel", ignore_index=255)
    torch.testing.assert_close(case.result(loss, labels), case.result(loss, case.masks))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["empty", "all ignored"])
def test_nothing_to_count_gives_loss_and_gradient_0(backend: str, kind: str) -> None:
    case = Case(dtype=torch.float32)
    case.labels[:] = 255
    loss = CompoundLoss(CrossEntropy() + Dice(), "multilabel", ignore_index=255)
    if kind == "empty":
        case.logits, case.labels = case.logits[:0], case.labels[:0]
    with use_backend(backend):
        value, gradient = case.result(loss, case.labels)
    assert value == 0
    assert (gradient == 0).all()


def test_nan_at_ignored_pixels_changes_nothing() -> None:
    case = Case(dtype=torch.float32)
    loss = CompoundLoss(CrossEntropy() + Dice(), "multilabel", ignore_index=255)
    expected = case.result(loss, case.labels)
    case.logits.masked_fill_((case.labels == 255).unsqueeze(1), torch.nan)
    for backend in BACKENDS:
        with use_backend(backend):
            torch.testing.assert_close(case.result(loss, case.labels), expected)


def test_several_ignored_values_and_classes() -> None:
    case = Case()
    loss = CompoundLoss(Dice(), "multilabel", ignore_index=[1, 255])
    expected = CompoundLoss(Dice(), "multilabel", ignore_index=255)
    marked = case.labels.masked_fill(case.labels == 1, 255)
    torch.testing.assert_close(case.result(loss, case.labels), case.result(expected, marked))


SIGMOID = {"n_classes": 4, "activation": "sigmoid", "ignore_index": 255}
DOORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "SegLoss": lambda x, y: SegLoss(from_logits=True, **SIGMOID)(x, y)[0],
    "SegLoss of any channels": lambda x, y: SegLoss(
        from_logits=True, activation="sigmoid", ignore_index=255
    )(x, y)[0],
    "MultiLoss": lambda x, y: MultiLoss([SegLoss(**SIGMOID)], [1.0])(x, y)[0],
    "LossWrapper": lambda x, y: LossWrapper(CompoundLoss(mode="multilabel", ignore_index=255))(
        x, y
    )[0],
    "DeepSupervision": lambda x, y: DeepSupervision(SegLoss(**SIGMOID))([x, x[..., ::2, ::2]], y)[
        0
    ],
    "dice_loss": lambda x, y: functional.dice_loss(x, y, activation="sigmoid", ignore_index=255),
    "seg_loss": lambda x, y: functional.seg_loss(x, y, activation="sigmoid", ignore_index=255),
    "binary_cross_entropy": lambda x, y: functional.binary_cross_entropy(x, y, ignore_index=255),
    "soft_confusion": lambda x, y: soft_confusion(x, y, **SIGMOID).false_negative,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_it(door: str) -> None:
    case = Case(8, 8)
    torch.testing.assert_close(
        case.result(DOORS[door], case.labels), case.result(DOORS[door], case.masks)
    )


def test_mixup_has_two_label_maps() -> None:
    case = Case()
    loss = SegLoss(use_mixup=True, from_logits=True, **SIGMOID)
    for per_sample in (False, True):
        draws = [torch.Generator().manual_seed(1) for _ in range(2)]
        images, mixup = torch.rand(3, 1, 7, 6), MixUp(per_sample=per_sample)
        values = [
            loss(case.logits, mixup(images, {GT: target}, draw)[1])[0]
            for target, draw in zip((case.labels, case.masks), draws, strict=True)
        ]
        torch.testing.assert_close(*values)


def test_a_compiled_and_an_exported_loss_read_it() -> None:
    case = Case(dtype=torch.float32)
    loss = CompoundLoss(CrossEntropy() + Dice(), "multilabel", ignore_index=255)
    expected = loss(case.logits, case.labels)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(case.result(compiled, case.labels), case.result(loss, case.labels))
    exported = torch.export.export(loss, (case.logits, case.labels)).module()
    torch.testing.assert_close(exported(case.logits, case.labels), expected)


def test_the_gradient_is_the_slope_of_the_value() -> None:
    case = Case(3, 4)
    loss = CompoundLoss(CrossEntropy() + Dice() + Focal(), "multilabel", ignore_index=255)
    logits = case.logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, case.labels), (logits,))
    assert torch.autograd.gradgradcheck(lambda x: loss(x, case.labels), (logits,), fast_mode=True)


def test_check_loss_passes() -> None:
    assert_loss(SegLoss(from_logits=True, **SIGMOID))


@pytest.mark.parametrize("label", [4, 254, -1])
def test_a_label_that_is_not_a_channel_is_refused(label: int) -> None:
    case = Case()
    case.labels[0, 0, 0] = label
    with pytest.raises(ValueError, match=f"label {label}, expected 0 to 3"):
        CompoundLoss(mode="multilabel", ignore_index=255)(case.logits, case.labels)
    weights = torch.ones_like(case.logits)
    weights[0, :, 0, 0] = 0
    CompoundLoss(mode="multilabel", ignore_index=255)(
        case.logits, case.labels, pixel_weights=weights
    )
    weights[0, 1, 0, 0] = 1
    with pytest.raises(ValueError, match=f"label {label}"):
        CompoundLoss(mode="multilabel", ignore_index=255)(
            case.logits, case.labels, pixel_weights=weights
        )


def test_a_label_map_is_refused_if_nobody_asked_for_sigmoid() -> None:
    case = Case()
    with pytest.raises(ValueError, match="set n_classes=4"):
        SegLoss(from_logits=True, ignore_index=255)(case.logits, case.labels)
    with pytest.raises(ValueError, match="set n_classes=4"):
        functional.dice_loss(case.logits, case.labels, ignore_index=255)
