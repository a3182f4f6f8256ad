"""The Trainer of Hugging Face computes what one process with one batch would."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments
from transformers.utils import ModelOutput

from segloss import CompoundLoss, FocalLoss, LossWrapper, MultiLoss, SegLoss
from segloss.terms import CrossEntropy
from segloss.training.huggingface import (
    IgnoreIndexCollator,
    LossSchedule,
    as_compute_loss_func,
)

CLASSES = 3


class Samples(Dataset[dict[str, Tensor]]):
    """Images of 8 x 8, and labels of which some samples have many that do not count."""

    def __init__(
        self, uncounted: int | None = None, dtype: torch.dtype = torch.long, classes: int = CLASSES
    ) -> None:
        torch.manual_seed(0)
        self.images = torch.randn(8, 2, 8, 8)
        self.labels = torch.randint(0, classes, (8, 8, 8)).to(dtype)
        if uncounted is not None:
            self.labels[::4, :6] = uncounted
            self.labels[1] = uncounted
            self.labels[4:6] = uncounted  # a whole micro-batch

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


class Half(nn.Module):
    """Predicts at half the resolution; takes further arguments if asked to, as SegFormer does."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(2, classes, 2, stride=2)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        return ModelOutput(logits=self.conv(pixel_values))


class Kwargs(Half):
    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> Any:
        return super().forward(pixel_values)


def trained(
    folder: Path,
    loss: Any,
    model: nn.Module,
    batch: int,
    accumulate: int,
    data: Samples | None = None,
    callbacks: Any = None,
    collator: Any = None,
    **options: Any,
) -> tuple[nn.Module, Trainer]:
    settings: dict[str, Any] = {
        "max_steps": 1,
        "learning_rate": 1.0,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0,
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
    }
    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulate,
        **{**settings, **options},
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=Samples() if data is None else data,
        eval_dataset=data,
        compute_loss_func=as_compute_loss_func(loss),
        callbacks=callbacks,
        data_collator=collator,
    )
    trainer.train()
    return model, trainer


def logged(trainer: Trainer) -> float:
    return next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)


@pytest.mark.parametrize("kind", [Half, Kwargs])
@pytest.mark.parametrize(("batch", "accumulate"), [(8, 1), (4, 2), (2, 4)])
def test_accumulated_micro_batches_are_one_batch(
    kind: type[nn.Module], batch: int, accumulate: int, tmp_path: Path
) -> None:
    for loss, data in (
        (SegLoss(n_classes=CLASSES, tversky_focal_coef=0.2), Samples()),
        (nn.CrossEntropyLoss(), Samples(uncounted=-100)),
    ):
        model, trainer = trained(tmp_path, loss, kind(), batch, accumulate, data)
        expected = kind()
        logits = F.interpolate(expected(data.images).logits, 8, mode="bilinear")
        result = loss(logits, data.labels)
        value = result[0] if isinstance(result, tuple) else result
        value.backward()
        step = expected.conv.weight.detach() - expected.conv.weight.grad
        torch.testing.assert_close(model.conv.weight.detach(), step, rtol=1e-5, atol=1e-6)
        assert logged(trainer) == pytest.approx(value.item(), abs=1e-4)


IGNORING: dict[str, Callable[[int], Any]] = {
    "SegLoss": lambda ignored: SegLoss(n_classes=CLASSES, dice_coef=0, ignore_index=ignored),
    "cross-entropy": lambda ignored: nn.CrossEntropyLoss(ignore_index=ignored),
    "a function": lambda ignored: partial(F.cross_entropy, ignore_index=ignored),
    "MultiLoss": lambda ignored: MultiLoss(
        [SegLoss(n_classes=CLASSES, dice_coef=0, ignore_index=ignored), focal(ignored)], [1.0, 0.5]
    ),
    "CompoundLoss": lambda ignored: CompoundLoss(
        CrossEntropy(), "multiclass", ignore_index=ignored
    ),
}


def focal(ignored: int) -> LossWrapper:
    return LossWrapper(FocalLoss("multiclass", ignore_index=ignored), "focal")


