"""The contract of a loss: it takes two batches, and returns a scalar and extra information.

`Loss` is the base class, with a norm and mixup. Losses that look at the same pixels can be computed
together: `share_passes` groups them by `Loss.sharing_key`, and `raw_losses` computes a group.
`segloss.losses.multi_loss` adds up losses with weights.
"""

from __future__ import annotations

import functools
import math
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segloss.batch.keys import Batch
from segloss.batch.mixing.mixup import KEYS, sample_of, split_mixup
from segloss.foundation.arguments import (
    ChecksKeywords,
    check_flag,
    check_integer,
    check_number,
    check_text,
    checks_keywords,
    shown,
)
from segloss.foundation.device_constants import cached_value
from segloss.foundation.distributed import local_statistics, world_size
from segloss.foundation.gradients import Condition, zero_in_place_of
from segloss.foundation.number_like import as_number, attribute
from segloss.foundation.precision import Precise
from segloss.foundation.threads import ThreadInfo
from segloss.foundation.tracing import is_traced
from segloss.losses.norm import LEAST_NORM, NormSums, check_norm
from segloss.terms.algebra import RefusesOperators

_NORMS = threading.Lock()
"""Held while a norm changes, so that no update by another thread is lost."""


@as_number
class LossResult(NamedTuple):
    """The result of a `Loss`: a pair (value, info) that is also the number `value`.

    Code that expects a number from a loss gets one: `loss(...).backward()`, `.item()`,
    `0.5 * loss(...)`, and PyTorch's functions. The compiler of PyTorch 2.4 does not know numbers of
    this kind: take `[0]` in compiled code.

    Attributes:
        value: The loss, a scalar tensor.
        info: The extra information, detached.

    Example:
        >>> result = LossResult(torch.tensor(0.5), {"dice": torch.tensor(0.25)})
        >>> value, info = result
        >>> 2 * result, torch.isfinite(result), info["dice"]
        (tensor(1.), tensor(True), tensor(0.2500))
    """

    value: Tensor
    info: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return attribute(self, name)


