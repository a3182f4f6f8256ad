"""The app with all commands. A user's mistake prints one line, with exit code 2.

Several mistakes, such as unusable files, are printed as a list.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from typing import Annotated, Any

import typer

from segloss.foundation.printable import printable
from segloss.tools.cli.backends import backends
from segloss.tools.cli.check import check
from segloss.tools.cli.explain import explain
from segloss.tools.cli.list_losses import list_losses
from segloss.tools.cli.plot import plot
from segloss.tools.cli.suggest import suggest
from segloss.tools.doctor import doctor, version_text
from segloss.tools.listed import ListedError

MISTAKE = 2
"""The exit code of a mistake in the user's input."""

_LONGEST_MESSAGE = 4000

_MISTAKES = (
    ArithmeticError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,  # from PyTorch, when a loss of another library gets a batch
    TypeError,
    ValueError,
)
"""The errors that checks and libraries raise for wrong input."""

_CommandError = typer.BadParameter.__mro__[2]
"""Click's ClickException; some versions of Typer have their own copy of it."""

app = typer.Typer(
    name="segloss",
    help="Examines segmentation losses, and configs that name them.",
    epilog="A config is a YAML file for segloss.build_loss; it may be a whole training config. It "
    "can only name losses: none of it runs as code.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("list")(list_losses)
app.command()(explain)
app.command()(check)
app.command()(plot)
app.command()(suggest)
app.command()(backends)
app.command()(doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version_text())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version, and the kernel for CPUs.",
        ),
    ] = False,
) -> None:
    warnings.simplefilter("ignore")  # from libraries; they do not concern the user


def run(arguments: list[str] | None = None) -> int:
    """Runs a command line, and returns its exit code.

    Args:
        arguments: The arguments after `segloss`; None: the arguments of the process.
    """
    try:
        result = app(args=arguments, prog_name="segloss", standalone_mode=False)
    except typer.Abort:
        return _complain("interrupted")
    except BrokenPipeError:  # such as `segloss list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ListedError as error:
        return _complain_of_all(error)
    except _MISTAKES as error:
        return _complain(_message(error))
    except Exception as error:
        if not isinstance(error, _CommandError):
            raise
        return _complain(_usage(error))
    return result if isinstance(result, int) else 0


def _usage(error: Any) -> str:
    """Returns the message about a wrong command line, with the command that shows the help."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "segloss"
    message = error.format_message().replace("?.", "?") or "A command is missing"
    return f"{message}{'' if message.endswith(('.', '?')) else '.'} See {command} --help."


_IN_PYTHON = re.compile(r"build_loss\(cfg, allow=\('([^']*)',\)\)\.?")
"""A remedy for programs; a command has an option for it."""


def _message(error: Exception) -> str:
    """Returns the message of an exception, without KeyError's quotes or OSError's number.

    It names the options of a command in place of arguments.
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return _IN_PYTHON.sub(r"--allow \1", str(text)) or type(error).__name__


def _complain(message: str) -> int:
    """Prints the message in one line on stderr, and returns the exit code."""
    line = printable(" ".join(message.split()), _LONGEST_MESSAGE)
    print("segloss: error:", line, file=sys.stderr)
    return MISTAKE


def _complain_of_all(error: ListedError) -> int:
    """Prints the lines of the message on stderr, and returns the exit code."""
    first, *lines = str(error).split("\n")
    _complain(first)
    for line in lines:
        print(printable(line, _LONGEST_MESSAGE), file=sys.stderr)
    return MISTAKE
