"""Which tests run in one process, where pytest-xdist runs several."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of one file, which share what is costly to make; but each run of the net by itself, being long."""
    for item in items:
        alone = item.path.stem == "test_net"
        item.add_marker(pytest.mark.xdist_group(item.nodeid if alone else item.path.stem))
