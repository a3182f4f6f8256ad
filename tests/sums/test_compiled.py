"""Under torch.compile for a CPU the fused pass serves as one operator, and tracers see through."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from segloss import SegLoss, soft_confusion

pytestmark = pytest.mark.usefixtures("each_backend")

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "masked and weighted": {
        "ignore_index": 255,
        "class_weights": [1.0, 2.0, 0.5],
        "use_label_smooth": True,
        "smooth_factor": 0.1,
    },
    "region alone": {"bce_coef": 0.0},
    "entropy alone": {"dice_coef": 0.0},
}


def batch(activation: str, options: dict[str, Any], *spatial: int) -> tuple[Tensor, Tensor]:
    logits = torch.randn(2, 3, *spatial, requires_grad=True)
    shape = (2, 3, *spatial) if activation == "sigmoid" else (2, *spatial)
    target = torch.randint(0, 2, shape)
    if "ignore_index" in options:
        target[0, ..., :2] = options["ignore_index"]
    return logits, target


def value_and_gradient(loss: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(logits, target)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def operators(function: Any, *batch: Tensor) -> list[str]:
    """The operators of segloss in what the compiler gets."""
    found: list[str] = []

    def backend(module: Any, _: Any) -> Any:
        found.extend(str(node.target) for node in module.graph.nodes)
        return module

    torch._dynamo.reset()
    torch.compile(function, fullgraph=True, backend=backend)(*batch)
    return [name for name in found if name.startswith("segloss")]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_compiled_loss_is_the_eager_one(activation: str, name: str, each_backend) -> None:
    if each_backend == "reference" and name != "masked and weighted":
        pytest.skip("its operations are compiled once, with all options")
    options = OPTIONS[name]
    loss = SegLoss(n_classes=3, activation=activation, tversky_focal_coef=0.3, **options)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x, y: loss(x, y)[0], fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for spatial in ((6, 5), (9, 4)):
        logits, target = batch(activation, options, *spatial)
        ours = value_and_gradient(compiled, logits, target)
        expected = value_and_gradient(lambda x, y: loss(x, y)[0], logits, target)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)


def test_the_compiler_gets_the_operator_for_logits(each_backend) -> None:
    if each_backend == "reference":
        pytest.skip("it is compiled as operations")
    logits, labels = torch.randn(1, 3, 8), torch.zeros(1, 8, dtype=torch.long)
    loss = SegLoss(n_classes=3)
    found = operators(lambda x, y: loss(x, y)[0], logits, labels)
    assert [name.removesuffix(".default") for name in found] == ["segloss.run"]
    assert not operators(lambda x, y: loss(x, y)[0], logits, logits.softmax(1))


def test_the_operator_keeps_the_layout_of_the_logits() -> None:
    logits = torch.randn(2, 3, 6, 5).to(memory_format=torch.channels_last).requires_grad_()
    loss = SegLoss(n_classes=3)
    compiled = torch.compile(lambda x, y: loss(x, y)[0], fullgraph=True, backend="aot_eager")
    _, gradient = value_and_gradient(compiled, logits, torch.zeros(2, 6, 5, dtype=torch.long))
    assert gradient.stride() == logits.stride()


def test_the_operator_takes_batches_without_pixels() -> None:
    logits = torch.randn(2, 3, 0, requires_grad=True)
    compiled = torch.compile(
        lambda x, y: soft_confusion(x, y, n_classes=3).cross_entropy.sum(),
        fullgraph=True,
        backend="aot_eager",
    )
    value, gradient = value_and_gradient(compiled, logits, torch.zeros(2, 0, dtype=torch.long))
    assert value == 0
    assert gradient.shape == logits.shape


def test_the_operator_gives_way_to_forward_mode_and_exporters() -> None:
    loss, mask = SegLoss(from_logits=True), torch.randint(0, 2, (1, 1, 6))
    logits, tangent = torch.randn(1, 1, 6), torch.randn(1, 1, 6)

    def derivative(x: Tensor, v: Tensor) -> Tensor:
        return torch.func.jvp(lambda x: loss(x, mask)[0], (x,), (v,))[1]

    compiled = torch.compile(derivative, backend="eager")
    torch.testing.assert_close(compiled(logits, tangent), derivative(logits, tangent))

    class Module(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return loss(x, mask)[0]

    if hasattr(torch.compiler, "is_exporting"):
        graph = torch.export.export(Module(), (logits,)).graph
        assert not [node for node in graph.nodes if str(node.target).startswith("segloss")]
