"""PyTorch's own cases of cross-entropies (BSD-3-Clause), of torch 2.14.

The samples of operators in torch/testing/_internal/common_methods_invocations.py, the modules in
common_modules.py, the criteria in common_nn.py, and the tests of losses in test/test_nn.py. The
grids of shapes, reductions and options are theirs; the numbers are drawn with seeds of ours, and
the expected ones are PyTorch's answers in float64.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss import functional
from tests.peers.case import Case, Cases, drawn, drawn_labels, holds, raises, tensor, values

REDUCTIONS = ("mean", "sum", "none")


def images(x: Tensor) -> Tensor:
    """Returns scores (N, C, *any) or (C,) as (N, C, P)."""
    x = x if x.ndim > 1 else x[None]
    return x.flatten(2) if x.ndim > 2 else x[..., None]


def label_maps(labels: Tensor) -> Tensor:
    """Returns labels (N, *any) or () as (N, P)."""
    labels = labels if labels.ndim else labels[None]
    return labels.flatten(1) if labels.ndim > 1 else labels[:, None]


def parts_by_sign(x: Tensor) -> list[tuple[int, Tensor]]:
    """Returns what is above 0 and what is below; ours takes weights and targets of at least 0."""
    parts = [(1, x.clamp_min(0)), (-1, -x.clamp_max(0))]
    return [(sign, part) for sign, part in parts if bool((part > 0).any())] or [(0, x + 1)]


def total_weight(target: Tensor, weight: Tensor | None, ignore_index: int, dense: bool) -> Tensor:
    """Returns what their mean divides by."""
    if dense:
        return torch.tensor(float(target.numel() // target.shape[1 if target.ndim > 1 else 0]))
    kept = target != ignore_index
    return (kept.double() if weight is None else weight[target.where(kept, 0)] * kept).sum()


def cross_entropy(
    x: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    from_logits: bool = True,
) -> Tensor:
    """Their loss through ours.

    The loss is linear in weights and in dense targets, so that those outside ours' range are
    split by sign and scaled. Their mean over nothing is 0/0.
    """
    dense = target.is_floating_point()
    if label_smoothing > 0 and dense and bool(((target < 0) | (target > 1)).any()):
        classes = target.shape[1 if target.ndim > 1 else 0]
        target = target * (1 - label_smoothing) + label_smoothing / classes
        label_smoothing = 0.0

    def ours(target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
        scale = max(1.0, float(target.max())) if dense and target.numel() else 1.0
        value = scale * functional.cross_entropy(
            images(x),
            images(target) / scale if dense else label_maps(target),
            n_classes=images(x).shape[1],
            from_logits=from_logits,
            ignore_index=None if dense else ignore_index,
            class_weights=weight,
            label_smoothing=label_smoothing,
            reduction=reduction,
        )
        shape = (*x.shape[:1], *x.shape[2:]) if x.ndim > 1 else ()
        return value.reshape(shape) if reduction == "none" else value

    weights = [(1, weight)] if weight is None else parts_by_sign(weight)
    targets = parts_by_sign(target) if dense else [(1, target)]
    over = total_weight(target, weight, ignore_index, dense)
    signs = [sign for sign, _ in (*weights, *targets)]
    if signs == [1, 1] and over != 0:
        return ours(target, weight, reduction)
    inner = "sum" if reduction == "mean" else reduction
    value = torch.stack(
        [i * j * ours(t, w, inner) for (i, w), (j, t) in product(weights, targets)]
    ).sum(0)
    return value / over if reduction == "mean" else value


def nll(x: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Their loss of any scores x: ours of the probabilities exp(x - max), and the shift by max."""
    shift = x.max().clamp_min(0.0) if x.numel() else torch.zeros((), dtype=x.dtype)
    value = cross_entropy((x - shift).exp(), target, from_logits=False, **options)
    if shift == 0:
        return value
    nothing = torch.zeros_like(x)
    return value - shift * -F.nll_loss(nothing + 1, target, **options)


