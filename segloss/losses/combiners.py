r"""Combiners: functions from the vector of a `MultiLoss`'s losses to the optimised scalar.

Any callable from a tensor (k,) to a scalar is a combiner, such as `torch.sum`, `torch.max` or
TorchJD's scalarizers. A combiner with parameters is an `nn.Module`, and its parameters go into the
optimiser: `optimizer = Adam([*model.parameters(), *multi_loss.parameters()])`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segloss.foundation.arguments import ChecksKeywords, check_integer

MAX_LOSSES = 10_000
"""The largest number of losses of a combiner: more are a mistake that would fill the memory."""


class UncertaintyWeighting(ChecksKeywords, nn.Module):
    r"""Weights learned as the uncertainty of each loss.

    .. math:: \sum_i \frac12 e^{-s_i} L_i + \frac12 s_i

    - :math:`L_i` is the i-th loss of the `MultiLoss`, divided by its norm and times its weight;
    - :math:`s_i = \log \sigma_i^2` is its learned log variance, 0 at first. At the optimum,
      :math:`s_i = \log L_i`, the loss has the weight :math:`1 / (2 L_i)`.

    Pass the log variances to the optimiser, as below.

    Args:
        num_losses: The number of losses, k.

    Raises:
        ValueError: The combiner is given to a `MultiLoss`, or called, with another number of
            losses.

    Source: Kendall, Gal, Cipolla, "Multi-task learning using uncertainty to weigh losses" (2018),
    for Gaussian likelihoods.

    Example:
        >>> UncertaintyWeighting(2)(torch.tensor([1.0, 3.0]))
        tensor(2., grad_fn=<...>)
        >>> from segloss import LossWrapper, MultiLoss, SegLoss
        >>> model, combiner = nn.Conv2d(1, 1, 1), UncertaintyWeighting(2)
        >>> losses = [SegLoss(), LossWrapper(nn.L1Loss(), name="l1")]
        >>> multi_loss = MultiLoss(losses, [1.0, 1.0], combiner=combiner)
        >>> optimizer = torch.optim.Adam([*model.parameters(), *multi_loss.parameters()])
        >>> prediction = model(torch.rand(2, 1, 8, 8)).sigmoid()
        >>> multi_loss(prediction, torch.ones(2, 1, 8, 8))[0].backward()
        >>> optimizer.step()
    """

    def __init__(self, num_losses: int) -> None:
        super().__init__()
        self.num_losses = check_integer("num_losses", num_losses, 1, MAX_LOSSES)
        self.log_vars = nn.Parameter(torch.zeros(self.num_losses))

    def forward(self, losses: Tensor) -> Tensor:
        """Returns the sum above, a scalar, of losses (k,)."""
        if not isinstance(losses, Tensor):
            raise TypeError(f"losses must be a tensor, got {type(losses).__name__}.")
        if losses.shape != self.log_vars.shape:
            raise ValueError(
                f"losses must be a vector of num_losses={self.num_losses}, got the shape "
                f"{tuple(losses.shape)}."
            )
        return (torch.exp(-self.log_vars) * losses + self.log_vars).sum() / 2
