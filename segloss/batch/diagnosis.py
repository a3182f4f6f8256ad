"""Diagnoses of the first batches: mistakes that no single value gives away, with their remedies.

The checks refuse a batch that can't be right. The findings here concern batches that can be: logits
that look like probabilities, or a class that never occurs. `FirstBatches` warns of each once;
`segloss.tools.diagnose` reports them for a whole dataset.

A false warning is worse than none, so each needs the evidence of many samples.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch, in_any_channel, where_valid
from segloss.foundation.ignore_index import values_of, written
from segloss.foundation.printable import counted
from segloss.foundation.tracing import is_traced

FEW_SAMPLES = 64
"""Samples after which it is strange that no pixel counts, or that none is foreground."""

MANY_SAMPLES = 1000
"""Samples after which it is strange that a class has not occurred. Counting ends there."""

LEAST_VALUES = 1000
"""The number of values that it takes to tell what they are, such as probabilities."""

_LEAST_LEVEL = 1 / 255
"""The value that images of 8 bits have for the level 1 after torchvision's ToTensor."""

_LISTED = 10
"""The number of classes that a message lists."""


class DiagnosisWarning(UserWarning):
    """A warning that data or options are probably not as intended; see `docs/checking.md`."""


class Finding(NamedTuple):
    """Something strange, with its remedy.

    Attributes:
        kind: A few words that tell findings apart.
        text: The message.
    """

    kind: str
    text: str


@dataclass
class Tally:
    """Counts of the pixels of some batches.

    Attributes:
        samples: Samples with at least one pixel.
        pixels: Pixels, counted or not.
        counted: Pixels that count: with sigmoid channels, in at least one of them.
        of_classes: Pixels of each class that count; for a dense target, the sums of its channels.
        samples_of_classes: Samples in which each class occurs.
        ignored: Pixels that have a value of `ignore_index`.
        activation: The activation that the predictions of the first batch seem to have gone through
            although they must not, "softmax" or "sigmoid", or an empty text.
        has_least_level: Whether a dense target holds 1/255.
        has_other_levels: Whether a dense target holds values other than 0 and 1/255.
    """

    samples: int = 0
    pixels: int = 0
    counted: int = 0
    of_classes: list[float] = field(default_factory=list)
    samples_of_classes: list[int] = field(default_factory=list)
    ignored: int = 0
    activation: str = ""
    has_least_level: bool = False
    has_other_levels: bool = False

    def add(self, pixels: PixelBatch) -> None:
        """Counts a batch that the checks have passed; waits for an accelerator."""
        prediction, target = pixels.prediction, pixels.target
        if prediction.numel() == 0:
            return
        samples, channels, count = prediction.shape
        if self.samples == 0:
            self.activation = _wrong_activation(pixels)
            self.of_classes, self.samples_of_classes = [0.0] * channels, [0] * channels
        kept, valid = pixels.kept(), pixels.valid()
        self._add_levels(pixels, valid)
        self.samples += samples
        self.pixels += samples * count
        self.counted += _count(in_any_channel(valid), samples * count)
        self.ignored += samples * count - _count(in_any_channel(kept), samples * count)
        for sums in _sums_of_samples(target, valid, pixels):
            numbers = sums.tolist()
            self.of_classes = [a + b for a, b in zip(self.of_classes, numbers, strict=True)]
            self.samples_of_classes = [
                a + (b > 0) for a, b in zip(self.samples_of_classes, numbers, strict=True)
            ]

    def _add_levels(self, pixels: PixelBatch, valid: Tensor | None) -> None:
        """Notes whether a soft target holds only 0 and 1/255."""
        if not pixels.is_soft or self.has_other_levels:
            return
        values = where_valid(pixels.target, valid).float() / _LEAST_LEVEL
        greatest = float(values.max())
        if abs(greatest - 1) < 0.01:
            self.has_least_level = True
            self.has_other_levels = not bool((((values - 1).abs() < 0.01) | (values == 0)).all())
        elif greatest > 0:
            self.has_other_levels = True

    @property
    def are_after_to_tensor(self) -> bool:
        """True if all masks hold only 0 and 1/255, as those of 0 and 1 do after ToTensor."""
        return self.has_least_level and not self.has_other_levels

    @property
    def absent(self) -> list[int]:
        """The classes that have not occurred."""
        return [c for c, number in enumerate(self.of_classes) if number == 0]

    @property
    def is_plain(self) -> bool:
        """True if every class has occurred, so that more batches can tell nothing new."""
        return self.samples > 0 and not self.absent and not self.are_after_to_tensor


