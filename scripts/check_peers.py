"""Makes the tables of `docs/checking.md`: findings of `check_loss` for losses of other packages.

Install these packages, and run `python scripts/check_peers.py`. It rewrites the text between the
markers of the page.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from marked import put_between_markers
from torch import Tensor, nn

import segloss
from segloss import check_loss
from segloss.tools.check import Check, LossReport

PAGE = Path(__file__).parents[1] / "docs" / "checking.md"
PACKAGES = {
    "segmentation-models-pytorch": "segmentation-models-pytorch",
    "MONAI": "monai",
    "kornia": "kornia",
    "pytorch-toolbelt": "pytorch-toolbelt",
    "nnU-Net": "nnunetv2",
    "PyTorch": "torch",
}
SIGNS = {"pass": "✓", "fail": "✗", "not applicable": "·"}


class Peer(NamedTuple):
    """A loss of another package.

    Attributes:
        package: The name of the package.
        setting: The call that makes it, for the table.
        loss: The loss.
        classes: The number of classes of the example.
        target: "masks" (float, of the predictions' shape), "labels" (N, H, W) or "channel"
            (N, 1, H, W).
        from_logits: True for logits, False for probabilities.
    """

    package: str
    setting: str
    loss: Callable[..., Any]
    classes: int
    target: str
    from_logits: bool = True


def peers() -> Iterator[Peer]:
    """Yields the losses, with the settings of their documentation for logits."""
    yield from smp_losses()
    yield from monai_losses()
    yield from kornia_losses()
    yield from toolbelt_losses()
    yield from nnunet_losses()
    yield Peer(
        "segloss", "SegLoss(from_logits=True)", segloss_criterion(from_logits=True), 2, "masks"
    )
    yield Peer(
        "segloss", "SegLoss(n_classes=3, ignore_index=255)", segloss_criterion(3, 255), 3, "labels"
    )
    yield Peer("PyTorch", "CrossEntropyLoss()", nn.CrossEntropyLoss(), 3, "labels")
    yield Peer("PyTorch", "BCEWithLogitsLoss()", nn.BCEWithLogitsLoss(), 2, "masks")


def segloss_criterion(
    n_classes: int = 2, ignore_index: int | None = None, from_logits: bool | None = None
) -> nn.Module:
    """Returns the loss of this package, for comparison."""
    return segloss.SegLoss(
        n_classes=n_classes, ignore_index=ignore_index, from_logits=from_logits
    ).as_criterion()


def smp_losses() -> Iterator[Peer]:
    """Yields the losses of segmentation-models-pytorch."""
    from segmentation_models_pytorch import losses

    name = "segmentation-models-pytorch"
    for kind in ("DiceLoss", "JaccardLoss", "TverskyLoss", "FocalLoss", "LovaszLoss"):
        make = getattr(losses, kind)
        yield Peer(name, f'{kind}("binary")', make("binary"), 2, "masks")
        yield Peer(name, f'{kind}("multiclass")', make("multiclass"), 3, "labels")
    yield Peer(name, "MCCLoss()", losses.MCCLoss(), 2, "masks", from_logits=False)
    yield Peer(name, "SoftBCEWithLogitsLoss()", losses.SoftBCEWithLogitsLoss(), 2, "masks")
    smooth = losses.SoftCrossEntropyLoss(smooth_factor=0.1)
    yield Peer(name, "SoftCrossEntropyLoss(smooth_factor=0.1)", smooth, 3, "labels")


def monai_losses() -> Iterator[Peer]:
    """Yields the losses of MONAI."""
    from monai import losses

    for kind in ("DiceLoss", "DiceCELoss", "GeneralizedDiceLoss", "TverskyLoss"):
        make = getattr(losses, kind)
        yield Peer("MONAI", f"{kind}(sigmoid=True)", make(sigmoid=True), 2, "masks")
        setting = f"{kind}(softmax=True, to_onehot_y=True)"
        yield Peer("MONAI", setting, make(softmax=True, to_onehot_y=True), 3, "channel")
    yield Peer("MONAI", "FocalLoss()", losses.FocalLoss(), 2, "masks")
    softmax = losses.FocalLoss(to_onehot_y=True, use_softmax=True)
    setting = "FocalLoss(to_onehot_y=True, use_softmax=True)"
    yield Peer("MONAI", setting, softmax, 3, "channel")
    hausdorff = losses.HausdorffDTLoss(sigmoid=True, include_background=True)
    setting = "HausdorffDTLoss(sigmoid=True, include_background=True)"
    yield Peer("MONAI", setting, hausdorff, 2, "masks")


def kornia_losses() -> Iterator[Peer]:
    """Yields the losses of kornia."""
    from kornia import losses

    yield Peer("kornia", "DiceLoss()", losses.DiceLoss(), 3, "labels")
    focal = losses.FocalLoss(alpha=0.5, gamma=2.0, reduction="mean")
    yield Peer("kornia", 'FocalLoss(0.5, 2.0, "mean")', focal, 3, "labels")
    tversky = losses.TverskyLoss(alpha=0.5, beta=0.5)
    yield Peer("kornia", "TverskyLoss(0.5, 0.5)", tversky, 3, "labels")


def toolbelt_losses() -> Iterator[Peer]:
    """Yields the losses of pytorch-toolbelt."""
    from pytorch_toolbelt import losses

    name = "pytorch-toolbelt"
    for kind in ("DiceLoss", "JaccardLoss"):
        make = getattr(losses, kind)
        yield Peer(name, f'{kind}("binary")', make("binary"), 2, "masks")
        yield Peer(name, f'{kind}("multiclass")', make("multiclass"), 3, "labels")
    yield Peer(name, "BinaryFocalLoss()", losses.BinaryFocalLoss(), 2, "masks")


def nnunet_losses() -> Iterator[Peer]:
    """Yields the losses of nnU-Net, with the settings of its trainers."""
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
    from nnunetv2.utilities.helpers import softmax_helper_dim1

    options = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    dice = MemoryEfficientSoftDiceLoss(softmax_helper_dim1, **options)
    setting = "MemoryEfficientSoftDiceLoss(softmax, do_bg=False, smooth=1e-5, ddp=False)"
    yield Peer("nnU-Net", setting, dice, 3, "channel")
    both = DC_and_CE_loss(options, {}, dice_class=MemoryEfficientSoftDiceLoss)
    yield Peer("nnU-Net", "DC_and_CE_loss(soft_dice_kwargs, {})", both, 3, "channel")


def restricted(peer: Peer) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the peer's loss, restricted to its form of batch, so that the example has this form.

    Logits are recognised by a number below 0. The compiler skips this test, since it gets the same
    example as the other checks.
    """
    loss, target, from_logits = peer.loss, peer.target, peer.from_logits

    def call(prediction: Tensor, labels: Tensor) -> Tensor:
        masks = target == "masks"
        if labels.ndim != prediction.ndim - (target == "labels"):
            raise ValueError(f"the target must be of the form {target!r}")
        if labels.is_floating_point() != masks or (target == "channel" and labels.shape[1] != 1):
            raise ValueError(f"the target must be of the form {target!r}")
        if not from_logits and not torch.compiler.is_compiling() and bool((prediction < 0).any()):
            raise ValueError("the prediction must be probabilities")
        result: Tensor = loss(prediction, labels)
        return result

    return call


def examine(peer: Peer) -> LossReport:
    """Returns the report on a peer."""
    print(f"{peer.package} {peer.setting}", file=sys.stderr)
    return check_loss(restricted(peer), n_classes=peer.classes)


def table(found: list[tuple[Peer, LossReport]]) -> str:
    """Returns a table in Markdown: a row for each loss, a column for each check with a failure."""
    columns = list(zip(*(report.checks for _, report in found), strict=True))
    names = [checks[0].name for checks in columns if any(c.verdict == "fail" for c in checks)]
    passed = [checks[0].name for checks in columns if checks[0].name not in names]
    lines = [["loss", *names], ["---", *[":-:"] * len(names)]]
    package = ""
    for peer, report in found:
        if peer.package != package:
            package = peer.package
            release = segloss.__version__ if package == "segloss" else version(PACKAGES[package])
            lines.append([f"**{package} {release}**", *[""] * len(names)])
        lines.append([f"`{peer.setting}`", *(sign(report[name]) for name in names)])
    rows = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"{rows}\n\nNo loss here fails these checks: {', '.join(passed)}."


def sign(check: Check) -> str:
    """Returns the text of a verdict in a cell."""
    return "no" if check.advisory and check.verdict == "fail" else SIGNS[check.verdict]


def findings(found: list[tuple[Peer, LossReport]]) -> str:
    """Returns the finding behind every ✗, with equal findings combined."""
    settings_by_finding: dict[tuple[str, str, str], list[str]] = {}
    for peer, report in found:
        for check in report.checks:
            if check.verdict == "fail":
                key = (check.name, peer.package, short(check))
                settings_by_finding.setdefault(key, []).append(peer.setting)
    order = [check.name for check in found[0][1].checks]
    lines = []
    for name, package, reason in sorted(settings_by_finding, key=lambda key: order.index(key[0])):
        settings = ", ".join(
            f"`{setting}`" for setting in settings_by_finding[name, package, reason]
        )
        lines.append(f"- *{name}*, {package} {settings}: {reason}")
    return "\n".join(lines)


def short(check: Check) -> str:
    """Returns the beginning of a reason, without the numbers that differ between losses."""
    reason = re.sub(r"\b\de[-+]?\d+ off", "off", check.reason).replace(" (off)", "")
    reason = re.sub(r"is \S+, where float32 has \S+,", "is not that of float32", reason)
    reason = reason if len(reason) <= 160 else f"{reason[:157]}..."
    return reason.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def main() -> None:
    """Checks all peers, and updates the page."""
    warnings.simplefilter("ignore")
    found = [(peer, examine(peer)) for peer in peers()]
    if "--print" in sys.argv[1:]:
        for peer, report in found:
            print(peer.package, peer.setting, report, sep="\n", end="\n\n")
    environment = f"PyTorch {torch.__version__}, on the CPU"
    put_between_markers(PAGE, "peers: table", f"{table(found)}\n\nMade with {environment}.")
    put_between_markers(PAGE, "peers: findings", findings(found))


if __name__ == "__main__":
    main()
