"""The mixture to start with."""

from __future__ import annotations

from segloss.terms.mixture import Mixture
from segloss.terms.overlap import Dice, FocalTversky
from segloss.terms.pixelwise import CrossEntropy


def recommended() -> Mixture:
    """Returns the mixture to start with: cross-entropy, Dice and focal Tversky, of present classes.

    Dice and focal Tversky are means over the samples and classes that are in the target. Where a
    class is absent, only the cross-entropy speaks against it. In a study of several data sets, this
    was the best of the mixtures that are the same for all of them: see docs/choosing.md.

    It is the mixture of a `CompoundLoss` without terms. `terms="recommended"`, and `terms:
    recommended` in a config, mean the same.

    Example:
        >>> recommended()
        0.4 * CrossEntropy() + 0.4 * Dice(skip_absent_classes=True) + 0.2 * \
FocalTversky(skip_absent_classes=True)
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
