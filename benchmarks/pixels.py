"""Times losses of single pixels against PyTorch's, and losses of hard pixels against nnU-Net's.

    python benchmarks/pixels.py

Prints milliseconds of a forward and backward pass, the fastest of several alternating runs, and the
greatest memory that they allocate beyond their inputs. The comparisons are formulas in PyTorch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import segloss
from segloss import functional

ROUNDS = 5

Loss = Callable[[Tensor, Tensor], Tensor]


def topk(logits: Tensor, labels: Tensor, k: float = 10.0) -> Tensor:
    """Computes the mean of the largest k percent of cross-entropies, as nnU-Net's TopKLoss does."""
    losses = F.cross_entropy(logits, labels, reduction="none").view(-1)
    return losses.topk(int(losses.numel() * k / 100), sorted=False).values.mean()


def ohem(logits: Tensor, labels: Tensor, threshold: float = 0.7, min_kept: int = 100_000) -> Tensor:
    """Computes the mean over pixels of low probability, by a sort, as PIDNet and BiSeNet do."""
    losses = F.cross_entropy(logits, labels, reduction="none").view(-1).sort(descending=True).values
    if losses[min_kept] > -math.log(threshold):
        return losses[losses > -math.log(threshold)].mean()
    return losses[:min_kept].mean()


def focal(logits: Tensor, mask: Tensor) -> Tensor:
    """Computes the focal loss of each pixel, as torchvision's sigmoid_focal_loss does."""
    p, entropy = (
        logits.sigmoid(),
        F.binary_cross_entropy_with_logits(logits, mask, reduction="none"),
    )
    of_target = p * mask + (1 - p) * (1 - mask)
    return entropy * (1 - of_target) ** 2


def compared() -> Mapping[str, tuple[Loss, Loss, Tensor, Tensor]]:
    """Returns pairs of losses, ours first, with their batches."""
    volume, labels = torch.randn(2, 4, 64, 96, 96), torch.randint(0, 4, (2, 64, 96, 96))
    street, classes = torch.randn(2, 19, 256, 512), torch.randint(0, 19, (2, 256, 512))
    mask = torch.randint(0, 2, volume.shape).float()
    return {
        "cross-entropy, 4 classes, 3D": (
            lambda x, y: functional.cross_entropy(x, y, reduction="none"),
            lambda x, y: F.cross_entropy(x, y, reduction="none"),
            volume,
            labels,
        ),
        "cross-entropy, 19 classes": (
            lambda x, y: functional.cross_entropy(x, y, reduction="none"),
            lambda x, y: F.cross_entropy(x, y, reduction="none"),
            street,
            classes,
        ),
        "binary cross-entropy, 4 channels": (
            lambda x, y: functional.binary_cross_entropy(x, y, reduction="none"),
            lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none"),
            volume,
            mask,
        ),
        "focal, 4 channels": (
            segloss.FocalLoss("multilabel", reduction="none"),
            focal,
            volume,
            mask,
        ),
        "top-k, 4 classes, 3D": (segloss.TopKCrossEntropyLoss(), topk, volume, labels),
        "OHEM, few hard pixels": (segloss.OhemCrossEntropyLoss(), ohem, *confident(19)),
        "OHEM, 19 classes": (segloss.OhemCrossEntropyLoss(), ohem, street, classes),
    }


def confident(classes: int) -> tuple[Tensor, Tensor]:
    """Returns logits of a trained network: 99 % of the pixels are right, with a wide margin."""
    labels = torch.randint(0, classes, (2, 256, 512))
    shown = torch.where(torch.rand(labels.shape) < 0.99, labels, 0)
    return torch.randn(2, classes, 256, 512).scatter_add(
        1, shown.unsqueeze(1), torch.full((2, 1, 256, 512), 9.0)
    ), labels


def step(loss: Loss, logits: Tensor, target: Tensor) -> None:
    """Runs a loss forward and backward."""
    x = logits.detach().requires_grad_()
    loss(x, target).sum().backward()


def milliseconds(loss: Loss, logits: Tensor, target: Tensor) -> float:
    """Returns the time of a step."""
    start = time.perf_counter()
    step(loss, logits, target)
    return 1000 * (time.perf_counter() - start)


def mebibytes(loss: Loss, logits: Tensor, target: Tensor) -> float:
    """Returns the greatest memory that a step allocates, including the gradient."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step(loss, logits, target)
    sizes = [
        (event.start_ns(), event.nbytes())
        for event in record.profiler.kineto_results.events()  # type: ignore[union-attr]
        if event.name() == "[memory]"
    ]
    held = greatest = 0
    for _, size in sorted(sizes, key=lambda each: each[0]):
        held += size
        greatest = max(greatest, held)
    return greatest / 2**20


def main() -> None:
    """Prints the table."""
    torch.manual_seed(0)
    print(f"{torch.get_num_threads()} threads; ms and MiB, ours / theirs")
    for name, (ours, theirs, logits, target) in compared().items():
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for loss, of_loss in zip((ours, theirs), times, strict=True):
                of_loss.append(milliseconds(loss, logits, target))
        mine, other = (min(each) for each in times)
        memory = [mebibytes(loss, logits, target) for loss in (ours, theirs)]
        print(
            f"{name:34} {mine:6.1f} / {other:6.1f} = {mine / other:4.2f}   "
            f"{memory[0]:6.1f} / {memory[1]:6.1f}"
        )


if __name__ == "__main__":
    main()
