"""The diagnosis of a dataset: what a loss sees in it, and what is probably not as intended.

It extends the diagnosis of a training's first batches (`segloss.batch.diagnosis`) to all batches.
"""

from __future__ import annotations

import copy
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segloss.batch.diagnosis import FIRST, WHOLE, DiagnosisWarning, Finding, Tally, findings
from segloss.batch.keys import take
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.foundation.arguments import check_flag, check_integer, shown
from segloss.foundation.printable import counted, printable
from segloss.losses.compound_loss import CompoundLoss
from segloss.losses.deep_supervision import DeepSupervision
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.multi_loss import MultiLoss
from segloss.losses.seg_loss import SegLoss
from segloss.terms.mixture.signed_distances import DistanceTally
from segloss.tools.bar import with_bar

Readable = SegLoss | CompoundLoss
"""The losses whose pixels can be examined."""

_WIDTH = 88

_REFUSED = 5
"""The number of refused batches that a page shows."""

_CLASSES = 60
"""The number of classes that a page shows."""


@dataclass(frozen=True)
class Diagnosis:
    """The view that a loss has of a dataset, as data, or as a page when printed.

    Attributes:
        loss: The loss, as it is written.
        batches: The number of batches.
        tally: The counts of pixels and classes.
        refused: The messages of batches that the loss refuses, with their numbers.
        findings: The things that are probably not as intended, with remedies.

    Example:
        >>> page = diagnose(SegLoss(n_classes=3), [torch.tensor([[[0, 1, 1, 0]]])], quiet=True)
        >>> page.passed, page.tally.absent
        (False, [2])
    """

    loss: str
    batches: int
    tally: Tally
    refused: list[str]
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        """True if no batch was refused, and nothing was found."""
        return not (self.refused or self.findings)

    def __str__(self) -> str:
        texts = [finding.text for finding in self.findings]
        hidden = len(self.refused) - _REFUSED
        texts += self.refused[:_REFUSED] + ([f"{hidden} more were refused."] if hidden > 0 else [])
        notes = [_wrapped(f"- {text}", "  ") for text in texts or ["Nothing strange was found."]]
        return "\n".join([self._headline(), self._counts(), "", *self._table(), "", *notes])

    def _headline(self) -> str:
        count = len(self.findings)
        verdict = "as it should be" if self.passed else counted(count, "finding")
        if len(self.refused) == self.batches > 0:
            verdict = "nothing was examined"
        count = len(self.refused)
        refused = f", {count} batch{'es' * (count != 1)} refused" if count else ""
        return _wrapped(f"{self.loss}: {verdict}{refused}", "  ")

    def _counts(self) -> str:
        tally = self.tally
        share = 100 * tally.counted / max(1, tally.pixels)
        return (
            f"{self.batches:,} batch{'es' * (self.batches != 1)}, {tally.samples:,} "
            f"sample{'s' * (tally.samples != 1)}, {tally.pixels:,} pixels, of which {share:.3g} % "
            "count"
        )

    def _table(self) -> Iterator[str]:
        """Yields the lines of the table of classes."""
        tally = self.tally
        total = max(1.0, float(tally.counted))
        yield "class   share of pixels   share of samples"
        for c, (pixels, samples) in enumerate(
            zip(tally.of_classes[:_CLASSES], tally.samples_of_classes, strict=False)
        ):
            of_samples = 100 * samples / max(1, tally.samples)
            yield f"{c:<5}   {100 * pixels / total:>13.3g} %   {of_samples:>14.3g} %"
        if len(tally.of_classes) > _CLASSES:
            yield f"... and {len(tally.of_classes) - _CLASSES} more"


