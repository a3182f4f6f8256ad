"""Compares LovaszLoss with other libraries' at the same settings: time, memory and accuracy.

    pip install -e ".[bench]" && python benchmarks/lovasz.py

Each loss runs in a process of its own. Logits are random, as for an untrained network, or right by
a margin at most pixels, as for a trained one. Prints the milliseconds of the fastest forward and
backward pass, peak memory beyond the inputs over the size of the logits, and the relative error of
the value and, by its norm, of the gradient, compared with ours in float64.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
import typer
from harness.contenders import LossFunction, Workload
from harness.measure import THREADS, measure_memory, step
from rich.console import Console
from rich.table import Table
from torch import Tensor

from segloss import LovaszLoss, use_backend

WORKLOADS = {
    "binary2d": Workload((8, 1, 512, 512), 2),
    "city19": Workload((4, 19, 512, 512), 19),
}
MARGIN = 8.0
"""The margin of right pixels for a trained network, over noise of standard deviation 2."""


def mode_of(classes: int) -> str:
    """Returns the mode of a workload."""
    return "binary" if classes == 2 else "multiclass"


def segloss(classes: int) -> LossFunction:
    """Returns ours."""
    return LovaszLoss(mode_of(classes))


def operations(classes: int) -> LossFunction:
    """Returns ours without C++."""
    use_backend("torch")
    return LovaszLoss(mode_of(classes))


def segmentation_models_pytorch(classes: int) -> LossFunction:
    """Returns smp's."""
    from segmentation_models_pytorch.losses import LovaszLoss as Theirs

    return Theirs(mode_of(classes))


def pytorch_toolbelt(classes: int) -> LossFunction:
    """Returns the one for the mode."""
    from pytorch_toolbelt.losses import BinaryLovaszLoss
    from pytorch_toolbelt.losses import LovaszLoss as Theirs

    if classes == 2:
        return BinaryLovaszLoss()
    theirs = Theirs()
    return lambda x, y: theirs(x.softmax(1), y)


def segloss_per_image(classes: int) -> LossFunction:
    """Returns ours with the settings that kornia has."""
    return LovaszLoss(mode_of(classes), per_image=True, classes="all")


def kornia(classes: int) -> LossFunction:
    """Returns the one for the mode."""
    from kornia.losses import lovasz_hinge_loss, lovasz_softmax_loss

    if classes == 2:
        return lambda x, y: lovasz_hinge_loss(x, y.squeeze(1))
    return lovasz_softmax_loss


class Contender(NamedTuple):
    """A loss, and ours with the same settings."""

    make: Callable[[int], LossFunction]
    like: Callable[[int], LossFunction] = segloss


CONTENDERS = {
    "segloss": Contender(segloss),
    "segloss, PyTorch's operations": Contender(operations),
    "segmentation-models-pytorch": Contender(segmentation_models_pytorch),
    "pytorch-toolbelt": Contender(pytorch_toolbelt),
    "segloss, per image": Contender(segloss_per_image, segloss_per_image),
    "kornia, per image": Contender(kornia, segloss_per_image),
}


class Trained(NamedTuple):
    """A workload whose logits are right by a margin at most pixels, in regions of 16 x 16."""

    workload: Workload

    def batch(self) -> tuple[Tensor, Tensor]:
        """Returns logits that require grad, and a target."""
        logits, target = self.workload.batch()
        blocks = target[..., ::16, ::16].repeat_interleave(16, -1).repeat_interleave(16, -2)
        if self.workload.classes == 2:
            sign = 2 * blocks - 1
        else:
            sign = torch.nn.functional.one_hot(blocks, self.workload.classes).movedim(-1, 1)
        made = 2 * logits.detach() + MARGIN * sign.to(logits.dtype)
        return made.contiguous().requires_grad_(), blocks


def measure(name: str, workload_name: str, trained: bool, rounds: int) -> dict[str, float]:
    """Returns the figures of a contender."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    contender, plain = CONTENDERS[name], WORKLOADS[workload_name]
    workload = Trained(plain) if trained else plain
    logits, target = workload.batch()
    exact = logits.detach().double().requires_grad_()
    value = step(contender.like(plain.classes), exact, target)
    loss = contender.make(plain.classes)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        found = step(loss, logits, target)
        times.append(time.perf_counter() - start)
    assert logits.grad is not None
    assert exact.grad is not None
    of_gradient = (logits.grad.double() - exact.grad).norm() / exact.grad.norm()
    of_value = abs(found.double() - value) / value
    memory = measure_memory(loss, workload)["peak"]  # type: ignore[arg-type]
    return {
        "ms": 1e3 * min(times),
        "peak": memory,
        "value": float(of_value),
        "gradient": float(of_gradient),
    }


def main(
    workload: Annotated[list[str] | None, typer.Option(help="Workloads; all by default.")] = None,
    contender: Annotated[list[str] | None, typer.Option(help="Losses; all by default.")] = None,
    rounds: Annotated[int, typer.Option(help="Number of steps of each loss.")] = 3,
) -> None:
    """Prints a table for each workload."""
    heads = ("loss", "ms", "x ours", "peak memory", "error of value", "of gradient")
    for name in workload or WORKLOADS:
        for trained in (False, True):
            title = f"{name} {WORKLOADS[name].shape}, {'trained' if trained else 'untrained'}"
            table, ours = Table(*heads, title=title), 0.0
            for each in contender or CONTENDERS:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    figures = pool.apply(measure, (each, name, trained, rounds))
                if each in ("segloss", "segloss, per image"):
                    ours = figures["ms"]
                ratio = f"{figures['ms'] / ours:.1f}" if ours else "-"
                errors = (f"{figures[key]:.1e}" for key in ("value", "gradient"))
                table.add_row(
                    each, f"{figures['ms']:.0f}", ratio, f"{figures['peak']:.1f}", *errors
                )
            Console().print(table)


if __name__ == "__main__":
    typer.run(main)
