"""Several ignored values leave out the pixels of each of them, in every door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segloss
from segloss import (
    CompoundLoss,
    DeepSupervision,
    LossWrapper,
    MultiLoss,
    SegLoss,
    TopKCrossEntropyLoss,
    assert_loss,
    build_loss,
    functional,
    soft_confusion,
    use_backend,
)
from segloss.terms import TERMS, CrossEntropy

SEVERAL = [0, 255]
"""The ignored values: a class, and a marker."""


def a_batch(dtype: torch.dtype = torch.int64) -> tuple[Tensor, Tensor]:
    """Logits of four classes, and labels of these and of 255."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 8, 8, generator=random, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 8, 8), generator=random)
    labels[:, :2, 3:] = 255
    return logits, labels.to(dtype)


def yaml_loss(ignore_index: Any) -> Callable[..., Any]:
    loss = {"_target_": "segloss.SegLoss", "n_classes": 4, "ignore_index": ignore_index}
    return build_loss({"loss": loss})


DOORS: dict[str, Callable[[Any, Tensor, Tensor], Any]] = {
    "SegLoss": lambda i, x, y: SegLoss(n_classes=4, ignore_index=i)(x, y)[0],
    "CompoundLoss": lambda i, x, y: CompoundLoss(mode="multiclass", ignore_index=i)(x, y),
    "LossWrapper": lambda i, x, y: LossWrapper(CompoundLoss(mode="multiclass", ignore_index=i))(
        x, y
    )[0],
    "MultiLoss": lambda i, x, y: MultiLoss([SegLoss(n_classes=4, ignore_index=i)], [1.0])(x, y)[0],
    "DeepSupervision": lambda i, x, y: DeepSupervision(SegLoss(n_classes=4, ignore_index=i))(
        [x, x[..., ::2, ::2]], y
    )[0],
    "TopKCrossEntropyLoss": lambda i, x, y: TopKCrossEntropyLoss(k=50, ignore_index=i)(x, y),
    "cross_entropy": lambda i, x, y: functional.cross_entropy(x, y, ignore_index=i),
    "seg_loss": lambda i, x, y: functional.seg_loss(x, y, n_classes=4, ignore_index=i),
    "soft_confusion": lambda i, x, y: (
        soft_confusion(x, y, n_classes=4, ignore_index=i).true_positive
    ),
    "config": lambda i, x, y: yaml_loss(i)(x, y)[0],
    **{
        loss.__name__: lambda i, x, y, loss=loss: loss("multiclass", ignore_index=i)(x, y)
        for loss in segloss.term_losses.TERM_LOSSES.values()
        if loss.term_type.name not in ("boundary", "skeleton_recall")
    },
}


@pytest.mark.parametrize("door", DOORS)
def test_pixels_of_all_ignored_values_are_left_out(door: str) -> None:
    logits, labels = a_batch()
    marked = labels.masked_fill(labels == 0, 255)
    torch.testing.assert_close(
        DOORS[door](SEVERAL, logits, labels), DOORS[door](255, logits, marked), rtol=0, atol=0
    )


def test_cross_entropy_is_that_of_the_other_pixels() -> None:
    logits, labels = a_batch()
    kept = (labels != 0) & (labels != 255)
    expected = F.cross_entropy(logits.movedim(1, -1)[kept], labels[kept])
    loss = CompoundLoss(CrossEntropy(), "multiclass", ignore_index=SEVERAL)
    torch.testing.assert_close(loss(logits, labels), expected)


@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_values_count_in_the_dtype_of_the_target(dtype: torch.dtype, backend: str) -> None:
    logits, labels = a_batch(dtype)
    logits = logits.float().masked_fill(labels.eq(255).unsqueeze(1), torch.nan).requires_grad_()
    loss = CompoundLoss(mode="multiclass", ignore_index=[-1, 0, 255, 70000])
    with use_backend(backend):
        value = loss(logits, labels)
        value.backward()
    expected = CompoundLoss(mode="multiclass", ignore_index=255)(
        logits, labels.masked_fill(labels == 0, 255)
    )
    torch.testing.assert_close(value, expected)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_value_that_the_dtype_lacks_is_not_compared_after_wrapping() -> None:
    logits, labels = a_batch(torch.uint8)
    with pytest.raises(ValueError, match="label 255"):
        CompoundLoss(mode="multiclass", ignore_index=[-1, 0])(logits, labels)
    inside = labels.masked_fill(labels == 255, 1)
    plain = CompoundLoss(mode="multiclass")(logits, inside)
    assert CompoundLoss(mode="multiclass", ignore_index=[-1, 300])(logits, inside) == plain


