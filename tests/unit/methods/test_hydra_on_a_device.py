"""On a device of its own, emulated, in every kind of run: nothing mixes devices, and what is waited for is counted."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from emulated_device import Account, device, emulated
from hydra_cases import Case, tiny

from hydra_bench.methods.hydra.fit import batched_steps, chunks
from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer, Stopped
from hydra_bench.methods.hydra.fit.train import train
from hydra_bench.methods.hydra.fit.training_input import TrainingInput
from hydra_bench.methods.hydra.output.reconstruction import write_reconstruction
from hydra_bench.methods.hydra.settings import PRESETS

SMALL_PRESETS = {
    "fast": {},
    "fine": {"refine_schedule": (5, 6), "grow_epochs": 1, "decode_epochs": 2, "refine_chunk": 30, "fine_features": 16,
             "fine_width": 16, "fine_minibatch": 10},
    "many": {"classes": 6, "full_search_epochs": 1, "prior_strength": 0.0},
    "paper": {"steps_per_search": 1, "spare_fields": 0, "latent_steps": "gradient", "variational": False,
              "latent_epoch": 0, "frequencies_per_step": 0, "search_conformations": 1},
}  # fmt: skip
"""What each preset does otherwise than the defaults, made small."""
KINDS: dict[str, dict[str, Any]] = {
    **SMALL_PRESETS,
    "encoder": {"conformations": "encoder", "gating": "encoder"},
    "different dimensions": {"classes": 3, "latent_dim": (2, 2, 0), "sigma": 2.0},
    "one class": {"classes": 1, "latent_dim": 2},
    "given poses, refined": {"poses": "refine"},
    "given poses, fixed": {"poses": "fixed"},
}
LONG: dict[str, Any] = {
    "l_schedule": (4, 4, 5, 5),
    "latent_epoch": 1,
    "full_search_epochs": 1,
    "steps_per_search": (2, 1),
}


def input_of(case: Case, kind: str) -> TrainingInput:
    settings = tiny(**{**LONG, **KINDS[kind]})
    return TrainingInput(case.stack, settings, 5, None if settings.poses == "search" else case.given())


class Waits:
    """Waits of each call of the three loops, where they are defined."""

    def __init__(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        self.account, self.depth = account, 0
        self.found: dict[str, list[Counter[str]]] = {"search": [], "learn": [], "step": []}
        self._watch(monkeypatch, chunks, "find_poses_and_classes", "search")
        self._watch(monkeypatch, chunks, "learn", "learn")
        self._watch(monkeypatch, batched_steps, "batched_step", "step")

    def _watch(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, loop: str) -> None:
        real = getattr(module, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            outside = self.account.take()
            found = real(*args, **kwargs)
            within = self.account.take()
            self.found[loop].append(within)
            self.account.waits = outside + within
            return found

        monkeypatch.setattr(module, name, watched)


def test_the_presets_are_those_of_the_settings() -> None:
    assert set(SMALL_PRESETS) == set(PRESETS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_on_a_device(case: Case, kind: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the maps, stopped and resumed on the way. At most five waits a chunk of the search, and one of learning."""
    start_from = input_of(case, kind)
    with emulated() as account:
        waits = Waits(account, monkeypatch)
        checkpointer, done = Checkpointer(tmp_path / "state"), []

        def stop(n: int) -> None:
            done.append(n)
            checkpointer.asked_to_stop = len(done) == 7

        with pytest.raises(Stopped):
            train(start_from, device(), checkpointer=checkpointer, advance=stop)
        found = train(start_from, device(), checkpointer=Checkpointer(tmp_path / "state"))
        write_reconstruction(found, 3.3, np.arange(0, 60, 20), tmp_path / "out")
    assert (tmp_path / "out" / "particles.star").is_file()
    assert all(step.total() == 0 for step in waits.found["step"]), waits.found["step"][0]
    assert waits.found["step"]
    assert max((search.total() for search in waits.found["search"]), default=0) <= 5, waits.found["search"]
    assert max(learn.total() for learn in waits.found["learn"]) <= 1, waits.found["learn"]
