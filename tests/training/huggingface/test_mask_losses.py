"""The losses of masks in the criterions of transformers: those models' own, at equal settings."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import EomtConfig, Mask2FormerConfig
from transformers.models.eomt.modeling_eomt import EomtLoss
from transformers.models.eomt_dinov3.configuration_eomt_dinov3 import EomtDinov3Config
from transformers.models.eomt_dinov3.modeling_eomt_dinov3 import EomtDinov3Loss
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss
from transformers.models.maskformer.modeling_maskformer import (
    MaskFormerHungarianMatcher,
    MaskFormerLoss,
)
from transformers.models.oneformer.modeling_oneformer import (
    OneFormerHungarianMatcher,
    OneFormerLoss,
)
from transformers.models.videomt.configuration_videomt import VideomtConfig
from transformers.models.videomt.modeling_videomt import VideomtLoss

from segloss import CompoundLoss, DiceLoss, SegLoss
from segloss.terms import CrossEntropy, Dice, Focal, FocalTversky
from segloss.training.huggingface import use_mask_losses

CLASSES, QUERIES = 3, 5
POINTS = {"train_num_points": 50, "num_labels": CLASSES}
EXACT = {"rtol": 1e-9, "atol": 1e-12}


class Model(nn.Module):
    """A model as far as `use_mask_losses` looks at one."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion


def maskformer() -> nn.Module:
    matcher = MaskFormerHungarianMatcher(cost_class=1.0, cost_dice=1.0, cost_mask=20.0)
    return MaskFormerLoss(CLASSES, matcher=matcher, weight_dict={}, eos_coef=0.1)


def oneformer() -> nn.Module:
    matcher = OneFormerHungarianMatcher(num_points=50)
    return OneFormerLoss(CLASSES, matcher, {}, 0.1, 50, 3.0, 0.75, 0.07)


CRITERIONS: dict[str, Callable[[], nn.Module]] = {
    "Mask2Former": lambda: Mask2FormerLoss(Mask2FormerConfig(**POINTS), {}),
    "MaskFormer": maskformer,
    "OneFormer": oneformer,
    "EoMT": lambda: EomtLoss(EomtConfig(**POINTS), {}),
    "EoMT with DINOv3": lambda: EomtDinov3Loss(EomtDinov3Config(**POINTS), {}),
    "VidEoMT": lambda: VideomtLoss(VideomtConfig(**POINTS), {}),
}

OWN: dict[str, dict[str, Any]] = {
    name: {"loss_mask": CrossEntropy(), "loss_dice": Dice()} for name in CRITERIONS
}
OWN["MaskFormer"]["loss_mask"] = Focal(gamma=2.0, alpha=0.25)
"""The losses that the models have themselves."""


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Their criterions draw points of the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


IMAGES = {
    "two and three masks": [(2, 16, 16), (3, 16, 16)],
    "images of two sizes": [(1, 16, 12), (4, 10, 16)],
    "an image without masks": [(3, 16, 16), (0, 16, 16)],
    "more masks than predictions": [(2, 16, 16), (7, 16, 16)],
    "no masks": [(0, 16, 16), (0, 16, 16)],
}


def losses_of(criterion: Any, name: str = "two and three masks") -> tuple[dict[str, Tensor], Any]:
    """The losses of random predictions in two layers, and the slopes of those of the masks."""
    torch.manual_seed(0)
    masks = [(torch.rand(shape) > 0.6).to(torch.get_default_dtype()) for shape in IMAGES[name]]
    classes = [torch.randint(0, CLASSES, (len(each),)) for each in masks]
    logits = torch.randn(2, 2, QUERIES, 8, 8, requires_grad=True)
    of_classes = torch.randn(2, QUERIES, CLASSES + 1)
    layer = {"masks_queries_logits": logits[1], "class_queries_logits": of_classes}
    given = {"mask_labels": masks, "class_labels": classes, "auxiliary_predictions": [layer]}
    if isinstance(criterion, OneFormerLoss):
        given |= {"contrastive_queries_logits": None, "text_queries": None}
        given["calculate_contrastive_loss"] = False
    losses = criterion(logits[0], of_classes, **given)
    total = sum((2 + i) * losses[key] for i, key in enumerate(sorted(losses)) if "ce" not in key)
    return losses, torch.autograd.grad(total, logits)[0]


def assert_are(
    found: tuple[dict[str, Tensor], Any], expected: tuple[dict[str, Tensor], Any]
) -> None:
    assert found[0].keys() == expected[0].keys()
    torch.testing.assert_close(found, expected, check_dtype=False, **EXACT)


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("name", CRITERIONS)
def test_the_same_terms_are_the_models_own_losses(name: str, images: str) -> None:
    criterion = CRITERIONS[name]()
    expected = losses_of(criterion, images)
    assert {"loss_mask", "loss_dice_0", "loss_cross_entropy"} <= expected[0].keys()
    use_mask_losses(Model(criterion), **OWN[name])
    assert_are(losses_of(criterion, images), expected)


