"""The server of warm.py: loads the package once, and forks a process for each command that it is asked for."""

from __future__ import annotations

import atexit
import ctypes
import gc
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

from warm_commands import LIBRARIES

import faults
import hydra_bench

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def load() -> None:
    """The libraries, and every module of the package."""
    for name in LIBRARIES:
        import_module(name)
    for module in pkgutil.walk_packages(hydra_bench.__path__, "hydra_bench."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    gc.freeze()  # the collector of a child leaves them alone, or it would write to each page that it shares


def serve(address: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{address}.new")
        server.listen(64)
        Path(f"{address}.new").rename(address)
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                look_after(client)
            client.close()


def look_after(client: socket.socket) -> None:
    """Run one command in a child of this process, which stays to say its number and how it ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, files, _, _ = socket.recv_fds(client, 4, 3)
    content = client.recv(int.from_bytes(size), socket.MSG_WAITALL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the command begins
    child = os.fork()
    if child == 0:
        client.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
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
    serve(sys.argv[1])
