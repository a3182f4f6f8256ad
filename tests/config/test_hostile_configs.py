"""Configs that want to run code, to fill the memory or to end the recursion get one clear error."""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import segloss
from segloss import build_compound_loss_from_config, build_loss, frame_field
from segloss.compat import nn4n, perceptrain, tutorial
from segloss.config.limits import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES
from segloss.frame_field.losses import FrameFieldLoss
from segloss.losses.term_losses import TermLoss
from segloss.terms.base import parameters_of

SEG = {"_target_": "segloss.SegLoss"}
LOSS = "loss: {_target_: segloss.SegLoss}\n"
LISTS, MAPS = ("[", "]"), ("{a: ", "}")


def named(name: str) -> str:
    return f"loss: {{_target_: segloss.SegLoss, name: '{name}'}}\n"


def laughs(depth: int, width: int) -> str:
    rows = [f"a0: &a0 [{', '.join(['ha'] * width)}]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, depth)]
    return "\n".join(rows) + "\n" + LOSS


def chain(depth: int, width: int, entry: str, joint: str) -> str:
    rows = ["a0: hahahahaha"]
    for i in range(1, depth):
        references = joint.join([f"${{a{i - 1}}}"] * width)
        rows.append(f"a{i}: {entry.format(references)}")
    return "\n".join(rows) + f"\nloss: {{_target_: segloss.SegLoss, name: '${{a{depth - 1}}}'}}\n"


def nested(depth: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


# What may be named

UNREACHABLE = [
    "torch.nn.Module.__init__.__globals__",
    "torch.nn.functional.torch.hub.load",
    "segloss.config.registry.importlib.import_module",
    "segloss.config.registry.SegLoss.__init__",
    "monai.losses.dice.torch.hub.load",
    "monai.losses.dice.DiceLoss.forward",
    "monai.losses.__builtins__.eval",
    "torch..nn",
    "torch..nn.L1Loss",
    ".torch.nn.L1Loss",
    "segloss..SegLoss",
    "pytorch_segmentation_models_trainer..SegLoss",
    "torch.nn.L1Loss ",
    "torch.nn.L1Loss\n",
    "kornia.losses.\x00.DiceLoss",
    "monai.losses/../x.y",
    "t\u043erch.nn.L1Loss",
    "torch.nn.\uff2c1Loss",
    "seglo\u017fs.SegLoss",
    "a" * 100_000,
    "a." * 50_000 + "b",
    "builtins.slice.__class__",
]


@pytest.mark.parametrize("target", UNREACHABLE, ids=lambda target: repr(target[:40]))
def test_nothing_is_reached_through_an_allowed_name(target: str) -> None:
    with pytest.raises(ValueError, match=r"^loss\._target_: ") as caught:
        build_loss({"loss": {"_target_": target}})
    assert len(str(caught.value)) < 2000


def test_look_alikes_are_shown_as_what_they_are() -> None:
    with pytest.raises(ValueError, match=r"t\\u043erch\.nn\.L1Loss"):
        build_loss({"loss": {"_target_": "t\u043erch.nn.L1Loss"}})


@pytest.mark.parametrize(
    "name",
    [
        "PerceptualLoss",
        "perceptual.PerceptualLoss",
        "perceptual.MedicalNetPerceptualSimilarity",
        "perceptual.RadImageNetPerceptualSimilarity",
        "perceptual.TorchvisionModelPerceptualSimilarity",
    ],
)
def test_nothing_is_downloaded(name: str, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, "load", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(ValueError, match=r"downloads code and runs it.*allow=\('monai"):
        build_loss({"loss": {"_target_": f"monai.losses.{name}"}})


# YAML's tags and aliases

TAGS = [
    "!!python/object/apply:os.mkdir ['{0}']",
    "!!python/object/new:os.mkdir ['{0}']",
    "!!python/object:os.mkdir {{path: '{0}'}}",
    "!!python/name:os.mkdir ''",
    "!!python/module:os ''",
    "!!python/tuple [1, 2]",
    "!!python/object/apply:pathlib.Path ['{0}']",
    "!!python/object/apply:pathlib.PosixPath ['{0}']",
]


@pytest.mark.parametrize("tag", TAGS)
def test_pythons_tags_make_nothing(tag: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(ValueError, match="can't be read: could not determine a constructor"):
        build_loss(f"loss: {tag.format(made)}\n")
    assert not made.exists()


@pytest.mark.parametrize("value", ["!!int ''", "!!timestamp x", "!!bool x", "!!float '1:' "])
def test_values_that_are_none_of_their_tags_are_errors_of_the_config(value: str) -> None:
    with pytest.raises(ValueError, match=r"^The config can't be read"):
        build_loss(f"{LOSS}x: {value}\n")


# Resolvers


@pytest.fixture
def resolver():
    calls: list[Any] = []
    OmegaConf.register_new_resolver("hostile", lambda *args: calls.append(args))
    yield calls
    OmegaConf.clear_resolver("hostile")


RESOLVERS = [
    named("${hostile:1}"),
    named("x${hostile:1}"),
    named("${a.${hostile:1}}"),
    named("${${b}:1}") + "b: hostile\n",
    named("${b}") + "b: ${hostile:1}\n",
    named("${c}") + "c: ${b}\nb: [{x: '${hostile:1}'}]\n",
    named("${b.c}") + "b: ${hostile:1}\n",
    named("${oc.create:{a:1}}"),
    named("${oc.decode:${b}}") + "b: '\\${hostile:1}'\n",
    named("${oc.select:b}") + "b: ${hostile:1}\n",
    named("${oc.env:SECRET}"),
    named("${ oc.env : SECRET }"),
    named('${oc.env:SECRET,\\"}\\"}').replace("'", '"'),
    "loss: ${hostile:1}\n",
    "loss: {_target_: segloss.SegLoss, extra_terms: {jaccard: '${hostile:1}'}}\n",
    "loss_params: ${hostile:1}\n" + LOSS,
    "loss_params: {compound_loss: '${hostile:1}'}\n",
    "losses: ['${hostile:1}']\n",
    "losses: ${hostile:1}\n",
    "model_config: {a: '${hostile:1}'}\n",
    "loss_params: {multi_loss: {coefs: {seg: 1}}, seg_loss_params: '${hostile:1}'}\n",
]


@pytest.mark.parametrize("cfg", RESOLVERS)
def test_resolvers_do_not_run(cfg: str, resolver: list, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "hush")
    for config in (cfg, OmegaConf.create(cfg), OmegaConf.to_container(OmegaConf.create(cfg))):
        with pytest.raises(ValueError, match=r"can't be resolved: the resolver '[\w.]+' runs code"):
            build_loss(config)
    assert not resolver


def test_a_compound_block_runs_no_resolvers_either(resolver: list) -> None:
    block = {"loss_list": [{**SEG, "name": "${hostile:1}"}]}
    with pytest.raises(ValueError, match=r"^compound_loss can't be resolved: the resolver 'host"):
        build_compound_loss_from_config(block)
    assert not resolver


def test_resolvers_run_where_they_are_allowed(monkeypatch) -> None:
    monkeypatch.setenv("RUN", "first")
    assert build_loss(named("${oc.env:RUN}"), allow=("oc.env",)).name == "first"
    assert build_loss(named("${oc.env:NONE,${oc.env:RUN}}"), allow=("oc.",)).name == "first"
    with pytest.raises(ValueError, match=r"the resolver 'oc\.decode' runs code"):
        build_loss(named("${oc.decode:${oc.env:RUN}}"), allow=("oc.env",))
    with pytest.raises(ValueError, match=r"the resolver 'oc\.env' runs code"):
        build_loss(named("${oc.env:RUN}"), allow=("oc.e", "my_package."))


def test_resolvers_elsewhere_in_a_config_are_left_alone(resolver: list) -> None:
    assert build_loss("data: ${hostile:1}\n" + LOSS).name == "seg"
    assert not resolver


def test_plain_interpolations_are_still_resolved() -> None:
    cfg = OmegaConf.create(
        """
        which: four
        sizes: {four: 4, list: [2, 3]}
        link: ${sizes}
        part:
          - loss: {_target_: segloss.SegLoss, n_classes: "${sizes.${which}}", ignore_index: "${n}"}
        n: ${link.list[1]}
        other: {loss: {_target_: segloss.SegLoss, name: "a-${.n_classes}-${..x}", n_classes: 5},
          x: y}
        """
    )
    part = build_loss(cfg.part[0])
    assert (part.n_classes, part.ignore_index) == (4, 3)
    assert build_loss(cfg.other).name == "a-5-y"


# Size, in a process of its own: each is refused in under a second, in under 200 MB

MEASURE = """
import resource, sys, time
import torch
from segloss import build_loss
import hostile
for name in hostile.WARM:  # what is imported and compiled at first
    build_loss({"loss": {"_target_": name, **hostile.WARM[name]}})
results = {}
for name, make in hostile.LARGE.items():
    cfg = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        build_loss(cfg)
        came = "nothing"
    except (TypeError, ValueError) as error:
        came = str(error)
    except BaseException as error:
        came = f"{type(error).__name__} was raised"
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    results[name] = (came, seconds, grown)
import json
print(json.dumps(results))
"""


def text_nested(depth: int, brackets: tuple[str, str]) -> str:
    opening, closing = brackets
    return f"{LOSS}x: {opening * depth}1{closing * depth}\n"


def cyclic() -> dict:
    config: dict = {"loss": {**SEG}}
    config["loss"]["extra_terms"] = config
    return config


def shared() -> dict:
    value: list = []
    for _ in range(20):
        value = [value] * 20
    return {"loss": SEG, "x": value}


KERNELS = "kornia.losses.MS_SSIMLoss"
CORRELATION = "monai.losses.LocalNormalizedCrossCorrelationLoss"
INFORMATION = "monai.losses.GlobalMutualInformationLoss"
LAYER = "torch.nn.LinearCrossEntropyLoss"
WARM: dict[str, dict] = {"segloss.SegLoss": {}, KERNELS: {}, CORRELATION: {}, INFORMATION: {}}
"""Losses that are built before anything is measured, so that imports do not count."""


def loss_of(target: str, **arguments: Any) -> dict:
    return {"loss": {"_target_": target, **arguments}}


def references(length: int, count: int, reference: str) -> dict:
    texts = [reference % i if "%" in reference else reference for i in range(count)]
    return {"a": [0.5] * length, "loss": {**SEG, "class_weights": texts}}


LARGE = {
    "billion laughs": lambda: laughs(10, 10),
    "laughs of merges": lambda: (
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 10))
        + LOSS
    ),
    "an alias of itself": lambda: f"a: &a [*a]\n{LOSS}",
    "a mapping within itself": lambda: "loss: &a {_target_: segloss.SegLoss, x: *a}\n",
    "texts of texts": lambda: chain(10, 10, '"{}"', ""),
    "lists of lists": lambda: (
        chain(10, 10, "[{}]", ", ")
        .replace("[$", "['$")
        .replace(", $", "', '$")
        .replace("}]", "}']")
    ),
    "a circle": lambda: named("${a}") + "a: ${b}\nb: ${a}\n",
    "a circle of its own": lambda: named("${loss}"),
    "a circle of texts": lambda: named("x${a}") + "a: y${b}\nb: z${a}\n",
    "a long way": lambda: (
        named("${a0}") + "".join(f"a{i}: ${{a{i + 1}}}\n" for i in range(1000)) + "a1000: x\n"
    ),
    "deep text of lists": lambda: text_nested(10_000, LISTS),
    "deep text of mappings": lambda: text_nested(10_000, MAPS),
    "deep text of blocks": lambda: f"{LOSS}x:\n  {'- ' * 10_000}1\n",
    "deep lists": lambda: {"loss": SEG, "x": nested(10_000, "list")},
    "deep mappings": lambda: {"loss": {**SEG, "extra_terms": nested(10_000, "mapping")}},
    "deep interpolations": lambda: named("${" * 10_000 + "a" + "}" * 10_000),
    "a mapping of itself": cyclic,
    "a list many times": shared,
    "long text": lambda: LOSS + "#" * 10_000_000,
    "long list": lambda: f"{LOSS}x: [{'1,' * 90_000}]\n",
    "long mapping": lambda: {"loss": SEG, "x": list(range(1_000_000))},
    "long number": lambda: f"{LOSS}x: {'9' * 190_000}\n",
    "long number of base 60": lambda: f"{LOSS}x: 1{':1' * 90_000}\n",
    "long number with a tag": lambda: f"{LOSS}x: !!int '1{':1' * 90_000}'\n",
    "many interpolations": lambda: f"{LOSS}x: '{'${a}' * 40_000}'\n",
    "interpolations of a long list": lambda: references(9_000, 900, "${a}"),
    "interpolations into a long list": lambda: references(4_000, 4_000, "${a.%d}"),
    "interpolations in brackets": lambda: references(4_000, 4_000, "${[a][%d]}"),
    "interpolations in texts": lambda: references(4_000, 4_000, "x${a.%d}y"),
    "nested interpolations": lambda: references(400, 400, "${" * 19 + "a.%d" + "}" * 19),
    "long texts of interpolations": lambda: {
        "a": "a" * 9_000,
        "loss": {**SEG, "name": ["${a}" * 20] * 400},
    },
    "a deep doubling": lambda: {
        "a0": [1, 1],
        **{f"a{i}": [f"${{a{i - 1}}}"] * 2 for i in range(1, 20)},
        "loss": {**SEG, "name": "${a19}"},
    },
    "kernels of large sigmas": lambda: loss_of(KERNELS, sigmas=[2000.0, 8000.0]),
    "kernels of fairly large sigmas": lambda: loss_of(KERNELS, sigmas=[300.0, 600.0]),
    "many kernels": lambda: loss_of(KERNELS, sigmas=[3.0] * 9_000),
    "a large kernel": lambda: loss_of(CORRELATION, kernel_size=1001),
    "a huge kernel": lambda: loss_of(CORRELATION, kernel_size=10**5 + 1),
    "a kernel beyond any memory": lambda: loss_of(CORRELATION, kernel_size=10**15 + 1),
    "many bins": lambda: loss_of(INFORMATION, num_bins=10**9),
    "a kernel inside a loss": lambda: loss_of(
        "segloss.LossWrapper", loss_func={"_target_": CORRELATION, "kernel_size": 1001}
    ),
    "positional numbers": lambda: loss_of(KERNELS, _args_=[[2000.0, 8000.0]]),
    "interpolated numbers": lambda: {
        "s": [2000.0],
        **loss_of(KERNELS, sigmas=["${s.0}", "${s[0]}"]),
    },
}
"""What makes a config that is too large, by name."""

if hasattr(nn, "LinearCrossEntropyLoss"):  # since PyTorch 2.14
    LARGE["a large layer"] = lambda: loss_of(LAYER, in_features=10**5, num_classes=10**5)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict[str, tuple[str, float, float]]:
    folder = tmp_path_factory.mktemp("measured")
    source = Path(__file__).read_text()
    (folder / "hostile.py").write_text(source)
    root = str(Path(segloss.__file__).parent.parent)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", MEASURE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, str(folder)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", LARGE)
def test_what_is_too_large_is_refused_at_once(name: str, measured) -> None:
    came, seconds, megabytes = measured[name]
    assert came.startswith(("The config", "A text of the config", "A number of the config", "loss"))
    assert "must" in came or "can't be resolved" in came or "is inside the value" in came
    assert len(came) < 2000
    assert seconds < 1
    assert megabytes < 200


@pytest.mark.skipif(not hasattr(nn, "LinearCrossEntropyLoss"), reason="since PyTorch 2.14")
def test_a_layer_of_usual_size_is_made() -> None:
    assert build_loss(loss_of(LAYER, in_features=64, num_classes=19))


@pytest.mark.parametrize(
    ("target", "arguments", "key"),
    [
        (KERNELS, {"sigmas": [0.5, 8000.0]}, r"sigmas\[1\] = 8000"),
        (KERNELS, {"sigmas": [0.5, 1e7]}, r"sigmas\[1\] must be between -1,000,000"),
        (KERNELS, {"_args_": [[0.5, 1e7]]}, r"_args_\[0\]\[1\] must be between -1,000,000"),
        (KERNELS, {"data_range": math.inf}, "data_range must be between"),
        (CORRELATION, {"kernel_size": 1001}, "kernel_size = 1001"),
        (CORRELATION, {"kernel_size": 10**400}, "kernel_size must be between"),
        ("monai.losses.FocalLoss", {"gamma": -(10**7)}, "gamma must be between"),
    ],
)
def test_the_number_that_is_too_large_is_named_with_a_remedy(target, arguments, key) -> None:
    with pytest.raises(ValueError, match=rf"^loss: .*{key}.*allow=\('{target}',\)"):
        build_loss(loss_of(target, **arguments))


ALLOCATIONS = {
    "at once": lambda n: torch.zeros(n, 2**10),
    "by an outer product": lambda n: torch.outer(torch.ones(n), torch.ones(2**10)),
    "by repeating": lambda n: torch.ones(1).repeat(n * 2**10),
    "a copy of a view": lambda n: torch.ones(1).expand(n * 2**10).contiguous(),
    "by resizing": lambda n: torch.empty(0).resize_(n * 2**10),
    "on the meta device": lambda n: torch.empty(n * 2**10, device="meta"),
    "in steps": lambda n: [torch.ones(2**20) for _ in range(n // 2**10)],
    "by indices": lambda n: torch.eye(8)[torch.zeros(n * 2**7, dtype=torch.long)],
    "by filling": lambda n: torch.arange(n * 2**10).float(),
    "as a parameter": lambda n: nn.Linear(n, 2**10),
    "in legacy": lambda n: torch.Tensor(n, 2**10),
}


@pytest.mark.parametrize("way", ALLOCATIONS)
def test_memory_is_bounded_however_a_constructor_takes_it(way: str, monkeypatch) -> None:
    def construct(self: nn.L1Loss, size: int) -> None:
        nn.Module.__init__(self)
        self.reduction = "mean"
        ALLOCATIONS[way](size)

    monkeypatch.setattr(nn.L1Loss, "__init__", construct)
    assert build_loss(loss_of("torch.nn.L1Loss", size=2**10))
    with pytest.raises(ValueError, match=r"tensors of more than 64 MiB.*size = 65536"):
        build_loss(loss_of("torch.nn.L1Loss", size=2**16))


def test_an_allowed_or_registered_class_may_make_what_it_likes(monkeypatch) -> None:
    monkeypatch.setattr("segloss.config.registry._registered", {})

    class Large(nn.L1Loss):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.register_buffer("large", torch.zeros(size, 2**20))

    segloss.register_loss("large", override=True)(Large)
    assert build_loss({"losses": [{"type": "large", "params": {"size": 20}}]})
    loss = loss_of(CORRELATION, kernel_size=257)
    with pytest.raises(ValueError, match="tensors of more than 64 MiB"):
        build_loss(loss)
    assert build_loss(loss, allow=(CORRELATION,))


@pytest.mark.parametrize(
    "combiner", [segloss.UncertaintyWeighting, tutorial.UncertaintyWeightedLoss]
)
def test_a_combiner_is_of_as_many_losses_as_there_can_be(combiner: type) -> None:
    assert combiner(10_000)
    with pytest.raises(ValueError, match=r"num_\w+ must be at most 10000, got 1000000000"):
        combiner(10**9)


def test_omegaconf_of_any_depth_that_it_can_hold_is_read_or_refused() -> None:
    for depth in (MAX_DEPTH - 5, MAX_DEPTH + 5):
        cfg = OmegaConf.create({"loss": {**SEG, "extra_terms": nested(depth, "mapping")}})
        with pytest.raises((TypeError, ValueError), match=r"^loss"):
            build_loss(cfg)


def test_configs_within_the_limits_are_read() -> None:
    names = [f"class {i}" for i in range(MAX_VALUES // 2)]
    assert build_loss({"loss": SEG, "names": names}).name == "seg"
    assert build_loss(laughs(3, 10)).name == "seg"
    assert build_loss({"loss": SEG, "x": nested(MAX_DEPTH - 5, "list")}).name == "seg"
    assert build_loss(LOSS + "#" * (MAX_CHARACTERS - len(LOSS))).name == "seg"
    assert build_loss(f"{named('${a}')}a: ${{b}}-${{b}}\nb: c\n").name == "c-c"
    assert build_loss(f"loss: {{_target_: segloss.SegLoss, name: {'bad_cafe' * 20}}}\n")


# Files


def test_duplicate_keys_are_refused() -> None:
    for cfg in (LOSS + LOSS, "loss: {_target_: segloss.SegLoss, bce_coef: 1, bce_coef: 2}\n"):
        with pytest.raises(
            ValueError, match=r"(?s)The config can't be read: .*found duplicate key"
        ):
            build_loss(cfg)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    paths = [
        tmp_path,
        tmp_path / "pipe.yaml",
        tmp_path / "zero.yaml",
        "/dev/zero",
        "a\0b",
        "a" * 9999,
    ]
    for path in paths:
        with pytest.raises(FileNotFoundError, match="expected the path of a regular file"):
            build_loss(path)


@pytest.mark.parametrize("content", [bytes(range(128, 256)), "name: \u00e9".encode("latin1")])
def test_a_file_that_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "loss.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"loss\.yaml' must be YAML, text in UTF-8, got "):
        build_loss(path)


def test_binary_and_large_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "loss.yaml"
    path.write_bytes(b"\x00\x01\x02" * 100)
    with pytest.raises(ValueError, match=r"The config.* can't be read"):
        build_loss(path)
    path.write_bytes(b"\xc3\xa9" * 3_000_000)
    with pytest.raises(ValueError, match=f"at most {MAX_CHARACTERS} characters, got more than"):
        build_loss(path)


# Numbers


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e999"])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("loss: {{_target_: segloss.SegLoss, bce_coef: {0}}}", "bce_coef"),
        ("loss: {{_target_: segloss.SegLoss, class_weights: [1, {0}]}}", r"class_weights\[1\]"),
        ("loss: {{_target_: segloss.SegLoss, extra_terms: {{jaccard: {0}}}}}", "extra_terms.*"),
        ("losses: [{{type: dice, weight: {0}}}]", r"losses\[0\]\.weight"),
        ("losses: [{{type: dice, params: {{smooth: {0}}}}}]", "smooth"),
        (
            "loss_params: {{compound_loss: {{epoch_thresholds: [0, {0}], "
            "loss_list: [{{_target_: segloss.SegLoss, weight: [0, 1]}}]}}}}",
            r"epoch_thresholds\[1\]",
        ),
        (
            "loss_params: {{compound_loss: {{epoch_thresholds: [0, 1], "
            "loss_list: [{{_target_: segloss.SegLoss, weight: [0, {0}]}}]}}}}",
            r"loss_list\[0\]\.weight\[1\]",
        ),
        (
            "{{compute_seg: true, seg_params: {{compute_interior: true}}, "
            "loss_params: {{multi_loss: {{coefs: {{seg: {0}}}}}}}}}",
            r"coefs\.seg",
        ),
    ],
)
def test_numbers_are_finite(text: str, place: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"{place} must be a finite number"):
        build_loss(text.format(value))


# Every argument of every class that a config may name, and of the others that are public

VALUES = {
    "None": None,
    "text": "text",
    "-1": -1,
    "nan": math.nan,
    "inf": math.inf,
    "[]": [],
    "{}": {},
    "[[1]]": [[1]],
    "True": True,
    "10**400": 10**400,
    "10**5000": 10**5000,
    "object": object(),
}

NEEDED = {
    "LossWrapper": {"loss_func": nn.L1Loss()},
    "CompoundLoss": {"terms": {"dice": 1.0}},
    "HardPixelLoss": {"terms": {"focal": 1.0}},
    "MultiLoss": {"loss_funcs": [nn.L1Loss()], "weights": [1.0]},
    "DeepSupervision": {"loss": nn.L1Loss()},
    "UncertaintyWeighting": {"num_losses": 2},
    "UncertaintyWeightedLoss": {"num_tasks": 2},
    "Criterion": {"loss": segloss.SegLoss()},
    "CompositeLoss": {"loss_cfg": {"a": {"type": "fr"}}},
    "GradWeightedLoss": {
        "batch": {"a": 1},
        "unweighted_loss_function": perceptrain.mse_loss,
        "optimizer": None,
        "metric_weights": {"a": 1.0},
        "fixed_metric": "a",
    },
}


def words(text: str) -> set[str]:
    return set(text.split())


VALID = {
    "text": words(
        "angle_key annotated_key components_key crossfield_key field_key gt_key map_key mask_key "
        "name out_key pred_key sample_weight_key seg_key weight_key"
    ),
    "None": words(
        "activation alpha class_names class_weights classes combiner connectivity distances "
        "epoch_thresholds errors extra_terms from_logits gt_channel_selector ignore_index layers "
        "name normalization_params pos_weight "
        "pre_processes pred_channel_selector process_group region_class_weights region_classes "
        "region_groups select spacing target_dtype terms weights"
    ),
    "True": words(
        "check_finite from_logits log merge_unannotated normalize_losses per_image per_sample "
        "skip_absent_classes symmetric sync_in_eval sync_statistics use_dist use_label_smooth "
        "use_mixed_precision use_mixup use_size"
    ),
    "-1": words("ignore_index gt_channel_selector log_zero pred_channel_selector"),
    "[]": words("pre_processes"),
    "{}": words("extra_terms normalization_params batch"),
}
"""Which of the values are right for which arguments. `optimizer` is never looked at."""


def public_classes() -> dict[str, type]:
    abstract = ("Loss", "SoftConfusion", "MissingKeyError")
    places = (segloss, frame_field, nn4n, perceptrain, tutorial)
    found = {
        f"{place.__name__.rpartition('.')[2]}.{name}": getattr(place, name)
        for place in places
        for name in place.__all__
        if name not in abstract
    }
    return {name: made for name, made in found.items() if inspect.isclass(made)}


def arguments(made: type) -> list[str]:
    signatures = [made] + ([FrameFieldLoss] if issubclass(made, FrameFieldLoss) else [])
    names = [
        parameter.name
        for signature in signatures
        for parameter in inspect.signature(signature).parameters.values()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    if issubclass(made, TermLoss):
        names += parameters_of(made.term_type)
    return [name for name in dict.fromkeys(names) if name != "optimizer"]


def refusal(made: type, keywords: dict[str, Any]) -> str | None:
    """What the class says of these arguments; None: it takes them."""
    try:
        made(**keywords)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", public_classes())
def test_every_argument_of_a_class_takes_what_is_valid_or_names_itself(name: str) -> None:
    made = public_classes()[name]
    assert arguments(made) or name == "nn4n.HebbianLoss"
    for argument in arguments(made):
        for label, value in VALUES.items():
            case = f"{name}({argument}={label})"
            message = refusal(made, {**NEEDED.get(made.__name__, {}), argument: value})
            if message is None:
                assert argument in VALID.get(label, ()), f"{case} was taken"
            else:
                assert argument.rstrip("s") in message, f"{case}: {message}"
                assert len(message) < 2000, case


CONFIGURED = [
    "SegLoss",
    "DiceLoss",
    "CrossfieldSmoothLoss",
    "HardPixelLoss",
    "LovaszLoss",
    "OhemCrossEntropyLoss",
    "TopKCrossEntropyLoss",
]


@pytest.mark.parametrize("name", CONFIGURED)
def test_the_same_in_a_config_has_the_path_too(name: str) -> None:
    for argument in arguments(getattr(segloss, name)):
        for label, value in VALUES.items():
            if argument in VALID.get(label, ()):
                continue
            block = {"_target_": f"segloss.{name}", argument: value}
            with pytest.raises((TypeError, ValueError), match=rf"^loss.*{argument.rstrip('s')}"):
                build_loss({"loss": block})


BLOCK_KEYS = [
    "loss_list",
    "losses",
    "epoch_thresholds",
    "pre_processes",
    "normalize_losses",
    "normalization_params",
    "check_finite",
]


@pytest.mark.parametrize("key", BLOCK_KEYS)
def test_every_key_of_a_compound_block_is_checked(key: str) -> None:
    for label, value in VALUES.items():
        block = {"loss_list": [SEG], key: value}
        if key == "losses":
            del block["loss_list"]
        if argument_is_valid(key, label):
            build_loss({"loss_params": {"compound_loss": block}})
            continue
        with pytest.raises((TypeError, ValueError), match=rf"^loss_params\.compound_loss.*{key}"):
            build_loss({"loss_params": {"compound_loss": block}})


def argument_is_valid(key: str, label: str) -> bool:
    return key in VALID.get(label, ()) and not (key == "losses" and label == "None")


@pytest.mark.parametrize("key", ["weight", "_target_", "_args_", "_recursive_", "_convert_"])
def test_every_key_of_an_entry_is_checked(key: str) -> None:
    for label, value in VALUES.items():
        if (key, label) in {("_args_", "[]"), ("_recursive_", "True")}:
            continue
        with pytest.raises((TypeError, ValueError), match=r"^loss_params\.compound_loss"):
            build_loss({"loss_params": {"compound_loss": {"loss_list": [{**SEG, key: value}]}}})
