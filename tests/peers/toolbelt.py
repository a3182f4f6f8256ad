"""The suite of pytorch-toolbelt 0.8.0 (MIT), tests/test_losses.py.

Its scores and region losses are those of smp, at the same settings and on the same inputs.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from segloss import functional
from tests.peers import smp
from tests.peers.case import Cases, as_masks, cannot, holds, tensor, values

SHARED = ("soft jaccard", "soft dice", "dice of one", "jaccard of", "focal of a good")


def shared() -> Cases:
    for case in smp.cases():
        if case.name.startswith(SHARED):
            yield case


def of_classes() -> Cases:
    """Confident and right: each of four samples has a class of its own."""
    logits = (18 * torch.eye(4, dtype=torch.float64) - 9)[..., None]
    labels = torch.arange(4)[:, None]
    softmax = {"activation": "softmax", "n_classes": 4}
    losses: dict[str, partial[Tensor]] = {
        "BinaryFocalLoss": partial(functional.focal_loss, logits, as_masks(labels, 4)),
        "CrossEntropyFocalLoss": partial(functional.focal_loss, logits, labels, **softmax),
        "SoftF1Loss": partial(
            functional.dice_loss, logits, labels, smooth=0.0, region_reduction="batch", **softmax
        ),
        "SoftCrossEntropyLoss": partial(functional.cross_entropy, logits, labels),
    }
    for name, loss in losses.items():
        yield holds(f"{name} of a right prediction", lambda f=loss: 0 <= float(f()) < 1e-3)
    yield cannot("BiTemperedLogisticLoss of a right prediction")
    yield cannot("FocalCosineLoss of a right prediction")
    yield cannot("BinaryBiTemperedLogisticLoss with ignored pixels")


def cross_entropies() -> Cases:
    eye = (2 * torch.eye(4, dtype=torch.float64) - 1)[..., None]
    classes = torch.arange(4)[:, None]
    expected = torch.nn.functional.cross_entropy(eye, classes)
    unsmoothed = partial(functional.cross_entropy, eye, classes, label_smoothing=0.0)
    yield values("SoftCrossEntropyLoss is cross-entropy", unsmoothed, expected, rtol=1e-7)
    scores, masks = tensor([[[-9, 9, 1, 9, -9]]]), tensor([[[0, 1, -100, 1, 0]]])
    soft = partial(
        functional.binary_cross_entropy, scores, masks, label_smoothing=0.2, ignore_index=-100
    )
    yield holds("SoftBCEWithLogitsLoss with an ignored pixel", lambda: bool(soft().isfinite()))


def balanced() -> Cases:
    """The share of the other side weighs each side: a fifth of these pixels is background."""
    target = tensor([[[0, 1, 1, 1, 1]]])
    weights = (1 - target.mean()) * target + target.mean() * (1 - target)
    ours = partial(
        functional.binary_cross_entropy,
        torch.zeros_like(target),
        target,
        pixel_weights=weights,
        reduction="none",
    )
    expected = [[[0.8 * math.log(2), *[0.2 * math.log(2)] * 4]]]
    name = "balanced_binary_cross_entropy_with_logits"
    yield values(name, ours, expected)


def cases() -> Cases:
    yield from shared()
    yield from of_classes()
    yield from cross_entropies()
    yield from balanced()
