"""Cross-entropy of the worst pixels: nnU-Net's, a sort in NumPy, and a compiler's needs."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from segloss import LossWrapper, MultiLoss, SegLoss
from segloss.losses.standalone.topk import TopKCrossEntropyLoss


def softmax_entropies(logits, labels, weights, smoothing: float) -> np.ndarray:
    """The cross-entropy of each pixel (N, *spatial), in NumPy, from its definition."""
    x, y = np.moveaxis(logits.double().numpy(), 1, -1), labels.numpy()
    classes = x.shape[-1]
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    w = np.ones(classes) if weights is None else np.array(weights)
    wanted = np.eye(classes)[np.clip(y, 0, classes - 1)] * (1 - smoothing) + smoothing / classes
    return -(wanted * w * log_p).sum(-1)


def sigmoid_entropies(logits, mask, weights, smoothing: float) -> np.ndarray:
    """The binary cross-entropy of each channel's pixels (N, C, *spatial)."""
    x, g = logits.double().numpy(), mask.double().numpy()
    p = 1 / (1 + np.exp(-x))
    g = g * (1 - smoothing) + smoothing / 2
    w = np.ones(x.shape[1]) if weights is None else np.array(weights)
    w = w.reshape(-1, *[1] * (x.ndim - 2))
    return -w * (g * np.log(p) + (1 - g) * np.log(1 - p))


def mean_of_largest(values: np.ndarray, k: float) -> float:
    ranked = np.sort(values.ravel())[::-1]
    return float(ranked[: max(1, int(len(ranked) * k / 100))].mean())


def multiclass_data(*spatial: int, ignored: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    logits = torch.randn(2, 4, *spatial, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, *spatial))
    marked = torch.where(torch.rand(labels.shape) < ignored, 255, labels)
    return logits, labels, marked


@pytest.mark.parametrize("spatial", [(50,), (9, 8), (3, 5, 4)])
@pytest.mark.parametrize("k", [0.5, 10, 33.3, 100])
@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0.0), ([1.0, 0.5, 2.0, 0.1], 0.2)])
def test_softmax_is_a_sort_of_the_pixels_that_count(spatial, k: float, weights, smoothing) -> None:
    logits, labels, marked = multiclass_data(*spatial)
    options = {"class_weights": weights, "label_smoothing": smoothing}
    values = softmax_entropies(logits, labels, weights, smoothing)
    plain = TopKCrossEntropyLoss(k=k, **options)(logits, labels)
    assert plain.item() == pytest.approx(mean_of_largest(values, k), rel=1e-12)
    kept = TopKCrossEntropyLoss(k=k, ignore_index=255, **options)(logits, marked)
    expected = mean_of_largest(values[marked.numpy() != 255], k)
    assert kept.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("mode", ["binary", "multilabel"])
@pytest.mark.parametrize("k", [0.5, 10, 33.3, 100])
@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0.0), ([1.0, 0.5, 2.0], 0.2)])
def test_sigmoid_channels_are_ranked_together(mode: str, k: float, weights, smoothing) -> None:
    logits, mask = torch.randn(2, 3, 7, 5, dtype=torch.float64), torch.rand(2, 3, 7, 5).double()
    marked = torch.where(torch.rand(mask.shape) < 0.3, -1.0, mask)
    options = {"class_weights": weights, "label_smoothing": smoothing}
    values = sigmoid_entropies(logits, mask, weights, smoothing)
    plain = TopKCrossEntropyLoss(mode, k, **options)(logits, mask)
    assert plain.item() == pytest.approx(mean_of_largest(values, k), rel=1e-12)
    kept = TopKCrossEntropyLoss(mode, k, ignore_index=-1, **options)(logits, marked)
    expected = mean_of_largest(values[marked.numpy() != -1], k)
    assert kept.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 10, 40])
@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0, 3.0]])
def test_value_and_gradient_are_nnunets(k: float, weight) -> None:
    nnunet = pytest.importorskip("nnunetv2.training.loss.robust_ce_loss")
    logits, labels, _ = multiclass_data(20, 15)
    tensor = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnU-Net's use of an argument that PyTorch deprecates
        theirs = nnunet.TopKLoss(weight=tensor, k=k, label_smoothing=0.1)
    ours = TopKCrossEntropyLoss(k=k, class_weights=weight, label_smoothing=0.1)
    gradients = []
    for loss in (ours, theirs):
        x = logits.clone().requires_grad_()
        value = loss(x, labels.unsqueeze(1))
        value.backward()
        gradients.append((value.detach(), x.grad))
    for mine, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-15)


def test_all_pixels_are_the_plain_cross_entropy() -> None:
    logits, _, marked = multiclass_data(9, 8)
    value = TopKCrossEntropyLoss(k=100, ignore_index=255)(logits, marked)
    expected = F.cross_entropy(logits, marked, ignore_index=255)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


