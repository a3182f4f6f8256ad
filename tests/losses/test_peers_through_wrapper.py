"""Losses that no pass over sums can give, from the libraries that have them, in a LossWrapper.

Lovasz sorts errors, Hausdorff's needs distances from the prediction, clDice its soft skeleton.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from monai.losses import HausdorffDTLoss, SoftclDiceLoss, SoftDiceclDiceLoss
from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor, nn

from segloss import LossWrapper, MultiLoss, SegLoss
from tests.compat.libraries.batches import IGNORED, KINDS, Form
from tests.support.versions import MONAI_1_5

if MONAI_1_5:
    pytest.skip("clDice of MONAI 1.6", allow_module_level=True)

GT = "gt_polygons_image"


class Peer(NamedTuple):
    """A loss, the channels of its logits, and how LossWrapper must bring targets into shape."""

    loss: nn.Module
    channels: int
    options: dict[str, Any]


FLOAT = {"target_dtype": "float32"}

PEERS = {
    "lovasz": Peer(LovaszLoss("binary"), 1, {}),
    "lovasz, each image": Peer(LovaszLoss("binary", per_image=True), 1, {}),
    "lovasz softmax": Peer(LovaszLoss("multiclass"), 3, {}),
    "lovasz softmax, ignoring": Peer(LovaszLoss("multiclass", ignore_index=255), 3, {}),
    "hausdorff": Peer(HausdorffDTLoss(sigmoid=True, include_background=True), 1, FLOAT),
    "hausdorff of classes": Peer(HausdorffDTLoss(softmax=True, to_onehot_y=True), 3, {}),
    "cldice": Peer(SoftclDiceLoss(sigmoid=True), 1, FLOAT),
    "cldice of classes": Peer(
        SoftclDiceLoss(softmax=True, to_onehot_y=True, include_background=False), 3, {}
    ),
    "dice cldice": Peer(SoftDiceclDiceLoss(sigmoid=True, alpha=0.3), 1, FLOAT),
    "dice cldice of classes": Peer(
        SoftDiceclDiceLoss(softmax=True, to_onehot_y=True, include_background=False), 3, {}
    ),
}

each_peer = pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)


def batch(peer: Peer) -> tuple[Tensor, Tensor]:
    """Logits, and an integer label map with the channel axis, as data loaders give it."""
    labels = torch.randint(0, max(peer.channels, 2), (2, 1, 4, 4))
    labels = labels.repeat_interleave(4, 2).repeat_interleave(4, 3)  # in patches
    if getattr(peer.loss, "ignore_index", None) is not None:
        labels[:, :, :2] = 255
    return torch.randn(2, peer.channels, 16, 16), labels


def directly(peer: Peer, logits: Tensor, labels: Tensor) -> Tensor:
    """The library's own call."""
    return peer.loss(logits, labels.float() if peer.channels == 1 else labels)


@each_peer
def test_value_and_gradient_are_the_librarys_own(peer: Peer) -> None:
    logits, labels = batch(peer)
    wrapped = LossWrapper(peer.loss, **peer.options)
    results = []
    for value_of in (
        lambda x: wrapped({"seg": x}, {GT: labels})[0],
        lambda x: directly(peer, x, labels),
    ):
        x = logits.clone().requires_grad_()
        value = value_of(x)
        results.append((value, *torch.autograd.grad(value, x)))
    (value, gradient), (their_value, their_gradient) = results
    assert value.item() > 0
    assert gradient.abs().sum() > 0
    assert torch.equal(value, their_value)
    assert torch.equal(gradient, their_gradient)


UNUSUAL = [
    (form, kind)
    for kind, (_, forms, needs) in KINDS.items()
    for form in ("labels", "mask")
    if form in forms and needs != "soft" and kind != "all ignored"  # then Lovasz gives no scalar
]


