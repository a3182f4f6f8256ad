"""The losses of the study by name: mixtures of segloss, and those of its peers.

A loss is a function of a data set. It returns the number of channels that the loss wants from the
network, and the loss of a batch. Each peer imports its own library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import segloss
from outcomes.data import VOID, Batch, Dataset
from segloss import MultiLoss, SegLoss, maps
from segloss.terms.mixture.spellings import mapping_of, mixture_of

_THREE = {"bce_coef": 0.4, "dice_coef": 0.4, "tversky_focal_coef": 0.2}
_POOLED = {"region_reduction": "batch", "skip_absent_classes": True}


@dataclass(frozen=True)
class Contender:
    """A loss of the study.

    Attributes:
        channels: The number of channels that the network predicts.
        loss: A function from logits (N, channels, H, W), a batch with its labels (N, H, W) under
            "gt_polygons_image", and the share of the training that is done, to the loss.
        transforms: Transforms of the training samples, which make the maps that the loss needs.
        text: The settings of the loss on this data set: losses with one text are one loss, whatever
            their names. It is empty if the name says everything.
    """

    channels: int
    loss: Callable[[Tensor, Batch, float], Tensor]
    transforms: Sequence[Any] = ()
    text: str = ""


Recipe = Callable[[Dataset], Contender]


def channels_of(dataset: Dataset) -> int:
    """Returns a channel for each class, or one for the foreground of two classes."""
    return 1 if dataset.n_classes == 2 else dataset.n_classes


def mode_of(dataset: Dataset) -> str:
    """Returns the mode of standalone losses."""
    return "binary" if dataset.n_classes == 2 else "multiclass"


def of_loss(
    built: nn.Module, dataset: Dataset, text: str = "", map_names: Sequence[str] = ()
) -> Contender:
    """Returns a loss of segloss. Training has 100 epochs."""

    def loss(logits: Tensor, batch: Batch, progress: float) -> Tensor:
        if isinstance(built, MultiLoss):
            built.set_epoch(100 * progress)
        return built({"seg": logits}, batch, normalize=False)[0]

    transforms = [
        getattr(maps, name)(
            n_classes=dataset.n_classes, mask_key="gt_polygons_image", ignore_index=VOID
        )
        for name in map_names
    ]
    return Contender(channels_of(dataset), loss, transforms, text)


def seg_loss(*map_names: str, **settings: Any) -> Recipe:
    """Returns a `SegLoss` with the classes of the data set, and other settings as given."""

    def recipe(dataset: Dataset) -> Contender:
        classes = {"n_classes": dataset.n_classes, "from_logits": True, "ignore_index": VOID}
        given = {**classes, **settings}
        return of_loss(SegLoss(**given), dataset, _text(given), map_names)

    return recipe


def _text(settings: dict[str, Any]) -> str:
    """Returns settings of `SegLoss` as text, with every parameter of a mixture."""
    terms = settings.get("terms")
    given = {**settings, "terms": None if terms is None else mixture_of(terms)}
    return ", ".join(f"{key}={given[key]}" for key in sorted(given) if given[key] is not None)


def again(recipe: Recipe) -> Recipe:
    """Returns the same loss on another kernel.

    Only the last digits differ, so the difference between their outcomes is the noise of training.
    """

    def other(dataset: Dataset) -> Contender:
        contender = recipe(dataset)

        def loss(logits: Tensor, batch: Batch, progress: float) -> Tensor:
            with segloss.use_backend("reference"):
                return contender.loss(logits, batch, progress)

        return replace(contender, loss=loss, text=f"{contender.text}, on the reference kernel")

    return other


def suggestion(**changes: Any) -> Recipe:
    """Returns the loss that `segloss.suggest` writes for the training labels, with changes."""

    def recipe(dataset: Dataset) -> Contender:
        return seg_loss(**{**suggested(dataset), **changes})(dataset)

    return recipe


def suggested(dataset: Dataset) -> dict[str, Any]:
    """Returns the settings that `segloss.suggest` finds for the training labels."""
    labels = dataset.part("training")[1].numpy()
    ignored = VOID if (labels == VOID).any() else None
    config = segloss.suggest(list(labels), ignore_index=ignored).config
    [settings] = config["loss_params"]["compound_loss"]["loss_list"]
    return {key: settings[key] for key in settings if key not in ("_target_", "name", "weight")}


def weights_of(dataset: Dataset) -> list[float] | None:
    r"""Returns weights of classes, of at most 1.5, or None if there are two classes.

    .. math:: w_c = \sqrt{E(m) / E(f_c)}, \quad E(f) = m (1 - e^{-f / m})

    :math:`f_c` is the share of a class in the images that hold it, m the median of these shares,
    and E the effective number of Cui et al., "Class-balanced loss based on effective number of
    samples" (2019). For rare classes this is the root of median-frequency balancing.
    """
    if dataset.n_classes == 2:
        return None
    labels = dataset.part("training")[1]
    shares = [_share(labels == each, labels != VOID) for each in range(dataset.n_classes)]
    middle = median(share for share in shares if share > 0)
    effective = [-math.expm1(-share / middle) for share in shares]
    roots = [math.sqrt(-math.expm1(-1) / e) if e > 0 else 0.0 for e in effective]
    return [round(min(root, 1.5), 2) for root in roots]


def _share(pixels: Tensor, counted: Tensor) -> float:
    """Returns the share of pixels, of those that count in images that have some."""
    images = pixels.flatten(1).any(1)
    return float(pixels[images].sum() / counted[images].sum()) if images.any() else 0.0


def weighted(recipe: Callable[..., Recipe]) -> Recipe:
    """Returns a loss with `weights_of` the data set."""
    return lambda dataset: recipe(class_weights=weights_of(dataset))(dataset)


def two_poolings(pixels: float, dice: float, tversky: float, **region: Any) -> Recipe:
    """Returns cross-entropy, Dice of each sample, and focal Tversky of the batch.

    Args:
        pixels: The coefficient of the cross-entropy.
        dice: The coefficient of Dice.
        tversky: The coefficient of focal Tversky.
        **region: Parameters of both region terms.
    """
    terms = {
        "cross_entropy": pixels,
        "dice": {"coef": dice, "skip_absent_classes": True, **region},
        "focal_tversky": {"coef": tversky, **_POOLED, **region},
    }

    return seg_loss(terms=terms)


def recommended_with(
    *map_names: str, focal_tversky: dict[str, Any] | None = None, **further: Any
) -> Recipe:
    """Returns the recommended mixture with changes.

    Args:
        *map_names: The transforms of the training samples, by name.
        focal_tversky: Parameters of focal Tversky.
        **further: Further terms.
    """
    terms = mapping_of(segloss.recommended())
    terms["focal_tversky"] |= focal_tversky or {}
    return seg_loss(*map_names, terms={**terms, **further})


def cross_entropy_and_lovasz(dataset: Dataset) -> Contender:
    """Returns half cross-entropy and half Lovasz."""
    pixels = seg_loss(terms={"cross_entropy": 1.0})(dataset)
    lovasz = segloss.LovaszLoss(mode_of(dataset), ignore_index=VOID)

    def loss(logits: Tensor, batch: Batch, progress: float) -> Tensor:
        region = lovasz(logits, batch["gt_polygons_image"])
        return 0.5 * pixels.loss(logits, batch, progress) + 0.5 * region

    return Contender(channels_of(dataset), loss, text="half cross-entropy, half Lovasz")


def then(first: Recipe, last: Recipe, begin: float = 0.8, end: float = 0.9) -> Recipe:
    """Returns a loss that fades into another between two shares of the training."""

    def recipe(dataset: Dataset) -> Contender:
        before, after = first(dataset), last(dataset)

        def loss(logits: Tensor, batch: Batch, progress: float) -> Tensor:
            share = min(max((progress - begin) / (end - begin), 0.0), 1.0)
            parts = [(1 - share, before), (share, after)]
            return sum(part * each.loss(logits, batch, progress) for part, each in parts if part)

        text = f"{before.text}; from {begin} to {end} {after.text}"
        transforms = [*before.transforms, *after.transforms]
        return replace(before, loss=loss, transforms=transforms, text=text)

    return recipe


def without_void(recipe: Recipe) -> Recipe:
    """Returns a loss for which pixels that are left out belong to the first class."""

    def other(dataset: Dataset) -> Contender:
        contender = recipe(dataset)

        def loss(logits: Tensor, batch: Batch, progress: float) -> Tensor:
            labels = batch["gt_polygons_image"]
            filled = labels.where(labels != VOID, 0)
            return contender.loss(logits, {**batch, "gt_polygons_image": filled}, progress)

        return replace(contender, loss=loss, text=f"{contender.text}, void as the first class")

    return other


def smp_loss(pixels: str) -> Recipe:
    """Returns smp's Dice plus cross-entropy ("ce") or smp's focal loss ("focal")."""

    def recipe(dataset: Dataset) -> Contender:
        from segmentation_models_pytorch import losses

        mode = mode_of(dataset)
        dice = losses.DiceLoss(mode, ignore_index=VOID)
        entropy = (
            losses.SoftBCEWithLogitsLoss(ignore_index=VOID)
            if mode == "binary"
            else nn.CrossEntropyLoss(ignore_index=VOID)
        )
        pixel = entropy if pixels == "ce" else losses.FocalLoss(mode, ignore_index=VOID)

        def loss(logits: Tensor, batch: Batch, _: float) -> Tensor:
            labels = batch["gt_polygons_image"].long()
            labels = labels.unsqueeze(1) if mode == "binary" else labels
            target = labels.float() if mode == "binary" and pixels == "ce" else labels
            return dice(logits, labels) + pixel(logits, target)

        return Contender(channels_of(dataset), loss)

    return recipe


def monai_dice_ce(dataset: Dataset) -> Contender:
    """Returns MONAI's DiceCELoss. It can't leave pixels out, so they count as the first class."""
    from monai.losses import DiceCELoss

    binary = dataset.n_classes == 2
    built = DiceCELoss(sigmoid=True) if binary else DiceCELoss(softmax=True, to_onehot_y=True)

    def loss(logits: Tensor, batch: Batch, _: float) -> Tensor:
        labels = batch["gt_polygons_image"].long().unsqueeze(1)
        labels = torch.where(labels == VOID, 0, labels)
        value: Tensor = built(logits, labels.float() if binary else labels)
        return value

    return Contender(channels_of(dataset), loss)


def nnunet_dc_ce(dataset: Dataset) -> Contender:
    """Returns nnU-Net's loss with the settings of its trainer for 2D: a softmax, Dice by batch."""
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    settings = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    built = DC_and_CE_loss(
        settings,
        {},
        weight_ce=1,
        weight_dice=1,
        ignore_label=VOID,
        dice_class=MemoryEfficientSoftDiceLoss,
    )

    def loss(logits: Tensor, batch: Batch, _: float) -> Tensor:
        value: Tensor = built(logits, batch["gt_polygons_image"].long().unsqueeze(1))
        return value

    return Contender(dataset.n_classes, loss)