def binary(
    x: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
    from_logits: bool = True,
) -> Tensor:
    """Their loss through ours: weights of any broadcast shape and sign, targets of any value."""
    as_images = (*x.shape, 1) if x.ndim == 2 else (1, 1, -1)

    def ours(target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
        value = functional.binary_cross_entropy(
            x.reshape(as_images),
            target.reshape(as_images),
            from_logits=from_logits,
            pixel_weights=None if weight is None else weight.expand_as(x).reshape(as_images),
            pos_weight=pos_weight,
            reduction=reduction,
        )
        if reduction == "mean" and weight is not None:
            return value * weight.expand_as(x).mean()  # theirs divides by the number of elements
        return value.reshape(x.shape) if reduction == "none" else value

    if bool(((target < 0) | (target > 1)).any()):  # linear in the target
        at_0, at_1 = (binary(x, torch.full_like(x, v), reduction="none") for v in (0.0, 1.0))
        value = at_0 + target * (at_1 - at_0)
        return {"none": value, "sum": value.sum(), "mean": value.mean()}[reduction]
    if weight is None or bool((weight >= 0).all()):
        return ours(target, weight, reduction)
    value = weight * ours(target, None, "none")
    return {"none": value, "sum": value.sum(), "mean": value.mean()}[reduction]


OURS = {
    F.cross_entropy: cross_entropy,
    F.nll_loss: nll,
    F.binary_cross_entropy_with_logits: binary,
    F.binary_cross_entropy: partial(binary, from_logits=False),
}


def case(name: str, theirs: Any, x: Tensor, target: Tensor, **options: Any) -> Case:
    expected = theirs(x, target, **options)
    ours = partial(OURS[theirs], x, target, **options)
    described = ", ".join(
        f"{key} {tuple(value.shape) if isinstance(value, Tensor) else value}"
        for key, value in options.items()
    )
    place = f"{name} {tuple(x.shape)}{' ' + described if described else ''}"

    def check() -> None:
        result = ours()
        assert result.shape == expected.shape
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9, equal_nan=True)

    return Case(place, check)


def probabilities(seed: int, *shape: int) -> Tensor:
    return drawn(seed, *shape).sigmoid()


def samples_of_cross_entropy() -> Cases:
    shape = (2, 3)
    rows: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        *[((*shape, *space), {}) for space in ((), (1,), (1, 2), (1, 2, 3))],
        *[(shape, {"reduction": reduction}) for reduction in REDUCTIONS],
        *[(shape, {"weight": 4 * drawn(7, 3), "reduction": r}) for r in REDUCTIONS],
        (shape, {"ignore_index": 1}),
    ]
    for (size, options), dense in product(rows, (False, True)):
        if dense and "ignore_index" in options:
            continue
        labels = drawn_labels(4, 3, 2, *size[2:])
        target = probabilities(3, *size) if dense else labels
        kind = "dense" if dense else "labels"
        yield case(
            f"sample: cross_entropy, {kind}", F.cross_entropy, drawn(1, *size), target, **options
        )


def samples_of_nll() -> Cases:
    weights = {"any": 4 * drawn(7, 3), "above 0": drawn(7, 3).abs(), "below 0": -drawn(7, 3).abs()}
    for reduction, size in product(REDUCTIONS, ((2, 3), (3,), (2, 3, 2, 2))):
        labels = drawn_labels(4, 3, *((size[0], *size[2:]) if len(size) > 1 else ()))
        kept = torch.zeros_like(labels) if bool((labels == 1).all()) else labels
        rows: list[tuple[str, Tensor, dict[str, Any]]] = [
            ("", labels, {}),
            *[(f", weights {sign}", labels, {"weight": w}) for sign, w in weights.items()],
            (", ignored", kept, {"ignore_index": 1}),
            (", ignored, weights", kept, {"ignore_index": 1, "weight": weights["any"]}),
        ]
        if reduction != "mean":
            rows.append((", all ignored", torch.zeros_like(labels), {"ignore_index": 0}))
        for kind, target, options in rows:
            x = 4 * drawn(2, *size)
            yield case(
                f"sample: nll_loss{kind}", F.nll_loss, x, target, reduction=reduction, **options
            )
    below = torch.tensor([-1, 2])
    yield case("sample: nll_loss, -1", F.nll_loss, drawn(1, 2, 3), below, ignore_index=-1)


def samples_of_binary() -> Cases:
    side = 5
    both = {"with_logits": F.binary_cross_entropy_with_logits, "": F.binary_cross_entropy}
    for kind, theirs in both.items():
        make = drawn if kind else probabilities
        name = f"sample: binary_cross_entropy {kind}".strip()
        for size in ((), (1,), (side,), (side, side), (side, side, side)):
            yield case(name, theirs, make(1, *size), probabilities(2, *size))
        square = (side, side)
        rows: list[dict[str, Any]] = [{}, {"weight": 4 * drawn(3, *square)}]
        if kind:
            positive = drawn(4, side).abs()
            shapes = ((1,), (1, side), (side,))
            rows += [{"weight": 4 * drawn(3, *size)} for size in shapes]
            rows += [
                {"pos_weight": positive},
                {"weight": rows[1]["weight"], "pos_weight": positive},
            ]
        for reduction, options in product(REDUCTIONS, rows):
            x, target = make(1, *square), probabilities(2, *square)
            yield case(name, theirs, x, target, reduction=reduction, **options)


