"""On a device of its own, emulated, in every kind of run: nothing mixes devices, and what is waited for is counted."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra_cases import Case, environment

from hydra_bench.methods.hydra.settings import PRESETS

PROCESS, MATERIAL = Path(__file__).parents[1] / "device_process.py", Path(__file__).parents[2] / "material"
SMALL_PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "fine": {"refine_schedule": (5, 6), "grow_epochs": 1, "decode_epochs": 2, "refine_chunk": 30, "fine_features": 16,
             "fine_width": 16, "fine_minibatch": 10},
    "many": {"classes": 6, "full_search_epochs": 1, "prior_strength": 0.0, "sharpness": None, "map_schedule": (4,),
             "spare_fields": 0},
    "field": {"particle_radius": 0.75, "background": "plane", "window": 0.85, "noise": "shells", "contrast_sd": 0.1,
              "sharpness": None, "map_schedule": (4, 5, 5), "junk": True, "shift_points": 5, "shift_near": 1,
              "full_search_share": 0.5},
    "paper": {"steps_per_search": 1, "spare_fields": 0, "latent_steps": "gradient", "variational": False,
              "latent_epoch": 0, "frequencies_per_step": 0, "search_conformations": 1},
}  # fmt: skip
"""What each preset does otherwise than the defaults, made small."""
KINDS: dict[str, dict[str, Any]] = {
    **SMALL_PRESETS,
    "encoder": {"conformations": "encoder", "gating": "encoder"},
    "different dimensions": {"classes": 3, "latent_dim": (2, 2, 0), "sigma": 2.0},
    "held out": {"held_out_folds": 3, "l_schedule": (4, 5, 5), "latent_epoch": 2},
    "one class": {"classes": 1, "latent_dim": 2},
    "given poses, refined": {"poses": "refine"},
    "given poses, fixed": {"poses": "fixed"},
}
LONG: dict[str, Any] = {"l_schedule": (4, 5), "latent_epoch": 1, "full_search_epochs": 1, "steps_per_search": (2, 1)}


@pytest.fixture(scope="module")
def found(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("device")
    for number in range(len(KINDS)):
        (folder / str(number)).mkdir()
    kinds = json.dumps({kind: {**LONG, **changes} for kind, changes in KINDS.items()})
    command = [sys.executable, str(PROCESS), str(case.folder.parent), str(folder), kinds]
    variables = environment()
    variables["PYTHONPATH"] += f"{os.pathsep}{MATERIAL}"
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    results: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return results


def test_the_presets_are_those_of_the_settings() -> None:
    assert set(SMALL_PRESETS) == set(PRESETS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_on_a_device(found: dict[str, Any], kind: str) -> None:
    """To the maps, stopped and resumed on the way. At most five waits a chunk of the search, and one of learning."""
    of_kind = found[kind]
    assert "failed" not in of_kind, of_kind["failed"]
    assert of_kind["written"]
    assert of_kind["calls"]["step"] > 0
    worst = of_kind["worst"]
    assert worst["step"] == {}
    assert sum(worst["search"].values()) <= 5, worst["search"]
    assert sum(worst["maps"].values()) <= 5, worst["maps"]
    assert (of_kind["calls"]["maps"] > 0) == (kind in ("many", "field"))
    assert sum(worst["learn"].values()) <= 1, worst["learn"]


def test_runs_repeat_in_deterministic_mode(found: dict[str, Any]) -> None:
    """It is on in that process, and what CUDA has no repeatable kernel for is refused there: every run above ended."""
    assert found["again"]["refused"] == {
        "weighted bincount": True,
        "bincount": False,
        "sums along floats": True,
        "sums along integers": False,
        "median and where": True,
        "sums into rows": False,
    }
    assert found["again"]["written"] == found["one class"]["written"]
