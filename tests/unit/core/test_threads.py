"""Threads that wait for each other sleep: said before torch is imported, and not where the user has said otherwise."""

import os
import subprocess
import sys

import pytest

SAY = """
import os, sys
from hydra_bench.cli.main import main
sys.argv = ["hydra-bench", "--version"]
try:
    main()
except SystemExit:
    print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")],
)
def test_a_process_of_the_command_waits_asleep_before_torch_is_there(given: dict[str, str], found: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | given
    done = subprocess.run([sys.executable, "-c", SAY], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == [found, "False"]