def test_dense_targets_of_softmax_are_taken_and_ignored_pixel_by_pixel() -> None:
    logits, labels, marked = multiclass_data(9, 8)
    dense = F.one_hot(labels, 4).movedim(-1, 1).double()
    dense[:, 0][marked == 255] = 255
    for smoothing in (0.0, 0.3):
        options = {"k": 20, "ignore_index": 255, "label_smoothing": smoothing}
        value = TopKCrossEntropyLoss(**options)(logits, dense)
        expected = TopKCrossEntropyLoss(**options)(logits, marked)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


def test_a_mask_of_one_channel_needs_no_channel_axis() -> None:
    logits, mask = torch.randn(2, 1, 6, 5), torch.randint(0, 2, (2, 6, 5))
    loss = TopKCrossEntropyLoss("binary")
    assert torch.equal(loss(logits, mask), loss(logits, mask.unsqueeze(1).float()))
    labels = torch.randint(0, 3, (2, 6, 5))
    loss, logits = TopKCrossEntropyLoss(), torch.randn(2, 3, 6, 5)
    assert torch.equal(loss(logits, labels.unsqueeze(1).to(torch.uint8)), loss(logits, labels))


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_only_the_worst_pixels_have_a_gradient(mode: str) -> None:
    logits = torch.randn(1, 1 if mode == "binary" else 3, 100, requires_grad=True)
    TopKCrossEntropyLoss(mode, k=7)(logits, torch.randint(0, 2, (1, 100))).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).any(1).sum() == 7


def test_gradients_pass_gradcheck_twice() -> None:
    logits, _, marked = multiclass_data(3, 3)
    loss = TopKCrossEntropyLoss(
        k=40, ignore_index=255, class_weights=[1, 2, 3, 4], label_smoothing=0.1
    )
    x = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, marked), x)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, marked), x)
    mask = torch.where(torch.rand(2, 4, 3, 3) < 0.3, 255, torch.randint(0, 2, (2, 4, 3, 3)))
    loss = TopKCrossEntropyLoss("multilabel", k=40, ignore_index=255, class_weights=[1, 2, 3, 4])
    assert torch.autograd.gradcheck(lambda x: loss(x, mask), x)


@pytest.mark.parametrize("k", [1, 90])  # with 90, ignored pixels are among those taken
def test_ignored_pixels_leave_no_trace(k: float) -> None:
    """NaN in them changes neither the value nor the gradient of others."""
    logits, _, marked = multiclass_data(9, 8)
    loss = TopKCrossEntropyLoss(k=k, ignore_index=255)
    broken = torch.where((marked == 255).unsqueeze(1), torch.nan, logits)
    results = []
    for given in (logits, broken):
        x = given.clone().requires_grad_()
        value = loss(x, marked)
        value.backward()
        results.append((value.detach(), x.grad))
    (value, gradient), (broken_value, broken_gradient) = results
    assert torch.equal(value, broken_value)
    assert torch.equal(gradient, broken_gradient)
    assert (gradient.movedim(1, -1)[marked == 255] == 0).all()


def test_nan_in_a_pixel_that_counts_is_not_hidden() -> None:
    logits, labels, _ = multiclass_data(9, 8)
    logits[0, 0, 0, 0] = torch.nan
    assert TopKCrossEntropyLoss(k=1)(logits, labels).isnan()


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (0, 3, 5, 4), (2, 3, 0)])
@pytest.mark.parametrize("ignore_index", [None, 255])
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_no_pixels_at_all_give_zero_with_a_zero_gradient(shape, ignore_index, mode: str) -> None:
    logits = torch.full(shape, torch.nan).requires_grad_()
    if logits.numel() > 0 and ignore_index is None:
        return
    target = torch.full(shape if mode == "multilabel" else (shape[0], *shape[2:]), 255)
    value = TopKCrossEntropyLoss(mode, ignore_index=ignore_index)(logits, target)
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(shape))


