"""Groups of pixels, such as connected components: their number, and the sums of their cells.

A map (N, C, P) of whole numbers puts each pixel of a sample and class into a group. Group 0 holds
the pixels of no component. Kernels compute the rows of a plan for each group, (S, N, K, C).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.foundation.precision import accumulation_dtype
from segloss.foundation.tracing import is_traced
from segloss.sums.plan import COUNTS, Plan

_FEW_GROUPS = 256
"""The number of groups up to which their greatest number is not read on an accelerator."""


def most_groups(groups: Tensor) -> int:
    """Returns the greatest number of groups that a map (N, C, P) can have, by its shape and dtype.

    A component has a pixel, so there are at most P, and ids fit the dtype.
    """
    return 1 + min(groups.shape[-1], torch.iinfo(groups.dtype).max)


def group_count(groups: Tensor) -> int:
    """Returns the number of groups K of a map (N, C, P): one more than the greatest id.

    Where values can't be read, and where reading them would wait for a GPU but few groups are
    possible, it returns the greatest number that is possible.
    """
    most = most_groups(groups)
    if groups.numel() == 0:
        return 1
    if is_traced() or groups.is_meta or (not groups.is_cpu and most <= _FEW_GROUPS):
        return most
    return max(0, min(int(groups.amax()), most - 1)) + 1


@dataclass(frozen=True, eq=False)
class Groups:
    """The group of each pixel of some samples.

    Attributes:
        index: The groups (N, C, P), in int64, each an index below `count`.
        count: The number of groups K.
    """

    index: Tensor
    count: int

    @classmethod
    def of(cls, ids: Tensor, count: int) -> Groups:
        """Returns the groups of a map (N, C, P), whose ids become 0 if they are not below K."""
        index = ids.long()
        return cls(index.masked_fill((index < 0) | (index >= count), 0), count)

    def total(self, values: Tensor) -> Tensor:
        """Computes the sums of values (N, C, P) over the pixels of each group, (N, K, C)."""
        dtype = accumulation_dtype(values.device)
        values = values.to(dtype)
        zeros = values.new_zeros((*values.shape[:2], self.count))
        return zeros.scatter_add(2, self.index, values).transpose(1, 2)

    def total_by_label(self, values: Tensor, labels: Tensor) -> Tensor:
        """Computes the sums of values (N, P) over each label's pixels in each group, (N, K, C)."""
        samples, classes, _ = self.index.shape
        values = values.to(accumulation_dtype(values.device))
        group = self.index.gather(1, labels.unsqueeze(1)).squeeze(1)
        zeros = values.new_zeros((samples, classes * self.count))
        totals = zeros.scatter_add(1, labels * self.count + group, values)
        return totals.reshape(samples, classes, self.count).transpose(1, 2)

    def at_pixels(self, slopes: Tensor) -> Tensor:
        """Returns the number of each pixel's group, (N, C, P), from those of groups, (N, C, K)."""
        return slopes.gather(2, self.index)


def at_group_0(values: Tensor, count: int) -> Tensor:
    """Returns a row (N, K, C) that has the values (N, C) at group 0, and 0 at the others."""
    return F.pad(values.unsqueeze(1), (0, 0, 0, count - 1))


def cells_of_groups(rows: Tensor, plan: Plan) -> Tensor:
    """Computes the rows (S, N, K, C) of cells, one for each component, from those of groups.

    The cell of a component has the pixels of the component and those of group 0. Where a sample
    and class have no component, the cell at index 0 has the pixels of group 0. All other cells are
    0, as is the cell of a component without a pixel that counts.
    """
    pixel_weight = rows[plan.index[COUNTS.rows[1].key]].detach()
    is_counted = (pixel_weight[:, 1:] > 0).to(rows.dtype)
    is_alone = (is_counted.sum(1, keepdim=True) == 0).to(rows.dtype)
    outside, components = rows[:, :, :1], rows[:, :, 1:]
    return torch.cat([outside * is_alone, (components + outside) * is_counted], 2)
