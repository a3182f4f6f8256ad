"""Puts segloss's losses in the place of the program's, and takes them out again.

Nothing of the program is renamed, so it does not matter which modules have imported its classes
already: after `install`, making one of them makes segloss's class of that name, and the program's
`Loss` and `MultiLoss` are bases of segloss's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from segloss.compat.segmentation_models_trainer.version import check_version
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss

_UNDO: list[Callable[[], None]] = []
"""The steps back, in the order of the steps forward; empty: not installed."""


def install() -> None:
    """Lets pytorch_segmentation_models_trainer train with segloss's losses, without other changes.

    From then on, its model, builder and callbacks, and your own code,

    - make segloss's loss wherever they make one of the program's: `SegLoss`, `MultiLoss`,
      `LossWrapper`, the frame-field losses and `ComputeSegGrads`. Your subclasses of the program's
      classes stay what they are, and are taken as before;
    - take any loss of segloss for one of the program's: `isinstance(segloss.SegLoss(), Loss)` is
      true for the program's `Loss`, and the same holds for `MultiLoss`;
    - take a loss of segloss in the config's `loss`, too, and configs that its documentation shows
      and version 1.0.1 refuses: `loss_list` in `compound_loss`, and `multi_loss`.

    Call it before the model is made. Calling it again does nothing, and `uninstall` undoes it.

    Raises:
        ImportError: The program is not installed, or its version is not one that is known.
    """
    if _UNDO:
        return
    check_version()
    from pytorch_segmentation_models_trainer.custom_losses import base_loss, loss_builder
    from pytorch_segmentation_models_trainer.model_loader.model import Model

    from segloss.compat.segmentation_models_trainer import configs, losses

    try:
        for name in (
            "ComputeSegGrads",
            "CrossfieldAlign90Loss",
            "CrossfieldAlignLoss",
            "CrossfieldSmoothLoss",
            "MultiLoss",
            "SegCrossfieldLoss",
            "SegEdgeInteriorLoss",
            "SegLoss",
        ):
            ours = getattr(losses, name)
            _make(getattr(base_loss, name), lambda *_, _ours=ours, **__: _ours)
        _make(loss_builder.LossWrapper, losses.wrapper_class)
        _add_bases(Loss, losses.InProgram, base_loss.Loss)
        _add_bases(MultiLoss, losses.InProgram, base_loss.MultiLoss)
        _set(base_loss, "build_combined_loss", configs.build_combined_loss)
        build = loss_builder.build_compound_loss_from_config
        _set(loss_builder, build.__name__, configs.with_loss_lists(build))
        _set(Model, "get_loss_function", _with_tensors(Model.get_loss_function))
    except BaseException:
        uninstall()
        raise


def uninstall() -> None:
    """Undoes `install`; losses that were made in between stay losses of segloss."""
    while _UNDO:
        _UNDO.pop()()


def _make(theirs: Any, ours: Callable[..., type]) -> None:
    """Lets calls of a class, but not of its subclasses, make objects of another one."""
    has_init, before = "__init__" in vars(theirs), theirs.__init__

    @functools.wraps(before)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if type(self) is not theirs:
            before(self, *args, **kwargs)
            return
        object.__setattr__(self, "__class__", ours(*args, **kwargs))
        self.__init__(*args, **kwargs)

    theirs.__init__ = init
    _UNDO.append(lambda: _restore_init(theirs, before if has_init else None))


def _restore_init(theirs: Any, before: Callable[..., None] | None) -> None:
    if before is None:
        del theirs.__init__
    else:
        theirs.__init__ = before


def _add_bases(ours: type, *bases: type) -> None:
    """Makes the program's class a base of segloss's, behind all bases that it has."""
    _set(ours, "__bases__", (*ours.__bases__, *bases))


def _set(owner: Any, name: str, value: Any) -> None:
    before = getattr(owner, name)
    setattr(owner, name, value)
    _UNDO.append(lambda: setattr(owner, name, before))


def _with_tensors(get_loss_function: Callable[[Any], nn.Module]) -> Callable[[Any], nn.Module]:
    """Returns the model's method, in which a single loss of segloss returns a tensor."""

    def get_tensor_loss_function(self: Any) -> nn.Module:
        loss = get_loss_function(self)
        return loss.as_criterion() if isinstance(loss, Loss) else loss

    return get_tensor_loss_function
