"""A disk that is full at each rule, and then has room again: the same call goes on, to the bytes of an undisturbed run.

Each folder of results is a small disk of its own, a real one, which needs root but no SLURM. It is full until the rule
that writes to it has failed once. The folder of the figures is replaced as a whole by Snakemake, and so can be no disk:
tests/faults has its full disks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from folder import Folder, configuration
from warm_commands import warm_commands

PARAMETERS = {"classes": 2, "latent_dim": 1, "l_schedule": [4], "decode_epochs": 4}
RULES = {
    "datasets": ["simulate"],
    "galleries": ["gallery"],
    "reconstructions": ["hydra", "backprojection"],
    "metrics": ["evaluate"],
    "tables": ["tables"],
    "report": ["page"],
}
"""Folders of results, and the rules that write to them."""
STAGES = [["datasets"], ["galleries", "reconstructions"], ["metrics"], ["tables"], ["report"]]
"""Which are full at a time."""
PAGE_BYTES = 4096
COST = ("run.json", "history.csv", "cost.csv", ".snakemake_timestamp", "configuration.json", ".keep")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


class SmallDisk:
    """A disk for one folder of results: full, until it is given room."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={PAGE_BYTES}", "tmpfs", folder], check=True)
        (folder / ".keep").touch()  # Snakemake removes empty folders, and cannot remove this one

    def give_room(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", self.folder], check=True)

    def fill(self) -> None:
        """Take its content, which a report of what was finished left, and all room for a new one."""
        for path in self.folder.iterdir():
            if path.name != ".keep":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        subprocess.run(["mount", "-o", f"remount,size={PAGE_BYTES}", self.folder], check=True)

    def leave(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=False)


@pytest.fixture(scope="module")
def warm(slurm_folders: Path) -> Iterator[Path]:
    """The folder of a `hydra-bench` that starts at once."""
    (slurm_folders / "warm").mkdir()
    with warm_commands(slurm_folders / "warm") as folder:
        yield folder


@pytest.fixture(scope="module")
def undisturbed(slurm_folders: Path, warm: Path) -> Folder:
    folder = Folder.make(slurm_folders / "with_room", warm)
    folder.configure(configuration(mixture=PARAMETERS))
    with folder.running("--cores", "1") as process:
        assert process.wait(1200) == 0, folder.said()
    return folder


@pytest.fixture(scope="module")
def disks(slurm_folders: Path, warm: Path) -> Iterator[tuple[Folder, dict[str, SmallDisk]]]:
    folder = Folder.make(slurm_folders / "full", warm)
    folder.configure(configuration(mixture=PARAMETERS))
    made = {name: SmallDisk(folder.path / "results" / name) for name in RULES}
    try:
        yield folder, made
    finally:
        for disk in made.values():
            disk.leave()


def of_rules(folder: Folder) -> dict[str, bytes]:
    """What rules wrote, but for what says what a run cost."""
    return {
        str(path.relative_to(folder.path)): path.read_bytes()
        for name in ("datasets", "galleries", "reconstructions", "figures")
        for path in sorted((folder.path / "results" / name).rglob("*"))
        if path.is_file() and path.name not in COST
    }


def test_a_full_disk_at_each_rule(undisturbed: Folder, disks: tuple[Folder, dict[str, SmallDisk]]) -> None:
    folder, small = disks
    needed = undisturbed.epochs("mixture")
    for disk in small.values():
        disk.give_room()
    for number, stage in enumerate(STAGES):
        for name in stage:
            small[name].fill()
        log = f"{number}.log"
        with folder.running("--cores", "1", log=log) as process:
            assert process.wait(1800) != 0, folder.said(log)
        said = folder.said(log)
        for rule in (rule for name in stage for rule in RULES[name]):
            assert f"Error in rule {rule}:" in said, said
        assert "No space left on device" in said, said
        assert "Traceback" not in said, said
        if "reconstructions" in stage:
            # Trained to its end, and nothing of it lost: no result yet, and no failure.
            assert {row["state"] for row in folder.table().values()} == {"interrupted"}
            assert (folder.state("mixture") / "hydra.pt").is_file()
            assert folder.epochs("mixture") == needed
        for name in stage:
            small[name].give_room()
    with folder.running("--cores", "1") as process:
        assert process.wait(1800) == 0, folder.said()
    assert folder.epochs("mixture") == needed, "an epoch was trained twice"
    assert folder.run("mixture")["cost"]["attempts"] == 2
    assert folder.table() == undisturbed.table()
    for method in ("mixture", "oracle"):
        assert folder.metrics(method) == undisturbed.metrics(method)
    expected, found = of_rules(undisturbed), of_rules(folder)
    assert [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)] == []
    assert (folder.path / "results" / "report" / "index.html").is_file()
