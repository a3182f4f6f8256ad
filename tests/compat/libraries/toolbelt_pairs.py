"""Losses of pytorch-toolbelt, and ours."""

from __future__ import annotations

from functools import partial

import pytorch_toolbelt.losses as toolbelt

import segloss
from tests.compat.libraries.batches import Form
from tests.compat.libraries.pairs import (
    BATCH,
    MODES,
    SOFT,
    Pair,
    Pairs,
    soft_masks,
    with_float_target,
)


def of_overlap(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=soft_masks(form))
    for options in ({}, {"log": True}):
        log = {"log_loss": bool(options)}
        dice = segloss.DiceLoss(mode, smooth=0.0, **options, **BATCH)
        yield "dice", pair(toolbelt.DiceLoss(mode, **log), dice)
        jaccard = segloss.JaccardLoss(mode, **options, **BATCH)
        yield "jaccard", pair(toolbelt.JaccardLoss(mode, **log), jaccard)


def of_masks(form: Form) -> Pairs:
    theirs = with_float_target(toolbelt.BalancedBCEWithLogitsLoss())
    balanced = segloss.BalancedCrossEntropyLoss(MODES[form], balance="micro")
    yield "balanced", Pair(form, theirs, balanced, SOFT)


def pairs() -> Pairs:
    for form in MODES:
        yield from of_overlap(form)
    for form in ("masks", "mask"):
        yield from of_masks(form)
