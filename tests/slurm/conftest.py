"""A SLURM for the tests of this folder, and the configuration that they run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, why_not
from folder import end_what_runs_in


@pytest.fixture(scope="session")
def cluster(slurm_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A SLURM, which ends before what its jobs may have left in the folders."""
    reason = why_not()
    if reason:
        print(f"tests/slurm: skipped: {reason}", file=sys.__stderr__)
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="session")
def slurm_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the tests' folders are; what still works in one of them at the end is ended, and said."""
    folder = tmp_path_factory.mktemp("folders")
    yield folder
    for command in end_what_runs_in(folder):
        print(f"tests/slurm: ended at last: {command}", file=sys.__stderr__)
