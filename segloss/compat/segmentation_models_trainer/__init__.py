"""pytorch_segmentation_models_trainer: segloss's losses under its names, in its own program.

There are three ways in, and each is one line:

- In a config's `compound_loss`, a loss of segloss with `_target_: segloss.SegLoss`. The program
  treats it as another library's loss, without a norm. The classes of this module, such as
  `_target_: segloss.compat.segmentation_models_trainer.SegLoss`, are also the program's own, so
  they have norms, and their terms are logged.
- In a config's `loss`, `_target_: segloss.CompoundLoss`, which returns a tensor.
- In code, `install()`: from then on, the program makes segloss's losses wherever it makes its own.
  On the command line, `python -m segloss.compat.segmentation_models_trainer` is `pytorch-smt` after
  `install()`.

The classes load when they are used: they need the program.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segloss.compat.segmentation_models_trainer.installation import install, uninstall

if TYPE_CHECKING:  # __getattr__ imports these when they are used
    from segloss.compat.segmentation_models_trainer.losses import (
        ComputeSegGrads,
        CrossfieldAlign90Loss,
        CrossfieldAlignLoss,
        CrossfieldSmoothLoss,
        Loss,
        LossWrapper,
        MultiLoss,
        SegCrossfieldLoss,
        SegEdgeInteriorLoss,
        SegLoss,
    )

__all__ = [
    "ComputeSegGrads",
    "CrossfieldAlign90Loss",
    "CrossfieldAlignLoss",
    "CrossfieldSmoothLoss",
    "Loss",
    "LossWrapper",
    "MultiLoss",
    "SegCrossfieldLoss",
    "SegEdgeInteriorLoss",
    "SegLoss",
    "install",
    "uninstall",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.losses"), name)
