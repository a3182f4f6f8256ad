"""The suite of segmentation-models-pytorch 0.6.0 (MIT), tests/test_losses.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from segloss import functional
from tests.peers.case import Case, Cases, drawn, drawn_labels, holds, raises, tensor, values

IGNORED = -100

POOLED: dict[str, Any] = {"region_reduction": "batch", "soft_labels": "metric"}
REGION_LOSSES: dict[str, Callable[..., Tensor]] = {
    "dice": partial(functional.dice_loss, smooth=0.0, **POOLED),
    "jaccard": partial(functional.jaccard_loss, smooth=0.0, **POOLED),
    "tversky": partial(functional.tversky_loss, alpha=0.5, beta=0.5, smooth=0.0, **POOLED),
}
"""Their region losses, which pool the batch and do not smooth; alpha weights false positives."""


def region(loss: str, prediction: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Their region losses on probabilities; an absent class or mask costs nothing there."""
    mode = options.pop("mode")
    options.setdefault("from_logits", False)
    if mode == "multiclass":
        options |= {"activation": "softmax", "n_classes": prediction.shape[1]}
    options["region_class_weights"] = options.pop("class_weights", None)
    if not target.any():
        options["skip_absent_classes"] = True
    return REGION_LOSSES[loss](
        prediction,
        target.reshape(len(target), -1, *target.shape[2:]) if mode == "multilabel" else target,
        **options,
    )


def scores() -> Cases:
    """Scores of masks: 1 minus the loss. Masks are rows, each with a score of its own."""
    everything = [
        ("jaccard", [[1, 1, 1, 1]], [[1, 1, 1, 1]], 1.0),
        ("jaccard", [[0, 1, 1, 0]], [[0, 1, 1, 0]], 1.0),
        ("jaccard", [[1, 1, 1, 1]], [[1, 1, 0, 0]], 0.5),
        ("jaccard", [[1, 1, 0, 0], [0, 0, 1, 1]], [[1, 1, 0, 0], [0, 0, 1, 1]], 1.0),
        ("jaccard", [[1, 1, 0, 0], [0, 0, 1, 1]], [[0, 0, 1, 0], [0, 1, 0, 0]], 0.0),
        ("jaccard", [[1, 1, 0, 0], [0, 0, 0, 1]], [[1, 1, 0, 0], [0, 0, 0, 0]], 0.5),
        ("dice", [[1, 1, 1, 1]], [[1, 1, 1, 1]], 1.0),
        ("dice", [[0, 1, 1, 0]], [[0, 1, 1, 0]], 1.0),
        ("dice", [[1, 1, 1, 1]], [[1, 1, 0, 0]], 2 / 3),
        ("tversky", [[1, 1, 1, 1]], [[1, 1, 1, 1]], 1.0),
        ("tversky", [[0, 1, 1, 0]], [[0, 1, 1, 0]], 1.0),
        ("tversky", [[1, 1, 1, 1]], [[1, 1, 0, 0]], 2 / 3),
    ]
    for loss, target, prediction, score in everything:
        masks, probabilities = tensor([target]), tensor([prediction])
        ours = partial(region, loss, probabilities, masks, mode="multilabel")
        yield values(f"soft {loss} score of {target}, {prediction}", ours, 1 - score, atol=1e-5)


def binary() -> Cases:
    rows = [
        ([1, 1, 1], [1, 1, 1], 0.0),
        ([1, 0, 1], [1, 0, 1], 0.0),
        ([0, 0, 0], [0, 0, 0], 0.0),
        ([1, 1, 1], [0, 0, 0], 0.0),
        ([1, 0, 1], [0, 1, 0], 1.0),
        ([0, 0, 0], [1, 1, 1], 1.0),
    ]
    for loss in REGION_LOSSES:
        ideal = ([1], [1], 0.0) if loss == "jaccard" else rows[0]
        for prediction, target, expected in [ideal, *rows[1:]]:
            ours = partial(region, loss, tensor([[prediction]]), tensor([[target]]), mode="binary")
            yield values(f"{loss} of one mask, {prediction}, {target}", ours, expected, atol=1e-5)


def several_classes() -> Cases:
    shown = [[1, 1, 0, 0], [0, 0, 1, 1]]
    for prediction, target, expected in [
        (shown, [0, 0, 1, 1], 0.0),
        (shown, [1, 1, 0, 0], 1.0),
        ([[1, 0, 1, 0], [0, 1, 0, 1]], [1, 1, 0, 0], 2 / 3),
    ]:
        labels = torch.tensor([target])
        ours = partial(region, "jaccard", tensor([prediction]), labels, mode="multiclass")
        yield values(f"jaccard of classes, {prediction}, {target}", ours, expected, atol=1e-5)
    for prediction, target, expected in [
        (shown, shown, 0.0),
        (shown, shown[::-1], 1.0),
        ([[0, 1, 1, 0], [0, 1, 1, 0]], [[1, 1, 0, 0], [1, 1, 0, 0]], 2 / 3),
    ]:
        ours = partial(region, "jaccard", tensor([prediction]), tensor([target]), mode="multilabel")
        yield values(f"jaccard of masks, {prediction}, {target}", ours, expected, atol=1e-5)


