"""Remedies of messages: following one mends the case, and gives the loss of the right data.

Each row has a call that fails, a remedy that its message offers, the same call with the remedy
followed, and the loss of the right reading, from PyTorch or NumPy. Cross-entropy alone is computed,
because PyTorch has it.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.models.maskformer.modeling_maskformer import MaskFormerLoss

import segloss
from segloss import (
    BoundaryLoss,
    ComponentMap,
    CompoundLoss,
    ComputeSegGrads,
    CrossfieldAlignLoss,
    CutMix,
    DeepSupervision,
    DiceLoss,
    HardPixelLoss,
    LossWrapper,
    LovaszLoss,
    MixUp,
    MultiLoss,
    SegCrossfieldLoss,
    SegLoss,
    SegLossWeights,
    SignedDistanceMap,
    TopK,
    TopKCrossEntropyLoss,
)
from segloss import functional as functions
from segloss.compat import tutorial
from segloss.losses.loss import Criterion
from segloss.losses.term_losses import TermLoss
from segloss.terms import CrossEntropy, Dice, Focal, Term
from segloss.training.huggingface import as_compute_loss_func, use_mask_losses

GT, W = "gt_polygons_image", "seg_loss_weights"

_random = torch.Generator().manual_seed(0)


def rand(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_random)


X1, X2, X3, X4 = (rand(2, channels, 4, 6) for channels in (1, 2, 3, 4))
"""Logits of one to four channels."""

L3 = torch.arange(48).reshape(2, 4, 6) % 3
FRAMES, FRAME_LABELS = rand(2, 5, 3, 4, 6), torch.stack([L3] * 5, 1)
MASK = torch.arange(48).reshape(2, 1, 4, 6) % 2
"""Label maps of three and two classes."""

SOME = torch.zeros(2, 4, 6, dtype=torch.bool)
SOME[0, 1, 2] = SOME[1, 3, :2] = True
"""Pixels to leave out."""


def marked(target: Tensor, value: int) -> Tensor:
    """The target with a marker at some pixels."""
    return target.masked_fill(SOME.reshape(2, *[1] * (target.ndim - 3), 4, 6), value)


def softmax_loss(logits: Tensor, labels: Tensor, ignore: int = -100, **options: Any) -> Tensor:
    return F.cross_entropy(logits, labels.long(), ignore_index=ignore, **options)


def sigmoid_loss(logits: Tensor, masks: Tensor, left_out: Tensor | None = None) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(logits, masks.float(), reduction="none")
    return losses.mean() if left_out is None else losses[~left_out.unsqueeze(1)].mean()


# Batches: what a loss is made with, its prediction and target, before and after the remedy


class Case(NamedTuple):
    """A batch and the options of the loss."""

    pred: Any
    target: Any
    options: Mapping[str, Any] = MappingProxyType({})


class Batch(NamedTuple):
    """A refused batch, a remedy in the message, the mended batch, its loss, and harmful words."""

    wrong: Case
    remedy: str
    mended: Case
    right: Tensor
    absent: tuple[str, ...] = ()


N3, SOFTMAX = {"n_classes": 3}, {"activation": "softmax"}
ONE_HOT = F.one_hot(L3, 3).movedim(-1, 1)
GREY = MASK * 255
TWO_MARKERS = marked(L3, 255).index_fill(1, torch.tensor([0]), -1)
IGNORE, SELECT = "ignore_index", "selector"
LEVELS = torch.tensor([0, 127, 255])

BATCHES: dict[str, Batch] = {
    # masks
    "mask of 0 and 255": Batch(
        Case(X1, GREY),
        "divide it, target / 255",
        Case(X1, GREY / 255),
        sigmoid_loss(X1, MASK),
        (IGNORE,),
    ),
    "uint8 mask of 0 and 255": Batch(
        Case(X1, GREY.byte()),
        "divide it, target / 255",
        Case(X1, GREY.byte() / 255),
        sigmoid_loss(X1, MASK),
        (IGNORE,),
    ),
    "mask of 0 and 254": Batch(
        Case(X1, MASK * 254),
        "divide it, target / 254",
        Case(X1, MASK * 254 / 254),
        sigmoid_loss(X1, MASK),
        (IGNORE,),
    ),
    "mask of 255 alone": Batch(
        Case(X1, GREY * 0 + 255),
        "divide it, target / 255",
        Case(X1, (GREY * 0 + 255) / 255),
        sigmoid_loss(X1, MASK * 0 + 1),
        (IGNORE,),
    ),
    "mask with grey edges": Batch(
        Case(X1, torch.linspace(0, 255, 48).reshape(2, 1, 4, 6)),
        "divide it, target / 255",
        Case(X1, torch.linspace(0, 255, 48).reshape(2, 1, 4, 6) / 255),
        sigmoid_loss(X1, torch.linspace(0, 1, 48).reshape(2, 1, 4, 6)),
        (IGNORE,),
    ),
    "mask of three grey levels": Batch(
        Case(X1, marked(GREY, 128)),
        "divide it, target / 255",
        Case(X1, marked(GREY, 128) / 255),
        sigmoid_loss(X1, torch.where(SOME.unsqueeze(1), 128 / 255, MASK)),
    ),
    "trimap": Batch(
        Case(X1, marked(GREY, 128)),
        "If 128 marks pixels to leave out, map the three levels to 0, 255 and 1 instead, and set "
        "ignore_index=255",
        Case(X1, marked(MASK, 255), {IGNORE: 255}),
        sigmoid_loss(X1, MASK, SOME),
    ),
    **{
        f"mask with {value}": Batch(
            Case(X1, marked(MASK, value)),
            f"set ignore_index={value}",
            Case(X1, marked(MASK, value), {IGNORE: value}),
            sigmoid_loss(X1, MASK, SOME),
            ("target /", "n_classes"),
        )
        for value in (255, 254, -1, -100)
    },
    "soft mask with 255": Batch(
        Case(X1, marked(MASK * 0.25, 255)),
        "set ignore_index=255",
        Case(X1, marked(MASK * 0.25, 255), {IGNORE: 255}),
        sigmoid_loss(X1, MASK * 0.25, SOME),
        ("target /",),
    ),
    "mask with another marker": Batch(
        Case(X1, marked(MASK, 255), {IGNORE: -100}),
        "set ignore_index=255, since no pixel has the value -100",
        Case(X1, marked(MASK, 255), {IGNORE: 255}),
        sigmoid_loss(X1, MASK, SOME),
    ),
    "mask of -1 and 1": Batch(
        Case(X1, 2 * MASK - 1),
        "pass (target + 1) / 2",
        Case(X1, (2 * MASK - 1 + 1) / 2),
        sigmoid_loss(X1, MASK),
        (IGNORE,),
    ),
    "mask of 1 and 2": Batch(
        Case(X1, MASK + 1),
        "subtract 1, target - 1",
        Case(X1, MASK),
        sigmoid_loss(X1, MASK),
        (IGNORE,),
    ),
    "labels of three classes as a float mask": Batch(
        Case(X1, L3.unsqueeze(1).float()),
        "pass a label map, and the network needs 3 output channels (n_classes=3)",
        Case(X3, L3, N3),
        softmax_loss(X3, L3),
    ),
    "mask with the marker 2": Batch(
        Case(X1, marked(MASK, 2)),
        "if 2 marks pixels to leave out, set ignore_index=2",
        Case(X1, marked(MASK, 2), {IGNORE: 2}),
        sigmoid_loss(X1, MASK, SOME),
    ),
    "labels of three classes from 1 as a mask": Batch(
        Case(X1, L3.unsqueeze(1) + 1),
        "these are labels of 3 classes, pass a label map that starts at 0, target - 1",
        Case(X3, L3, N3),
        softmax_loss(X3, L3),
        (IGNORE,),
    ),
    "overshoot of a bicubic resize": Batch(
        Case(X1, MASK * 1.04 - 0.02),
        "clamp its result, target.clamp(0, 1)",
        Case(X1, (MASK * 1.04 - 0.02).clamp(0, 1)),
        sigmoid_loss(X1, MASK),
        (IGNORE,),
    ),
    "mask after the normalisation of images": Batch(
        Case(X1, (MASK - 0.45) / 0.225),
        "normalise images only",
        Case(X1, MASK),
        sigmoid_loss(X1, MASK),
        (IGNORE,),
    ),
    "one-hot masks of 0 and 255": Batch(
        Case(X3, ONE_HOT * 255, N3),
        "divide it, target / 255",
        Case(X3, ONE_HOT * 255 / 255, N3),
        softmax_loss(X3, L3),
        (IGNORE,),
    ),
    # label maps
    "labels 1 to 3": Batch(
        Case(X3, L3 + 1, N3),
        "subtract 1, target - 1",
        Case(X3, L3 + 1 - 1, N3),
        softmax_loss(X3, L3),
        (IGNORE, "n_classes=4"),
    ),
    "label map of 0 and 255": Batch(
        Case(X2, GREY, SOFTMAX),
        "divide it, target // 255",
        Case(X2, GREY // 255, SOFTMAX),
        softmax_loss(X2, MASK[:, 0]),
        (IGNORE,),
    ),
    "label map of 255 alone": Batch(
        Case(X2, GREY * 0 + 255, SOFTMAX),
        "divide it, target // 255",
        Case(X2, (GREY * 0 + 255) // 255, SOFTMAX),
        softmax_loss(X2, MASK[:, 0] * 0 + 1),
        (IGNORE,),
    ),
    "label map of three grey levels": Batch(
        Case(X2, marked(GREY, 130), SOFTMAX),
        "target > 127",
        Case(X2, marked(GREY, 130) > 127, SOFTMAX),
        softmax_loss(X2, marked(MASK, 1)[:, 0]),
        (IGNORE,),
    ),
    "grey levels of three classes": Batch(
        Case(X3, LEVELS[L3], N3),
        "map each level to the index of its class, 0 to 2",
        Case(X3, torch.bucketize(LEVELS[L3], LEVELS), N3),
        softmax_loss(X3, L3),
        (IGNORE,),
    ),
    "two of the grey levels of three classes": Batch(
        Case(X3, GREY, N3),
        "if it is a grey level of an image, map each level to the index of its class",
        Case(X3, torch.bucketize(GREY, LEVELS), N3),
        softmax_loss(X3, 2 * MASK[:, 0]),
    ),
    **{
        f"labels with {value}": Batch(
            Case(X3, marked(L3, value), N3),
            f"If {value} marks pixels to leave out, set ignore_index={value}",
            Case(X3, marked(L3, value), {**N3, IGNORE: value}),
            softmax_loss(X3, L3.masked_fill(SOME, -100)),
            ("n_classes=", "subtract"),
        )
        for value in (255, 254, -1, -100)
    },
    "labels with another marker": Batch(
        Case(X3, marked(L3, 255), {**N3, IGNORE: -100}),
        "set ignore_index=255, since no pixel has the value -100",
        Case(X3, marked(L3, 255), {**N3, IGNORE: 255}),
        softmax_loss(X3, L3.masked_fill(SOME, -100)),
    ),
    "labels with a second marker": Batch(
        Case(X3, TWO_MARKERS, {**N3, IGNORE: -1}),
        "give them the value -1, which is left out already",
        Case(X3, marked(L3, -1).index_fill(1, torch.tensor([0]), -1), {**N3, IGNORE: -1}),
        softmax_loss(X3, marked(L3, -100).index_fill(1, torch.tensor([0]), -100)),
    ),
    "labels with two markers": Batch(
        Case(X3, TWO_MARKERS, N3),
        "If -1 and 255 mark pixels to leave out, set ignore_index=[-1, 255]",
        Case(X3, TWO_MARKERS, {**N3, IGNORE: [-1, 255]}),
        softmax_loss(X3, marked(L3, -100).index_fill(1, torch.tensor([0]), -100)),
    ),
    "labels with two markers beside an ignored value": Batch(
        Case(
            X3,
            marked(L3, 255)
            .index_fill(1, torch.tensor([0]), -1)
            .index_fill(2, torch.tensor([0]), 7),
            {**N3, IGNORE: [7, 8]},
        ),
        "If -1 and 255 mark pixels to leave out, set ignore_index=[-1, 7, 255]",
        Case(
            X3,
            marked(L3, 255)
            .index_fill(1, torch.tensor([0]), -1)
            .index_fill(2, torch.tensor([0]), 7),
            {**N3, IGNORE: [-1, 7, 255]},
        ),
        softmax_loss(
            X3,
            marked(L3, -100)
            .index_fill(1, torch.tensor([0]), -100)
            .index_fill(2, torch.tensor([0]), -100),
        ),
    ),
    "labels with a marker beside two that do not occur": Batch(
        Case(X3, marked(L3, 255), {**N3, IGNORE: [-100, -1]}),
        "set ignore_index=255, since no pixel has the values -100 and -1",
        Case(X3, marked(L3, 255), {**N3, IGNORE: 255}),
        softmax_loss(X3, L3.masked_fill(SOME, -100)),
    ),
    "mask with two markers": Batch(
        Case(X1, marked(MASK, 255).index_fill(2, torch.tensor([0]), -1)),
        "If -1 and 255 mark pixels to leave out, set ignore_index=[-1, 255]",
        Case(X1, marked(MASK, 255).index_fill(2, torch.tensor([0]), -1), {IGNORE: [-1, 255]}),
        sigmoid_loss(X1, MASK, SOME.index_fill(1, torch.tensor([0]), True)),
    ),
    "one class more": Batch(
        Case(X3, marked(L3, 3), N3),
        "If 3 is a class, the network needs 4 output channels (n_classes=4)",
        Case(X4, marked(L3, 3), {"n_classes": 4}),
        softmax_loss(X4, marked(L3, 3)),
    ),
    "the next label as the marker": Batch(
        Case(X3, marked(L3, 3), N3),
        "if 3 marks pixels to leave out, set ignore_index=3",
        Case(X3, marked(L3, 3), {**N3, IGNORE: 3}),
        softmax_loss(X3, L3.masked_fill(SOME, -100)),
    ),
    "some of the labels 1 to 3": Batch(
        Case(X3, MASK + 2, N3),
        "If labels start at 1, subtract 1, target - 1",
        Case(X3, MASK + 2 - 1, N3),
        softmax_loss(X3, MASK[:, 0] + 1),
    ),
    "many classes more": Batch(
        Case(X1[:, :1].expand(2, 2, 4, 6), L3 + MASK[:, 0], SOFTMAX),
        "the network needs 4 output channels (n_classes=4)",
        Case(X4, L3 + MASK[:, 0], {"n_classes": 4}),
        softmax_loss(X4, L3 + MASK[:, 0]),
    ),
    "labels of a finer list of classes": Batch(
        Case(X3, L3 * 3, N3),
        "if not, map them to 0 to 2 first",
        Case(X3, torch.tensor([0, 0, 0, 1, 1, 1, 2])[L3 * 3], N3),
        softmax_loss(X3, L3),
        (IGNORE,),
    ),
    "label map after ToTensor": Batch(
        Case(X3, L3 / 255, N3),
        "pass (255 * target).round()",
        Case(X3, (255 * (L3 / 255)).round(), N3),
        softmax_loss(X3, L3),
        ("nearest",),
    ),
    "label map with roundings": Batch(
        Case(X3, L3 * 0.9999999, N3),
        "pass target.round()",
        Case(X3, (L3 * 0.9999999).round(), N3),
        softmax_loss(X3, L3),
        ("nearest",),
    ),
    "label map after a bilinear resize": Batch(
        Case(X3, F.interpolate(L3[:, None].float(), (2, 3), mode="bilinear"), N3)._replace(
            pred=X3[..., :2, :3]
        ),
        "resize label maps with mode='nearest'",
        Case(X3[..., :2, :3], F.interpolate(L3[:, None].float(), (2, 3), mode="nearest"), N3),
        softmax_loss(X3[..., :2, :3], L3[:, ::2, ::2]),
        (IGNORE,),
    ),
    # shapes
    "logits of a quarter of the labels' size": Batch(
        Case(X3, L3.repeat(1, 4, 4), N3),
        "F.interpolate({pred}, (16, 24), mode='bilinear')",
        Case(F.interpolate(X3, (16, 24), mode="bilinear"), L3.repeat(1, 4, 4), N3),
        softmax_loss(F.interpolate(X3, (16, 24), mode="bilinear"), L3.repeat(1, 4, 4)),
        (SELECT,),
    ),
    "volumes of another size": Batch(
        Case(X3.unsqueeze(2), L3.unsqueeze(1).repeat(1, 2, 1, 1), N3),
        "F.interpolate({pred}, (2, 4, 6), mode='trilinear')",
        Case(
            F.interpolate(X3.unsqueeze(2), (2, 4, 6), mode="trilinear"),
            L3.unsqueeze(1).repeat(1, 2, 1, 1),
            N3,
        ),
        softmax_loss(X3, L3),
        (SELECT,),
    ),
    "one-hot masks (N, H, W, C)": Batch(
        Case(X3, F.one_hot(L3, 3), N3),
        "target.movedim(-1, 1)",
        Case(X3, F.one_hot(L3, 3).movedim(-1, 1), N3),
        softmax_loss(X3, L3),
        (SELECT, "interpolate"),
    ),
    "label map (N, H, W, 1)": Batch(
        Case(X3, L3.unsqueeze(-1), N3),
        "target.movedim(-1, 1)",
        Case(X3, L3.unsqueeze(-1).movedim(-1, 1), N3),
        softmax_loss(X3, L3),
        (SELECT, "interpolate"),
    ),
    "prediction (N, H, W, C)": Batch(
        Case(X3.movedim(1, -1), L3, N3),
        "pass {pred}.movedim(-1, 1)",
        Case(X3.movedim(1, -1).movedim(-1, 1), L3, N3),
        softmax_loss(X3, L3),
        (SELECT, "interpolate", "Set n_classes"),
    ),
    "prediction (N, H, W, 1)": Batch(
        Case(X1.movedim(1, -1), MASK, {}),
        "pass {pred}.movedim(-1, 1)",
        Case(X1, MASK, {}),
        sigmoid_loss(X1, MASK),
        (SELECT, "interpolate", "multiclass"),
    ),
    "sample without a batch": Batch(
        Case(X3[0], L3[0], N3),
        "pass {pred}[None] and target[None]",
        Case(X3[0][None], L3[0][None], N3),
        softmax_loss(X3[:1], L3[:1]),
        (SELECT, "interpolate"),
    ),
    "label map without a batch": Batch(
        Case(X3[:1], L3[0], N3),
        "pass target[None]",
        Case(X3[:1], L3[0][None], N3),
        softmax_loss(X3[:1], L3[:1]),
        (SELECT, "interpolate"),
    ),
    "masks without channels in the prediction": Batch(
        Case(X1[:, 0], MASK, {}),
        "pass {pred}.unsqueeze(1)",
        Case(X1[:, 0].unsqueeze(1), MASK, {}),
        sigmoid_loss(X1, MASK),
        (SELECT, "interpolate"),
    ),
    "height and width swapped": Batch(
        Case(X3, L3.mT, N3),
        "pass target.mT",
        Case(X3, L3.mT.mT, N3),
        softmax_loss(X3, L3),
        (SELECT, "interpolate"),
    ),
    **{
        f"RGB masks, {where}": Batch(
            Case(X4, colours, {"n_classes": 4}),
            "map its colours to class indices, (N, H, W)",
            Case(X4, L3, {"n_classes": 4}),
            softmax_loss(X4, L3),
            (SELECT, "interpolate", "movedim"),
        )
        for where, colours in {
            "channels first": torch.stack([L3 * 100] * 3, 1),
            "channels last": torch.stack([L3 * 100] * 3, -1),
            "bytes": torch.stack([L3 * 100] * 3, -1).byte(),
        }.items()
    },
    "one-hot masks for one channel": Batch(
        Case(X1, torch.cat([1 - MASK, MASK], 1), {}),
        "Take the channels that the network predicts, target[:, 1:]",
        Case(X1, torch.cat([1 - MASK, MASK], 1)[:, 1:], {}),
        sigmoid_loss(X1, MASK),
        ("interpolate", SELECT),
    ),
    "more channels than masks": Batch(
        Case(X3, torch.cat([1 - MASK, MASK], 1), {}),
        "Take the channels that the target has, {pred}[:, [...]]",
        Case(X3[:, [0, 2]], torch.cat([1 - MASK, MASK], 1), {}),
        sigmoid_loss(X3[:, [0, 2]], torch.cat([1 - MASK, MASK], 1)),
        ("interpolate", SELECT),
    ),
}
"""Batches that every loss with cross-entropy refuses alike."""


def said(remedy: str, pred: str = "prediction", target: str = "target") -> str:
    """A remedy with the caller's names of the tensors."""
    return remedy.replace("{pred}", pred).replace("{target}", target)


