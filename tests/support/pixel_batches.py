"""Random batches of pixels of every kind that the fused path serves, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from hypothesis import strategies as st
from torch import Tensor

from segloss.batch.assemble import as_pixel_batch
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.kernels.base import Kernel
from segloss.sums.plan import (
    COUNTS,
    FLOAT64,
    NAMED,
    OF_HARD_TARGETS,
    FocalSum,
    MapSum,
    Plan,
    plan_of,
)

MAP_DTYPES = [torch.float32, torch.int8]
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@st.composite
def batches(draw) -> tuple[PixelBatch, Tensor]:
    """Pixels of any kind that the fused path serves, and the logits that they view."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    activation = draw(st.sampled_from(["sigmoid", "softmax"]))
    classes = draw(st.integers(1 if activation == "sigmoid" else 2, 6))
    samples = draw(st.integers(1, 3))
    spatial = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    scale = draw(st.sampled_from([0.1, 1.0, 5.0, 30.0]))
    layout = draw(st.sampled_from(["contiguous", "channels last", "strided", "expanded"]))
    logits = (scale * torch.randn(samples, classes, *spatial)).to(dtype)

    one_against_rest = activation == "sigmoid" and classes > 1 and draw(st.booleans())
    if activation == "softmax" or one_against_rest:
        target = torch.randint(0, classes, (samples, *spatial))
        target = target.to(draw(st.sampled_from([torch.int64, torch.uint8, torch.float32])))
    else:
        target = torch.rand(samples, classes, *spatial)
        target = target.round() if draw(st.booleans()) else target
        margin = draw(st.sampled_from([0.0, 0.0, 12.0, -12.0]))  # confidently right, or wrong
        logits = logits + (margin * (2 * target - 1)).to(dtype)
    ignore_index = draw(st.sampled_from([None, None, 255]))
    is_dense = activation == "sigmoid" and not one_against_rest
    if ignore_index is None and is_dense and draw(st.booleans()):
        target = target > 0.5
    if ignore_index is not None:
        target = target.masked_fill(torch.rand(target.shape) < 0.3, ignore_index)
    weight_channels = draw(st.sampled_from([0, 0, 1, classes if activation == "sigmoid" else 1]))
    weights = torch.rand(samples, weight_channels, *spatial) if weight_channels else None
    if weights is not None:
        weights = weights.masked_fill(torch.rand(weights.shape) < 0.2, 0)
    positive = activation == "sigmoid" and draw(st.booleans())
    logits = laid_out(logits, layout).requires_grad_()
    pixels = as_pixel_batch(
        logits,
        target,
        PixelOptions(
            max(2, classes) if activation == "softmax" else 2,
            activation,
            ignore_index=ignore_index,
            label_smoothing=draw(st.sampled_from([0.0, 0.2])),
            one_against_rest=one_against_rest,
        ),
        pixel_weights=weights,
        class_weights=torch.rand(classes).double() + 0.1 if draw(st.booleans()) else None,
        pos_weight=torch.rand(1).double() + 0.1 if positive else None,
        maps={"distance": torch.rand(logits.shape).mul(3).to(draw(st.sampled_from(MAP_DTYPES)))},
    )
    return pixels, logits


@st.composite
def batches_and_plans(draw) -> tuple[PixelBatch, Tensor, Plan]:
    """Such pixels, and some sums."""
    pixels, logits = draw(batches())
    sides = pixels.prediction.shape[1] if pixels.is_exclusive else 2
    gamma = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.3])
    focals = [
        FocalSum((draw(gamma),), (1.0,)),
        FocalSum((draw(gamma),), tuple(range(1, sides + 1))),
        FocalSum(tuple(draw(gamma) for _ in range(sides)), tuple([0.3] * sides)),
    ]
    of_soft_targets = OF_HARD_TARGETS if pixels.is_exclusive or not pixels.is_soft else ()
    fixed = [each for each in NAMED.values() if each not in (COUNTS, FLOAT64, *of_soft_targets)]
    chosen = draw(
        st.lists(st.sampled_from([*fixed, MapSum("distance"), *focals]), min_size=1, unique=True)
    )
    if draw(st.booleans()):
        chosen.append(FLOAT64)
    return pixels, logits, plan_of(chosen)


def laid_out(tensor: Tensor, layout: str) -> Tensor:
    if layout == "channels last":
        return tensor.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "strided":
        return torch.cat([tensor, tensor], -1)[..., : tensor.shape[-1]]
    if layout == "transposed":
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "offset":  # every second element of a longer tensor, from its third sample on
        longer = torch.cat([tensor[:1], tensor[:1], tensor])[2:]
        return torch.stack([longer, longer], -1)[..., 1]
    return tensor[:1].expand_as(tensor) if layout == "expanded" else tensor


def outcome(kernel: Kernel, pixels: PixelBatch, plan: Plan) -> tuple[dict[str, Tensor], Tensor]:
    """The sums by their keys, and the gradient of a random combination of them."""
    with torch.no_grad():
        sums = kernel.sums(pixels, plan)
        slopes = torch.rand(sums.shape, generator=torch.Generator().manual_seed(0)).double()
        gradient = kernel.gradient(pixels, plan, slopes)
    return {row.key: values for row, values in zip(plan.rows, sums, strict=True)}, gradient


def pixels_of(n_classes: int, *shape: int, dtype: torch.dtype = torch.float32) -> PixelBatch:
    """Random pixels of one sigmoid channel and masks, or of classes and labels."""
    samples, *spatial = shape
    channels = 1 if n_classes == 2 else n_classes
    return as_pixel_batch(
        torch.randn(samples, channels, *spatial, dtype=dtype),
        torch.randint(0, n_classes, shape),
        PixelOptions(n_classes, "sigmoid" if n_classes == 2 else "softmax"),
    )


def everything(pixels: PixelBatch, kernel: Kernel) -> Plan:
    """All sums without parameters that a kernel has for such pixels; it may be none."""
    served = [each for each in NAMED.values() if not kernel.supports(pixels, plan_of([each]))]
    return plan_of(served)


def asked(kernel: Kernel, n_classes: int, *shape: int) -> Iterator[tuple[PixelBatch, Plan]]:
    """Random pixels that a kernel takes, with all sums that it has of them; it may take none."""
    for dtype in (torch.float32, torch.float64):
        pixels = pixels_of(n_classes, *shape, dtype=dtype)
        plan = everything(pixels, kernel)
        if len(plan.sums) > 1 and not kernel.supports(pixels, plan):
            yield pixels, plan
            return
