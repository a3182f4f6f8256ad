"""Trains in plain PyTorch: `torchrun --nproc-per-node 2 torchrun.py`, or `python torchrun.py`."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from segloss import CompoundLoss


def train(model, images, labels, steps, batch_size, rank, ranks):
    """Trains on this process's part of each batch, with the loss of the whole batch."""
    criterion = CompoundLoss(mode="multiclass", ignore_index=255, sync_statistics=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(steps):
        part = slice(step * batch_size + rank, (step + 1) * batch_size, ranks)
        optimizer.zero_grad()
        loss = criterion(model(images[part]), labels[part])
        loss.backward()
        optimizer.step()
    return loss.item()


if __name__ == "__main__":
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.manual_seed(0)
    model, images = torch.nn.Conv2d(3, 4, 3, padding=1), torch.randn(32, 3, 16, 16)
    labels = torch.randint(0, 4, (32, 16, 16)).masked_fill(torch.rand(32, 16, 16) < 0.3, 255)
    if ranks > 1:
        dist.init_process_group("gloo")
        model = DistributedDataParallel(model)
    print(train(model, images, labels, steps=8, batch_size=4, rank=rank, ranks=ranks))
    if ranks > 1:
        dist.destroy_process_group()
