"""One loss in several threads at once gives each of them what it would get alone.

Each loss of the package takes batches of its own kind, of another size in each thread, in many
rounds that all threads begin together.
"""

from __future__ import annotations

import copy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import segloss
from segloss import CompoundLoss, DeepSupervision, Loss, LossWrapper, MultiLoss, SegLoss
from segloss import functional as F
from segloss.compat import mmf, nn4n, perceptrain, tutorial
from segloss.foundation.distributed import RankSum, local_statistics
from segloss.losses.term_losses import TERM_LOSSES
from segloss.sums.kernels.registry import current_backend
from segloss.terms import MCC, CrossEntropy, Dice, Focal
from segloss.training import huggingface

THREADS, ROUNDS = 4, 12
CLASSES = {"binary": 1, "multilabel": 3, "multiclass": 4}

Batch = dict[str, Any]


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    threads, interval = torch.get_num_threads(), sys.getswitchinterval()
    torch.set_num_threads(1)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    torch.set_num_threads(threads)


def together(work: Callable[[int], Any], rounds: int = ROUNDS) -> list[list[Any]]:
    """The results of `work` in each thread and round, which all threads begin together."""
    barrier, results = threading.Barrier(THREADS), [[] for _ in range(THREADS)]
    errors: list[BaseException] = []

    def run(thread: int) -> None:
        try:
            for _ in range(rounds):
                barrier.wait()
                results[thread].append(work(thread))
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    if wrong:
        raise wrong[0]
    return results


def batch(kind: str, thread: int) -> Batch:
    """A batch of a size of the thread, with all that any loss reads from one."""
    make = torch.Generator().manual_seed(thread)
    channels, size = CLASSES[kind], 6 + 2 * thread
    shape = (2 + thread % 2, channels, size, size)

    def uniform(*sizes: int) -> Tensor:
        return torch.rand(sizes, generator=make)

    labels = (uniform(shape[0], size, size) * channels).long()
    labels[0, thread] = 255
    return {
        "seg": (uniform(*shape) * 4 - 2).requires_grad_(),
        "gt_polygons_image": labels if kind == "multiclass" else uniform(*shape).round(),
        "gt_distance_map": uniform(*shape) - 0.5,
        "gt_skeleton": uniform(*shape).round(),
        "seg_loss_weights": uniform(shape[0], 1, size, size) + 0.1,
        "thread": torch.tensor(float(thread)),
    }


def of_batches(loss: Any, given: Batch) -> Any:
    return loss({"seg": given["seg"]}, given)


def of_tensors(loss: Any, given: Batch) -> Any:
    maps = {"maps": given} if getattr(loss, "map_keys", ()) else {}
    return loss(given["seg"], given["gt_polygons_image"], **maps)


def of_its_epoch(loss: Any, given: Batch) -> Any:
    return loss({"seg": given["seg"]}, given, epoch=float(given["thread"]))


class Row(NamedTuple):
    """A loss, how it is called, and its kind of batch."""

    make: Callable[[], Any]
    call: Callable[[Any, Batch], Any] = of_batches
    kind: str = "multiclass"


class Parted(Loss):
    """A loss that puts its further results where the documentation says."""

    def compute(self, pred_batch: Any, gt_batch: Any) -> Tensor:
        value = pred_batch["seg"].square().mean()
        for name in ("a", "b", "c"):
            self.extra_info[f"parted.{name}"] = value * gt_batch["thread"]
            time.sleep(1e-4)  # the others run meanwhile
        return value


class Samples(nn.Module):
    def forward(self, sample_list: Any, model_output: Any) -> dict[str, Tensor]:
        return {"one": model_output["seg"].mean(), "two": sample_list["thread"] + 0.0}


SEG: dict[str, Any] = {"n_classes": 4, "ignore_index": 255}


def several() -> MultiLoss:
    """Losses that share a pass, wrapped ones and one with further results; two have schedules."""
    losses = [
        SegLoss("a", **SEG),
        SegLoss("b", terms=Dice() + 0.5 * MCC(), **SEG),
        Parted("parted"),
        LossWrapper(nn.CrossEntropyLoss(ignore_index=255), "ce"),
    ]
    return MultiLoss(losses, [1.0, [0.0, 1.0], 0.5, [1.0, 0.0]], epoch_thresholds=[0, THREADS - 1])


def scales(loss: Any, given: Batch) -> Any:
    seg = given["seg"]
    return loss([seg, nn.functional.avg_pool2d(seg, 2)], given)