FORMS: dict[str, Any] = {
    "a mapping": {"dice": 1.0},
    "a mixture": 1.0 * Dice(),
    "a CompoundLoss": CompoundLoss(Dice()),
    "a term's loss": DiceLoss(),
    "a SegLoss": SegLoss(from_logits=True, bce_coef=0, dice_coef=1),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_loss_has_any_form(form: str) -> None:
    criterion = CRITERIONS["Mask2Former"]()
    expected = losses_of(criterion)
    use_mask_losses(Model(criterion), loss_mask=CrossEntropy(), loss_dice=FORMS[form])
    assert_are(losses_of(criterion), expected)


def test_another_term_changes_its_loss_alone() -> None:
    criterion = CRITERIONS["Mask2Former"]()
    before, _ = losses_of(criterion)
    use_mask_losses(Model(criterion), loss_mask=CrossEntropy(), loss_dice=FocalTversky())
    after, slopes = losses_of(criterion)
    assert slopes.isfinite().all()
    for key, value in before.items():
        assert torch.allclose(after[key], value, **EXACT) == ("dice" not in key)


def test_one_loss_may_serve_for_both() -> None:
    criterion = CRITERIONS["Mask2Former"]()
    expected, _ = losses_of(criterion)
    use_mask_losses(Model(criterion), loss_mask=CrossEntropy() + 0.5 * Dice())
    losses, _ = losses_of(criterion)
    assert not [key for key in losses if "dice" in key]
    torch.testing.assert_close(
        losses["loss_mask"], expected["loss_mask"] + 0.5 * expected["loss_dice"], **EXACT
    )


def test_the_last_call_holds() -> None:
    criterion = CRITERIONS["Mask2Former"]()
    expected = losses_of(criterion)
    use_mask_losses(Model(criterion), loss_mask=Focal())
    use_mask_losses(Model(criterion), **OWN["Mask2Former"])
    assert_are(losses_of(criterion), expected)


def test_other_models_keep_their_losses() -> None:
    criterion, other = CRITERIONS["Mask2Former"](), CRITERIONS["Mask2Former"]()
    expected = losses_of(other)
    use_mask_losses(Model(criterion), loss_mask=Focal())
    assert_are(losses_of(other), expected)


def test_a_copy_has_its_own_losses() -> None:
    model = Model(CRITERIONS["Mask2Former"]())
    use_mask_losses(model, loss_mask=CompoundLoss(CrossEntropy(), pos_weight=3.0))
    copied = copy.deepcopy(model)
    expected = losses_of(copied.criterion)
    use_mask_losses(model, loss_mask=CrossEntropy())
    assert_are(losses_of(copied.criterion), expected)


class Scaled(nn.Module):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.scale * (logits - labels).square().mean()


def test_parameters_of_a_loss_are_the_models() -> None:
    model = Model(CRITERIONS["Mask2Former"]())
    use_mask_losses(model, loss_mask=Scaled())
    [(name, parameter)] = model.named_parameters()
    assert name == "criterion.mask_losses.loss_mask.scale"
    model.criterion.loss_masks(*pair_of_masks())["loss_mask"].backward()
    assert parameter.grad > 0
    use_mask_losses(model, loss_mask=CompoundLoss(CrossEntropy(), pos_weight=3.0))
    assert model.state_dict().keys() == {"criterion.empty_weight"}


def pair_of_masks() -> tuple[Tensor, list[Tensor], Any, int]:
    """The arguments of `loss_masks` for an image with two masks."""
    labels = [(torch.rand(2, 8, 8) > 0.5).to(torch.get_default_dtype())]
    indices = [(torch.tensor([0, 3]), torch.tensor([1, 0]))]
    return 4 * torch.randn(1, QUERIES, 8, 8), labels, indices, 2


def test_half_precision_is_computed_in_float32() -> None:
    torch.set_default_dtype(torch.float32)
    criterion = CRITERIONS["MaskFormer"]()
    use_mask_losses(Model(criterion), **OWN["MaskFormer"])
    logits, *pairs = pair_of_masks()
    half = criterion.loss_masks(logits.half(), *pairs)
    full = criterion.loss_masks(logits.half().float(), *pairs)
    assert half["loss_dice"].dtype == torch.float32
    torch.testing.assert_close(half, full)


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a model of logits": (
        lambda: use_mask_losses(nn.Conv2d(3, 4, 1), loss_mask=Dice()),
        TypeError,
        r"must have a criterion.*got Conv2d.*compute_loss_func=as_compute_loss_func\(loss\)",
    ),
    "a criterion of another kind": (
        lambda: use_mask_losses(Model(nn.CrossEntropyLoss()), loss_mask=Dice()),
        TypeError,
        "must have a criterion",
    ),
    "no loss": (
        lambda: use_mask_losses(Model(maskformer())),
        ValueError,
        "needs a loss: pass loss_mask, loss_dice or both",
    ),
    "a loss of classes": (
        lambda: use_mask_losses(Model(maskformer()), loss_mask=CompoundLoss(mode="multiclass")),
        ValueError,
        "loss_mask must be a loss of independent masks.*this CompoundLoss.*loss_mask=loss.mixture",
    ),
    "a class": (
        lambda: use_mask_losses(Model(maskformer()), loss_dice=Dice),
        TypeError,
        "loss_dice must be a term, a mixture or a mapping of terms",
    ),
    "a name": (
        lambda: use_mask_losses(Model(maskformer()), loss_mask="dice"),
        TypeError,
        "loss_mask must be a term, a mixture or a mapping of terms.*got 'dice'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused(name: str) -> None:
    call, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        call()
