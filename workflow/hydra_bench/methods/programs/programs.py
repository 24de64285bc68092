"""Programs of others, run as programs: found, timed, ended when their time is up, and asked why they failed."""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from subprocess import PIPE, STDOUT

from hydra_bench.core.errors import InputError, MachineError, RunFailedError
from hydra_bench.core.machine import MemoryLimit, TooMuchMemoryError, machine_error

_KEPT_LINES = 20
_QUERY_S = 120
_PR_SET_PDEATHSIG = 1
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


@dataclass
class Programs:
    """Where a method's programs are, and an account of what they were asked.

    environment : folder of an environment whose bin/ is searched before PATH, None for PATH alone.
    install : the command that installs them, for who lacks one.
    threads : CPU threads, told to programs by the usual environment variables.
    time_limit_s : for all runs together, None for no limit.
    """

    environment: Path | None
    install: str
    threads: int = 1
    time_limit_s: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    log_tail: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    gpu_memory_mb: float = 0.0
    _spent_s: float = 0.0

    def find(self, executable: str) -> str:
        """The path of an executable. Raises RunFailedError if it is not installed."""
        found = find_executable(executable, self.environment)
        if found is None:
            raise RunFailedError(f"{executable} is not installed; {self.install}")
        return found

    def output(self, *command: str | Path) -> str:
        """What a short command says on stdout and stderr together, whatever its exit status.

        Raises RunFailedError if it is not installed, cannot be started or takes minutes.
        """
        words = [self.find(str(command[0])), *map(str, command[1:])]
        variables = self._variables({})
        try:
            return subprocess.run(
                words, env=variables, stdout=PIPE, stderr=STDOUT, text=True, errors="replace", timeout=_QUERY_S
            ).stdout
        except subprocess.TimeoutExpired:
            raise RunFailedError(f"{command[0]}: says nothing within {_QUERY_S} s when asked {words[-1]}") from None
        except OSError as error:
            raise _unstartable(words[0], error) from None

    def run(self, *command: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Run a program to its end; what it says goes to stdout.

        Raises
        ------
        RunFailedError
            If it is not installed, its exit status is not 0, it crashed or the time limit ended it.
        MachineError
            If a signal ended it: from outside, or since it took more memory than its job may.
        """
        words = [self.find(str(command[0])), *map(str, command[1:])]
        name = " ".join(map(str, command[:2])) if len(command) > 1 and _is_word(str(command[1])) else str(command[0])
        # Without the folders of this machine, which say nothing to a reader.
        self.commands.append(shlex.join([str(command[0]), *words[1:]]))
        print(f"# {shlex.join(words)}", flush=True)
        limit = MemoryLimit.of_job()
        status, timed_out = self._run(words, cwd, self._variables(environment or {}))
        if timed_out and self.time_limit_s is not None:
            raise RunFailedError(f"{name}: stopped at the time limit of {self.time_limit_s / 60:g} minutes")
        if status < 0:
            ended_by = signal.Signals(-status)
            if ended_by in _CRASHES:
                raise RunFailedError(f"{name}: crashed ({ended_by.name})")
            if ended_by == signal.SIGKILL and limit.exceeded():
                raise TooMuchMemoryError(f"{name}: killed ({ended_by.name}): it took more memory than its job may")
            raise MachineError(f"{name}: ended by {ended_by.name} from outside; no limit of its job explains it")
        if status:
            last = next((line for line in reversed(self.log_tail) if line.strip()), "it said nothing")
            raise RunFailedError(f"{name}: exit status {status}; last line: {last.strip()}")

    def _variables(self, more: Mapping[str, str]) -> dict[str, str]:
        variables = dict(os.environ, PYTHONUNBUFFERED="1", MPLBACKEND="Agg")
        variables.pop("PYTHONPATH", None)  # its packages are not ours
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            variables[name] = str(self.threads)
        if self.environment is not None:
            variables["PATH"] = f"{self.environment.resolve() / 'bin'}{os.pathsep}{variables.get('PATH', '')}"
        return variables | dict(more)

    def _run(self, words: list[str], cwd: Path | None, variables: dict[str, str]) -> tuple[int, bool]:
        """Exit status, negative for a signal, and whether the time limit ended it."""
        self.log_tail.clear()
        began, timed_out = time.monotonic(), threading.Event()
        try:
            # A session of its own, so that all that it starts can be ended with it.
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise _unstartable(words[0], error) from None

        def out_of_time() -> None:
            timed_out.set()
            _end(process)

        limit_s = threading.TIMEOUT_MAX if self.time_limit_s is None else max(self.time_limit_s - self._spent_s, 0.1)
        timer = threading.Timer(limit_s, out_of_time)
        timer.daemon = True
        timer.start()
        done = threading.Event()
        watcher = threading.Thread(target=self._watch_gpu, args=(process.pid, done), daemon=True)
        watcher.start()
        try:
            assert process.stdout is not None
            # Lines end in a newline alone: a progress bar redraws its own by carriage returns.
            with _ended_by_sigterm(), TextIOWrapper(process.stdout, errors="replace", newline="\n") as said:
                for line in said:
                    sys.stdout.write(line)
                    sys.stdout.flush()
                    self.log_tail.append(line.rstrip("\r\n").rsplit("\r", 1)[-1])
                status = process.wait()
        finally:
            done.set()
            timer.cancel()
            _end(process)
            self._spent_s += time.monotonic() - began
        return status, timed_out.is_set()

    def _watch_gpu(self, session: int, done: threading.Event) -> None:
        """The largest GPU memory, in MB, of the processes of a session, looked at every few seconds."""
        smi = shutil.which("nvidia-smi")
        query = ["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
        while smi is not None:
            said = subprocess.run([smi, *query], capture_output=True, text=True, errors="replace").stdout
            used = [line.split(",") for line in said.splitlines() if line.count(",") == 1]
            own = [float(mb) for pid, mb in used if mb.strip().isdigit() and _session(int(pid)) == session]
            self.gpu_memory_mb = max(self.gpu_memory_mb, sum(own))
            if done.wait(3.0):
                return


def _unstartable(path: str, error: OSError) -> RunFailedError:
    return RunFailedError(f"{Path(path).name}: cannot be started ({error.strerror})")


def find_executable(executable: str, environment: Path | None) -> str | None:
    """Path of an executable in an environment's bin/ or else on PATH, None if there is none."""
    if environment is not None:
        # As it is called, not resolved: a virtual environment's python is a link, and its place is what counts.
        inside = environment.absolute() / "bin" / executable
        if os.access(inside, os.X_OK):
            return str(inside)
    return shutil.which(executable)


@contextmanager
def program_output(path: Path | str) -> Iterator[None]:
    """While reading what a program wrote: whatever is missing or broken there is that run's failure.

    Raises RunFailedError that names the file.
    """
    try:
        yield
    except InputError as error:
        if machine := machine_error(error):
            raise machine from None
        raise RunFailedError(f"unusable output: {error}") from None
    except (OSError, ValueError, KeyError, EOFError) as error:
        if machine_error(error):
            raise
        text = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise RunFailedError(f"unusable output: {path}: {text}") from None


def _is_word(text: str) -> bool:
    return text.replace("_", "").replace("-", "").isalnum() and not text.startswith("-") and not text.isdigit()


def _die_with_parent() -> None:
    """In the child: end when this process does, however it ends. Linux alone has that; elsewhere nothing is done."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM becomes SystemExit with the status that shells give it, so that what runs below is ended first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
