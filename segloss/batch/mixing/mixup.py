"""Mixup: `MixUp` blends images in the data loop, and `split_mixup` reads the batch in a loss.

`segloss.losses.loss` computes the loss with each of the two targets, and blends the results.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from segloss.batch.keys import MissingKeyError, take
from segloss.foundation.arguments import (
    ChecksKeywords,
    as_python,
    check_flag,
    check_number,
    check_text,
    is_list,
    shown,
)
from segloss.foundation.precision import rounding_slack
from segloss.foundation.tracing import is_traced

KEYS = ("mixup_y_a", "mixup_y_b", "mixup_lam")
"""The keys that mixup adds to `gt_batch`."""

_INDEX = "mixup_index"
"""The key of the permutation (N,) from each sample to its partner."""


NO_TARGETS: Mapping[str, Any] = MappingProxyType({})
"""The batch of a mix that got none: a check says what is missing."""


class MixUp(ChecksKeywords):
    r"""Blends each image of a batch with another one.

    .. math:: x = \lambda x_a + (1 - \lambda) x_b, \quad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    with one lambda for the batch or for each sample, and :math:`x_b` a random permutation of
    :math:`x_a`. Targets are not blended, so they may be label maps. The batch gets both,
    :math:`y_a` and :math:`y_b`, and the loss is
    :math:`\lambda L(p, y_a) + (1 - \lambda) L(p, y_b)`, each sample's part with its own lambda.

    Args:
        alpha: The parameter of the Beta distribution, above 0; small values blend little.
        gt_key: The key of the targets.
        per_sample: True to draw a lambda for each sample.

    The batch also gets the permutation, as "mixup_index". With it, losses of other targets find
    their partners, and pixel weights are permuted with their targets.

    Raises:
        TypeError, ValueError: `alpha` is not a finite number above 0.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond empirical risk minimization" (2018).

    Example:
        >>> mixup = MixUp(alpha=0.5)
        >>> batch = {"gt_polygons_image": torch.tensor([[[0]], [[1]]])}
        >>> images, batch = mixup(torch.rand(2, 3, 8), batch, torch.Generator().manual_seed(0))
        >>> sorted(batch)
        ['gt_polygons_image', 'mixup_index', 'mixup_lam', 'mixup_y_a', 'mixup_y_b']
    """

    def __init__(
        self,
        alpha: float = 0.5,
        *,
        gt_key: str = "gt_polygons_image",
        per_sample: bool = False,
    ) -> None:
        self.alpha = check_number("alpha", alpha, open_low=True)
        self.gt_key = check_text("gt_key", gt_key)
        self.per_sample = check_flag("per_sample", per_sample)

    def __call__(
        self,
        images: Tensor,
        gt_batch: Mapping[str, Any] = NO_TARGETS,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Returns the blended images, and a copy of the batch with the mixup keys added.

        Args:
            images: (N, ...), floating-point, on any device.
            gt_batch: A mapping with targets (N, ...) under `gt_key`.
            generator: The generator of the random numbers; None: PyTorch's global one.

        Raises:
            MissingKeyError: The batch has no targets.
            TypeError: The images are not floating-point, or `gt_batch` is not a mapping.
            ValueError: The numbers of images and targets differ.
        """
        targets = check_images("MixUp", images, gt_batch, self.gt_key, generator)
        count = len(images) if self.per_sample else 1
        numbers = [draw_lambda(self.alpha, generator) for _ in range(count)]
        lam = torch.empty(count, device=images.device)
        for n, number in enumerate(numbers):
            lam[n].fill_(number)  # on the device: a copy from the host would wait
        factor = lam.reshape(-1, *[1] * (images.ndim - 1))
        index = permutation(len(images), generator)
        blended = factor * images + (1 - factor) * permuted(images, index)
        mixed = {
            "mixup_y_a": targets,
            "mixup_y_b": permuted(targets, index),
            "mixup_lam": lam if self.per_sample else lam.reshape(()),
            _INDEX: index,
        }
        return blended.to(images.dtype), {**gt_batch, **mixed}

    def __repr__(self) -> str:
        per_sample = ", per_sample=True" if self.per_sample else ""
        return f"{type(self).__name__}(alpha={self.alpha:g}{per_sample})"


