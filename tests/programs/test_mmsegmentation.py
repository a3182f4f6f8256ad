"""mmsegmentation learns with the loss that segloss registers, and it has mmsegmentation's numbers.

With `mmcv-lite`, `mmcv.ops` is stubbed here: it must be compiled for the installed PyTorch, and
serves other heads and losses (deformable attention, points, the focal loss) that mmsegmentation
imports at once.
"""

from __future__ import annotations

import copy
import doctest
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from example_parts.shapes import CLASSES, Shapes
from PIL import Image
from torch import Tensor

if find_spec("mmseg") is None:
    pytest.skip("mmsegmentation is not installed", allow_module_level=True)

_IS_LITE = find_spec("mmcv._ext") is None
if _IS_LITE:
    sys.modules["mmcv.ops"] = mock.MagicMock()

import mmseg.models  # noqa: E402, F401
from mmengine.config import Config  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmseg.models.losses import CrossEntropyLoss, DiceLoss  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402

import segloss.training.mmseg  # noqa: E402
from segloss.training.mmseg import CompoundLoss  # noqa: E402

if _IS_LITE:
    del sys.modules["mmcv.ops"]

RECIPE = Path(__file__).parents[2] / "examples/programs/mmsegmentation.py"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_images(folder: Path, number: int) -> None:
    """Images of shapes, and their label maps, whose first rows are ignored."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for i, sample in enumerate(Shapes(number, 32, "image", "labels")):
        pixels = sample["image"].permute(1, 2, 0).mul(60).add(100).clamp(0, 255).byte()
        labels = sample["labels"].byte()
        labels[:3] = 255
        Image.fromarray(pixels.numpy()).save(folder / f"images/{i}.png")
        Image.fromarray(labels.numpy()).save(folder / f"labels/{i}.png")


def loader(folder: Path, batch_size: int, sampler: str = "DefaultSampler") -> dict[str, Any]:
    pipeline = [{"type": name} for name in ("LoadImageFromFile", "LoadAnnotations")]
    return {
        "batch_size": batch_size,
        "num_workers": 0,
        "sampler": {"type": sampler, "shuffle": sampler == "InfiniteSampler"},
        "dataset": {
            "type": "BaseSegDataset",
            "data_root": str(folder),
            "data_prefix": {"img_path": "images", "seg_map_path": "labels"},
            "img_suffix": ".png",
            "seg_map_suffix": ".png",
            "metainfo": {"classes": ["ground", "disc", "square"], "palette": [[0] * 3] * CLASSES},
            "pipeline": [*pipeline, {"type": "PackSegInputs"}],
        },
    }


def small(config: Config, folder: Path, steps: int) -> Config:
    """The recipe with a narrow network, tiny images, and few steps on the CPU."""
    write_images(folder / "data", 24)
    norm = {"type": "BN"}
    evaluator = {"type": "IoUMetric", "iou_metrics": ["mIoU"]}
    config.merge_from_dict(
        {
            "work_dir": str(folder / "out"),
            "model": {
                "data_preprocessor": {"size": (32, 32)},
                "backbone": {"base_channels": 4, "norm_cfg": norm},
                "decode_head": {"in_channels": 4, "channels": 8, "norm_cfg": norm},
                "auxiliary_head": {"in_channels": 8, "channels": 8, "norm_cfg": norm},
                "test_cfg": {"mode": "whole"},
            },
            "train_dataloader": loader(folder / "data", 4, "InfiniteSampler"),
            "val_dataloader": loader(folder / "data", 1),
            "val_evaluator": evaluator,
            "test_dataloader": loader(folder / "data", 1),
            "test_evaluator": evaluator,
            "optim_wrapper": {"optimizer": {"lr": 0.05}},
            "train_cfg": {"max_iters": steps, "val_interval": steps},
            "default_hooks": {"logger": {"interval": 1}, "checkpoint": {"interval": steps}},
            "randomness": {"seed": 0},
            "log_level": "ERROR",
        }
    )
    return config


def test_the_recipe_learns(tmp_path: Path) -> None:
    config = small(Config.fromfile(RECIPE), tmp_path, 100)
    runner = Runner.from_cfg(config)
    before = runner.val()["mIoU"]
    runner.train()
    history = runner.message_hub.log_scalars
    losses = history["train/loss"].data[0]
    assert losses[-5:].mean() < 0.7 * losses[:5].mean()
    assert {"train/decode.loss_ce", "train/decode.loss_dice", "train/aux.loss_seg"} <= set(history)
    assert history["val/mIoU"].data[0][-1] > before + 15  # of 100


def test_training_goes_on_from_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MMEngine's checkpoints hold objects of its own, which torch.load refuses since PyTorch 2.6
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    config = small(Config.fromfile(RECIPE), tmp_path, 3)
    Runner.from_cfg(copy.deepcopy(config)).train()
    config.merge_from_dict({"resume": True, "train_cfg": {"max_iters": 5}})
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 5


def value_and_slopes(loss: Any, logits: Tensor, target: Tensor, **call: Any) -> list[Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target, **call)
    return [value.detach(), torch.autograd.grad(value, logits)[0]]


def assert_same(ours: Any, theirs: Any, logits: Tensor, target: Tensor, **call: Any) -> None:
    """Value and gradient agree to 1e-6, in the dtype of the logits."""
    found = value_and_slopes(ours, logits, target, **call)
    expected = value_and_slopes(theirs, logits, target, **call)
    assert found[0].dtype == logits.dtype
    # mmsegmentation's binary cross-entropy of float64 is a float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, check_dtype=False)


def batch(
    channels: int = 4, samples: int = 3, ignored: float = 0.3, dtype: Any = torch.float64
) -> tuple[Tensor, Tensor]:
    """Logits and a label map in which that share of the pixels is 255."""
    labels = torch.randint(0, max(2, channels), (samples, 9, 8))
    labels[torch.rand(labels.shape) < ignored] = 255
    return 2 * torch.randn(samples, channels, 9, 8, dtype=dtype), labels


BATCHES: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "float64": batch,
    "float32": lambda: batch(dtype=torch.float32),
    "nothing ignored": lambda: batch(ignored=0.0),
    "all ignored": lambda: batch(ignored=1.0),
    "many classes": lambda: batch(171),
    "one sample": lambda: batch(samples=1),
}


def quietly(make: Callable[..., Any], **options: Any) -> Any:
    """mmsegmentation warns of its own default for `avg_non_ignore`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(**options)