def mixed(loss: Any, given: Batch) -> Any:
    target, index = given["gt_polygons_image"], torch.arange(len(given["seg"])).flip(0)
    mixup = {"mixup_y_a": target, "mixup_y_b": target[index], "mixup_lam": 0.3}
    return loss({"seg": given["seg"]}, {**given, **mixup, "mixup_index": index})


def fields(loss: Any, given: Batch) -> Any:
    seg = given["seg"].sigmoid()
    one, masks = seg[:, :1].detach(), given["gt_polygons_image"]
    truths = {"gt_crossfield_angle": one, "distances": one, "sizes": one + 0.1}
    truths["class_freq"] = torch.full(seg.shape[:2], 0.1)
    return loss(
        {"seg": seg, "crossfield": torch.cat([seg, one], 1)},
        {"gt_polygons_image": masks, **truths},
    )


def framed(loss: Loss) -> MultiLoss:
    steps = [segloss.ComputeSegGrads(), segloss.compute_gt_field, segloss.SegLossWeights()]
    return MultiLoss([loss], [1.0], pre_processes=steps)


def by_names(loss: Any, given: Batch) -> Any:
    states = given["seg"].flatten(2)
    return loss(
        {
            "rates": {"states": states},
            "ce": {"pred": given["seg"], "target": given["gt_polygons_image"]},
        }
    )


def by_a_model(loss: Any, given: Batch) -> Any:
    return loss((given["seg"], given["gt_polygons_image"]), nn.Identity())


def of_the_trainer(loss: Any, given: Batch) -> Any:
    return loss({"logits": given["seg"]}, given["gt_polygons_image"])


OF_STATES: dict[str, Callable[[], Any]] = {
    "FiringRateLoss": nn4n.FiringRateLoss,
    "FiringRateDistLoss": nn4n.FiringRateDistLoss,
    "StatePredictionLoss": nn4n.StatePredictionLoss,
    "EntropyLoss": nn4n.EntropyLoss,
}

ROWS: dict[str, Row] = {
    "SegLoss": Row(lambda: SegLoss(tversky_focal_coef=0.2, class_weights=[1, 2, 3, 4], **SEG)),
    "SegLoss of masks": Row(lambda: SegLoss(from_logits=True, pos_weight=2.0), kind="multilabel"),
    "SegLoss of a subclass": Row(lambda: Twice(**SEG)),
    "SegLoss in the reference": Row(
        lambda: SegLoss(from_logits=True, soft_labels="metric", extra_terms={"mcc": 0.5}),
        kind="binary",
    ),
    "mixup": Row(lambda: SegLoss(use_mixup=True, **SEG), mixed),
    "CompoundLoss": Row(
        lambda: CompoundLoss(CrossEntropy() + Dice(), "multiclass", ignore_index=255), of_tensors
    ),
    "a wrapped CompoundLoss": Row(
        lambda: LossWrapper(CompoundLoss({"dice": 1, "boundary": 0.1}, "multilabel")),
        kind="multilabel",
    ),
    "LossWrapper": Row(lambda: LossWrapper(nn.CrossEntropyLoss(ignore_index=255))),
    "SoftClDiceLoss": Row(
        lambda: segloss.SoftClDiceLoss("multiclass", ignore_index=255), of_tensors
    ),
    "HausdorffDistanceLoss": Row(
        lambda: segloss.HausdorffDistanceLoss("multiclass", ignore_index=255), of_tensors
    ),
    "TopKCrossEntropyLoss": Row(
        lambda: segloss.TopKCrossEntropyLoss(ignore_index=255, class_weights=[1, 2, 3, 4]),
        of_tensors,
    ),
    "OhemCrossEntropyLoss": Row(
        lambda: segloss.OhemCrossEntropyLoss(min_kept=3, ignore_index=255), of_tensors
    ),
    "HardPixelLoss": Row(
        lambda: segloss.HardPixelLoss(Focal(), segloss.TopK(20), ignore_index=255), of_tensors
    ),
    "LovaszLoss": Row(
        lambda: segloss.LovaszLoss(ignore_index=255, class_weights=[1, 2, 3, 4]), of_tensors
    ),
    "DeepSupervision": Row(lambda: DeepSupervision(SegLoss(**SEG)), scales),
    "deep losses that share passes": Row(
        lambda: MultiLoss([DeepSupervision(SegLoss(n, **SEG)) for n in "ab"], [1.0, 0.5]), scales
    ),
    "MultiLoss": Row(several, of_its_epoch),
    "Loss": Row(lambda: Parted("parted")),
    "Criterion": Row(lambda: SegLoss(**SEG).as_criterion(), of_tensors),
    "SampleListLoss": Row(lambda: mmf.SampleListLoss(Samples(), "parts")),
    "CompositeLoss": Row(
        lambda: nn4n.CompositeLoss(
            {"rates": {"type": "fr"}, "ce": {"type": "cross_entropy", "params": IGNORED}}
        ),
        by_names,
    ),
    "as_loss_fn": Row(lambda: perceptrain.as_loss_fn(SegLoss(**SEG)), by_a_model),
    "as_compute_loss_func": Row(
        lambda: huggingface.as_compute_loss_func(SegLoss(**SEG)), of_the_trainer
    ),
    "DiceBCELoss": Row(lambda: tutorial.DiceBCELoss(), of_tensors, "multilabel"),
    "CombinedLoss": Row(lambda: tutorial.CombinedLoss(), of_tensors, "multilabel"),
    "functions": Row(
        lambda: (
            lambda p, t: (
                F.dice_loss(p, t, n_classes=4, ignore_index=255)
                + F.focal_loss(p, t, n_classes=4, ignore_index=255)
            )
        ),
        of_tensors,
    ),
    **{
        name: Row(make, lambda loss, given: loss(given["seg"].flatten(2)))
        for name, make in OF_STATES.items()
    },
    **{
        f"{kind} {loss.__name__}": Row(
            lambda loss=loss, kind=kind: loss(
                kind, **({"ignore_index": 255} if kind == "multiclass" else {})
            ),
            of_tensors,
            kind,
        )
        for loss in TERM_LOSSES.values()
        for kind in ("binary", "multiclass")
    },
    **{
        loss.__name__: Row(lambda loss=loss: framed(loss()), fields, "multilabel")
        for loss in (
            segloss.CrossfieldAlignLoss,
            segloss.CrossfieldAlign90Loss,
            segloss.CrossfieldSmoothLoss,
            segloss.SegCrossfieldLoss,
            segloss.SegEdgeInteriorLoss,
        )
    },
}