def check_images(mix: str, images: Any, gt_batch: Any, gt_key: str, generator: Any) -> Tensor:
    """Checks the arguments of a mix, and returns the targets.

    Raises:
        MissingKeyError: The batch has no targets.
        TypeError: The images are not floating-point, `gt_batch` is not a mapping, or `generator` is
            not a generator.
        ValueError: The numbers of images and targets differ.
    """
    if isinstance(images, Mapping):
        raise TypeError(
            f"images must be a floating-point tensor to be blended, got {shown(images)}: pass the "
            f"images and the batch, {mix}()(batch['image'], batch)."
        )
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images must be a floating-point tensor to be blended, got {kind}.")
    if not isinstance(gt_batch, Mapping):
        raise TypeError(
            f"gt_batch must be a mapping, got {shown(gt_batch)}: pass the targets under gt_key, "
            f"{{{gt_key!r}: ...}}."
        )
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator or None, got {shown(generator)}: for a seed, "
            "pass torch.Generator().manual_seed(seed)."
        )
    if any(key in gt_batch for key in KEYS):
        raise ValueError(
            "gt_batch must not be mixed already, but it has the keys of mixup "
            f"({', '.join(KEYS)}): mix the images once, or with CutMix first and then with MixUp."
        )
    targets = take(gt_batch, gt_key, "gt_batch", f"Name yours with {mix}(gt_key=...).")
    if images.ndim == 0 or targets.ndim == 0:
        raise ValueError(
            f"images and gt_batch[{gt_key!r}] must have the shape (N, ...), got "
            f"{tuple(images.shape)} and {tuple(targets.shape)}."
        )
    if len(targets) != len(images):
        raise ValueError(
            f"images and gt_batch[{gt_key!r}] must have the same number of samples, got "
            f"{len(images)} and {len(targets)}."
        )
    return targets


def draw_lambda(alpha: float, generator: torch.Generator | None) -> float:
    """Draws from Beta(alpha, alpha); PyTorch's sampler does not take a generator."""
    device = "cpu" if generator is None else generator.device
    seed = torch.randint(2**62, (), generator=generator, device=device)
    return random.Random(int(seed)).betavariate(alpha, alpha)  # noqa: S311


def split_mixup(gt_batch: Any, gt_key: str) -> tuple[dict[str, Any], dict[str, Any], Any] | None:
    """Returns the batch with each of the two targets, and lambda; None for a batch without mixup.

    Lambda is a number, a tensor (), or a tensor (N,) with one for each sample.

    Raises:
        MissingKeyError: Some of the mixup keys are missing.
        ValueError: Lambda is not a number in [0, 1], or one for each sample.
    """
    if isinstance(gt_batch, Tensor) or not isinstance(gt_batch, Mapping):
        return None
    if not any(key in gt_batch for key in KEYS):
        return None
    missing = [key for key in KEYS if gt_batch.get(key) is None]
    if missing:
        present = ", ".join(repr(key) for key in gt_batch)
        raise MissingKeyError(
            f"gt_batch must have all the keys of mixup or none: {', '.join(missing)} missing; its "
            f"keys are: {present}."
        )
    unmixed = {key: value for key, value in gt_batch.items() if key not in (*KEYS, _INDEX)}
    lam = _check_lambda(gt_batch["mixup_lam"], gt_batch["mixup_y_a"])
    if _INDEX in gt_batch and gt_key in gt_batch:
        return (
            unmixed,
            _with_partners(unmixed, _check_index(gt_batch[_INDEX], gt_batch[gt_key])),
            lam,
        )
    batch_a = {**unmixed, gt_key: gt_batch["mixup_y_a"]}
    return batch_a, {**unmixed, gt_key: gt_batch["mixup_y_b"]}, lam


def permutation(count: int, generator: torch.Generator | None) -> Tensor:
    """Returns a random permutation (N,) of samples."""
    device = "cpu" if generator is None else generator.device
    return torch.randperm(count, generator=generator, device=device)