def modules() -> Cases:
    weight = drawn(7, 4).abs()
    rows: list[dict[str, Any]] = [
        {},
        {"reduction": "sum"},
        {"reduction": "none"},
        {"ignore_index": 2},
        {"weight": weight},
        {"weight": weight, "ignore_index": 2},
        {"weight": weight, "ignore_index": -1},
    ]
    sizes = ((15, 4), (2, 4, 5, 5), (2, 4, 5, 5, 2, 2), (2, 4, 5))
    for options, size in product(rows, sizes):
        x, labels = drawn(1, *size).log_softmax(1), drawn_labels(2, 4, size[0], *size[2:])
        yield case("module: NLLLoss", F.nll_loss, x, labels, **options)
    binaries = {
        "BCELoss": F.binary_cross_entropy,
        "BCEWithLogitsLoss": F.binary_cross_entropy_with_logits,
    }
    for name, theirs in binaries.items():
        x, masks = drawn(1, 15, 10).sigmoid(), drawn(2, 15, 10).gt(0).double()
        for options in [{}, *[{"reduction": r} for r in REDUCTIONS], {"weight": drawn(3, 10)}]:
            yield case(f"module: {name}", theirs, x, masks, **options)
        scalar = (x[0, 0], masks[0, 0]) if name == "BCELoss" else (x, masks)
        yield case(f"module: {name}, one weight", theirs, *scalar, weight=drawn(3))
    yield from modules_of_cross_entropy()


def modules_of_cross_entropy() -> Cases:
    rows: list[dict[str, Any]] = [
        {},
        {"weight": drawn(7, 3)},
        {"ignore_index": 1},
        {"label_smoothing": 0.15},
        {"ignore_index": 1, "label_smoothing": 0.15},
    ]
    for reduction, options in product(REDUCTIONS, rows):
        arguments = {"reduction": reduction, **options}
        for size in ((2, 3, 5, 5), (2, 3, 5), (2, 3), (2, 3, 5, 5, 2, 2)):
            labels = drawn_labels(2, 3, size[0], *size[2:])
            yield case(
                "module: CrossEntropyLoss", F.cross_entropy, drawn(1, *size), labels, **arguments
            )
        if "ignore_index" not in options:
            for size in ((5, 3, 4, 2), (5, 3, 4), (5, 3), (2, 3, 5, 5, 2, 2)):
                dense, name = drawn(2, *size).softmax(1), "module: CrossEntropyLoss, dense"
                yield case(name, F.cross_entropy, drawn(1, *size), dense, **arguments)
            one = torch.tensor(1)
            yield case("module: CrossEntropyLoss", F.cross_entropy, drawn(1, 3), one, **arguments)


def criteria() -> Cases:
    masks, weights = drawn(2, 15, 10).gt(0).double(), drawn(3, 10).sigmoid()
    probability, name = drawn(1, 15, 10).sigmoid(), "criterion: binary_cross_entropy"
    logits_name, none = f"{name}_with_logits", {"reduction": "none"}
    of_logits = F.binary_cross_entropy_with_logits
    yield case(name, F.binary_cross_entropy, probability, masks, **none)
    yield case(name, F.binary_cross_entropy, probability[0, 0], masks[0, 0], **none)
    yield case(name, F.binary_cross_entropy, probability, masks, weight=weights, **none)
    one = {"weight": weights[0], **none}
    yield case(name, F.binary_cross_entropy, probability[0, 0], masks[0, 0], **one)
    yield case(logits_name, of_logits, probability, masks, **none)
    yield case(f"{logits_name}, reduce=False", of_logits, probability, masks, **none)
    yield case(logits_name, of_logits, probability[0, 0], masks[0, 0], **none)
    for size in ((15, 10), (2, 3, 5, 5), (2, 3, 5, 5, 2, 2)):
        x, labels = probabilities(1, *size).log(), drawn_labels(2, size[1], size[0], *size[2:])
        weight, ignored = drawn(3, size[1]).sigmoid(), 2 if len(size) == 2 else 1
        rows: list[dict[str, Any]] = [{}, {"ignore_index": ignored}, {"weight": weight}]
        if len(size) == 2:
            rows += [{"weight": weight, "ignore_index": index} for index in (2, -1)]
        for options in rows:
            yield case("criterion: nll_loss", F.nll_loss, x, labels, **none, **options)
    for reduction in REDUCTIONS:
        options = {"reduction": reduction}
        name = "criterion without a batch:"
        yield case(
            f"{name} BCELoss", F.binary_cross_entropy, probabilities(1, 9), masks[0, :9], **options
        )
        yield case(f"{name} BCEWithLogitsLoss", of_logits, drawn(1, 9), drawn(2, 9), **options)
        scores = drawn(1, 3).log_softmax(0)
        yield case(f"{name} NLLLoss", F.nll_loss, scores, torch.tensor(1), **options)