IGNORED = {"ignore_index": 255}


class Twice(SegLoss):
    def compute(self, pred_batch: Any, gt_batch: Any) -> Tensor:
        return 2 * super().compute(pred_batch, gt_batch)


def outcome(row: Row, loss: Any, thread: int) -> tuple[Any, Tensor]:
    """All that a call returns, and the gradient of its first tensor."""
    given = batch(row.kind, thread)
    result = row.call(loss, given)
    total = result[0] if isinstance(result, tuple) else result
    return plain(result), torch.autograd.grad(total, given["seg"])[0]


def plain(result: Any) -> Any:
    """The result with numbers in place of tensors, which `==` can compare (NaN as a text)."""
    if isinstance(result, Tensor):
        return str(result.tolist())
    if isinstance(result, dict):
        return {key: plain(value) for key, value in result.items()}
    return [plain(value) for value in result] if isinstance(result, (list, tuple)) else result


def assert_as_alone(row: Row, losses: list[Any]) -> None:
    alone = [outcome(row, row.make(), thread) for thread in range(THREADS)]
    found = together(lambda thread: outcome(row, losses[thread], thread))
    for (expected, gradient), rounds in zip(alone, found, strict=True):
        for result, its_gradient in rounds:
            assert result == expected
            assert torch.equal(its_gradient, gradient)


@pytest.mark.parametrize("name", ROWS)
def test_each_thread_has_what_it_would_have_alone(name: str) -> None:
    assert_as_alone(ROWS[name], [ROWS[name].make()] * THREADS)


def replicas(module: nn.Module) -> list[nn.Module]:
    """The copies that `nn.DataParallel` makes, on the CPU: they share all that is not a module."""
    copies = []
    for _ in range(THREADS):
        of = {each: each._replicate_for_data_parallel() for each in module.modules()}
        for each, replica in of.items():
            for key, child in each._modules.items():
                replica._modules[key] = None if child is None else of[child]
            for key, parameter in each._parameters.items():
                setattr(replica, key, parameter)
        copies.append(of[module])
    return copies


@pytest.mark.parametrize("copies", [replicas, lambda loss: [copy.copy(loss)] * THREADS])
@pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if isinstance(row.make(), nn.Module)]
)
def test_the_copies_of_data_parallel_do_too(name: str, copies: Any) -> None:
    assert_as_alone(ROWS[name], copies(ROWS[name].make()))


