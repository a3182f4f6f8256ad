"""Losses by name: the MMF document's code blocks with their imports changed, and the rules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import nn

from segloss import (
    Loss,
    MultiLoss,
    SegLoss,
    build_loss,
    get_loss,
    list_losses,
    register_loss,
)
from segloss.compat.mmf import registry
from segloss.compat.tutorial import DiceLoss


@pytest.fixture(autouse=True)
def _registered_only_here(monkeypatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def kl_div(log_x, y):
    """MMF's own: a column of sums."""
    return F.kl_div(log_x, y, reduction="none").sum(1, keepdim=True)


def register_documents_losses() -> None:
    @registry.register_loss("cross_entropy")
    class CrossEntropyLoss(nn.Module):
        def __init__(self, **params):
            super().__init__()
            self.loss_fn = nn.CrossEntropyLoss(**params)

        def forward(self, sample_list, model_output):
            return self.loss_fn(model_output["scores"], sample_list["targets"])

    @registry.register_loss("soft_label_cross_entropy")
    class SoftLabelCrossEntropyLoss(CrossEntropyLoss):
        def forward(self, sample_list, model_output):
            return 0.9 * super().forward(sample_list, model_output)

    @registry.register_loss("bce_kl")
    class BCEAndKLLoss(nn.Module):
        def __init__(self, weight_softmax):
            super().__init__()
            self.weight_softmax = weight_softmax

        def forward(self, sample_list, model_output):
            pred_score = model_output["scores"]
            target_score = sample_list["targets"]

            tar_sum = torch.sum(target_score, dim=1, keepdim=True)
            tar_sum_is_0 = torch.eq(tar_sum, 0)
            tar_sum.masked_fill_(tar_sum_is_0, 1.0e-06)
            tar = target_score / tar_sum

            res = F.log_softmax(pred_score, dim=1)
            loss1 = kl_div(res, tar)
            loss1 = torch.sum(loss1) / loss1.size(0)

            loss2 = F.binary_cross_entropy_with_logits(pred_score, target_score, reduction="mean")
            loss2 *= target_score.size(1)

            loss = {"kl": self.weight_softmax * loss1, "bce": loss2}

            return loss  # noqa: RET504 (as the document has it)


SCORES = torch.randn(4, 3)
OUTPUT = {"scores": SCORES}


def test_the_documents_config_builds_the_registered_losses() -> None:
    register_documents_losses()
    multi = build_loss(
        """
        model_config:
          visual_bert:
            training_head_type: classification
            num_labels: 2
            losses:
            - cross_entropy
            - soft_label_cross_entropy
        """
    )
    labels = torch.tensor([0, 2, 1, 1])
    total, losses, _ = multi(OUTPUT, {"targets": labels})
    entropy = F.cross_entropy(SCORES.double(), labels).item()
    assert losses["cross_entropy"].item() == pytest.approx(entropy, rel=1e-6)
    assert losses["soft_label_cross_entropy"].item() == pytest.approx(0.9 * entropy, rel=1e-6)
    assert total.item() == pytest.approx(1.9 * entropy, rel=1e-6)


def test_params_of_the_document_reach_the_loss() -> None:
    @register_loss("in_batch_hinge")
    class InBatchHinge(nn.Module):
        def __init__(self, margin, hard):
            super().__init__()
            self.settings = (margin, hard)

        def forward(self, sample_list, model_output):
            return model_output["scores"].mean()

    multi = build_loss(
        """
        losses:
        - type: in_batch_hinge
          params:
            margin: 0.2
            hard: true
        """
    )
    assert multi.loss_funcs[0].loss_func.settings == (0.2, True)


def test_losses_with_params_and_weights_and_parts() -> None:
    register_documents_losses()
    entry = {"type": "bce_kl", "params": {"weight_softmax": 2.5}, "weight": 0.5}
    multi = build_loss({"losses": [entry]})
    target = torch.rand(4, 3).round() + 0.0
    total, losses, info = multi(OUTPUT, {"targets": target.clone()})
    bce = F.binary_cross_entropy_with_logits(SCORES, target) * 3
    torch.testing.assert_close(losses["bce_kl.bce"], bce)
    shares = target.double() / target.double().sum(1, keepdim=True).clamp(min=1e-6)
    kl = F.kl_div(SCORES.double().log_softmax(1), shares, reduction="batchmean")
    assert losses["bce_kl.kl"].item() == pytest.approx(2.5 * kl.item(), rel=1e-6)
    torch.testing.assert_close(losses["bce_kl"], losses["bce_kl.bce"] + losses["bce_kl.kl"])
    torch.testing.assert_close(total, 0.5 * losses["bce_kl"])
    assert set(info["bce_kl"]) == {"bce_kl.kl", "bce_kl.bce"}


