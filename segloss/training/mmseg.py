r"""A loss of mmsegmentation that computes terms of segloss: `CompoundLoss` in a config.

A config of mmsegmentation loads it with a line of its own, and names it in the heads:

    custom_imports = dict(imports=["segloss.training.mmseg"])
    model = dict(decode_head=dict(loss_decode=dict(type="CompoundLoss", terms=dict(dice=1.0))))

`segloss.losses.compound_loss` has the loss itself; this module adapts its call, names and means to
mmsegmentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.arguments import check_flag, check_number, check_text
from segloss.foundation.dtypes import equals_any
from segloss.foundation.ignore_index import check_ignore_index, values_of
from segloss.foundation.precision import Precise, arithmetic_dtype
from segloss.losses import compound_loss
from segloss.sums.autograd import run
from segloss.sums.plan import plan_of
from segloss.terms import Mixture, PixelTerm, Term
from segloss.terms.base import mean

try:
    from mmseg.registry import MODELS
except ImportError as error:
    raise ImportError(
        "segloss.training.mmseg needs mmsegmentation, with MMCV 2.0 or 2.1: pip install "
        "mmsegmentation, and mmcv as its documentation says."
    ) from error

_IGNORED = -100
"""The label that stands for the `ignore_index` of every head."""


_FIXED = {
    "mode": "leave it out, or set use_sigmoid=True for masks",
    "ignore_index": "set it in the head, which passes it to its losses",
    "reduction": "leave it out, since heads add up means",
}
"""Options of `segloss.CompoundLoss` that mmsegmentation decides, and where it does so."""


@MODELS.register_module()
class CompoundLoss(Precise):
    r"""Terms with coefficients as a loss of mmsegmentation's heads.

    .. math:: L = w \sum_t c_t\,\mathrm{term}_t

    with the weight w and the coefficients :math:`c_t`; see `segloss.CompoundLoss`. Pixels of the
    head's `ignore_index` are left out of all terms.

    Args:
        terms: The terms with coefficients, such as `dict(cross_entropy=0.5, dice=0.5)`, or a
            mixture of `segloss.terms`; None: the default of `segloss.CompoundLoss`.
        use_sigmoid: True: a sigmoid for each channel, for one channel or several; a label map then
            becomes a mask for each channel. False: softmax over the channels.
        class_weight: Weights in the cross-entropy, as in mmsegmentation: of the classes, (C,); with
            `use_sigmoid`, of the positive class, a number or (C,).
        avg_non_ignore: The pixels in the means of terms over pixels, such as cross-entropy. True:
            those that count, as in PyTorch; False: all, mmsegmentation's default.
        loss_weight: The weight w.
        loss_name: The name in the log. mmsegmentation adds up the losses whose names begin with
            "loss_".
        **options: Options of `segloss.CompoundLoss`, such as `label_smoothing`.

    Raises:
        TypeError, ValueError: An argument is wrong.

    Example:
        >>> loss = CompoundLoss(terms=dict(dice=1.0), use_sigmoid=True, loss_name="loss_dice")
        >>> loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[0, 1], [1, 255]]]), ignore_index=255)
        tensor(0.3333)
    """

    def __init__(
        self,
        terms: Mixture | Term | Mapping[Any, Any] | None = None,
        *,
        use_sigmoid: bool = False,
        class_weight: Any = None,
        avg_non_ignore: bool = True,
        loss_weight: float = 1.0,
        loss_name: str = "loss_seg",
        **options: Any,
    ) -> None:
        super().__init__()
        self.use_sigmoid = check_flag("use_sigmoid", use_sigmoid)
        self.avg_non_ignore = check_flag("avg_non_ignore", avg_non_ignore)
        self.loss_weight = check_number("loss_weight", loss_weight)
        self.loss_name = check_text("loss_name", loss_name)
        if not loss_name.startswith("loss_"):
            raise ValueError(
                f"loss_name must begin with 'loss_', got {loss_name!r}: mmsegmentation leaves "
                f"others out of the total. Write loss_name='loss_{loss_name}'."
            )
        for name, remedy in _FIXED.items():
            if name in options:
                raise TypeError(f"{name} is not an argument of this loss: {remedy}.")
        if class_weight is not None:
            options["pos_weight" if use_sigmoid else "class_weights"] = class_weight
        self.loss = compound_loss.CompoundLoss(
            terms, "multilabel" if use_sigmoid else "multiclass", ignore_index=_IGNORED, **options
        )
        if not avg_non_ignore and self.loss.class_weights is not None:
            raise ValueError(
                "class_weight with softmax needs avg_non_ignore=True: a mean over all pixels would "
                "need the weights of ignored ones, which have no class."
            )

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int | Sequence[int] | None = 255,
        avg_factor: Any = None,
        reduction_override: str | None = None,
        **_: Any,
    ) -> Tensor:
        """Returns the loss of a head's logits.

        Args:
            pred: Logits (N, C, *spatial); with `use_sigmoid` also (Q, P), a mask in each row.
            target: A label map (N, *spatial), or a mask of the shape of `pred`.
            weight: Weights of pixels, (N, *spatial), as a sampler of the head gives them. As in
                mmsegmentation, they do not change the number by which a mean over pixels divides,
                and each process has its own mean.
            ignore_index: The label of pixels to leave out, or a list of several; None: no label.
            avg_factor: The divisor of the mean over pixels, or over the masks of a region term, if
                it is not their number.
            reduction_override: None or "mean".

        Raises:
            TypeError, ValueError: An argument is wrong, or `avg_factor` is given for terms of both
                kinds.
        """
        if reduction_override not in (None, "mean"):
            raise ValueError(
                f"reduction_override must be None or 'mean', got {reduction_override!r}: region "
                "terms have no value for a pixel."
            )
        if isinstance(target, Tensor) and isinstance(pred, Tensor):
            target = self._marked(target, ignore_index)
        value: Tensor
        if weight is None and avg_factor is None and self.avg_non_ignore:
            value = self.loss(pred, target)
        else:
            pixels = self.loss.pixels(pred, target, pixel_weights=weight)
            value = self._with_divisor(pixels, avg_factor).to(arithmetic_dtype(pred.dtype))
        return self.loss_weight * value

    def extra_repr(self) -> str:
        """Returns the name, the weight, and how means are taken."""
        return (
            f"loss_name={self.loss_name!r}, loss_weight={self.loss_weight}, "
            f"avg_non_ignore={self.avg_non_ignore}"
        )

    def _marked(self, target: Tensor, ignore_index: Any) -> Tensor:
        """Returns the target with one label for ignored pixels, of a dtype that can hold it."""
        if target.dtype in (torch.bool, torch.uint8):
            target = target.long()
        values = values_of(check_ignore_index(ignore_index))
        return target.masked_fill(equals_any(target, values), _IGNORED) if values else target

    def _with_divisor(self, pixels: PixelBatch, avg_factor: Any) -> Tensor:
        """Returns the terms with a divisor in place of the weights of what they average.

        Raises:
            ValueError: One factor would divide sums over pixels and over regions.
        """
        entries = self.loss.mixture.components
        over_pixels = [isinstance(entry.term, PixelTerm) for entry in entries]
        if avg_factor is not None and len(set(over_pixels)) > 1:
            raise ValueError(
                "avg_factor is a number of pixels for some terms, and of masks for others, got "
                f"{self.loss.mixture}: write two entries in loss_decode, each with terms of one "
                "kind."
            )
        plan = plan_of(each for entry in entries for each in entry.term.pass_sums)
        confusion = run(pixels, plan).confusion()
        values = []
        for entry, is_over_pixels in zip(entries, over_pixels, strict=True):
            numerator, denominator = entry.term(confusion)
            divisor = denominator.sum()
            if avg_factor is not None:
                divisor = torch.as_tensor(avg_factor).to(divisor)
            elif is_over_pixels:
                divisor = self._number(pixels).to(divisor)
            values.append(entry.coefficient * mean(numerator.sum(), divisor))
        return torch.stack(values).sum()

    def _number(self, pixels: PixelBatch) -> Tensor:
        """Returns the number of pixels in a mean, or the sum of the weights of their classes."""
        rows = pixels.prediction[:, :1] if pixels.is_exclusive else pixels.prediction
        kept = pixels.kept()
        if kept is None or not self.avg_non_ignore:
            kept = torch.ones_like(rows, dtype=torch.bool)
        if pixels.class_weights is None or not (pixels.is_label_map and pixels.is_exclusive):
            return kept.expand_as(rows).sum()
        labels, _ = pixels.labels(kept)
        return (pixels.class_weights[labels] * kept.squeeze(1)).sum()