def test_one_pixel_counts_at_least() -> None:
    logits, labels, marked = multiclass_data(9, 8, ignored=0)
    marked[:] = 255
    marked[1, 2, 3] = labels[1, 2, 3]
    value = TopKCrossEntropyLoss(k=0.01, ignore_index=255)(logits, marked)
    expected = F.cross_entropy(logits, labels, reduction="none")[1, 2, 3]
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_confident_pixels_keep_their_digits(mode: str) -> None:
    """In float32, with margins at which a difference of logarithms has nothing left."""
    channels = 1 if mode == "binary" else 2
    logits = torch.zeros(1, channels, 40)
    logits[:, 0] = torch.linspace(14, 30, 40) * (-1 if mode == "binary" else 1)
    target = torch.zeros(1, 40, dtype=torch.long)
    results = []
    for x in (logits, logits.double()):
        x = x.clone().requires_grad_()
        value = TopKCrossEntropyLoss(mode, k=50)(x, target)
        value.backward()
        results.append((value.double(), x.grad.double()))
    for given, exact in zip(*results, strict=True):
        torch.testing.assert_close(given, exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_are_computed_in_float32(dtype) -> None:
    logits, labels, _ = multiclass_data(9, 8)
    logits, loss = logits.to(dtype), TopKCrossEntropyLoss()
    expected = loss(logits.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits, labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[1e30, -1e30, 3e38], [-1e30, 1e30, -3e38]]], requires_grad=True)
    value = TopKCrossEntropyLoss(k=50)(logits[..., :2], torch.tensor([[1, 0]]))
    assert value.item() == pytest.approx(2e30)
    TopKCrossEntropyLoss(k=100)(logits, torch.tensor([[1, 1, 1]])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("dynamic", "ignore_index", "mode"),
    [(True, None, "multiclass"), (False, 255, "multiclass"), (True, 255, "multilabel")],
)
def test_a_compiler_takes_it_in_one_graph(dynamic: bool, ignore_index, mode: str) -> None:
    torch.compiler.reset()
    loss = TopKCrossEntropyLoss(mode, k=15, ignore_index=ignore_index, class_weights=[1, 2, 3])
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for height in (8, 9):
        logits = torch.randn(2, 3, height, 6, requires_grad=True)
        dense = mode == "multilabel"
        target = torch.randint(0, 2, (2, 3, height, 6) if dense else (2, height, 6))
        if ignore_index is not None:
            target[torch.rand(target.shape) < 0.3] = 255
        value, expected = compiled(logits, target), loss(logits, target)
        torch.testing.assert_close(value, expected)
        gradients = [torch.autograd.grad(each, logits)[0] for each in (value, expected)]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_nothing_waits_for_values(mode: str) -> None:
    """Fake tensors have none: reading one, or a shape that depends on one, would raise."""
    with FakeTensorMode():
        logits = torch.rand(2, 3, 9, 8, requires_grad=True)
        target = torch.ones(2, 9, 8) if mode == "multiclass" else torch.ones(2, 3, 9, 8)
        value = TopKCrossEntropyLoss(mode, ignore_index=255)(logits, target.long())
        value.backward()
    assert value.shape == ()


def test_it_takes_batches_in_a_wrapper_beside_other_losses() -> None:
    logits, labels = torch.randn(2, 3, 9, 8), torch.randint(0, 3, (2, 1, 9, 8))
    topk = TopKCrossEntropyLoss(k=20)
    multi = MultiLoss([SegLoss(n_classes=3), LossWrapper(topk, "topk")], [1.0, 0.5])
    total, losses, _ = multi({"seg": logits}, {"gt_polygons_image": labels})
    torch.testing.assert_close(losses["topk"], topk(logits, labels))
    torch.testing.assert_close(total, losses["seg"] + 0.5 * losses["topk"])


def test_copies_pickles_and_checkpoints_are_the_same_loss() -> None:
    logits, labels, _ = multiclass_data(9, 8)
    loss = TopKCrossEntropyLoss(k=20, class_weights=[1, 2, 3, 4])
    restored = TopKCrossEntropyLoss(k=20, class_weights=[1, 2, 3, 4])
    restored.load_state_dict(loss.state_dict())
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), restored, loss.half()):
        assert torch.equal(other(logits, labels), loss(logits, labels))


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"mode": "multiclas"}, ValueError, "mode must be one of .*did you mean 'multiclass'"),
        ({"k": 0}, ValueError, r"k, a percentage, must be in \(0, 100\], got 0"),
        ({"k": 101}, ValueError, r"k, a percentage, must be in \(0, 100\], got 101"),
        ({"k": "10"}, TypeError, "k, a percentage, must be a number"),
        ({"label_smoothing": 2}, ValueError, "label_smoothing must be in"),
        ({"ignore_index": 1.5}, TypeError, "ignore_index must be an int"),
        ({"class_weights": [-1, 2]}, ValueError, r"class_weights\[0\] must be"),
    ],
)
def test_wrong_arguments_are_refused_when_the_loss_is_made(options, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        TopKCrossEntropyLoss(**options)


@pytest.mark.parametrize(
    ("options", "prediction", "target", "kind", "words"),
    [
        ({}, torch.rand(2, 1, 4), torch.zeros(2, 4).long(), ValueError, "set mode='binary'"),
        ({}, "logits", torch.zeros(2, 4).long(), TypeError, "prediction must be a tensor"),
        ({}, torch.rand(4), torch.zeros(4).long(), ValueError, r"\(N, C, \*spatial\)"),
        ({}, torch.zeros(2, 3, 4).long(), torch.zeros(2, 4), TypeError, "must be floating-point"),
        ({}, torch.rand(2, 3, 4), torch.full((2, 4), 3), ValueError, "target holds the label 3"),
        ({}, torch.rand(2, 3, 4), torch.zeros(2, 5), ValueError, r"expected .*got \(2, 5\)"),
        ({}, torch.rand(2, 3, 4), torch.full((2, 4), 255), ValueError, "set ignore_index=255"),
        ({"class_weights": [1, 2]}, torch.rand(2, 3, 4), torch.zeros(2, 4), ValueError, "got 2"),
        ({"mode": "binary"}, torch.rand(2, 1, 4), torch.full((2, 4), 2), ValueError, "in .0, 1."),
    ],
)
def test_wrong_batches_are_refused(options, prediction, target, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        TopKCrossEntropyLoss(**options)(prediction, target)
