"""The pass: sums against a textbook, masks by selection, precision, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from segloss import soft_confusion
from tests.support import naive

SPATIAL = [(9,), (4, 5), (3, 2, 4)]
REGION = ("true_positive", "false_positive", "false_negative", "actual", "pixel_weight")


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).double()


def expected_sums(p: Tensor, g: Tensor, w: Tensor | None = None) -> dict[str, Tensor]:
    table = naive.cells(p, g, w)
    columns = {
        key: torch.tensor([[cell[key] for cell in row] for row in table], dtype=torch.float64)
        for key in ("tp", "fp", "fn", "w")
    }
    return {
        "true_positive": columns["tp"],
        "false_positive": columns["fp"],
        "false_negative": columns["fn"],
        "actual": columns["tp"] + columns["fn"],
        "pixel_weight": columns["w"],
    }


def assert_sums(confusion, expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(confusion[name], value, rtol=1e-12, atol=1e-12, msg=name)
    torch.testing.assert_close(
        confusion.predicted, expected["true_positive"] + expected["false_positive"]
    )


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("weighted", [None, 1, 3])
def test_sigmoid_sums_are_the_textbooks(spatial: tuple[int, ...], weighted: int | None) -> None:
    logits = torch.randn(2, 3, *spatial, dtype=torch.float64)
    target = torch.rand(2, 3, *spatial, dtype=torch.float64)
    weights = None if weighted is None else torch.rand(2, weighted, *spatial).double()
    confusion = soft_confusion(logits, target, pixel_weights=weights)
    assert_sums(confusion, expected_sums(logits.sigmoid(), target, weights))


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_softmax_sums_are_the_textbooks(
    spatial: tuple[int, ...], weighted: bool, dense: bool, from_logits: bool
) -> None:
    logits = torch.randn(2, 4, *spatial, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, *spatial))
    weights = torch.rand(2, 1, *spatial, dtype=torch.float64) if weighted else None
    confusion = soft_confusion(
        logits if from_logits else logits.softmax(1),
        one_hot(labels, 4) if dense else labels,
        n_classes=4,
        from_logits=from_logits,
        pixel_weights=weights,
    )
    assert_sums(confusion, expected_sums(logits.softmax(1), one_hot(labels, 4), weights))


def test_label_maps_come_in_four_forms() -> None:
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    forms = [labels, labels.unsqueeze(1), labels.float(), labels.to(torch.uint8)]
    sums = [soft_confusion(logits, form, n_classes=3).true_positive for form in forms]
    assert all(torch.equal(sums[0], other) for other in sums[1:])


def test_a_single_sigmoid_channel_takes_an_integer_mask_without_channels() -> None:
    logits, mask = torch.randn(2, 1, 4, 5), torch.randint(0, 2, (2, 4, 5))
    plain = soft_confusion(logits, mask)
    dense = soft_confusion(logits, mask.unsqueeze(1).float())
    assert torch.equal(plain.true_positive, dense.true_positive)


def test_sums_are_float64_and_fractions_of_them_can_be_asked_for() -> None:
    logits, mask = torch.randn(2, 1, 4), torch.randint(0, 2, (2, 1, 4))
    confusion = soft_confusion(logits, mask, sums=("region",))
    assert {value.dtype for value in confusion.sums.values()} == {torch.float64}
    with pytest.raises(KeyError, match=r"'cross_entropy' was not computed.*sums="):
        _ = confusion.cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weights", [None, [0.5, 1.0, 2.0, 0.1]])
@pytest.mark.parametrize("dense", [False, True])
def test_softmax_cross_entropy_is_pytorchs(smoothing, class_weights, dense, multiclass) -> None:
    logits, labels = multiclass
    target = one_hot(labels, 4) if dense else labels
    confusion = soft_confusion(
        logits, target, n_classes=4, class_weights=class_weights, label_smoothing=smoothing
    )
    weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
    expected = F.cross_entropy(logits, target, weight, label_smoothing=smoothing)
    value = confusion.cross_entropy.sum() / confusion.weight.sum()
    assert confusion.cross_entropy.shape == confusion.weight.shape == (3,)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("from_logits", [False, True])
def test_binary_cross_entropy_is_pytorchs_with_pos_weight_and_class_weights(
    from_logits: bool, binary
) -> None:
    logits, target = binary
    pos_weight, class_weights = [3.0, 0.5], [1.0, 4.0]
    confusion = soft_confusion(
        logits if from_logits else logits.sigmoid(),
        target,
        from_logits=from_logits,
        pos_weight=pos_weight,
        class_weights=class_weights,
    )
    element = F.binary_cross_entropy_with_logits(
        logits, target, pos_weight=torch.tensor(pos_weight).reshape(-1, 1, 1), reduction="none"
    )
    weight = torch.tensor(class_weights, dtype=torch.float64).reshape(1, 2, 1, 1)
    weight = weight.expand_as(element)
    torch.testing.assert_close(confusion.cross_entropy, (weight * element).sum((2, 3)))
    torch.testing.assert_close(confusion.weight, weight.sum((2, 3)))


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30, 1e-13, 1 - 1e-7])
def test_logarithms_of_given_probabilities_are_bounded_as_pytorchs(value: float) -> None:
    p = torch.full((1, 1, 1), value, dtype=torch.float32, requires_grad=True)
    target = torch.ones(1, 1, 1)
    soft_confusion(p, target, from_logits=False).cross_entropy.sum().backward()
    expected_p = p.detach().clone().requires_grad_()
    expected = F.binary_cross_entropy(expected_p, target)
    expected.backward()
    value_here = soft_confusion(p, target, from_logits=False).cross_entropy.sum().float()
    torch.testing.assert_close(value_here, expected)
    if value < 1:  # PyTorch's slope at exactly 1 is 0; the logarithm's is -1
        torch.testing.assert_close(p.grad, expected_p.grad)


def masked_batches(activation: str) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, a target and a mask of the pixels that count."""
    logits = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    if activation == "softmax":
        target, valid = torch.randint(0, 3, (2, 5, 4)), torch.rand(2, 5, 4) > 0.3
    else:
        target, valid = torch.randint(0, 2, (2, 3, 5, 4)), torch.rand(2, 3, 5, 4) > 0.3
    return logits, target, valid


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("how", ["ignore_index", "weight"])
def test_pixels_left_out_may_hold_nan_without_a_trace(activation: str, how: str) -> None:
    logits, target, valid = masked_batches(activation)
    n_classes = 3 if activation == "softmax" else 2
    channels_valid = valid.unsqueeze(1) if activation == "softmax" else valid
    weights = channels_valid.double()
    options = {"n_classes": n_classes, "activation": activation}

    clean = logits.clone().requires_grad_()
    expected = soft_confusion(clean, target, pixel_weights=weights, **options)
    (sum(value.sum() for value in expected.sums.values())).backward()

    poisoned = logits.masked_fill(~channels_valid.expand_as(logits), torch.nan).requires_grad_()
    if how == "ignore_index":
        options |= {"ignore_index": 255}
        confusion = soft_confusion(poisoned, target.masked_fill(~valid, 255), **options)
    else:
        confusion = soft_confusion(poisoned, target, pixel_weights=weights, **options)
    (sum(value.sum() for value in confusion.sums.values())).backward()
    for name, value in expected.sums.items():
        assert torch.equal(confusion[name], value), name
    assert torch.equal(poisoned.grad, clean.grad)


