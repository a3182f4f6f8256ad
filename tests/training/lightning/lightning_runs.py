"""Tiny runs of a Trainer that the tests of the callbacks share."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from segloss import LossWrapper, MultiLoss, SegLoss

Batch = dict[str, Tensor]


class Noise(Dataset[Batch]):
    """Images, each with its index and a random number of the dataset's own generator."""

    def __init__(self, samples: int = 12) -> None:
        generator = torch.Generator().manual_seed(5)
        self.images = torch.randn(samples, 1, 4, 4, generator=generator)
        self.own = torch.Generator().manual_seed(6)
        self.reads = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        self.reads += 1
        draw = torch.rand((), generator=self.own)
        image = self.images[index] + 0.1 * torch.rand(1, 4, 4)
        mask = (image > 0).float()
        seen = {"index": torch.tensor(index), "draw": draw, "reads": torch.tensor(self.reads)}
        return {"image": image, "gt_polygons_image": mask, **seen}


def multi_loss(**options: Any) -> MultiLoss:
    losses = [SegLoss("seg", from_logits=True), LossWrapper(nn.L1Loss(), "l1")]
    return MultiLoss(losses, [1.0, [0.0, 1.0]], epoch_thresholds=[0, 4], **options)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Dropout(0.2), nn.Conv2d(2, 1, 1)
    )


def lit_module(package: ModuleType, loss: nn.Module | None = None) -> Any:
    """A LightningModule of the package, which keeps what each training step saw."""

    class Lit(package.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = network()
            self.loss = multi_loss() if loss is None else loss
            self.seen: list[list[list[float]]] = []
            self.weights: list[list[float]] = []
            self.totals: list[float] = []
            self.calls = 0

        def forward(self, image: Tensor) -> Tensor:
            self.calls += 1
            return self.model(image)

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            self.seen.append([batch[key].tolist() for key in ("index", "draw", "reads")])
            total, _, _ = self.loss(self(batch["image"]), batch)
            self.weights.append(self.loss.current_weights.tolist())
            self.totals.append(total.item())
            return total

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    return Lit()


def trainer(package: ModuleType, callbacks: list[Any], **options: Any) -> Any:
    plain: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return package.Trainer(callbacks=callbacks, **{**plain, **options})


def loader(samples: int = 12, batch_size: int = 3, **options: Any) -> DataLoader[Batch]:
    return DataLoader(Noise(samples), batch_size, shuffle=True, **options)
