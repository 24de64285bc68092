"""A fresh copy of the clone, in which Snakemake is run as a user does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from net_runs import OVERLAYS, ROOT

INSTALLED = Path(sys.executable).parent
"""The folder of the commands that are installed."""


@dataclass(frozen=True)
class Clone:
    """A fresh copy of what a clone has: no results, no Snakemake records."""

    folder: Path
    commands: Path
    """The folder that PATH begins with, where hydra-bench is found, and maybe snakemake."""
    then: Path = INSTALLED
    """The folder where snakemake is looked for after that."""

    @classmethod
    def make(cls, folder: Path, commands: Path, then: Path = INSTALLED) -> Clone:
        """Make one in a folder that is empty, or not there."""
        folder.mkdir(exist_ok=True)
        for name in ("Snakefile", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        shutil.copy(ROOT / "slurm", folder, follow_symlinks=False)
        for name in ("config", "envs", "profiles", "workflow", "resources"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "cache")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        return cls(folder, commands, then)

    @classmethod
    def with_module(cls, folder: Path, commands: Path, configuration: Path, then: Path = INSTALLED) -> Clone:
        """A folder that is no clone, whose Snakefile has the workflow as a module, as the documents say."""
        page = (ROOT / "docs" / "how-to" / "as-a-module.md").read_text()
        (snakefile,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
        folder.mkdir()
        (folder / "Snakefile").write_text(snakefile.replace("/path/to/hydra-bench", str(ROOT)))
        shutil.copy(configuration, folder / "mine.yaml")
        return cls(folder, commands, then)

    @property
    def path(self) -> str:
        """PATH of what is run in the clone."""
        return os.pathsep.join([str(self.commands), str(self.then), str(INSTALLED), os.environ["PATH"]])

    def snakemake(self, *arguments: str, offline: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `snakemake` at the root of the clone.

        Structures that are not embedded are missing, and not fetched; no server of CryoSPARC is configured.
        """
        cache = str(self.folder / ".snakemake" / "cache")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CRYOSPARC_")}
        environment |= {"PATH": self.path, "XDG_CACHE_HOME": cache, "XDG_CONFIG_HOME": cache}
        environment["HYDRA_BENCH_OFFLINE"] = str(int(offline))
        return subprocess.run(
            ["snakemake", *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def run(self, *arguments: str, offline: bool = True) -> str:
        """Run to the end; what Snakemake said."""
        done = self.snakemake(*arguments, offline=offline)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stderr + done.stdout

    def jobs(self, *arguments: str) -> Counter[str]:
        """How many jobs of each rule a dry run lists."""
        said = self.run("--dry-run", *arguments)
        listed = Counter(re.findall(r"^(?:local)?rule (\w+):$", said, flags=re.MULTILINE))
        assert listed or "Nothing to be done" in said, said
        return listed

    def configure(self, content: dict[str, Any]) -> None:
        """Make this the clone's configuration."""
        (self.folder / "config" / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def add_net(self, data: Path | None = None) -> None:
        """Put the overlays of the net, and what they read, where a user's own files would be."""
        shutil.copytree(OVERLAYS, self.folder / "net")
        if data is not None:
            shutil.copytree(data, self.folder / "data")
