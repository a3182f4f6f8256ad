"""Trains a small U-Net in a custom loop with Accelerate, on one or several processes.

The images are discs and squares on noise. The loss is a `MultiLoss`: its norms are computed before
training, and its second weight fades out. With several processes:
`accelerate launch --num_processes 2 accelerate_unet.py`. Thanks to `sync_statistics`, the loss then
treats the images of all processes as one batch.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from example_parts.networks import ModelSettings, build_unet
from example_parts.shapes import CLASSES, Shapes
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segloss import LossWrapper, MultiLoss, SegLoss
from segloss.training.norms import compute_norms
from segloss.training.without_trace import without_trace

Batches = DataLoader[dict[str, Tensor]]


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Trains with the options of the command line, and returns the mean loss of each epoch."""
    options = command_line().parse_args(arguments)
    set_seed(options.seed)
    accelerator = Accelerator(gradient_accumulation_steps=options.accumulate)
    settings = ModelSettings(8, encoder_channels=[16, 32], decoder_channels=[32, 16, 16])
    model = build_unet(settings, in_channels=3, classes=CLASSES).to(accelerator.device)
    loss = make_loss(options.epochs).to(accelerator.device)
    batches: Batches = DataLoader(
        Shapes(options.samples, options.side, "image", "gt_polygons_image"),
        options.batch_size,
        shuffle=True,
    )
    set_norms(model, loss, batches, accelerator.device)

    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate)
    model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
    means = []
    for epoch in range(options.epochs):
        loss.set_epoch(epoch)
        means.append(train_epoch(accelerator, model, loss, optimizer, batches))
        accelerator.print(f"epoch {epoch + 1}/{options.epochs}: loss {means[-1]:.3f}")
    return means


def make_loss(epochs: int) -> MultiLoss:
    """Returns cross-entropy, Dice over the batch, and a cross-entropy that favours the shapes."""
    seg = SegLoss(n_classes=CLASSES, region_reduction="batch", sync_statistics=True)
    shapes_first = LossWrapper(nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 1.0])), "shapes_first")
    return MultiLoss([seg, shapes_first], [1.0, [1.0, 0.0]], epoch_thresholds=[0, max(1, epochs)])


def set_norms(model: nn.Module, loss: MultiLoss, batches: Batches, device: torch.device) -> None:
    """Computes the norms before `prepare`, so that no rank waits for another."""

    def inputs() -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        for batch in batches:
            batch = {key: value.to(device) for key, value in batch.items()}
            yield {"seg": model(batch["image"])}, batch

    with without_trace(model, batches):
        compute_norms(loss, inputs(), max_samples=32)


def train_epoch(
    accelerator: Accelerator,
    model: nn.Module,
    loss: MultiLoss,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
) -> float:
    """Trains for an epoch, and returns the mean loss over steps and processes."""
    totals = []
    for batch in batches:
        with accelerator.accumulate(model):
            total, _, _ = loss({"seg": model(batch["image"])}, batch)
            accelerator.backward(total)
            optimizer.step()
            optimizer.zero_grad()
        totals.append(total.detach())
    return accelerator.gather(torch.stack(totals)).mean().item()


def command_line() -> argparse.ArgumentParser:
    """Returns the options; with the defaults, training takes seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--samples", type=int, default=128, help="images (%(default)s)")
    parser.add_argument("--side", type=int, default=64, help="pixels per side (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="per process (%(default)s)")
    parser.add_argument(
        "--accumulate", type=int, default=1, help="micro-batches in a step (%(default)s)"
    )
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    return parser


if __name__ == "__main__":
    main()
