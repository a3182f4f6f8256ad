"""The rules' numbers, against their formulas and by hand, and what they do as datasets change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

import segloss
from segloss import MultiLoss, SegLoss, build_loss, suggest
from segloss.terms.mixture.spellings import mapping_of


def masks_of(*shares: float, side: int = 100) -> list[np.ndarray]:
    """Two masks whose classes have these shares of the pixels."""
    counts = np.rint(np.array(shares) * side**2).astype(int)
    return [np.repeat(np.arange(len(shares)), counts).reshape(side, side)] * 2


def settings(masks: list[np.ndarray], **options) -> dict:
    return suggest(masks, **options).config["loss_params"]["compound_loss"]["loss_list"][0]


def test_rare_classes_have_no_weights() -> None:
    assert "class_weights" not in settings(masks_of(0.9605, 0.0155, 0.0145, 0.0095))


@pytest.mark.parametrize("share", [0.3, 0.04])
def test_in_the_usual_case_it_is_the_recommended_mixture(share: float) -> None:
    masks = masks_of(1 - share, share)
    labels = torch.from_numpy(np.stack(masks))
    logits = torch.randn(2, 1, *labels.shape[1:], generator=torch.Generator().manual_seed(0))
    batch = {"seg": logits}, {"gt_polygons_image": labels}
    value = suggest(masks).build()(*batch)[0]
    expected = SegLoss(from_logits=True, terms=segloss.recommended())(*batch)[0]
    torch.testing.assert_close(value, expected)


def test_dice_is_pooled_over_the_batch_if_many_images_lack_a_class() -> None:
    with_all, without = masks_of(0.5, 0.3, 0.2), masks_of(0.6, 0.4)
    recommended = mapping_of(segloss.recommended())
    pooled = {**recommended["dice"], "region_reduction": "batch"}
    assert settings([*with_all, *without])["terms"] == {**recommended, "dice": pooled}
    assert settings([*(3 * with_all), *without])["terms"] == recommended


def test_a_class_is_called_the_least_common_only_if_an_image_lacks_it() -> None:
    with_all, without = masks_of(0.5, 0.3, 0.2), masks_of(0.6, 0.4)

    def why(masks: list[np.ndarray]) -> str:
        return next(each.why for each in suggest(masks).advice if each.key.endswith("dice"))

    assert "each class is in all of the images" in why(with_all)
    assert "the least common class (class 2) is in 50% of the images" in why([*with_all, *without])


def test_of_two_classes_the_foreground_alone_is_judged() -> None:
    foreground = masks_of(0.6, 0.4)
    empty = [np.zeros_like(mask) for mask in foreground]
    full = [mask + 1 for mask in empty]
    assert "region_reduction" not in settings([*foreground, *full])["terms"]["dice"]
    assert "region_reduction" in settings([*foreground, *empty])["terms"]["dice"]


def test_notes_tell_of_noise_thin_classes_and_few_examples() -> None:
    mask = np.zeros((64, 64), int)
    mask[::4, ::4] = 1
    mask[30:40, 30:40] = 2
    suggestion = suggest([mask])
    found = {note.what: note.found for note in suggestion.notes}
    assert "class 1 (100% of" in found["regions of one pixel"]
    assert "class 1 (100%)" in found["pixels at an edge"]
    assert "class 2" not in found["regions of one pixel"]
    assert "class 2 (1)" in found["masks with a class"]


CASES = {
    "two classes": ([np.eye(8, dtype=int) * 255], {}, (1, 1, 8, 8)),
    "many classes": (masks_of(0.7, 0.28, 0.02), {}, (1, 3, 100, 100)),
    "an unused label": ([np.where(m == 1, 4, m) for m in masks_of(0.5, 0.2, 0.2, 0.1)], {}, None),
    "an ignore value": ([np.where(m == 3, 255, m) for m in masks_of(0.5, 0.2, 0.2, 0.1)], {}, None),
    "channels": ([np.stack([np.eye(8), 1 - np.eye(8)])], {"layout": "classes"}, (1, 2, 8, 8)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_yaml_says_what_the_config_says_and_trains(case: str) -> None:
    masks, options, _ = CASES[case]
    suggestion = suggest(masks, **options)
    assert yaml.safe_load(suggestion.to_yaml()) == suggestion.config
    loss = build_loss(suggestion.to_yaml())
    assert isinstance(loss, MultiLoss)
    labels = torch.from_numpy(suggestion.classes.labels(masks[0])).long()[None]
    target = labels.float() if case == "channels" else labels
    shape = (1, suggestion.classes.channels, *labels.shape[-2:])
    logits = torch.zeros(shape, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.3)
    values = []
    for _ in range(20):
        optimiser.zero_grad()
        total, _, _ = loss({"seg": logits}, {"gt_polygons_image": target})
        total.backward()
        optimiser.step()
        values.append(total.item())
    assert values[-1] < 0.3 * values[0]


def test_every_setting_has_its_reason_and_rules_their_source() -> None:
    suggestion = suggest(masks_of(0.7, 0.292, 0.008))
    text = suggestion.to_yaml()
    assert all(advice.why for advice in suggestion.advice)
    for source in ("Isensee et al.", "Salehi et al.", "Abraham and Khan"):
        assert source in text.replace("\n        # ", " ")
        assert source in " ".join(str(suggestion).split())
    keys = [line.strip().split(":")[0] for line in text.splitlines() if ": " in line]
    assert {"n_classes", "dice", "normalize_losses"} <= set(keys)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("        ") and not line.strip().startswith(("#", "name", "terms:")):
            assert lines[number - 1].strip().startswith("#"), line


def test_a_file_that_is_there_is_kept_unless_told(tmp_path) -> None:
    suggestion = suggest(masks_of(0.7, 0.3))
    path = suggestion.save(tmp_path / "new" / "loss.yaml")
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="--force"):
        suggestion.save(path)
    assert path.read_text() == "mine"
    assert build_loss(suggestion.save(path, force=True)).loss_funcs[0].n_classes == 2
