"""The reference shape: a disc, and predictions of it that are moved, resized or blurred.

The truth is a disc. Its prediction is confident inside and soft at the edge. If classes exclude
each other, the disc is cut into sectors, one for each class but the background. If channels are
independent, each has the whole disc. With frame fields, the second channel has the edge of the
disc, and the third its corners, so it is empty.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.examples.example_search import (
    SPATIAL,
    NoExampleError,
    find_form,
    with_maps,
)
from segloss.tools.check.examples.forms import Form, forms, keys_of
from segloss.tools.check.examples.frame_field_example import needs_fields
from segloss.tools.check.examples.requirements import channels_of
from segloss.tools.check.examples.shared_form import find_shared_form
from segloss.tools.check.loss_under_test import parts_of, preserved, scalar_of
from segloss.tools.plots.reference_maps import maps_of

Array = NDArray[np.float64]

SIDE = 96
CENTRE = (47.5, 35.5)
"""Row and column; the disc stays in the image for all shifts and radii here."""

RADIUS = 20.0
CONFIDENT = 8.0
"""The largest logit, of either sign: a probability of 0.9997."""

_EDGE = 2.0
"""Half the width of the disc's edge, in pixels."""


class Setting(NamedTuple):
    """A prediction of the disc.

    Attributes:
        shift: The shift to the right, in pixels.
        factor: The predicted radius over the true radius.
        softness: The number of pixels in which a logit changes by 1 at the edge.
    """

    shift: float = 0.0
    factor: float = 1.0
    softness: float = 1.0


class Sweep(NamedTuple):
    """Settings that differ in one field.

    Attributes:
        field: The name of the field.
        values: Its values.
        title: The change of the prediction, in words.
        label: The meaning and unit of the values.
        colour: The colour of the curve.
    """

    field: str
    values: Array
    title: str
    label: str
    colour: str

    def at(self, value: float) -> Setting:
        """Returns the setting with a value of the field."""
        return Setting()._replace(**{self.field: float(value)})


class ErrorRange(NamedTuple):
    """A kind of error, from none to the largest.

    Attributes:
        sweep: The sweep with this kind of error.
        values: The values, from the correct one to the largest error.
        label: The error in words.
        colour: The colour of the curve.
    """

    sweep: Sweep
    values: Array
    label: str
    colour: str


_MOVED, _GROWN, _BLURRED, _SHRUNK = "#0072B2", "#D55E00", "#009E73", "#E69F00"

SHIFTED = Sweep("shift", np.arange(0.0, 41.0), "moved sideways", "shift in pixels", _MOVED)
RESIZED = Sweep(
    "factor", np.linspace(0.4, 1.8, 43), "shrunk or grown", "radius over the true one", _GROWN
)
BLURRED = Sweep(
    "softness", np.geomspace(0.25, 16.0, 37), "blurred", "softness of the edge in pixels", _BLURRED
)
SWEEPS = (SHIFTED, RESIZED, BLURRED)

ERROR_RANGES = (
    ErrorRange(SHIFTED, np.linspace(0, 40, 21), "moved, up to\n40 pixels", _MOVED),
    ErrorRange(RESIZED, np.linspace(1, 1.8, 17), "grown, up to\n1.8 times", _GROWN),
    ErrorRange(RESIZED, np.linspace(1, 0.4, 17), "shrunk, down to\n0.4 times", _SHRUNK),
    ErrorRange(BLURRED, np.geomspace(1, 16, 17), "blurred, up to\n16 pixels", _BLURRED),
)


def distance(row: float, column: float) -> Tensor:
    """Returns the distance of each pixel from a point, (1, 1, SIDE, SIDE), float64."""
    down, right = _offsets(row, column)
    return torch.hypot(down, right)[None, None]


def true_mask() -> Tensor:
    """Returns the disc, (1, 1, SIDE, SIDE), float64."""
    return (distance(*CENTRE) < RADIUS).double()


def logits_of(setting: Setting) -> Tensor:
    """Returns a prediction of the disc, (1, 1, SIDE, SIDE), float64."""
    return _confident(_depth(setting), setting)