class Loss(RefusesOperators, ChecksKeywords, Precise):
    """A named loss of batches, normalised by a running average of its own magnitude.

    A subclass defines `compute`, which returns the raw scalar, and may put further results into
    `self.extra_info`. Several threads may call one loss at the same time: nothing else of a call is
    kept on the module.

    Args:
        name: The name for logging, unique within a `MultiLoss`.
        use_mixup: True if batches may have the keys of `MixUp`. With the keys, the loss is
            lam L(pred, y_a) + (1 - lam) L(pred, y_b); without them, the plain loss.

    Attributes:
        norm: The average that `forward` divides by; 1 before the first `update_norm`.
        norm_count: The number of samples in the average, `nums` of each batch times the share of
            its pixels that count.
        gt_key: The key of the targets in `gt_batch`.

    Raises:
        TypeError, ValueError: `name` is not a text, or `use_mixup` is not a bool.

    Example:
        >>> class Brightness(Loss):
        ...     def compute(self, pred_batch, gt_batch):
        ...         return (pred_batch["seg"].mean() - gt_batch["gt_polygons_image"].mean()).abs()
        >>> loss = Brightness("brightness")
        >>> pred, gt = {"seg": torch.ones(1, 1, 4)}, {"gt_polygons_image": torch.zeros(1, 1, 4)}
        >>> loss(pred, gt)
        (tensor(1.), {})
    """

    norm: Tensor
    norm_count: Tensor

    def __init__(self, name: str, *, use_mixup: bool = False) -> None:
        super().__init__()
        self.name = check_text("name", name)
        self.use_mixup = check_flag("use_mixup", use_mixup)
        self.gt_key = "gt_polygons_image"
        self._thread_info = ThreadInfo()
        self._traced_info: dict[str, Any] = {}
        self._norm_sums: NormSums | None = None
        self._earlier_norm = (1.0, 0.0)
        self.register_buffer("norm", torch.ones((), dtype=torch.float64))
        self.register_buffer("norm_count", torch.zeros((), dtype=torch.float64))

    @property
    def extra_info(self) -> dict[str, Any]:
        """Further results of `compute`, for the call of the current thread; empty between calls."""
        # A compiler does not follow all of threading; compiled code keeps no result here
        is_compiling = torch.compiler.is_compiling()
        return self._traced_info if is_compiling else self._thread_info.values

    @extra_info.setter
    def extra_info(self, values: Mapping[str, Any]) -> None:
        given = dict(values)
        self.extra_info.clear()
        self.extra_info.update(given)

    @abstractmethod
    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """Returns the raw scalar loss of a batch."""
        raise NotImplementedError(f"{type(self).__name__} must define compute().")

    def sharing_key(self) -> Any:
        """Returns a key, equal for losses that are computed together; None: compute it alone."""
        return None

    def prepare_together(self, losses: Sequence[Loss]) -> None:
        """Prepares `compute_together` for losses with the same `sharing_key` as this one."""

    def compute_together(
        self,
        losses: Sequence[Loss],
        pred_batch: Batch,
        gt_batch: Batch,
        unweighted: Sequence[Condition] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the raw losses of a batch, (K,) or () for one, and the extra information of each.

        Args:
            losses: This loss, and others with the same `sharing_key`, in any order.
            pred_batch: A mapping with predictions, or the prediction itself.
            gt_batch: A mapping with targets, or the target itself.
            unweighted: For each loss, True if its weight is 0, so that its gradient is 0 whatever
                its value; () if all have weights, or the caller sees to the gradients.
            shares: Factors (N,) of the samples' parts of the loss, or None for 1. Any other loss is
                computed for each sample alone, and the mean is taken.
        """
        if shares is not None:
            return self._mean_of_samples(losses, pred_batch, gt_batch, unweighted, shares)
        try:
            value = self._check_scalar(self.compute(pred_batch, gt_batch))
            return value, [_detached(self.extra_info)]
        finally:
            self.extra_info.clear()

    def _mean_of_samples(
        self,
        losses: Sequence[Loss],
        pred_batch: Batch,
        gt_batch: Batch,
        unweighted: Sequence[Condition],
        shares: Tensor,
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the mean of the samples' losses, each times its share, and of their infos."""
        count = len(shares)
        if count == 0:
            return self.compute_together(losses, pred_batch, gt_batch, unweighted)
        if _is_all_0(shares):
            values, infos = self.compute_together(losses, pred_batch, gt_batch, unweighted)
            zero = zero_in_place_of(values, [pred_batch, self])
            return torch.zeros_like(values) + zero, [_times(info, zero) for info in infos]
        parts = []
        for n, share in enumerate(shares / count):
            if _is_all_0(share):  # a weight of 0 leaves nothing, not even NaN
                continue
            batches = sample_of(pred_batch, n, count), sample_of(gt_batch, n, count)
            values, infos = self.compute_together(losses, *batches, unweighted)
            factor = share.to(values)
            parts.append((factor * values, [_times(info, factor) for info in infos]))
        return functools.reduce(_sum_of_results, parts)

    @checks_keywords(". Weights and maps are entries of gt_batch")
    def forward(self, pred_batch: Batch, gt_batch: Batch, normalize: bool = True) -> LossResult:
        """Returns the loss, by default divided by `norm`, and the extra information, detached.

        Call the loss itself, `loss(prediction, target)`: that runs PyTorch's hooks too.

        Args:
            pred_batch: The prediction, (N, C, *spatial), with 1 to 3 spatial dimensions; or a
                mapping that has it under `pred_key`.
            gt_batch: The target, (N, *spatial) or (N, C, *spatial); or a mapping that has it under
                `gt_key`, with weights and maps under their keys.
            normalize: True to divide by `norm`, which is 1 until it is computed.

        Returns:
            A pair (value, info) that is also the number `value`: see `LossResult`. The value is a
                scalar tensor with a gradient, and `info` holds detached tensors by name.

        Raises:
            TypeError, ValueError: A tensor is missing, or has a wrong shape, dtype, device or
                value; the message names it. A missing key is a `MissingKeyError`, which is also a
                KeyError.
            ValueError: `norm` can't divide the loss.
        """
        if normalize is not True and normalize is not False:
            _check_normalize(normalize)
        loss, [extra_info] = raw_losses([self], pred_batch, gt_batch)
        if normalize:
            loss = _normalized(loss, self.norm, self.name)
        return LossResult(loss, extra_info)

    def update_norm(self, pred_batch: Batch, gt_batch: Batch, nums: float) -> None:
        """Adds the raw loss of a batch to the average.

        For a loss of the package's terms, it is the average of the terms over all pixels, or all
        (sample, class) cells, of all batches, where each sample of this batch counts `nums` / N
        times. Any other loss has the weight `nums` times the share of the batch's pixels that
        count. So the norm depends neither on the order of the batches nor on tiles without labels.
        It is checked when a loss is divided by it.

        Args:
            pred_batch: A mapping with predictions, or the prediction itself.
            gt_batch: A mapping with targets, or the target itself.
            nums: The number of samples in the batch, above 0.

        Raises:
            ValueError: `nums` is not above 0, or the loss is not finite. Nothing is changed then.
        """
        number = check_number("nums", nums, open_low=True)
        [sums] = sums_of_losses([self], pred_batch, gt_batch, number)
        self.add_to_norm(sums)

    def check_norm(self) -> None:
        """Raises ValueError if losses can't be divided by the norm, or no pixel counted for it."""
        if self.norm_count == 0:
            raise ValueError(
                f"The norm of {self.name!r} must be an average over pixels that count, but no "
                "batch had any: all labels are ignored, or all weights are 0. Compute it on "
                "batches with labels."
            )
        check_norm(float(self.norm), self.name)

    def norm_coefficients(self) -> Sequence[float]:
        """Returns the coefficients of the means whose sum is the loss: for most, a single 1."""
        return [1.0]

    def norm_sums(
        self, losses: Sequence[Loss], pred_batch: Batch, gt_batch: Batch, nums: float
    ) -> list[NormSums]:
        """Returns the sums of a batch for the norms of losses with the same `sharing_key`."""
        share = self.counted_share(pred_batch, gt_batch)
        if is_watched(self):
            value = self(pred_batch, gt_batch, normalize=False)[0]
        else:
            value, _ = self.compute_together(losses, pred_batch, gt_batch)
        weight = nums * share
        values = value.reshape(-1).tolist()
        return [NormSums.of_means([each], [weight], weight) for each in values]

    def counted_share(self, pred_batch: Batch, gt_batch: Batch) -> float:
        """Returns the share of a batch's pixels that count, in [0, 1]; 1 if that is not known."""
        return 1.0

    def add_to_norm(self, sums: NormSums) -> None:
        """Adds the sums of a batch to the norm."""
        with _NORMS:
            self._set_norm(self._summed().plus(sums))

    def _summed(self) -> NormSums:
        """Returns the sums of all batches since the norm was reset, loaded or given other terms."""
        count = len(self.norm_coefficients())
        if self._norm_sums is None or len(self._norm_sums.numerators) != count:
            self._earlier_norm = (float(self.norm), float(self.norm_count))
            return NormSums.of_nothing(count)
        return self._norm_sums

    def _set_norm(self, sums: NormSums) -> None:
        """Sets the norm to the average over the sums and the batches of an earlier norm."""
        earlier, samples = self._earlier_norm
        self._norm_sums, total = sums, samples + sums.samples
        if total > 0:
            added = sums.average(self.norm_coefficients()) * sums.samples
            self.norm.fill_((earlier * samples + added) / total)
        self.norm_count.fill_(total)

    def set_epoch(self, epoch: float) -> None:
        """Changes nothing: a single loss has no weight. A training loop need not tell it apart.

        Raises:
            TypeError, ValueError: `epoch` is not a finite number.
        """
        check_number("The epoch", epoch, low=-math.inf)

    def reset_norm(self) -> None:
        """Resets the norm to 1, and forgets all batches."""
        with _NORMS:
            self._norm_sums, self._earlier_norm = None, (1.0, 0.0)
            self.norm.fill_(1.0)
            self.norm_count.fill_(0.0)

    def sync(self, world_size: int | None = None) -> None:
        """Makes the norm the average over the samples of all ranks, exactly.

        Every rank must call it, even a rank without batches. It may be called again after further
        updates. Without a process group it does nothing.

        Args:
            world_size: The number of ranks, which is only checked; None: no check.

        Raises:
            TypeError, ValueError: `world_size` is not the size of the process group.
        """
        ranks = check_world_size(world_size)
        if ranks == 1:
            return
        with _NORMS:
            # Each rank keeps an equal share of the samples, so a second sync changes nothing
            sums = self._summed().over_ranks().times(1 / ranks)
            norm, samples = self._earlier_norm
            earlier = NormSums.of_means([norm], [samples], samples).over_ranks()
            self._earlier_norm = (earlier.average([1.0]), earlier.samples / ranks)
            self._set_norm(sums)

    def check_checkpoint(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Raises ValueError if the norm or its count in a checkpoint is not usable."""
        norm = _number_in(state_dict, f"{prefix}norm", 1.0)
        if not LEAST_NORM < norm < math.inf:
            raise ValueError(
                f"The checkpoint's norm of {self.name!r} must be a finite number above "
                f"{LEAST_NORM:g}, got {norm:g}: do not load it, and compute the norm again."
            )
        count = _number_in(state_dict, f"{prefix}norm_count", 0.0)
        if not 0 <= count < math.inf:
            raise ValueError(
                f"The checkpoint's norm_count of {self.name!r} must be a finite number of at least "
                f"0, got {count:g}."
            )

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        self.check_checkpoint(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._norm_sums = None

    def as_criterion(self) -> Criterion:
        """Returns this loss as a module of (prediction, target) -> Tensor, for plain loops."""
        return Criterion(self)

    def extra_repr(self) -> str:
        """Returns the name of the loss, and `use_mixup` if it is set."""
        return f"{self.name!r}" + (", use_mixup=True" if self.use_mixup else "")

    def _check_scalar(self, loss: Any) -> Tensor:
        """Returns the loss as a tensor (); raises an error if it is not a single float."""
        loss = loss.value if isinstance(loss, LossResult) else loss
        if not isinstance(loss, Tensor):
            raise TypeError(f"{self.name!r} must return a tensor, got {type(loss).__name__}.")
        if loss.numel() != 1:
            raise ValueError(
                f"{self.name!r} must return a scalar, got a tensor of shape {tuple(loss.shape)}: "
                "take the mean, or set its reduction to 'mean' or 'sum'."
            )
        if not loss.is_floating_point():
            raise TypeError(
                f"{self.name!r} must return a floating-point number, got {loss.dtype}: "
                "integers would be rounded when they are normalised."
            )
        return loss.reshape(())


def raw_losses(
    losses: Sequence[Loss],
    pred_batch: Batch,
    gt_batch: Batch,
    unweighted: Sequence[Condition] = (),
    shares: Tensor | None = None,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Returns losses of one `sharing_key`, with mixup but without norms: (K,), or () for one.

    Also returns the extra information of each, detached. `unweighted` and `shares` are as in
    `Loss.compute_together`.
    """
    first = losses[0]
    mixed = _unmixed(first, gt_batch)
    if mixed is None and shares is None:
        return first.compute_together(losses, pred_batch, gt_batch, unweighted)
    if mixed is None:
        return first.compute_together(losses, pred_batch, gt_batch, unweighted, shares)
    batch_a, batch_b, lam = mixed
    if isinstance(lam, Tensor) and lam.ndim > 0:
        parts = [
            first.compute_together(losses, pred_batch, batch, unweighted, shares)
            for batch, shares in ((batch_a, lam), (batch_b, 1 - lam))
            if not _is_all_0(shares)
        ]
        return functools.reduce(_sum_of_results, parts)
    if _is_number(lam, 1):  # a weight of 0 leaves nothing, not even NaN
        return first.compute_together(losses, pred_batch, batch_a, unweighted)
    if _is_number(lam, 0):
        return first.compute_together(losses, pred_batch, batch_b, unweighted)
    losses_a, infos_a = first.compute_together(losses, pred_batch, batch_a, unweighted)
    losses_b, infos_b = first.compute_together(losses, pred_batch, batch_b, unweighted)
    blended = [
        {key: _blend(value, info_b.get(key), lam) for key, value in info_a.items()}
        for info_a, info_b in zip(infos_a, infos_b, strict=True)
    ]
    return _blend(losses_a, losses_b, lam), blended


def sums_of_losses(
    losses: Sequence[Loss], pred_batch: Batch, gt_batch: Batch, nums: float
) -> list[NormSums]:
    """Returns the sums of a batch for the norms of losses of one `sharing_key`, with mixup.

    Raises:
        ValueError: A loss is not finite.
    """
    first = losses[0]
    with torch.no_grad(), local_statistics():
        mixed = None if is_watched(first) else _unmixed(first, gt_batch)
        if mixed is None:
            sums = first.norm_sums(losses, pred_batch, gt_batch, nums)
        else:
            if isinstance(mixed[2], Tensor) and mixed[2].ndim > 0:
                raw_losses(losses, pred_batch, gt_batch)  # which refuses terms that pool samples
            parts = [
                [each.times(factor) for each in first.norm_sums(losses, *batches, nums * share)]
                for batches, factor, share in _mixed_parts(pred_batch, *mixed)
                if factor > 0
            ]
            sums = [
                functools.reduce(NormSums.plus, of_loss) for of_loss in zip(*parts, strict=True)
            ]
    for loss, each in zip(losses, sums, strict=True):
        each.check_finite(loss.name)
    return sums


def _unmixed(loss: Loss, gt_batch: Batch) -> tuple[dict[str, Any], dict[str, Any], Any] | None:
    """Returns the two batches of a mixup batch, and lambda; None for a batch without mixup."""
    mixed = split_mixup(gt_batch, loss.gt_key)
    if mixed is not None and not loss.use_mixup:
        raise ValueError(
            f"gt_batch has the keys of mixup ({', '.join(KEYS)}), but {loss.name!r} was made "
            "without use_mixup: set use_mixup=True, or do not mix the images."
        )
    return mixed


def _mixed_parts(
    pred_batch: Batch, batch_a: Batch, batch_b: Batch, lam: Any
) -> Iterator[tuple[tuple[Batch, Batch], float, float]]:
    """Yields the parts of a mixup batch: their batches, their lambdas, and their shares of it."""
    if not (isinstance(lam, Tensor) and lam.ndim > 0):
        yield (pred_batch, batch_a), float(lam), 1.0
        yield (pred_batch, batch_b), 1 - float(lam), 1.0
        return
    count = len(lam)
    for n, number in enumerate(lam.tolist()):
        prediction = sample_of(pred_batch, n, count)
        yield (prediction, sample_of(batch_a, n, count)), number, 1 / count
        yield (prediction, sample_of(batch_b, n, count)), 1 - number, 1 / count


def is_watched(loss: Loss) -> bool:
    """Returns whether a loss must be called as a module: it has hooks, or its own `forward`."""
    hooks = loss._forward_hooks or loss._forward_pre_hooks
    return bool(hooks) or type(loss).forward is not Loss.forward


def share_passes(losses: Sequence[Loss]) -> list[list[int]]:
    """Returns groups of indices: the losses of a group are computed together."""
    groups: list[tuple[Any, list[int]]] = []
    for index, loss in enumerate(losses):
        key = None if is_watched(loss) else loss.sharing_key()
        matches = [members for other, members in groups if key is not None and other == key]
        if matches:
            matches[0].append(index)
        else:
            groups.append((key, [index]))
    return [members for _, members in groups]


class Criterion(nn.Module):
    """A `Loss` or `MultiLoss` as a module of (prediction, target) -> Tensor.

    Args:
        loss: The loss. It is not copied, so the criterion uses its current norm and weights.

    Example:
        >>> from segloss import SegLoss
        >>> criterion = SegLoss(from_logits=True).as_criterion()
        >>> criterion(torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]]))
        tensor(0.5466)
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        if not (isinstance(loss, nn.Module) and hasattr(loss, "update_norm")):
            raise TypeError(
                f"loss must be a Loss or a MultiLoss, got {shown(loss)}: other losses are already "
                "modules of (prediction, target)."
            )
        self.loss = loss

    def forward(self, prediction: Batch, target: Batch) -> Tensor:
        """Returns the loss of a prediction and a target, which may be mappings too."""
        result: Tensor = self.loss(prediction, target)[0]
        return result


def _check_normalize(normalize: Any) -> None:
    """Raises TypeError if `normalize` is not a bool, such as weights of pixels."""
    if isinstance(normalize, Tensor):
        raise TypeError(
            f"normalize must be True or False, got {shown(normalize)}: weights and maps are "
            "entries of gt_batch, beside the target."
        )
    check_flag("normalize", normalize)


def check_world_size(given: int | None) -> int:
    """Returns the number of ranks; raises ValueError if a different one is given."""
    ranks = world_size()
    if given is not None and check_integer("world_size", given, 1) != ranks != 1:
        raise ValueError(f"world_size must be the size of the process group, {ranks}, got {given}.")
    return ranks


def _number_in(state_dict: Mapping[str, Any], key: str, default: float) -> float:
    """Returns a number from a checkpoint, or a default if PyTorch will reject it."""
    value = state_dict.get(key)
    if not isinstance(value, Tensor) or value.numel() != 1 or value.is_meta:
        return default
    return float(value)


def _normalized(loss: Tensor, norm: Tensor, name: str) -> Tensor:
    """Returns the loss divided by the norm, without reading a norm on a GPU in every step."""
    value = cached_value(norm)
    if value == 1:
        return loss
    if value is not None:
        check_norm(value, name)
    return loss / (norm.to(loss.dtype) if value is None else value)


def _detached(value: Any) -> Any:
    """Returns the value with all tensors detached, inside dicts, lists and tuples too."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: _detached(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(map(_detached, value))
    return type(value)(map(_detached, value)) if type(value) in (list, tuple) else value


def _times(info: Mapping[str, Any], factor: Tensor) -> dict[str, Any]:
    """Returns the tensors times a factor, and any other values unchanged."""
    return {key: factor * v if isinstance(v, Tensor) else v for key, v in info.items()}


def _sum_of_results(
    a: tuple[Tensor, list[dict[str, Any]]], b: tuple[Tensor, list[dict[str, Any]]]
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Returns the sums of the losses of two parts, and of the tensors in their infos."""
    infos = [
        {key: v + more[key] if isinstance(v, Tensor) and key in more else v for key, v in i.items()}
        for i, more in zip(a[1], b[1], strict=True)
    ]
    return a[0] + b[0], infos


def _is_all_0(shares: Tensor) -> bool:
    """Returns whether factors of at least one sample are on the CPU, can be read, and are all 0."""
    return shares.is_cpu and not is_traced() and shares.numel() > 0 and not shares.any()


def _is_number(lam: Any, number: float) -> bool:
    """Returns whether lambda is a number on the CPU that can be read, and is `number`."""
    if isinstance(lam, Tensor):
        return lam.is_cpu and not is_traced() and lam.item() == number
    return bool(lam == number)


def _blend(value_a: Any, value_b: Any, lam: Any) -> Any:
    """Returns lam a + (1 - lam) b for two tensors; returns the first of any other values."""
    if not (isinstance(value_a, Tensor) and isinstance(value_b, Tensor)):
        return value_a
    lam = torch.as_tensor(lam)
    # Convert before 1 - lam, which float32 would round. A CPU scalar works on any device.
    lam = lam.to(value_a.dtype) if lam.is_cpu else lam.to(value_a)
    return lam * value_a + (1 - lam) * value_b
