"""A fresh copy of the clone, in which Snakemake is run as a user does."""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Clone:
    """A fresh copy of what a clone has: no results, no Snakemake records."""

    folder: Path
    commands: Path  # the folder that PATH begins with, where hydra-bench is found

    def snakemake(self, *arguments: str, offline: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `snakemake` at the root of the clone. Structures that are not embedded are missing, and not fetched."""
        path = os.pathsep.join([str(self.commands), str(Path(sys.executable).parent), os.environ["PATH"]])
        cache = str(self.folder / ".snakemake" / "cache")
        environment = os.environ | {"PATH": path, "HYDRA_BENCH_OFFLINE": str(int(offline)), "XDG_CACHE_HOME": cache}
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