def test_a_softmax_pixel_ignored_in_one_channel_is_ignored() -> None:
    logits = torch.randn(1, 3, 4)
    dense = one_hot(torch.tensor([[0, 1, 2, 1]]), 3)
    dense[0, 2, 3] = -1
    confusion = soft_confusion(logits, dense, n_classes=3, ignore_index=-1)
    expected = soft_confusion(logits[..., :3], dense[..., :3], n_classes=3)
    torch.testing.assert_close(confusion.false_positive, expected.false_positive)
    assert confusion.weight.item() == 3


@pytest.mark.parametrize("margin", [5, 8, 12, 16, 20, 30])
@pytest.mark.parametrize("kind", ["sigmoid", "label map", "dense"])
@pytest.mark.parametrize("name", ["false_positive", "false_negative", "cross_entropy"])
def test_float32_keeps_the_digits_of_confident_pixels(margin: int, kind: str, name: str) -> None:
    """Every pixel is right by about the margin; the exact value needs more than float64's 1 - p."""
    classes = 2 if kind == "sigmoid" else 4
    labels = torch.randint(0, classes, (2, 500))
    noise = torch.rand(2, 1 if kind == "sigmoid" else classes, 500)
    if kind == "sigmoid":
        target: Tensor = labels.unsqueeze(1)
        logits = (2 * target - 1) * margin + noise
        miss = torch.sigmoid(torch.where(target == 1, -logits, logits).double())
        exact = {
            "false_positive": (miss * (target == 0)).sum(-1),
            "false_negative": (miss * (target == 1)).sum(-1),
            "cross_entropy": -torch.log1p(-miss).sum(-1),
        }
    else:
        target = labels if kind == "label map" else one_hot(labels, 4)
        logits = margin * one_hot(labels, 4).float() + noise
        hot = one_hot(labels, 4).bool()
        exponentials = logits.double().exp()
        others = exponentials.masked_fill(hot, 0)
        total = exponentials.sum(1, keepdim=True)
        miss = others.sum(1, keepdim=True) / total
        exact = {
            "false_positive": (others / total).sum(-1),
            "false_negative": (miss * hot).sum(-1),
            "cross_entropy": -torch.log1p(-miss).sum((1, 2)),
        }
    value = soft_confusion(logits.float(), target, n_classes=classes)[name]
    torch.testing.assert_close(value, exact[name], rtol=1e-5, atol=0)


