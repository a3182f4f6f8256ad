"""The contenders, which are the same three terms from each library, and the workloads.

A contender takes a number of classes and returns a function of (logits, target). Targets are float
masks of the logits' shape for two classes, and label maps for more. Each contender imports its own
library, so libraries that are not installed are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LossFunction = Callable[[Tensor, Tensor], Tensor]


class Workload(NamedTuple):
    """The logits' shape, and the number of classes; 2 means one sigmoid channel."""

    shape: tuple[int, ...]
    classes: int

    def batch(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Returns logits that require grad and a target, with the same numbers on every device."""
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(self.shape, generator=generator).to(device, dtype).requires_grad_()
        if self.classes == 2:
            target = torch.randint(0, 2, self.shape, generator=generator)
            return logits, target.to(device, dtype)
        samples, _, *spatial = self.shape
        target = torch.randint(0, self.classes, (samples, *spatial), generator=generator)
        return logits, target.to(device)


WORKLOADS = {
    "binary2d": Workload((8, 1, 512, 512), 2),
    "city19": Workload((4, 19, 512, 512), 19),
    "ade150": Workload((1, 150, 512, 512), 150),
    "vol105": Workload((1, 105, 96, 96, 96), 105),
    "small": Workload((2, 1, 64, 64), 2),
}


def segloss(classes: int) -> LossFunction:
    """Returns SegLoss with its three terms and its input checks, as users call it."""
    from segloss import SegLoss

    loss = SegLoss(n_classes=classes, from_logits=True, tversky_focal_coef=0.3)
    return lambda logits, target: loss(logits, target)[0]


def multi_loss_of_three(classes: int) -> LossFunction:
    """Returns a `MultiLoss` with a loss for each term, normalised and with scheduled weights."""
    from segloss import MultiLoss, SegLoss

    coefficients = ("bce_coef", "dice_coef", "tversky_focal_coef")
    none = dict.fromkeys(coefficients, 0.0)
    losses = [
        SegLoss(name, n_classes=classes, from_logits=True, **{**none, name: 1.0})
        for name in coefficients
    ]
    loss = MultiLoss(losses, [[1.0, 0.5], [0.0, 0.5], [0.6, 0.3]], epoch_thresholds=[0, 10])
    loss.set_epoch(5)
    return lambda logits, target: loss(logits, target)[0]


def segloss_reference(classes: int) -> LossFunction:
    """Returns SegLoss with the reference kernel forced."""
    from segloss import use_backend

    use_backend("reference")
    return segloss(classes)


def segloss_compiled(classes: int) -> LossFunction:
    """Returns SegLoss under torch.compile."""
    return torch.compile(segloss(classes), fullgraph=True)


def segloss_reference_compiled(classes: int) -> LossFunction:
    """Returns the reference kernel under torch.compile, whatever kernel is its default."""
    return torch.compile(segloss_reference(classes), fullgraph=True)


def pixel_loss(classes: int) -> LossFunction:
    """Returns only PyTorch's binary cross-entropy or cross-entropy, as in a fresh process."""
    return F.binary_cross_entropy_with_logits if classes == 2 else F.cross_entropy


def pixel_loss_warmed(classes: int) -> LossFunction:
    """Returns the pixel loss after a logarithm of a negative zero, which speeds up some builds."""
    torch.log1p(torch.full((64,), -0.0))
    return pixel_loss(classes)


def textbook(classes: int) -> LossFunction:
    """Returns the sum of three terms as usually written, each with its own softmax and one-hot."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        entropy = pixel_loss(classes)(logits, target)
        dice = _textbook_dice(*_textbook_counts(logits, target, classes))
        tversky = _textbook_focal_tversky(*_textbook_counts(logits, target, classes))
        return 0.5 * entropy + 0.5 * dice + 0.3 * tversky

    return loss


def textbook_compiled(classes: int) -> LossFunction:
    """Returns the textbook sum under torch.compile."""
    return torch.compile(textbook(classes))


def segmentation_models_pytorch(classes: int) -> LossFunction:
    """Returns cross-entropy, DiceLoss and TverskyLoss, which has a gamma."""
    from segmentation_models_pytorch.losses import DiceLoss, TverskyLoss

    mode = "binary" if classes == 2 else "multiclass"
    dice = DiceLoss(mode, smooth=1.0)
    tversky = TverskyLoss(mode, alpha=0.3, beta=0.7, gamma=0.75)
    entropy = pixel_loss(classes)
    return lambda x, y: 0.5 * entropy(x, y) + 0.5 * dice(x, y) + 0.3 * tversky(x, y)


def monai(classes: int) -> LossFunction:
    """Returns DiceCELoss and TverskyLoss, without a focal exponent."""
    from monai.losses import DiceCELoss, TverskyLoss

    if classes == 2:
        both, tversky = DiceCELoss(sigmoid=True), TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7)
        return lambda x, y: 0.5 * both(x, y) + 0.3 * tversky(x, y)
    both = DiceCELoss(softmax=True, to_onehot_y=True)
    tversky = TverskyLoss(softmax=True, to_onehot_y=True, alpha=0.3, beta=0.7)
    return lambda x, y: 0.5 * both(x, y[:, None]) + 0.3 * tversky(x, y[:, None])


def pytorch_toolbelt(classes: int) -> LossFunction:
    """Returns cross-entropy, DiceLoss and JaccardLoss, since the library has no Tversky loss."""
    from pytorch_toolbelt.losses import DiceLoss, JaccardLoss

    mode = "binary" if classes == 2 else "multiclass"
    entropy, dice, jaccard = pixel_loss(classes), DiceLoss(mode, smooth=1.0), JaccardLoss(mode)
    return lambda x, y: 0.5 * entropy(x, y) + 0.5 * dice(x, y) + 0.3 * jaccard(x, y)


def kornia(classes: int) -> LossFunction:
    """Returns cross-entropy, dice_loss and tversky_loss, which support only softmax."""
    from kornia.losses import dice_loss, tversky_loss

    if classes == 2:
        raise NotImplementedError("kornia's Dice and Tversky losses support only softmax")
    return lambda x, y: (
        0.5 * F.cross_entropy(x, y)
        + 0.5 * dice_loss(x, y, average="macro")
        + 0.3 * tversky_loss(x, y, alpha=0.3, beta=0.7)
    )


def nnunet(classes: int) -> LossFunction:
    """Returns cross-entropy and memory-efficient Dice: two terms."""
    from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss as SoftDice

    dice = {"batch_dice": False, "do_bg": True, "smooth": 1.0, "ddp": False}
    if classes == 2:
        loss = DC_and_BCE_loss({}, dice, dice_class=SoftDice)
        return lambda x, y: loss(x, y)
    loss = DC_and_CE_loss(dice, {}, dice_class=SoftDice)
    return lambda x, y: loss(x, y[:, None])


def floor(classes: int) -> LossFunction:
    """Returns the minimum work: two reads with an exponential each, and a write of the gradient."""
    return lambda logits, target: _Floor.apply(logits)


CONTENDERS: dict[str, Callable[[int], LossFunction]] = {
    "segloss": segloss,
    "segloss compiled": segloss_compiled,
    "MultiLoss of three": multi_loss_of_three,
    "reference path": segloss_reference,
    "reference path compiled": segloss_reference_compiled,
    "pixel loss alone": pixel_loss,
    "pixel loss warmed": pixel_loss_warmed,
    "textbook": textbook,
    "textbook compiled": textbook_compiled,
    "segmentation-models-pytorch": segmentation_models_pytorch,
    "MONAI": monai,
    "pytorch-toolbelt": pytorch_toolbelt,
    "kornia": kornia,
    "nnU-Net (CE + Dice)": nnunet,
    "floor": floor,
}

PEERS = (
    "segmentation-models-pytorch",
    "MONAI",
    "pytorch-toolbelt",
    "kornia",
    "nnU-Net (CE + Dice)",
)
"""Other libraries."""


def _textbook_counts(logits: Tensor, target: Tensor, classes: int) -> tuple[Tensor, ...]:
    if classes == 2:
        p, g = torch.sigmoid(logits).flatten(2), target.flatten(2)
    else:
        p = torch.softmax(logits, 1).flatten(2)
        g = F.one_hot(target.flatten(1), classes).transpose(1, 2).to(p.dtype)
    return (p * g).sum(2), (p * (1 - g)).sum(2), ((1 - p) * g).sum(2)


def _textbook_dice(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    return (1 - (2 * tp + 1) / (2 * tp + fp + fn + 1)).mean()


def _textbook_focal_tversky(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    return ((1 - tp / (tp + 0.3 * fp + 0.7 * fn)) ** 0.75).mean()


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        flat = logits.view(-1)
        scratch = torch.empty(min(2**18, len(flat)))
        for chunk in flat.split(len(scratch)):
            torch.exp2(chunk, out=scratch[: len(chunk)])
        return scratch[0].clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        [logits] = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        size = min(2**18, logits.numel())
        chunks, outs = logits.view(-1).split(size), gradient.view(-1).split(size)
        for chunk, out in zip(chunks, outs, strict=True):
            torch.exp2(chunk, out=out)
        return gradient
