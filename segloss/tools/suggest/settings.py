"""The settings of a suggested config, in order, and their places in the config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segloss.tools.suggest import rules
from segloss.tools.suggest.advice import Advice
from segloss.tools.suggest.rules import TERM_PREFIX, Facts

SCHEDULE = ("normalize_losses", "max_samples", "weight")
"""The settings of the compound loss; the others belong to `SegLoss`."""


def all_advice(facts: Facts) -> list[Advice]:
    """Returns the advice of all rules."""
    return [
        rules.n_classes(facts),
        rules.from_logits(facts),
        rules.ignore_index(facts),
        *rules.terms(facts),
        *rules.norms(facts),
        rules.schedule(facts),
    ]


def as_config(advice: Sequence[Advice]) -> dict[str, Any]:
    """Returns the config for `segloss.build_loss`, without settings that have no value."""
    values = {setting.key: setting.value for setting in advice if setting.value is not None}
    weight = values.pop("weight")
    terms = [key for key in values if key.startswith(TERM_PREFIX)]
    values["terms"] = {key.removeprefix(TERM_PREFIX): values.pop(key) for key in terms}
    loss = {"_target_": "segloss.SegLoss", "name": "seg", **values, "weight": weight}
    compound = {
        "normalize_losses": loss.pop("normalize_losses"),
        "normalization_params": {"max_samples": loss.pop("max_samples")},
        "loss_list": [loss],
    }
    return {"loss_params": {"compound_loss": compound}}