def diagnose(
    loss: nn.Module,
    batches: Iterable[Any],
    model: Callable[[Any], Any] | None = None,
    *,
    n_classes: int | None = None,
    max_batches: int | None = None,
    quiet: bool = False,
) -> Diagnosis:
    """Examines a dataset as a loss sees it, prints a page of findings, and returns it.

    It counts the classes of every batch, notes the batches that the loss refuses, and gives the
    warnings that training would give: no foreground left after `ignore_index`, labels that start at
        1, classes that do not occur, arguments that change nothing. The loss stays unchanged.

    Args:
        loss: A `SegLoss`, `CompoundLoss` or loss of a term; or a `DeepSupervision`, `LossWrapper`
            or `MultiLoss` with one; the first is taken.
        batches: A data loader, or any batches: mappings with the target under the loss's `gt_key`,
            pairs (input, target), or targets alone.
        model: The network, or any function of a batch's input, or of a batch that is a mapping,
            that returns predictions; then the predictions are examined, too. None: the targets
            alone, unless the mappings have predictions.
        n_classes: The number of channels of the predictions, if neither the loss nor a model
            determines it.
        max_batches: The number of batches to look at; None: all.
        quiet: True to show no bar and print nothing.

    Raises:
        TypeError, ValueError: An argument is wrong, a batch is none of these, or there is none.

    Example:
        >>> labels = torch.tensor([[[1, 2, 2, 1]]]).expand(64, 1, 4)
        >>> page = diagnose(SegLoss(n_classes=3), [labels])
        SegLoss('seg', 0.5 * CrossEntropy() + 0.5 * Dice(), n_classes=3, activation='softmax',
          from_logits=True): 1 finding
        1 batch, 64 samples, 256 pixels, of which 100 % count
        <BLANKLINE>
        class   share of pixels   share of samples
        0                   0 %                0 %
        1                  50 %              100 %
        2                  50 %              100 %
        <BLANKLINE>
        - Class 0 does not occur in the dataset's 64 samples, but all other classes of 3 do. If
          the labels start at 1, subtract 1, the target - 1, and give the network one channel
          fewer.
    """
    if isinstance(batches, nn.Module) and not isinstance(loss, nn.Module):
        raise TypeError(
            f"loss must be a loss, got {shown(loss)}: it comes first, diagnose(loss, batches)."
        )
    reader = copy.deepcopy(_readable(loss))
    check_flag("quiet", quiet)
    if n_classes is not None:
        check_integer("n_classes", n_classes, 1)
    if max_batches is not None:
        check_integer("max_batches", max_batches, 1)
    is_one = isinstance(batches, (Tensor, Mapping)) or (
        isinstance(batches, tuple) and all(isinstance(each, Tensor) for each in batches)
    )
    if is_one or not isinstance(batches, Iterable):
        remedy = ": pass a list of it, [batch]" if is_one else ""
        raise TypeError(
            f"batches must be a data loader or a list of batches, got {shown(batches)}{remedy}."
        )
    tally, distances, refused, count = Tally(), DistanceTally(), [], 0
    total = len(batches) if isinstance(batches, Sized) else None
    names = BatchNames("the prediction", "the target")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosisWarning)
        shown_batches = batches if quiet else with_bar(batches, "diagnosing", total)
        for number, batch in enumerate(shown_batches):
            if number == max_batches:
                break
            count += 1
            try:
                pixels = _pixels(reader, batch, model, n_classes)
                tally.add(pixels)
                distances.add([reader.mixture], pixels)
            except (TypeError, ValueError, KeyError, IndexError) as error:
                refused.append(f"Batch {number} is refused: {error}")
    if tally.samples == 0 and not refused:
        raise ValueError(
            "batches must have at least one sample, got none: pass the data loader itself, since "
            "an iterator or a generator is empty after one pass, and check that its dataset is not "
            "empty."
        )
    takes_probabilities = getattr(reader, "takes_probabilities", True)
    strange = [
        *findings(
            tally,
            reader.options,
            names,
            takes_probabilities=takes_probabilities,
            evidence=WHOLE if max_batches is None else FIRST,
        ),
        *distances.findings(),
        *reader.unused_options(),
    ]
    page = Diagnosis(repr(reader).partition("\n")[0], count, tally, refused, strange)
    if not quiet:
        print(page)
    return page


def _readable(loss: Any) -> Readable:
    """Returns the loss, or the first in it, whose pixels can be examined."""
    if isinstance(loss, (SegLoss, CompoundLoss)):
        return loss
    inner: Sequence[Any] = ()
    if isinstance(loss, MultiLoss):
        inner = list(loss.loss_funcs)
    elif isinstance(loss, DeepSupervision):
        inner = [loss.loss]
    elif isinstance(loss, LossWrapper):
        inner = [loss.loss_func]
    for each in inner:
        if isinstance(each, (SegLoss, CompoundLoss, DeepSupervision, LossWrapper, MultiLoss)):
            return _readable(each)
    raise TypeError(
        "loss must be a SegLoss, a CompoundLoss or a loss of a term, or contain one, got "
        f"{shown(loss)}: how other losses read a target is unknown."
    )


def _pixels(
    reader: Readable, batch: Any, model: Callable[[Any], Any] | None, n_classes: int | None
) -> PixelBatch:
    """Returns the checked batch, with predictions of 0 if there are none."""
    pred_key = reader.pred_key if isinstance(reader, SegLoss) else "seg"
    gt_key = reader.gt_key if isinstance(reader, SegLoss) else "gt_polygons_image"
    given, gt_batch = _parts(batch)
    target = take(gt_batch, gt_key, "batch")
    prediction = given.get(pred_key) if isinstance(given, Mapping) else None
    if prediction is None and model is not None:
        prediction = model(given)
        prediction = take(prediction, pred_key, "the model's output")
    if prediction is None:
        reader.reader.pred_channels = None  # its channels are made for the loss
        prediction = _zeros(reader, target, n_classes)
    if isinstance(reader, SegLoss):
        return reader.pixels(prediction, gt_batch)
    return reader.pixels(prediction, target)


def _parts(batch: Any) -> tuple[Any, Any]:
    """Returns the input and the target of a batch, or the mapping or target for both."""
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, (Mapping, Tensor)):
        return batch, batch
    raise TypeError(
        "batches must hold mappings, pairs (input, target) or targets, got "
        f"{shown(batch)}: for example ((image, mask) for image, mask, *_ in loader)."
    )


def _zeros(reader: Readable, target: Tensor, n_classes: int | None) -> Tensor:
    """Returns predictions of 0, which need no memory, of the shape that fits a target."""
    channels = n_classes or _channels_of(reader, target)
    has_axis = target.ndim > 3 and target.shape[1] in (1, channels)
    selects = reader.gt_channels is not None
    size = target.shape[2:] if has_axis or selects else target.shape[1:]
    return torch.zeros((), device=target.device).expand(len(target), channels, *size)


def _channels_of(reader: Readable, target: Tensor) -> int:
    """Returns the number of channels that a loss expects of predictions."""
    is_softmax = reader.options.activation == "softmax"
    if isinstance(reader, SegLoss) and (is_softmax or reader.n_classes > 2):
        return reader.n_classes
    if is_softmax and reader.class_weights is not None:
        return len(reader.class_weights)
    if is_softmax:
        raise ValueError(
            "n_classes must be given, since the loss reads it from predictions: pass "
            "n_classes=..., or the model."
        )
    if reader.gt_channels is not None:
        return reader.gt_channels(target, "the target").shape[1]
    return target.shape[1] if target.ndim > 3 else 1


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(printable(text), _WIDTH, subsequent_indent=indent)
