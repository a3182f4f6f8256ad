"""Makes the tables of `docs/checking.md`: what `check_loss` finds for other packages' losses.

Run it with these packages installed: `python docs/check_peers.py`. It rewrites what stands between
the markers of the page.
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
from torch import Tensor, nn

from segloss import check_loss
from segloss.check import Check, LossReport

PAGE = Path(__file__).parent / "checking.md"
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
        setting: The call that makes it, as it is printed.
        loss: The loss.
        classes: Of the example.
        target: "masks" (float, of the predictions' shape), "labels" (N, H, W) or "channel"
            (N, 1, H, W).
    """

    package: str
    setting: str
    loss: Callable[..., Any]
    classes: int
    target: str


def peers() -> Iterator[Peer]:
    """The losses, with the settings of their documentation for logits."""
    yield from of_smp()
    yield from of_monai()
    yield from of_kornia()
    yield from of_toolbelt()
    yield from of_nnunet()
    yield Peer("PyTorch", "CrossEntropyLoss()", nn.CrossEntropyLoss(), 3, "labels")
    yield Peer("PyTorch", "BCEWithLogitsLoss()", nn.BCEWithLogitsLoss(), 2, "masks")


def of_smp() -> Iterator[Peer]:
    """segmentation-models-pytorch."""
    from segmentation_models_pytorch import losses

    name = "segmentation-models-pytorch"
    for kind in ("DiceLoss", "JaccardLoss", "TverskyLoss", "FocalLoss", "LovaszLoss"):
        make = getattr(losses, kind)
        yield Peer(name, f'{kind}("binary")', make("binary"), 2, "masks")
        yield Peer(name, f'{kind}("multiclass")', make("multiclass"), 3, "labels")
    yield Peer(name, "MCCLoss()", losses.MCCLoss(), 2, "masks")
    yield Peer(name, "SoftBCEWithLogitsLoss()", losses.SoftBCEWithLogitsLoss(), 2, "masks")
    smooth = losses.SoftCrossEntropyLoss(smooth_factor=0.1)
    yield Peer(name, "SoftCrossEntropyLoss(smooth_factor=0.1)", smooth, 3, "labels")


def of_monai() -> Iterator[Peer]:
    """MONAI."""
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
    hausdorff = losses.HausdorffDTLoss(sigmoid=True)
    yield Peer("MONAI", "HausdorffDTLoss(sigmoid=True)", hausdorff, 2, "masks")


def of_kornia() -> Iterator[Peer]:
    """kornia."""
    from kornia import losses

    yield Peer("kornia", "DiceLoss()", losses.DiceLoss(), 3, "labels")
    focal = losses.FocalLoss(alpha=0.5, gamma=2.0, reduction="mean")
    yield Peer("kornia", 'FocalLoss(0.5, 2.0, "mean")', focal, 3, "labels")
    tversky = losses.TverskyLoss(alpha=0.5, beta=0.5)
    yield Peer("kornia", "TverskyLoss(0.5, 0.5)", tversky, 3, "labels")


def of_toolbelt() -> Iterator[Peer]:
    """pytorch-toolbelt."""
    from pytorch_toolbelt import losses

    name = "pytorch-toolbelt"
    for kind in ("DiceLoss", "JaccardLoss"):
        make = getattr(losses, kind)
        yield Peer(name, f'{kind}("binary")', make("binary"), 2, "masks")
        yield Peer(name, f'{kind}("multiclass")', make("multiclass"), 3, "labels")
    yield Peer(name, "BinaryFocalLoss()", losses.BinaryFocalLoss(), 2, "masks")


def of_nnunet() -> Iterator[Peer]:
    """nnU-Net, with what its trainers set."""
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
    from nnunetv2.utilities.helpers import softmax_helper_dim1

    options = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    dice = MemoryEfficientSoftDiceLoss(softmax_helper_dim1, **options)
    setting = "MemoryEfficientSoftDiceLoss(softmax, do_bg=False, smooth=1e-5, ddp=False)"
    yield Peer("nnU-Net", setting, dice, 3, "channel")
    both = DC_and_CE_loss(options, {}, dice_class=MemoryEfficientSoftDiceLoss)
    yield Peer("nnU-Net", "DC_and_CE_loss(soft_dice_kwargs, {})", both, 3, "channel")


def takes(loss: Callable[..., Any], target: str) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss that refuses every other form of target, so that the example has the right one."""

    def call(prediction: Tensor, labels: Tensor) -> Tensor:
        axes = {"labels": prediction.ndim - 1}.get(target, prediction.ndim)
        masks = target == "masks"
        if labels.ndim != axes or labels.is_floating_point() != masks:
            raise ValueError(f"the target must be of the form {target!r}")
        if labels.ndim == prediction.ndim and not masks and labels.shape[1] != 1:
            raise ValueError("the target must have one channel")
        result: Tensor = loss(prediction, labels)
        return result

    return call


def examine(peer: Peer) -> LossReport:
    """The report on a peer."""
    print(f"{peer.package} {peer.setting}", file=sys.stderr)
    return check_loss(takes(peer.loss, peer.target), n_classes=peer.classes)


def table(found: list[tuple[Peer, LossReport]]) -> str:
    """One row for each loss, one column for each check, in Markdown."""
    names = [check.name for check in found[0][1].checks]
    lines = [["loss", *names], ["---", *[":-:"] * len(names)]]
    last = ""
    for peer, report in found:
        if peer.package != last:
            last = peer.package
            lines.append([f"**{last} {version(PACKAGES[last])}**", *[""] * len(names)])
        lines.append([f"`{peer.setting}`", *(SIGNS[check.verdict] for check in report.checks)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def findings(found: list[tuple[Peer, LossReport]]) -> str:
    """What every ✗ stands for; the same finding is said once."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for peer, report in found:
        for check in report.checks:
            if check.verdict == "fail":
                key = (check.name, peer.package, short(check))
                said.setdefault(key, []).append(peer.setting)
    order = [check.name for check in found[0][1].checks]
    lines = []
    for name, package, reason in sorted(said, key=lambda key: order.index(key[0])):
        settings = ", ".join(f"`{setting}`" for setting in said[name, package, reason])
        lines.append(f"- *{name}*, {package} {settings}: {reason}")
    return "\n".join(lines)


def short(check: Check) -> str:
    """A reason without what differs from loss to loss of the same kind."""
    return check.reason.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def write(texts: dict[str, str]) -> None:
    """Renews what stands between the markers of the page."""
    page = PAGE.read_text()
    for name, content in texts.items():
        marked = rf"(<!-- peers: {name} -->\n).*?(<!-- end -->)"
        page = re.sub(marked, lambda m, c=content: f"{m[1]}{c}\n{m[2]}", page, flags=re.DOTALL)
    PAGE.write_text(page)


def main() -> None:
    """Examines all peers, and renews the page."""
    warnings.simplefilter("ignore")
    found = [(peer, examine(peer)) for peer in peers()]
    if "--print" in sys.argv[1:]:
        for peer, report in found:
            print(peer.package, peer.setting, report, sep="\n", end="\n\n")
    where = f"PyTorch {torch.__version__}, on the CPU"
    write({"table": f"{table(found)}\n\nMade with {where}.", "findings": findings(found)})


if __name__ == "__main__":
    main()
