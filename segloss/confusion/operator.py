"""The fused pass as an operator, which a compiler takes as it is.

On a CPU its chunks are faster than what the compiler makes of the reference path, as measured in
`docs/performance.md`. The terms, and everything else, are compiled around it.
"""

# Annotations must not be strings here: PyTorch 2.4 reads the operators' schemas from them.
from typing import Any, Collection, List, Optional, Sequence, Tuple  # noqa: UP035

import torch
from torch import Tensor

from segloss.confusion.fused import (
    TENSORS,
    covers,
    is_dual,
    kernel_gradient,
    kernel_of,
    pixels_of,
    tensors_of,
)
from segloss.confusion.reference import reference_confusion
from segloss.confusion.sums import SoftConfusion, is_per_sample, names_of
from segloss.precision import accumulation_dtype, without_autocast
from segloss.targets import Pixels

_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
"""PyTorch before 2.7 can't tell, and exports the operator."""


_SEPARATOR = "\n"
"""Between the names of groups in one text: operators take no lists of texts."""


def serves_compiler(pixels: Pixels) -> bool:
    """Whether a compiler is at work, for a CPU, on what the pass covers."""
    compiling = torch.compiler.is_compiling() and not _is_exporting()
    return compiling and not is_dual() and covers(pixels) and pixels.prediction.device.type == "cpu"


def operator_confusion(pixels: Pixels, sums: Collection[str]) -> SoftConfusion:
    """Computes the sums of the groups named in `sums`."""
    tensors = tensors_of(pixels, sums)
    fixed, maps = tensors[: len(TENSORS)], tensors[len(TENSORS) :]
    settings = (pixels.activation, pixels.ignore_index, pixels.label_smoothing)
    values = _confusion(*fixed, maps, *settings, _SEPARATOR.join(sums))
    named = dict(zip(names_of(sums), values, strict=True))
    return SoftConfusion(named, pixels.is_exclusive)


@torch.library.custom_op("segloss::confusion", mutates_args=())
def _confusion(
    prediction: Tensor,
    target: Tensor,
    weight: Optional[Tensor],  # noqa: UP045
    class_weights: Optional[Tensor],  # noqa: UP045
    pos_weight: Optional[Tensor],  # noqa: UP045
    maps: Sequence[Tensor],
    activation: str,
    ignore_index: Optional[int],  # noqa: UP045
    label_smoothing: float,
    sums: str,
) -> List[Tensor]:  # noqa: UP006
    """The sums."""
    groups = sums.split(_SEPARATOR)
    tensors = (prediction, target, weight, class_weights, pos_weight, *maps)
    pixels = _pixels(tensors, groups, activation, ignore_index, label_smoothing)
    with without_autocast(prediction.device):
        if prediction.numel() == 0:
            named = dict(reference_confusion(pixels, groups).sums)
        else:
            named = kernel_of(pixels, groups).forward()
    return [named[name].clone() for name in names_of(groups)]  # which may share their memory


@_confusion.register_fake
def _(prediction: Tensor, *rest: Any) -> List[Tensor]:  # noqa: UP006
    activation, _, _, sums = rest[-4:]
    dtype, cells = accumulation_dtype(prediction.device), prediction.shape[:2]
    return [
        prediction.new_empty(
            cells[:1] if activation == "softmax" and is_per_sample(name) else cells, dtype=dtype
        )
        for name in names_of(sums.split(_SEPARATOR))
    ]


@torch.library.custom_op("segloss::confusion_gradient", mutates_args=())
def _gradient(
    prediction: Tensor,
    target: Tensor,
    weight: Optional[Tensor],  # noqa: UP045
    class_weights: Optional[Tensor],  # noqa: UP045
    pos_weight: Optional[Tensor],  # noqa: UP045
    maps: Sequence[Tensor],
    activation: str,
    ignore_index: Optional[int],  # noqa: UP045
    label_smoothing: float,
    sums: str,
    names: str,
    upstream: Sequence[Tensor],
) -> Tensor:
    """The gradient, from the named upstream gradients."""
    groups = sums.split(_SEPARATOR)
    tensors = (prediction, target, weight, class_weights, pos_weight, *maps)
    pixels = _pixels(tensors, groups, activation, ignore_index, label_smoothing)
    if prediction.numel() == 0:
        return torch.empty_like(prediction)
    given = dict(zip(names.split(_SEPARATOR), upstream, strict=True))
    return kernel_gradient(pixels, given, groups)


@_gradient.register_fake
def _(prediction: Tensor, *args: Any) -> Tensor:
    return torch.empty_like(prediction)


def _keep_inputs(ctx: Any, inputs: Tuple[Any, ...], output: List[Tensor]) -> None:  # noqa: UP006
    *fixed, maps = inputs[: len(TENSORS) + 1]
    ctx.save_for_backward(*fixed, *maps)
    ctx.settings = inputs[len(TENSORS) + 1 :]


def _backward(ctx: Any, grads: List[Optional[Tensor]]) -> Tuple[Optional[Tensor], ...]:  # noqa: UP006, UP045
    tensors = ctx.saved_tensors
    fixed, maps = tensors[: len(TENSORS)], tensors[len(TENSORS) :]
    names = names_of(ctx.settings[-1].split(_SEPARATOR))
    given = {n: g for n, g in zip(names, grads, strict=True) if g is not None}
    named = _SEPARATOR.join(given)
    gradient = _gradient(*fixed, maps, *ctx.settings, named, list(given.values()))
    return gradient, *[None] * (len(TENSORS) - 1), [None] * len(maps), *[None] * len(ctx.settings)


_confusion.register_autograd(_backward, setup_context=_keep_inputs)


def _pixels(
    tensors: Sequence[Optional[Tensor]],  # noqa: UP045
    groups: Sequence[str],
    activation: str,
    ignore_index: Optional[int],  # noqa: UP045
    label_smoothing: float,
) -> Pixels:
    return pixels_of(
        tensors,
        groups,
        activation=activation,
        from_logits=True,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
