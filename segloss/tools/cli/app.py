"""The app of all commands. A mistake is reported in one line, with exit code 2."""

from __future__ import annotations

import os
import sys
import warnings
from importlib import metadata
from typing import Annotated, Any

import typer

from segloss.tools.cli.backends import backends
from segloss.tools.cli.check import check
from segloss.tools.cli.explain import explain
from segloss.tools.cli.list_losses import list_losses
from segloss.tools.cli.plot import plot
from segloss.tools.cli.suggest import suggest

MISTAKE = 2
"""The exit code of a mistake in the user's input."""

_MISTAKES = (
    ArithmeticError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,  # of PyTorch, where a loss of another library meets a batch
    TypeError,
    ValueError,
)
"""The errors that checks and libraries raise for wrong input."""

_CommandError = typer.BadParameter.__mro__[2]
"""Click's ClickException, which some versions of Typer bring along themselves."""

app = typer.Typer(
    name="segloss",
    help="Looks at segmentation losses, and at the configs that name them.",
    epilog="A config is a YAML file as segloss.build_loss reads it; a whole training config will "
    "do. It can only name losses: it runs no code.",
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


def _show_version(wanted: bool) -> None:
    if wanted:
        print(metadata.version("pytorch-segloss"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    warnings.simplefilter("ignore")  # warnings of libraries, which do not concern the user


def run(arguments: list[str] | None = None) -> int:
    """Runs a command line, and returns its exit code.

    Args:
        arguments: The arguments after the command's name; None: the process's arguments.
    """
    try:
        result = app(args=arguments, prog_name="segloss", standalone_mode=False)
    except typer.Abort:
        return _complain("interrupted")
    except BrokenPipeError:  # as of `segloss list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _MISTAKES as error:
        return _complain(_message(error))
    except Exception as error:
        if not isinstance(error, _CommandError):
            raise
        return _complain(_usage(error))
    return result if isinstance(result, int) else 0


def _usage(error: Any) -> str:
    """Returns the mistake in the command line itself, and the command that shows its help."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "segloss"
    message = error.format_message().replace("?.", "?")
    return f"{message}{'' if message.endswith(('.', '?')) else '.'} See {command} --help."


def _message(error: Exception) -> str:
    """Returns the message of an exception, without a KeyError's quotes or an OSError's number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return str(text) or type(error).__name__


def _complain(message: str) -> int:
    """Writes the message in one line to stderr."""
    print("segloss: error:", " ".join(message.split()), file=sys.stderr)
    return MISTAKE
