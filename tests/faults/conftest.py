"""Everything that can go wrong, tried on purpose: by group, what was tried, and whether it ended as it should.

A test hands each case that it tried to its `tally`; how many there must be of a group, `make test-faults` holds to
LEAST. Cases are drawn by fixed seeds, so that a run can be repeated, and what is expected of them stands beforehand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from definitions import dataset
from hydra_cases import Case
from tally import LEAST, RIGHT, WRONG, Tally
from warm import Warm, warm_server

from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.datasets.simulated.simulate import simulate

HERE = Path(__file__).parent
STRUCTURES = HERE.parents[1] / "resources" / "structures"
_found: dict[str, Counter[str]] = {RIGHT: Counter(), WRONG: Counter()}


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return Tally(request.node.user_properties)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """`hydra-bench` in processes that have everything loaded already, and in which faults can be put."""
    with warm_server(tmp_path_factory.mktemp("warm")) as server:
        yield server


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A stack of 60 images, and its truth."""
    folder = tmp_path_factory.mktemp("case")
    simulate(dataset(snr=2.0), STRUCTURES, folder / "stack", folder / "truth")
    return Case(read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth"), 1.0)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for name, groups in report.user_properties:
            if name in _found:
                _found[name].update(groups)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    groups = sorted(_found[RIGHT].keys() | _found[WRONG].keys())
    width = max(map(len, groups), default=0)
    for group in groups:
        right, wrong = _found[RIGHT][group], _found[WRONG][group]
        terminalreporter.write_line(f"{group:{width}}  {right + wrong:5} tried, {right:5} right, {wrong:3} wrong")
    for group in _missing(terminalreporter.config):
        terminalreporter.write_line(f"{group}: fewer than {LEAST[group]} were tried", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput") and session.exitstatus == 0 and _missing(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _missing(config: pytest.Config) -> list[str]:
    """Groups of which too few were tried, where all tests of this folder ran."""
    chosen = config.option.keyword or config.option.markexpr or config.option.collectonly
    if chosen or [Path(argument).resolve() for argument in config.args] != [HERE]:
        return []
    return [group for group, least in LEAST.items() if _found[RIGHT][group] + _found[WRONG][group] < least]