PEERS: dict[str, Recipe] = {
    "smp Dice + CE": smp_loss("ce"),
    "smp Dice + focal": smp_loss("focal"),
    "MONAI DiceCE": monai_dice_ce,
    "nnU-Net Dice + CE": nnunet_dc_ce,
}
"""The losses of peers."""

LOSSES: dict[str, Recipe] = {
    "cross-entropy": seg_loss(bce_coef=1.0, dice_coef=0.0),
    **PEERS,
    "default": seg_loss(),
    "default again": again(seg_loss()),
    "recommended": seg_loss(terms="recommended"),
    "suggestion": suggestion(),
}
"""The losses of the study."""


VARIANTS: dict[str, Recipe] = {
    "three terms": seg_loss(**_THREE),
    "pooled": seg_loss(**_POOLED),
    "pooled, smooth 0": seg_loss(**_POOLED, smooth=0.0),
    "present": seg_loss(skip_absent_classes=True),
    "three terms, present": seg_loss(**_THREE, skip_absent_classes=True),
    "three terms, pooled": seg_loss(**_THREE, **_POOLED),
    "three terms, present, smooth 0": seg_loss(**_THREE, skip_absent_classes=True, smooth=0.0),
    "three terms, smooth 1e-5": seg_loss(**_THREE, smooth=1e-5),
    "half focal Tversky": seg_loss(bce_coef=0.5, dice_coef=0.0, tversky_focal_coef=0.5),
    "half focal Tversky, present": seg_loss(
        bce_coef=0.5, dice_coef=0.0, tversky_focal_coef=0.5, skip_absent_classes=True
    ),
    "three terms, even": seg_loss(**_THREE, tversky_alpha=0.5, tversky_beta=0.5),
    "three terms, plain": seg_loss(**_THREE, tversky_gamma=1.0),
    "log Dice, pooled": seg_loss(
        terms={"cross_entropy": 0.5, "dice": {"coef": 0.5, "log": True, **_POOLED}}
    ),
    "three terms, log, pooled": seg_loss(
        terms={
            "cross_entropy": 0.4,
            "dice": {"coef": 0.4, "log": True, **_POOLED},
            "focal_tversky": {"coef": 0.2, **_POOLED},
        }
    ),
    "both poolings, log": seg_loss(
        terms={
            "cross_entropy": 0.4,
            "dice": {"coef": 0.2, "skip_absent_classes": True},
            "dice of the batch": {"term": "dice", "coef": 0.2, "log": True, **_POOLED},
            "focal_tversky": {"coef": 0.2, "skip_absent_classes": True},
        }
    ),
    "both poolings": seg_loss(
        terms={
            "cross_entropy": 0.4,
            "dice": {"coef": 0.2, "skip_absent_classes": True},
            "dice of the batch": {"term": "dice", "coef": 0.2, **_POOLED},
            "focal_tversky": {"coef": 0.2, **_POOLED},
        }
    ),
    "two poolings": two_poolings(0.4, 0.3, 0.3),
    "two poolings, less Dice": two_poolings(0.4, 0.2, 0.4),
    "suggestion, class weights": weighted(suggestion),
    "recommended, class weights": weighted(partial(seg_loss, terms="recommended")),
    "more focal Tversky, present": seg_loss(
        bce_coef=0.3, dice_coef=0.3, tversky_focal_coef=0.4, skip_absent_classes=True
    ),
    "components": seg_loss(
        "ComponentMap",
        terms={
            "cross_entropy": 0.5,
            "dice": 0.25,
            "blobs": {"term": "dice", "coef": 0.25, "region_groups": "components"},
        },
    ),
    "recommended, smooth 0": two_poolings(0.3, 0.3, 0.4, smooth=0.0),
    "recommended, alpha and beta equal": recommended_with(
        focal_tversky={"alpha": 0.5, "beta": 0.5}
    ),
    "recommended, beta 0.85": recommended_with(focal_tversky={"alpha": 0.15, "beta": 0.85}),
    "recommended, gamma 1": recommended_with(focal_tversky={"gamma": 1.0}),
    "recommended, skeletons": recommended_with("SkeletonMap", skeleton_recall=0.2),
    "recommended, then components": then(
        seg_loss(terms="recommended"),
        recommended_with(
            "ComponentMap",
            components={"term": "dice", "coef": 0.3, "region_groups": "components"},
        ),
    ),
    "default, then Lovasz": then(seg_loss(), cross_entropy_and_lovasz),
    "recommended, then Lovasz": then(seg_loss(terms="recommended"), cross_entropy_and_lovasz),
    "cross-entropy, then recommended": then(
        seg_loss(bce_coef=1.0, dice_coef=0.0), seg_loss(terms="recommended"), 0.2, 0.3
    ),
    "recommended, void as the first class": without_void(seg_loss(terms="recommended")),
}
"""Mixtures that answer the study's questions, each next to one that differs in one thing."""


def of_name(name: str) -> Recipe:
    """Returns a loss by its name, or that of a YAML file."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        return lambda dataset: of_loss(segloss.build_loss(path), dataset, path.read_text())
    return (LOSSES | VARIANTS)[name]