def matthews() -> Cases:
    shown, one_half = [[1, 1, 0, 0], [0, 0, 1, 1]], [[1, 1, 0, 0], [1, 1, 0, 0]]
    nothing, everything = [[0] * 4] * 2, [[1] * 4] * 2
    for prediction, target, expected in [
        (shown, shown, 0.0),
        (shown, shown[::-1], 2.0),
        ([[0, 1, 1, 0], [0, 1, 1, 0]], one_half, 1.0),
        (nothing, one_half, 1.0),
        (nothing, everything, 1.5),
        (everything, everything, 0.5),
    ]:
        ours = partial(
            functional.mcc_loss,
            tensor([prediction]),
            tensor([target]),
            from_logits=False,
            region_reduction="micro",
            eps=1e-5,
        )
        yield values(f"mcc of {prediction}, {target}", ours, expected, atol=1e-5)


def cross_entropies() -> Cases:
    """Ignored pixels count in their means' denominators, and smooth_factor is e, not e / 2."""
    logits = (18 * torch.eye(4, dtype=torch.float64) - 9)[..., None]
    labels = torch.tensor([[0], [1], [IGNORED], [3]])
    options: dict[str, Any] = {"ignore_index": IGNORED}

    def of_classes() -> Tensor:
        value = functional.cross_entropy(logits, labels, label_smoothing=0.1, **options)
        return value * (labels != IGNORED).double().mean()

    def of_masks() -> Tensor:
        scores, masks = tensor([[[-9, 9, 1, 9, -9]]]), tensor([[[0, 1, IGNORED, 1, 0]]])
        value = functional.binary_cross_entropy(scores, masks, label_smoothing=0.2, **options)
        return value * (masks != IGNORED).double().mean()

    yield values("soft cross-entropy with an ignored pixel", of_classes, 1.0125, atol=1e-4)
    yield values("soft binary cross-entropy with an ignored pixel", of_masks, 0.7201, atol=1e-4)


def focal_of_classes(logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
    """Their focal loss of classes: each against the others; the mean over classes."""
    masks = torch.nn.functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    weights = options.pop("class_weights", None)
    if weights is None:
        return functional.focal_loss(logits, masks, **options)
    channels = [
        functional.focal_loss(logits[:, [c]], masks[:, [c]], **options)
        for c in range(logits.shape[1])
    ]
    return torch.stack(channels) @ tensor(weights) / sum(weights)


def focal() -> Cases:
    labels = torch.tensor([[1], [0], [2]])
    hits = 10 * torch.eye(3, dtype=torch.float64)[[1, 0, 2], :, None]
    misses = tensor([[0, -10, 0], [0, 10, 0], [0, 0, 10]])[..., None]
    target = torch.tensor([[[1, 0, 1]]])
    good, bad = tensor([[[10, -10, 10]]]), tensor([[[-1, 2, 0]]])

    def sigmoid() -> bool:
        return bool(functional.focal_loss(good, target) < functional.focal_loss(bad, target))

    def softmax() -> bool:
        loss = partial(functional.focal_loss, activation="softmax", n_classes=3)
        return bool(loss(hits, labels) < loss(misses, labels))

    def probabilities() -> bool:
        of_logits = focal_of_classes(hits, labels)
        of_probabilities = focal_of_classes(hits.softmax(1), labels, from_logits=False)
        finite = of_logits.isfinite() and of_probabilities.isfinite()
        return bool(finite and (of_logits - of_probabilities).abs() < 0.2)

    yield holds("focal of a good prediction is less", sigmoid)
    yield holds("focal of good classes is less", softmax)
    yield holds("focal of probabilities is near that of logits", probabilities)


LOGITS = drawn(0, 2, 3, 4, 4)
LABELS = drawn_labels(0, 3, 2, 4, 4)
MASKS = drawn_labels(1, 2, 2, 3, 4, 4).double()
TARGETS = {"multiclass": LABELS, "multilabel": MASKS}


def weighted(loss: str, mode: str, weights: list[float] | None) -> Tensor:
    options: dict[str, Any] = {"from_logits": True, "class_weights": weights}
    if loss == "focal":
        return focal_of_classes(LOGITS, LABELS, class_weights=weights)
    return region(loss, LOGITS, TARGETS[mode], mode=mode, **options)


def same(loss: str, mode: str, one: list[float] | None, other: list[float]) -> bool:
    return torch.allclose(weighted(loss, mode, one), weighted(loss, mode, other), atol=1e-6)


def class_weights() -> Cases:
    uneven, scaled = [1.0, 2.0, 0.5], [10.0, 20.0, 5.0]
    for mode, loss in product(TARGETS, REGION_LOSSES):
        even = partial(same, loss, mode, None, [1.0, 1.0, 1.0])
        yield holds(f"even class weights change nothing, {loss}, {mode}", even)
    for loss in REGION_LOSSES:
        named = partial(same, loss, "multiclass")
        yield holds(f"uneven class weights count, {loss}", lambda f=named: not f(None, uneven))
        yield holds(f"class weights have no scale, {loss}", partial(named, uneven, scaled))
        ours = partial(weighted_mask, loss)
        yield raises(f"one mask has no class weights, {loss}", ours)
    yield holds(
        "even class weights change nothing, focal",
        partial(same, "focal", "multiclass", None, [1.0, 1.0, 1.0]),
    )
    yield holds(
        "class weights have no scale, focal", partial(same, "focal", "multiclass", uneven, scaled)
    )


def weighted_mask(loss: str) -> Tensor:
    return region(loss, LOGITS[:, :1], MASKS[:, :1], mode="binary", class_weights=[1.0, 2.0])


def cases() -> Cases:
    yield from scores()
    yield from binary()
    yield from several_classes()
    yield from matthews()
    yield from cross_entropies()
    yield from focal()
    yield from class_weights()


__all__ = ["Case", "cases"]
