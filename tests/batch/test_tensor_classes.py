"""Tensors of a class of their own, as libraries make them to carry metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from segloss import CompoundLoss, LovaszLoss, SegLoss, TopKCrossEntropyLoss, use_backend
from segloss.functional import dice_loss
from tests.support.kernels import BACKENDS


class Named(Tensor):
    """A tensor that keeps its class in every operation."""


CLASSES: dict[str, Callable[[Tensor], Tensor]] = {
    "a subclass": lambda tensor: tensor.as_subclass(Named),
    "MONAI's": MetaTensor,
}

LABELS = torch.randint(0, 3, (2, 1, 5, 4))
MASKS = torch.randint(0, 2, (2, 3, 5, 4))
WEIGHTS = torch.rand(2, 1, 5, 4)
ANNOTATED = torch.tensor([[True, False, True], [True, True, True]])
MAPS = torch.randn(2, 3, 5, 4)

softmax = CompoundLoss(mode="multiclass", ignore_index=1, class_weights=[1.0, 2.0, 3.0])
masks = CompoundLoss(mode="multilabel")
merging = SegLoss(n_classes=3, merge_unannotated=True)
independent = SegLoss(from_logits=True, gt_channel_selector=[2, 0], pred_channel_selector=[0, 2])
boundary = CompoundLoss({"boundary": 1.0, "dice": 1.0}, "multilabel")

LOSSES: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "softmax": (softmax, (LABELS,)),
    "masks": (masks, (MASKS,)),
    "weights": (lambda p, t, w: softmax(p, t, pixel_weights=w), (LABELS, WEIGHTS)),
    "maps": (lambda p, t, m: boundary(p, t, maps={"gt_distance_map": m}), (MASKS, MAPS)),
    "partial labels": (
        lambda p, t, a: merging(p, {"gt_polygons_image": t, "annotated": a})[0],
        (0 * LABELS, ANNOTATED),
    ),
    "selected masks": (
        lambda p, t, a: independent(p, {"gt_polygons_image": t, "annotated": a})[0],
        (MASKS, ANNOTATED),
    ),
    "Lovasz": (LovaszLoss(), (LABELS,)),
    "top K": (TopKCrossEntropyLoss(k=30), (LABELS,)),
    "a function": (lambda p, t: dice_loss(p, t, n_classes=3), (LABELS,)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", LOSSES)
def test_every_kernel_takes_them_and_returns_a_tensor(name: str, kind: str, backend: str) -> None:
    loss, others = LOSSES[name]
    logits = torch.randn(2, 3, 5, 4, requires_grad=True)
    with use_backend(backend):
        expected = loss(logits, *others)
        [slope] = torch.autograd.grad(expected, logits)
        value = loss(CLASSES[kind](logits), *map(CLASSES[kind], others))
        [gradient] = torch.autograd.grad(value, logits)
    assert type(value) is Tensor
    assert torch.equal(value, expected)
    assert torch.equal(gradient, slope)