@pytest.mark.parametrize("margin", [5, 12, 20, 30])
@pytest.mark.parametrize("kind", ["sigmoid", "label map", "dense"])
@pytest.mark.parametrize("name", ["true_positive", "false_negative", "cross_entropy"])
def test_float32_keeps_the_digits_of_confident_gradients(margin: int, kind: str, name: str) -> None:
    """The gradient with respect to the right class's logit is p (1 - p), or 1 - p."""
    if kind == "sigmoid":
        logits, target, classes = torch.full((1, 1, 1), float(margin)), torch.ones(1, 1, 1), 2
        miss = torch.sigmoid(-logits.double()).item()
    else:
        logits = torch.tensor([[[float(margin)], [0.0], [-1.0]]])
        target = torch.zeros(1, 1, dtype=torch.long)
        target, classes = (target, 3) if kind == "label map" else (one_hot(target, 3), 3)
        rest = 1 + torch.exp(torch.tensor(-1.0, dtype=torch.float64))
        miss = (rest / (rest + torch.exp(torch.tensor(margin, dtype=torch.float64)))).item()
    logits.requires_grad_()
    soft_confusion(logits, target, n_classes=classes)[name].sum().backward()
    exact = {
        "true_positive": miss * (1 - miss),
        "false_negative": -miss * (1 - miss),
        "cross_entropy": -miss,
    }
    assert logits.grad is not None
    assert logits.grad[0, 0, 0].item() == pytest.approx(exact[name], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits = torch.randn(2, 3, 64, 64).to(dtype)
    labels = torch.randint(0, 3, (2, 64, 64))
    half = soft_confusion(logits, labels, n_classes=3)
    single = soft_confusion(logits.float(), labels, n_classes=3)
    for name in half.sums:
        assert torch.equal(half[name], single[name])


@pytest.mark.parametrize("kind", ["sigmoid", "label map", "dense"])
@pytest.mark.parametrize("size", [1e4, 1e30, 3e38])
def test_extreme_logits_have_finite_values_and_gradients(kind: str, size: float) -> None:
    signs = torch.tensor([[[1.0, -1.0, 1.0, 0.0], [-1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]]])
    logits = (size * signs).requires_grad_()
    labels = torch.tensor([[0, 0, 1, 2]])
    target = {"sigmoid": one_hot(labels, 3), "dense": one_hot(labels, 3)}.get(kind, labels)
    confusion = soft_confusion(
        logits, target, n_classes=3, activation="sigmoid" if kind == "sigmoid" else "softmax"
    )
    if size <= 1e30:
        assert all(value.isfinite().all() for value in confusion.sums.values())
    sum(value.sum() for value in confusion.sums.values()).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["label map", "dense"])
