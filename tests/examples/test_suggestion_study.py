"""The study of suggested losses: its scores, its table, and that both losses train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import suggestion_study
import torch
from example_parts.networks import ModelSettings
from example_parts.training import Batch, TrainingSettings
from suggestion_study import CONTENDERS, Task, dice_scores, rarest, rows, train_and_test
from torch.utils.data import Dataset


@pytest.fixture(autouse=True)
def _deterministic_only_here() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


class Masks(Dataset[Batch]):
    """Masks, and images that are the same."""

    def __init__(self, masks: np.ndarray) -> None:
        self.masks = torch.from_numpy(masks)

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> Batch:
        mask = self.masks[index]
        channels = mask if mask.ndim == 3 else mask[None]
        return {"image": channels[:1].float(), "gt_polygons_image": channels}


def task(*, by_class: bool) -> Task:
    labels = np.zeros((4, 32, 32), int)
    labels[:, :16], labels[:, 30:] = 1, 2
    masks = np.stack([labels == 1, labels == 2], 1).astype(int) if by_class else labels
    return Task(
        names=["large", "small"] if by_class else ["background", "large", "small"],
        channels=2 if by_class else 3,
        in_channels=1,
        training=lambda seed: Masks(masks),
        test=Masks(masks),
        masks=masks,
        model=ModelSettings(4, [8], [8, 8]),
        settings=TrainingSettings(1, 2, [0.01], [0], "adamw", 0.0, "cpu"),
        default={"from_logits": True} if by_class else {"n_classes": 3},
    )


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("contender", CONTENDERS)
def test_both_losses_train_both_kinds_of_masks(contender: str, by_class: bool) -> None:
    subject = task(by_class=by_class)
    scores = train_and_test(subject, CONTENDERS[contender](subject), 0)
    assert len(scores) == len(subject.names)
    assert all(0 <= score <= 1 for score in scores)
    again = train_and_test(subject, CONTENDERS[contender](subject), 0)
    assert scores == again


def test_scores_are_dice_over_all_pixels() -> None:
    subject = task(by_class=False)

    class Predicts(torch.nn.Module):
        """Class 1 where the image is 1, and the background everywhere else."""

        def __init__(self) -> None:
            super().__init__()
            self.parameter = torch.nn.Parameter(torch.zeros(()))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            is_one = (image == 1).float()
            return torch.cat([1 - is_one, is_one, torch.zeros_like(is_one)], 1)

    large, background, small = 16 * 32, 14 * 32, 2 * 32
    expected = [2 * background / (2 * background + small), 1.0, 0.0]
    assert large + background + small == 32 * 32
    assert dice_scores(Predicts(), subject) == pytest.approx(expected)


def test_the_table_has_means_and_spreads_and_goes_into_the_page(
    tmp_path: Path, monkeypatch
) -> None:
    subject = task(by_class=True)
    assert subject.names[rarest(subject)] == "small"
    scores = {"default": [[0.9, 0.5], [0.7, 0.3]], "suggested": [[1.0, 1.0], [1.0, 1.0]]}
    table = rows({"made": scores}, {"made": subject})
    assert table[0] == [
        "made",
        "default",
        "0.6000 (0.5000 to 0.7000)",
        "small",
        "0.4000 (0.3000 to 0.5000)",
    ]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- study -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(suggestion_study, "DOCUMENT", page)
    suggestion_study.write_table(table, 2)
    text = page.read_text()
    assert "| made | default | 0.6000 (0.5000 to 0.7000) | small |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
