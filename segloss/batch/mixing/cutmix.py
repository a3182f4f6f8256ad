"""CutMix: pastes a box of another image, with its targets, into each image of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segloss.batch.mixing.mixup import NO_TARGETS, check_images, draw_lambda, permutation, permuted
from segloss.foundation.arguments import ChecksKeywords, check_number, check_text


class CutMix(ChecksKeywords):
    r"""Pastes a box of another image of the batch into each image, with its targets.

    The box of a sample has the share :math:`1 - \lambda` of the pixels, with
    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`, the proportions of the image, and a centre
    that is drawn uniformly; it is cut off at the edges. Every pixel keeps one label, so the result
    is an ordinary batch for any loss, with label maps or dense targets.

    Args:
        alpha: The parameter of the Beta distribution, above 0; 1: all sizes are equally likely.
        gt_key: The key of the targets.
        components_key: The key of a map of components (`segloss.ComponentMap`), if there is one.
            The ids of a pasted box continue after those of the image, in 32 bits, so that
            components of two images stay apart.

    All tensors of the batch with the images' samples and pixels, (N, ..., *spatial), get the same
    box: targets, pixel weights and maps. Other entries stay unchanged.

    Raises:
        TypeError, ValueError: `alpha` is not a finite number above 0.

    Source: Yun, Han, Oh, Chun, Choe, Yoo, "CutMix: Regularization strategy to train strong
    classifiers with localizable features" (2019); for segmentation, French, Laine, Aila,
    Mackiewicz, Finlayson, "Semi-supervised semantic segmentation needs strong, varied
    perturbations" (2020).

    Example:
        >>> images = torch.tensor([0.0, 1.0]).reshape(2, 1, 1).expand(2, 1, 8)
        >>> batch = {"gt_polygons_image": images[:, 0].long()}
        >>> images, batch = CutMix()(images, batch, torch.Generator().manual_seed(0))
        >>> batch["gt_polygons_image"]
        tensor([[0, 0, 0, 0, 0, 0, 0, 0],
                [1, 1, 1, 1, 1, 1, 1, 1]])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        gt_key: str = "gt_polygons_image",
        components_key: str = "gt_components",
    ) -> None:
        self.alpha = check_number("alpha", alpha, open_low=True)
        self.gt_key = check_text("gt_key", gt_key)
        self.components_key = check_text("components_key", components_key)

    def __call__(
        self,
        images: Tensor,
        gt_batch: Mapping[str, Any] = NO_TARGETS,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Returns the images and the batch with the boxes pasted; the arguments stay unchanged.

        Args:
            images: (N, C, *spatial), floating-point, on any device.
            gt_batch: A mapping with targets (N, ..., *spatial) under `gt_key`.
            generator: The generator of the random numbers; None: PyTorch's global one.

        Raises:
            MissingKeyError: The batch has no targets.
            TypeError: The images are not floating-point, or `gt_batch` is not a mapping.
            ValueError: The images and the targets differ in samples or pixels, or the batch has
                annotations of classes, which pasted pixels would contradict.
        """
        targets = check_images("CutMix", images, gt_batch, self.gt_key, generator)
        spatial = images.shape[2:]
        if images.ndim < 3 or targets.shape[-len(spatial) :] != spatial:
            raise ValueError(
                f"images must have the shape (N, C, *spatial), and gt_batch[{self.gt_key!r}] the "
                f"same pixels, got {tuple(images.shape)} and {tuple(targets.shape)}."
            )
        _check_no_annotations(gt_batch, len(images))
        _check_no_scales(gt_batch)
        index = permutation(len(images), generator)
        inside = torch.zeros((len(images), *spatial), dtype=torch.bool, device=images.device)
        for mask in inside:
            mask[_box(spatial, draw_lambda(self.alpha, generator), generator)] = True

        def pasted(values: Any, key: str | None = None) -> Any:
            if not _has_pixels(values, images):
                return values
            mask = inside.reshape(len(inside), *[1] * (values.ndim - 1 - len(spatial)), *spatial)
            others = permuted(values, index)
            if key == self.components_key and not values.is_floating_point():
                values, others = _told_apart(values, others, len(spatial))
            return torch.where(mask, others, values)

        return pasted(images), {key: pasted(values, key) for key, values in gt_batch.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(alpha={self.alpha:g})"


def _box(spatial: torch.Size, lam: float, generator: torch.Generator | None) -> tuple[slice, ...]:
    """Returns a random box of the share 1 - lam, cut off at the edges, as slices of the pixels."""
    device = "cpu" if generator is None else generator.device
    centres = torch.rand(len(spatial), generator=generator, device=device).tolist()
    share = (1 - lam) ** (1 / len(spatial))
    return tuple(
        slice(max(0, round(size * (centre - share / 2))), round(size * (centre + share / 2)))
        for size, centre in zip(spatial, centres, strict=True)
    )


def _told_apart(ids: Tensor, others: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """Returns the ids of two images' components without an id in common; 0 stays 0."""
    ids, others = (each if each.dtype == torch.int64 else each.int() for each in (ids, others))
    last = ids.amax(tuple(range(-dimensions, 0)), keepdim=True)
    return ids, torch.where(others > 0, others + last, 0)


def _has_pixels(values: Any, images: Tensor) -> bool:
    """Returns whether the values have the samples and the pixels of the images."""
    spatial = images.shape[2:]
    return (
        isinstance(values, Tensor)
        and values.ndim > len(spatial)
        and len(values) == len(images)
        and values.shape[-len(spatial) :] == spatial
    )


def _check_no_scales(gt_batch: Mapping[str, Any]) -> None:
    for key, values in gt_batch.items():
        is_list = isinstance(values, (list, tuple)) and len(values) > 0
        if is_list and all(isinstance(each, Tensor) for each in values):
            raise ValueError(
                f"gt_batch must not hold lists of tensors, got one under {key!r}: call CutMix "
                "before the targets of coarser scales are made."
            )


def _check_no_annotations(gt_batch: Mapping[str, Any], count: int) -> None:
    for key, values in gt_batch.items():
        is_of_classes = isinstance(values, Tensor) and values.ndim == 2 and len(values) == count
        if is_of_classes and values.dtype == torch.bool:
            raise ValueError(
                f"gt_batch must not have annotations of classes ({key!r}): a pasted box has the "
                "annotations of another sample. Mix these images with MixUp."
            )
