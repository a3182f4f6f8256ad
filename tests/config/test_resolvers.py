"""No resolver of OmegaConf runs while a config is read, whatever the path, text and door."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import AnyNode, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import safe_dump

from segloss import build_compound_loss_from_config, build_loss
from segloss.tools.cli.app import run

SEG = {"_target_": "segloss.SegLoss"}

CALLS: list[Any] = []
"""The calls of the resolvers of a test."""


@pytest.fixture(autouse=True)
def _recording_resolvers(monkeypatch) -> Iterator[None]:
    """Registers resolvers that record their calls; OmegaConf's own record theirs as well."""
    from omegaconf.basecontainer import BaseContainer

    monkeypatch.setattr(BaseContainer, "_resolvers", dict(BaseContainer._resolvers))
    for name in ("eval", "hostile", "a.b", "oc"):
        OmegaConf.register_new_resolver(name, lambda *args: CALLS.append(args))
    for name, resolver in BaseContainer._resolvers.items():
        monkeypatch.setitem(BaseContainer._resolvers, name, recording(resolver))
    CALLS.clear()
    yield
    assert not CALLS, "a resolver ran"


def recording(resolver: Callable[..., Any]) -> Callable[..., Any]:
    def record(*args: Any) -> Any:
        CALLS.append(args)
        return resolver(*args)

    return record


# The resolvers, and the texts that call them

TEXTS = [
    "${eval:1}",
    "x ${hostile:1} y",
    "${ eval : 1 }",
    "${eval:}",
    "${a.b:1}",
    "${oc.env:HOME}",
    "${oc.env:NONE,${eval:1}}",
    "${oc.create:{a:1}}",
    "${oc.decode:'1'}",
    "${oc.select:which}",
    "${oc.dict.keys:which}",
    "${oc.dict.values:which}",
    "${oc.deprecated:which}",
    "${${which}:1}",
    "${which${eval:1}}",
    "${[which]${eval:1}}",
    "${bad[${eval:1}]}",
    "${.${eval:1}}",
    "${..${eval:1}}",
    "\\\\${eval:1}",
    "\\${which}${eval:1}",
    "${eval:'}'}",
    '${eval:"\\"}"}',
    "${eval:${eval:1}}",
    "${bad}",
    "${bad.0}",
    "${bad[0].x}",
    "${'${eval:1}'}",
    "${which}${bad.1}",
    "${eval:[1,{a:2}]}",
]

TOP = {"which": "eval", "bad": "${eval:1}"}
"""Other keys of each config, which the texts refer to."""

KEYS = [
    "m",
    "m[0]",
    "m.n",
    "[0]",
    "a]b[",
    ".",
    "..",
    "",
    " ",
    "1",
    "null",
    "${which}",
    "${eval:1}",
    "\\${which}",
    "'",
    '"',
    "m\n",
    "é",
    1,
    -1,
    0,
    1.5,
    True,
    None,
]
"""Keys of models: each could be misread if it were joined to a path and parsed again."""


def placed(text: str) -> dict[str, dict[Any, Any]]:
    """Configs with the text at every place that is read."""
    compound = {"loss_params": {"compound_loss": {"loss_list": [{**SEG, "weight": text}]}}}
    frame = {"compute_seg": True, "seg_params": {"compute_interior": True}}
    coefs = {"coefs": {"seg": 1}}
    return {
        "the loss": {"loss": text},
        "an argument": {"loss": {**SEG, "name": text}},
        "a target": {"loss": {"_target_": text}},
        "a list": {"loss": {**SEG, "class_weights": [1.0, text]}},
        "nested": {"loss": {**SEG, "extra_terms": {"jaccard": text}}},
        "nested lists": {"loss": {**SEG, "region_classes": [[[text]]]}},
        "positional": {"loss": {"_target_": "torch.nn.HuberLoss", "_args_": ["mean", text]}},
        "a key of Hydra": {"loss": {**SEG, "_convert_": text}},
        "loss_params": {"loss_params": text},
        "compound_loss": {"loss_params": {"compound_loss": text}},
        "a weight": compound,
        "the list of losses": {"loss_params": {"compound_loss": {"losses": text}}},
        "thresholds": {
            "loss_params": {"compound_loss": {"loss_list": [SEG], "epoch_thresholds": text}}
        },
        "pre-processes": {
            "loss_params": {"compound_loss": {"loss_list": [SEG], "pre_processes": [text]}}
        },
        "multi_loss": {"loss_params": {"multi_loss": text}},
        "multiloss": {"loss_params": {"multiloss": {"losses": [text]}}},
        "a switch": {**frame, "compute_seg": text, "loss_params": {"multi_loss": coefs}},
        "seg_params": {**frame, "seg_params": text, "loss_params": {"multi_loss": coefs}},
        "a coefficient": {**frame, "loss_params": {"multi_loss": {"coefs": {"seg": text}}}},
        "seg_loss_params": {
            **frame,
            "loss_params": {"multi_loss": coefs, "seg_loss_params": {"name": text}},
        },
        "a name": {"losses": [text]},
        "MMF's losses": {"losses": text},
        "MMF's type": {"losses": [{"type": text}]},
        "MMF's parameters": {"losses": [{"type": "dice", "params": {"smooth": text}}]},
        "a model": {"model_config": {"m": text}},
        "model_config": {"model_config": text},
    }