@pytest.mark.parametrize(
    ("name", "batch", "accumulate", "dtype"),
    [
        *((name, 3, 3, torch.uint8) for name in IGNORING),
        ("MultiLoss", 8, 1, torch.long),
        ("MultiLoss", 4, 2, torch.long),
        ("MultiLoss", 3, 3, torch.long),
    ],
)
def test_labels_that_processors_ignore_are_exact_with_the_collator(
    name: str, dtype: torch.dtype, batch: int, accumulate: int, tmp_path: Path
) -> None:
    loss, data = IGNORING[name](255), Samples(255, dtype)
    model, trainer = trained(
        tmp_path, loss, Half(), batch, accumulate, data, collator=IgnoreIndexCollator(255)
    )
    assert_one_step(model, trainer, loss, data)


@pytest.mark.parametrize("name", IGNORING)
def test_the_trainers_own_label_is_exact_without_it(name: str, tmp_path: Path) -> None:
    loss, data = IGNORING[name](-100), Samples(-100)
    model, trainer = trained(tmp_path, loss, Half(), 2, 4, data)
    assert_one_step(model, trainer, loss, data)


def assert_one_step(model: nn.Module, trainer: Trainer, loss: Any, data: Samples) -> None:
    """The step is that of the whole data set in one batch, with the loss of it."""
    expected = Half(model.conv.out_channels)
    logits = F.interpolate(expected(data.images).logits, 8, mode="bilinear")
    result = loss(logits, data.labels.long())
    value = result[0] if isinstance(result, tuple) else result
    value.backward()
    step = expected.conv.weight.detach() - expected.conv.weight.grad
    torch.testing.assert_close(model.conv.weight.detach(), step, rtol=1e-5, atol=1e-6)
    assert logged(trainer) == pytest.approx(value.item(), abs=1e-4)


@pytest.mark.parametrize("name", IGNORING)
def test_without_the_collator_they_are_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels hold 255.*IgnoreIndexCollator\(255\)"):
        trained(tmp_path, IGNORING[name](255), Half(), 2, 4, Samples(255))


def test_a_step_of_one_batch_needs_no_collator(tmp_path: Path) -> None:
    loss, data = IGNORING["SegLoss"](255), Samples(255)
    model, trainer = trained(tmp_path, loss, Half(), 8, 1, data)
    assert_one_step(model, trainer, loss, data)


def test_many_classes_in_label_maps_of_8_bits(tmp_path: Path) -> None:
    loss, data = SegLoss(n_classes=171, dice_coef=0), Samples(dtype=torch.uint8, classes=171)
    assert (data.labels == 156).any()  # which -100 is in 8 bits
    with pytest.raises(ValueError, match=r"uint8 can't hold -100.*takes for 156.*\(None\)"):
        trained(tmp_path, loss, Half(171), 2, 4, data)
    collator = IgnoreIndexCollator(None)
    model, trainer = trained(tmp_path, loss, Half(171), 2, 4, data, collator=collator)
    assert_one_step(model, trainer, loss, data)


def test_on_an_accelerator_later_batches_are_nan_where_they_would_be_wrong() -> None:
    compute = as_compute_loss_func(SegLoss(n_classes=CLASSES, ignore_index=255))
    compute._checks.due = lambda *_, **__: False
    ignored = LABELS.clone()
    ignored[0, 0] = 255
    assert compute({"logits": LOGITS}, LABELS, torch.tensor(128)).isfinite()
    assert compute({"logits": LOGITS}, ignored, torch.tensor(128)).isnan()
    assert compute({"logits": LOGITS}, ignored, torch.tensor(64)).isfinite()


