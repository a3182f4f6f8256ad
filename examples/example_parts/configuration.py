"""The settings of an example: command line, YAML file, and overrides of single fields.

A dataclass defines the fields and their types. The YAML file gives their values, and arguments such
as `training.epochs=2` change them. The meaning of the fields is left to the example.
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

from example_parts.output_folder import has_results, is_first_process

Settings = TypeVar("Settings")


def command_line(description: str, config: Path, output: Path) -> argparse.ArgumentParser:
    """Returns the command line that the examples share.

    Args:
        description: The description of the example, for `--help`.
        config: The default of `--config`, a YAML file.
        output: The default of `--output`, the folder for the results.
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
        help=f"the folder for checkpoint, metrics and pictures ({output})",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the results of an earlier run in the output folder",
    )
    existing.add_argument(
        "--resume",
        action="store_true",
        help="continue from the checkpoint in the output folder, with the same results as without "
        "the interruption; only training.epochs may have changed, to train for longer",
    )
    return parser


def parse(
    command: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Returns the options, and ends the program if they would replace the results of a run.

    Args:
        command: The command line.
        arguments: The arguments. Default: those of the program.
    """
    options = command.parse_intermixed_args(arguments)
    replaces = not (options.resume or options.overwrite) and is_first_process()
    if replaces and has_results(options.output):
        command.error(
            f"{str(options.output)!r} holds the results of an earlier run. Continue that run with "
            "--resume, choose another folder with --output, or replace the results with "
            "--overwrite."
        )
    return options


def load_config(
    schema: type[Settings],
    path: Path,
    overrides: Sequence[str] = (),
    additional: Path | None = None,
) -> Settings:
    """Returns the settings of a YAML file, with overrides, as an instance of `schema`.

    Args:
        schema: The dataclass.
        path: The file.
        overrides: Changes of single fields, as on the command line.
        additional: Another file; its fields replace those of the first file.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: A field is unknown, missing or of the wrong type, or an override is not
            `field=value`.
    """
    config = _with_values(OmegaConf.structured(schema), _read(path), path)
    if additional is not None:
        config = _with_values(config, _read(additional), additional)
    for override in overrides:
        _apply(override, config)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ValueError(f"{path} must set all fields, but lacks: {', '.join(missing)}.")
    return cast(Settings, OmegaConf.to_object(config))


def differences(earlier: Any, now: Any, field: str = "") -> dict[str, tuple[Any, Any]]:
    """Returns the fields in which two nested settings differ, each with its two values."""
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
    """Ends the program with a message instead of a traceback, if the user made a mistake."""
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
    """Returns whether the section of a field accepts new fields, as the sections of losses do."""
    section = OmegaConf.select(config, field.rpartition(".")[0])
    return isinstance(section, DictConfig) and OmegaConf.get_type(section) is dict


def _fields(node: Any, prefix: str = "") -> Iterator[str]:
    """Yields the dotted names of all fields in nested settings; list entries have numbers."""
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
    """Returns the problem in one line, without the place that OmegaConf or YAML adds."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem:
        return error.problem
    return str(error).splitlines()[0].rstrip(".")