class Evidence(NamedTuple):
    """The samples from which on something is strange, and their description in a message.

    Attributes:
        few: Samples after which it is strange that no pixel counts, or that none is foreground.
        many: Samples after which it is strange that a class has not occurred.
        which: The words before the number of samples.
    """

    few: int = FEW_SAMPLES
    many: int = MANY_SAMPLES
    which: str = "the first"

    def samples(self, tally: Tally) -> str:
        """Returns what messages call the samples of a tally."""
        return f"{self.which} {counted(tally.samples, 'sample')}"


FIRST = Evidence()
"""The first samples of a training."""

WHOLE = Evidence(1, 1, "the dataset's")
"""All samples of a dataset: there are no others in which a class could occur."""


def findings(
    tally: Tally,
    options: PixelOptions,
    names: BatchNames,
    *,
    takes_probabilities: bool = True,
    evidence: Evidence = FIRST,
) -> list[Finding]:
    """Returns what is strange about some batches.

    Args:
        tally: The counts of the batches.
        options: The options of the loss.
        names: What messages call the tensors.
        takes_probabilities: True if the loss has the argument `from_logits`.
        evidence: The number of samples that it takes.
    """
    remedy = ", or set from_logits=False" if takes_probabilities else ""
    texts = {
        "probabilities": _about_activation(tally.activation, options, names.pred, remedy),
        "ToTensor": _about_to_tensor(tally, names, evidence),
        "nothing counted": _about_nothing_counted(tally, options, names, evidence),
        "classes": _about_classes(tally, options, names, evidence),
    }
    return [Finding(kind, text) for kind, text in texts.items() if text]


class WarnsOnce:
    """Warns of each kind of finding once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def warn(self, found: Iterable[Finding], loss: object) -> None:
        """Warns of the findings whose kind is new; the warning names the loss."""
        for kind, text in found:
            if kind not in self._told:
                self._told.add(kind)
                warnings.warn(f"{_called(loss)}: {text}", DiagnosisWarning, stacklevel=_depth())


class FirstBatches(WarnsOnce):
    """Diagnoses the first batches of a loss, and warns of each finding once.

    On a CPU, batches are counted until every class has occurred, or for `MANY_SAMPLES`. On an
    accelerator, where a count waits for all queued work, only the first batch is counted, because
    the checks read it anyway; masks of 0 and 1/255 are counted for `FEW_SAMPLES`. Nothing is read
    in compiled, exported or captured code.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tally: Tally | None = Tally()

    @property
    def are_over(self) -> bool:
        """True if nothing is counted any more, or the values can't be read."""
        return is_traced() or self._tally is None

    def look(
        self, pixels: PixelBatch, names: BatchNames, options: PixelOptions, loss: object
    ) -> None:
        """Counts a batch that the checks have passed, and warns if something is strange.

        Args:
            pixels: The batch.
            names: What messages call its tensors.
            options: The options of the loss.
            loss: The loss, which warnings name.
        """
        tally, prediction = self._tally, pixels.prediction
        if tally is None or prediction.is_meta or prediction.numel() == 0:
            return
        if tally.samples and prediction.shape[1] != len(tally.of_classes):
            self._tally = None  # batches of different kinds
            return
        tally.add(pixels)
        takes_probabilities = getattr(loss, "takes_probabilities", True)
        found = findings(tally, options, names, takes_probabilities=takes_probabilities)
        self.warn(found, loss)
        if _is_over(tally, prediction.is_cpu):
            self._tally = None


class FirstPrediction(WarnsOnce):
    """Diagnoses the first prediction for a loss of PyTorch, which sees no `PixelBatch`."""

    def __init__(self) -> None:
        super().__init__()
        self._was_seen = False

    @property
    def is_over(self) -> bool:
        """True if a prediction was seen, or the values can't be read."""
        return is_traced() or self._was_seen

    def look(self, prediction: Tensor, name: str, takes: str, loss: object) -> None:
        """Warns if a prediction is not what the loss takes.

        Args:
            prediction: The prediction, (N, C, ...).
            name: What messages call it.
            takes: The activation that the loss computes, "softmax" or "sigmoid"; "log_softmax" if
                it takes the result.
            loss: The loss, which warnings name.
        """
        if prediction.is_meta or prediction.numel() == 0:
            return
        self._was_seen = True
        values = prediction.detach()
        if takes == "log_softmax":
            text = _about_log_probabilities(values, name)
        else:
            options = PixelOptions(2, takes)
            found = _activation_of(values, is_exclusive=takes == "softmax")
            text = _about_activation(found, options, name, "")
        self.warn([Finding("probabilities", text)] if text else [], loss)