def mode_of(case: Case) -> str:
    if case.options.get("activation") == "softmax":
        return "multiclass"
    if "activation" in case.options or case.options.get("n_classes", 2) == 2:
        several = case.pred.ndim > 3 and case.pred.shape[1] in (2, 3)
        return "multilabel" if several else "binary"
    return "multiclass"


def seg_loss(case: Case) -> SegLoss:
    return SegLoss(bce_coef=1, dice_coef=0, from_logits=True, **case.options)


def compound_loss(case: Case) -> CompoundLoss:
    ignored = case.options.get(IGNORE)
    return CompoundLoss(CrossEntropy(), mode_of(case), ignore_index=ignored)


def by_function(case: Case) -> Tensor:
    if mode_of(case) != "multiclass":
        options = {k: v for k, v in case.options.items() if k == IGNORE}
        return functions.binary_cross_entropy(case.pred, case.target, **options)
    options = {k: v for k, v in case.options.items() if k != "activation"}
    return functions.cross_entropy(case.pred, case.target, **options)


DOORS: dict[str, Callable[[Case], Tensor]] = {
    "SegLoss": lambda case: seg_loss(case)(*case[:2])[0],
    "CompoundLoss": lambda case: compound_loss(case)(*case[:2]),
    "functional": by_function,
    "LossWrapper": lambda case: LossWrapper(compound_loss(case))(*case[:2])[0],
    "MultiLoss": lambda case: MultiLoss([seg_loss(case)], [1.0])(*case[:2])[0],
    "DeepSupervision": lambda case: DeepSupervision(seg_loss(case))(*case[:2])[0],
    "TopKCrossEntropyLoss": lambda case: TopKCrossEntropyLoss(
        "multiclass" if mode_of(case) == "multiclass" else "binary",
        k=100,
        ignore_index=case.options.get(IGNORE),
    )(*case[:2]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", BATCHES)
def test_a_remedy_for_a_batch_mends_it_and_harmful_ones_are_not_offered(
    name: str, door: str
) -> None:
    wrong, remedy, mended, right, absent = BATCHES[name]
    try:
        DOORS[door](wrong)
    except ValueError as error:
        message = str(error)
    else:
        pytest.fail("the batch was taken")
    assert said(remedy, "pred" if door == "functional" else "prediction") in message
    for words in absent:
        assert words not in message, message
    torch.testing.assert_close(DOORS[door](mended).double(), right.double(), rtol=1e-5, atol=1e-6)


# Calls of single losses, transforms and adapters


class Row(NamedTuple):
    """A refused call, a remedy in the message, the mended call, its value, and harmful words."""

    wrong: Callable[[], Any]
    remedy: str
    mended: Callable[[], Any]
    right: Any
    absent: tuple[str, ...] = ()


CLASSES = torch.arange(3).reshape(1, 3, 1, 1)
DOTS = torch.zeros(20, 60, dtype=torch.long)
DOTS[::2, ::2] = 1  # 300 components
ONE_PIXEL, ONE_LABEL = torch.zeros(1, 2, 1), torch.zeros(1, 1, dtype=torch.long)


def components(pred: Tensor, target: Tensor, ids: Tensor) -> Callable[[], Any]:
    """The Dice loss of components, which is the plain one if each class is one component."""
    loss = CompoundLoss(Dice(region_groups="components"), "multiclass")
    return lambda: loss(pred, target, maps={"gt_components": ids})


def dice_of(pred: Tensor, labels: Tensor) -> Tensor:
    p = pred.softmax(1).flatten(2)
    g = F.one_hot(labels.long(), pred.shape[1]).movedim(-1, 1).flatten(2)
    return (1 - (2 * (p * g).sum(2) + 1) / (p.sum(2) + g.sum(2) + 1)).mean()


def seg(pred: Any, gt: Any, **options: Any) -> Callable[[], Any]:
    if "terms" not in options:
        options = {"bce_coef": 1, "dice_coef": 0, **options}
    return lambda: SegLoss(**{"from_logits": True, **options})(pred, gt)[0]


SAMPLES = "sample_weights"
WEIGHTED = (2 * softmax_loss(X3[:1], L3[:1]) + softmax_loss(X3[1:], L3[1:])) / 3
"""The loss of two samples, the first of weight 2."""


class WholeBatch(Term):
    """Cross-entropy without a loss for each sample."""

    name = "whole_batch"
    sums = ("cross_entropy",)

    def losses_and_weights(self, confusion: Any) -> tuple[Tensor, Tensor]:
        losses, weights = confusion.cross_entropy.sum(), confusion.weight.sum()
        return (losses / weights).reshape(1), torch.ones_like(losses).reshape(1)


def wrapped(loss: nn.Module, pred: Any, gt: Any, **options: Any) -> Callable[[], Any]:
    return lambda: LossWrapper(loss, **options)(pred, gt)[0]


def with_weights(target: Tensor, weights: Tensor) -> dict[str, Tensor]:
    return {GT: target, W: weights}


P1 = X1.sigmoid()
WEIGHTS3 = torch.tensor([1.0, 2.0, 5.0])
PIXEL_WEIGHTS3 = WEIGHTS3.reshape(1, 3, 1, 1).expand(2, 3, 4, 6)
DISTANCES = {"gt_distance_map": X1}
FIELD = torch.zeros(1, 4, 2, 2)
FRAME = {GT: torch.ones(1, 2, 2, 2), "gt_crossfield_angle": torch.zeros(1, 1, 2, 2)}
CHANNEL_WEIGHTS, DEGREES = (
    torch.tensor([1.0, 2.0, 3.0]),
    torch.arange(0.0, 160, 40).view(1, 1, 2, 2),
)
ANNOTATED = torch.ones(2, 3)
STRIPES = np.repeat(np.array([[0, 1, 1, 1, 1, 0]]), 5, 0)


class Sampled(nn.Module):
    """A loss for each pixel."""

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.loss = nn.BCEWithLogitsLoss(reduction=reduction)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.loss(prediction, target.float())


def mixed(**options: Any) -> Callable[[], Any]:
    batch = {GT: L3, "mixup_y_a": L3, "mixup_y_b": L3.flip(0), "mixup_lam": 0.25}
    return seg(X3, batch, n_classes=3, **options)


def distance_map(mask: Any) -> Callable[[], Any]:
    return lambda: torch.as_tensor(SignedDistanceMap()(mask=mask)["gt_distance_map"])


def huggingface(labels: Any, logits: Tensor = X3, **options: Any) -> Callable[[], Any]:
    loss = SegLoss(n_classes=3, bce_coef=1, dice_coef=0)
    return lambda: as_compute_loss_func(loss, **options)({"logits": logits}, labels)


def of_masks(**losses: Any) -> Callable[[], Any]:
    def call() -> Tensor:
        model, pairs = nn.Module(), torch.arange(2)
        model.criterion = MaskFormerLoss(3, nn.Identity(), {}, 0.1)
        use_mask_losses(model, **losses)
        masks = X1.movedim(0, 1), [MASK.squeeze(1)], [(pairs, pairs)], 2
        return model.criterion.loss_masks(*masks)["loss_mask"]

    return call


def walls(angle: Tensor) -> Callable[[], Any]:
    field = {"crossfield": torch.zeros(1, 4, 2, 2)}
    return lambda: CrossfieldAlignLoss()(field, {**FRAME, "gt_crossfield_angle": angle})[0]


def contour(pred: dict[str, Tensor]) -> Callable[[], Any]:
    return lambda: SegCrossfieldLoss()({"crossfield": torch.zeros(2, 4, 4, 6), **pred}, {})[0]


def after_update(loss: LossWrapper, pred: Tensor, gt: Tensor) -> LossWrapper:
    loss.update_norm(pred, gt, 2)
    return loss


ALONE = {"a": [0], "b": [1], "c": [2]}


def region(**options: Any) -> Callable[[], Any]:
    return lambda: DiceLoss(**options)(X1, MASK)


def scheduled(**call: Any) -> Callable[[], Any]:
    loss = MultiLoss([SegLoss(from_logits=True)], [[0.0, 2.0]], [0, 10])
    return lambda: loss(X1, MASK, **call)[0]


HEADS1, HEADS3 = (torch.stack([x, rand(*x.shape)], 1) for x in (X1, X3))
"""Two heads of deep supervision in one tensor, of one and of three channels."""

HEADS_OF_ONE, HEADS_OF_THREE = (
    (2 * loss(heads[:, 0], target) + loss(heads[:, 1], target)) / 3
    for loss, heads, target in ((sigmoid_loss, HEADS1, MASK), (softmax_loss, HEADS3, L3))
)
"""Their losses with the weights 1 and 1/2, by their sum."""

PYRAMID = [X3, X3[..., ::2, ::2]]
PYRAMID_LABELS = [L3, L3[:, 1::2, 1::2]]
OF_PYRAMID = (2 * softmax_loss(X3, L3) + softmax_loss(PYRAMID[1], PYRAMID_LABELS[1])) / 3


def deep(pred: Any, gt: Any, **options: Any) -> Callable[[], Any]:
    options = {"n_classes": 3, "bce_coef": 1, "dice_coef": 0, "from_logits": True, **options}
    return lambda: DeepSupervision(SegLoss(**options))(pred, gt)[0]


def deeply(loss: nn.Module, pred: Any, gt: Any) -> Callable[[], Any]:
    return lambda: DeepSupervision(loss)(pred, gt)[0]


UNBIND = "pass prediction.unbind(1) to segloss.DeepSupervision of this loss"

DICE = SegLoss(from_logits=True)(X1, MASK)[0]
VOLUMES = rand(2, 3, 4, 5, 6)
VOLUME_LABELS = torch.arange(240).reshape(2, 4, 5, 6) % 3
DENSE_OF_TWO = F.cross_entropy(X3[:, :2], ONE_HOT[:, :2].float())
INTERPOLATED = F.interpolate(X3, (8, 12), mode="bilinear")
LARGE = L3.repeat(1, 2, 2)

ROWS: dict[str, Row] = {
    # predictions
    "logits for probabilities": Row(
        seg(4 * X1, MASK, from_logits=False),
        "set from_logits=True",
        seg(4 * X1, MASK),
        sigmoid_loss(4 * X1, MASK),
    ),
    "logits for a loss of probabilities": Row(
        lambda: tutorial.DiceLoss()(4 * X1, MASK.float()),
        "or pass their sigmoid or softmax",
        lambda: tutorial.DiceLoss()((4 * X1).sigmoid(), MASK.float()),
        1 - (2 * ((4 * X1).sigmoid() * MASK).sum() + 1) / ((4 * X1).sigmoid() + MASK).sum().add(1),
    ),
    "probabilities after a bicubic resize": Row(
        seg(P1 * 0 + 1.02, MASK * 0 + 1, from_logits=False),
        "that a bicubic resize has changed, clamp them, prediction.clamp(0, 1)",
        seg((P1 * 0 + 1.02).clamp(0, 1), MASK * 0 + 1, from_logits=False),
        torch.tensor(0.0),
    ),
    "logits in the range of probabilities": Row(
        seg(X1 * 0 + 1.02, MASK, from_logits=False),
        "If these are logits, set from_logits=True",
        seg(X1 * 0 + 1.02, MASK),
        sigmoid_loss(X1 * 0 + 1.02, MASK),
    ),
    "logits for BCELoss": Row(
        wrapped(nn.BCELoss(), 4 * X1, MASK),
        "Logits go through a sigmoid first: pass prediction.sigmoid()",
        wrapped(nn.BCELoss(), (4 * X1).sigmoid(), MASK),
        sigmoid_loss(4 * X1, MASK),
    ),
    "argmax": Row(
        seg(X3.argmax(1), L3, n_classes=3),
        "pass the network's output itself, before argmax or a threshold",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "argmax as numbers": Row(
        seg(X3.argmax(1).float(), L3, n_classes=3),
        "pass the network's output itself, before argmax or a threshold",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
        ("Set n_classes",),
    ),
    "complex prediction": Row(
        seg(X3 + 0j, L3, n_classes=3),
        "pass its real part, prediction.real, or its magnitude, prediction.abs()",
        seg((X3 + 0j).real, L3, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "arguments in the other order": Row(
        seg(L3, X3, n_classes=3),
        "the predictions come first, and the target second",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
        ("argmax",),
    ),
    "sparse prediction": Row(
        seg(X3.to_sparse(), L3, n_classes=3),
        "pass prediction.to_dense()",
        seg(X3.to_sparse().to_dense(), L3, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "image without batch and channels": Row(
        seg(X1[0, 0], MASK[:1]),
        "pass prediction[None, None]",
        seg(X1[0, 0][None, None], MASK[:1]),
        sigmoid_loss(X1[:1], MASK[:1]),
    ),
    "flattened prediction": Row(
        seg(X1.flatten(), MASK.flatten()),
        "without flattening",
        seg(X1, MASK),
        sigmoid_loss(X1, MASK),
    ),
    "one channel for three classes": Row(
        seg(X1, L3, n_classes=3),
        "for 3 classes, the network needs 3 output channels",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
        ("activation='sigmoid'",),
    ),
    "one channel for one foreground class": Row(
        seg(X1, MASK, n_classes=3),
        "For one foreground class, predicted in one sigmoid channel, set n_classes=2",
        seg(X1, MASK, n_classes=2),
        sigmoid_loss(X1, MASK),
    ),
    "softmax over one channel": Row(
        seg(X1, MASK, activation="softmax"),
        "use activation='sigmoid'",
        seg(X1, MASK, activation="sigmoid"),
        sigmoid_loss(X1, MASK),
    ),
    "four channels for three classes": Row(
        seg(X4, L3, n_classes=3),
        "Set n_classes=4",
        seg(X4, L3, n_classes=4),
        softmax_loss(X4, L3),
    ),
    "a network of too many channels": Row(
        seg(X4, L3, n_classes=3),
        "or give the network 3 output channels",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "array": Row(
        seg(X3, {GT: L3.numpy()}, n_classes=3),
        "convert it with torch.as_tensor(...)",
        seg(X3, {GT: torch.as_tensor(L3.numpy())}, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "torchvision's output": Row(
        seg({"seg": {"out": X3}}, L3, n_classes=3),
        "pass one of its entries ('out')",
        seg({"seg": {"out": X3}["out"]}, L3, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "output of several tensors": Row(
        seg({"seg": (X3, X3)}, L3, n_classes=3),
        "pass one of its tensors, or all of them to segloss.DeepSupervision",
        lambda: DeepSupervision(SegLoss(n_classes=3, bce_coef=1, dice_coef=0))((X3, X3), L3)[0],
        softmax_loss(X3, L3),
    ),
    # heads of deep supervision
    "stacked heads": Row(
        seg(HEADS3, L3, n_classes=3),
        UNBIND,
        deep(HEADS3.unbind(1), L3),
        HEADS_OF_THREE,
        ("n_classes=",),
    ),
    "stacked heads of signals": Row(
        seg(HEADS3.flatten(3), L3.flatten(1), n_classes=3),
        UNBIND,
        deep(HEADS3.flatten(3).unbind(1), L3.flatten(1)),
        HEADS_OF_THREE,
        ("n_classes=",),
    ),
    "stacked heads of volumes": Row(
        seg(HEADS3.unsqueeze(3), L3.unsqueeze(1), n_classes=3),
        UNBIND,
        deep(HEADS3.unsqueeze(3).unbind(1), L3.unsqueeze(1)),
        HEADS_OF_THREE,
    ),
    "as many stacked heads as classes": Row(
        seg(torch.cat([HEADS3, HEADS3[:, 1:]], 1), L3.unsqueeze(1), n_classes=3),
        UNBIND,
        deep(torch.cat([HEADS3, HEADS3[:, 1:]], 1).unbind(1), L3.unsqueeze(1)),
        (4 * softmax_loss(X3, L3) + 3 * softmax_loss(HEADS3[:, 1], L3)) / 7,
        (SELECT, "interpolate"),
    ),
    "stacked heads of masks": Row(
        seg(HEADS1, MASK), UNBIND, deep(HEADS1.unbind(1), MASK, n_classes=2), HEADS_OF_ONE
    ),
    "stacked heads for a CompoundLoss": Row(
        lambda: CompoundLoss(CrossEntropy(), "multiclass")(HEADS3, L3),
        UNBIND,
        deeply(CompoundLoss(CrossEntropy(), "multiclass"), HEADS3.unbind(1), L3),
        HEADS_OF_THREE,
    ),
    "stacked heads in mode binary": Row(
        lambda: CompoundLoss(CrossEntropy())(HEADS1, MASK),
        UNBIND,
        deeply(CompoundLoss(CrossEntropy()), HEADS1.unbind(1), MASK),
        HEADS_OF_ONE,
        ("multiclass",),
    ),
    "stacked heads for BCE": Row(
        wrapped(nn.BCEWithLogitsLoss(), HEADS1, MASK),
        UNBIND,
        deeply(nn.BCEWithLogitsLoss(), HEADS1.unbind(1), MASK),
        HEADS_OF_ONE,
    ),
    "stacked heads for cross-entropy": Row(
        wrapped(nn.CrossEntropyLoss(), HEADS3, L3),
        UNBIND,
        deeply(nn.CrossEntropyLoss(), HEADS3.unbind(1), L3),
        HEADS_OF_THREE,
    ),
    "heads that may be an image": Row(
        deeply(nn.CrossEntropyLoss(), HEADS3, ONE_HOT),
        "pass prediction.unbind(1) for heads",
        deeply(nn.CrossEntropyLoss(), HEADS3.unbind(1), ONE_HOT),
        HEADS_OF_THREE,
    ),
    "an image that may be heads": Row(
        deeply(nn.CrossEntropyLoss(), HEADS3, ONE_HOT),
        "or [prediction] for one prediction",
        deeply(nn.CrossEntropyLoss(), [HEADS3], ONE_HOT),
        softmax_loss(HEADS3, ONE_HOT),
    ),
    # a target for each scale
    "targets of all scales for the finest": Row(
        deep(X3, PYRAMID_LABELS),
        "for the finest prediction alone, pass gt_batch[0]",
        deep(X3, PYRAMID_LABELS[0]),
        softmax_loss(X3, L3),
    ),
    "a list of samples": Row(
        deep(PYRAMID[:1], list(L3)),
        "pass torch.stack(gt_batch)",
        deep(PYRAMID[:1], torch.stack(list(L3))),
        softmax_loss(X3, L3),
    ),
    "a target of the finest scale in a list": Row(
        deep(PYRAMID, PYRAMID_LABELS[:1]),
        "pass the finest alone, which is resized to each prediction",
        deep(PYRAMID, PYRAMID_LABELS[0]),
        OF_PYRAMID,
    ),
    "targets from the coarsest to the finest": Row(
        deep(PYRAMID, PYRAMID_LABELS[::-1]),
        "sort them from the finest to the coarsest, pass gt_batch[::-1]",
        deep(PYRAMID, PYRAMID_LABELS[::-1][::-1]),
        OF_PYRAMID,
    ),
    "targets of one size": Row(
        deep(PYRAMID, [L3, L3]),
        "pass gt_batch[0] alone, which is resized to each prediction",
        deep(PYRAMID, L3),
        OF_PYRAMID,
    ),
    "another key": Row(
        seg({"out": X3}, {"mask": L3}, n_classes=3),
        "name yours in the loss, pred_key='out'",
        seg({"out": X3}, {"mask": L3}, n_classes=3, pred_key="out", gt_key="mask"),
        softmax_loss(X3, L3),
    ),
    # modes of a CompoundLoss
    "two channels in mode binary": Row(
        lambda: CompoundLoss(CrossEntropy())(X2, MASK),
        "for classes that exclude each other, set mode='multiclass'",
        lambda: CompoundLoss(CrossEntropy(), "multiclass")(X2, MASK),
        softmax_loss(X2, MASK[:, 0]),
        ("multilabel",),
    ),
    "dense masks in mode binary": Row(
        lambda: CompoundLoss(CrossEntropy())(X3, ONE_HOT),
        "mode='multilabel' if the channels are independent",
        lambda: CompoundLoss(CrossEntropy(), "multilabel")(X3, ONE_HOT),
        sigmoid_loss(X3, ONE_HOT),
    ),
    "dense classes in mode binary": Row(
        lambda: CompoundLoss(CrossEntropy())(X3, ONE_HOT),
        "set mode='multiclass' if classes exclude each other",
        lambda: CompoundLoss(CrossEntropy(), "multiclass")(X3, ONE_HOT),
        softmax_loss(X3, L3),
    ),
    "masks (N, H, W) in mode binary": Row(
        lambda: CompoundLoss(CrossEntropy())(X1[:, 0], MASK[:, 0]),
        "pass prediction.unsqueeze(1) and a target (N, 1, H, W)",
        lambda: CompoundLoss(CrossEntropy())(X1[:, 0].unsqueeze(1), MASK),
        sigmoid_loss(X1, MASK),
        ("multiclass",),
    ),
    "signals in mode binary": Row(
        lambda: CompoundLoss(CrossEntropy())(X3[..., 0], ONE_HOT[..., 0]),
        "for (N, C, L) set mode='multilabel'",
        lambda: CompoundLoss(CrossEntropy(), "multilabel")(X3[..., 0], ONE_HOT[..., 0]),
        sigmoid_loss(X3[..., 0], ONE_HOT[..., 0]),
    ),
    "channels last in mode binary": Row(
        lambda: CompoundLoss(CrossEntropy())(X1.movedim(1, -1), MASK),
        "the channels are last, pass prediction.movedim(-1, 1)",
        lambda: CompoundLoss(CrossEntropy())(X1, MASK),
        sigmoid_loss(X1, MASK),
        ("multiclass",),
    ),
    "one channel in mode multiclass": Row(
        lambda: CompoundLoss(CrossEntropy(), "multiclass")(X1, MASK),
        "for one foreground class in one sigmoid channel, set mode='binary'",
        lambda: CompoundLoss(CrossEntropy(), "binary")(X1, MASK),
        sigmoid_loss(X1, MASK),
    ),
    "top-k: one channel": Row(
        lambda: TopKCrossEntropyLoss(k=100)(X1, MASK),
        "for one foreground class in one sigmoid channel, set mode='binary'",
        lambda: TopKCrossEntropyLoss("binary", k=100)(X1, MASK),
        sigmoid_loss(X1, MASK),
    ),
    # targets
    "flat labels": Row(
        seg(X3, L3.flatten(1), n_classes=3),
        "pass target.reshape((2, 4, 6))",
        seg(X3, L3.flatten(1).reshape((2, 4, 6)), n_classes=3),
        softmax_loss(X3, L3),
        (SELECT, "interpolate"),
    ),
    "volumes whose depth is last": Row(
        seg(VOLUMES, VOLUME_LABELS.movedim(1, -1), n_classes=3),
        "pass target.permute(0, 3, 1, 2)",
        seg(VOLUMES, VOLUME_LABELS.movedim(1, -1).permute(0, 3, 1, 2), n_classes=3),
        softmax_loss(VOLUMES, VOLUME_LABELS),
        (SELECT, "interpolate"),
    ),
    "labels of another batch": Row(
        seg(X3, L3[:1], n_classes=3),
        "pass both from the same batch",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
        (SELECT, "interpolate"),
    ),
    "weights of channels for PyTorch's loss": Row(
        wrapped(nn.BCEWithLogitsLoss(pos_weight=CHANNEL_WEIGHTS), X3, ONE_HOT),
        "pass pos_weight.view(3, 1, 1)",
        wrapped(nn.BCEWithLogitsLoss(pos_weight=CHANNEL_WEIGHTS.view(3, 1, 1)), X3, ONE_HOT),
        F.binary_cross_entropy_with_logits(
            X3.movedim(1, -1), ONE_HOT.movedim(1, -1).float(), pos_weight=CHANNEL_WEIGHTS
        ),
    ),
    "an angle in degrees": Row(
        walls(DEGREES),
        "pass torch.deg2rad(gt_batch['gt_crossfield_angle'])",
        walls(torch.deg2rad(DEGREES)),
        torch.tensor(1.0),
    ),
    "an angle of 8 bits": Row(
        walls(DEGREES.byte()),
        "gt_batch['gt_crossfield_angle'] * math.pi / 255",
        walls(DEGREES.byte() * math.pi / 255),
        torch.tensor(1.0),
    ),
    "a prediction as an array": Row(
        seg(X3.numpy(), L3, n_classes=3),
        "pass the network's output itself, without .numpy(), which has no gradient",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
        ("as_tensor",),
    ),
    "a mix of a batch alone": Row(
        lambda: MixUp()({"image": X3, GT: L3}),
        "pass the images and the batch, MixUp()(batch['image'], batch)",
        lambda: MixUp()(X3, {"image": X3, GT: L3})[1]["mixup_y_a"],
        L3,
    ),
    "a mix of a target alone": Row(
        lambda: MixUp()(X3, L3),
        "pass the targets under gt_key, {'gt_polygons_image': ...}",
        lambda: MixUp()(X3, {GT: L3})[1]["mixup_y_a"],
        L3,
    ),
    "frames of videos": Row(
        seg(FRAMES, FRAME_LABELS, n_classes=3),
        "pass prediction.flatten(0, 1) and target.flatten(0, 1)",
        seg(FRAMES.flatten(0, 1), FRAME_LABELS.flatten(0, 1), n_classes=3),
        softmax_loss(FRAMES.flatten(0, 1), FRAME_LABELS.flatten(0, 1)),
        (SELECT, "interpolate", "DeepSupervision"),
    ),
    "an axis of size 1 in predictions": Row(
        seg(X3.unsqueeze(2), L3, n_classes=3),
        "pass prediction.squeeze(2)",
        seg(X3.unsqueeze(2).squeeze(2), L3, n_classes=3),
        softmax_loss(X3, L3),
        (SELECT, "interpolate", "DeepSupervision"),
    ),
    "an axis of size 1 in labels": Row(
        seg(X3, L3[:, None, None], n_classes=3),
        "pass target.squeeze(1)",
        seg(X3, L3[:, None, None].squeeze(1), n_classes=3),
        softmax_loss(X3, L3),
        (SELECT, "interpolate"),
    ),
    "one-hot masks without the background": Row(
        seg(X3, ONE_HOT[:, 1:], n_classes=3),
        "pass torch.cat([1 - target.sum(1, keepdim=True), target], 1)",
        lambda: seg(
            X3,
            torch.cat([1 - ONE_HOT[:, 1:].sum(1, keepdim=True), ONE_HOT[:, 1:]], 1),
            n_classes=3,
        )(),
        softmax_loss(X3, L3),
        (SELECT,),
    ),
    "one-hot masks of more classes": Row(
        seg(X3[:, :2], ONE_HOT, n_classes=2, activation="softmax"),
        "take the channels that it predicts, target[:, [...]]",
        seg(X3[:, :2], ONE_HOT[:, [0, 1]], n_classes=2, activation="softmax"),
        DENSE_OF_TWO,
        (SELECT, "interpolate"),
    ),
    "one-hot masks of more classes, in a batch": Row(
        seg({"seg": X3[:, :2]}, {GT: ONE_HOT}, n_classes=2, activation="softmax"),
        "or use the channel selectors (gt_channel_selector=[...])",
        seg(
            {"seg": X3[:, :2]},
            {GT: ONE_HOT},
            n_classes=2,
            activation="softmax",
            gt_channel_selector=[0, 1],
        ),
        DENSE_OF_TWO,
    ),
    "target with a gradient": Row(
        seg(X1, MASK.float().requires_grad_()),
        "Pass target.detach()",
        seg(X1, MASK.float().requires_grad_().detach()),
        sigmoid_loss(X1, MASK),
    ),
    "ignored class of a dense target": Row(
        seg(X3, ONE_HOT, n_classes=3, ignore_index=0),
        "pass a label map to ignore a class, target.argmax(1)",
        seg(X3, ONE_HOT.argmax(1), n_classes=3, ignore_index=0),
        softmax_loss(X3, L3, ignore=0),
    ),
    "ignored class by its weight": Row(
        seg(X3, ONE_HOT, n_classes=3, ignore_index=0),
        "or leave the class out with region_classes and class_weights",
        lambda: SegLoss(n_classes=3, bce_coef=0, dice_coef=1, region_classes=[1, 2])(X3, ONE_HOT)[
            0
        ],
        DiceLoss("multiclass", classes=[1, 2])(X3, L3),
    ),
    "selector of a label map": Row(
        seg(X3, L3, n_classes=3, gt_channel_selector=0),
        "leave gt_channel_selector out",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "selector of no channel": Row(
        seg(X1, MASK, gt_channel_selector=[False, False]),
        "set at least one to True",
        seg(X1, torch.cat([1 - MASK, MASK], 1), gt_channel_selector=[False, True]),
        sigmoid_loss(X1, MASK),
    ),
    # weights and maps
    "weights of the classes of each pixel": Row(
        seg(X3, with_weights(L3, PIXEL_WEIGHTS3), n_classes=3),
        "take the weight of each pixel's class, gt_batch['seg_loss_weights'].gather(1, "
        "gt_batch['gt_polygons_image'].unsqueeze(1))",
        seg(X3, with_weights(L3, PIXEL_WEIGHTS3.gather(1, L3.unsqueeze(1))), n_classes=3),
        softmax_loss(X3, L3, weight=WEIGHTS3),
    ),
    "weights of the classes": Row(
        seg(X3, with_weights(L3, PIXEL_WEIGHTS3), n_classes=3),
        "use class_weights for weights of classes",
        seg(X3, L3, n_classes=3, class_weights=WEIGHTS3),
        softmax_loss(X3, L3, weight=WEIGHTS3),
    ),
    "negative weights": Row(
        seg(X1, with_weights(MASK, torch.where(SOME, -1.0, 1.0))),
        "To leave pixels out, give them the weight 0",
        seg(X1, with_weights(MASK, torch.where(SOME, 0.0, 1.0))),
        sigmoid_loss(X1, MASK, SOME),
    ),
    "weights (N, H, W, 1)": Row(
        seg(X1, with_weights(MASK, (~SOME).float().unsqueeze(-1))),
        "pass gt_batch['seg_loss_weights'].movedim(-1, 1)",
        seg(X1, with_weights(MASK, (~SOME).float().unsqueeze(-1).movedim(-1, 1))),
        sigmoid_loss(X1, MASK, SOME),
    ),
    "pos_weight with softmax": Row(
        seg(X2, MASK, activation="softmax", pos_weight=3.0),
        "use class_weights, one weight per class",
        seg(X2, MASK, activation="softmax", class_weights=[1.0, 3.0]),
        softmax_loss(X2, MASK[:, 0], weight=torch.tensor([1.0, 3.0])),
    ),
    "class_weights with one sigmoid channel": Row(
        seg(X1, MASK, class_weights=[2.0, 6.0]),
        "use pos_weight, the ratio of its weight to that of the background",
        seg(X1, MASK, pos_weight=6.0 / 2.0),
        F.binary_cross_entropy_with_logits(X1, MASK.float(), pos_weight=torch.tensor(3.0)),
    ),
    "class_weights without the background": Row(
        lambda: SegLoss(n_classes=3, class_weights=[2.0, 5.0]),
        "put it first: class_weights=[1, 2, 5]",
        seg(X3, L3, n_classes=3, class_weights=[1, 2, 5]),
        softmax_loss(X3, L3, weight=WEIGHTS3),
    ),
    "the number of classes as the name": Row(
        lambda: SegLoss(3),  # type: ignore[arg-type]
        "the number of classes is n_classes=3",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "losses in place of terms": Row(
        lambda: 0.5 * DiceLoss() + 0.5 * CompoundLoss(CrossEntropy()),
        "mix the terms (0.5 * Dice() + 0.5 * CrossEntropy() of segloss.terms) and pass the mixture "
        "to CompoundLoss",
        lambda: CompoundLoss(0.5 * Dice() + 0.5 * CrossEntropy())(X1, MASK),
        DICE,
    ),
    "the smoothing for its switch": Row(
        seg(X1, MASK, use_label_smooth=0.1),
        "set use_label_smooth=True, smooth_factor=0.1",
        seg(X1, MASK, use_label_smooth=True, smooth_factor=0.1),
        sigmoid_loss(X1, 0.9 * MASK + 0.05),
    ),
    "two terms as two arguments": Row(
        lambda: CompoundLoss(0.5 * Dice(), 0.5 * CrossEntropy()),
        "add up terms with +",
        lambda: CompoundLoss(0.5 * Dice() + 0.5 * CrossEntropy())(X1, MASK),
        DICE,
    ),
    "a schedule as a mapping": Row(
        lambda: MultiLoss([nn.MSELoss()], [{0: 1.0, 10: 0.0}]),
        "for a schedule, pass [1.0, 0.0], and epoch_thresholds=[0, 10]",
        lambda: MultiLoss([nn.MSELoss()], [[1.0, 0.0]], [0, 10])(X1, X1 + 1, epoch=5)[0],
        torch.tensor(0.5),
    ),
    "the epoch for normalize": Row(
        lambda: MultiLoss([nn.MSELoss()], [[1.0, 0.0]], [0, 10])(X1, X1 + 1, 5),
        "for an epoch, pass epoch=5",
        lambda: MultiLoss([nn.MSELoss()], [[1.0, 0.0]], [0, 10])(X1, X1 + 1, epoch=5)[0],
        torch.tensor(0.5),
    ),
    "the name first": Row(
        lambda: LossWrapper("l1", nn.L1Loss()),
        "name must be a str, got L1Loss(): the loss comes first",
        wrapped(nn.L1Loss(), X1, X1 + 1),
        torch.tensor(1.0),
    ),
    "a combiner by name": Row(
        lambda: MultiLoss([nn.MSELoss()], [1.0], combiner="uncertainty"),
        "pass an object, such as UncertaintyWeighting(1)",
        lambda: MultiLoss([nn.MSELoss()], [1.0], combiner=segloss.UncertaintyWeighting(1))(
            X1, X1 + 1
        )[0],
        torch.tensor(0.5),
    ),
    "a combiner of other losses": Row(
        lambda: MultiLoss([nn.MSELoss()], [1.0], combiner=segloss.UncertaintyWeighting(2)),
        "pass UncertaintyWeighting(1)",
        lambda: MultiLoss([nn.MSELoss()], [1.0], combiner=segloss.UncertaintyWeighting(1))(
            X1, X1 + 1
        )[0],
        torch.tensor(0.5),
    ),
    "softmax of one channel": Row(
        lambda: functions.cross_entropy(X1, MASK),
        "pred must have a channel for each of at least 2 classes, got one channel: use "
        "segloss.functional.binary_cross_entropy",
        lambda: functions.binary_cross_entropy(X1, MASK),
        sigmoid_loss(X1, MASK),
    ),
    "losses of a batch": Row(
        lambda: CompoundLoss(CrossEntropy()) + DiceLoss(),
        "or add up the losses of a batch",
        lambda: 0.5 * CompoundLoss(CrossEntropy())(X1, MASK) + 0.5 * DiceLoss()(X1, MASK),
        DICE,
    ),
    "no mapping for the map": Row(
        seg(X1, MASK, extra_terms={"boundary": 1}),
        "pass {'gt_polygons_image': ..., 'gt_distance_map': ...}",
        seg(X1, {GT: MASK, **DISTANCES}, extra_terms={"boundary": 1}),
        sigmoid_loss(X1, MASK) + (P1 * X1).mean(),
    ),
    "weights that require grad": Row(
        lambda: SegLoss(n_classes=3, class_weights=WEIGHTS3.clone().requires_grad_()),
        "pass class_weights.detach()",
        seg(X3, L3, n_classes=3, class_weights=WEIGHTS3.clone().requires_grad_().detach()),
        softmax_loss(X3, L3, weight=WEIGHTS3),
    ),
    "map without channels": Row(
        lambda: BoundaryLoss()(X1, MASK, maps={"gt_distance_map": X1[:, 0]}),
        "pass gt_distance_map.unsqueeze(1)",
        lambda: BoundaryLoss()(X1, MASK, maps={"gt_distance_map": X1[:, 0].unsqueeze(1)}),
        (P1 * X1).mean(),
    ),
    "the map of one sample": Row(
        lambda: BoundaryLoss()(X1, MASK, maps={"gt_distance_map": X1[0]}),
        "pass those of the batch, torch.stack([gt_distance_map, ...])",
        lambda: BoundaryLoss()(X1, MASK, maps={"gt_distance_map": torch.stack([*X1])}),
        (P1 * X1).mean(),
    ),
    "ignore_index beside a cross-entropy": Row(
        lambda: LossWrapper(nn.CrossEntropyLoss(), ignore_index=255),
        "give it to that loss, CrossEntropyLoss(ignore_index=255)",
        wrapped(nn.CrossEntropyLoss(ignore_index=255), X3, L3),
        softmax_loss(X3, L3),
    ),
    "ignore_index beside an elementwise loss": Row(
        lambda: LossWrapper(nn.MSELoss(), ignore_index=255),
        "pass a function that does, such as lambda p, t: nn.MSELoss()(p[t != 255], t[t != 255])",
        wrapped(lambda p, t: nn.MSELoss()(p[t != 255], t[t != 255]), X1, X1 + 1),
        torch.tensor(1.0),
    ),
    "ignore_index beside binary cross-entropy": Row(
        lambda: LossWrapper(nn.BCEWithLogitsLoss(), ignore_index=255),
        "pass CompoundLoss(CrossEntropy(), ignore_index=255)",
        wrapped(CompoundLoss(CrossEntropy(), ignore_index=255), X1, MASK),
        sigmoid_loss(X1, MASK),
    ),
    "ignore_index beside binary cross-entropy of probabilities": Row(
        lambda: LossWrapper(nn.BCELoss(), ignore_index=255),
        "pass CompoundLoss(CrossEntropy(), from_logits=False, ignore_index=255)",
        wrapped(CompoundLoss(CrossEntropy(), from_logits=False, ignore_index=255), P1, MASK),
        sigmoid_loss(X1, MASK),
    ),
    "a tensor for the maps": Row(
        lambda: BoundaryLoss()(X1, MASK, maps=DISTANCES["gt_distance_map"]),
        "pass maps={'gt_distance_map': ...}",
        lambda: BoundaryLoss()(X1, MASK, maps={"gt_distance_map": DISTANCES["gt_distance_map"]}),
        (P1 * X1).mean(),
    ),
    "maps for a loss without": Row(
        lambda: DiceLoss()(X1, MASK, maps=DISTANCES["gt_distance_map"]),
        "the loss needs no map, so leave it out",
        lambda: DiceLoss()(X1, MASK),
        DiceLoss()(X1, MASK),
    ),
    "the name of a class": Row(
        lambda: Dice(region_classes=["roof"]),
        "pass the index of its channel, counted from 0",
        lambda: CompoundLoss(Dice(region_classes=[0]))(X1, MASK),
        DiceLoss()(X1, MASK),
    ),
    "no map": Row(
        lambda: BoundaryLoss()(X1, MASK),
        "pass maps={'gt_distance_map': ...}",
        lambda: BoundaryLoss()(X1, MASK, maps=DISTANCES),
        (P1 * X1).mean(),
    ),
    "no map in the batch": Row(
        wrapped(BoundaryLoss(), X1, {GT: MASK}),
        "name yours in the term (map_key, components_key)",
        wrapped(BoundaryLoss(map_key="phi"), X1, {GT: MASK, "phi": X1}),
        (P1 * X1).mean(),
        ("pred_key",),
    ),
    "annotated as numbers": Row(
        seg(X3, {GT: L3, "annotated": ANNOTATED}, n_classes=3, merge_unannotated=True),
        "pass gt_batch['annotated'].bool()",
        seg(X3, {GT: L3, "annotated": ANNOTATED.bool()}, n_classes=3, merge_unannotated=True),
        softmax_loss(X3, L3),
    ),
    "annotated with cross-entropy": Row(
        seg(X3, {GT: L3, "annotated": ANNOTATED.bool()}, n_classes=3),
        "set merge_unannotated=True",
        seg(X3, {GT: L3, "annotated": ANNOTATED.bool()}, n_classes=3, merge_unannotated=True),
        softmax_loss(X3, L3),
    ),
    "annotated with a term of pixels": Row(
        seg(X3, {GT: L3, "annotated": ANNOTATED.bool()}, n_classes=3),
        "or leave the term out",
        seg(X3, {GT: L3, "annotated": ANNOTATED.bool()}, n_classes=3, bce_coef=0, dice_coef=1),
        DiceLoss("multiclass")(X3, L3),
    ),
    "norm of other batches": Row(
        lambda: after_update(LossWrapper(nn.L1Loss()), X1, X1)(X1, X1),
        "or compute the norm on other batches",
        lambda: after_update(LossWrapper(nn.L1Loss()), X1, X1 + 2).norm,
        torch.tensor(2.0),
    ),
    # mixup
    "a batch with mixup": Row(
        mixed(),
        "set use_mixup=True",
        mixed(use_mixup=True),
        0.25 * softmax_loss(X3, L3) + 0.75 * softmax_loss(X3, L3.flip(0)),
        ("remove the keys",),
    ),
    "a batch that needs no mixup": Row(
        mixed(),
        "or do not mix the images",
        seg(X3, {GT: L3}, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "a seed for a generator": Row(
        lambda: MixUp()(X1, {GT: MASK}, 3),  # type: ignore[arg-type]
        "pass torch.Generator().manual_seed(seed)",
        lambda: MixUp()(X1, {GT: MASK}, torch.Generator().manual_seed(3))[1][GT],
        MASK,
    ),
    "CompoundLoss: a mode in place of terms": Row(
        lambda: CompoundLoss("multiclass"),
        "pass mode='multiclass'",
        lambda: CompoundLoss(mode="multiclass")(X3, L3),
        SegLoss(n_classes=3, terms="recommended")(X3, L3)[0],
    ),
    "mixup of mixed images": Row(
        lambda: CutMix()(*MixUp()(X1, {GT: MASK})),
        "with CutMix first and then with MixUp",
        lambda: torch.tensor(MixUp()(*CutMix()(X1, {GT: MASK}))[1]["mixup_y_b"].shape),
        torch.tensor(MASK.shape),
    ),
    "CutMix of scales": Row(
        lambda: CutMix()(X1, {GT: MASK, "weights": [MASK]}),
        "call CutMix before the targets of coarser scales are made",
        lambda: torch.tensor(CutMix()(X1, {GT: MASK})[1][GT].shape),
        torch.tensor(MASK.shape),
    ),
    "mixup of another key": Row(
        lambda: MixUp()(X1, {"mask": MASK}),
        "MixUp(gt_key=...)",
        lambda: MixUp(gt_key="mask")(X1, {"mask": MASK})[1]["mask"],
        MASK,
        ("pred_key",),
    ),
    # weights of samples
    "sample weights: a list": Row(
        seg(X3, {GT: L3, SAMPLES: [2.0, 1.0]}, n_classes=3),
        "convert it with torch.tensor(...)",
        seg(X3, {GT: L3, SAMPLES: torch.tensor([2.0, 1.0])}, n_classes=3),
        WEIGHTED,
    ),
    "sample weights: (N, 1)": Row(
        seg(X3, {GT: L3, SAMPLES: torch.tensor([[2.0], [1.0]])}, n_classes=3),
        "pass sample_weights.flatten()",
        seg(X3, {GT: L3, SAMPLES: torch.tensor([[2.0], [1.0]]).flatten()}, n_classes=3),
        WEIGHTED,
    ),
    "sample weights: a number": Row(
        seg(X3, {GT: L3, SAMPLES: torch.tensor(2.0)}, n_classes=3),
        "leave sample_weights out",
        seg(X3, {GT: L3}, n_classes=3),
        softmax_loss(X3, L3),
    ),
    "sample weights: a term of the whole batch": Row(
        seg(X3, {GT: L3, SAMPLES: torch.tensor([2.0, 1.0])}, n_classes=3, terms=WholeBatch()),
        "leave sample_weights out",
        seg(X3, {GT: L3}, n_classes=3, terms=WholeBatch()),
        softmax_loss(X3, L3),
    ),
    # options of cross-entropy
    "a term without cross-entropy: weights of classes": Row(
        lambda: DiceLoss("multiclass", class_weights=[1.0, 2.0, 3.0]),
        "leave class_weights out. Weights of classes are region_class_weights here",
        lambda: DiceLoss("multiclass", region_class_weights=[1.0, 1.0, 1.0])(X3, L3),
        dice_of(X3, L3),
    ),
    "a term without cross-entropy: smoothing": Row(
        lambda: DiceLoss("multiclass", label_smoothing=0.1),
        "leave label_smoothing out",
        lambda: DiceLoss("multiclass")(X3, L3),
        dice_of(X3, L3),
        ("Weights of classes",),
    ),
    # components
    "components: ids that a transform has converted": Row(
        components(X3, L3, torch.ones_like(X3)),
        "pass them with .int()",
        components(X3, L3, torch.ones_like(X3).int()),
        dice_of(X3, L3),
    ),
    "components: ids of all classes": Row(
        components(X3, L3, torch.ones_like(L3)),
        "torch.stack([gt_components * (target == c) for c in range(3)], 1)",
        components(X3, L3, torch.stack([torch.ones_like(L3) * (c == L3) for c in range(3)], 1)),
        dice_of(X3, L3),
        ("one_hot",),
    ),
    "components: the foreground's": Row(
        components(X2, MASK[:, 0], MASK.long()),
        "torch.cat([torch.zeros_like(gt_components), gt_components], 1)",
        components(X2, MASK[:, 0], torch.cat([torch.zeros_like(MASK), MASK], 1).long()),
        dice_of(X2, MASK[:, 0].long()),
    ),
    "components: large ids": Row(
        components(X3, L3, (L3.unsqueeze(1) == CLASSES) * 26001),
        "torch.unique(ids, return_inverse=True)[1]",
        components(X3, L3, torch.unique((L3.unsqueeze(1) == CLASSES) * 26001, False, True)[1]),
        dice_of(X3, L3),
    ),
    "components: more than the dtype can number": Row(
        lambda: ComponentMap(dtype="uint8")(mask=DOTS)["gt_components"].amax(),
        "set dtype='int32', or remove the smallest components, which are often noise",
        lambda: ComponentMap(dtype="int32")(mask=DOTS)["gt_components"].amax(),
        torch.tensor(300, dtype=torch.int32),
    ),
    # hard pixels, and the Lovasz loss
    "hard pixels: a denominator of the term": Row(
        lambda: HardPixelLoss(Focal(gamma=0, normalize="positives"), TopK(100))(X3, L3),
        "leave normalize='pixels' and region_classes=None",
        lambda: HardPixelLoss(Focal(gamma=0), TopK(100))(X3, L3),
        softmax_loss(X3, L3),
    ),
    "hard pixels: classes of the term": Row(
        lambda: HardPixelLoss(Focal(gamma=0, region_classes=[1, 2]), TopK(100))(X3, L3),
        "To leave classes out with softmax, ignore them, as in ignore_index=[0, 255]",
        lambda: HardPixelLoss(Focal(gamma=0), TopK(100), ignore_index=[0, 255])(X3, L3),
        F.cross_entropy(X3, L3, ignore_index=0),
    ),
    "hard pixels: a region term": Row(
        lambda: HardPixelLoss(CrossEntropy() + Dice(), TopK(100))(X3, L3),
        "Add it in a loss of its own, beside this one in a MultiLoss",
        lambda: MultiLoss(
            [
                LossWrapper(HardPixelLoss(CrossEntropy(), TopK(100)), "hard"),
                LossWrapper(CompoundLoss(Dice(), "multiclass"), "dice"),
            ],
            [1.0, 1.0],
        )(X3, {GT: L3})[0],
        softmax_loss(X3, L3) + dice_of(X3, L3),
    ),
    "Lovasz: hinge with a softmax": Row(
        lambda: LovaszLoss("multiclass", errors="hinge")(ONE_PIXEL, ONE_LABEL),
        "use errors='probability', or mode='multilabel'",
        lambda: LovaszLoss("multiclass", errors="probability")(ONE_PIXEL, ONE_LABEL),
        torch.tensor(0.5),
    ),
    "Lovasz: ranks": Row(
        lambda: LovaszLoss(sync_statistics=True)(ONE_PIXEL, ONE_LABEL),
        "set per_image=True",
        lambda: LovaszLoss(sync_statistics=True, per_image=True)(ONE_PIXEL, ONE_LABEL),
        torch.tensor(0.5),
    ),
    # sigmoid channels with a label map
    "sigmoid: a label map for two classes": Row(
        seg(X2, MASK[:, 0]),
        "set activation='softmax'",
        seg(X2, MASK[:, 0], **SOFTMAX),
        softmax_loss(X2, MASK[:, 0]),
        (SELECT,),
    ),
    "sigmoid: a label map for channels that exclude each other": Row(
        seg(X3, L3),
        "If classes exclude each other, set n_classes=3",
        seg(X3, L3, n_classes=3),
        softmax_loss(X3, L3),
        (SELECT,),
    ),
    "sigmoid: a label map for each class against the rest": Row(
        seg(X3, L3),
        "if each channel is one class against the rest, set activation='sigmoid'",
        seg(X3, L3, activation="sigmoid"),
        sigmoid_loss(X3, ONE_HOT),
        (SELECT,),
    ),
    "sigmoid: a label map for other channels": Row(
        seg(X3, L3),
        "if neither, pass one mask per channel",
        seg(X3, ONE_HOT),
        sigmoid_loss(X3, ONE_HOT),
        (SELECT,),
    ),
    # PyTorch's losses
    "BCE: mask with 255": Row(
        wrapped(nn.BCEWithLogitsLoss(), X1, marked(MASK, 255)),
        "this loss can't leave them out; segloss.SegLoss and CompoundLoss can, with "
        "ignore_index=255",
        seg(X1, marked(MASK, 255), ignore_index=255),
        sigmoid_loss(X1, MASK, SOME),
    ),
    "BCE: mask of 0 and 255": Row(
        wrapped(nn.BCEWithLogitsLoss(), X1, GREY),
        "divide it, target / 255",
        wrapped(nn.BCEWithLogitsLoss(), X1, GREY / 255),
        sigmoid_loss(X1, MASK),
        (IGNORE,),
    ),
    "BCE: masks (N, H, W)": Row(
        wrapped(nn.BCEWithLogitsLoss(), X1, MASK[:, 0]),
        "pass target.unsqueeze(1)",
        wrapped(nn.BCEWithLogitsLoss(), X1, MASK[:, 0].unsqueeze(1)),
        sigmoid_loss(X1, MASK),
        (SELECT,),
    ),
    "BCE: label map": Row(
        wrapped(nn.BCEWithLogitsLoss(), X3, L3),
        "pass F.one_hot(target.long(), 3).movedim(-1, 1)",
        wrapped(nn.BCEWithLogitsLoss(), X3, F.one_hot(L3.long(), 3).movedim(-1, 1)),
        sigmoid_loss(X3, ONE_HOT),
        (SELECT,),
    ),
    "cross-entropy: 255": Row(
        wrapped(nn.CrossEntropyLoss(), X3, marked(L3, 255)),
        "set ignore_index=255, since no pixel has the value -100",
        wrapped(nn.CrossEntropyLoss(ignore_index=255), X3, marked(L3, 255)),
        softmax_loss(X3, L3.masked_fill(SOME, -100)),
    ),
    "cross-entropy: two markers": Row(
        wrapped(nn.CrossEntropyLoss(), X3, TWO_MARKERS),
        "-1 and 255 mark pixels to leave out, give them all one value, and set ignore_index to it",
        wrapped(
            nn.CrossEntropyLoss(ignore_index=-1),
            X3,
            marked(L3, -1).index_fill(1, torch.tensor([0]), -1),
        ),
        softmax_loss(X3, marked(L3, -100).index_fill(1, torch.tensor([0]), -100)),
    ),
    "cross-entropy: larger labels": Row(
        wrapped(nn.CrossEntropyLoss(), X3, LARGE),
        "F.interpolate(prediction, (8, 12), mode='bilinear')",
        wrapped(nn.CrossEntropyLoss(), INTERPOLATED, LARGE),
        softmax_loss(INTERPOLATED, LARGE),
        (SELECT,),
    ),
    "NLLLoss: one-hot": Row(
        wrapped(nn.NLLLoss(), X3.log_softmax(1), ONE_HOT),
        "pass target.argmax(1)",
        wrapped(nn.NLLLoss(), X3.log_softmax(1), ONE_HOT.argmax(1)),
        softmax_loss(X3, L3),
    ),
    "a class for an instance": Row(
        lambda: LossWrapper(nn.L1Loss),
        "Make an instance: L1Loss()",
        wrapped(nn.L1Loss(), X1, X1 + 1),
        torch.tensor(1.0),
    ),
    "a loss that takes batches": Row(
        lambda: LossWrapper(SegLoss()),
        "use it directly",
        lambda: SegLoss(from_logits=True)(X1, MASK)[0],
        DICE,
    ),
    "no scalar": Row(
        wrapped(Sampled("none"), X1, MASK),
        "take the mean, or set its reduction to 'mean' or 'sum'",
        wrapped(Sampled("mean"), X1, MASK),
        sigmoid_loss(X1, MASK),
    ),
    # several losses
    "deep MultiLoss": Row(
        lambda: DeepSupervision(MultiLoss([SegLoss(from_logits=True)], [1.0])),
        "put each of its losses into a DeepSupervision, and these into a MultiLoss",
        lambda: MultiLoss([DeepSupervision(SegLoss(from_logits=True))], [1.0])(X1, MASK)[0],
        DICE,
    ),
    "nested MultiLoss": Row(
        lambda: MultiLoss([MultiLoss([SegLoss(from_logits=True)], [1.0])], [1.0]),
        "put its losses into this one",
        lambda: MultiLoss([SegLoss(from_logits=True)], [1.0])(X1, MASK)[0],
        DICE,
    ),
    "scales from coarse to fine": Row(
        lambda: DeepSupervision(SegLoss(from_logits=True), [1, 0])([X1[..., ::2], X1], MASK),
        "sort them from the finest to the coarsest",
        lambda: DeepSupervision(SegLoss(from_logits=True), [1, 0])([X1, X1[..., ::2]], MASK)[0],
        DICE,
    ),
    "one scale in validation": Row(
        lambda: DeepSupervision(SegLoss(from_logits=True), [1, 0.5])([X1], MASK),
        "use the inner loss (.loss)",
        lambda: DeepSupervision(SegLoss(from_logits=True), [1, 0.5]).loss(X1, MASK)[0],
        DICE,
    ),
    "losses of one name": Row(
        lambda: MultiLoss([nn.L1Loss(), nn.L1Loss()], [1, 1]),
        "set name= (for a plain module, LossWrapper(module, name=...))",
        lambda: MultiLoss([nn.L1Loss(), LossWrapper(nn.L1Loss(), name="b")], [1, 1])(X1, X1 + 1)[0],
        torch.tensor(2.0),
    ),
    "schedule without an epoch": Row(
        scheduled(),
        "call set_epoch(epoch) at the start of each epoch, or pass epoch=",
        scheduled(epoch=5),
        DICE,
    ),
    "norm of 0": Row(
        lambda: after_update(LossWrapper(nn.L1Loss()), X1, X1)(X1, X1),
        "Do not normalise a loss that is 0, negative or not finite (normalize=False)",
        lambda: LossWrapper(nn.L1Loss())(X1, X1, normalize=False)[0],
        torch.tensor(0.0),
    ),
    "norm of a batch that is not finite": Row(
        lambda: after_update(LossWrapper(nn.L1Loss()), X1, X1 * float("nan")),
        "or do not normalise this loss (normalize=False)",
        lambda: LossWrapper(nn.L1Loss())(X1, X1 + 1, normalize=False)[0],
        torch.tensor(1.0),
    ),
    "checkpoint with a norm of 0": Row(
        lambda: SegLoss().load_state_dict({**SegLoss().state_dict(), "norm": torch.tensor(0.0)}),
        "do not load it, and compute the norm again",
        lambda: SegLoss(from_logits=True)(X1, MASK)[0],
        DICE,
    ),
    # arguments
    "probabilities and mixed precision": Row(
        lambda: SegLoss(use_mixed_precision=True, from_logits=False),
        "leave one of them out",
        lambda: SegLoss(use_mixed_precision=True)(X1, MASK)[0],
        DICE,
    ),
    "merged and smoothed": Row(
        lambda: SegLoss(
            n_classes=3, merge_unannotated=True, use_label_smooth=True, smooth_factor=0.1
        ),
        "use only one of the two",
        seg(X3, L3, n_classes=3, merge_unannotated=True),
        softmax_loss(X3, L3),
    ),
    "statistics of no mean": Row(
        region(sync_statistics=True, reduction="none"),
        "use reduction='mean'",
        region(sync_statistics=True, reduction="mean"),
        DiceLoss()(X1, MASK),
    ),
    "losses of cells after a mean": Row(
        region(reduction="none", region_reduction="batch"),
        "leave region_reduction='sample' and region_class_weights=None",
        lambda: region(reduction="none")().mean(),
        DiceLoss()(X1, MASK),
    ),
    "losses of cells of some classes": Row(
        lambda: CompoundLoss(
            {
                "a": {"term": "dice", "coef": 1, "region_classes": [0]},
                "b": {"term": "dice", "coef": 1},
            },
            reduction="none",
        ),
        "leave region_classes=None, and select from the result",
        lambda: region(reduction="none")().mean(),
        DiceLoss()(X1, MASK),
    ),
    "losses of cells of groups of classes": Row(
        lambda: CompoundLoss(
            {
                "a": {"term": "dice", "coef": 1, "region_groups": {"all": [0, 1, 2]}},
                "b": {"term": "dice", "coef": 1},
            },
            "multiclass",
            reduction="none",
        ),
        "make a loss of this term alone, with reduction='none'",
        lambda: DiceLoss("multiclass", region_groups=ALONE, reduction="none")(X3, L3).mean(),
        DiceLoss("multiclass")(X3, L3),
    ),
    "a loss without a term": Row(
        lambda: TermLoss(),
        "use a subclass that sets it",
        lambda: DiceLoss()(X1, MASK),
        DiceLoss()(X1, MASK),
    ),
    "two names of the classes": Row(
        lambda: DiceLoss(classes=[0], region_classes=[0]),
        "set it once",
        lambda: DiceLoss(classes=[0])(X1, MASK),
        DiceLoss()(X1, MASK),
    ),
    "criterion of a module": Row(
        lambda: Criterion(nn.L1Loss()),
        "other losses are already modules of (prediction, target)",
        lambda: nn.L1Loss()(X1, X1 + 1),
        torch.tensor(1.0),
    ),
    # frame fields
    "complex frame field": Row(
        lambda: CrossfieldAlignLoss()({"crossfield": torch.zeros(1, 4, 2, 2) * 1j}, FRAME),
        "write complex numbers as two channels, real and imaginary",
        lambda: CrossfieldAlignLoss()({"crossfield": FIELD}, FRAME)[0],
        torch.tensor(1.0),
    ),
    "frame field of another key": Row(
        lambda: CrossfieldAlignLoss()({"field": FIELD}, FRAME),
        "name yours with the argument that ends in _key",
        lambda: CrossfieldAlignLoss(crossfield_key="field")({"field": FIELD}, FRAME)[0],
        torch.tensor(1.0),
        ("pred_key",),
    ),
    "frame field with masks of 255": Row(
        lambda: CrossfieldAlignLoss()({"crossfield": FIELD}, {**FRAME, GT: 255 * FRAME[GT]}),
        "divide it, gt_batch['gt_polygons_image'] / 255",
        lambda: CrossfieldAlignLoss()({"crossfield": FIELD}, {**FRAME, GT: 255 * FRAME[GT] / 255})[
            0
        ],
        torch.tensor(1.0),
    ),
    "no gradients": Row(
        contour({"seg": torch.ones(2, 1, 4, 6)}),
        "put it into the pre_processes of the MultiLoss",
        contour(ComputeSegGrads()({"seg": torch.ones(2, 1, 4, 6)}, {})[0]),
        torch.tensor(0.0),
    ),
    "no frequencies": Row(
        lambda: SegLossWeights(use_dist=False, use_size=False)({}, {GT: MASK.float()}),
        "Add it: SegLossWeights needs it",
        lambda: SegLossWeights(use_dist=False, use_size=False)(
            {}, {GT: MASK.float(), "class_freq": torch.full((2, 1), 0.5)}
        )[1][W],
        torch.full((2, 1, 4, 6), 2.0),
        ("pred_key",),
    ),
    # maps
    "map of a mask with channels": Row(
        distance_map(STRIPES[None]),
        "remove the axis with mask.squeeze(0)",
        distance_map(STRIPES[None].squeeze()),
        distance_map(STRIPES)(),
    ),
    "map of a batch": Row(
        distance_map(np.stack([np.stack([STRIPES] * 2)] * 2)),
        "if this is a batch, make the map of each sample",
        distance_map(np.stack([STRIPES] * 2)),
        distance_map(np.stack([STRIPES] * 2))(),
        ("squeeze",),
    ),
    "map of bfloat16": Row(
        distance_map(torch.as_tensor(STRIPES).bfloat16()),
        "pass mask.float()",
        distance_map(torch.as_tensor(STRIPES).bfloat16().float()),
        distance_map(STRIPES)(),
    ),
    "map of a list": Row(
        distance_map(STRIPES.tolist()),
        "pass numpy.asarray(mask)",
        distance_map(np.asarray(STRIPES.tolist())),
        distance_map(STRIPES)(),
    ),
    "map of a mask after ToTensor": Row(
        distance_map(STRIPES / 255),
        "(255 * mask).round()",
        distance_map((255 * (STRIPES / 255)).round()),
        distance_map(STRIPES)(),
    ),
    "map of another key": Row(
        lambda: SignedDistanceMap()(labels=STRIPES),
        "Set mask_key=",
        lambda: torch.as_tensor(
            SignedDistanceMap(mask_key="labels")(labels=STRIPES)["gt_distance_map"]
        ),
        distance_map(STRIPES)(),
    ),
    # Hugging Face
    "Hugging Face: logits of another size": Row(
        huggingface(LARGE, upsample_logits=False),
        "set upsample_logits=True",
        huggingface(LARGE, upsample_logits=True),
        softmax_loss(INTERPOLATED, LARGE),
    ),
    "Hugging Face: labels (N, H, W, 1)": Row(
        huggingface(LARGE.unsqueeze(-1)),
        "pass labels.movedim(-1, 1)",
        huggingface(LARGE.unsqueeze(-1).movedim(-1, 1)),
        softmax_loss(INTERPOLATED, LARGE),
    ),
    "Hugging Face: no loss of masks": Row(
        of_masks(),
        "pass loss_mask, loss_dice or both",
        of_masks(loss_mask={"cross_entropy": 1}),
        sigmoid_loss(X1, MASK),
    ),
    "Hugging Face: a loss of classes for masks": Row(
        of_masks(loss_mask=CompoundLoss({"cross_entropy": 1}, "multiclass")),
        "pass its terms alone",
        of_masks(loss_mask=CompoundLoss({"cross_entropy": 1}, "multiclass").mixture),
        sigmoid_loss(X1, MASK),
    ),
    "Hugging Face: an output without logits": Row(
        lambda: as_compute_loss_func(SegLoss(n_classes=3))({"masks": X3}, L3),
        "use a model for semantic segmentation",
        huggingface(L3),
        softmax_loss(X3, L3),
    ),
}


def message_of(call: Callable[[], Any]) -> str:
    with pytest.raises((ValueError, TypeError, KeyError)) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("name", ROWS)
def test_a_remedy_mends_the_call_and_harmful_ones_are_not_offered(name: str) -> None:
    wrong, remedy, mended, right, absent = ROWS[name]
    message = message_of(wrong)
    assert remedy in message
    for words in absent:
        assert words not in message, message
    value = mended()
    torch.testing.assert_close(value.double(), right.double(), rtol=1e-5, atol=1e-6)


def test_a_picture_is_converted_to_an_array_first() -> None:
    pictures = pytest.importorskip("PIL.Image")
    picture = pictures.fromarray(MASK[0, 0].byte().numpy())
    message = message_of(seg(X1[:1], {GT: picture}))
    assert "convert it with torch.as_tensor(numpy.array(...))" in message
    value = seg(X1[:1], {GT: torch.as_tensor(np.array(picture))[None]})()
    torch.testing.assert_close(value, sigmoid_loss(X1[:1], MASK[:1]))


def test_a_tensor_elsewhere_is_moved_to_the_prediction() -> None:
    assert "move it with .to('cpu')" in message_of(seg(X1, MASK.to("meta")))
    assert "move it with .to('meta')" in message_of(seg(X1.to("meta"), MASK))
    with FakeTensorMode(allow_non_fake_inputs=True):
        forgotten = message_of(seg(X1, torch.zeros(2, 1, 4, 6, device="cuda")))
    assert "move it with .to('cpu'), or the network to cuda:0" in forgotten


@pytest.mark.parametrize(
    "call",
    [
        seg(X1 / 0, MASK, from_logits=False),
        seg(X3 / 0, L3, n_classes=3, from_logits=False),
        wrapped(nn.BCELoss(), X1 / 0, MASK),
    ],
)
def test_a_network_that_diverged_is_not_told_of_options(call: Callable[[], Any]) -> None:
    message = message_of(call)
    assert "The network's output is not finite" in message
    assert "from_logits=True" not in message


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_have_no_remedy(value: float) -> None:
    for call in (
        seg(X1, MASK + value),
        seg(X3, L3 + value, n_classes=3),
        seg(X1, with_weights(MASK, MASK + value)),
    ):
        assert IGNORE not in message_of(call)
        assert message_of(call)[-1] == "."


# The package's messages

PACKAGE = Path(segloss.__file__).parent

LAYERS = ("batch", "losses", "frame_field", "maps", "functional.py", "training/huggingface")
"""Where messages are about batches and losses."""

REMEDY = re.compile(
    r"(?:^|[.:;,] |\b(?:or|and) )(?:set|use|pass|leave|put|move|take|make|sort|call|write|do not|"
    r"remove|resize|convert|clamp|divide|subtract|add|give|name|rename|map|wrap)\b",
    re.IGNORECASE,
)
"""The words that begin a remedy."""

ELSEWHERE = {
    "Rename the key in the batch, or ": "test_another_key_is_renamed",
    "move it with .to(": "test_a_tensor_elsewhere_is_moved_to_the_prediction",
    ", or the network to ": "test_a_tensor_elsewhere_is_moved_to_the_prediction",
    ": convert it with torch.as_tensor(numpy.array(...))": (
        "test_a_picture_is_converted_to_an_array_first"
    ),
    " The network's output is not finite, and no option of the loss can fix that.": (
        "test_a_network_that_diverged_is_not_told_of_options"
    ),
}
"""Remedies that a test of this file mends without a row."""


def test_another_key_is_renamed() -> None:
    assert "Rename the key in the batch" in message_of(seg({"out": X3}, L3, n_classes=3))
    torch.testing.assert_close(seg({"seg": X3}, L3, n_classes=3)(), softmax_loss(X3, L3))


def texts(tree: ast.AST) -> Iterator[str]:
    """The constant parts of texts in a piece of code, without docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.value


def texts_of_messages() -> Iterator[str]:
    """The texts of the module of remedies, and of the errors of other modules."""
    yield from texts(ast.parse((PACKAGE / "batch/remedies.py").read_text()))
    for layer in LAYERS:
        path = PACKAGE / layer
        for file in [path] if path.is_file() else path.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Raise):
                    yield from texts(node)


NAMES = (
    ("prediction", "target"),
    ("pred", "target"),
    ("pred_batch['seg']", "gt_batch['gt_polygons_image']"),
    ("prediction", "gt_batch['gt_polygons_image']"),
    ("logits", "labels"),
    ("mask", "mask"),
)
"""What callers call the predictions and the target."""


class Followed(NamedTuple):
    """A message, and the part of it that a row follows."""

    message: str
    start: int
    end: int

    def covers(self, text: str, at: int) -> bool:
        """Whether the part that is followed has the word at this place of a text."""
        return any(
            self.start <= match.start() + len(said(text[:at], *names)) < self.end
            for names in NAMES
            for match in re.finditer(re.escape(said(text, *names)), self.message)
        )


def followed() -> Iterator[Followed]:
    doors = ("SegLoss", "CompoundLoss")
    batches = [
        (lambda row=row, door=door: DOORS[door](row.wrong), said(row.remedy))
        for row in BATCHES.values()
        for door in doors
    ]
    for call, remedy in [*batches, *((row.wrong, row.remedy) for row in ROWS.values())]:
        message = message_of(call)
        assert remedy in message
        start = message.index(remedy)
        yield Followed(message, start, start + len(remedy))


def test_every_remedy_of_the_package_has_a_row() -> None:
    rows = list(followed())
    without = [
        text[match.start() :]
        for text in texts_of_messages()
        for match in REMEDY.finditer(text)
        if not any(row.covers(text, match.end() - 1) for row in rows)
        and not text.startswith(tuple(ELSEWHERE))
    ]
    assert without == []
    assert set(ELSEWHERE.values()) <= set(globals())
