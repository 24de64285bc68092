"""A folder in which Snakemake is run as a user does, and what can be seen of its runs from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml
from cluster import end_with_parent

from hydra_bench.config import configuration as config
from hydra_bench.config.identity import state_folder
from hydra_bench.jobs import attempts

ROOT = Path(__file__).parents[2]
DATASET = "tiny"
TINY = yaml.safe_load((Path(__file__).parent / "tiny.yaml").read_text())
PARAMETERS = {"classes": 2, "latent_dim": 1, "l_schedule": [4, 5], "decode_epochs": 24}
EPOCH = re.compile(r"^(search|grow|refine|decode) epoch \d+,", re.MULTILINE)


def configuration(**methods: dict[str, Any]) -> dict[str, Any]:
    """The tiny dataset with these Hydra methods, by their parameters, and the oracle."""
    definitions = {name: {"program": "hydra", "label": name, "parameters": p} for name, p in methods.items()}
    definitions["oracle"] = {"program": "backprojection", "label": "oracle", "parameters": {"labels": "true"}}
    return {
        **TINY,
        "threads": 1,
        "structures_folder": "resources/structures",
        "methods": list(definitions),
        "method_definitions": definitions,
    }


@cache
def _state(configuration: Path, method: str) -> Path:
    return state_folder(config.validate(config.load([configuration])), DATASET, method, 0)


@dataclass(frozen=True)
class Folder:
    """What a clone has, at `path`; the configuration is the test's own. hydra-bench is the one in `commands`."""

    path: Path
    commands: Path = Path(sys.executable).parent

    @classmethod
    def make(cls, path: Path, commands: Path = Path(sys.executable).parent) -> Folder:
        path.mkdir()
        for name in ("Snakefile", "pyproject.toml"):
            shutil.copy(ROOT / name, path)
        for name in ("envs", "profiles", "workflow", "resources"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "cache")
            shutil.copytree(ROOT / name, path / name, ignore=ignored)
        shutil.copy(ROOT / "slurm", path, follow_symlinks=False)
        (path / "config").mkdir()
        return cls(path, commands)

    def configure(self, content: dict[str, Any]) -> None:
        (self.path / "config" / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def change_profile(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change keys of the SLURM profile, as for another cluster."""
        path = self.path / "profiles" / "slurm" / "config.yaml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    @contextmanager
    def running(self, *arguments: str, log: str = "snakemake.log") -> Iterator[subprocess.Popen[str]]:
        """Snakemake, with these arguments; if it still runs at the end of the block, it is ended."""
        path = os.pathsep.join([str(self.commands), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"PATH": path, "XDG_CACHE_HOME": str(self.path / ".snakemake" / "cache")}
        with open(self.path / log, "a") as file:
            process = subprocess.Popen(
                ["snakemake", *arguments],
                cwd=self.path,
                env=environment,
                stdout=file,
                stderr=file,
                text=True,
                # By SIGTERM it would wait for jobs of a SLURM that has ended, too.
                preexec_fn=partial(end_with_parent, signal.SIGKILL),
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()

    def said(self, log: str = "snakemake.log") -> str:
        return (self.path / log).read_text()

    def state(self, method: str) -> Path:
        return self.path / _state(self.path / "config" / "config.yaml", method)

    def attempts(self, method: str) -> list[attempts.Attempt]:
        return attempts.read(self.state(method))

    def log(self, method: str) -> str:
        """What a method's attempts said, "" before the first one."""
        path = self.path / "results" / "logs" / "reconstruct" / DATASET / method / "0.log"
        return path.read_text() if path.is_file() else ""

    def epochs(self, method: str) -> int:
        """Epochs that a method's attempts have run, all together."""
        return len(EPOCH.findall(self.log(method)))

    def epochs_of_last(self, method: str) -> int:
        """Epochs of the attempt that runs, or ran last."""
        return len(EPOCH.findall(self.log(method).rpartition("# attempt ")[2]))

    def epochs_needed(self, method: str) -> int:
        """Epochs in the history of a finished run."""
        history = self.path / "results" / "reconstructions" / DATASET / method / "0" / "history.csv"
        return len(history.read_text().splitlines()) - 1

    def run(self, method: str) -> dict[str, Any]:
        return json.loads((self.path / "results" / "reconstructions" / DATASET / method / "0" / "run.json").read_text())

    def metrics(self, method: str) -> dict[str, Any]:
        """What was measured of a method, without its names and what it cost."""
        content = json.loads((self.path / "results" / "metrics" / DATASET / method / "0.json").read_text())
        return {key: value for key, value in content.items() if key not in ("cost", "method", "label")}

    def table(self) -> dict[str, dict[str, str]]:
        """Rows of table 1 by label, without what methods cost."""
        header, *lines = (self.path / "results" / "tables" / "table1.csv").read_text().splitlines()
        rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
        costs = ("wall_s", "cpu_s", "peak_rss_mb")
        return {row["method"]: {k: v for k, v in row.items() if k not in costs} for row in rows}

    def signal_training(self, method: str, number: signal.Signals) -> bool:
        """Send a signal to the training process of this folder; whether there is one."""
        out = f"results/reconstructions/{DATASET}/{method}/0"
        found = False
        for process, arguments in running_in(self.path):
            if len(arguments) > 2 and arguments[2] == "hydra" and out in arguments:
                os.kill(process, number)
                found = True
        return found


def running_in(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and command line of each process that works in a folder or in one of its folders."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            arguments = (process / "cmdline").read_bytes().decode().split("\0")
            here = (process / "cwd").resolve().is_relative_to(folder.resolve())
        except OSError:
            continue
        if here:
            yield int(process.name), arguments


def end_what_runs_in(folder: Path) -> list[str]:
    """Kill the processes that work in a folder; their command lines.

    Snakemake answers SIGTERM by waiting for its jobs. Where SLURM ends a job's shell first, its Snakemake has no parent
    any more, by which SLURM would find it, and waits on.
    """
    ended = []
    for process, arguments in running_in(folder):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            ended.append(" ".join(arguments).strip())
    return ended