def loss_of_disc(loss: Any) -> Callable[[Setting], float]:
    """Returns a function from a prediction of the disc to its loss.

    Args:
        loss: A loss of this package, or any module or function of (prediction, target).

    Raises:
        NoExampleError: The loss takes none of the batches tried, with two spatial dimensions; or
            it is a `MultiLoss` whose losses can't see one prediction and one target.
    """
    loss = with_maps(loss)
    if isinstance(loss, MultiLoss):
        shared = find_shared_form(loss, channels_of(loss, None), SPATIAL)
        if shared.refusals:
            raise NoExampleError("; ".join(shared.refusals.values()))
        return value_of_disc(loss, [(shared.losses[n], form) for n, form in shared.forms.items()])
    with preserved(loss):
        form = find_form(loss, forms(loss, channels_of(loss, None)), SPATIAL)
    return value_of_disc(loss, [(loss, form)])


def value_of_disc(loss: Any, views: Sequence[tuple[Any, Form]]) -> Callable[[Setting], float]:
    """Returns a function from a prediction of the disc to its loss.

    Args:
        loss: The loss.
        views: The losses whose keys the batch has, each with the form that it takes.

    Raises:
        NoExampleError: A loss needs a map that can't be made here.
    """
    parts = [(part, form, _maps(part, form)) for part, form in views]

    @torch.no_grad()
    def value(setting: Setting) -> float:
        with preserved(loss), _one_thread():
            batches = [_batch_of(setting, *each) for each in parts]
            pred, gt = batches[0]
            if views[0][1].batched:
                pred = {key: tensor for batch, _ in batches for key, tensor in batch.items()}
                gt = {key: tensor for _, batch in batches for key, tensor in batch.items()}
            return scalar_of(loss(pred, gt)).item()

    return value


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Runs a context on one thread: for a small disc, several threads would mostly wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _batch_of(
    setting: Setting, loss: Any, form: Form, maps: Mapping[str, Tensor]
) -> tuple[Any, Any]:
    """Returns the prediction and the truth in the form that the loss takes, float32."""
    fields = needs_fields(loss)
    logits, labels = _channels(setting, form, fields), _labels(form)
    if not form.from_logits:
        exclusive = _is_exclusive(form) and not fields
        logits = logits.softmax(1) if exclusive else logits.sigmoid()
    prediction = logits.float()
    target = _target(labels, form, fields)
    if not form.batched:
        return prediction, target
    pred_key, gt_key = keys_of(loss)
    pred, gt = {pred_key: prediction}, {gt_key: target, **maps}
    return _with_fields(setting, pred, gt, gt_key, loss) if fields else (pred, gt)


def _offsets(row: float, column: float) -> tuple[Tensor, Tensor]:
    axis = torch.arange(SIDE, dtype=torch.float64)
    return (axis[:, None] - row).expand(SIDE, SIDE), (axis[None] - column).expand(SIDE, SIDE)


def _angle(column: float) -> Tensor:
    """Returns the direction from the disc's centre to each pixel, (1, 1, SIDE, SIDE)."""
    down, right = _offsets(CENTRE[0], column)
    return torch.atan2(down, right)[None, None]


def _depth(setting: Setting) -> Tensor:
    """Returns the depth of each pixel inside the predicted disc, in pixels."""
    return setting.factor * RADIUS - distance(CENTRE[0], CENTRE[1] + setting.shift)


def _confident(depth: Tensor, setting: Setting) -> Tensor:
    return (depth / setting.softness).clamp(-CONFIDENT, CONFIDENT)


def _is_exclusive(form: Form) -> bool:
    """Returns whether classes exclude each other, as in a label map for several channels."""
    return form.channels > 1 and ("label map" in form.target or form.exclusive)


