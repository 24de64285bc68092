"""What all cases are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hydra_bench.bench.data import Dataset, prepare


@dataclass(frozen=True)
class Bench:
    """How to measure: folders, device, threads, and how often to repeat what no seed varies."""

    work: Path
    structures: Path
    device: torch.device
    threads: int
    repeats: int

    def dataset(self, definition: dict[str, Any]) -> Dataset:
        """A case's data, simulated on first use."""
        return prepare(self.work, self.structures, definition)
