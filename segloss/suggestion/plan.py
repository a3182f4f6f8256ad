"""From the rules' settings to a config: which losses there are, their norms, and their schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segloss.suggestion import rules
from segloss.suggestion.advice import Advice
from segloss.suggestion.rules import Facts

NORM_MASKS = 200
"""Masks that are enough to average a loss over."""


@dataclass(frozen=True)
class Plan:
    """The config, and what explains each of its settings.

    Attributes:
        seg: The settings of the loss that trains to the end.
        balanced: Those of the weighted cross-entropy that fades; empty: there is none.
        schedule: Weights, epochs and norms.
    """

    seg: list[Advice]
    balanced: list[Advice]
    schedule: list[Advice]

    @property
    def advice(self) -> list[Advice]:
        """All settings."""
        return [*self.seg, *self.balanced, *self.schedule]

    def config(self) -> dict[str, Any]:
        """The config, as `segloss.build_loss` takes it."""
        compound: dict[str, Any] = {}
        for advice in self.schedule:
            if advice.key == "max_samples":
                compound["normalization_params"] = {"max_samples": advice.value}
            elif advice.key != "weight of balanced":
                compound |= settings_of([advice])
        losses: list[dict[str, Any]] = [_entry("seg", settings_of(self.seg), 1.0)]
        if self.balanced:
            weight = next(a.value for a in self.schedule if a.key == "weight of balanced")
            shared = {key: losses[0][key] for key in SHARED if key in losses[0]}
            losses.append(_entry("balanced", {**shared, **settings_of(self.balanced)}, weight))
        return {"loss_params": {"compound_loss": {**compound, "loss_list": losses}}}


SHARED = ("n_classes", "from_logits", "ignore_index")
"""Settings that all losses of the same masks have."""


def make_plan(facts: Facts) -> Plan:
    """Applies all rules."""
    weights = [rules.class_weights(facts), rules.pos_weight(facts)]
    used = [advice for advice in weights if advice.value is not None]
    seg = [
        rules.n_classes(facts),
        rules.from_logits(facts),
        rules.ignore_index(facts),
        *rules.coefficients(facts),
        *rules.tversky(facts),
        rules.region_reduction(facts),
        rules.skip_absent_classes(facts),
    ]
    if not used:
        return Plan([*seg, *weights], [], _norms(facts, fades=False))
    balanced = [
        *used,
        Advice("bce_coef", 1.0, "the weights act on cross-entropy alone"),
        Advice("dice_coef", 0.0, "region terms balance the classes already"),
    ]
    return Plan(seg, balanced, [*_fading(facts), *_norms(facts, fades=True)])


def settings_of(advice: list[Advice]) -> dict[str, Any]:
    """The settings that are to be written, None left out."""
    return {a.key: a.value for a in advice if a.value is not None}


def _fading(facts: Facts) -> list[Advice]:
    half = max(1, facts.epochs // 2)
    return [
        Advice(
            "epoch_thresholds",
            [0, half],
            f"the first half of {facts.epochs} epochs (set it to yours by --epochs)",
        ),
        Advice(
            "weight of balanced",
            [1.0, 0.0],
            "rare classes are found first; then probabilities become those of the data, which "
            "weights would shift, and with them what is predicted",
        ),
    ]


def _norms(facts: Facts, *, fades: bool) -> list[Advice]:
    return [
        Advice(
            "normalize_losses",
            fades,
            "weights compare losses, which norms bring to the same size"
            if fades
            else "there is one loss, which needs no norm",
        ),
        Advice(
            "max_samples",
            min(facts.statistics.masks, NORM_MASKS),
            f"masks that a norm is averaged over: all, or {NORM_MASKS}",
        ),
    ]


def _entry(name: str, settings: dict[str, Any], weight: Any) -> dict[str, Any]:
    return {"_target_": "segloss.SegLoss", "name": name, **settings, "weight": weight}