PLACES = list(placed(""))


def doors(config: dict[Any, Any], folder: Path) -> dict[str, Callable[[], Any]]:
    """The ways in which a config comes in."""
    text = safe_dump(config, sort_keys=False)
    path = folder / "loss.yaml"
    path.write_text(text, encoding="utf-8")
    found = {
        "mapping": lambda: build_loss(config),
        "text": lambda: build_loss(text),
        "file": lambda: build_loss(path),
        "another resolver is allowed": lambda: build_loss(config, allow=("other", "oc.en", "eva")),
    }
    try:
        nodes = OmegaConf.create(config)
        outer = OmegaConf.create({**config, "outer": config}).outer
        mixed = {key: wrapped(value) for key, value in config.items()}
    except OmegaConfBaseException:  # OmegaConf can't parse a text, or take a key
        return found
    return {
        **found,
        "OmegaConf": lambda: build_loss(nodes),
        "a part": lambda: build_loss(outer),
        "OmegaConf in a mapping": lambda: build_loss(mixed),
    }


def wrapped(value: Any) -> Any:
    return OmegaConf.create(value) if isinstance(value, (dict, list)) else AnyNode(value)


def refused(build: Callable[[], Any]) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        build()
    assert len(str(caught.value)) < 2000
    return str(caught.value)


@pytest.mark.parametrize("place", PLACES)
def test_no_text_at_no_place_runs_a_resolver(place: str, tmp_path: Path) -> None:
    for text in TEXTS:
        for build in doors({**placed(text)[place], **TOP}, tmp_path).values():
            refused(build)
    assert not CALLS


@pytest.mark.parametrize("door", ["mapping", "text", "file", "OmegaConf", "a part"])
def test_the_error_names_the_resolver_and_its_place(door: str, tmp_path: Path) -> None:
    config = {"loss": {**SEG, "extra_terms": {"jaccard": ["${hostile:1}"]}}}
    message = refused(doors(config, tmp_path)[door])
    assert "the resolver 'hostile' runs code" in message
    assert "loss.extra_terms.jaccard[0])" in message


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_no_key_hides_a_resolver(key: Any, tmp_path: Path) -> None:
    for losses in (
        ["${eval:1}"],
        "${eval:1}",
        [{"type": "${bad}"}],
        ["dice", {"type": "${eval:}"}],
    ):
        config = {"model_config": {key: {"losses": losses}}, **TOP}
        for name, build in doors(config, tmp_path).items():
            assert "runs code" in refused(build), name


@pytest.mark.parametrize("first", [1, 1.5, True, None], ids=repr)
def test_keys_that_look_alike_are_told_apart(first: Any, tmp_path: Path) -> None:
    for second in (str(first), str(first).lower()):
        config = {"model_config": {first: {"losses": ["${eval:1}"]}, second: {"other": 1}}}
        for build in doors(config, tmp_path).values():
            assert "the resolver 'eval' runs code" in refused(build)
        config = {"model_config": {first: {"losses": ["dice"]}, second: {"other": "${eval:1}"}}}
        for build in doors(config, tmp_path).values():
            assert build().loss_funcs[0].name == "dice"


def test_keys_are_never_interpolated(tmp_path: Path) -> None:
    config = {"loss": {**SEG, "${eval:1}": 1}, "${oc.env:HOME}": 2}
    for name, build in doors(config, tmp_path).items():
        assert "${eval:1}" in refused(build), name


@pytest.mark.parametrize("text", TEXTS)
def test_a_compound_block_by_itself_runs_no_resolver(text: str) -> None:
    for block in ({"loss_list": [{**SEG, "name": text}]}, {"losses": text}, {"losses": [text]}):
        refused(lambda block=block: build_compound_loss_from_config({**block, **TOP}))
        refused(lambda block=block: build_compound_loss_from_config(block))