def spaces() -> list[tuple[int, ...]]:
    """From no spatial axis to four."""
    return [(4, 3, 1, 2)[:axes] for axes in range(5)]


def tests_of_cross_entropy() -> Cases:
    """What test_nn.py says of targets of probabilities, of weights and of label smoothing."""
    theirs, weight = F.cross_entropy, drawn(7, 4).abs()
    for space, reduction in product(spaces(), REDUCTIONS):
        size, options = (5, 4, *space), {"reduction": reduction}
        x, labels, dense = drawn(1, *size), drawn_labels(2, 4, 5, *space), drawn(3, *size)
        one_hot = F.one_hot(labels, 4).movedim(-1, 1).double()
        for weighted in ({}, {"weight": weight}):
            yield case("test: dense targets of any value", theirs, x, dense, **options, **weighted)
            if not weighted or reduction != "mean":
                yield case("test: one-hot targets", theirs, x, one_hot, **options, **weighted)
        yield even_weights("test: even weights, labels", x, labels, reduction)
        yield even_weights("test: even weights, dense", x, dense.softmax(1), reduction)
        for smoothing in (0.05, 0.15):
            smooth = {"label_smoothing": smoothing, **options}
            yield case("test: smoothed labels", theirs, x, labels, **smooth)
            yield case("test: smoothed dense", theirs, x, dense.log_softmax(1), **smooth)
    weights = (None, torch.tensor([0.3, 0.6], dtype=torch.float64))
    for reduction, smoothing, weight, ignored in product(
        REDUCTIONS, (0.05, 0.15), weights, (-100, -2, 2)
    ):
        yield ignored_and_smoothed(reduction, smoothing, weight, ignored)
    for dense in (False, True):
        target = probabilities(2, 4, 4) if dense else torch.arange(4)
        arguments = {"label_smoothing": 1.2}
        name = f"test: label_smoothing=1.2, {'dense' if dense else 'labels'}"
        yield raises(name, partial(cross_entropy, drawn(1, 4, 4), target, **arguments))


def even_weights(name: str, x: Tensor, target: Tensor, reduction: str) -> Case:
    ours = partial(cross_entropy, x, target, reduction=reduction)
    weighted = partial(ours, weight=torch.ones(x.shape[1], dtype=x.dtype))
    place = f"{name} {tuple(x.shape)} {reduction}"
    return values(place, weighted, ours, rtol=1e-12)


def ignored_and_smoothed(
    reduction: str, smoothing: float, weight: Tensor | None, ignored: int
) -> Case:
    """The logits of an ignored sample do not matter, and it does not count in the mean."""
    target = torch.tensor([ignored, 1])
    one, other = tensor([[0.3, 0.4], [1, 2]]), tensor([[0.3, 0.6], [1, 2]])
    ours = partial(
        cross_entropy,
        weight=weight,
        label_smoothing=smoothing,
        ignore_index=ignored,
        reduction=reduction,
    )

    def same() -> bool:
        value = ours(one, target)
        alone = value if reduction == "none" else ours(other[1:], target[1:])
        return torch.equal(value, ours(other, target)) and torch.allclose(value, alone)

    weighted = "" if weight is None else ", weighted"
    name = f"test: ignored {ignored}{weighted}, smoothing {smoothing}, {reduction}"
    return holds(name, same)


