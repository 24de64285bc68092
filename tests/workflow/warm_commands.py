"""`hydra-bench` and `snakemake`, in processes that have their libraries loaded already.

A job of the net computes for a second and would load PyTorch, scikit-learn and Matplotlib for four; of a dry run two
thirds of the time are imports. Here a server for either program loads them once, and forks a process for each command,
which runs as the console script does; the package itself is imported there. Everything else is as a user has it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

RECORDER = Path(__file__).parents[1] / "material" / "recorder"
sys.path.append(str(RECORDER))
from imports_recorder import record  # noqa: E402

LIBRARIES = {
    "hydra-bench": (
        "astropy_healpix",
        "gemmi",
        "itables",
        "jinja2",
        "jsonschema",
        "matplotlib.pyplot",
        "mrcfile",
        "pandas",
        "plotly.graph_objects",
        "scipy.optimize",
        "scipy.sparse",
        "scipy.spatial.transform",
        "skimage.measure",
        "sklearn.cluster",
        "sklearn.decomposition",
        "sklearn.metrics",
        "starfile",
        "torch",
        "torch._dynamo",
    ),
    "snakemake": (
        "jsonschema",
        "snakemake.cli",
        "snakemake.profiles",
        "snakemake.report.html_reporter",
        "snakemake.storage",
    ),
}
"""What is loaded beforehand, by program."""
CLIENT = """#!{python} -ISs
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(asked).to_bytes(4)], [0, 1, 2])
    server.sendall(asked)
    code = server.recv(1)
os._exit(code[0] if code else 1)
"""


@contextmanager
def warm_commands(folder: Path) -> Iterator[Path]:
    """A folder for PATH whose commands ask servers, which end with the block."""
    servers = {}
    try:
        for program in LIBRARIES:
            address = folder / f"{program}.socket"
            servers[address] = subprocess.Popen([sys.executable, __file__, str(address), program])
            command = folder / program
            command.write_text(CLIENT.format(python=sys.executable, address=str(address)))
            command.chmod(0o755)
        for address, server in servers.items():
            while not address.exists():
                assert server.poll() is None
                time.sleep(0.05)
        yield folder
    finally:
        for server in servers.values():
            server.terminate()
            server.wait()


def accept(address: str) -> socket.socket:
    """Listen for ever, and fork a process for each who asks: returns in that one alone, with the connection."""
    gc.freeze()  # the collector of a child leaves them alone, or it would write to each page that it shares
    _forget_ends()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{address}.new")
        server.listen(64)
        Path(f"{address}.new").rename(address)
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return client
            client.close()


def _forget_ends() -> None:
    """At the end of a command libraries do not take themselves apart, which takes longer than most commands.

    What a command itself leaves to its end, temporary folders maybe, is done.
    """
    atexit._clear()
    for made in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        made.atexit = False
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]


def receive(client: socket.socket) -> tuple[bytes, list[int]]:
    """What is asked for, and the descriptors of its standard input, output and error."""
    size, files, _, _ = socket.recv_fds(client, 4, 3)
    return client.recv(int.from_bytes(size), socket.MSG_WAITALL), list(files)


def take_over(files: list[int]) -> None:
    """Make these this process's standard input, output and error."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)


def serve(address: str, program: str) -> None:
    """Fork a process for each command that is asked for; returns in that one alone, its command in sys.argv.

    Its parent, a child of this process, stays to say how it ended.
    """
    for name in LIBRARIES[program]:
        import_module(name)
    client = accept(address)
    content, files = receive(client)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        with suppress(OSError):
            client.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
        os._exit(0)
    client.close()
    take_over(files)
    sys.argv, folder, environment = json.loads(content)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # As a Python that starts does.
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    record()


def console_script(program: str) -> int:
    """What the installed program of this name calls; of the package, as pyproject.toml says. The exit status."""
    if program == "hydra-bench":
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
        called = project["scripts"][program]
    else:
        (script,) = entry_points(group="console_scripts", name=program)
        called = script.value
    module, _, function = called.partition(":")
    try:
        code = getattr(import_module(module), function)()
    except SystemExit as ended:
        code = ended.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
    return int(code or 0) if not isinstance(code, str) else 1


if __name__ == "__main__":
    serve(*sys.argv[1:])
    code = console_script(Path(sys.argv[0]).name)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
