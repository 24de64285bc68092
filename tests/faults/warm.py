"""`hydra-bench` in processes that have all of its code loaded, so that a command takes milliseconds to start.

A server loads it once and forks a process for each command. Before the command starts, a fault can be put into its
process (faults.py); a process that runs can be sent signals.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

LONGEST_S = 300.0
"""No command of these tests takes longer; one that does hangs."""

LARGE_PAGES = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Memory in few large pages, where the system has them: to fork the server then takes a third of the time."""

_SERVER = Path(__file__).with_name("warm_server.py")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, 128 + n for signal n, and what it said."""

    status: int
    out: str
    err: str

    def wrong(self, *allowed: int) -> str | None:
        """What no command may end with, in words: a traceback, another status, a refusal of other than one line."""
        if "Traceback (most recent call last)" in self.err + self.out:
            return f"a traceback:\n{self.err}{self.out}"
        if self.status not in allowed:
            return f"exit status {self.status}; {' or '.join(map(str, allowed))} is expected\n{self.err}"
        errors = [line for line in self.err.splitlines() if line.startswith("hydra-bench: error: ")]
        if self.status == 2 and len(errors) != 1:
            return f"{len(errors)} lines of error; one is expected\n{self.err}"
        return None


@dataclass
class Running:
    """A command under way."""

    pid: int
    connection: socket.socket
    out: Path
    err: Path

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; whether it still ran."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, seconds: float = LONGEST_S) -> Ended:
        """Raises AssertionError for a command that hangs, which is killed."""
        self.connection.settimeout(seconds)
        try:
            status = int.from_bytes(self.connection.recv(1))
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"it hangs: not ended within {seconds:g} s; {self.err.read_text()}") from None
        finally:
            self.connection.close()
        return Ended(status, self.out.read_text(errors="replace"), self.err.read_text(errors="replace"))


@dataclass
class Warm:
    """A server that forks commands."""

    address: Path
    said: Path
    _count: int = field(default=0)

    def start(self, arguments: Sequence[str | Path], cwd: Path | None = None, **environment: str) -> Running:
        """Start a command; variables are of its environment alone.

        FAULT is put in first (faults.py); CLONE is the folder whose workflow an archive holds.
        """
        self._count += 1
        out, err = (self.said / f"{self._count}.{name}" for name in ("out", "err"))
        asked = [list(map(str, arguments)), str(cwd or Path.cwd()), {**os.environ, **environment}]
        content = json.dumps(asked).encode()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.address))
        with open(out, "wb") as stdout, open(err, "wb") as stderr, open(os.devnull, "rb") as stdin:
            files = [file.fileno() for file in (stdin, stdout, stderr)]
            socket.send_fds(connection, [len(content).to_bytes(4)], files)
        connection.sendall(content)
        pid = int.from_bytes(connection.recv(4, socket.MSG_WAITALL))
        return Running(pid, connection, out, err)

    def run(self, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> Ended:
        """Run a command to its end."""
        return self.start(arguments, cwd, **environment).wait()


@contextmanager
def warm_server(folder: Path) -> Iterator[Warm]:
    """A server in a folder of its own, which ends with the block."""
    address = folder / "socket"
    said = folder / "said"
    said.mkdir()
    # Modules are found where pytest finds them.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"} | LARGE_PAGES
    server = subprocess.Popen([sys.executable, str(_SERVER), str(address)], env=environment)
    try:
        while not address.exists():
            assert server.poll() is None, "the server did not start"
            time.sleep(0.05)
        yield Warm(address, said)
    finally:
        server.terminate()
        server.wait()
