"""The command line: the sub-commands of the workflow and of its users, each in the file of its name beside this one."""

import locale
import os
import sys
from argparse import ArgumentParser, Namespace
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from hydra_bench import __version__
from hydra_bench.core.errors import InputError, MachineError
from hydra_bench.core.machine import machine_error, tell
from hydra_bench.core.threads import wait_asleep

COMMANDS = (
    "check-config",
    "start",
    "dataset",
    "simulate",
    "gallery",
    "bound",
    "reconstruct",
    "evaluate",
    "hydra",
    "hydra-volume",
    "analyse",
    "select",
    "bench",
    "launch",
    "doctor",
    "summarise",
    "tables",
    "figures",
    "page",
    "figure",
    "compare",
    "archive",
    "board",
)
"""In the order of the help."""

UNHEARD = 141
"""The exit status where the reader of what is printed has gone: 128 + 13, as shells count."""
INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 + 2, as shells count."""

_LONGEST_NAME = 1000
"""Characters of a file's name that an error shows, its last."""

_FILES = ("path", "star_path", "file", "folder")
"""What functions call the file or folder that they work on."""


class Command(Protocol):
    """What a command's file says. It imports what is heavy in `run`, so that help and errors are quick."""

    HELP: str

    def add_options(self, parser: ArgumentParser) -> None: ...

    def run(self, args: Namespace) -> int | None:
        """The exit status, None for 0. May raise InputError."""


def build_parser() -> ArgumentParser:
    parser = ArgumentParser(prog="hydra-bench", description="Benchmarks of heterogeneous cryo-EM.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = cast("Command", import_module(f"hydra_bench.cli.{name.replace('-', '_')}"))
        options = commands.add_parser(name, help=command.HELP, description=command.HELP)
        command.add_options(options)
        options.set_defaults(run=command.run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; 2 for an input that is wrong or a machine that fails, with one line that says so."""
    if arguments is None:  # a process of its own
        _speak_utf8()
        wait_asleep()
    command = ""
    try:
        args = build_parser().parse_args(arguments)
        command = args.command
        status = args.run(args) or 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("hydra-bench: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # who reads has read enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return UNHEARD
    except (InputError, MachineError) as error:
        return _refused(str(error), error)
    except (OSError, MemoryError, UnicodeError, EOFError) as error:
        return _refused(_in_words(error, command), error)


def _refused(line: str, error: Exception) -> int:
    machine = machine_error(error)
    if machine is not None:
        tell(machine)
    try:
        print(f"hydra-bench: error: {line}", file=sys.stderr)
        sys.stdout.flush()
    except OSError:
        # Nobody listens, or the disk of the log is full, too: nothing more is tried when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 2


def _in_words(error: Exception, command: str) -> str:
    """What the system said, naming the file and what was done with it as far as that is known."""
    said = getattr(error, "strerror", None) or " ".join(str(error).split()) or "it ended too early"
    named = getattr(error, "filename", None)
    file = os.fsdecode(named) if isinstance(named, str | bytes) else _worked_on(error)
    said = {
        MemoryError: f"not enough memory ({said})",
        UnicodeDecodeError: f"cannot be read as UTF-8 ({said})",
        UnicodeEncodeError: f"cannot be written as {getattr(error, 'encoding', 'text')} ({said})",
        EOFError: f"ends too early ({said})",
    }.get(type(error), f"cannot be read or written ({said})")
    return f"{command}: {file[-_LONGEST_NAME:]}: {said}" if file else f"{command}: {said}"


def _worked_on(error: BaseException) -> str:
    """The file that the innermost of this package's functions worked on, "" if it tells of none."""
    file, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("hydra_bench."):
            found = next((trace.tb_frame.f_locals[n] for n in _FILES if n in trace.tb_frame.f_locals), None)
            file = str(found) if isinstance(found, Path | str) else file
        trace = trace.tb_next
    return file


def _speak_utf8() -> None:
    """Start anew in Python's UTF-8 mode where the locale is another: files are UTF-8, and libraries read them, too."""
    if not sys.flags.utf8_mode and locale.getpreferredencoding(False).lower() not in ("utf-8", "utf8"):
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
