"""Settings of an example: its command line, its YAML file, and overrides of single fields.

A dataclass says which fields there are and of which type; the YAML file gives their values, and
arguments such as `training.epochs=2` change them. What the fields mean is the example's business.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

Settings = TypeVar("Settings")


def command_line(description: str, config: Path, output: Path) -> argparse.ArgumentParser:
    """The command line that the examples share.

    Args:
        description: What the example does, for `--help`.
        config: The YAML file that is read where `--config` names no other.
        output: The folder for the results where `--output` names no other.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="field=value",
        help="change a field of the config, such as training.epochs=2 or "
        "loss_params.compound_loss.loss_list.0.dice_coef=0.7; +field=value adds one",
    )
    parser.add_argument(
        "--config", type=Path, default=config, metavar="YAML", help=f"the settings ({config.name})"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=output,
        metavar="DIR",
        help=f"the folder for checkpoint, metrics and pictures ({output}); what an earlier run "
        "left there is replaced",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in the output folder, to the numbers of a run that was "
        "never interrupted; only training.epochs may have changed, to train for longer",
    )
    return parser


def load_config(
    schema: type[Settings], path: Path, overrides: Sequence[str] = (), further: Path | None = None
) -> Settings:
    """The settings of a YAML file, with the overrides, as an instance of the dataclass `schema`.

    Args:
        schema: The dataclass.
        path: The file.
        overrides: Changes of single fields, as on the command line.
        further: Another file, whose fields go before.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A field is unknown, left out or of the wrong type, or an override is not
            `field=value`.
    """
    config = _with_values(OmegaConf.structured(schema), _read(path), path)
    if further is not None:
        config = _with_values(config, _read(further), further)
    for override in overrides:
        _apply(override, config)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ValueError(f"{path} must give all fields, and leaves out: {', '.join(missing)}.")
    return cast(Settings, OmegaConf.to_object(config))


def differences(earlier: Any, now: Any, field: str = "") -> dict[str, tuple[Any, Any]]:
    """The fields in which two nested settings differ, each with its two values."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = [*earlier, *(key for key in now if key not in earlier)]
        pairs = [(key, earlier.get(key), now.get(key)) for key in keys]
    elif isinstance(earlier, list) and isinstance(now, list) and len(earlier) == len(now):
        pairs = list(zip(map(str, range(len(now))), earlier, now, strict=True))
    else:
        return {} if earlier == now else {field: (earlier, now)}
    prefix = f"{field}." if field else ""
    return {
        name: values
        for key, before, after in pairs
        for name, values in differences(before, after, f"{prefix}{key}").items()
    }


@contextmanager
def mistakes_as_messages() -> Iterator[None]:
    """Ends the program with the message of a user's mistake, in place of a traceback."""
    try:
        yield
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error


def _read(path: Path) -> DictConfig:
    if not path.is_file():
        raise FileNotFoundError(f"There is no config file at {str(path)!r} (--config).")
    try:
        config = OmegaConf.load(path)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(config, DictConfig):
        raise ValueError(f"{path} must be a mapping of settings, got a list.")
    return config


def _with_values(schema: Any, values: DictConfig, path: Path) -> DictConfig:
    try:
        return cast(DictConfig, OmegaConf.merge(schema, values))
    except ConfigKeyError as error:
        known = [field.name for field in dataclasses.fields(cast(Any, error.object_type))]
        message = f"there is no field {error.full_key!r}; {_nearest(str(error.key), known)}"
        raise ValueError(f"{path}: {message}") from error
    except OmegaConfBaseException as error:
        raise ValueError(f"{path}: {error.full_key}: {_reason(error)}.") from error


def _apply(override: str, config: DictConfig) -> None:
    """Changes the field that an override names, or with a plus sign adds it."""
    field, equals, text = override.partition("=")
    if not (field and equals):
        raise ValueError(
            f"An override must be field=value, such as training.epochs=2, got {override!r}."
        )
    adds, field = field.startswith("+"), field.removeprefix("+")
    known = list(_fields(OmegaConf.to_container(config)))
    if not adds and field not in known:
        hint = f" To add it: +{override}" if _is_open(config, field) else ""
        raise ValueError(f"There is no field {field!r}; {_nearest(field, known)}{hint}")
    try:
        value = OmegaConf.from_dotlist([f"value={text}"]).value
        OmegaConf.update(config, field, value, merge=False)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(f"The override {override!r} does not fit: {_reason(error)}.") from error


def _is_open(config: DictConfig, field: str) -> bool:
    """Whether the section that a field would be in takes any field, as those of losses do."""
    section = OmegaConf.select(config, field.rpartition(".")[0])
    return isinstance(section, DictConfig) and OmegaConf.get_type(section) is dict


def _fields(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all fields in nested settings, list entries by their position."""
    entries: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        entries = node.items()
    elif isinstance(node, list):
        entries = enumerate(node)
    for key, value in entries:
        yield f"{prefix}{key}"
        yield from _fields(value, f"{prefix}{key}.")


def _nearest(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(known)}."


def _reason(error: Exception) -> str:
    """What is wrong, in a line, without where OmegaConf or YAML found it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem:
        return error.problem
    return str(error).splitlines()[0].rstrip(".")