def cross_entropy(**options: Any) -> tuple[CompoundLoss, Any]:
    """The loss of segloss and mmsegmentation's own with the same arguments."""
    ours = CompoundLoss({"cross_entropy": 1.0}, **options)
    return ours, quietly(CrossEntropyLoss, **options)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("avg_non_ignore", [True, False])
@pytest.mark.parametrize("use_sigmoid", [False, True])
def test_cross_entropy_is_mmsegmentations(
    use_sigmoid: bool, avg_non_ignore: bool, name: str
) -> None:
    options = {"use_sigmoid": use_sigmoid, "avg_non_ignore": avg_non_ignore, "loss_weight": 0.4}
    assert_same(*cross_entropy(**options), *BATCHES[name](), ignore_index=255)


@pytest.mark.parametrize("avg_non_ignore", [True, False])
def test_so_it_is_for_one_channel(avg_non_ignore: bool) -> None:
    losses = cross_entropy(use_sigmoid=True, avg_non_ignore=avg_non_ignore)
    assert_same(*losses, *batch(1), ignore_index=255)


@pytest.mark.parametrize("ignore_index", [255, -100, 0, 3])
def test_so_it_is_with_any_ignored_label(ignore_index: int) -> None:
    logits, labels = batch(ignored=0.0)
    labels[labels == 1] = ignore_index
    losses = cross_entropy(avg_non_ignore=True)
    assert_same(*losses, logits, labels, ignore_index=ignore_index)


