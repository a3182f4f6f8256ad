"""Random losses with batches for them, each printed as the code that makes it again.

A `Configuration` is plain values, and its tensors follow from them and its seed: a failing one can
be made smaller by hand. `drawn(seed)` draws one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor

import segloss
from segloss import CompoundLoss, SegLoss
from segloss.functional import TERM_FUNCTIONS
from segloss.terms import TERMS
from tests.support.pixel_batches import laid_out

Terms = dict[str, dict[str, Any]]

DOORS = ("SegLoss", "extra_terms", "coefficients", "CompoundLoss", "functional")
LAYOUTS = ("contiguous", "channels last", "strided", "transposed", "offset", "expanded")
MAPS = {"boundary": "gt_distance_map", "skeleton_recall": "gt_skeleton"}
OF_PIXELS = (
    "cross_entropy",
    "focal",
    "poly1",
    "generalized_cross_entropy",
    "symmetric_cross_entropy",
    "balanced_cross_entropy",
)
NOT_MICRO = ("unified_focal", "generalized_wasserstein_dice", "region_size_l1", "region_size_kl")
WITH_ENTROPY = ("cross_entropy", "poly1", "symmetric_cross_entropy")


class Tensors(NamedTuple):
    """What a loss is given."""

    prediction: Tensor
    target: Tensor
    weights: Tensor | None
    annotated: Tensor | None
    maps: dict[str, Tensor]

    def to(self, device: str) -> Tensors:
        moved = [None if each is None else each.to(device) for each in self[:4]]
        return Tensors(*moved, {key: each.to(device) for key, each in self.maps.items()})


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A loss, the door to it, and a batch.

    Attributes:
        seed: Of the tensors' random values.
        terms: The parameters of each term, with "coef".
        shape: Of the predictions, (N, C, *spatial).
        scale: The deviation of the logits; 0 for constant ones.
        offset: Added to all logits.
        margin: Added to the logits where the target is, and subtracted elsewhere; negative for
            wrong predictions.
        infinite: The share of logits that are infinite, where that is a limit of a finite loss.
        labels: If the target is a label map, with or without an axis for channels.
        content: "random", "soft", "empty" (class 0), "full" (the last class) or "absent" (some).
        ignored: The pixels with the `ignore_index`: "some", "samples" or "all".
        weights: Of "pixels", "channels", or none.
        zeros: The share of weights that are 0.
        nan: If predictions of pixels that are left out are NaN.
        annotated: If some classes are not annotated in some samples.
    """

    seed: int
    terms: Terms
    activation: str
    shape: tuple[int, ...]
    door: str = "SegLoss"
    dtype: str = "float32"
    from_logits: bool = True
    scale: float = 1.0
    offset: float = 0.0
    margin: float = 0.0
    infinite: float = 0.0
    labels: bool = False
    with_axis: bool = False
    content: str = "random"
    target_dtype: str = "int64"
    ignore_index: int | None = None
    ignored: str = "some"
    weights: str = ""
    zeros: float = 0.0
    weights_dtype: str = "float32"
    nan: bool = False
    class_weights: list[float] | None = None
    pos_weight: list[float] | None = None
    label_smoothing: float = 0.0
    annotated: bool = False
    merge_unannotated: bool = False
    layout: str = "contiguous"
    target_layout: str = "contiguous"
    reduction: str = "mean"

    def __repr__(self) -> str:
        values = [(each, getattr(self, each.name)) for each in fields(self)]
        shown = [f"{each.name}={value!r}" for each, value in values if value != each.default]
        return f"Configuration({', '.join(shown)})"

    @property
    def exclusive(self) -> bool:
        return self.activation == "softmax"

    def options(self) -> dict[str, Any]:
        """The options that the textbook and all doors name alike."""
        return {
            "from_logits": self.from_logits,
            "ignore_index": self.ignore_index,
            "class_weights": self.class_weights,
            "pos_weight": self.pos_weight,
        }

    def tensors(self) -> Tensors:
        generator = torch.Generator().manual_seed(self.seed)
        samples, channels = self.shape[:2]

        def rand(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, dtype=torch.float64)

        g = self._dense_target(rand)  # (N, C, *spatial) in float64
        noise = torch.randn(self.shape, generator=generator).double()
        logits = (self.scale * noise).clamp(-80, 80)  # float64 has the squares of their p
        logits = logits + self.offset + self.margin * (2 * g - 1)
        limits = torch.where(g > 0.5, torch.inf, -torch.inf)
        chosen = (rand(*self.shape) < self.infinite) & ~((g > 0.5) & self.exclusive)
        logits = torch.where(chosen, limits, logits)
        target = g.argmax(1, keepdim=True).double() if self.labels else g
        left_out = torch.zeros(target.shape, dtype=torch.bool)
        if self.ignore_index is not None:
            left_out = {
                "some": rand(*target.shape) < 0.3,
                "samples": (torch.arange(samples) % 2 == 0).view(-1, *[1] * (target.ndim - 1)),
                "all": torch.tensor(True),
            }[self.ignored].expand(target.shape)
            if not _holds(self.target_dtype, self.ignore_index):
                left_out = torch.zeros_like(left_out)
            target = target.masked_fill(left_out, self.ignore_index)
        target = target.to(getattr(torch, self.target_dtype))
        weights = self._weights(rand)
        prediction = self._prediction(logits)
        if self.nan:
            left_out = left_out.any(1, keepdim=True) if self.exclusive else left_out
            left_out = left_out | (weights == 0) if weights is not None else left_out
            prediction = prediction.masked_fill(left_out, torch.nan)
        if self.labels and not self.with_axis:
            target = target[:, 0]
        annotated = rand(samples, channels) < 0.6 if self.annotated else None
        maps = {
            "gt_distance_map": (6 * rand(*self.shape) - 3).float(),
            "gt_skeleton": (rand(*self.shape) < 0.3).to(torch.uint8),
        }
        return Tensors(
            laid_out(prediction, self.layout),
            laid_out(target, self.target_layout),
            weights,
            annotated,
            {key: maps[key] for name, key in MAPS.items() if name in self.terms},
        )

    def _dense_target(self, rand: Callable[..., Tensor]) -> Tensor:
        samples, channels, *spatial = self.shape
        values = rand(*self.shape)
        if not self.exclusive:
            constants = {"empty": 0.0, "full": 1.0}
            if self.content in constants:
                return torch.full(self.shape, constants[self.content]).double()
            if self.content == "soft":
                return torch.where(rand(*self.shape) < 0.3, values.round(), values)
            hit = (values < 0.4).double()
            if self.content == "absent":
                hit[:, ::2] = 0
            return hit
        if self.content == "soft":
            return (4 * values).softmax(1)
        among = {"empty": 1, "absent": max(1, channels // 2)}.get(self.content, channels)
        labels = (rand(samples, *spatial) * among).long()
        if self.content == "full":
            labels = torch.full_like(labels, channels - 1)
        return torch.stack([labels == c for c in range(channels)], 1).double()

    def _weights(self, rand: Callable[..., Tensor]) -> Tensor | None:
        if not self.weights:
            return None
        samples, channels, *spatial = self.shape
        shape = (samples, channels if self.weights == "channels" else 1, *spatial)
        values = 3 * rand(*shape) + 0.01
        values = values.masked_fill(rand(*shape) < self.zeros, 0)
        return (
            values.ceil().to(getattr(torch, self.weights_dtype))
            if (self.weights_dtype in ("uint8", "bool"))
            else values.to(getattr(torch, self.weights_dtype))
        )

    def _prediction(self, logits: Tensor) -> Tensor:
        dtype = getattr(torch, self.dtype)
        if self.from_logits:
            largest = torch.finfo(dtype).max / 4
            return torch.where(logits.isinf(), logits, logits.clamp(-largest, largest)).to(dtype)
        p = logits.softmax(1) if self.exclusive else logits.sigmoid()
        # Classes that are added up must not exceed 1; an empty prediction has no divergence, and
        # min(p, g) has no slope at p = g
        if self.annotated or self._has_kinks():
            p = 0.02 + 0.96 * p if not self.exclusive else 0.96 * p + 0.02 / p.shape[1]
        return p.to(dtype)

    def _has_kinks(self) -> bool:
        metric = any(each.get("soft_labels") == "metric" for each in self.terms.values())
        return metric or "region_size_kl" in self.terms

    def value(self, tensors: Tensors, prediction: Tensor) -> Tensor:
        """The loss of the package for a prediction, through the door."""
        call = {
            "CompoundLoss": self._compound_loss,
            "functional": self._function,
        }.get(self.door, self._seg_loss)
        return call(tensors, prediction)

    @property
    def n_classes(self) -> int:
        return self.shape[1] if self.exclusive else 2

    def _seg_loss(self, tensors: Tensors, prediction: Tensor) -> Tensor:
        terms: dict[str, Any] = {"terms": self.terms}
        if self.door == "extra_terms":
            terms = {"extra_terms": self.terms, "bce_coef": 0, "dice_coef": 0}
        if self.door == "coefficients":
            terms = self._coefficients()
        loss = SegLoss(
            n_classes=self.n_classes,
            activation=self.activation,
            use_label_smooth=self.label_smoothing > 0,
            smooth_factor=self.label_smoothing,
            merge_unannotated=self.merge_unannotated,
            **self.options(),
            **terms,
        )
        batch = {"gt_polygons_image": tensors.target, **tensors.maps}
        if tensors.weights is not None:
            batch["seg_loss_weights"] = tensors.weights
        if tensors.annotated is not None:
            batch["annotated"] = tensors.annotated
        return loss({"seg": prediction}, batch)[0]

    def _coefficients(self) -> dict[str, Any]:
        """The three terms of the arguments of `SegLoss`, which share the region's parameters."""
        given = {name: dict(each) for name, each in self.terms.items()}
        names = {"cross_entropy": "bce_coef", "dice": "dice_coef"}
        names["focal_tversky"] = "tversky_focal_coef"
        arguments = {key: given.get(name, {}).pop("coef", 0.0) for name, key in names.items()}
        for key in ("alpha", "beta", "gamma"):
            if key in given.get("focal_tversky", {}):
                arguments[f"tversky_{key}"] = given["focal_tversky"].pop(key)
        for parameters in given.values():
            arguments |= parameters
        return arguments

    def _compound_loss(self, tensors: Tensors, prediction: Tensor) -> Tensor:
        mixture = None
        for name, each in self.terms.items():
            parameters = dict(each)
            addend = parameters.pop("coef") * TERMS[name](**parameters)
            mixture = addend if mixture is None else mixture + addend
        modes = ("binary", "multilabel") if self.shape[1] == 1 else ("multilabel",)
        mode = "multiclass" if self.exclusive else modes[self.seed % len(modes)]
        loss = CompoundLoss(
            mixture,
            mode,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
            **self.options(),
        )
        return loss(prediction, tensors.target, pixel_weights=tensors.weights, maps=tensors.maps)

    def _function(self, tensors: Tensors, prediction: Tensor) -> Tensor:
        common = {**self.options(), "pixel_weights": tensors.weights, "reduction": self.reduction}
        [name, *others] = self.terms
        parameters = {key: value for key, value in self.terms[name].items() if key != "coef"}
        if self.terms[name]["coef"] == 1 and not others:
            if name == "cross_entropy":
                common["label_smoothing"] = self.label_smoothing
                if not self.exclusive:
                    return segloss.functional.binary_cross_entropy(
                        prediction, tensors.target, **common
                    )
                common.pop("pos_weight")
                return segloss.functional.cross_entropy(prediction, tensors.target, **common)
            if name not in WITH_ENTROPY:  # the others have no use for these
                for key in ("class_weights", "pos_weight"):
                    common.pop(key)
                return TERM_FUNCTIONS[name](
                    prediction,
                    tensors.target,
                    n_classes=self.n_classes,
                    activation=self.activation,
                    maps=tensors.maps,
                    **common,
                    **parameters,
                )
        return segloss.functional.seg_loss(
            prediction,
            tensors.target,
            n_classes=self.n_classes,
            activation=self.activation,
            label_smoothing=self.label_smoothing,
            maps=tensors.maps,
            terms=self.terms,
            **common,
        )


def _holds(dtype: str, value: int) -> bool:
    """If a dtype has the number."""
    tensor = torch.tensor(value, dtype=torch.float64)
    kind = getattr(torch, dtype)
    if kind == torch.bool:
        return value in (0, 1)
    if not kind.is_floating_point:
        return torch.iinfo(kind).min <= value <= torch.iinfo(kind).max
    return bool(tensor.to(kind) == tensor)


def drawn(seed: int) -> Configuration:
    """The configuration of a seed."""
    return _Draw(seed).configuration()


class _Draw:
    """The decisions of one configuration, each with the odds that make rare things common."""

    def __init__(self, seed: int) -> None:
        self.random, self.seed = Random(seed), seed  # noqa: S311

    def one_of(self, *values: Any) -> Any:
        return self.random.choice(values)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def number(self, *special: float, low: float = 0.0, high: float = 2.0) -> float:
        """A special number half of the time, or one between low and high, of three digits."""
        if special and self.chance(0.5):
            return self.one_of(*special)
        return round(self.random.uniform(low, high), 3)

    def weights(self, count: int) -> list[float]:
        """Weights of classes, not all of them 0."""
        values = [self.number(0.0, 1.0, 2.0) for _ in range(count)]
        return values if any(values) else [1.0] * count

    def configuration(self) -> Configuration:
        exclusive = self.chance(0.5)
        shape = self.shape(exclusive)
        channels = shape[1]
        door = self.one_of(*DOORS)
        reduction = "mean"
        if door in ("CompoundLoss", "functional") and self.chance(0.5):
            reduction = self.one_of("none", "none", "none", "sum")
        terms = self.terms(door, reduction, exclusive, channels)
        dense = not exclusive or self.chance(0.25)
        content = self.one_of("random", "random", "random", "soft", "empty", "full", "absent")
        if content == "soft" and not dense:
            content = "random"
        target_dtype = self.target_dtype(dense, content, channels)
        ignore_index = self.ignore_index(dense, exclusive, channels) if self.chance(0.5) else None
        from_logits = self.chance(0.85)
        weights = self.one_of("", "", "pixels", "pixels" if exclusive else "channels")
        smoothing = self.number(0.1, low=0.0, high=1.0) if self.chance(0.25) else 0.0
        annotated = door in ("SegLoss", "extra_terms", "coefficients") and self.chance(0.15)
        needs_merging = any(name in (*OF_PIXELS, "unified_focal") for name in terms)
        merging = annotated and exclusive and (needs_merging or self.chance(0.5))
        if merging:
            smoothing = 0.0
            ignore_index = None if ignore_index == 0 else ignore_index  # merged pixels have 0
        can_be_infinite = from_logits and smoothing == 0 and content != "soft"
        scale, offset, margin = self.logits()
        if "region_size_l1" in terms:  # whose slope has no side where the sizes are the same
            scale = scale or 0.1
        left_out = ignore_index is not None or weights
        layout, target_layout = self.one_of(*LAYOUTS), self.one_of(*LAYOUTS)
        if "expanded" in (layout, target_layout):  # then predictions are not of their own targets
            can_be_infinite = left_out = False
        return Configuration(
            seed=self.seed,
            terms=terms,
            activation="softmax" if exclusive else "sigmoid",
            shape=shape,
            door=door,
            dtype=self.one_of("float32", "float32", "float32", "float64", "float16", "bfloat16"),
            from_logits=from_logits,
            scale=scale,
            offset=offset,
            margin=margin,
            infinite=self.one_of(0.1, 0.5, 1.0) if can_be_infinite and self.chance(0.15) else 0.0,
            labels=not dense,
            with_axis=not dense and self.chance(0.5),
            content=content,
            target_dtype=target_dtype,
            ignore_index=ignore_index,
            ignored=self.one_of("some", "some", "samples", "all")
            if ignore_index is not None
            else "some",
            weights=weights,
            zeros=self.one_of(0.0, 0.2, 0.9, 1.0) if weights else 0.0,
            weights_dtype=self.one_of("float32", "float64", "float16", "uint8", "bool")
            if weights
            else "float32",
            nan=bool(left_out) and self.chance(0.3),
            class_weights=self.weights(channels) if self.chance(0.3) else None,
            pos_weight=self.weights(self.one_of(1, channels))
            if not exclusive and self.chance(0.25)
            else None,
            label_smoothing=smoothing,
            annotated=annotated,
            merge_unannotated=merging,
            layout=layout,
            target_layout=target_layout,
            reduction=reduction,
        )

    def shape(self, exclusive: bool) -> tuple[int, ...]:
        samples = 0 if self.chance(0.03) else self.one_of(1, 2, 3)
        few = self.one_of(2, 3, 4) if exclusive else self.one_of(1, 1, 2, 3)
        many = self.one_of(5, 8, 16, 17, 33, 40)
        channels = 171 if self.chance(0.02) else many if self.chance(0.15) else few
        if self.chance(0.1):
            return samples, channels, *[1] * self.one_of(1, 2, 3)
        if self.chance(0.02) and channels < 5:
            return samples, channels, self.one_of(4097, 5000)
        sides = {1: 40, 2: 9, 3: 4} if channels < 100 else {1: 8, 2: 3, 3: 2}
        dimensions = self.one_of(1, 2, 3)
        return (
            samples,
            channels,
            *(self.random.randint(1, sides[dimensions]) for _ in range(dimensions)),
        )

    def logits(self) -> tuple[float, float, float]:
        """Their scale, offset and margin."""
        kind = self.random.random()
        if kind < 0.5:
            return self.one_of(0.1, 1.0, 3.0), 0.0, 0.0
        if kind < 0.65:
            return self.one_of(10.0, 30.0, 100.0), 0.0, 0.0
        if kind < 0.75:
            return 0.0, self.one_of(0.0, -100.0, -30.0, -17.0, 17.0, 30.0, 100.0), 0.0
        return (
            self.one_of(0.1, 1.0),
            0.0,
            self.one_of(3.0, 8.0, 15.0, 50.0, -3.0, -8.0, -15.0, -55.0),
        )

    def target_dtype(self, dense: bool, content: str, channels: int) -> str:
        floating = ("float32", "float64", "float16", "bfloat16")
        if content == "soft":
            return self.one_of(*floating)
        if dense:
            return self.one_of("bool", "uint8", "int64", "int16", *floating)
        return self.one_of(
            "uint8", "uint8", "int16", "int32", "int64", "int64", "float32", "float16"
        )

    def ignore_index(self, dense: bool, exclusive: bool, channels: int) -> int:
        if dense:
            return self.one_of(255, 255, -100, -1, 256, 257, -255)
        return self.one_of(255, 255, -100, -1, 256, 0, channels - 1, channels)

    def terms(self, door: str, reduction: str, exclusive: bool, channels: int) -> Terms:
        region = self.region(reduction, channels)
        if door == "coefficients":
            names = self.random.sample(
                ["cross_entropy", "dice", "focal_tversky"], self.one_of(1, 2, 3)
            )
            terms = {name: {"coef": self.number(1.0, low=0.1)} for name in names}
            for name in names:
                if name == "dice":
                    terms[name]["smooth"] = self.number(1.0, 0.0, 1e-5)
                if name == "focal_tversky":
                    terms[name] |= {key: self.number(0.5, low=0.1) for key in ("alpha", "beta")}
                    terms[name]["gamma"] = self.number(0.75, 1.0, 2.0, low=0.1)
                if name != "cross_entropy":
                    terms[name] |= region
            return terms
        names = self.random.sample([*TERMS], self.one_of(1, 1, 1, 2, 3))
        alone = len(names) == 1 and self.chance(0.7)
        terms = {}
        for name in names:
            own = self.parameters(name, exclusive, channels)
            if name not in OF_PIXELS:
                own |= self.region(reduction, channels)
            if name in NOT_MICRO and own.get("region_reduction") in ("micro", "sample_micro"):
                own["region_reduction"] = "batch"
            terms[name] = {"coef": 1.0 if alone else self.number(1.0, low=0.1), **own}
        return terms

    def region(self, reduction: str, channels: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.chance(0.3):
            found["skip_absent_classes"] = True
        if self.chance(0.4):
            found["soft_labels"] = "metric"
        if reduction == "none":
            return found
        found["region_reduction"] = self.one_of(
            "sample", "sample", "batch", "micro", "sample_micro"
        )
        classes = channels
        if self.chance(0.3):
            classes = self.random.randint(1, channels)
            found["region_classes"] = self.random.sample(range(channels), classes)
        if self.chance(0.3) and found["region_reduction"] in ("sample", "batch"):
            found["region_class_weights"] = self.weights(classes)
        return found

    def overlap_options(self, name: str) -> dict[str, Any]:
        """The smoothing of an overlap, a number or two, and its options, each in few losses."""
        found: dict[str, Any] = {"smooth": self.number(0.0, 1.0, 1e-5, 1e-10)}
        if self.chance(0.2):
            found["smooth"] = [found["smooth"], found["smooth"] + self.number(0.0, 1e-5, 1.0)]
        if name not in ("log_dice", "log_cosh_dice") and self.chance(0.2):
            found["log"] = True
        if self.chance(0.1):
            found["clip_tp"] = self.number(1.0, low=0.1, high=3.0)
        return found

    def distances(self, exclusive: bool, channels: int) -> dict[str, Any]:
        """Distances between classes, or none, and the weights of classes."""
        found: dict[str, Any] = {"weight_type": self.one_of("foreground", "inverse_size")}
        classes = channels if exclusive else 2
        if self.chance(0.7) and classes < 20:
            matrix = [
                [self.number(1.0, low=0.1, high=3.0) for _ in range(classes)]
                for _ in range(classes)
            ]
            for c in range(classes):
                matrix[c][c] = 0.0
            found["distances"] = matrix
        return found

    def parameters(self, name: str, exclusive: bool, channels: int) -> dict[str, Any]:
        options = self.overlap_options(name)
        share = self.number(0.5, low=0.05, high=0.95)
        exponent = self.number(0.5, 1.0, 2.0, low=0.1, high=3.0)
        if name == "skeleton_recall":
            return {"smooth": self.number(0.0, 1.0, 1e-5, 1e-10)}
        if name in ("dice", "jaccard", "squared_dice", "log_cosh_dice"):
            return options
        if name == "tversky":
            return {**options, "alpha": self.number(0.0), "beta": self.number(1.0, low=0.1)}
        if name == "focal_tversky":
            return {**options, "alpha": share, "beta": 1 - share, "gamma": exponent}
        if name == "f_beta":
            return {**options, "beta": exponent}
        if name == "log_dice":
            return {**options, "gamma": exponent}
        if name == "mcc":
            return {"eps": self.number(0.0, 0.0, 1e-5, 1.0)}
        if name == "generalized_dice":
            return {**options, "weight_type": self.one_of("square", "simple", "uniform")}
        if name == "generalized_wasserstein_dice":
            return self.distances(exclusive, channels) | options
        if name == "generalized_cross_entropy":
            return {"exponent": self.number(0.7, 1.0, low=0.3, high=1.0)}
        if name == "symmetric_cross_entropy":
            weights = {"alpha": self.number(0.0, 1.0), "beta": self.number(1.0, low=0.1)}
            return {**weights, "log_zero": -self.number(4.0, low=0.5, high=9.0)}
        if name == "balanced_cross_entropy":
            return {"balance": self.one_of("sample", "batch", "micro")}
        if name == "poly1":
            return {"epsilon": self.number(0.0, 1.0, 2.0)}
        if name == "unified_focal":
            gamma = self.number(0.0, 0.5, low=0.0, high=0.9)
            weight = self.number(0.0, 0.5, 1.0, high=1.0)
            symmetric = {"symmetric": True} if self.chance(0.4) else {}
            return {"weight": weight, "delta": share, "gamma": gamma, **symmetric}
        if name == "focal":
            sides = channels if exclusive else 2
            alpha = self.one_of(None, share, [self.number(0.0, 1.0) for _ in range(sides)])
            if isinstance(alpha, float) and sides != 2:
                alpha = None
            return {"gamma": self.number(0.0, 1.0, 2.0, low=0.1, high=4.0), "alpha": alpha}
        return {}
