"""Finds the losses in a module."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss


def find_losses(module: nn.Module) -> dict[str, Loss | MultiLoss]:
    """Returns every `MultiLoss`, and every `Loss` that is not part of another loss, by its path.

    Raises:
        ValueError: The module has no loss.
    """
    found: dict[str, Loss | MultiLoss] = {}
    for path, loss in _outermost(module, ""):
        if all(loss is not earlier for earlier in found.values()):
            found[path] = loss
    if not found:
        raise ValueError(
            f"{type(module).__name__} must have a MultiLoss or a Loss among its modules, but has "
            "none: make it an attribute, as in self.loss = MultiLoss(...), before training."
        )
    return found


def find_multi_losses(module: nn.Module) -> dict[str, MultiLoss]:
    """Returns every `MultiLoss` in a module, by its path.

    Raises:
        ValueError: The module has no loss at all.
    """
    found = find_losses(module)
    return {path: loss for path, loss in found.items() if isinstance(loss, MultiLoss)}


def members(loss: Loss | MultiLoss) -> dict[Loss, Tensor | None]:
    """Returns the losses of a `MultiLoss` with their weights; a single `Loss` with None."""
    if isinstance(loss, Loss):
        return {loss: None}
    losses = [member for member in loss.loss_funcs if isinstance(member, Loss)]
    return dict(zip(losses, loss.current_weights, strict=True))


def _outermost(module: nn.Module, path: str) -> Iterator[tuple[str, Loss | MultiLoss]]:
    """Yields the losses in a module that are not part of another loss, with their paths."""
    if isinstance(module, (Loss, MultiLoss)):
        yield path, module
        return
    for name, child in module.named_children():
        yield from _outermost(child, f"{path}.{name}" if path else name)
