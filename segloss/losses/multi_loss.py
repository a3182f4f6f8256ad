"""The weighted sum of losses, each normalised, with weights that may change over the epochs.

`segloss.losses.schedule` computes the weights of an epoch, and `segloss.losses.combiners` has
alternatives to the sum. Losses that look at the same pixels in the same way share one pass.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from segloss.batch.diagnosis import Finding, WarnsOnce
from segloss.batch.keys import Batch
from segloss.foundation.arguments import (
    ChecksKeywords,
    check_flag,
    check_number,
    check_same_names,
    checks_keywords,
    is_list,
    list_meant,
    nearest,
    shown,
)
from segloss.foundation.device_constants import (
    buffer_on_device,
    fill,
    filled_on_device,
    known_values,
    on_device,
)
from segloss.foundation.distributed import rank
from segloss.foundation.gradients import (
    Condition,
    all_hold,
    no_gradients_if,
    zero_in_place_of,
)
from segloss.foundation.number_like import as_number, attribute
from segloss.foundation.precision import Precise
from segloss.foundation.printable import add_note, is_noted
from segloss.foundation.tracing import is_traced
from segloss.losses.combiners import UncertaintyWeighting
from segloss.losses.loss import (
    Criterion,
    Loss,
    is_watched,
    raw_losses,
    share_passes,
    sums_of_losses,
)
from segloss.losses.loss_wrapper import LossWrapper, check_loss_func
from segloss.losses.norm import LEAST_NORM, NormSums, check_norm
from segloss.losses.schedule import EpochWatch, Weight, WeightSchedule
from segloss.terms.algebra import Algebra, RefusesOperators

_T = TypeVar("_T")

Combiner = Callable[[Tensor], Tensor]
"""A function from the vector of losses (k,) to a scalar."""

_EPOCHS = threading.Lock()
"""Held while weights are set or read, so that a call has all its weights of one epoch."""

_LISTENERS = threading.Lock()
"""Held while listeners are listed, or come and go."""

PreProcess = Callable[[Any, Any], tuple[Any, Any]]
"""A function of (pred_batch, gt_batch) that returns both, such as with maps for the losses."""


class _Results(NamedTuple):
    """The losses of a batch.

    Attributes:
        values: The losses (K,), normalised by default, without a graph.
        weighted: These losses times their weights, (K,), in float64, with a graph. Losses of
            weight 0 are 0 here, with gradient 0, even if they are NaN.
        weights: The weights, (K,), divided by the norms if the losses are normalised.
        dtype: The dtype of the total.
        infos: The extra information of each loss.
    """

    values: Tensor
    weighted: Tensor
    weights: Tensor
    dtype: torch.dtype
    infos: list[dict[str, Any]]


@as_number
class MultiLossResult(NamedTuple):
    """The result of a `MultiLoss`: three entries, and also the number `total`.

    Attributes:
        total: The weighted sum, a scalar tensor.
        losses: The losses by name, detached.
        infos: The extra information of each loss, by its name.
    """

    total: Tensor
    losses: dict[str, Tensor]
    infos: dict[str, dict[str, Any]]

    def __getattr__(self, name: str) -> Any:
        return attribute(self, name)


_PARAMS = ("max_samples", "min_samples")
"""The keys of `normalization_params` that `segloss.compute_norms` reads."""


class MultiLoss(RefusesOperators, ChecksKeywords, Precise):
    r"""Weighted sum of losses.

    .. math:: L = \sum_i w_i(\mathrm{epoch})\, \frac{L_i}{\mathrm{norm}_i}

    with :math:`w_i` the weight of the i-th loss, and :math:`\mathrm{norm}_i` its `Loss.norm`.

    Args:
        loss_funcs: The losses. An `nn.Module` or a function of (prediction, target) is wrapped in
            a `LossWrapper`.
        weights: The weight of each loss: a number of at least 0, or a list with one value per
            epoch threshold, interpolated linearly and held constant outside. None: 1 for each.
        epoch_thresholds: The epochs of the values in these lists, in increasing order.
        pre_processes: Callables (pred_batch, gt_batch) -> (pred_batch, gt_batch), run in order
            before the losses. They get shallow copies of the batches, to which they may add keys;
            the tensors are the caller's and must not change in place.
        normalize_losses: True if `forward` divides losses by their norms by default.
        normalization_params: Settings for the code that computes the norms, such as
            `{"max_samples": 1000}`.
        combiner: A function from the vector (k,) of weighted, normalised losses to a scalar; None:
            their sum. An `nn.Module`, such as `UncertaintyWeighting` or a scalarizer of TorchJD,
            becomes a submodule, with its parameters.
        check_finite: True to raise an error for a loss that is not finite. The error names the
            loss, the rank, the epoch, norms and weights. The check waits for an accelerator in
            every step, and is skipped in compiled code.

    A loss with weight 0 is computed, but left out of the total: even if it is NaN or infinite, it
    adds 0 to the total and to every gradient. It stays in the graph, so that every parameter has a
    gradient.

    Several threads may call it at the same time. With `epoch=` in the call, each has the weights of
    its epoch; without, those of the epoch that was set last, by any thread.

    The `state_dict` has the names of the losses, and the buffers `current_weights` and `epoch` (NaN
    before the first `set_epoch`). A checkpoint restores the epoch and the scheduled weights, and
    leaves constant weights unchanged. A checkpoint with other losses, or with the same losses in
    another order, is refused.

    Raises:
        TypeError, ValueError: An argument is wrong: the numbers of losses and weights differ, names
            are not unique, or thresholds are missing, unsorted or of the wrong number. Or a
            checkpoint has other losses.
        FloatingPointError: A loss is not finite, and `check_finite` is set.

    Example:
        >>> losses = [nn.MSELoss(), LossWrapper(nn.L1Loss(), name="l1")]
        >>> multi_loss = MultiLoss(losses, [1.0, [0.0, 1.0]], epoch_thresholds=[0, 10])
        >>> pred_batch = {"seg": torch.full((1, 1, 4), 2.0)}
        >>> gt_batch = {"gt_polygons_image": torch.zeros(1, 1, 4)}
        >>> multi_loss(pred_batch, gt_batch, epoch=5)
        (tensor(5.), {'MSELoss': tensor(4.), 'l1': tensor(2.)}, {'MSELoss': {}, 'l1': {}})
    """

    current_weights: Tensor
    epoch: Tensor

    def __init__(
        self,
        loss_funcs: Sequence[Loss | nn.Module | Callable[..., Tensor]],
        weights: Sequence[Weight] | None = None,
        epoch_thresholds: Sequence[float] | None = None,
        pre_processes: Sequence[PreProcess] | None = None,
        *,
        normalize_losses: bool = True,
        normalization_params: Mapping[str, Any] | None = None,
        combiner: Combiner | None = None,
        check_finite: bool = False,
    ) -> None:
        super().__init__()
        losses = _check_losses(loss_funcs)
        weights = [1.0] * len(losses) if weights is None else weights
        _check_weights(weights, len(losses))
        self.schedule = WeightSchedule(
            weights, epoch_thresholds, [f"the weight of {loss.name!r}" for loss in losses]
        )
        self.loss_funcs = nn.ModuleList(losses)
        self.pre_processes = _check_pre_processes(pre_processes)
        self.pre_process_modules = nn.ModuleList(
            process for process in self.pre_processes if isinstance(process, nn.Module)
        )
        self.normalize_losses = check_flag("normalize_losses", normalize_losses)
        self.normalization_params = _check_params(normalization_params)
        if combiner is not None and (not callable(combiner) or isinstance(combiner, type)):
            raise TypeError(
                "combiner must be a callable from a vector of losses to a scalar, got "
                f"{shown(combiner)}: pass an object, such as UncertaintyWeighting({len(losses)})."
            )
        if isinstance(combiner, UncertaintyWeighting) and combiner.num_losses != len(losses):
            raise ValueError(
                f"combiner must be for {len(losses)} losses, got UncertaintyWeighting("
                f"{combiner.num_losses}): pass UncertaintyWeighting({len(losses)})."
            )
        self.combiner = combiner
        self.check_finite = check_flag("check_finite", check_finite)
        self.register_buffer("epoch", torch.tensor(torch.nan, dtype=torch.float64))
        self.register_buffer("current_weights", self._initial_weights())
        self._knows_weights = self.schedule.is_constant
        self._epochs = EpochWatch()
        self._warnings = WarnsOnce()
        self._listeners: dict[int, Any] = OrderedDict()
        for indices in share_passes(losses):
            losses[indices[0]].prepare_together([losses[i] for i in indices])

    @checks_keywords(". Weights and maps are entries of gt_batch")
    def forward(
        self,
        pred_batch: Batch,
        gt_batch: Batch,
        normalize: bool | None = None,
        epoch: float | None = None,
    ) -> MultiLossResult:
        """Returns (total, {name: loss, detached}, {name: extra information}).

        The losses include the parts of a loss, as "name.part". The result is also the number
        `total`: see `MultiLossResult`.

        Args:
            pred_batch: A mapping with predictions, or the prediction itself.
            gt_batch: A mapping with targets, or the target itself.
            normalize: True to divide each loss by its norm; None: the value of `normalize_losses`.
            epoch: The current epoch, as for `set_epoch`; None: the epoch that was set last.

        Raises:
            ValueError: A weight is scheduled, and the epoch was never set.
        """
        results = self._results(pred_batch, gt_batch, normalize, epoch)
        total = self._combined(results)
        infos = dict(zip(self._names(), results.infos, strict=True))
        return MultiLossResult(total, self._named(results), infos)

    def register_listener(
        self, listener: Callable[[dict[str, Tensor], list[dict[str, Any]]], None]
    ) -> RemovableHandle:
        """Calls `listener` with ({name: loss, detached}, [extra information]) of every batch.

        It is for code that observes training. Losses that share a pass are not called one by one,
        so forward hooks would not see them.

        Returns:
            A handle whose `remove()` removes the listener.
        """
        handle = _ListenerHandle(self._listeners)
        with _LISTENERS:
            self._listeners[handle.id] = listener
        return handle

    def _names(self) -> list[str]:
        """Returns the names of the losses."""
        return [loss.name for loss in self._losses()]

    def _named(self, results: _Results) -> dict[str, Tensor]:
        """Returns the losses by name, and their parts as "name.part"."""
        losses: dict[str, Tensor] = {}
        values = results.values.unbind()
        for name, value, info in zip(self._names(), values, results.infos, strict=True):
            losses[name] = value
            parts = [key for key in info if key.startswith(f"{name}.")]
            losses.update({key: info[key] for key in parts})
        return losses

    def losses(
        self,
        pred_batch: Batch,
        gt_batch: Batch,
        normalize: bool | None = None,
        epoch: float | None = None,
    ) -> Tensor:
        """Returns the vector (k,) of weighted, normalised losses, for gradient aggregators.

        It takes the same arguments as `forward`. Without a combiner, its sum is the total.
        """
        results = self._results(pred_batch, gt_batch, normalize, epoch)
        return results.weighted.to(results.dtype)

    def _results(
        self, pred_batch: Batch, gt_batch: Batch, normalize: bool | None, epoch: float | None
    ) -> _Results:
        """Returns the losses of a batch, and tells the listeners."""
        normalize = self.normalize_losses if normalize is None else normalize
        if isinstance(normalize, (int, float)) and not isinstance(normalize, bool):
            raise TypeError(
                f"normalize must be True or False, got {normalize}: for an epoch, pass "
                f"epoch={normalize}."
            )
        check_flag("normalize", normalize)
        weights = self._weights(epoch)
        known = known_values(weights)
        if not (self.schedule.is_constant or is_traced()):
            self._watch_epoch()
        pred_batch, gt_batch = self._pre_processed(pred_batch, gt_batch)
        raw, infos = self._raw(pred_batch, gt_batch, self._unweighted(weights, known))
        if epoch is not None:
            self.set_epoch(epoch)  # not before: a wrong batch must not change it
        weights = filled_on_device(weights, raw.device)
        values, scaled = raw.detach(), weights
        if normalize:
            norms = self._norms(raw.device)
            scaled, values = weights / norms, (values / norms).to(raw.dtype)
        weighted = (scaled * raw).masked_fill(weights == 0, 0)
        results = _Results(values, weighted, weights, raw.dtype, infos)
        if self._listeners:
            for listener in _listeners_of(self._listeners):
                listener(self._named(results), infos)
        if self.check_finite and not torch.compiler.is_compiling():
            self._check_finite(results)
        return results

    def _watch_epoch(self) -> None:
        """Warns if the weights depend on an epoch that has not changed for long."""
        if self._epochs.stands_still(torch.is_grad_enabled(), self.schedule.thresholds):
            text = (
                "The weights depend on the epoch, which has not changed over many rounds of "
                "training: call set_epoch(epoch) at the start of each epoch, or pass epoch=."
            )
            self._warnings.warn([Finding("epoch", text)], self)

    def _watch_norms(self, norms: Sequence[float]) -> None:
        """Warns if a training has settings for norms, and all norms are still 1."""
        is_wanted = len(norms) > 1 and self.normalization_params and torch.is_grad_enabled()
        if is_wanted and all(norm == 1 for norm in norms):
            text = (
                "It has normalization_params, but its norms have not been computed: before "
                "training, call segloss.compute_norms(multi_loss, ((model(x), y) for x, y in "
                "loader)), or in Lightning add ComputeWeightNormLossesCallback; or set "
                "normalize_losses=False."
            )
            self._warnings.warn([Finding("norms", text)], self)

    def _weights(self, epoch: float | None) -> Tensor:
        """Returns the weights of a call, (K,): those of its epoch, or a copy of the current ones.

        On a device, they are the buffer itself, since the values of a copy would be unknown.
        """
        if epoch is not None:
            return torch.tensor(self.schedule.at(epoch), dtype=torch.float64)
        if not self._knows_weights:
            raise ValueError(
                "Weights are scheduled and no epoch is known: call set_epoch(epoch) at the start "
                "of each epoch, or pass epoch=."
            )
        if is_traced() or not self.current_weights.is_cpu:
            return self.current_weights
        with _EPOCHS:
            return self.current_weights.clone()

    def _unweighted(self, weights: Tensor, known: Sequence[float] | None) -> list[Condition]:
        """Returns for each loss whether its weight is 0, as a tensor if that is not known here.

        In compiled code, and on a device, it depends on the tensor if a scheduled weight can be 0.
        """
        if known is not None:
            return [weight == 0 for weight in known]
        return [
            weight == 0 if can_be_0 else False
            for weight, can_be_0 in zip(weights.unbind(), self.schedule.can_be_0, strict=True)
        ]

    def _norms(self, device: torch.device) -> Tensor:
        """Returns the norms (K,). On a device, where a read would wait, a wrong one becomes NaN."""
        norms = torch.stack([loss.norm for loss in self._losses()])
        known = known_values(norms)
        if known is None:
            return torch.where(norms > LEAST_NORM, norms, torch.nan).to(device)
        for loss, norm in zip(self._losses(), known, strict=True):
            check_norm(norm, loss.name)
        self._watch_norms(known)
        return buffer_on_device(norms, device)

    def _raw(
        self, pred_batch: Batch, gt_batch: Batch, unweighted: Sequence[Condition]
    ) -> tuple[Tensor, list[dict[str, Any]]]:
        """Returns the losses without norms and weights, (K,), and the extra information of each.

        Losses that look at the same pixels in the same way share one pass.
        """
        losses = self._losses()
        infos: list[dict[str, Any]] = [{}] * len(losses)
        values, order = [], []
        for indices in share_passes(losses):
            group = [losses[i] for i in indices]
            conditions = [unweighted[i] for i in indices]
            raw, group_infos = _naming(_of_group, group, pred_batch, gt_batch, conditions)
            values.append(raw.reshape(-1))
            order += indices
            for i, info in zip(indices, group_infos, strict=True):
                infos[i] = info
        if len(values) == 1:
            return values[0], infos
        vector = torch.cat(values)
        if order != sorted(order):
            positions = tuple(order.index(i) for i in range(len(order)))
            vector = vector.index_select(0, on_device(positions, vector.device, torch.int64))
        return vector, infos

    def _check_finite(self, results: _Results) -> None:
        """Raises FloatingPointError if a loss is not finite."""
        wanted = results.weights != 0
        if (results.values.isfinite() | ~wanted).all():
            return
        values = dict(zip(self._names(), results.values.unbind(), strict=True))
        infos = dict(zip(values, results.infos, strict=True))
        wrong = [
            name
            for (name, value), is_wanted in zip(values.items(), wanted.tolist(), strict=True)
            if is_wanted and not value.isfinite()
        ]
        parts = [part for name in wrong for part in _not_finite(name, infos[name])]
        where = f" ({', '.join(parts)})" if parts else ""
        norms = {loss.name: loss.norm.item() for loss in self._losses()}
        weights = dict(zip(norms, results.weights.tolist(), strict=True))
        raise FloatingPointError(
            f"The loss {', '.join(wrong)} is not finite{where} on rank {rank()} in epoch "
            f"{self.epoch.item():g}: losses { {k: v.item() for k, v in values.items()} }, norms "
            f"{norms}, weights {weights}. Look at the batch and the predictions. The usual causes "
            "are a learning rate that is too high, and overflow in half precision."
        )

    def _combined(self, results: _Results) -> Tensor:
        """Returns the total, by the combiner (which gets `results.dtype`) or as the sum."""
        if self.combiner is None:
            return results.weighted.sum().to(results.dtype)
        total = self.combiner(results.weighted.to(results.dtype))
        if not isinstance(total, Tensor) or total.numel() != 1:
            got = f"the shape {tuple(total.shape)}" if isinstance(total, Tensor) else shown(total)
            raise ValueError(f"combiner must return a scalar tensor, got {got}.")
        return total.reshape(())

    def set_epoch(self, epoch: float) -> None:
        """Sets the current weights to the weights of an epoch, which may be a fraction.

        Raises:
            TypeError, ValueError: `epoch` is not a finite number.
        """
        weights = self.schedule.at(epoch)
        if is_traced():
            self._set_weights(weights, epoch)
        else:
            self._epochs.set_epoch(epoch)
            with _EPOCHS:
                self._set_weights(weights, epoch)

    def _set_weights(self, weights: Sequence[float], epoch: float) -> None:
        fill(self.current_weights, weights)
        self.epoch.fill_(epoch)
        self._knows_weights = True

    def update_norm(self, pred_batch: Batch, gt_batch: Batch, nums: float) -> None:
        """Adds a batch to the norm of every loss; see `Loss.update_norm`."""
        pred_batch, gt_batch = self._pre_processed(pred_batch, gt_batch)
        number = check_number("nums", nums, open_low=True)
        losses = self._losses()
        sums: dict[Loss, NormSums] = {}
        for indices in share_passes(losses):
            group = [losses[i] for i in indices]
            of_group = _naming(sums_of_losses, group, pred_batch, gt_batch, number)
            sums.update(zip(group, of_group, strict=True))
        for loss, each in sums.items():  # all of them, or none if one is wrong
            loss.add_to_norm(each)

    def reset_norm(self) -> None:
        """Sets the norm of every loss to 1; see `Loss.reset_norm`."""
        for loss in self._losses():
            loss.reset_norm()

    def check_norm(self) -> None:
        """Raises ValueError if a norm can't be used; see `Loss.check_norm`."""
        for loss in self._losses():
            loss.check_norm()

    def sync(self, world_size: int | None = None) -> None:
        """Makes every norm the average over the samples of all ranks; see `Loss.sync`."""
        for loss in self._losses():
            loss.sync(world_size)

    def as_criterion(self) -> Criterion:
        """Returns this loss as a module of (prediction, target) -> Tensor, for plain loops."""
        return Criterion(self)

    def _losses(self) -> list[Loss]:
        return [loss for loss in self.loss_funcs if isinstance(loss, Loss)]

    def _pre_processed(self, pred_batch: Batch, gt_batch: Batch) -> tuple[Batch, Batch]:
        """Returns the batches after all pre-processes."""
        modules = iter(self.pre_process_modules)  # which DataParallel copies, unlike a list
        for process in self.pre_processes:
            if isinstance(process, nn.Module):
                process = next(modules, process)
            if not (isinstance(pred_batch, Mapping) and isinstance(gt_batch, Mapping)):
                raise TypeError(
                    f"pre_processes need batches that are mappings, got "
                    f"{type(pred_batch).__name__} and {type(gt_batch).__name__}."
                )
            result = process(dict(pred_batch), dict(gt_batch))
            if not (isinstance(result, tuple) and len(result) == 2):
                raise TypeError(
                    f"A pre-process must return (pred_batch, gt_batch), but {process!r} returned "
                    f"{type(result).__name__}."
                )
            if not all(isinstance(batch, Mapping) for batch in result):
                raise TypeError(
                    "A pre-process must return (pred_batch, gt_batch), two mappings, but "
                    f"{process!r} returned {' and '.join(type(b).__name__ for b in result)}."
                )
            pred_batch, gt_batch = result
        return pred_batch, gt_batch

    def _initial_weights(self) -> Tensor:
        """Returns the weights (K,), with NaN for those that depend on the epoch."""
        return torch.tensor(
            [torch.nan if isinstance(weight, list) else weight for weight in self.schedule.weights],
            dtype=torch.float64,
        )

    def get_extra_state(self) -> dict[str, list[str]]:
        """Returns the names of the losses, so that a checkpoint of other losses is refused."""
        return {"losses": [loss.name for loss in self._losses()]}

    def set_extra_state(self, state: Any) -> None:
        """Does nothing, because the names were compared before anything was loaded."""

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        now = self.get_extra_state()
        check_same_names("losses", state_dict.get(f"{prefix}_extra_state", now), now["losses"])
        for i, loss in enumerate(self._losses()):
            loss.check_checkpoint(state_dict, f"{prefix}loss_funcs.{i}.")
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        constant = self._initial_weights().to(self.current_weights)
        self.current_weights.copy_(torch.where(constant.isnan(), self.current_weights, constant))
        self._knows_weights = not bool(self.current_weights.isnan().any())