@pytest.mark.parametrize("size", [0.0, 1e4, -1e30])
def test_equal_logits_of_any_size_are_equal_probabilities(kind: str, size: float) -> None:
    labels = torch.tensor([[0, 1]])
    target = labels if kind == "label map" else one_hot(labels, 3)
    confusion = soft_confusion(torch.full((1, 3, 2), size), target, n_classes=3)
    torch.testing.assert_close(confusion.true_positive[0, :2], torch.full((2,), 1 / 3).double())
    torch.testing.assert_close(confusion.predicted, torch.full((1, 3), 2 / 3).double())


@pytest.mark.parametrize("kind", ["sigmoid", "label map", "dense"])
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_gradients_pass_gradcheck(kind: str, scale: float) -> None:
    logits = (scale * torch.randn(2, 3, 5, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, 3, (2, 5))
    target = labels if kind == "label map" else one_hot(labels, 3) * 0.8 + 0.1
    options = {
        "n_classes": 3,
        "activation": "sigmoid" if kind == "sigmoid" else "softmax",
        "pixel_weights": torch.rand(2, 1, 5, dtype=torch.float64),
        "class_weights": [1.0, 0.3, 2.0],
        "label_smoothing": 0.1,
    }
    names = ("true_positive", "false_positive", "false_negative", "cross_entropy")

    def sums(logits: Tensor) -> tuple[Tensor, ...]:
        confusion = soft_confusion(logits, target, **options)
        return tuple(confusion[name] for name in names)

    assert torch.autograd.gradcheck(sums, logits)
    assert torch.autograd.gradgradcheck(sums, logits, fast_mode=True)


def test_torch_func_sees_through_the_pass() -> None:
    logits, mask = torch.randn(4, 1, 6, dtype=torch.float64), torch.randint(0, 2, (4, 1, 6))

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return soft_confusion(x[None], y[None]).cross_entropy.sum()

    per_sample = torch.func.vmap(torch.func.grad(loss))(logits, mask)
    torch.testing.assert_close(per_sample, logits.sigmoid() - mask)


def test_tracers_see_through_the_pass() -> None:
    labels = torch.tensor([[0, 2, 1, 1]])

    def loss(logits: Tensor) -> Tensor:
        return soft_confusion(logits, labels, n_classes=3).cross_entropy.sum()

    logits = torch.randn(1, 3, 4)
    for traced in (make_fx(loss)(logits), torch.compile(loss, backend="eager", fullgraph=True)):
        torch.testing.assert_close(traced(logits), loss(logits))


def test_batches_without_pixels_have_sums_of_zero() -> None:
    for shape in [(0, 3, 4), (2, 3, 0)]:
        logits = torch.randn(shape, requires_grad=True)
        labels = torch.zeros(shape[0], shape[2], dtype=torch.long)
        confusion = soft_confusion(logits, labels, n_classes=3)
        assert all(value.sum() == 0 for value in confusion.sums.values())


def test_a_million_float32_pixels_keep_their_digits() -> None:
    logits, labels = torch.randn(1, 2, 1024, 1024), torch.randint(0, 2, (1, 1024, 1024))
    options = {"n_classes": 2, "activation": "softmax"}
    single = soft_confusion(logits, labels, **options)
    double = soft_confusion(logits.double(), labels, **options)
    for name in single.sums:
        torch.testing.assert_close(single[name], double[name], rtol=3e-8, atol=0, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_given_probabilities_of_any_size_have_finite_gradients(dtype: torch.dtype) -> None:
    tiny = torch.tensor([0, 1e-40, 1e-20, 1e-13, 1e-11, 1e-9, 6e-8, 1e-4, 0.4999, 0.5], dtype=dtype)
    values = torch.cat([tiny, 1 - tiny]).reshape(1, 1, -1)
    known = values * (1 - values) > 1e-12  # below, PyTorch's slope is none of a logarithm's
    for mask in (torch.zeros_like(values), torch.ones_like(values)):
        ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
        soft_confusion(ours, mask, from_logits=False).cross_entropy.sum().backward()
        torch.nn.functional.binary_cross_entropy(theirs, mask, reduction="sum").backward()
        assert ours.grad.isfinite().all()
        torch.testing.assert_close(ours.grad[known], theirs.grad[known], rtol=1e-5, atol=0)
