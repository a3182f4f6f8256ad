r"""Losses of the masks in models that predict a mask for each object, such as Mask2Former.

The criterion of such a model matches predicted masks with those of the image, and draws points in
each pair, or resizes them. From logits and labels (Q, P) of Q pairs of masks, it computes two
losses, which the model weights and adds up over its layers. `use_mask_losses` replaces only these
two: their values L, means over the masks, become :math:`L\,Q / M`, with the number M of masks by
which the criterion divides, a mean over the ranks.

The criterion's own `loss_masks` finds the points. It runs with the functions of its two losses
replaced by one that returns its arguments, so none of its code is repeated here.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from segloss.foundation.arguments import shown
from segloss.losses.compound_loss import CompoundLoss
from segloss.terms import Mixture, Term


def use_mask_losses(model: nn.Module, *, loss_mask: Any = None, loss_dice: Any = None) -> None:
    r"""Replaces the losses of the masks in Mask2Former, MaskFormer, OneFormer or EoMT.

    The model keeps its matcher, points, auxiliary losses, and the weights of its losses, such as
    `mask_weight` and `dice_weight` of its configuration. `CrossEntropy()` and `Dice()` are the
    losses that Mask2Former has itself.

    Args:
        model: A model of transformers with a criterion that has `loss_masks`, such as
            `Mask2FormerForUniversalSegmentation`.
        loss_mask: The loss that the model weights by `mask_weight`: a term or a mixture of
            `segloss.terms`, a mapping of terms with coefficients, or a module of logits (Q, P) and
            labels (Q, P) in [0, 1] that returns a mean over the Q masks, such as a `CompoundLoss`.
            Its parameters, if any, become parameters of the model. None: not computed.
        loss_dice: The loss that the model weights by `dice_weight`, in the same forms.

    Raises:
        TypeError: The model has no such criterion, or a loss is of another type.
        ValueError: Both losses are None.

    Example:
        >>> from transformers import EomtConfig, EomtForUniversalSegmentation
        >>> from segloss.terms import CrossEntropy, FocalTversky
        >>> size = {"hidden_size": 8, "num_hidden_layers": 1, "num_blocks": 1, "image_size": 32}
        >>> config = EomtConfig(num_attention_heads=1, **size)
        >>> model = EomtForUniversalSegmentation(config)  # or .from_pretrained(...)
        >>> use_mask_losses(model, loss_mask=CrossEntropy(), loss_dice=FocalTversky())
    """
    criterion = getattr(model, "criterion", None)
    if not isinstance(criterion, nn.Module) or not _loss_functions(criterion):
        raise TypeError(
            "model must have a criterion that computes loss_masks from points, like those of "
            "Mask2FormerForUniversalSegmentation, MaskFormer, OneFormer and EoMT, got "
            f"{type(model).__name__}. A model of logits (N, C, H, W) takes a loss through "
            "Trainer(compute_loss_func=as_compute_loss_func(loss))."
        )
    given = {"loss_mask": loss_mask, "loss_dice": loss_dice}
    losses = {name: _as_module(name, loss) for name, loss in given.items() if loss is not None}
    if not losses:
        raise ValueError(
            "use_mask_losses needs a loss: pass loss_mask, loss_dice or both, such as "
            "loss_mask=CrossEntropy(), loss_dice=Dice()."
        )
    criterion.mask_losses = nn.ModuleDict(losses)
    # Past nn.Module, which would register it, and find the method of the class first
    criterion.__dict__["loss_masks"] = functools.partial(_loss_masks, criterion)


def _loss_masks(criterion: Any, *arguments: Any, **keywords: Any) -> dict[str, Tensor]:
    """Returns the losses of the masks by name, in place of the criterion's `loss_masks`."""
    points = _points_of(type(criterion).loss_masks)(criterion, *arguments, **keywords)
    logits, labels, num_masks = next(iter(points.values()))
    values = {name: loss(logits, labels) for name, loss in criterion.mask_losses.items()}
    return {
        name: (value[0] if isinstance(value, tuple) else value) * len(logits) / num_masks
        for name, value in values.items()
    }


@functools.cache
def _points_of(method: types.FunctionType) -> Callable[..., dict[str, Any]]:
    """Returns `loss_masks` with loss functions that return their arguments."""
    replaced = dict.fromkeys(_names_of_loss_functions(method), _arguments)
    points = types.FunctionType(
        method.__code__,
        {**method.__globals__, **replaced},
        method.__name__,
        method.__defaults__,
        method.__closure__,
    )
    points.__kwdefaults__ = method.__kwdefaults__
    return points


def _arguments(logits: Tensor, labels: Tensor, num_masks: Any) -> tuple[Tensor, Tensor, Any]:
    """Returns the arguments, in place of a loss of them."""
    return logits, labels, num_masks


def _loss_functions(criterion: nn.Module) -> list[str]:
    """Returns the names of the functions by which a criterion computes the losses of masks."""
    method = getattr(type(criterion), "loss_masks", None)
    return _names_of_loss_functions(method) if isinstance(method, types.FunctionType) else []


def _names_of_loss_functions(method: types.FunctionType) -> list[str]:
    """Returns the names of the functions of its module, `..._loss`, that a method calls."""
    names = method.__code__.co_names
    return [name for name in names if name.endswith("_loss") and name in method.__globals__]


def _as_module(name: str, loss: Any) -> nn.Module:
    """Returns a loss of logits and labels (Q, P), from terms or a module."""
    if isinstance(loss, (Term, Mixture, Mapping)):
        return CompoundLoss(loss)
    if not isinstance(loss, nn.Module):
        raise TypeError(
            f"{name} must be a term, a mixture or a mapping of terms, such as CrossEntropy() of "
            f"segloss.terms, or a module of (logits, labels), got {shown(loss)}."
        )
    options = getattr(loss, "options", None)
    if getattr(options, "activation", "sigmoid") != "sigmoid":
        raise ValueError(
            f"{name} must be a loss of independent masks, but this {type(loss).__name__} is for "
            f"classes that exclude each other: pass its terms alone, {name}=loss.mixture."
        )
    return loss
