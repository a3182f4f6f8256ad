"""Losses made wrong on purpose, one for each check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def right(prediction: Tensor, target: Tensor) -> Tensor:
    """The loss that the others spoil."""
    x = prediction if prediction.dtype == torch.float64 else prediction.float()
    p, g = x.sigmoid().flatten(1), target.to(x.dtype).flatten(1)
    return (1 - (2 * (p * g).sum(1) + 1) / (p.sum(1) + g.sum(1) + 1)).mean()


def not_reduced(prediction: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(prediction, target, reduction="none")


def a_number(prediction: Tensor, target: Tensor) -> float:
    return right(prediction, target).item()


def one_element(prediction: Tensor, target: Tensor) -> Tensor:
    return right(prediction, target).reshape(1)


def detached(prediction: Tensor, target: Tensor) -> Tensor:
    return right(prediction.detach(), target)


def half_detached(prediction: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(prediction, target) * right(
        prediction.detach(), target
    )


class _WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sigmoid()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return upstream[0] * x.sigmoid()


def wrong_backward(prediction: Tensor, target: Tensor) -> Tensor:
    return (_WrongBackward.apply(prediction) - target).square().mean()


def wrong_and_partly_float32(prediction: Tensor, target: Tensor) -> Tensor:
    loss = right(prediction.float(), target) + F.binary_cross_entropy_with_logits(
        prediction, target
    )
    return loss + 0.1 * (loss - loss.detach())


def slightly_wrong_backward(prediction: Tensor, target: Tensor) -> Tensor:
    loss = right(prediction, target)
    return loss + 0.1 * (loss - loss.detach())


def nan_at_large_logits(prediction: Tensor, target: Tensor) -> Tensor:
    x = prediction.float()
    probability = x.exp() / (1 + x.exp())
    return (probability - target.float()).square().mean()


def overflow_in_bfloat16(prediction: Tensor, target: Tensor) -> Tensor:
    tiny = torch.tensor(1.0, dtype=prediction.dtype) + 1e-3 - 1  # 0 in bfloat16
    return (right(prediction, target) * tiny / tiny).float()


def overflow_in_float16(prediction: Tensor, target: Tensor) -> Tensor:
    p, g = prediction.sigmoid(), target.to(prediction.dtype)
    return ((p - g).abs().sum() + 1) / (p.sum() + g.sum() + 1)


def denominator_overflows(prediction: Tensor, target: Tensor) -> Tensor:
    p = prediction.sigmoid()
    return 1 - 2 * (p * target.float()).sum() / (p.sum() + target.float().sum())


def log_of_zero(prediction: Tensor, target: Tensor) -> Tensor:
    return right(prediction, target).log()


def root_of_zero(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction.sigmoid() - target).abs().sqrt().mean()


def divides_by_foreground(prediction: Tensor, target: Tensor) -> Tensor:
    return ((prediction.sigmoid() - target).square().sum() / target.sum()).mean()


def divides_by_background(prediction: Tensor, target: Tensor) -> Tensor:
    return ((prediction.sigmoid() - target).square().sum() / (1 - target).sum()).mean()


class NothingLeft(nn.Module):
    ignore_index = 255

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        kept = target != self.ignore_index
        return (prediction.sigmoid() - target)[kept].square().mean()


def first_sample_counts_twice(prediction: Tensor, target: Tensor) -> Tensor:
    return right(prediction, target) + right(prediction[:1], target[:1])


def sums_one_after_the_other(prediction: Tensor, target: Tensor) -> Tensor:
    error = (prediction.sigmoid() - target).square().flatten()
    return error.cumsum(0)[-1] / error.numel() if error.dtype == torch.float64 else _naive(error)


def _naive(error: Tensor) -> Tensor:
    total = error.to(torch.bfloat16).float()
    return total.sum() / error.numel()


def views(prediction: Tensor, target: Tensor) -> Tensor:
    return right(prediction.view(-1).view_as(prediction), target)


def reads_memory_order(prediction: Tensor, target: Tensor) -> Tensor:
    memory = torch.as_strided(prediction, (prediction.numel(),), (1,))
    return F.binary_cross_entropy_with_logits(memory, target.flatten())


def random(prediction: Tensor, target: Tensor) -> Tensor:
    return right(F.dropout(prediction, 0.1), target)


class Counting(nn.Module):
    """Its value changes with every call, and so does its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        self.eval()
        return self.scale * right(prediction, target) * self.calls


