"""The mixture to start with."""

from __future__ import annotations

from segloss.terms.mixture import Mixture
from segloss.terms.overlap import Dice, FocalTversky
from segloss.terms.pixelwise import CrossEntropy


def recommended() -> Mixture:
    r"""Returns the mixture to start with: cross-entropy, Dice and focal Tversky.

    .. math:: 0.3\,\mathrm{CrossEntropy} + 0.3\,\mathrm{Dice} + 0.4\,\mathrm{FocalTversky}

    Dice is computed for each sample, so a small object counts as much as a large one in another
    image. Focal Tversky is computed over the batch, so that false alarms also count in samples that
    lack their class. Both leave out classes that are absent from the target. docs/choosing.md
    compares the mixture with others, and with those of other libraries, on several data sets.

    With `reduction="none"`, or with a lambda of mixup for each sample, the pooled term has no value
    for each sample. There, use your own mixture of terms by sample:
    `0.3 * CrossEntropy() + 0.3 * Dice() + 0.4 * FocalTversky()`.

    It is the mixture of a `CompoundLoss` without terms. `terms="recommended"`, and `terms:
    recommended` in a config, mean the same.

    Source: see `segloss.terms.Dice` and `segloss.terms.FocalTversky`.

    Example:
        >>> [(part.coefficient, part.term.name) for part in recommended().components]
        [(0.3, 'cross_entropy'), (0.3, 'dice'), (0.4, 'focal_tversky')]
        >>> import torch
        >>> from segloss import SegLoss
        >>> loss = SegLoss(n_classes=4, terms=recommended(), ignore_index=255)
        >>> value, info = loss(torch.zeros(1, 4, 2), torch.tensor([[0, 3]]))
        >>> value
        tensor(0.8439)
    """
    return (
        0.3 * CrossEntropy()
        + 0.3 * Dice(skip_absent_classes=True)
        + 0.4 * FocalTversky(region_reduction="batch", skip_absent_classes=True)
    )