def _about_log_probabilities(values: Tensor, name: str) -> str:
    """Returns the finding that log-probabilities are logits, or an empty text.

    Log-probabilities are at most 0, and probabilities, for which the loss is used too, at least 0.
    """
    low, high = (float(each) for each in torch.aminmax(values))
    if values.numel() < LEAST_VALUES or not low < -0.01 < 0.01 < high:
        return ""
    return (
        f"The loss takes log-probabilities, which are at most 0, and {name} has values from "
        f"{low:g} to {high:g}: pass {name}.log_softmax(1), or use nn.CrossEntropyLoss, which takes "
        "logits."
    )


def _is_over(tally: Tally, is_cpu: bool) -> bool:
    """Returns whether more batches can tell nothing new, or reading them would make steps wait."""
    if is_cpu:
        return tally.is_plain or tally.samples >= MANY_SAMPLES
    return tally.samples >= FEW_SAMPLES or not tally.are_after_to_tensor


def _depth() -> int:
    """Returns how many calls lie between the caller and the user's code."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and _is_library(frame.f_globals.get("__name__", "")):
        frame, depth = frame.f_back, depth + 1
    return depth


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in ("segloss", "torch")


def _called(loss: object) -> str:
    """Returns the class of a loss, and its name if it has one."""
    name = getattr(loss, "name", None)
    return type(loss).__name__ if name is None else f"{type(loss).__name__} {name!r}"


def _about_activation(found: str, options: PixelOptions, pred: str, remedy: str) -> str:
    """Returns the finding that predictions went through a wrong activation, or an empty text.

    Args:
        found: The activation.
        options: The options of the loss.
        pred: The name of the predictions.
        remedy: The end of the remedy for the loss's own activation.
    """
    independent = "for independent classes, set mode='multilabel' or activation='sigmoid'"
    if not found:
        return ""
    if not options.from_logits:
        return (
            f"The loss takes the probabilities of classes that exclude each other, and those of "
            f"{pred} add up to more than 1, like the results of a {found}: pass the softmax, or "
            f"logits with from_logits=True; {independent}."
        )
    if found == options.activation:
        return (
            f"The loss takes logits, and {pred} looks like the result of a {found}: leave the "
            f"{found} out of the network{remedy}."
        )
    return (
        f"The loss takes logits, of which it computes the {options.activation}, and {pred} looks "
        f"like the result of a {found}: leave the {found} out of the network; {independent}."
    )


def _about_to_tensor(tally: Tally, names: BatchNames, evidence: Evidence) -> str:
    """Returns the finding that masks went through ToTensor, or an empty text."""
    if tally.samples < evidence.few or not tally.are_after_to_tensor:
        return ""
    return (
        f"{names.target} holds only 0 and 1/255 in {evidence.samples(tally)}, as masks of 0 and 1 "
        "do after torchvision's ToTensor, so there is hardly any foreground: load masks "
        f"with PILToTensor, or pass (255 * {names.target}).round()."
    )


def _about_nothing_counted(
    tally: Tally, options: PixelOptions, names: BatchNames, evidence: Evidence
) -> str:
    """Returns the finding that no pixel counts, or none of the foreground, or an empty text."""
    if tally.samples < evidence.few or tally.ignored == 0:
        return ""
    ignoring = f"ignore_index={written(options.ignore_index)}"
    if tally.counted == 0:
        return (
            f"No pixel counts in {evidence.samples(tally)}: {ignoring} leaves out all of "
            f"{names.target}. Check its values, and set ignore_index to the one that marks pixels "
            "to leave out."
        )
    if sum(tally.of_classes[_first_foreground(tally) :]) > 0:
        return ""
    return (
        f"No foreground is left in {evidence.samples(tally)}: all pixels of {names.target} "
        f"are background, or left out by {ignoring}. If this value marks the foreground, as in a "
        "mask of 0 and 255, give it the label 1, and leave ignore_index out."
    )


def _about_classes(
    tally: Tally, options: PixelOptions, names: BatchNames, evidence: Evidence
) -> str:
    """Returns the finding that classes do not occur, or an empty text."""
    ignored, classes = values_of(options.ignore_index), len(tally.of_classes)
    absent = [c for c in tally.absent if c not in ignored]
    has_foreground = sum(tally.of_classes[_first_foreground(tally) :]) > 0
    if not absent or tally.counted == 0 or not (has_foreground or tally.ignored == 0):
        return ""
    if absent == [0] and classes > 2 and tally.samples >= evidence.few:
        return (
            f"Class 0 does not occur in {evidence.samples(tally)}, but all other classes "
            f"of {classes} do. If the labels start at 1, subtract 1, {names.target} - 1, and give "
            "the network one channel fewer."
        )
    if tally.samples < evidence.many:
        return ""
    listed = ", ".join(map(str, absent[:_LISTED])) + (" ..." if len(absent) > _LISTED else "")
    if classes == 1:
        return (
            f"{names.target} is 0 everywhere in {evidence.samples(tally)}. Check how the "
            "masks are read: a threshold or a division may have turned them into 0."
        )
    noun, verb, remedy = (
        ("Class", "does", "it is") if len(absent) == 1 else ("Classes", "do", "they are")
    )
    return (
        f"{noun} {listed} of {classes} {verb} not occur in {evidence.samples(tally)}. If "
        f"{remedy} not in the data, give the network fewer channels; if labels are remapped or "
        "resized, check how."
    )


def _first_foreground(tally: Tally) -> int:
    """Returns the index of the first class that is not the background."""
    return 1 if len(tally.of_classes) > 1 else 0


def _wrong_activation(pixels: PixelBatch) -> str:
    """Returns the activation that predictions must not have gone through, or an empty text."""
    values = pixels.prediction.detach()
    if pixels.options.from_logits:
        return _activation_of(values, is_exclusive=pixels.is_exclusive)
    is_wrong = pixels.is_exclusive and values.numel() >= LEAST_VALUES and _exceed_one(values)
    return "sigmoid" if is_wrong else ""


def _activation_of(values: Tensor, *, is_exclusive: bool) -> str:
    """Returns the activation that logits (N, C, ...) look to have gone through, or an empty text.

    A few logits may lie in [0, 1], but not many on both sides of the middle.
    """
    if values.numel() < LEAST_VALUES:
        return ""
    low, high = (float(each) for each in torch.aminmax(values))
    if not 0 <= low <= high <= 1:
        return ""
    if is_exclusive and bool(((values.float().sum(1) - 1).abs() < 0.01).all()):
        return "softmax"
    return "sigmoid" if low < 0.4 and high > 0.6 else ""


def _exceed_one(values: Tensor) -> bool:
    """Returns whether the sums over classes exceed 1 by more than a resize can make them.

    They may be less than 1, if channels are selected.
    """
    return float((values.float().sum(1) > 1.2).float().mean()) > 0.01


def _count(mask: Tensor | None, all_pixels: int) -> int:
    """Returns the number of pixels (N, P) in a mask; None: all."""
    return all_pixels if mask is None else int(mask.sum())


def _sums_of_samples(target: Tensor, valid: Tensor | None, pixels: PixelBatch) -> Sequence[Tensor]:
    """Returns for each sample the number of pixels of each class that count, (C,)."""
    channels = pixels.prediction.shape[1]
    if not pixels.is_label_map:
        values = target if valid is None else target.masked_fill(~valid, 0)
        return list(values.sum(2, dtype=torch.float64 if target.is_cpu else torch.float32))
    valid = in_any_channel(valid)
    flat = [sample if valid is None else sample[kept] for sample, kept in _pairs(target, valid)]
    return [_occurrences(sample.long(), channels) for sample in flat]


def _occurrences(labels: Tensor, channels: int) -> Tensor:
    """Returns how often each class occurs, (C,). Only a CPU counts in bins without atomics."""
    if labels.is_cpu:
        return torch.bincount(labels, minlength=channels)
    counts = torch.zeros(channels, dtype=torch.int64, device=labels.device)
    return counts.index_add_(0, labels, torch.ones_like(labels))


def _pairs(target: Tensor, valid: Tensor | None) -> Iterable[tuple[Tensor, Tensor]]:
    return zip(target, target if valid is None else valid, strict=True)
