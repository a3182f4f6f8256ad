"""Exported and compiled losses take batches of other sizes, with the values of eager losses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from segloss import (
    CompoundLoss,
    DeepSupervision,
    LossWrapper,
    LovaszLoss,
    MultiLoss,
    SegLoss,
    TopKCrossEntropyLoss,
)
from segloss.functional import dice_loss
from segloss.terms import TERMS
from tests.support.versions import needs_a_newer_compiler

EXAMPLE = (3, 10, 7)
OTHERS = [(1, 3, 5), (5, 16, 16), (2, 40, 4)]
"""Batches by their numbers of samples, rows and columns; one has as many columns as classes."""

CLASSES = 4
MIXTURE = {"cross_entropy": 0.5, "dice": 0.5, "focal_tversky": 0.3}

Batch = tuple[Tensor, ...]
Make = Callable[[int, int, int], Batch]


def random_labels(*shape: int, classes: int = CLASSES) -> Tensor:
    return torch.randint(0, classes, shape)


def label_map(n: int, h: int, w: int) -> Batch:
    return torch.randn(n, CLASSES, h, w), random_labels(n, h, w)


def label_map_with_channel(n: int, h: int, w: int) -> Batch:
    return torch.randn(n, CLASSES, h, w), random_labels(n, 1, h, w)


def label_map_with_weights(n: int, h: int, w: int) -> Batch:
    return *label_map(n, h, w), torch.rand(n, h, w)


def soft(n: int, h: int, w: int) -> Batch:
    return torch.randn(n, CLASSES, h, w), torch.randn(n, CLASSES, h, w).softmax(1)


def mask(n: int, h: int, w: int) -> Batch:
    return torch.randn(n, 1, h, w), random_labels(n, h, w, classes=2)


def masks(n: int, h: int, w: int) -> Batch:
    return torch.randn(n, 3, h, w), random_labels(n, 3, h, w, classes=2).float()


def masks_of_four(n: int, h: int, w: int) -> Batch:
    return torch.randn(n, 2, h, w), random_labels(n, 4, h, w, classes=2), torch.rand(n, 4, h, w)


def annotated(n: int, h: int, w: int) -> Batch:
    some = torch.tensor([True, False, True, True]).repeat(n, 1)
    return torch.randn(n, CLASSES, h, w), random_labels(n, h, w, classes=1), some


def mixed(n: int, h: int, w: int) -> Batch:
    targets = [random_labels(n, h, w) for _ in range(3)]
    return torch.randn(n, CLASSES, h, w), *targets, torch.tensor(0.3), torch.randperm(n)


def mixed_per_sample(n: int, h: int, w: int) -> Batch:
    logits, *targets, _, index = mixed(n, h, w)
    return logits, *targets, torch.rand(n), index


class Case(NamedTuple):
    """A loss, a function that makes a batch for it, and the keys of the batch after the logits."""

    loss: nn.Module | Callable[..., Any]
    make: Make
    keys: tuple[str, ...] = ()


TARGET = "gt_polygons_image"
MIXUP = (TARGET, "mixup_y_a", "mixup_y_b", "mixup_lam", "mixup_index")

LOSSES = {
    "softmax": Case(CompoundLoss(MIXTURE, "multiclass"), label_map),
    "softmax with options": Case(
        CompoundLoss(
            {"cross_entropy": 1.0, "squared_dice": 1.0},
            "multiclass",
            ignore_index=2,
            class_weights=[1.0, 2.0, 0.0, 3.0],
            label_smoothing=0.1,
        ),
        label_map_with_channel,
    ),
    "soft targets": Case(CompoundLoss(MIXTURE, "multiclass"), soft),
    "one mask": Case(CompoundLoss(MIXTURE, pos_weight=2.0), mask),
    "masks": Case(CompoundLoss(MIXTURE, "multilabel", ignore_index=255), masks),
    "a function": Case(lambda p, t: dice_loss(p, t, n_classes=CLASSES), label_map),
    "SegLoss": Case(
        SegLoss(n_classes=CLASSES, ignore_index=2, region_reduction="batch"),
        label_map_with_weights,
        (TARGET, "seg_loss_weights"),
    ),
    "selectors": Case(
        SegLoss(from_logits=True, gt_channel_selector=[0, 2], skip_absent_classes=True),
        masks_of_four,
        (TARGET, "seg_loss_weights"),
    ),
    "maps": Case(
        SegLoss(from_logits=True, gt_channel_selector=[0, 2], extra_terms={"boundary": 1.0}),
        masks_of_four,
        (TARGET, "gt_distance_map"),
    ),
    "partial labels": Case(
        SegLoss(n_classes=CLASSES, merge_unannotated=True), annotated, (TARGET, "annotated")
    ),
    "mixup": Case(SegLoss(n_classes=CLASSES, use_mixup=True), mixed, MIXUP),
    "mixup per sample": Case(SegLoss(n_classes=CLASSES, use_mixup=True), mixed_per_sample, MIXUP),
    "a wrapped label map": Case(
        LossWrapper(nn.CrossEntropyLoss(ignore_index=2)), label_map, (TARGET,)
    ),
    "a wrapped mask": Case(LossWrapper(nn.BCEWithLogitsLoss()), masks, (TARGET,)),
    "top K": Case(TopKCrossEntropyLoss(k=20, ignore_index=2), label_map),
    "Lovasz": Case(LovaszLoss(ignore_index=2), label_map),
    "MultiLoss": Case(
        MultiLoss(
            [
                SegLoss(n_classes=CLASSES),
                LossWrapper(nn.CrossEntropyLoss(), name="ce"),
                SegLoss("dice", n_classes=CLASSES, bce_coef=0),
            ],
            weights=[1.0, 0.5, 0.0],
        ),
        label_map,
        (TARGET,),
    ),
    "a criterion": Case(SegLoss(n_classes=CLASSES).as_criterion(), label_map),
}
"""Losses by what is special about them."""

TERMS_WITHOUT_MAPS = [
    name for name in TERMS if not CompoundLoss({name: 1.0}, "multiclass").map_keys
]

can_tell_exporters = pytest.mark.skipif(
    not hasattr(torch.compiler, "is_exporting"), reason="PyTorch before 2.7 can't tell exporters"
)
NEEDS = {"top K": can_tell_exporters}


class Module(nn.Module):
    """A module of tensors alone, as exporters want them, around a loss of any interface."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.loss, self.keys = case.loss, case.keys

    def forward(self, logits: Tensor, *others: Tensor) -> Tensor:
        if not self.keys:
            result: Tensor = self.loss(logits, *others)
            return result
        gt_batch = dict(zip(self.keys, others, strict=True))
        return self.loss({"seg": logits}, gt_batch)[0]  # type: ignore[no-any-return]


