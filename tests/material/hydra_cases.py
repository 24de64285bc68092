"""What Hydra's tests share: a tiny simulated stack, settings of a run of less than a second, batches of its images."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hydra_bench.contracts.places import IMAGES_NAME, PARTICLES_NAME
from hydra_bench.contracts.reconstruction import GivenPoses
from hydra_bench.contracts.stack import Stack, read_stack, write_stack_star
from hydra_bench.contracts.truth import Truth
from hydra_bench.core.mrc import ImageStackWriter
from hydra_bench.methods.hydra.data.images import Frequencies, ImageBatch, ImageSource
from hydra_bench.methods.hydra.fit.run_state import Run
from hydra_bench.methods.hydra.fit.train import train
from hydra_bench.methods.hydra.fit.training_input import Beginning, TrainingInput
from hydra_bench.methods.hydra.model.rendering import slices, slicing_grid
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.physics.fourier import centre_crop, frequency_radius, hartley

CPU = torch.device("cpu")
PLAIN = Settings(normalise="none")
"""Images as they are: simulated noise has deviation 1 already."""

TINY: dict[str, Any] = {
    "classes": 2,
    "latent_dim": 1,
    "pretrain_images": 20,
    "l_schedule": (4, 5),
    "l_coarse": 4,
    "base_order": 1,
    "keep": (2, 2),
    "shift_points": 3,
    "features": 16,
    "width": 24,
    "depth": 1,
    "encoder_width": 16,
    "encoder_depth": 1,
    "l_encoder": 6,
    "decode_epochs": 1,
    "latent_epoch": 1,
    "chunk": 30,
    "minibatch": 15,
    "spare_fields": 1,
    "spare_epochs": 1,
    "frequencies_per_step": 128,
}
"""Every phase in about a third of a second on 60 images; the spare field goes after the first epoch of the search."""


@dataclass(frozen=True)
class Case:
    """A simulated stack of two species, 30 images each, 32 px, and its truth; scale: of the truth's maps in images."""

    stack: Stack
    truth: Truth
    scale: float

    @property
    def folder(self) -> Path:
        return self.stack.path.parent

    def volume(self, k: int) -> torch.Tensor:
        """The map of a species in units in which projections are sums over voxels."""
        return torch.from_numpy(self.truth.class_volume(k)) * self.scale * self.stack.pixel_size_A

    def given(self) -> GivenPoses:
        return GivenPoses(self.truth.rotations, self.truth.shifts_A)

    def beginning(self, classes: np.ndarray | None = None) -> Beginning:
        """True poses, and the true classes or others."""
        assert self.truth.rotations is not None
        assert self.truth.shifts_A is not None
        own = self.truth.classes if classes is None else classes
        return Beginning(self.truth.rotations, self.truth.shifts_A, own)


def tiny(**changes: Any) -> Settings:
    return Settings(**{**TINY, **changes})


def run(stack: Stack, settings: Settings, seed: int = 5, **more: Any) -> Run:
    given, beginning = more.pop("given", None), more.pop("beginning", None)
    return train(TrainingInput(stack, settings, seed, given, beginning), CPU, **more)


def source_of(stack: Stack, frequencies: Frequencies, settings: Settings = PLAIN, n_low: int = 0) -> ImageSource:
    return ImageSource(stack, frequencies, settings, n_low, CPU, 0)


def load_batch(stack: Stack, frequencies: Frequencies, particles: np.ndarray) -> ImageBatch:
    return source_of(stack, frequencies).load(particles, slice(None, len(frequencies)))


def hartley_of(case: Case, k: int, l: int) -> torch.Tensor:
    """A true map as `FirstMaps.hartleys` would give it: (2l+2,)*3."""
    box = case.stack.box_px
    return centre_crop(hartley(case.volume(k), 3) / box * (frequency_radius(box, 3) <= l), 2 * l + 2, 3)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def grid_of(volume: torch.Tensor, l: int) -> torch.Tensor:
    """What the pose search slices, made from a map (D, D, D) instead of a field."""
    box = volume.shape[-1]
    transform = hartley(volume, 3) / box * (frequency_radius(box, 3) <= l)
    if box < 2 * l + 2:  # of an odd box
        return slicing_grid(torch.nn.functional.pad(transform, (1, 0) * 3))
    return slicing_grid(centre_crop(transform, 2 * l + 2, 3))


def write_stack(folder: Path, stack: Stack, images: np.ndarray, pixel_size_A: float) -> Stack:
    """Other images (N, D, D) of the same particles, as a stack of their own."""
    assert stack.optics is not None
    assert stack.defocus is not None
    folder.mkdir(parents=True, exist_ok=True)
    n, box = images.shape[:2]
    with ImageStackWriter(folder / IMAGES_NAME, n, box, pixel_size_A) as writer:
        writer.write(np.arange(n), images)
    write_stack_star(folder, stack.defocus.take(np.arange(n)), stack.optics, box, pixel_size_A, np.zeros(0, int))
    return read_stack(folder / PARTICLES_NAME)


def odd_case(folder: Path, case: Case) -> tuple[Stack, list[torch.Tensor]]:
    """The same particles in a box of 31 px, and the maps in it."""
    images = torch.from_numpy(case.stack.read_images(np.arange(len(case.stack))))
    stack = write_stack(folder, case.stack, centre_crop(images, 31, 2).numpy(), case.stack.pixel_size_A)
    return stack, [centre_crop(case.volume(k), 31, 3).contiguous() for k in range(2)]


def in_double(batch: ImageBatch) -> ImageBatch:
    return replace(batch, hartley=batch.hartley.double(), ctf=batch.ctf.double(), plane=batch.plane.double())


def assert_same_state(a: Any, b: Any, name: str = "state") -> None:
    """Two nested states are equal bit for bit, but for the times in them."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a.keys() - {"wall_s"}:
            assert_same_state(a[key], b[key], f"{name}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), name
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same_state(x, y, f"{name}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), name
    else:
        assert a == b, name


def set_arguments(settings: dict[str, Any]) -> list[str]:
    """Settings as `--set` takes them."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    return [part for name, value in given.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def hydra(particles: Path, out: Path, *more: str, **changes: Any) -> list[str]:
    """The arguments of a tiny run of the command; more comes last, changes are of TINY."""
    settings = set_arguments({**TINY, **changes})
    return ["hydra", "--particles", str(particles), "--out", str(out), "--threads", "1", *settings, *more]


def environment() -> dict[str, str]:
    """For another process that runs this package on one thread."""
    package = Path(__file__).parents[2] / "workflow"
    return {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}


def whole_slices(grid: torch.Tensor, rotations: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    """Central slices (..., n) at frequencies (n, 3) in pairs of k and -k, from their even and odd parts."""
    even, odd = slices(grid, rotations, plane[::2])
    return torch.stack([even + odd, even - odd], -1).flatten(-2)
