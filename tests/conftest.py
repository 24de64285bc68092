"""Which tests run in one process, where pytest-xdist runs several, and on how many threads."""

import os

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from hydra_bench.core.threads import wait_asleep

# Before any test imports torch. As many processes as processors run tests: a second thread of each would wait for the
# first more than it works, and awake. What asks for threads by an option has them. Programs that are started inherit
# it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
wait_asleep()


class ByFile(LoadScopeScheduling):
    """Those of one file, which share what is costly to make; but what takes long and shares nothing, each by itself."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return nodeid if file.endswith(("test_net.py", "faults/test_full_disks.py")) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByFile(config, log)
