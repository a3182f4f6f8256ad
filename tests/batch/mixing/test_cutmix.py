"""CutMix: boxes of other images, pasted with their targets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from segloss import CutMix, MissingKeyError, SegLoss

GT, W = "gt_polygons_image", "seg_loss_weights"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(*spatial: int, samples: int = 6) -> tuple[Tensor, dict[str, Any]]:
    """Images whose pixels know their sample, beside targets, weights and a map that know it too."""
    sample = torch.arange(samples).reshape(-1, *[1] * len(spatial)).expand(samples, *spatial)
    position = torch.arange(sample[0].numel()).reshape(spatial) / sample[0].numel()
    images = (sample + position / 2).unsqueeze(1).repeat(1, 3, *[1] * len(spatial))
    batch = {GT: sample, W: sample.unsqueeze(1).double(), "map": sample.unsqueeze(1) / 2, "id": "x"}
    return images, batch


@pytest.mark.parametrize("spatial", [(40,), (20, 30), (6, 10, 8)])
def test_pixels_and_all_that_belongs_to_them_move_together(spatial: tuple[int, ...]) -> None:
    images, batch = batch_of(*spatial)
    mixed, gt = CutMix()(images, batch, generator())
    labels = gt[GT]
    assert torch.equal(mixed[:, 0].floor().long(), labels)  # a pixel keeps its label
    place = images - images.floor()
    torch.testing.assert_close(mixed - mixed.floor(), place, rtol=0, atol=1e-6)  # and its place
    assert torch.equal(gt[W][:, 0], labels.double())
    assert torch.equal(gt["map"][:, 0], labels / 2)
    assert gt["id"] == "x"
    assert {key: type(value) for key, value in gt.items()} == {k: type(v) for k, v in batch.items()}
    assert labels.dtype == batch[GT].dtype


@pytest.mark.parametrize("spatial", [(40,), (20, 30), (6, 10, 8)])
def test_a_sample_gets_one_box_of_one_other_sample(spatial: tuple[int, ...]) -> None:
    images, batch = batch_of(*spatial)
    _, gt = CutMix()(images, batch, generator(3))
    changed = 0
    for n, labels in enumerate(gt[GT]):
        pasted = labels != n
        if not pasted.any():
            continue
        changed += 1
        assert len(labels[pasted].unique()) == 1
        sides = [index.max() - index.min() + 1 for index in pasted.nonzero(as_tuple=True)]
        assert torch.stack(sides).prod() == pasted.sum()
    assert changed > 2


def test_the_share_of_the_boxes_is_uniform_for_alpha_1() -> None:
    """Boxes in the middle are not cut off, so their shares are those that were drawn."""
    images, batch = batch_of(200, 200, samples=2)
    shares = []
    for seed in range(400):
        labels = CutMix()(images, batch, generator(seed))[1][GT]
        pasted = labels[0] != 0
        rows, columns = pasted.any(1), pasted.any(0)
        if not (rows[0] | rows[-1] | columns[0] | columns[-1]) and pasted.any():
            shares.append(pasted.float().mean().item())
    assert len(shares) > 20
    assert min(shares) < 0.05
    assert max(shares) > 0.3


def test_the_result_is_an_ordinary_batch() -> None:
    images, batch = batch_of(8, 8)
    mixed, gt = CutMix()(images, batch, generator())
    value, _ = SegLoss(n_classes=6)(torch.randn(6, 6, 8, 8), gt)
    assert value.isfinite()
    assert mixed.shape == images.shape


def test_a_seed_gives_one_result_and_the_arguments_stay() -> None:
    images, batch = batch_of(8, 8)
    kept = images.clone(), batch[GT].clone()
    first, second = (CutMix()(images, batch, generator(1)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1][GT], second[1][GT])
    assert torch.equal(images, kept[0])
    assert torch.equal(batch[GT], kept[1])


def test_wrong_uses_are_refused() -> None:
    images, batch = batch_of(8, 8)
    with pytest.raises(ValueError, match="alpha must be a finite number above 0, got 0"):
        CutMix(0)
    with pytest.raises(MissingKeyError, match="gt_key="):
        CutMix()(images, {"mask": batch[GT]})
    with pytest.raises(ValueError, match=r"the same pixels, got \(6, 3, 8, 8\) and \(6, 4, 4\)"):
        CutMix()(images, {GT: batch[GT][:, ::2, ::2]})
    with pytest.raises(ValueError, match=r"annotations of classes \('annotated'\).*MixUp"):
        CutMix()(images, {**batch, "annotated": torch.ones(6, 4, dtype=torch.bool)})
    with pytest.raises(TypeError, match=r"got torch\.uint8"):
        CutMix()(images.byte(), batch)
    with pytest.raises(TypeError, match="manual_seed"):
        CutMix()(images, batch, 0)


def test_an_empty_batch_stays_empty() -> None:
    images, batch = torch.zeros(0, 3, 4, 4), {GT: torch.zeros(0, 4, 4, dtype=torch.long)}
    mixed, gt = CutMix()(images, batch)
    assert mixed.shape == images.shape
    assert gt[GT].shape == (0, 4, 4)


def test_lists_of_scales_are_refused() -> None:
    images, batch = batch_of(8, 8)
    with pytest.raises(ValueError, match="under 'weights': call CutMix before"):
        CutMix()(images, {**batch, "weights": [batch[W], batch[W][..., ::2, ::2]]})