@pytest.mark.parametrize("command", ["check", "explain", "plot"])
@pytest.mark.parametrize("key", ["m", "m[0]", "m.n", 1, ""], ids=repr)
def test_no_command_runs_a_resolver(command: str, key: Any, tmp_path: Path, capsys) -> None:
    path = tmp_path / "loss.yaml"
    for text in ("${eval:1}", "${oc.env:HOME}", "${bad}", "${${which}:1}"):
        path.write_text(safe_dump({"model_config": {key: {"losses": [text]}}, **TOP}))
        assert run([command, str(path)]) == 2
        assert "runs code" in capsys.readouterr().err


@dataclasses.dataclass
class Loss:
    _target_: str = "segloss.SegLoss"
    n_classes: int = "${eval:1}"  # type: ignore[assignment]


@dataclasses.dataclass
class Config:
    loss: Loss = dataclasses.field(default_factory=Loss)


def test_dataclasses_run_no_resolver() -> None:
    for config in ({"loss": Loss()}, {"loss": Loss}, OmegaConf.structured(Config)):
        assert "the resolver 'eval' runs code" in refused(lambda config=config: build_loss(config))


def test_results_that_omegaconf_has_cached_are_not_used_either() -> None:
    config = OmegaConf.create({"loss": {**SEG, "name": "${cached:}"}})
    OmegaConf.register_new_resolver("cached", lambda: "from the cache", use_cache=True)
    assert config.loss.name == "from the cache"
    assert "the resolver 'cached' runs code" in refused(lambda: build_loss(config))
    assert build_loss(config, allow=("cached",)).name == "from the cache"
    CALLS.clear()


# What an allowed resolver can't reach


@pytest.mark.parametrize(
    "text",
    [
        "${oc.decode:${escaped}}",
        "${oc.create:${yaml}}",
        "${oc.select:bad}",
        "${oc.dict.values:bad}",
        "${oc.dict.values:inner}",
        "${oc.deprecated:bad}",
        "${peek:}",
        "${oc.env:NONE,${eval:1}}",
        "${oc.env:${eval:1}}",
    ],
)
def test_an_allowed_resolver_runs_no_other(text: str) -> None:
    OmegaConf.register_new_resolver("peek", lambda *, _root_: _root_.bad)
    config = {
        "loss": {**SEG, "name": text},
        "bad": "${eval:1}",
        "inner": {"x": "${eval:1}"},
        "escaped": "\\${eval:1}",
        "yaml": "x: \\${eval:1}",
    }
    for each in (config, OmegaConf.create(config)):
        message = refused(lambda each=each: build_loss(each, allow=("oc.", "peek")))
        assert "runs code" in message or "could run other resolvers" in message
    assert all(call[-2:] != ((1,), ("1",)) for call in CALLS), "eval ran"
    CALLS.clear()


def test_the_result_of_a_resolver_is_not_read_for_interpolations(monkeypatch) -> None:
    monkeypatch.setenv("RESULT", "${eval:1}")
    loss = build_loss({"loss": {**SEG, "name": "${oc.env:RESULT}"}}, allow=("oc.env",))
    assert loss.name == "${eval:1}"
    CALLS.clear()


# References mean what they mean to OmegaConf

REFERENCES = [
    "${which}",
    "a ${which} b",
    "${inner.x}",
    "${inner[x]}",
    "${[inner].x}",
    "${inner.list.1}",
    "${inner.list[1]}",
    "${inner.${key}}",
    "${${key}}",
    "${..which}",
    "${.n_classes}-${..inner.list}",
    "${link.x}",
    "${deep.er.est}",
    "\\${which}",
    "\\\\${which}",
    "\\\\\\${which}",
    "a\\b ${which}",
    "${inner.1a}",
    "${inner.a-b}",
    "${ which }",
]


@pytest.mark.parametrize("text", REFERENCES)
def test_a_reference_is_what_omegaconf_makes_of_it(text: str) -> None:
    config = {
        "loss": {**SEG, "n_classes": 3, "name": text},
        "which": "w",
        "key": "x",
        "x": "${which}",
        "link": "${inner}",
        "deep": {"er": "${..deeper}"},
        "deeper": {"est": "${inner.list.0}"},
        "inner": {"x": "y", "list": ["p", "q"], "1a": "one", "a-b": "dash"},
    }
    expected = OmegaConf.create(config).loss.name
    assert build_loss(config).name == build_loss(OmegaConf.create(config)).name == expected


@pytest.mark.parametrize(
    "text", ["${a.1}", "${a.-1}", "${b.c}", "${....x}", "${}", "${a", "${l.9}"]
)
def test_a_reference_to_nothing_is_an_error(text: str) -> None:
    config = {"loss": {**SEG, "name": text}, "a": {1: "x"}, "b": "text", "l": [1]}
    assert refused(lambda: build_loss(config)).startswith("loss can't be resolved: ")
