"""What an adapter of another program is given: all that a method may see, and nothing of the truth.

An adapter is a function of a Task and a folder. It writes what its program reads into `task.work`, runs it by
`task.programs`, translates what comes out into the reconstruction contract in the folder, and returns an Outcome.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hydra_bench.contracts.reconstruction import GivenPoses
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.json_values import JsonObject
from hydra_bench.methods.programs.programs import Programs
from hydra_bench.methods.recording import Outcome


@dataclass(frozen=True)
class Task:
    """One run of one method.

    evaluation (M,): particles, from 0, of which it must write its own maps. parameters: checked, defaults filled in;
    what is null there is left out. device: "cpu" or "cuda". work: the program's own folder, which outlives an attempt
    that is killed and goes when the run is evaluated. departures: texts, one for each setting that is not the
    program's default.
    """

    stack: Stack
    evaluation: np.ndarray
    parameters: JsonObject
    seed: int
    threads: int
    device: str
    work: Path
    programs: Programs
    poses: GivenPoses | None = None
    departures: list[str] = field(default_factory=list)

    def notes(self) -> JsonObject:
        """What the report tells of how this run was made."""
        found = {"versions": self.programs.versions, "commands": self.programs.commands, "departures": self.departures}
        return {key: value for key, value in found.items() if value}


Adapter = Callable[[Task, Path], Outcome]