def _with_partners(batch: Mapping[str, Any], index: Tensor) -> dict[str, Any]:
    """Returns the batch with each sample replaced by its partner."""
    return {key: _with_partner(value, index) for key, value in batch.items()}


def _with_partner(value: Any, index: Tensor) -> Any:
    if type(value) in (list, tuple):  # one tensor for each scale of deep supervision
        is_tensors = all(isinstance(each, Tensor) for each in value)
        return type(value)(_with_partner(each, index) for each in value) if is_tensors else value
    if not (isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == index.shape[0]):
        return value
    return permuted(value, index)


def sample_of(batch: Any, index: int, count: int) -> Any:
    """Returns the batch of one sample: of tensors with `count` samples, the one at `index`."""
    if isinstance(batch, Tensor):
        return batch[index : index + 1] if batch.ndim > 0 and len(batch) == count else batch
    if isinstance(batch, Mapping):
        return {key: sample_of(value, index, count) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [sample_of(value, index, count) for value in batch]
    return batch


def permuted(values: Tensor, index: Tensor) -> Tensor:
    """Returns the samples of a tensor in the order of a permutation.

    A permutation on the CPU is not copied to a GPU, which would wait for it. Its samples are copied
    one by one instead.
    """
    if values.device == index.device or not index.is_cpu or is_traced() or len(index) == 0:
        return values[index.to(values.device)]
    return torch.stack([values[sample] for sample in index.tolist()])


def _check_index(index: Any, target: Any) -> Tensor:
    """Checks the permutation of a batch, its values only on the CPU, and returns it."""
    name = f"gt_batch[{_INDEX!r}]"
    if not isinstance(index, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(index).__name__}.")
    if index.dtype != torch.int64:
        raise TypeError(f"{name} must hold integers of 64 bits, got {index.dtype}.")
    counted = target if isinstance(target, Tensor) and target.ndim > 0 else index
    samples = counted.shape[0]  # `len` would make an exporter's number of samples a constant
    if index.shape != (samples,):
        raise ValueError(
            f"{name} must have one entry per sample: expected ({samples},), got "
            f"{tuple(index.shape)}."
        )
    if index.device.type == "cpu" and not is_traced() and samples > 0:
        low, high = (int(edge) for edge in torch.aminmax(index))
        if low < 0 or high >= samples:
            raise ValueError(
                f"{name} must hold the positions 0 to {samples - 1}, got {low} to {high}."
            )
    return index


def _check_lambda(lam: Any, target: Any) -> Any:
    """Returns lambda, a number or a tensor () or (N,), after checking that it is in [0, 1]."""
    name = "gt_batch['mixup_lam']"
    lam = lam if isinstance(lam, Tensor) else as_python(lam)
    if is_list(lam) and all(isinstance(each, (int, float)) for each in lam):
        lam = torch.tensor([float(each) for each in lam], dtype=torch.float64)
    if not isinstance(lam, Tensor):
        _check_share(name, lam, torch.float64)
        return lam
    if isinstance(target, (list, tuple)) and target:  # a target for each scale
        target = target[0]
    samples = target.shape[0] if isinstance(target, Tensor) and target.ndim > 0 else 1
    if lam.numel() != 1 and (lam.shape[0], lam.numel()) != (samples, samples):
        raise ValueError(
            f"{name} must be a number, or one for each of the {samples} samples, got a tensor of "
            f"shape {tuple(lam.shape)}."
        )
    if lam.is_complex():
        raise TypeError(f"{name} must be a real number, got {lam.dtype}.")
    if lam.device.type == "cpu" and not torch.compiler.is_compiling():
        for each in lam.flatten().tolist():
            _check_share(name, each, lam.dtype)
    return lam.reshape(()) if lam.numel() == 1 else lam.flatten()


def _check_share(name: str, number: Any, dtype: torch.dtype) -> None:
    """Raises TypeError or ValueError for anything but a number in [0, 1], up to rounding."""
    slack = rounding_slack(dtype)
    if not (-slack <= check_number(name, number, -math.inf) <= 1 + slack):
        check_number(name, number, 0, 1)
