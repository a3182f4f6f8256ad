"""Batches of many kinds, on which losses of other libraries are compared with ours.

A batch has one of four forms: a label map of four or two classes, four masks, or a single mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

Form = Literal["labels", "two classes", "masks", "mask"]

CHANNELS: dict[Form, int] = {"labels": 4, "two classes": 2, "masks": 4, "mask": 1}
IGNORED = 255


class Batch(NamedTuple):
    """Logits (N, C, H, W), and a label map (N, H, W) or masks (N, C, H, W)."""

    logits: Tensor
    target: Tensor


def is_label_map(form: Form) -> bool:
    return form in ("labels", "two classes")


def batch(form: Form, *, channels: int | None = None, samples: int = 3, side: int = 6) -> Batch:
    """Makes a batch with classes of unequal sizes, each in each sample if there are enough pixels.

    The masks of a sample are unequal too, and none is full if there are enough pixels.
    """
    channels = channels or CHANNELS[form]
    pixels = side * side
    logits = torch.randn(samples, channels, side, side, dtype=torch.float64)
    places = torch.rand(samples, 1 if is_label_map(form) else channels, pixels).argsort(2)
    if is_label_map(form):
        skewed = (channels * (places / pixels) ** 2).long()
        labels = places.where(places < channels, skewed)
        return Batch(logits, labels.reshape(samples, side, side))
    sizes = pixels * torch.arange(1, channels + 1) / (channels + 2)
    return Batch(logits, (places < sizes[:, None]).long().reshape(logits.shape))


def in_float32(form: Form) -> Batch:
    logits, target = batch(form)
    return Batch(logits.float(), target)


def confident(form: Form) -> Batch:
    """Logits of -30 and 30 in float32, wrong at one in ten."""
    logits, target = batch(form)
    truth = one_hot(target, logits.shape[1]).movedim(-1, 1) if is_label_map(form) else target
    wrong = (torch.rand(truth.shape) < 0.1).long()
    return Batch(60.0 * (truth ^ wrong) - 30.0, target)


def empty(form: Form) -> Batch:
    logits, target = batch(form)
    return Batch(logits, torch.zeros_like(target))


def full(form: Form) -> Batch:
    """Every pixel has the last class, or is in every mask."""
    logits, target = batch(form)
    last = logits.shape[1] - 1 if is_label_map(form) else 1
    return Batch(logits, torch.full_like(target, last))


def without_last_class(form: Form, samples: slice) -> Batch:
    """The last class is absent from some samples."""
    logits, target = batch(form)
    if is_label_map(form):
        target[samples] = target[samples].clamp_max(logits.shape[1] - 2)
    else:
        target[samples, -1] = 0
    return Batch(logits, target)


def soft(form: Form) -> Batch:
    logits, _ = batch(form)
    target = torch.rand_like(logits)
    return Batch(logits, target / target.sum(1, keepdim=True) if is_label_map(form) else target)


def ignored(form: Form, samples: slice) -> Batch:
    logits, target = batch(form)
    target[samples] = IGNORED
    return Batch(logits, target)


def ignored_pixels(form: Form) -> Batch:
    """More pixels of the first sample are ignored than of the others."""
    logits, target = batch(form)
    target[..., 2, :] = IGNORED
    target[FIRST, ..., 3, :] = IGNORED
    return Batch(logits, target)


def ignored_in_one_mask(form: Form) -> Batch:
    logits, target = batch(form)
    target[:, -1, 2:4] = IGNORED
    return Batch(logits, target)


class Kind(NamedTuple):
    """A kind of batch: how to make one, in which forms, and what a loss must take."""

    make: Callable[[Form], Batch]
    forms: tuple[Form, ...] = ("labels", "two classes", "masks", "mask")
    needs: Literal["", "ignoring", "soft"] = ""


EVERY, FIRST = slice(None), slice(0, 1)
SEVERAL: tuple[Form, ...] = ("labels", "masks")

KINDS = {
    "ordinary": Kind(batch),
    "float32": Kind(in_float32),
    "confident": Kind(confident),
    "one sample": Kind(lambda form: batch(form, samples=1)),
    "one pixel": Kind(lambda form: batch(form, samples=2, side=1)),
    "40 classes": Kind(lambda form: batch(form, channels=40, side=8), SEVERAL),
    "171 classes": Kind(lambda form: batch(form, channels=171, samples=2, side=14), SEVERAL),
    "empty": Kind(empty),
    "full": Kind(full),
    "absent class": Kind(lambda form: without_last_class(form, EVERY), SEVERAL),
    "class absent in a sample": Kind(lambda form: without_last_class(form, FIRST)),
    "soft": Kind(soft, needs="soft"),
    "ignored pixels": Kind(ignored_pixels, needs="ignoring"),
    "ignored in one mask": Kind(ignored_in_one_mask, ("masks",), needs="ignoring"),
    "ignored sample": Kind(lambda form: ignored(form, FIRST), needs="ignoring"),
    "all ignored": Kind(lambda form: ignored(form, EVERY), needs="ignoring"),
}


def presence(batch: Batch) -> Tensor:
    """Returns the classes that occur in each sample, (N, C)."""
    logits, target = batch
    if target.ndim == logits.ndim:
        return ((target > 0) & (target != IGNORED)).flatten(2).any(2)
    classes = torch.arange(logits.shape[1])[:, None]
    return (target.flatten(1)[:, None] == classes).any(2)


def ignored_samples(batch: Batch) -> Tensor:
    return (batch.target == IGNORED).flatten(1).all(1)


def has_some(flags: Tensor) -> bool:
    return bool(flags.any()) and not bool(flags.all())


CONDITIONS: dict[str, Callable[[Batch], bool]] = {
    "absent class": lambda batch: (
        not ignored_samples(batch).all() and not presence(batch).any(0).all()
    ),
    "absent in some samples": lambda batch: len(set(presence(batch).sum(1).tolist())) > 1,
    "empty sample": lambda batch: not presence(batch).any(1).all(),
    "empty batch": lambda batch: not presence(batch).any(),
    "soft targets": lambda batch: batch.target.is_floating_point(),
    "ignored pixels": lambda batch: has_some(batch.target == IGNORED),
    "ignored sample": lambda batch: has_some(ignored_samples(batch)),
    "all ignored": lambda batch: bool(ignored_samples(batch).all()),
    "confident logits": lambda batch: bool(batch.logits.abs().max() >= 30),
    "few pixels": lambda batch: batch.logits.shape[-1] == 1,
}
"""What the pages name where two losses differ."""