def tests_of_nll() -> Cases:
    for size, expected in product(((0, 3), (0, 3, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0)), REDUCTIONS):
        x = torch.zeros(size, dtype=torch.float64)
        labels = torch.zeros((size[0], *size[2:]), dtype=torch.long)
        yield case("test: nll_loss of nothing", F.nll_loss, x, labels, reduction=expected)
    for size, reduction in product(((2, 3), (2, 3, 5, 7)), REDUCTIONS):
        x, zeros = drawn(1, *size).log_softmax(1), torch.zeros((2, *size[2:]), dtype=torch.long)
        options = {"reduction": reduction}
        nothing = torch.zeros(3, dtype=torch.float64)
        yield case("test: no weight", F.nll_loss, x, zeros, weight=nothing, **options)
        yield case("test: all ignored", F.nll_loss, x, zeros, ignore_index=0, **options)
    x, labels = drawn(1, 10, 3).log_softmax(1), drawn_labels(2, 3, 10)
    labels[0] = 255
    yield case("test: an ignored label that is no class", F.nll_loss, x, labels, ignore_index=255)
    kept = labels.clamp_max(2)
    in_bytes = partial(nll, x, kept.to(torch.uint8))
    yield values("test: labels in bytes", in_bytes, F.nll_loss(x, kept), rtol=1e-12)
    for name, scores, wrong, weight in [
        ("other batch", (3, 3), (2,), None),
        ("target with too many axes", (3, 3), (3, 2, 2), None),
        ("other size", (1, 3, 5, 5), (1, 4, 5), None),
        ("too few weights", (3, 3), (3,), (2,)),
        ("too many weights", (3, 3), (3,), (4,)),
        ("weights with two axes", (3, 3), (3,), (1, 3)),
    ]:
        weights = None if weight is None else torch.ones(weight, dtype=torch.float64)
        zeros = torch.zeros(wrong, dtype=torch.long)
        yield raises(
            f"test: nll_loss, {name}",
            partial(cross_entropy, drawn(1, *scores), zeros, weight=weights),
        )


def tests_of_binary() -> Cases:
    of_logits = F.binary_cross_entropy_with_logits
    x, target = drawn(1, 16, 4), probabilities(2, 16, 4)
    weight = probabilities(3, 4)
    as_probabilities = partial(binary, x.sigmoid(), target, from_logits=False)
    yield values(
        "test: logits and their sigmoid", as_probabilities, of_logits(x, target), rtol=1e-9
    )
    for theirs, prediction in ((of_logits, x), (F.binary_cross_entropy, x.sigmoid())):
        name = f"test: weights are broadcast, {theirs.__name__},"
        for shaped in (weight, weight.expand(16, 4), probabilities(3, 16, 1)):
            yield case(name, theirs, prediction, target, weight=shaped)
    ones = torch.ones(4, dtype=torch.float64)
    yield case("test: even pos_weight", of_logits, x, target, pos_weight=ones)
    yield case("test: pos_weight", of_logits, x, target, pos_weight=weight)
    for weights in (None, torch.ones(3, dtype=torch.float64)):
        with_ = "with" if weights is not None else "without"
        slope = partial(slope_at_0, weights)
        yield holds(f"test: the slope at 0 is -1/2, {with_} pos_weight", slope)
    for value, right, expected in [(50.0, 1.0, 0.0), (-50.0, 0.0, 0.0), (-100.0, 1.0, 100.0)]:
        far = torch.full((1, 1), value, dtype=torch.float64)
        stable = partial(binary, far, torch.full_like(far, right))
        yield values(f"test: binary_cross_entropy of {value}, {right}", stable, expected, atol=1e-9)
    nonnegative = partial(binary, torch.ones(3), torch.ones(3), from_logits=False)
    yield holds("test: binary_cross_entropy is not negative", lambda: bool(nonnegative() >= 0))
    for wrong in (-0.5, 1.5):
        outside = torch.full((1, 1), wrong)
        yield raises(
            f"test: a probability of {wrong}",
            partial(binary, outside, torch.ones(1, 1), from_logits=False),
        )
    yield raises(
        "test: a target of another size",
        partial(functional.binary_cross_entropy, drawn(1, 1, 1, 5), drawn(2, 1, 1, 4).sigmoid()),
    )


def slope_at_0(pos_weight: Tensor | None) -> bool:
    logits = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    loss = binary(logits, torch.ones_like(logits), pos_weight=pos_weight, reduction="sum")
    (slope,) = torch.autograd.grad(loss, logits)
    return bool((slope == -0.5).all())


def cases() -> Cases:
    yield from samples_of_cross_entropy()
    yield from samples_of_nll()
    yield from samples_of_binary()
    yield from modules()
    yield from criteria()
    yield from tests_of_cross_entropy()
    yield from tests_of_nll()
    yield from tests_of_binary()