@pytest.mark.parametrize(("form", "kind"), UNUSUAL)
def test_unusual_batches_are_the_librarys_own_too(form: Form, kind: str) -> None:
    mode = "binary" if form == "mask" else "multiclass"
    loss = LovaszLoss(mode, ignore_index=IGNORED)
    wrapped = LossWrapper(loss)
    logits, target = KINDS[kind].make(form)
    results = []
    for value_of in (loss, lambda x, y: wrapped(x, y)[0]):
        x = logits.float().requires_grad_()
        value = value_of(x, target)
        results.append((value, *torch.autograd.grad(value, x)))
    torch.testing.assert_close(*results, rtol=0, atol=0)


@each_peer
def test_it_has_a_norm_beside_other_losses(peer: Peer) -> None:
    logits, labels = batch(peer)
    n_classes = max(peer.channels, 2)
    seg = SegLoss(n_classes=n_classes, from_logits=True, ignore_index=255)
    multi = MultiLoss([seg, LossWrapper(peer.loss, "peer", **peer.options)], [1.0, 0.5])
    pred, gt = {"seg": logits}, {GT: labels}
    for factor in (1.0, 3.0):
        multi.update_norm({"seg": factor * logits}, gt, 2)
    norm = sum(directly(peer, factor * logits, labels) for factor in (1.0, 3.0)) / 2
    total, losses, _ = multi(pred, gt)
    torch.testing.assert_close(losses["peer"], directly(peer, logits, labels) / norm)
    torch.testing.assert_close(total, losses["seg"] + 0.5 * losses["peer"])
    x = logits.clone().requires_grad_()
    multi({"seg": x}, gt)[0].backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@each_peer
def test_it_takes_mixup(peer: Peer) -> None:
    logits, labels = batch(peer)
    partners = labels.flip(0)
    gt = {"mixup_y_a": labels, "mixup_y_b": partners, "mixup_lam": 0.3}
    value, _ = LossWrapper(peer.loss, use_mixup=True, **peer.options)({"seg": logits}, gt)
    expected = 0.3 * directly(peer, logits, labels) + 0.7 * directly(peer, logits, partners)
    torch.testing.assert_close(value, expected)
    with pytest.raises(ValueError, match="set use_mixup=True"):
        LossWrapper(peer.loss, **peer.options)({"seg": logits}, gt)


@each_peer
def test_selectors_pick_its_channels_out_of_a_batch_with_more(peer: Peer) -> None:
    """An int drops the target's channel axis for several channels, which MONAI's losses need."""
    logits, labels = batch(peer)
    more_logits = torch.cat([torch.full_like(logits, torch.nan), logits], 1)
    more_labels = torch.cat([torch.full_like(labels, 77), labels], 1)
    selectors = {
        "pred_channel_selector": slice(peer.channels, 2 * peer.channels),
        "gt_channel_selector": [1],
    }
    value, _ = LossWrapper(peer.loss, **selectors, **peer.options)(more_logits, more_labels)
    assert torch.equal(value, directly(peer, logits, labels))


@pytest.mark.parametrize("name", ["lovasz softmax", "lovasz softmax, ignoring"])
def test_lovasz_takes_the_label_map_that_an_int_selects(name: str) -> None:
    peer = PEERS[name]
    logits, labels = batch(peer)
    value, _ = LossWrapper(peer.loss, gt_channel_selector=0)(logits, labels)
    assert torch.equal(value, directly(peer, logits, labels.squeeze(1)))


def test_the_distances_of_integer_masks_would_be_cut_to_whole_numbers() -> None:
    """Why Hausdorff's loss of masks wants target_dtype="float32"."""
    peer = PEERS["hausdorff"]
    logits, labels = batch(peer)
    labels[0, 0, 5, 5] = 1 - labels[0, 0, 5, 5]
    uncut = LossWrapper(peer.loss, target_dtype="float32")(logits, labels)[0]
    cut = LossWrapper(peer.loss)(logits, labels)[0]
    assert cut < uncut
    assert torch.equal(uncut, directly(peer, logits, labels))


@each_peer
def test_half_precision_is_computed_in_float32(peer: Peer) -> None:
    logits, labels = batch(peer)
    wrapped = LossWrapper(peer.loss, **peer.options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, _ = wrapped(logits.bfloat16(), labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, wrapped(logits.bfloat16().float(), labels)[0])
