"""The whole demo on a real SLURM against the same on this machine: a quarter of an hour, so not part of `make test`.

`make test-slurm-demo` runs it.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cluster import Cluster
from folder import ROOT, Folder

LONGEST_S = 3600
COSTS = ["wall_s", "cpu_s", "peak_rss_mb"]
pytestmark = pytest.mark.demo


def demo(path: Path, *arguments: str) -> tuple[Folder, float]:
    """A clone in which Snakemake made the demo with these arguments, and the minutes that took."""
    folder = Folder.make(path)
    shutil.copytree(ROOT / "config", folder.path / "config", dirs_exist_ok=True)

    def change(profile: dict[str, Any]) -> None:
        # GPUs are stand-ins here, on which nothing computes; Hydra's jobs go to their partition all the same.
        profile["__variables__"]["device"] = "cpu"

    folder.change_profile(change)
    began = time.monotonic()
    with folder.running(*arguments) as process:
        assert process.wait(LONGEST_S) == 0, folder.said()
    return folder, (time.monotonic() - began) / 60


def test_the_demo_has_the_same_tables_on_slurm_as_here(
    cluster: Cluster, slurm_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One job at a time: the node has fewer cores than its SLURM believes, and trainings on shared ones crawl.
    there, minutes_there = demo(slurm_folders / "demo_slurm", "--profile", "slurm", "--jobs", "1")
    here, minutes_here = demo(slurm_folders / "demo_local")
    with capsys.disabled():
        print(f"\nthe demo: {minutes_there:.1f} minutes on SLURM, one job at a time; {minutes_here:.1f} minutes here")
        print((there.path / "results" / "tables" / "table1.md").read_text())
    tables = [pd.read_csv(one.path / "results" / "tables" / "table1.csv").drop(columns=COSTS) for one in (there, here)]
    pd.testing.assert_frame_equal(*tables)
    second = [(one.path / "results" / "tables" / "table2.csv").read_text() for one in (there, here)]
    assert second[0] == second[1]
    completed = (cluster.root / "jobcomp.log").read_text()
    in_gpu_partition = {line.split()[0].partition("=")[2] for line in completed.splitlines() if "Partition=gpu" in line}
    for method in ("hydra_k1", "hydra_k3", "hydra_k5"):
        made, local = (
            json.loads((one.path / "results" / "reconstructions" / "demo" / method / "0" / "run.json").read_text())
            for one in (there, here)
        )
        assert made["cost"]["slurm_job"] in in_gpu_partition
        assert not local["cost"]["slurm_job"]
        stars = [
            (one.path / "results" / "reconstructions" / "demo" / method / "0" / "particles.star").read_bytes()
            for one in (there, here)
        ]
        assert stars[0] == stars[1], f"{method}: another reconstruction"
