"""The server of warm.py: loads the package once, and forks a process for each command that it is asked for."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import pkgutil
import signal
import socket
import sys
import tempfile
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from warm_commands import LIBRARIES, accept, receive, take_over

import faults
import hydra_bench
from hydra_bench.sharing import archive

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def load() -> None:
    """The libraries, and every module of the package."""
    for name in LIBRARIES["hydra-bench"]:
        import_module(name)
    for module in pkgutil.walk_packages(hydra_bench.__path__, "hydra_bench."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def look_after(client: socket.socket) -> None:
    """Run one command in a child of this process, which stays to say its number and how it ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    content, files = receive(client)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the command begins
    child = os.fork()
    if child == 0:
        client.close()
        take_over(files)
        os._exit(command(content))
    client.sendall(child.to_bytes(4))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with suppress(OSError):
        client.sendall(bytes([code if code >= 0 else 128 - code]))
    os._exit(0)


def command(content: bytes) -> int:
    """Become a command, as its console script does; its exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    arguments, folder, environment = json.loads(content)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["hydra-bench", *arguments]
    from hydra_bench.cli.main import main

    tempfile.tempdir = None  # as the environment says
    archive.CLONE = Path(environment.get("CLONE", archive.CLONE))
    faults.put_in(environment.get("FAULT", ""))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    faults.take_out()
    with suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return status or 0


if __name__ == "__main__":
    load()
    look_after(accept(sys.argv[1]))
