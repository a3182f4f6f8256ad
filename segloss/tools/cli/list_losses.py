"""`segloss list`: all losses with a registered name."""

from __future__ import annotations

import inspect
import re

from rich import box
from rich.table import Table
from rich.text import Text
from torch import nn

from segloss.config import registry
from segloss.frame_field.losses import FrameFieldLoss
from segloss.losses.term_losses import TermLoss
from segloss.tools.cli.terminal import console, name_text, row, shown


def list_losses() -> None:
    """List all losses that a config can use by name.

    `_target_` takes the classes, as in `_target_: segloss.JaccardLoss`. For losses of
    segmentation-models-pytorch, MONAI, kornia and pytorch-toolbelt it takes the full path, such as
    monai.losses.DiceLoss.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("class and description", ratio=1)
    for title, losses in grouped().items():
        table.add_section()
        table.add_row(Text(title, style="bold"))
        for name, loss in losses.items():
            about = Text.assemble(shown(loss.__name__, "bold"), ": ", shown(purpose_of(loss)))
            row(table, shown(name_text(name), "cyan"), about)
    console().print(table)


def grouped() -> dict[str, dict[str, type[nn.Module]]]:
    """Returns the registered losses by name, in groups."""
    groups: dict[str, dict[str, type[nn.Module]]] = {}
    for name in registry.list_losses():
        loss = registry.get_loss(name)
        groups.setdefault(_group(loss), {})[name] = loss
    return {title: groups[title] for title in _GROUPS if title in groups}


def _group(loss: type[nn.Module]) -> str:
    if issubclass(loss, TermLoss):
        return _TERMS
    if issubclass(loss, FrameFieldLoss):
        return _FIELDS
    package = loss.__module__.split(".")[0]
    return {"segloss": _SEGLOSS, "torch": _TORCH}.get(package, _REGISTERED)


_SEGLOSS, _TERMS, _FIELDS = "segloss", "single terms", "frame fields"
_TORCH, _REGISTERED = "PyTorch", "registered"
_GROUPS = (_SEGLOSS, _TERMS, _FIELDS, _TORCH, _REGISTERED)


def purpose_of(loss: type[nn.Module]) -> str:
    """Returns the first sentence of a class's docstring, without markup and references.

    Example:
        >>> from segloss import JaccardLoss
        >>> purpose_of(JaccardLoss)
        'Jaccard (intersection over union) loss.'
    """
    documentation = inspect.getdoc(loss) if loss.__doc__ else ""
    paragraph = " ".join((documentation or "").split("\n\n")[0].split())
    sentence = re.split(r"(?<=\.)\s|; see ", paragraph)[0]
    plain = re.sub(r":\w+:|`", "", sentence).rstrip(".:")
    return f"{plain}." if plain else ""
