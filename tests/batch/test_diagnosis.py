"""The first batches are diagnosed: strange things are told once, and right trainings are quiet."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import segloss
from segloss import CompoundLoss, DeepSupervision, LossWrapper, MultiLoss, SegLoss
from segloss.batch.diagnosis import FEW_SAMPLES, MANY_SAMPLES, DiagnosisWarning, Tally
from segloss.losses.schedule import EpochWatch
from segloss.tools.diagnose import Diagnosis, diagnose
from tests.support.waits import MISSING, Waits, a_gpu

SIZE = 20
IGNORED = {"ignore_index": 255}


def logits(channels: int, samples: int = 2) -> Tensor:
    return torch.randn(samples, channels, SIZE, SIZE)


def labels(low: int, high: int, samples: int = 2) -> Tensor:
    return torch.randint(low, high, (samples, SIZE, SIZE))


def told(call: Callable[[], Any]) -> list[str]:
    """The diagnoses of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught if each.category is DiagnosisWarning]


def trained(loss: nn.Module, batch: Callable[[], tuple[Any, Any]], samples: int) -> list[str]:
    """The diagnoses of some samples, in batches of two."""

    def train() -> None:
        for _ in range(samples // 2):
            loss(*batch())

    return told(train)


MULTI = {
    "SegLoss": lambda **more: SegLoss(n_classes=4, **more),
    "CompoundLoss": lambda **more: CompoundLoss(mode="multiclass", **more),
    "DiceLoss": lambda **more: segloss.DiceLoss("multiclass", **more),
    "wrapped": lambda **more: LossWrapper(CompoundLoss(mode="multiclass", **more)),
    "in a MultiLoss": lambda **more: MultiLoss([SegLoss(n_classes=4, **more)], [1.0]),
}


@pytest.mark.parametrize("door", MULTI)
def test_logits_that_are_softmaxed_already(door: str) -> None:
    loss = MULTI[door]()
    batch = logits(4).softmax(1), labels(0, 4)
    [text] = told(lambda: loss(*batch))
    assert "prediction looks like the result of a softmax" in text
    assert "leave the softmax out of the network, or set from_logits=False" in text
    assert told(lambda: loss(*batch)) == []
    assert told(lambda: MULTI[door](from_logits=False)(*batch)) == []


def test_the_warning_has_the_loss_the_key_and_the_users_line() -> None:
    loss = SegLoss("second", n_classes=4)
    with pytest.warns(DiagnosisWarning) as caught:
        loss({"seg": logits(4).softmax(1)}, {"gt_polygons_image": labels(0, 4)})
    assert str(caught[0].message).startswith("SegLoss 'second': The loss takes logits, and pred_b")
    assert caught[0].filename == __file__


def test_logits_that_went_through_a_sigmoid() -> None:
    mask = torch.randint(0, 2, (4, 1, SIZE, SIZE))
    [text] = told(lambda: CompoundLoss()(3 * logits(1, 4).sigmoid() / 3, mask))
    assert "leave the sigmoid out of the network" in text


@pytest.mark.parametrize("door", MULTI)
def test_a_foreground_that_is_ignored(door: str) -> None:
    loss = MULTI[door](**IGNORED)
    batch = logits(4), 255 * labels(0, 2)
    [text] = trained(loss, lambda: batch, FEW_SAMPLES + 4)
    assert f"No foreground is left in the first {FEW_SAMPLES} samples" in text
    assert "leave ignore_index out" in text


def test_pixels_that_are_all_ignored() -> None:
    loss = SegLoss(n_classes=4, **IGNORED)
    [text] = trained(loss, lambda: (logits(4), labels(255, 256)), FEW_SAMPLES + 4)
    assert text.startswith("SegLoss 'seg': No pixel counts")


@pytest.mark.parametrize("door", MULTI)
def test_labels_that_begin_at_1(door: str) -> None:
    loss = MULTI[door]()
    [text] = trained(loss, lambda: (logits(4), labels(1, 4)), FEW_SAMPLES + 4)
    assert "Class 0 does not occur" in text
    assert "subtract 1, target - 1" in text


def test_classes_that_do_not_occur_in_many_samples() -> None:
    loss = SegLoss(n_classes=5)
    found = trained(loss, lambda: (logits(5), labels(0, 3)), MANY_SAMPLES + 100)
    [text] = found
    assert f"Classes 3, 4 of 5 do not occur in the first {MANY_SAMPLES} samples" in text
    assert loss.first_batches.are_over


def test_masks_without_foreground() -> None:
    loss = SegLoss(from_logits=True)
    mask = torch.zeros(2, 1, SIZE, SIZE)
    [text] = trained(loss, lambda: (logits(1), mask), MANY_SAMPLES)
    assert "target is 0 everywhere" in text


MASKS = {
    "SegLoss": lambda **more: SegLoss(from_logits=True, **more),
    "CompoundLoss": CompoundLoss,
    "DiceLoss": segloss.DiceLoss,
    "multilabel": lambda **more: CompoundLoss(mode="multilabel", **more),
    "multiclass": lambda **more: CompoundLoss(mode="multiclass", **more),
}


ACTIVATED = {
    "LovaszLoss": (lambda: segloss.LovaszLoss("multiclass"), "softmax"),
    "Lovasz hinge": (lambda: segloss.LovaszLoss("multilabel"), "sigmoid"),
    "SoftClDiceLoss": (lambda: segloss.SoftClDiceLoss("multiclass"), "softmax"),
    "HausdorffDistanceLoss": (
        lambda: segloss.HausdorffDistanceLoss("multilabel", predicted_distance=False),
        "sigmoid",
    ),
    "OhemCrossEntropyLoss": (lambda: segloss.OhemCrossEntropyLoss(), "softmax"),
    "TopKCrossEntropyLoss": (lambda: segloss.TopKCrossEntropyLoss(), "softmax"),
    "nn.CrossEntropyLoss": (lambda: LossWrapper(nn.CrossEntropyLoss()), "softmax"),
    "nn.BCEWithLogitsLoss": (lambda: LossWrapper(nn.BCEWithLogitsLoss()), "sigmoid"),
    "a sigmoid for a softmax": (lambda: SegLoss(n_classes=4), "sigmoid"),
    "a sigmoid for nn.CrossEntropyLoss": (lambda: LossWrapper(nn.CrossEntropyLoss()), "sigmoid"),
}


@pytest.mark.parametrize("name", ACTIVATED)
def test_activated_outputs_are_told_by_every_loss(name: str) -> None:
    make, activation = ACTIVATED[name]
    loss, prediction = make(), logits(4)
    target = nn.functional.one_hot(labels(0, 4), 4).movedim(-1, 1).float()
    maps = {"maps": {"gt_distance": target}} if name == "HausdorffDistanceLoss" else {}
    activated = prediction.softmax(1) if activation == "softmax" else prediction.sigmoid()
    [text] = told(lambda: loss(activated, target, **maps))
    assert f"prediction looks like the result of a {activation}" in text
    assert f"leave the {activation} out of the network" in text
    takes_probabilities = "from_logits" in inspect.signature(type(loss)).parameters
    is_own = "for a softmax" not in name
    assert ("from_logits=False" in text) is (takes_probabilities and is_own)
    assert told(lambda: loss(activated, target, **maps)) == []
    assert told(lambda: make()(prediction, target, **maps)) == []


def test_probabilities_of_a_sigmoid_for_a_loss_of_probabilities_of_a_softmax() -> None:
    loss = CompoundLoss(mode="multiclass", from_logits=False)
    [text] = told(lambda: loss(logits(4).sigmoid(), labels(0, 4)))
    assert "add up to more than 1" in text
    assert "pass the softmax, or logits with from_logits=True" in text


def test_logits_for_a_loss_of_log_probabilities() -> None:
    prediction, target = logits(4), labels(0, 4)
    [text] = told(lambda: LossWrapper(nn.NLLLoss())(prediction, target))
    assert "pass prediction.log_softmax(1), or use nn.CrossEntropyLoss" in text
    right = LossWrapper(nn.NLLLoss())(prediction.log_softmax(1), target)[0]
    torch.testing.assert_close(right, LossWrapper(nn.CrossEntropyLoss())(prediction, target)[0])


@pytest.mark.parametrize("door", MASKS)
@pytest.mark.parametrize("options", [{}, IGNORED], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_masks_of_0_and_1_that_went_through_to_tensor(door: str, options: Any, dtype: Any) -> None:
    channels = 3 if door.startswith("multi") else 1
    mask = nn.functional.one_hot(labels(0, channels or 2), channels).movedim(-1, 1)
    mask = mask if channels > 1 else labels(0, 2).unsqueeze(1)
    target = (mask / 255).to(dtype)
    [text] = trained(MASKS[door](**options), lambda: (logits(channels), target), 2 * FEW_SAMPLES)
    assert f"target holds only 0 and 1/255 in the first {FEW_SAMPLES} samples" in text
    assert "pass (255 * target).round()" in text
    assert (255 * target).round().equal(mask.to(dtype))


def test_a_dataset_of_masks_that_went_through_to_tensor() -> None:
    batches = [labels(0, 2, 8).unsqueeze(1) / 255] * 8
    [finding] = page(CompoundLoss(), batches).findings
    assert "the target holds only 0 and 1/255" in finding.text


SWITCHES = {
    "smooth_factor": ({"smooth_factor": 0.1}, "set use_label_smooth=True"),
    "use_label_smooth": ({"use_label_smooth": True}, "set smooth_factor"),
    "smoothing without cross-entropy": (
        {"bce_coef": 0, "use_label_smooth": True, "smooth_factor": 0.1},
        "smooth_factor changes nothing",
    ),
    "tversky_alpha": ({"tversky_alpha": 0.5}, "set tversky_focal_coef above 0"),
    "tversky_gamma": ({"tversky_gamma": 0.5}, "set tversky_focal_coef above 0"),
    "class_weights": ({"bce_coef": 0, "class_weights": [1, 2, 3, 4]}, "(bce_coef)"),
    "smooth": ({"dice_coef": 0, "smooth": 0.0}, "set dice_coef above 0"),
    "region_classes": ({"dice_coef": 0, "region_classes": [1]}, "set dice_coef above 0"),
    "components_key": ({"components_key": "ids"}, "set region_groups"),
    "mixup_alpha": ({"mixup_alpha": 0.2}, "set use_mixup=True"),
    "sync_in_eval": ({"sync_in_eval": True}, "set sync_statistics=True"),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_an_argument_whose_switch_is_off(name: str) -> None:
    options, remedy = SWITCHES[name]
    loss = SegLoss(n_classes=4, **options)
    [text] = told(lambda: loss(logits(4), labels(0, 4)))
    assert remedy in text
    assert told(lambda: loss(logits(4), labels(0, 4))) == []


def discs(samples: int = 4) -> Tensor:
    """Label maps with a disc of class 1, and one of class 2, off the centre."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    label_map = torch.zeros(64, 64, dtype=torch.long)
    label_map[(y - 18) ** 2 + (x - 15) ** 2 < 130] = 1
    label_map[(y - 40) ** 2 + (x - 22) ** 2 < 250] = 2
    return label_map.repeat(samples, 1, 1)


def distances_of(label_maps: Tensor, n_classes: int = 3) -> Tensor:
    add_map = segloss.maps.SignedDistanceMap(n_classes, ignore_index=255)
    return torch.stack([add_map(mask=each)["gt_distance_map"] for each in label_maps])


FLIPPED = (3,)
DISTANCES = {
    "right": (lambda maps: maps, ""),
    "opposite signs": (lambda maps: -maps, "pass its negative"),
    "unsigned": (lambda maps: maps.abs(), "SignedDistanceMap, after the augmentation"),
    "of other masks": (lambda maps: maps.flip(FLIPPED), "SignedDistanceMap, after the augment"),
    "inside alone": (lambda maps: maps.clamp(max=0).abs(), "SignedDistanceMap, after the augment"),
    "of other masks in half of the samples": (
        lambda maps: torch.cat([maps[:2], maps[2:].flip(FLIPPED)]),
        "SignedDistanceMap, after the augmentation",
    ),
}
CHANNELS = {
    "a label map": (3, {"n_classes": 3}, discs()),
    "masks": (3, {"activation": "sigmoid"}, nn.functional.one_hot(discs()).movedim(-1, 1)),
    "one mask": (1, {}, (discs() == 1).long()),
    "with ignored pixels": (3, {"n_classes": 3, **IGNORED}, torch.where(discs() == 1, 1, discs())),
}


@pytest.mark.parametrize(("change", "remedy"), DISTANCES.values(), ids=DISTANCES)
@pytest.mark.parametrize(("channels", "options", "target"), CHANNELS.values(), ids=CHANNELS)
def test_signed_distances_that_do_not_fit_the_target(
    change, remedy, channels, options, target
) -> None:
    exact = distances_of(discs()) if channels == 3 else distances_of((discs() == 1).long(), 2)
    batch = {"gt_polygons_image": target, "gt_distance_map": change(exact)}
    prediction = torch.randn(4, channels, 64, 64)
    loss = SegLoss(**options, extra_terms={"boundary": 0.1}, from_logits=True)
    found = told(lambda: [loss({"seg": prediction}, batch) for _ in range(2)])
    assert [remedy in text for text in found] == [True] * bool(remedy)
    page = diagnose(loss, [batch], quiet=True)
    assert [remedy in each.text for each in page.findings] == [True] * bool(remedy)


def test_signed_distances_are_counted_over_small_batches() -> None:
    maps = distances_of(discs())
    loss = SegLoss(n_classes=3, extra_terms={"boundary": 0.1})

    def train() -> None:
        for number in range(30):
            given = maps[:1].flip(FLIPPED) if number % 2 else maps[:1]
            batch = {"gt_polygons_image": discs(1), "gt_distance_map": given}
            loss({"seg": torch.randn(1, 3, 64, 64)}, batch)

    [text] = told(train)
    assert "SignedDistanceMap, after the augmentation" in text


def test_a_dataset_shows_at_its_end_what_a_training_waits_for() -> None:
    page = diagnose(SegLoss(**IGNORED), [255 * labels(0, 2, 8)[:, None]], quiet=True)
    [finding] = page.findings
    assert "No foreground is left in the dataset's 8 samples" in finding.text
    absent = [torch.tensor([[[0, 1, 1, 0]]])] * 3
    [finding] = diagnose(SegLoss(n_classes=3), absent, quiet=True).findings
    assert "Class 2 of 3 does not occur in the dataset's 3 samples" in finding.text
    assert diagnose(SegLoss(n_classes=3), absent, max_batches=2, quiet=True).passed


def test_signed_distances_outside_region_classes_are_not_read() -> None:
    maps = distances_of(discs())
    maps[:, 0] *= -1
    loss = segloss.BoundaryLoss("multiclass", region_classes=[1, 2])
    given = {"gt_distance_map": maps}
    assert told(lambda: loss(torch.randn(4, 3, 64, 64), discs(), maps=given)) == []


def test_norms_that_have_not_been_computed() -> None:
    def of(count: int, **options: Any) -> MultiLoss:
        losses = [SegLoss(f"loss {i}", n_classes=4) for i in range(count)]
        return MultiLoss(losses, [1.0] * count, **options)

    def train(loss: MultiLoss) -> list[str]:
        return told(lambda: [loss(logits(4), labels(0, 4)) for _ in range(2)])

    wanted = {"normalization_params": {"max_samples": 10}}
    [text] = train(of(2, **wanted))
    assert "normalization_params" in text
    assert "call segloss.compute_norms(multi_loss, " in text
    for plain in (of(1, **wanted), of(2), of(2, **wanted, normalize_losses=False)):
        assert train(plain) == []
    validated = of(2, **wanted)
    with torch.no_grad():
        assert train(validated) == []
    segloss.compute_norms(validated, [(logits(4), labels(0, 4))])
    assert train(validated) == []


def test_a_schedule_whose_epoch_stands_still() -> None:
    loss = MultiLoss([SegLoss(n_classes=4)], [[0.0, 1.0]], [0, 10])

    def train(epochs: range, is_set: bool) -> None:
        for epoch in epochs:
            if is_set:
                loss.set_epoch(epoch)
            loss(logits(4), labels(0, 4))
            with torch.no_grad():
                loss(logits(4), labels(0, 4))

    loss.set_epoch(0)
    assert told(lambda: train(range(12), is_set=True)) == []
    loss.set_epoch(0)
    [text] = told(lambda: train(range(EpochWatch.ROUNDS + 3), is_set=False))
    assert "call set_epoch(epoch) at the start of each epoch" in text


def test_a_schedule_that_has_ended_stands_still() -> None:
    watch = EpochWatch()
    watch.set_epoch(10)
    assert not any(watch.stands_still(i % 2 == 0, [0, 10]) for i in range(100))


# Right trainings


def quiet_batches() -> Iterator[tuple[str, Any, Callable[[], tuple[Any, Any]], int]]:
    several = SegLoss(n_classes=4, **IGNORED)
    yield "several classes", several, lambda: (logits(4), labels(0, 4)), 200
    yield "logits of 0", SegLoss(n_classes=4), lambda: (0 * logits(4), labels(0, 4)), 8
    positive = SegLoss(from_logits=True)
    yield "small positive logits", positive, lambda: (logits(1) * 0.05 + 0.3, labels(0, 2)), 8
    tiles = SegLoss(from_logits=True)
    yield "some tiles without foreground", tiles, lambda: (logits(1), labels(0, 1)), FEW_SAMPLES
    void = CompoundLoss(mode="multiclass", ignore_index=0)
    yield "class 0 is void", void, lambda: (logits(4), labels(1, 4)), MANY_SAMPLES
    edges = CompoundLoss(mode="multiclass", **IGNORED)
    masks = torch.where(labels(0, 9) == 0, 255, labels(0, 4))
    yield "some void", edges, lambda: (logits(4), masks), 2 * FEW_SAMPLES
    scales = DeepSupervision(SegLoss(n_classes=4))
    yield "scales", scales, lambda: ([logits(4), logits(4)[..., ::2, ::2]], labels(0, 4)), 40
    tversky = SegLoss(n_classes=4, dice_coef=0, extra_terms={"tversky": 1.0}, tversky_alpha=0.5)
    yield "tversky_alpha of an extra term", tversky, lambda: (logits(4), labels(0, 4)), 4
    weights = {"class_weights": [1, 2, 3, 4]}
    loss, levels = (
        CompoundLoss(),
        torch.arange(4).repeat(200).reshape(2, 1, SIZE, SIZE) / 255,
    )
    yield "soft masks of few levels", loss, lambda: (logits(1), levels), 2 * FEW_SAMPLES
    rare = torch.rand(2, 1, SIZE, SIZE) / 255
    yield "rare events", CompoundLoss(), lambda: (logits(1), rare), 2 * FEW_SAMPLES
    one = torch.full((2, 1, SIZE, SIZE), 1 / 255)
    one[0, 0, 0, 0] = 1
    yield "a foreground of a pixel", CompoundLoss(), lambda: (logits(1), one), 2 * FEW_SAMPLES
    few, some = CompoundLoss(), one.clamp(max=1 / 255)
    yield "a few faint samples", few, lambda: (logits(1), some), FEW_SAMPLES - 2
    shared = [SegLoss("a", n_classes=4, **weights)]
    shared += [SegLoss("b", n_classes=4, bce_coef=0, **weights)]
    yield "a pass that is shared", MultiLoss(shared, [1, 1]), lambda: (logits(4), labels(0, 4)), 4


@pytest.mark.parametrize("case", [*quiet_batches()], ids=lambda case: case[0])
def test_a_right_training_is_quiet(case: tuple[str, Any, Any, int]) -> None:
    _, loss, batch, samples = case
    assert trained(loss, batch, samples) == []


# What it costs


def test_when_every_class_has_occurred_nothing_more_is_counted() -> None:
    loss = SegLoss(n_classes=4)
    loss(logits(4), labels(0, 4))
    assert loss.first_batches.are_over


def test_compiled_code_reads_nothing() -> None:
    loss = SegLoss(n_classes=4)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert told(lambda: compiled(logits(4).softmax(1), labels(0, 4))) == []
    assert not loss.first_batches.are_over


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_on_a_gpu_only_the_first_batch_is_read() -> None:
    loss = SegLoss(n_classes=4, **IGNORED)
    with a_gpu():
        for step in range(3):
            prediction = torch.empty(2, 4, 8, 8, device="cuda")
            target = torch.empty(2, 8, 8, dtype=torch.int64, device="cuda")
            with Waits() as waits:
                loss(prediction, target)
            assert bool(waits.found) is (step == 0)


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_on_a_gpu_masks_after_to_tensor_are_read_for_a_few_samples_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loss, samples = SegLoss(from_logits=True), FEW_SAMPLES // 2
    monkeypatch.setattr(Tally, "are_after_to_tensor", True)
    with a_gpu():
        for step in range(4):
            prediction = torch.empty(samples, 1, 8, 8, device="cuda")
            with Waits() as waits, warnings.catch_warnings():
                warnings.simplefilter("ignore", DiagnosisWarning)
                loss(prediction, torch.empty_like(prediction))
            assert bool(waits.found) is (step < 2)


def test_copies_and_pickles_go_on_counting() -> None:
    loss = SegLoss(n_classes=4)
    trained(loss, lambda: (logits(4), labels(1, 4)), FEW_SAMPLES - 4)
    for copied in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert len(trained(copied, lambda: (logits(4), labels(1, 4)), 8)) == 1


# Later batches of a shape


@pytest.mark.parametrize("ignored", [None, 255])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_later_mask_of_0_and_255_is_refused(dtype: torch.dtype, ignored: int | None) -> None:
    mask = torch.zeros(1, 1, 300, 300)
    mask[..., 30:100, 30:100] = 1
    prediction = torch.randn(1, 1, 300, 300)
    loss = SegLoss(from_logits=True, ignore_index=ignored)
    for _ in range(3):
        loss(prediction, mask.to(dtype))
    grey = 254 if ignored == 255 else 255
    with pytest.raises(ValueError, match=f"divide it, target / {grey}"):
        loss(prediction, (mask * grey).to(dtype))


def test_later_masks_with_ignored_pixels_are_taken() -> None:
    mask = torch.zeros(1, 1, 300, 300)
    mask[..., ::3] = 255
    loss = SegLoss(from_logits=True, ignore_index=255)
    values = [loss(torch.zeros(1, 1, 300, 300), mask).item() for _ in range(5)]
    assert len(set(values)) == 1


def test_pixels_of_weight_0_may_hold_anything_in_later_batches_too() -> None:
    mask, weight = torch.zeros(1, 1, 300, 300), torch.ones(1, 1, 300, 300)
    mask[..., ::3], weight[..., ::3] = torch.nan, 0
    loss = CompoundLoss()
    for _ in range(5):
        assert loss(torch.zeros(1, 1, 300, 300), mask, pixel_weights=weight).isfinite()


# A dataset


def page(loss: nn.Module, batches: Any, *args: Any, **options: Any) -> Diagnosis:
    return diagnose(loss, batches, *args, quiet=True, **options)


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "targets": lambda target: target,
    "pairs": lambda target: (torch.zeros(len(target), 3, SIZE, SIZE), target),
    "mappings": lambda target: {"image": torch.zeros(1), "gt_polygons_image": target},
    "mappings with predictions": lambda target: {
        "seg": logits(4, len(target)),
        "gt_polygons_image": target,
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("door", ["SegLoss", "in a MultiLoss"])
def test_a_dataset_is_diagnosed_in_any_form(form: str, door: str) -> None:
    batches = [FORMS[form](labels(1, 4, 8)) for _ in range(8)]
    found = page(MULTI[door](), batches)
    assert (found.batches, found.tally.samples, found.refused) == (8, 64, [])
    assert found.tally.absent == [0]
    assert sum(found.tally.of_classes) == found.tally.counted == 64 * SIZE**2
    [finding] = found.findings
    assert "subtract 1" in finding.text
    assert finding.text.split()[:4] == ["Class", "0", "does", "not"]
    assert not found.passed


def test_a_page_of_a_right_dataset() -> None:
    loss = SegLoss(n_classes=4, **IGNORED)
    target = torch.arange(4).repeat(100).reshape(1, SIZE, SIZE)
    target[0, 0] = 255
    found = page(loss, [target])
    assert found.passed
    assert "95 % count" in str(found)
    assert "Nothing strange was found." in str(found)
    assert str(found).count(" 25 %") == 4


def test_refused_batches_are_listed_with_their_numbers() -> None:
    batches = [labels(0, 4), labels(0, 9), labels(0, 4).float() + 0.5]
    found = page(SegLoss(n_classes=4), batches)
    assert [text.partition(":")[0] for text in found.refused] == [
        "Batch 1 is refused",
        "Batch 2 is refused",
    ]
    assert "mode='nearest'" in str(found)


def test_predictions_of_a_model_are_looked_at() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(1))
    batches = [(torch.randn(4, 3, SIZE, SIZE), labels(0, 4, 4))]
    [finding] = page(CompoundLoss(mode="multiclass"), batches, model).findings
    assert "softmax" in finding.text


def test_one_mask_and_several(capsys: pytest.CaptureFixture[str]) -> None:
    mask = torch.randint(0, 2, (4, 1, SIZE, SIZE))
    for target in (mask, mask[:, 0], mask.expand(4, 3, SIZE, SIZE)):
        found = page(SegLoss(from_logits=True), [target])
        assert found.tally.of_classes[0] == mask.sum()
    selected = SegLoss(gt_channel_selector=1)
    assert page(selected, [torch.cat([1 - mask, mask], 1)]).tally.of_classes == [mask.sum()]
    assert capsys.readouterr().out == ""


def test_the_page_is_printed_and_the_loss_stays_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loss = SegLoss(n_classes=4, smooth_factor=0.1)
    found = diagnose(loss, [labels(0, 4)], max_batches=1)
    assert capsys.readouterr().out == f"{found}\n"
    assert "set use_label_smooth=True" in str(found)
    assert not loss.first_batches.are_over


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: page(nn.CrossEntropyLoss(), []), "loss must be a SegLoss"),
        (lambda: page(SegLoss(), 3), "batches must be a data loader"),
        (lambda: page(SegLoss(), [], max_batches=0), "max_batches must be at least 1"),
        (lambda: page(SegLoss(), [], n_classes="3"), "n_classes must be an int"),
    ],
)
def test_a_wrong_argument_is_an_error(call: Callable[[], Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        call()


@pytest.mark.parametrize("batches", [[], iter([]), [labels(0, 4, 0)]], ids=["list", "pass", "0"])
def test_a_dataset_without_samples_is_an_error(batches: Any) -> None:
    with pytest.raises(ValueError, match=r"at least one sample.*pass the data loader itself"):
        page(SegLoss(n_classes=4), batches)


def test_a_page_shows_tensors_by_their_shapes() -> None:
    text = str(page(SegLoss(n_classes=4), [(logits(4), labels(0, 4), {"id": labels(0, 4)})]))
    assert "(a tensor of shape (2, 4, 20, 20)," in text
    assert "{'id': a tensor of shape" in text.replace("\n ", "")
    assert "((image, mask) for image, mask, *_" in text


def test_a_dataset_that_is_refused_is_no_dataset_without_samples() -> None:
    assert len(page(SegLoss(n_classes=4), [labels(4, 9)]).refused) == 1


def test_a_loss_that_does_not_know_its_classes_asks_for_them() -> None:
    loss, batches = CompoundLoss(mode="multiclass"), [labels(0, 4)]
    assert "n_classes=..." in page(loss, batches).refused[0]
    assert page(loss, batches, n_classes=4).passed