class _ListenerHandle(RemovableHandle):
    """A handle that removes a listener while other threads compute."""

    def remove(self) -> None:
        """Removes the listener."""
        with _LISTENERS:
            super().remove()


def _listeners_of(listeners: dict[int, Any]) -> list[Any]:
    """Returns the listeners of this moment."""
    if is_traced():
        return list(listeners.values())
    with _LISTENERS:
        return list(listeners.values())


def _of_group(
    group: Sequence[Loss], pred_batch: Batch, gt_batch: Batch, unweighted: Sequence[Condition]
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Returns the losses of a group, (K,) or (), whose gradient is 0 for those without weight."""
    unused = all_hold(unweighted)
    inputs: tuple[Any, Any] = (pred_batch, gt_batch)
    if isinstance(unused, Tensor):
        inputs = no_gradients_if(unused, inputs)
    some = [] if unused is not False or not any(c is not False for c in unweighted) else unweighted
    if is_watched(group[0]):
        raw, info = group[0](*inputs, normalize=False)
        infos = [info]
    else:
        raw, infos = raw_losses(group, *inputs, some)
    if unused is True:
        raw = raw.detach() + zero_in_place_of(raw, [pred_batch, gt_batch, *group])
    return raw, infos


def _naming(function: Callable[..., _T], group: Sequence[Loss], *arguments: Any) -> _T:
    """Calls a function of a group of losses, whose errors then name them."""
    try:
        return function(group, *arguments)
    except Exception as error:
        names = ", ".join(repr(loss.name) for loss in group)
        words = f"In the {'loss' if len(group) == 1 else 'losses'} {names}"
        if not is_noted(error, words):
            add_note(error, f"{words}.")
        raise


def _not_finite(name: str, info: Mapping[str, Any]) -> list[str]:
    """Returns the names of the scalars in a loss's extra information that are not finite."""
    numbers = {k: v for k, v in info.items() if isinstance(v, Tensor) and v.ndim == 0}
    return [f"{name}.{key}" for key, value in numbers.items() if not value.isfinite()]


def _check_losses(loss_funcs: Any) -> list[Loss]:
    if not is_list(loss_funcs) and not isinstance(loss_funcs, nn.ModuleList):
        raise TypeError(
            f"loss_funcs must be a list of losses, got {type(loss_funcs).__name__}"
            f"{_list_of(loss_funcs)}."
        )
    if any(isinstance(loss, MultiLoss) for loss in loss_funcs):
        raise TypeError("loss_funcs must not hold a MultiLoss: put its losses into this one.")
    for i, loss in enumerate(loss_funcs):
        check_loss_func(f"loss_funcs[{i}]", loss)
    losses = [loss if isinstance(loss, Loss) else LossWrapper(loss) for loss in loss_funcs]
    if not losses:
        raise ValueError("loss_funcs must hold at least one loss.")
    names = [loss.name for loss in losses]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"The losses' names must be unique, got {repeated} more than once: set name= (for a "
            "plain module, LossWrapper(module, name=...))."
        )
    return losses