def test_every_loss_is_here() -> None:
    named = {name for name in dir(segloss) if name.endswith("Loss")}
    assert {name for name in named if not any(name in row for row in ROWS)} == set()
    # These two need a model or a matrix of weights, and have no state but their arguments
    others = {"RNNConnectivityLoss", "HebbianLoss"}
    assert set(nn4n.__all__) == {"CompositeLoss", *OF_STATES} | others


# What a loss keeps on purpose


def test_no_update_of_a_norm_is_lost() -> None:
    loss = several()
    together(lambda thread: loss.update_norm({"seg": torch.ones(1, 4, 2)}, TILE, 1 + thread))
    alone = several()
    alone.update_norm({"seg": torch.ones(1, 4, 2)}, TILE, 1)
    for each, expected in zip(loss.loss_funcs, alone.loss_funcs, strict=True):
        assert each.norm_count.item() == ROUNDS * 10
        torch.testing.assert_close(each.norm, expected.norm, rtol=1e-12, atol=0)


TILE = {"gt_polygons_image": torch.zeros(1, 2, dtype=torch.long), "thread": torch.tensor(1.0)}


def test_the_weights_that_are_set_last_are_those_of_one_epoch() -> None:
    weights = [[0.0, 1.0]] * 8
    loss = MultiLoss(
        [LossWrapper(nn.L1Loss(), str(i)) for i in range(8)], weights, epoch_thresholds=[0, THREADS]
    )
    loss.set_epoch(0)
    ones, zeros = torch.ones(1, 1, 2), torch.zeros(1, 1, 2)

    def step(thread: int) -> set[float]:
        if thread % 2:
            loss.set_epoch(thread)
            return set()
        return set(loss.losses(ones, zeros).tolist())

    seen = [values for rounds in together(step, 200)[::2] for values in rounds]
    assert {len(values) for values in seen} == {1}
    assert len(set(loss.current_weights.tolist())) == 1


def test_each_call_has_the_weights_of_its_epoch() -> None:
    losses = [LossWrapper(nn.L1Loss(), str(i)) for i in range(8)]
    loss = MultiLoss(losses, [[0.0, 1.0]] * 8, epoch_thresholds=[0, THREADS])
    ones, zeros = torch.ones(1, 1, 2), torch.zeros(1, 1, 2)
    found = together(lambda thread: loss.losses(ones, zeros, epoch=thread).tolist(), 200)
    for thread, rounds in enumerate(found):
        assert all(values == [thread / THREADS] * 8 for values in rounds)


def test_a_listener_may_come_and_go_while_others_compute() -> None:
    loss, row = several(), ROWS["MultiLoss"]

    def step(thread: int) -> None:
        handle = loss.register_listener(lambda losses, infos: None)
        outcome(row, loss, thread)
        handle.remove()

    together(step)
    assert not loss._listeners


def test_a_loss_can_be_copied_while_others_compute() -> None:
    loss, row = several(), ROWS["MultiLoss"]
    results = together(lambda t: outcome(row, copy.deepcopy(loss) if t == 0 else loss, t))
    assert results[0][0][0] == outcome(row, several(), 0)[0]


def test_statistics_are_local_to_the_thread_that_asks_for_it(monkeypatch: Any) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda group=None: 2)
    add = RankSum(True, False)

    def step(thread: int) -> bool:
        if thread % 2:
            return add.is_active
        with local_statistics(), local_statistics():
            return add.is_active

    for thread, found in enumerate(together(step, 200)):
        assert set(found) == {thread % 2 == 1}
    assert add.is_active


def test_choices_of_backends_may_overlap() -> None:
    before = current_backend()

    def step(thread: int) -> None:
        with segloss.use_backend("torch" if thread % 2 else "reference"):
            outcome(ROWS["SegLoss"], SegLoss(**SEG), thread)

    together(step)
    assert current_backend() == before


def test_threads_that_adapt_weights_lose_none() -> None:
    names = ["a", "b"]

    def metrics(given: Any, model: nn.Module) -> Any:
        return None, {name: model(given[name]).square().mean() for name in names}

    def make() -> perceptrain.GradWeightedLoss:
        start = dict.fromkeys(names, 1.0)
        return perceptrain.GradWeightedLoss(given, metrics, None, start, "a", alpha=0.1)

    given = {"a": torch.ones(1, 1), "b": torch.full((1, 1), 2.0)}
    model = nn.Linear(1, 1, bias=False)
    shared, alone = make(), make()
    together(lambda thread: shared(given, model)[0].item())
    for _ in range(THREADS * ROUNDS):
        alone(given, model)
    assert shared.metric_weights == pytest.approx(alone.metric_weights)
