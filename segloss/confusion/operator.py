"""The fused pass as an operator, which a compiler takes as it is.

On a CPU its chunks are faster than what the compiler makes of the reference path, as measured in
`docs/performance.md`. The terms, and everything else, are compiled around it.
"""

# Annotations must not be strings here: PyTorch 2.4 reads the operators' schemas from them.
from typing import Any, Collection, List, Optional, Sequence, Tuple  # noqa: UP035

import torch
from torch import Tensor

from segloss.confusion.fused import (
    CONSTANT,
    KERNELS,
    TENSORS,
    completed,
    covers,
    is_dual,
    measured,
    names_of,
)
from segloss.confusion.reference import reference_confusion
from segloss.confusion.sums import CROSS_ENTROPY, REGION, SUMS, SoftConfusion
from segloss.precision import accumulation_dtype, without_autocast
from segloss.targets import Pixels

_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
"""PyTorch before 2.7 can't tell, and exports the operator."""


def serves_compiler(pixels: Pixels) -> bool:
    """Whether a compiler is at work, for a CPU, on what the pass covers."""
    compiling = torch.compiler.is_compiling() and not _is_exporting()
    return compiling and not is_dual() and covers(pixels) and pixels.prediction.device.type == "cpu"


def operator_confusion(pixels: Pixels, sums: Collection[str]) -> SoftConfusion:
    """Computes the sums of the groups named in `sums`."""
    region, cross_entropy = "region" in sums, "cross_entropy" in sums
    tensors = [getattr(pixels, name) for name in TENSORS]
    settings = (pixels.activation, pixels.ignore_index, pixels.label_smoothing)
    values = _confusion(*tensors, *settings, region, cross_entropy)
    names = REGION * region + CROSS_ENTROPY * cross_entropy
    return SoftConfusion(dict(zip(names, values[:-1], strict=True)))


@torch.library.custom_op("segloss::confusion", mutates_args=())
def _confusion(
    prediction: Tensor,
    target: Tensor,
    weight: Optional[Tensor],  # noqa: UP045
    class_weights: Optional[Tensor],  # noqa: UP045
    pos_weight: Optional[Tensor],  # noqa: UP045
    activation: str,
    ignore_index: Optional[int],  # noqa: UP045
    label_smoothing: float,
    region: bool,
    cross_entropy: bool,
) -> List[Tensor]:  # noqa: UP006
    """The sums, and last the index of the kernel that has taken them."""
    tensors = (prediction, target, weight, class_weights, pos_weight)
    pixels = _pixels(tensors, activation, ignore_index, label_smoothing)
    groups = _groups(region, cross_entropy)
    with without_autocast(prediction.device):
        if prediction.numel() == 0:
            kernel, sums = KERNELS[0], dict(reference_confusion(pixels, groups).sums)
        else:
            kernel, sums = measured(pixels, groups)
    values = [sums[name].clone() for name in names_of(groups)]  # which may share their memory
    return [*values, torch.tensor(KERNELS.index(kernel))]


@_confusion.register_fake
def _(prediction: Tensor, *rest: Any) -> List[Tensor]:  # noqa: UP006
    activation, _, _, region, cross_entropy = rest[-5:]
    dtype, cells = accumulation_dtype(prediction.device), prediction.shape[:2]
    entropy = cells if activation == "sigmoid" else cells[:1]
    shapes = [cells] * len(REGION) * region + [entropy] * len(CROSS_ENTROPY) * cross_entropy
    values = [prediction.new_empty(shape, dtype=dtype) for shape in shapes]
    return [*values, torch.empty((), dtype=torch.int64)]


@torch.library.custom_op("segloss::confusion_gradient", mutates_args=())
def _gradient(
    prediction: Tensor,
    target: Tensor,
    weight: Optional[Tensor],  # noqa: UP045
    class_weights: Optional[Tensor],  # noqa: UP045
    pos_weight: Optional[Tensor],  # noqa: UP045
    activation: str,
    ignore_index: Optional[int],  # noqa: UP045
    label_smoothing: float,
    region: bool,
    cross_entropy: bool,
    upstream: Sequence[Tensor],
    kernel: Tensor,
) -> Tensor:
    """The gradient, from the upstream gradients of the sums that depend on the prediction."""
    tensors = (prediction, target, weight, class_weights, pos_weight)
    pixels = _pixels(tensors, activation, ignore_index, label_smoothing)
    if prediction.numel() == 0:
        return torch.empty_like(prediction)
    names = [name for name in names_of(_groups(region, cross_entropy)) if name not in CONSTANT]
    with without_autocast(prediction.device):
        return KERNELS[int(kernel)](pixels).backward(dict(zip(names, upstream, strict=True)))


@_gradient.register_fake
def _(prediction: Tensor, *args: Any) -> Tensor:
    return torch.empty_like(prediction)


def _keep_inputs(ctx: Any, inputs: Tuple[Any, ...], output: List[Tensor]) -> None:  # noqa: UP006
    ctx.save_for_backward(*inputs[: len(TENSORS)], output[-1])
    ctx.settings = inputs[len(TENSORS) :]


def _backward(ctx: Any, grads: List[Optional[Tensor]]) -> Tuple[Optional[Tensor], ...]:  # noqa: UP006, UP045
    *tensors, kernel = ctx.saved_tensors
    *settings, region, cross_entropy = ctx.settings
    names = names_of(_groups(region, cross_entropy))
    given = {n: g for n, g in zip(names, grads[:-1], strict=True) if g is not None}
    upstream = completed(given)
    asked = [any(name in upstream for name in group) for group in SUMS.values()]
    gradient = _gradient(*tensors, *settings, *asked, list(upstream.values()), kernel)
    return gradient, *[None] * (len(TENSORS) + len(ctx.settings) - 1)


_confusion.register_autograd(_backward, setup_context=_keep_inputs)


def _pixels(
    tensors: Sequence[Optional[Tensor]],  # noqa: UP045
    activation: str,
    ignore_index: Optional[int],  # noqa: UP045
    label_smoothing: float,
) -> Pixels:
    return Pixels(
        **dict(zip(TENSORS, tensors, strict=True)),  # type: ignore[arg-type]
        activation=activation,
        from_logits=True,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def _groups(region: bool, cross_entropy: bool) -> List[str]:  # noqa: UP006
    asked = {"region": region, "cross_entropy": cross_entropy}
    return [group for group in SUMS if asked[group]]