def _check_weights(weights: Any, expected: int) -> None:
    """Raises an error unless there is a list of weights with one for each loss."""
    if is_list(weights) and len(weights) == expected:
        return
    is_number = isinstance(weights, float)
    remedy = f": pass {[weights] * expected}" if is_number else list_meant("weights", weights)
    numbers = f"{expected}, got {len(weights)}" if is_list(weights) else ""
    raise ValueError(
        "weights must have one weight per loss: expected "
        f"{numbers or f'a list of {expected}, got {shown(weights)}{remedy}'}."
    )


def _list_of(losses: Any) -> str:
    """Returns the remedy for losses that are not in a list."""
    if isinstance(losses, Algebra):
        return f": pass [CompoundLoss({losses!r})], and [1.0] as weights"
    if isinstance(losses, Mapping):
        return ": pass list(loss_funcs.values()), and set the name of each, such as name='seg'"
    return ": pass [loss_funcs], and [1.0] as weights" if callable(losses) else ""


def _check_params(params: Any) -> dict[str, Any]:
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"normalization_params must be a mapping, got {shown(params)}.")
    for key in params or {}:  # other code may read others
        if key not in _PARAMS and (meant := nearest(key, _PARAMS)):
            raise ValueError(f"normalization_params[{key!r}] is unknown{meant}.")
    return dict(params or {})


def _check_pre_processes(pre_processes: Any) -> list[PreProcess]:
    if pre_processes is None:
        return []
    if not is_list(pre_processes) or not all(
        callable(process) and not isinstance(process, type) for process in pre_processes
    ):
        raise TypeError(
            f"pre_processes must be a list of callables (pred_batch, gt_batch) -> (pred_batch, "
            f"gt_batch), got {shown(pre_processes)}."
        )
    return list(pre_processes)
