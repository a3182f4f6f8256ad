"""MMF's names: `@registry.register_loss`, as in its tutorial on losses.

Configs can use the registered losses in `model_config.<model>.losses`.

Example:
    >>> from torch import nn
    >>> @registry.register_loss("scaled_mean")
    ... class ScaledMean(nn.Module):
    ...     def forward(self, sample_list, model_output):
    ...         return 2 * model_output["scores"].mean()
    >>> registry.get_loss("scaled_mean").__name__
    'ScaledMean'
"""

from segloss.config import registry
from segloss.config.dialects.mmf import SampleListLoss

__all__ = ["SampleListLoss", "registry"]
