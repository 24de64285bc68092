"""Fresh copies of the clone for the tests of the workflow, and what the net reads and runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clone import Clone
from net_data import write_net_data
from warm_commands import warm_commands


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Callable[[Path], Clone]:
    return lambda commands: Clone.make(tmp_path_factory.mktemp("clone"), commands, warm)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a `hydra-bench` and a `snakemake` that start at once."""
    with warm_commands(tmp_path_factory.mktemp("warm")) as folder:
        yield folder


@pytest.fixture(scope="session")
def net_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_net_data(tmp_path_factory.mktemp("net") / "data")