def dynamic(batch: Batch) -> tuple[Any, ...]:
    """Any number of samples, rows and columns, wherever the example has them."""
    n, h, w = EXAMPLE
    names = {n: Dim("samples"), h: Dim("rows"), w: Dim("columns")}
    shapes = [
        {
            dim: names[size]
            for dim, size in enumerate(each.shape)
            if size in names and (size != n or dim == 0)
        }
        for each in batch
    ]
    return shapes[0], tuple(shapes[1:])


def value_and_gradient(loss: Callable[..., Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
    logits = batch[0].detach().clone().requires_grad_()
    value = loss(logits, *batch[1:])
    value.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return value.detach(), logits.grad


def assert_equal_on_other_sizes(
    exported: Callable[..., Tensor], module: Module, make: Make
) -> None:
    for size in OTHERS:
        batch = make(*size)
        value, gradient = value_and_gradient(exported, batch)
        expected, slope = value_and_gradient(module, batch)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, slope, rtol=1e-5, atol=1e-6)
        assert slope.abs().max() > 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEEDS[name]) if name in NEEDS else name for name in LOSSES]
)
def test_an_exported_loss_takes_any_number_of_samples_and_any_size(name: str) -> None:
    module, make = Module(LOSSES[name]), LOSSES[name].make
    batch = make(*EXAMPLE)
    program = torch.export.export(module, batch, dynamic_shapes=dynamic(batch), strict=False)
    assert_equal_on_other_sizes(program.module(), module, make)


