r"""Sums of groups of classes, and their slopes, for softmax and label maps.

The classes that are in the same groups form a block, so that each class is added up once, however
many groups there are. :math:`1 - p_G` is the sum of the blocks outside the group.

With s the slope in :math:`p_G`, the gradient of a pixel is :math:`p_j s (1 - p_G)` for the classes
j of the group, and :math:`-p_j s p_G` for the others. Neither is a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.foundation.device_constants import on_device
from segloss.sums.kernels.torch_ops.pixel_sums import PixelSum, PixelValues, class_group_sum
from segloss.sums.plan import ClassGroupSum


class _Group(NamedTuple):
    """A group of classes.

    Attributes:
        has_block: For each block, True if its classes are in the group.
        sums: The group's sums, and their values as functions of its probability.
    """

    has_block: tuple[bool, ...]
    sums: list[tuple[ClassGroupSum, PixelSum]]


class ClassGroupSums:
    """Computes the sums of all groups of a plan, for the pixels of a chunk.

    Args:
        sums: The sums.
        classes: The number of classes.
    """

    def __init__(self, sums: Sequence[ClassGroupSum], classes: int) -> None:
        groups = dict.fromkeys(each.classes for each in sums)
        blocks: dict[tuple[bool, ...], list[int]] = {}
        for c in range(classes):
            blocks.setdefault(tuple(c in group for group in groups), []).append(c)
        self._blocks = list(blocks.values())
        self._groups = [
            _Group(
                tuple(in_groups[i] for in_groups in blocks),
                [(each, class_group_sum(each)) for each in sums if each.classes == group],
            )
            for i, group in enumerate(groups)
        ]

    def values(
        self, exp_others: Tensor, exp_label: Tensor, all_total: Tensor, labels: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields the key of each row and its values at the pixels, (n, l).

        Args:
            exp_others: The exponentials of the logits, with 0 at the label, (n, C, l).
            exp_label: That of the label, (n, l).
            all_total: Their sum over all classes, (n, l).
            labels: The labels, (n, l).
        """
        blocks = self._of_blocks(exp_others, exp_label, all_total, labels)
        for group in self._groups:
            pixel = _pixel_values(group, *blocks)
            for each, pixel_sum in group.sums:
                for key, values in pixel_sum.values(pixel).items():
                    yield each.key(key), values

    def slopes(
        self,
        upstream: Mapping[str, Tensor],
        exp_others: Tensor,
        exp_label: Tensor,
        all_total: Tensor,
        labels: Tensor,
    ) -> Tensor:
        """Computes the slopes with respect to the logits, divided by the probabilities, (n, C, l).

        Args:
            upstream: The slopes with respect to the sums, (n,), by the keys of their rows.
            exp_others: See `values`, as for the arguments below.
            exp_label: Likewise.
            all_total: Likewise.
            labels: Likewise.
        """
        blocks = self._of_blocks(exp_others, exp_label, all_total, labels)
        of_blocks = [torch.zeros_like(exp_label) for _ in self._blocks]
        for group in self._groups:
            pixel = _pixel_values(group, *blocks)
            by_p = torch.zeros_like(exp_label)
            for each, pixel_sum in group.sums:
                of_sum = {key: upstream[each.key(key)].unsqueeze(1) for key in pixel_sum.names}
                by_p.add_(pixel_sum.slope(of_sum, pixel))
            inside, outside = by_p * pixel.q, by_p.mul_(pixel.p).neg_()
            for of_block, is_inside in zip(of_blocks, group.has_block, strict=True):
                of_block.add_(inside if is_inside else outside)
        slopes = torch.empty_like(exp_others)
        for block, of_block in zip(self._blocks, of_blocks, strict=True):
            for c in block:
                slopes[:, c] = of_block
        return slopes

    def _of_blocks(
        self, exp_others: Tensor, exp_label: Tensor, all_total: Tensor, labels: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the probabilities of blocks, and 1 where the label is in them, (n, l) each."""
        block_of = {c: i for i, block in enumerate(self._blocks) for c in block}
        table = tuple(block_of[c] for c in range(len(block_of)))
        label_block = on_device(table, labels.device, torch.int64)[labels]
        targets = [(label_block == i).to(exp_label.dtype) for i in range(len(self._blocks))]
        totals = [_sum([exp_others[:, c] for c in block], exp_label) for block in self._blocks]
        for total, target in zip(totals, targets, strict=True):
            total.addcmul_(target, exp_label).div_(all_total)
        return totals, targets


def _pixel_values(
    group: _Group, probabilities: Sequence[Tensor], targets: Sequence[Tensor]
) -> PixelValues:
    """Returns the probability and the target of a group, (n, l), from those of blocks."""
    inside = [i for i, is_inside in enumerate(group.has_block) if is_inside]
    outside = [i for i, is_inside in enumerate(group.has_block) if not is_inside]
    p, q, g = (
        _sum([values[i] for i in blocks], targets[0])
        for values, blocks in ((probabilities, inside), (probabilities, outside), (targets, inside))
    )
    return PixelValues(p, q, g, {})


def _sum(addends: Sequence[Tensor], like: Tensor) -> Tensor:
    """Computes the sum of some tensors, or of none, in new memory."""
    total = torch.zeros_like(like)
    for each in addends:
        total.add_(each)
    return total
