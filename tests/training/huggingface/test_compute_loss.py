"""The Trainer of Hugging Face computes what one process with one batch would."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments
from transformers.utils import ModelOutput

from segloss import LossWrapper, MultiLoss, SegLoss
from segloss.training.huggingface import LossSchedule, as_compute_loss_func

CLASSES = 3


class Samples(Dataset[dict[str, Tensor]]):
    """Images of 8 x 8, and labels of which some samples have many that do not count."""

    def __init__(self, uncounted: bool = False) -> None:
        torch.manual_seed(0)
        self.images = torch.randn(8, 2, 8, 8)
        self.labels = torch.randint(0, CLASSES, (8, 8, 8))
        if uncounted:
            self.labels[::4, :6] = -100

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


class Half(nn.Module):
    """Predicts at half the resolution; takes further arguments if asked to, as SegFormer does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(2, CLASSES, 2, stride=2)

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
        (nn.CrossEntropyLoss(), Samples(uncounted=True)),
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