@pytest.mark.parametrize(
    "name",
    [
        "softmax",
        "one mask",
        "SegLoss",
        pytest.param("a wrapped mask", marks=needs_a_newer_compiler),
    ],
)
def test_a_strict_export_takes_any_number_of_samples_and_any_size(name: str) -> None:
    module, make = Module(LOSSES[name]), LOSSES[name].make
    batch = make(*EXAMPLE)
    program = torch.export.export(module, batch, dynamic_shapes=dynamic(batch), strict=True)
    assert_equal_on_other_sizes(program.module(), module, make)


@pytest.mark.parametrize("term", TERMS_WITHOUT_MAPS)
def test_every_term_can_be_exported_for_any_size(term: str) -> None:
    case = Case(CompoundLoss({term: 1.0}, "multiclass"), label_map)
    batch = case.make(*EXAMPLE)
    program = torch.export.export(Module(case), batch, dynamic_shapes=dynamic(batch), strict=False)
    assert_equal_on_other_sizes(program.module(), Module(case), case.make)


def test_deep_supervision_can_be_exported_for_any_number_of_samples() -> None:
    loss = DeepSupervision(SegLoss(n_classes=CLASSES))

    class Scales(nn.Module):
        def forward(self, fine: Tensor, coarse: Tensor, target: Tensor) -> Tensor:
            return loss([fine, coarse], target)[0]

    def make(n: int) -> Batch:
        fine, target = label_map(n, 8, 6)
        return fine, torch.randn(n, CLASSES, 4, 3), target

    samples = {0: Dim("samples")}
    program = torch.export.export(Scales(), make(3), dynamic_shapes=(samples,) * 3, strict=False)
    for n in (1, 2, 5):
        batch = make(n)
        torch.testing.assert_close(program.module()(*batch), Scales()(*batch))


@pytest.mark.parametrize("name", ["SegLoss", "MultiLoss", "a wrapped mask"])
def test_an_exported_loss_keeps_its_result_in_a_file(name: str, tmp_path: Path) -> None:
    loss, make, keys = LOSSES[name]
    logits, target, *weights = make(*EXAMPLE)
    assert isinstance(loss, nn.Module)
    batch = {"seg": logits}, dict(zip(keys, [target, *weights], strict=True))
    torch.export.save(torch.export.export(loss, batch, strict=False), tmp_path / "loss.pt2")
    result = torch.export.load(tmp_path / "loss.pt2").module()(*batch)
    assert type(result) is type(loss(*batch))
    torch.testing.assert_close(result[0], loss(*batch)[0])


def test_an_exported_network_with_its_loss_can_be_trained() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, CLASSES, 3, padding=1)
            self.loss = SegLoss(n_classes=CLASSES, ignore_index=2)

        def forward(self, images: Tensor, labels: Tensor) -> Tensor:
            return self.loss({"seg": self.layer(images)}, {TARGET: labels})[0]

    def make(n: int, h: int, w: int) -> Batch:
        return torch.randn(n, 3, h, w), random_labels(n, h, w)

    def trained(network: nn.Module) -> list[float]:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        losses = []
        for images, labels in batches:
            optimizer.zero_grad()
            value = network(images, labels)
            value.backward()
            optimizer.step()
            losses.append(value.item())
        return losses

    torch.manual_seed(0)
    network, example = Network(), make(4, 10, 7)
    sizes = {0: Dim("samples"), 2: Dim("rows"), 3: Dim("columns")}
    labels_sizes = {0: sizes[0], 1: sizes[2], 2: sizes[3]}
    program = torch.export.export(
        network, example, dynamic_shapes=(sizes, labels_sizes), strict=False
    )
    batches = [make(*size) for size in OTHERS]
    expected = trained(copy.deepcopy(network))  # the program has the network's own parameters
    assert trained(program.module()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["a wrapped mask", "a wrapped label map", "softmax", "SegLoss"])
def test_a_loss_compiled_for_any_size_has_the_values_of_the_loss(name: str) -> None:
    module, make = Module(LOSSES[name]), LOSSES[name].make
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager", dynamic=True)
    assert_equal_on_other_sizes(compiled, module, make)