def changes_target(prediction: Tensor, target: Tensor) -> Tensor:
    return right(prediction, target.mul_(0.9).add_(0.05))


def changes_prediction(prediction: Tensor, target: Tensor) -> Tensor:
    if not prediction.is_leaf or not prediction.requires_grad:
        prediction.clamp_(-1, 1)
    return right(prediction, target)


def requires_grad_of_target(prediction: Tensor, target: Tensor) -> Tensor:
    return right(prediction, target.requires_grad_())


def adds_keys(pred_batch: Any, gt_batch: Any) -> Tensor:
    gt_batch["area"] = gt_batch["gt_polygons_image"].sum()
    return right(pred_batch["seg"], gt_batch["gt_polygons_image"])


def fails_under_autocast(prediction: Tensor, target: Tensor) -> Tensor:
    rows = prediction.sigmoid().flatten(1) + 3
    variance = (rows @ rows.mT).diagonal() / rows.shape[1] - rows.mean(1).square()
    return right(prediction, target) + variance.mean()


def refuses_autocast(prediction: Tensor, target: Tensor) -> Tensor:
    if torch.is_autocast_enabled("cpu"):
        raise RuntimeError("no autocast here\nsecond line")
    return right(prediction, target)


def breaks_the_graph(prediction: Tensor, target: Tensor) -> Tensor:
    torch._dynamo.graph_break()
    return right(prediction, target)


def pooled_over_the_batch(prediction: Tensor, target: Tensor) -> Tensor:
    return right(prediction.flatten()[None], target.flatten()[None])


WRONG: list[tuple[str, Callable[..., Any], str]] = [
    ("scalar", not_reduced, "shape (4, 1, 24, 20)"),
    ("scalar", a_number, "returns float"),
    ("scalar", one_element, "shape (1,)"),
    ("gradient flow", detached, "none at all for 1 of 1"),
    ("gradient values", half_detached, "from differences"),
    ("gradient values", wrong_backward, "from differences"),
    ("gradient values", wrong_and_partly_float32, "computed in float32"),
    ("gradient values", slightly_wrong_backward, "from differences"),
    ("finite in float32", nan_at_large_logits, "nan at predictions of +-10000"),
    ("finite in bfloat16", overflow_in_bfloat16, "nan at plain predictions"),
    ("finite in float16", overflow_in_float16, "at many pixels"),
    ("finite in float16", denominator_overflows, "the value is 1, where float32 has 0.5"),
    ("perfect prediction", root_of_zero, "gradients are not finite at a perfect prediction"),
    ("empty target", divides_by_foreground, "inf at an empty target"),
    ("full target", divides_by_background, "inf at a full target"),
    ("all ignored", NothingLeft(), "nan at all pixels 255"),
    ("sample order", first_sample_counts_twice, "samples in another order"),
    ("precision", sums_one_after_the_other, "float32 against float64"),
    ("memory layout", views, "strided predictions: view size is not compatible"),
    ("memory layout", reads_memory_order, "strided predictions"),
    ("deterministic", random, "two calls differ"),
    ("deterministic", Counting(), "two calls differ"),
    ("inputs untouched", changes_target, "a target was changed in place"),
    ("inputs untouched", changes_prediction, "a prediction was changed in place"),
    ("inputs untouched", requires_grad_of_target, "requires_grad of a target"),
    ("inputs untouched", adds_keys, "other keys"),
    ("autocast", fails_under_autocast, "float32 predictions"),
    ("autocast", refuses_autocast, "RuntimeError: no autocast here"),
    ("compile", breaks_the_graph, "graph_break"),
    ("data parallel", pooled_over_the_batch, "no: the mean over shards"),
]
"""The check that must fail, the loss, and what the reason says."""