def test_a_collator_leaves_the_rest_of_a_batch() -> None:
    collator = IgnoreIndexCollator(0, collate=lambda samples: dict(samples[0]))
    image, labels = torch.zeros(1), torch.tensor([0, 1], dtype=torch.int32)
    batch = collator([{"pixel_values": image, "labels": labels}])
    assert batch["pixel_values"] is image
    assert batch["labels"].tolist() == [-100, 1]
    assert collator([{"pixel_values": image}]) == {"pixel_values": image}
    for wrong in ({"ignore_index": "255"}, {"collate": 3}, {"collate": dict}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            IgnoreIndexCollator(**wrong)


def test_evaluation_has_the_mean(tmp_path: Path) -> None:
    loss, data = nn.CrossEntropyLoss(), Samples()
    model, trainer = trained(tmp_path, loss, Half(), 4, 2, data, per_device_eval_batch_size=4)
    with torch.no_grad():
        logits = F.interpolate(model(data.images).logits, 8, mode="bilinear")
        expected = loss(logits, data.labels).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def scheduled() -> MultiLoss:
    losses = [SegLoss(n_classes=CLASSES), LossWrapper(nn.CrossEntropyLoss(), "ce")]
    return MultiLoss(losses, [1.0, [0.0, 1.0]], epoch_thresholds=[0, 4])


@pytest.mark.parametrize(
    ("fractional", "expected"), [(False, [0, 0, 0.25, 0.25]), (True, [0, 0.125, 0.25, 0.375])]
)
def test_weights_follow_the_epochs(fractional: bool, expected: list[float], tmp_path: Path) -> None:
    loss, weights = scheduled(), []
    loss.register_forward_pre_hook(lambda *_: weights.append(loss.current_weights[1].item()))
    schedule = LossSchedule(loss, fractional=fractional)
    trained(tmp_path, loss, Half(), 4, 1, callbacks=[schedule], max_steps=4, learning_rate=0.1)
    assert weights == pytest.approx(expected)


LABELS = torch.zeros(1, 8, 8, dtype=torch.long)
LOGITS = torch.randn(1, CLASSES, 8, 8)


@pytest.mark.parametrize("outputs", [{"logits": LOGITS}, ModelOutput(logits=LOGITS), (LOGITS, 1)])
def test_outputs_of_any_kind_have_logits(outputs: Any) -> None:
    expected = F.cross_entropy(LOGITS, LABELS)
    torch.testing.assert_close(
        as_compute_loss_func(nn.CrossEntropyLoss())(outputs, LABELS), expected
    )


def test_logits_are_resized_to_labels_in_3d_too() -> None:
    logits, labels = torch.randn(1, 3, 2, 2, 2), torch.zeros(1, 4, 4, 4, dtype=torch.long)
    value = as_compute_loss_func(F.cross_entropy)({"logits": logits}, labels)
    resized = F.interpolate(logits, scale_factor=2, mode="trilinear")
    torch.testing.assert_close(value, F.cross_entropy(resized, labels))


def test_a_step_without_labels_that_count_is_0() -> None:
    compute = as_compute_loss_func(SegLoss(n_classes=CLASSES, ignore_index=-100))
    assert compute({"logits": LOGITS}, LABELS - 100, torch.tensor(0)) == 0


def test_it_can_be_pickled() -> None:
    compute = pickle.loads(pickle.dumps(as_compute_loss_func(SegLoss(n_classes=CLASSES))))
    assert compute({"logits": LOGITS}, LABELS) > 0


@pytest.mark.parametrize(
    ("outputs", "labels", "error", "words"),
    [
        ({"logits": LOGITS}, None, TypeError, "samples of the dataset must have the key 'labels'"),
        ({"masks": LOGITS}, LABELS, TypeError, "outputs must have logits, a tensor, got dict"),
        ((), LABELS, TypeError, "outputs must have logits"),
        (object(), LABELS, TypeError, "outputs must have logits"),
        ({"logits": LOGITS[0, 0]}, LABELS, ValueError, r"logits must be \(N, C, \*spatial\)"),
        ({"logits": LOGITS[..., ::2]}, LABELS, ValueError, r"\(8, 8\), got \(8, 4\): set upsample"),
    ],
)
def test_what_does_not_fit_is_named(
    outputs: Any, labels: Any, error: type[Exception], words: str
) -> None:
    compute = as_compute_loss_func(SegLoss(n_classes=CLASSES), upsample_logits=False)
    with pytest.raises(error, match=words):
        compute(outputs, labels)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="loss must be a loss of"):
        as_compute_loss_func(SegLoss)
    with pytest.raises(TypeError, match="upsample_logits must be True or False"):
        as_compute_loss_func(SegLoss(), upsample_logits=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loss must be a MultiLoss"):
        LossSchedule(SegLoss())  # type: ignore[arg-type]