def test_built_in_losses_have_names() -> None:
    multi = build_loss(
        OmegaConf.create({"losses": ["dice", {"type": "seg", "params": {"dice_coef": 1.0}}]})
    )
    probabilities, mask = torch.rand(2, 1, 5), torch.rand(2, 1, 5).round()
    total, losses, _ = multi({"seg": probabilities}, {"gt_polygons_image": mask})
    torch.testing.assert_close(losses["dice"], DiceLoss()(probabilities, mask))
    torch.testing.assert_close(total, losses["dice"] + losses["seg"])
    assert isinstance(multi, MultiLoss)


def test_a_key_that_omegaconf_refuses_does_not_hide_the_models_losses() -> None:
    config = {("a", 1): 0, "model_config": {"net": {"losses": ["mse"]}}}
    assert [loss.name for loss in build_loss(config).loss_funcs] == ["mse"]


def test_registered_losses_are_targets_of_every_dialect() -> None:
    @register_loss("absolute")
    class Absolute(Loss):
        def compute(self, pred_batch, gt_batch):
            return (pred_batch - gt_batch).abs().mean()

    one, zero = torch.ones(1, 1, 4), torch.zeros(1, 1, 4)
    assert build_loss({"loss": {"_target_": "absolute", "name": "a"}})(one, zero)[0] == 1
    block = {"loss_list": [{"_target_": "absolute", "name": "a", "weight": 2.0}]}
    assert build_loss({"loss_params": {"compound_loss": block}})(one, zero)[0] == 2


def test_a_users_name_stands_before_the_built_in() -> None:
    assert get_loss("seg") is SegLoss

    @register_loss("seg")
    class Mine(nn.Module):
        pass

    assert get_loss("seg") is Mine


def test_the_same_class_again_replaces_itself_and_another_needs_override() -> None:
    def cell() -> type[nn.Module]:
        @register_loss("mine")
        class Mine(nn.Module):
            pass

        return Mine

    assert cell() is not cell()
    latest = cell()
    assert get_loss("mine") is latest
    with pytest.raises(ValueError, match=r"'mine' is taken by .*Mine.*override=True"):
        register_loss("mine")(DiceLoss)
    register_loss("mine", override=True)(DiceLoss)
    assert get_loss("mine") is DiceLoss


def test_names_are_listed() -> None:
    assert {"bce", "cross_entropy", "dice", "mse", "seg"} <= set(list_losses())
    register_loss("zzz")(DiceLoss)
    assert list_losses()[-1] == "zzz"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"losses": ["dise"]}, r"losses\[0\].*did you mean 'dice'"),
        ({"losses": []}, "losses must be a list of at least one"),
        ({"losses": "dice"}, "losses must be a list"),
        ({"losses": [{"params": {}}]}, r"losses\[0\]\.type must be the name"),
        ({"losses": [{"type": "dice", "param": {}}]}, r"losses\[0\]\.param is unknown"),
        ({"losses": [{"type": "dice", "params": {"smoth": 1}}]}, r"losses\[0\]\.smoth is unknown"),
        ({"losses": ["dice", "dice"]}, "unique"),
        ({"losses": [{"type": "dice", "weight": [0, 1]}]}, r"losses\[0\]\.weight"),
        (
            {"model_config": {"a": {"losses": ["dice"]}, "b": {"losses": ["dice"]}}},
            r"several models, model_config\.a\.losses, model_config\.b\.losses",
        ),
    ],
)
def test_wrong_lists_are_told_what_is_wrong(config, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        build_loss(config)


def test_only_classes_of_modules_are_registered() -> None:
    with pytest.raises(TypeError, match=r"classes of nn\.Module"):
        register_loss("f")(lambda p, t: 0)
    with pytest.raises(ValueError, match="no loss named 'nothing'"):
        get_loss("nothing")
