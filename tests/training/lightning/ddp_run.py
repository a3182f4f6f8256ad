"""A run of two processes, which `test_ddp.py` starts: what each rank ends with, in files."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from segloss.training.lightning import (
    ComputeWeightNormLossesCallback,
    LogLossComponents,
    LossSchedule,
)
from tests.training.lightning.lightning_runs import lit_module, loader, trainer


def main(name: str, folder: Path) -> None:
    torch.set_num_threads(1)
    package: Any = import_module(name)
    torch.manual_seed(0)
    module = lit_module(package)
    module.inputs = []

    def loss_inputs(batch: Any) -> tuple[Any, Any]:
        module.inputs.append((module(batch["image"]), batch))
        return module.inputs[-1]

    module.loss_inputs = loss_inputs
    run = trainer(
        package,
        [ComputeWeightNormLossesCallback(10), LossSchedule(), LogLossComponents(on_epoch=True)],
        devices=2,
        strategy="ddp",
        logger=package.loggers.CSVLogger(folder),
        log_every_n_steps=1,
    )
    run.fit(module, loader(20, num_workers=0))
    result = {
        "raw": [
            [loss(*each, False)[0] for loss in module.loss.loss_funcs] for each in module.inputs
        ],
        "samples": [len(pred) for pred, _ in module.inputs],
        "loss": module.loss.state_dict(),
        "logged": dict(run.callback_metrics),
        "seen": module.seen,
        "total": module.totals,
    }
    torch.save(result, folder / f"{run.global_rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