def test_so_it_is_with_weights_of_classes() -> None:
    # mmsegmentation looks up the weight of ignored labels, too: 255 is beyond its list
    logits, labels = batch(ignored=0.0)
    losses = cross_entropy(class_weight=[0.1, 2.0, 1.0, 3.0], avg_non_ignore=True)
    assert_same(*losses, logits, labels, ignore_index=0)
    sampled = (torch.rand(labels.shape) < 0.5).double()
    assert_same(*losses, logits, labels, ignore_index=0, weight=sampled)


def test_so_it_is_with_a_weight_of_the_positive_class() -> None:
    losses = cross_entropy(class_weight=[3.0], use_sigmoid=True, avg_non_ignore=True)
    assert_same(*losses, *batch(1), ignore_index=255)


@pytest.mark.parametrize("avg_non_ignore", [True, False])
@pytest.mark.parametrize("use_sigmoid", [False, True])
@pytest.mark.parametrize("avg_factor", [None, 50.0, torch.tensor(7.0)])
def test_so_it_is_with_a_sampler_and_a_divisor(
    avg_factor: Any, use_sigmoid: bool, avg_non_ignore: bool
) -> None:
    logits, labels = batch()
    losses = cross_entropy(use_sigmoid=use_sigmoid, avg_non_ignore=avg_non_ignore)
    weight = torch.rand(labels.shape, dtype=torch.float64).where(torch.rand(labels.shape) < 0.7, 0)
    call = {"weight": weight, "avg_factor": avg_factor, "ignore_index": 255}
    if not use_sigmoid:  # for which mmsegmentation rounds weights to float32
        call["weight"] = weight.float()
    assert_same(*losses, logits, labels, **call)


def test_dice_is_mmsegmentations_over_masks() -> None:
    ours = CompoundLoss({"dice": {"coef": 0.7, "smooth": 1e-3}}, use_sigmoid=True)
    theirs = DiceLoss(use_sigmoid=True, naive_dice=True, loss_weight=0.7, ignore_index=None)
    logits, labels = batch(1, ignored=0.0)
    value, slopes = value_and_slopes(ours, logits, labels)
    expected = value_and_slopes(theirs, logits, labels.unsqueeze(1))
    torch.testing.assert_close([value, slopes], expected, rtol=1e-6, atol=1e-6)


def test_squared_dice_is_mmsegmentations_default() -> None:
    ours = CompoundLoss({"squared_dice": {"coef": 1.0, "smooth": 0.0}}, use_sigmoid=True)
    logits, labels = batch(1, ignored=0.0)
    expected = value_and_slopes(DiceLoss(eps=1e-9), logits, labels.unsqueeze(1))
    found = value_and_slopes(ours, logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def pooled_dice(samples: int, coefficient: float = 1.0) -> CompoundLoss:
    """The Dice loss of all classes and samples together, as mmsegmentation's without masks."""
    smooth = 1e-3 * samples
    term = {"term": "dice", "coef": coefficient, "region_reduction": "micro", "smooth": smooth}
    return CompoundLoss({"pooled": term})


@pytest.mark.parametrize(("channels", "samples"), [(4, 3), (171, 2), (2, 1)])
def test_dice_is_mmsegmentations_over_classes(channels: int, samples: int) -> None:
    theirs = DiceLoss(use_sigmoid=False, naive_dice=True)
    assert_same(pooled_dice(samples), theirs, *batch(channels, samples, ignored=0.0))


def test_dice_leaves_out_what_mmsegmentations_counts_as_wrong() -> None:
    logits, labels = batch(ignored=0.0)
    labels[..., 5:] = 255
    theirs = DiceLoss(use_sigmoid=False, naive_dice=True)
    expected, slopes = value_and_slopes(theirs, logits[..., :5], labels[..., :5].clone())
    value, gradient = value_and_slopes(pooled_dice(3), logits, labels)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient[..., :5], slopes, rtol=1e-6, atol=1e-6)
    assert not gradient[..., 5:].any()
    assert theirs(logits, labels) > value


