"""A label that is not a class, where no check reads it, gives an error or NaN, and never memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import segloss

WRONG = {
    "one more": (torch.int64, 5),
    "255": (torch.uint8, 255),
    "negative": (torch.int64, -1),
    "far": (torch.int64, 10**9),
    "wraps in int32": (torch.int64, 2**32),
    "least": (torch.int64, -(2**63)),
    "fraction": (torch.float32, 1e30),
    "NaN": (torch.float32, float("nan")),
}
"""A dtype of label maps, and a label that is not one of 5 classes."""

LOSSES: dict[str, Callable[[], Any]] = {
    "logits": lambda: segloss.SegLoss(n_classes=5, ignore_index=254, tversky_focal_coef=0.3),
    "probabilities": lambda: segloss.SegLoss(n_classes=5, from_logits=False, ignore_index=254),
    "class weights": lambda: segloss.CompoundLoss(
        {"cross_entropy": 1.0, "focal": {"coef": 1.0, "alpha": [1.0, 2.0, 3.0, 4.0, 5.0]}},
        "multiclass",
        class_weights=[1.0, 2.0, 3.0, 4.0, 5.0],
        label_smoothing=0.1,
    ),
    "one class against the rest": lambda: segloss.SegLoss(
        n_classes=5, activation="sigmoid", ignore_index=254, tversky_focal_coef=0.3
    ),
    "weights of channels": lambda: _WeightedChannels(),
    "top-k": lambda: segloss.TopKCrossEntropyLoss(k=50, ignore_index=254),
    "Lovasz": lambda: segloss.LovaszLoss(ignore_index=254),
    "partly annotated": lambda: _PartlyAnnotated(),
}


class _PartlyAnnotated:
    """A loss of samples in which the last class is not annotated."""

    def __init__(self) -> None:
        self.loss = segloss.SegLoss(n_classes=5, merge_unannotated=True)

    def __call__(self, prediction: Tensor, labels: Tensor) -> Any:
        annotated = torch.tensor([[True, True, True, True, False]]).expand(len(prediction), 5)
        return self.loss(prediction, {"gt_polygons_image": labels, "annotated": annotated})


class _WeightedChannels:
    """A loss of sigmoid channels, of which the last has no weight anywhere."""

    def __init__(self) -> None:
        self.loss = segloss.CompoundLoss(mode="multilabel", ignore_index=254)

    def __call__(self, prediction: Tensor, labels: Tensor) -> Any:
        weights = torch.ones_like(prediction)
        weights[:, 4] = 0
        return self.loss(prediction, labels, pixel_weights=weights)


def value_of(result: Any) -> Tensor:
    return result[0] if isinstance(result, tuple) else result


def batch(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    prediction = torch.randn(2, 5, 6, 7).softmax(1).requires_grad_()
    return prediction, torch.randint(0, 5, (2, 6, 7)).to(dtype)


def assert_refused_or_nan(loss: Any, prediction: Tensor, labels: Tensor) -> None:
    try:
        value = value_of(loss(prediction, labels))
    except (IndexError, RuntimeError, ValueError):
        return
    assert value.isnan()
    [gradient] = torch.autograd.grad(value, prediction)
    assert gradient[0].isnan().any()


def assert_safe_when_compiled(loss: Any, **options: Any) -> None:
    """Compiles for a right batch; then labels are wrong."""
    prediction, labels = batch(torch.int64)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, y: value_of(loss(x, y)), **options)
    assert compiled(prediction, labels).isfinite()
    for dtype, wrong in WRONG.values():
        if dtype == torch.int64:
            spoiled = labels.clone()
            spoiled[0, 3, 3] = wrong
            assert_refused_or_nan(compiled, prediction, spoiled)


@pytest.mark.parametrize(
    ("name", "backend"),
    [*product(LOSSES, ["auto"]), *product(["logits", "class weights"], ["torch", "reference"])],
)
def test_a_wrong_label_in_a_later_batch_of_a_compiled_loss(name: str, backend: str) -> None:
    with segloss.use_backend(backend):
        assert_safe_when_compiled(LOSSES[name](), backend="aot_eager")


@pytest.mark.parametrize("name", ["probabilities", "top-k"])
def test_a_wrong_label_in_the_code_of_the_default_compiler(name: str) -> None:
    assert_safe_when_compiled(LOSSES[name]())


@pytest.mark.parametrize("label", WRONG)
@pytest.mark.parametrize("name", ["logits", "probabilities", "class weights", "top-k"])
def test_a_wrong_label_under_a_transform_of_functions(name: str, label: str) -> None:
    dtype, wrong = WRONG[label]
    prediction, labels = batch(dtype)
    labels[0, 3, 3] = wrong
    loss = LOSSES[name]()
    gradient, value = torch.func.grad_and_value(lambda x: value_of(loss(x, labels)))(prediction)
    assert value.isnan()
    assert gradient[0].isnan().any()
