"""What a bound is given: the particles and, unlike any method that competes, the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hydra_bench.contracts.stack import Stack
from hydra_bench.contracts.truth import Truth
from hydra_bench.core.errors import NotApplicableError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.methods.recording import Outcome


@dataclass(frozen=True)
class BoundTask:
    """One run of a bound. evaluation (M,): particles, from 0, whose maps are compared; parameters: checked."""

    stack: Stack
    truth: Truth
    evaluation: IntArray
    parameters: JsonObject
    seed: int

    def poses(self) -> tuple[FloatArray, FloatArray]:
        """True rotations (N, 3, 3) and shifts (N, 2) in Å. Raises NotApplicableError where there are none."""
        if self.truth.rotations is None or self.truth.shifts_A is None:
            raise NotApplicableError("the reference of these particles has no poses")
        return self.truth.rotations, self.truth.shifts_A

    def check_maps(self) -> None:
        """Raises NotApplicableError where no species has a true map."""
        if not any(self.truth.has_map(k) for k in range(self.truth.n_classes)):
            raise NotApplicableError("there are no true maps of these particles")

    def evaluated_of(self, k: int) -> IntArray:
        """The evaluated particles of class k."""
        members: IntArray = self.evaluation[self.truth.classes[self.evaluation] == k]
        return members


Bound = Callable[[BoundTask, Path], Outcome]
"""It fills the folder of a reconstruction, as an adapter does."""