def _channels(setting: Setting, form: Form, fields: bool) -> Tensor:
    """Returns the logits of all channels, (1, C, SIDE, SIDE)."""
    depth = _depth(setting)
    if fields and form.channels > 1:
        edge = _EDGE - depth.abs()
        corners = torch.full_like(depth, -torch.inf).expand(-1, form.channels - 2, -1, -1)
        return _confident(torch.cat([depth, edge, corners], 1), setting)
    if not _is_exclusive(form):
        return logits_of(setting).expand(-1, form.channels, -1, -1)
    pieces = [_piece_depth(setting, i, form.channels - 1) for i in range(form.channels - 1)]
    inside = [torch.minimum(depth, piece) for piece in pieces]
    return _confident(torch.cat([-depth, *inside], 1), setting) / 2


def _piece_depth(setting: Setting, index: int, pieces: int) -> Tensor:
    """Returns the depth of each pixel inside a sector, measured from its two straight sides."""
    middle = 2 * math.pi * (index + 0.5) / pieces - math.pi
    column = CENTRE[1] + setting.shift
    angle = (_angle(column) - middle + math.pi).remainder(2 * math.pi) - math.pi
    if pieces == 1:
        return torch.full_like(angle, torch.inf)
    return (math.pi / pieces - angle.abs()) * distance(CENTRE[0], column)


def _labels(form: Form) -> Tensor:
    """Returns the truth as a label map, (1, SIDE, SIDE)."""
    pieces = max(form.channels - 1, 1) if _is_exclusive(form) else 1
    turn = (_angle(CENTRE[1]) + math.pi) / (2 * math.pi)
    piece = (turn * pieces).long().clamp(max=pieces - 1)
    return ((piece + 1) * true_mask().long())[0]


def _target(labels: Tensor, form: Form, fields: bool) -> Tensor:
    if fields and form.channels > 1:
        edge = (RADIUS - distance(*CENTRE)).abs() < _EDGE
        return torch.cat([true_mask(), edge.double(), torch.zeros_like(true_mask())], 1).float()
    if _is_exclusive(form):
        return form.target_of(labels)
    if "label map" in form.target:
        return labels.float().unsqueeze(1) if "float" in form.target else labels
    masks = true_mask().expand(-1, form.channels, -1, -1)
    return masks.long() if form.target == "integer masks" else masks.float()


def _maps(loss: Any, form: Form) -> dict[str, Tensor]:
    """Returns the maps that a loss needs of the truth, each (1, C, SIDE, SIDE)."""
    exclusive = _is_exclusive(form)
    masks = true_mask().long().expand(-1, form.channels, -1, -1)
    if exclusive:
        masks = F.one_hot(_labels(form), form.channels).movedim(-1, 1)
    return maps_of(loss, masks, exclusive=exclusive)


def _with_fields(
    setting: Setting, pred: dict[str, Tensor], gt: dict[str, Tensor], gt_key: str, loss: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns both batches with frame fields, for the predicted and the true disc."""
    names = {"crossfield_key": "crossfield", "angle_key": "gt_crossfield_angle"}
    for part in parts_of(loss):
        names.update({key: getattr(part, key) for key in names if hasattr(part, key)})
    angle = 4 * _tangent(CENTRE[1] + setting.shift)
    zeros = torch.zeros_like(angle)
    field = torch.cat([-angle.cos(), -angle.sin(), zeros, zeros], 1)
    masks = gt[gt_key]
    shares = masks.flatten(2).mean(2) if masks.ndim == 4 else masks.float().mean().reshape(1, 1)
    inside = true_mask()
    added = {
        names["angle_key"]: _tangent(CENTRE[1]).float(),
        "class_freq": shares.clamp(0.01, 0.3),
        "distances": torch.ones(1, 1, SIDE, SIDE),
        "sizes": torch.where(inside > 0, inside.mean(), 1.0).float(),
    }
    return {**pred, names["crossfield_key"]: field.float()}, {**gt, **added}


def _tangent(column: float) -> Tensor:
    """Returns the direction of the edge around a centre, as an angle from down to right."""
    down, right = _offsets(CENTRE[0], column)
    return (torch.atan2(right, down) + math.pi / 2)[None, None]
