"""A SLURM for the tests of this folder, and the configuration that they run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import Cluster, why_not

TINY = yaml.safe_load((Path(__file__).parents[1] / "workflow" / "tiny.yaml").read_text())
PARAMETERS = {"classes": 2, "latent_dim": 1, "l_schedule": [4, 5], "decode_epochs": 24}


def configuration(**methods: dict[str, Any]) -> dict[str, Any]:
    """The tiny dataset with these Hydra methods, by their parameters, and the oracle."""
    definitions = {name: {"program": "hydra", "label": name, "parameters": p} for name, p in methods.items()}
    definitions["oracle"] = {"program": "backprojection", "label": "oracle", "parameters": {"labels": "true"}}
    return {
        **TINY,
        "threads": 1,
        "structures_folder": "resources/structures",
        "methods": list(definitions),
        "method_definitions": definitions,
    }


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = why_not()
    if reason:
        print(f"tests/slurm: skipped: {reason}", file=sys.__stderr__)
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="session")
def slurm_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folders")
