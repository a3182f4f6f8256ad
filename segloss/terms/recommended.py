"""The mixture to start with."""

from __future__ import annotations

from segloss.terms.mixture import Mixture
from segloss.terms.overlap import Dice, FocalTversky
from segloss.terms.pixelwise import CrossEntropy


def recommended() -> Mixture:
    r"""Returns the mixture to start with: cross-entropy, Dice and focal Tversky.

    .. math:: 0.4\,\mathrm{CrossEntropy} + 0.4\,\mathrm{Dice} + 0.2\,\mathrm{FocalTversky}

    Dice and focal Tversky are means over the samples and classes that are in the target. Where a
    class is absent, only the cross-entropy speaks against it. docs/choosing.md compares it with
    other mixtures and libraries on several data sets.

    It is the mixture of a `CompoundLoss` without terms. `terms="recommended"`, and `terms:
    recommended` in a config, mean the same.

    Source: the terms have theirs: see `segloss.terms.Dice` and `segloss.terms.FocalTversky`.

    Example:
        >>> [(part.coefficient, part.term.name) for part in recommended().components]
        [(0.4, 'cross_entropy'), (0.4, 'dice'), (0.2, 'focal_tversky')]
        >>> import torch
        >>> from segloss import SegLoss
        >>> loss = SegLoss(n_classes=4, terms=recommended(), ignore_index=255)
        >>> value, info = loss(torch.zeros(1, 4, 2), torch.tensor([[0, 3]]))
        >>> value
        tensor(0.8685)
    """
    return (
        0.4 * CrossEntropy()
        + 0.4 * Dice(skip_absent_classes=True)
        + 0.2 * FocalTversky(skip_absent_classes=True)
    )
