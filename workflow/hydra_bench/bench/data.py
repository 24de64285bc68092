"""The stacks that cases work on: simulated once into a folder named after their definition, then reused."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hydra_bench import __version__
from hydra_bench.config import configuration
from hydra_bench.contracts.places import EVALUATION_NAME, PARTICLES_NAME
from hydra_bench.contracts.stack import Stack, read_evaluation_list, read_stack
from hydra_bench.contracts.truth import Truth, read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import partial_folder
from hydra_bench.core.json_values import JsonObject
from hydra_bench.datasets.simulated.simulate import simulate


@dataclass(frozen=True)
class Dataset:
    """A simulated dataset on disk: `folder` holds stack/ and truth/."""

    folder: Path
    stack: Stack
    truth: Truth
    evaluation: np.ndarray

    @property
    def star_path(self) -> Path:
        return self.folder / "stack" / PARTICLES_NAME

    @property
    def truth_folder(self) -> Path:
        return self.folder / "truth"


def dataset_folder(work: Path, definition: JsonObject) -> Path:
    """Where a dataset lies: its name, and a checksum of all that its bytes depend on."""
    text = json.dumps([__version__, {k: v for k, v in definition.items() if k != "name"}], sort_keys=True)
    return work / f"{definition['name']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Bench:
    """What all cases are given: folders, device, threads, and how often to repeat what no seed varies."""

    work: Path
    structures: Path
    device: torch.device
    threads: int
    repeats: int

    def dataset(self, definition: JsonObject) -> Dataset:
        """A case's data, simulated on first use. Raises InputError."""
        folder = dataset_folder(self.work, definition)
        if not folder.is_dir():
            checked = {
                "datasets": ["it"],
                "dataset_definitions": {"it": definition},
                "methods": [],
                "method_definitions": {},
            }
            try:
                configuration.check_contents(checked | {"structures_folder": str(self.structures)})
            except InputError as error:
                raise InputError(f"{definition['name']}: {error}") from None
            with partial_folder(folder) as made:
                simulate(definition, self.structures, made / "stack", made / "truth")
                made.rename(folder)
        particles = read_stack(folder / "stack" / PARTICLES_NAME)
        evaluation = read_evaluation_list(folder / "stack" / EVALUATION_NAME, len(particles))
        return Dataset(folder, particles, read_truth(folder / "truth"), evaluation)