def test_a_sum_of_terms_is_a_list_of_losses() -> None:
    term = {"term": "dice", "coef": 0.5, "region_reduction": "micro", "smooth": 3e-3}
    for avg_non_ignore in (True, False):
        ours = CompoundLoss(
            {"cross_entropy": 2.0, "pooled": term}, avg_non_ignore=avg_non_ignore, loss_weight=0.4
        )
        own = quietly(CrossEntropyLoss, avg_non_ignore=avg_non_ignore, loss_weight=0.8)
        dice = DiceLoss(use_sigmoid=False, naive_dice=True, loss_weight=0.2)
        logits, labels = batch(ignored=0.0)

        def theirs(x: Tensor, y: Tensor, own: Any = own, dice: Any = dice) -> Tensor:
            return own(x, y) + dice(x, y)

        assert_same(ours, theirs, logits, labels)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_masks_of_points_are_divided_as_the_head_says(number: int) -> None:
    # as the head of SAN calls them, which matches a mask with each object
    logits = torch.randn(number, 30, dtype=torch.float64)
    masks = (torch.rand(number, 30) < 0.4).double()
    ours = CompoundLoss({"dice": {"coef": 1.0, "smooth": 1e-3}}, use_sigmoid=True)
    theirs = DiceLoss(naive_dice=True, ignore_index=None)
    assert_same(ours, theirs, logits, masks, avg_factor=torch.tensor(3.0))
    losses = cross_entropy(use_sigmoid=True, avg_non_ignore=True)
    if number:  # mmsegmentation divides no masks by 0
        assert_same(*losses, logits, masks, avg_factor=torch.tensor(90.0))


def test_a_head_may_add_up_losses_of_one_name() -> None:
    logits, labels = batch()
    logits.requires_grad_()
    value = CompoundLoss()(logits, labels)
    expected = 2 * value.item()
    value += CompoundLoss()(logits, labels)  # in place, as heads do
    value.backward()
    torch.testing.assert_close(value.item(), expected)
    assert logits.grad is not None


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels = batch(dtype=torch.float16)
    ours = CompoundLoss(avg_non_ignore=False)
    value, expected = ours(logits, labels), ours(logits.float(), labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)


def test_a_config_builds_it() -> None:
    terms = {"cross_entropy": 1.0, "small": {"term": "dice", "coef": 0.5, "region_classes": [1, 2]}}
    config = Config({"type": "CompoundLoss", "terms": terms, "loss_name": "loss_both"})
    loss = MODELS.build(config._cfg_dict)
    assert isinstance(loss, CompoundLoss)
    assert loss.loss_name == "loss_both"
    assert str(loss.loss.mixture) == str(CompoundLoss(terms).loss.mixture)


def test_its_example_runs() -> None:
    result = doctest.testmod(segloss.training.mmseg)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_label_maps_are_of_any_dtype(dtype: torch.dtype) -> None:
    logits, labels = batch()
    ours = CompoundLoss()
    torch.testing.assert_close(ours(logits, labels.to(dtype)), ours(logits, labels))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a name that is not added up": (
        lambda: CompoundLoss(loss_name="dice"),
        r"loss_name must begin with 'loss_'.*Write loss_name='loss_dice'",
    ),
    "a value for each pixel": (
        lambda: CompoundLoss()(*batch(), reduction_override="none"),
        "reduction_override must be None or 'mean', got 'none'",
    ),
    "a divisor for two kinds": (
        lambda: CompoundLoss()(*batch(), avg_factor=3),
        "avg_factor is a number of pixels for some terms.*two entries in loss_decode",
    ),
    "weights of what has no class": (
        lambda: CompoundLoss(class_weight=[1.0, 2.0], avg_non_ignore=False),
        "class_weight with softmax needs avg_non_ignore=True",
    ),
    "a label beyond the classes": (
        lambda: CompoundLoss()(*batch(), ignore_index=None),
        "255",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ({"mode": "multiclass"}, "mode is not an argument.*use_sigmoid=True"),
        ({"ignore_index": 255}, "ignore_index is not an argument.*set it in the head"),
        ({"reduction": "none"}, "reduction is not an argument.*leave it out"),
    ],
)
def test_what_mmsegmentation_decides_is_not_an_argument(
    option: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(TypeError, match=remedy):
        CompoundLoss(**option)