def test_dense_targets_have_several_markers() -> None:
    logits = a_batch()[0][:, :1]
    mask = torch.randint(0, 2, logits.shape, generator=torch.Generator().manual_seed(1)).double()
    marked = mask.clone()
    marked[..., 0], marked[..., 1] = 255, -1
    weights = torch.ones_like(mask)
    weights[..., :2] = 0
    torch.testing.assert_close(
        CompoundLoss(ignore_index=[-1, 255])(logits, marked),
        CompoundLoss()(logits, mask, pixel_weights=weights),
    )
    with pytest.raises(ValueError, match=r"ignore_index=\[0, 255\] would leave out every pixel"):
        CompoundLoss(mode="multiclass", ignore_index=[0, 255])(
            torch.zeros(1, 2, 4), torch.tensor([[[0.0, 1, 1, 0], [1, 0, 0, 1]]])
        )


@pytest.mark.parametrize("term", ["cross_entropy", "dice", "region_size_kl"])
def test_a_target_of_ignored_values_alone_has_loss_and_gradient_0(term: str) -> None:
    logits, labels = a_batch()
    logits = logits.requires_grad_()
    only = torch.where(labels > 1, 255, 0)
    loss = CompoundLoss(TERMS[term](), "multiclass", ignore_index=SEVERAL)
    value = loss(logits, only)
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_the_attribute_is_what_was_given() -> None:
    assert SegLoss(ignore_index=7).ignore_index == 7
    assert SegLoss(ignore_index=[255, 0]).ignore_index == (0, 255)
    assert CompoundLoss(ignore_index=(255,)).ignore_index == 255
    assert TopKCrossEntropyLoss(ignore_index=[0, 255]).ignore_index == (0, 255)
    assert LossWrapper(lambda p, t: p.sum(), ignore_index=[0, 255]).ignore_index == (0, 255)


def test_the_targets_of_the_user_stay_unchanged() -> None:
    logits, labels = a_batch()
    before = labels.clone()
    SegLoss(n_classes=4, ignore_index=SEVERAL)(logits, labels)
    assert torch.equal(labels, before)


def test_losses_with_the_same_values_share_a_pass() -> None:
    first = SegLoss(n_classes=4, ignore_index=[255, 0])
    second = SegLoss(n_classes=4, ignore_index=(0, 255))
    assert first.sharing_key() == second.sharing_key()
    assert first.sharing_key() != SegLoss(n_classes=4, ignore_index=255).sharing_key()


def test_check_loss_passes() -> None:
    assert_loss(SegLoss(n_classes=4, ignore_index=SEVERAL, from_logits=True))


def test_a_compiled_and_an_exported_loss_leave_them_out() -> None:
    logits, labels = a_batch()
    logits = logits.float()
    loss = CompoundLoss(mode="multiclass", ignore_index=SEVERAL)
    expected = loss(logits, labels)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, labels), expected)
    exported = torch.export.export(loss, (logits, labels)).module()
    torch.testing.assert_close(exported(logits, labels), expected)


def test_a_wrapped_loss_is_0_where_all_pixels_have_ignored_values() -> None:
    logits, labels = a_batch()
    loss = LossWrapper(nn.CrossEntropyLoss(ignore_index=255), ignore_index=SEVERAL)
    assert loss(logits, torch.where(labels > 1, 255, 0))[0] == 0


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([], ValueError, ("at least one value", "ignore_index=None")),
        ([255, 255], ValueError, ("twice", "pass [255]")),
        (True, TypeError, ("True",)),
        ([0, True], TypeError, ("ignore_index[1]", "True")),
        (255.0, TypeError, ("255.0", "pass 255")),
        ([0.5], TypeError, ("ignore_index[0]", "0.5")),
        ([[0, 255]], TypeError, ("ignore_index[0]", "without lists inside")),
        ("255", TypeError, ("'255'", "pass 255")),
        ([2**70], ValueError, ("64 bits",)),
        ({0: 255}, TypeError, ("dict",)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "make",
    [
        lambda value: SegLoss(ignore_index=value),
        lambda value: CompoundLoss(ignore_index=value),
        lambda value: TopKCrossEntropyLoss(ignore_index=value),
        lambda value: LossWrapper(nn.L1Loss(), ignore_index=value),
        lambda value: functional.dice_loss(
            torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), ignore_index=value
        ),
    ],
    ids=["SegLoss", "CompoundLoss", "TopK", "LossWrapper", "functional"],
)
def test_wrong_values_are_refused(
    value: Any, error: type[Exception], words: tuple[str, ...], make: Callable[[Any], Any]
) -> None:
    with pytest.raises(error) as caught:
        make(value)
    assert all(word in str(caught.value) for word in ("ignore_index", *words))
