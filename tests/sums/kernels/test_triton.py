"""The kernel for GPUs: on a GPU where there is one, through Triton's interpreter elsewhere.

`test_interpreter.py` runs these tests with TRITON_INTERPRET=1, where there is no GPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor

import segloss
from segloss import SegLoss, use_backend
from segloss.batch.assemble import as_pixel_batch
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.kernels.registry import KERNELS, REFERENCE
from segloss.sums.kernels.triton_ops import layout
from segloss.sums.plan import CROSS_ENTROPY, NAMED, FocalSum, MapSum, Plan, plan_of
from tests.support.kernels import INTERPRETED, at_home
from tests.support.pixel_batches import MAP_DTYPES, laid_out, outcome

[TRITON] = [kernel for kernel in KERNELS if kernel.name == "triton"]

pytestmark = pytest.mark.skipif(bool(TRITON.why_not_here()), reason=TRITON.why_not_here())

KERNEL = at_home(TRITON)
DEVICE = "cpu" if INTERPRETED else "cuda"
GRADIENT = {torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 1e-3}
"""The largest error of a gradient, over its largest entry: half precision is that of rounding."""


def softmax_batch(classes: int, *shape: int, **options: object) -> PixelBatch:
    samples, *spatial = shape
    logits = 2 * torch.randn(samples, classes, *spatial)
    return as_pixel_batch(
        logits,
        torch.randint(0, classes, shape),
        PixelOptions(classes, "softmax", **options),
        maps={"m": torch.rand(logits.shape)},
    )


def sigmoid_batch(channels: int, *shape: int, **options: object) -> PixelBatch:
    samples, *spatial = shape
    logits = 2 * torch.randn(samples, channels, *spatial)
    return as_pixel_batch(
        logits,
        torch.rand(logits.shape),
        PixelOptions(2, "sigmoid", **options),
        maps={"m": torch.rand(logits.shape)},
    )


def everything(pixels: PixelBatch) -> Plan:
    """All sums that the kernel has, with two focal sums and a map."""
    fixed = [each for each in NAMED.values() if not KERNEL.supports(pixels, plan_of([each]))]
    focals = [FocalSum((2.0,), (1.0,)), FocalSum((0.0, 1.5), (0.3, 0.7))]
    return plan_of([*fixed, *focals, MapSum("m")])


def assert_exact(pixels: PixelBatch, slack: float = 1.0) -> None:
    """Compares with the reference in float64."""
    plan = everything(pixels)
    assert not KERNEL.supports(pixels, plan)
    sums, gradient = outcome(KERNEL, pixels, plan)
    exact = pixels.replace(prediction=pixels.prediction.double())
    expected, expected_gradient = outcome(REFERENCE, exact, plan)
    for key, value in sums.items():
        scale = expected[key].abs().max().item()
        torch.testing.assert_close(
            value, expected[key], rtol=2e-6, atol=2e-6 * scale + 1e-30, msg=key
        )
    assert gradient.stride() == torch.empty_like(pixels.prediction).stride()
    error = (gradient.double() - expected_gradient).abs().max() / expected_gradient.abs().max()
    assert error < GRADIENT[pixels.prediction.dtype] * slack


@pytest.mark.parametrize("classes", [2, 3, 5, 19, 33, 105, 150, 512])
def test_all_classes_of_a_pixel_are_in_registers(classes: int) -> None:
    assert_exact(softmax_batch(classes, 1, 5, 13))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [513, 1000])
def test_more_classes_come_in_tiles(classes: int, smoothing: float) -> None:
    pixels = softmax_batch(classes, 2, 3, label_smoothing=smoothing)
    assert_exact(pixels.replace(class_weights=torch.rand(classes) + 0.1))


@pytest.mark.parametrize("shape", [(1, 1), (2, 257), (3, 7, 31), (1, 7, 5, 3), (1, 33, 65)])
def test_shapes_of_1_to_3_dimensions(shape: tuple[int, ...]) -> None:
    assert_exact(softmax_batch(4, *shape))
    assert_exact(sigmoid_batch(2, *shape))


@pytest.mark.parametrize(
    ("ignores", "weighted", "smoothing"),
    [
        (False, 0, 0.0),
        (False, 1, 0.2),
        (False, 3, 0.0),
        (True, 0, 0.2),
        (True, 1, 0.0),
        (True, 3, 0.2),
    ],
)
def test_options_in_all_pairs(ignores: bool, weighted: int, smoothing: float) -> None:
    for exclusive in (True, False):
        make = softmax_batch if exclusive else sigmoid_batch
        pixels = make(3, 2, 9, 11, label_smoothing=smoothing)
        weight = torch.rand(2, 1 if exclusive else weighted, 99) if weighted else None
        if weight is not None:
            weight = weight.masked_fill(torch.rand(weight.shape) < 0.2, 0)
        target = pixels.target
        if ignores:
            target = target.masked_fill(torch.rand(target.shape) < 0.3, 255)
        pixels = PixelBatch(
            pixels.prediction,
            target,
            pixels.options._replace(ignore_index=255 if ignores else None),
            weight,
            torch.rand(3) + 0.1,
            None if exclusive else torch.rand(3) + 0.1,
            pixels.maps,
        )
        valid = pixels.valid()
        if valid is not None:  # what does not count may be anything
            nan = torch.where(valid, pixels.prediction, torch.nan)
            pixels = pixels.replace(prediction=nan)
        assert_exact(pixels)


@pytest.mark.parametrize("dtype", GRADIENT)
@pytest.mark.parametrize("name", ["contiguous", "channels last", "strided", "expanded"])
def test_dtypes_and_strides(name: str, dtype: torch.dtype) -> None:
    for make in (softmax_batch, sigmoid_batch):
        pixels = make(3, 2, 8, 11)
        logits = pixels.prediction.view(2, 3, 8, 11).to(dtype)
        assert_exact(pixels.replace(prediction=laid_out(logits, name).flatten(2)))


LABELS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", [*LABELS, torch.float16, torch.float32, torch.float64])
def test_dtypes_of_targets(dtype: torch.dtype) -> None:
    pixels = softmax_batch(3, 2, 8, 11)
    assert_exact(pixels.replace(target=pixels.target.to(dtype)))
    pixels = sigmoid_batch(1, 2, 8, 11)
    hard = pixels.target.round().to(dtype)
    assert_exact(pixels.replace(target=hard))
    for map_dtype in MAP_DTYPES:
        maps = {"m": torch.rand(hard.shape).mul(9).to(map_dtype)}
        assert_exact(pixels.replace(target=hard, maps=maps))


@pytest.mark.parametrize("margin", [12.0, -12.0, 40.0])
def test_confident_predictions_keep_their_digits(margin: float) -> None:
    slack = 2.0 if margin == 40 else 1.0  # of exp(-40) an exponent of 58 keeps 2e-6
    pixels = softmax_batch(3, 2, 16, 16)
    at_label = torch.nn.functional.one_hot(pixels.target, 3).movedim(-1, 1)
    assert_exact(pixels.replace(prediction=pixels.prediction / 20 + margin * at_label), slack)
    pixels = sigmoid_batch(2, 2, 16, 16)
    hard = pixels.target.round()
    logits = pixels.prediction / 20 + margin * (2 * hard - 1)
    assert_exact(pixels.replace(prediction=logits, target=hard), slack)


@pytest.fixture
def few_programs(monkeypatch) -> Iterator[None]:
    """Programs of many blocks, as large batches have them."""
    caches = (layout.cut_channels, layout.cut_classes)
    monkeypatch.setattr(layout, "PROGRAMS", 3)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_a_program_adds_up_many_blocks(few_programs: None) -> None:
    pixels = softmax_batch(19, 1, 40, 91, ignore_index=255)
    rows = layout.rows_of(everything(pixels))
    assert layout.cut_classes(40 * 91, 1, 19, rows).tiles == layout.MOST_TILES
    target = pixels.target.masked_fill(torch.rand(pixels.target.shape) < 0.2, 255)
    assert_exact(pixels.replace(target=target))
    assert layout.cut_channels(160 * 91, 1).tiles > 4
    assert_exact(sigmoid_batch(1, 1, 160, 91))


@pytest.mark.parametrize(
    ("classes", "label"), [*product([3], [-1, 3, 200, 2**32 + 1, -(2**40)]), (600, -1), (600, 600)]
)
def test_a_label_of_no_class_spoils_its_sample_and_reads_no_memory(
    classes: int, label: int
) -> None:
    pixels = softmax_batch(classes, 2, 4)
    pixels.target[1, 3] = label  # 2^32 + 1 would be a class, if it were cut to 32 bits
    plan = everything(pixels)
    sums = KERNEL.sums(pixels, plan)
    assert sums[:, 0].isfinite().all()
    for row in (plan.index["cross_entropy"], plan.index["pixel_weight"]):
        assert sums[row, 1, 0].isnan()
    KERNEL.gradient(pixels, plan, torch.ones_like(sums))


def test_two_runs_give_the_same_bits_under_deterministic_algorithms(few_programs: None) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        for pixels in (softmax_batch(5, 2, 20, 41), sigmoid_batch(2, 2, 40, 41)):
            plan = everything(pixels)
            first, second = (outcome(KERNEL, pixels, plan) for _ in range(2))
            assert all(torch.equal(value, second[0][key]) for key, value in first[0].items())
            assert torch.equal(first[1], second[1])
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_terms_of_more_cells_than_a_program_takes(n_classes: int, monkeypatch) -> None:
    """They are left to autograd, and the loss is the same."""
    logits = torch.randn(3, 1 if n_classes == 2 else n_classes, 9, 7)
    target = torch.randint(0, n_classes, (3, 9, 7))
    loss = SegLoss(n_classes=n_classes, from_logits=True, tversky_focal_coef=0.3).to(DEVICE)
    found = []
    for cells in (layout.CELLS, 2):
        monkeypatch.setattr("segloss.sums.kernels.triton_ops.CELLS", cells)
        leaf = logits.to(DEVICE).requires_grad_()
        with use_backend("triton"):
            value, _ = loss(leaf, target.to(DEVICE))
        value.backward()
        found.append((value, leaf.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-8)


def test_what_it_refuses_another_kernel_serves() -> None:
    logits = torch.randn(2, 3, 8, 8, device=DEVICE)
    labels = torch.randint(0, 3, (2, 8, 8), device=DEVICE)
    dense = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    options = PixelOptions(3, "softmax")
    plan = plan_of([CROSS_ENTROPY])
    cases = {
        "float64": as_pixel_batch(logits.double(), labels, options),
        "dense": as_pixel_batch(logits, dense, options),
        "probabilities": as_pixel_batch(
            logits.softmax(1), labels, options._replace(from_logits=False)
        ),
    }
    for reason, pixels in cases.items():
        assert reason in TRITON.supports(pixels, plan)
        with use_backend("triton"):
            assert segloss.sums.run(pixels, plan).rows.isfinite().all()


needs_gpu = pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU")


def gpu_step(loss: SegLoss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.detach().requires_grad_()
    value, _ = loss(logits, target)
    value.backward()
    assert logits.grad is not None
    return value.detach(), logits.grad


def gpu_batch(classes: int, *shape: int) -> tuple[Tensor, Tensor]:
    channels = 1 if classes == 2 else classes
    logits = torch.randn(shape[0], channels, *shape[1:], device="cuda")
    return logits, torch.randint(0, classes, shape, device="cuda")


@needs_gpu
@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("n_classes", [2, 19])
def test_no_step_but_the_first_waits(n_classes: int, moved: bool) -> None:
    loss = SegLoss(
        n_classes=n_classes, from_logits=True, tversky_focal_coef=0.3, region_classes=[0]
    )
    loss = loss.to("cuda") if moved else loss
    batch = gpu_batch(n_classes, 2, 64, 64)
    gpu_step(loss, *batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        gpu_step(loss, *batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
@pytest.mark.parametrize("n_classes", [2, 19])
def test_a_captured_step_takes_new_logits_bit_for_bit(n_classes: int) -> None:
    loss = SegLoss(n_classes=n_classes, from_logits=True, tversky_focal_coef=0.3).to("cuda")
    logits, target = gpu_batch(n_classes, 2, 64, 64)
    leaf = logits.clone().requires_grad_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            leaf.grad = None
            loss(leaf, target)[0].backward()
    torch.cuda.current_stream().wait_stream(stream)
    leaf.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = loss(leaf, target)[0]
        value.backward()
    fresh = torch.randn_like(logits)
    with torch.no_grad():
        leaf.copy_(fresh)
    graph.replay()
    expected, gradient = gpu_step(loss, fresh, target)
    assert torch.equal(value.detach(), expected)
    assert torch.equal(leaf.grad, gradient)


@needs_gpu
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("n_classes", [2, 19])
def test_the_compiled_step_is_the_eager_one(n_classes: int, mode: str) -> None:
    loss = SegLoss(n_classes=n_classes, from_logits=True, tversky_focal_coef=0.3).to("cuda")
    batch = gpu_batch(n_classes, 2, 64, 64)
    expected = gpu_step(loss, *batch)
    compiled = torch.compile(loss, fullgraph=True, mode=mode)
    for _ in range(3):
        value, gradient = gpu_step(compiled, *batch)
    torch.testing.assert_close(value, expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-6, atol=1e-9)


@needs_gpu
def test_a_wrong_label_leaves_the_context_alive() -> None:
    loss = SegLoss(n_classes=19, from_logits=True, tversky_focal_coef=0.3).to("cuda")
    logits, target = gpu_batch(19, 2, 64, 64)
    gpu_step(loss, logits, target)
    wrong = target.clone()
    wrong[1, 3, 3] = 400
    assert gpu_step(loss, logits, wrong)[0].isnan()
    assert gpu_step(loss, logits, target)[0].isfinite()
    torch.cuda.synchronize()


@needs_gpu
def test_more_than_2_31_elements() -> None:
    free, _ = torch.cuda.mem_get_info()
    samples, size = 3, 2**15
    if free < 5 * samples * size * size * 2:
        pytest.skip("needs a GPU with 40 GB free")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logits = torch.zeros(samples, 1, size, size, dtype=torch.float16, device="cuda")
        logits[-1] = 3.0
        target = torch.ones(samples, 1, size, size, dtype=torch.uint8, device="cuda")
        pixels = as_pixel_batch(logits, target, PixelOptions(2, "sigmoid"))
        plan = plan_of([NAMED["region"]])
        sums = TRITON.sums(pixels, plan)
    hits = sums[plan.index["true_positive"], :, 0] / size**2
    expected = torch.tensor([0.5, 0.5, torch.tensor(3.0).sigmoid()], dtype=torch.float64)
    torch.testing.assert_close(hits.cpu(), expected, rtol=1e-6, atol=0)
