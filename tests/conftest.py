"""Which tests run in one process, where pytest-xdist runs several."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class ByFile(LoadScopeScheduling):
    """Those of one file, which share what is costly to make; but what takes long and shares nothing, each by itself."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return nodeid if file.endswith(("test_net.py", "faults/test_full_disks.py")) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByFile(config, log)
