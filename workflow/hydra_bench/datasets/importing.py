"""Images that others made as the stack of the contract: what is done to each, and how they are written."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hydra_bench.contracts import stack, truth
from hydra_bench.contracts.places import IMAGES_NAME, class_volume_path
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.console import say
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.mrc import ImageStackWriter, write_map
from hydra_bench.datasets.kind import Definition
from hydra_bench.datasets.simulated.density import VolumeSource
from hydra_bench.physics.ctf import Defocus, Optics
from hydra_bench.physics.fourier import fourier_crop
from hydra_bench.physics.preparation import (
    mean_and_deviation,
    radius_in_half_boxes,
    ring_inside_window,
    soft_window,
)

_CHUNK = 256

NO_CTF = Optics(300.0, 0.0, 1.0)
"""With no defocus the CTF of these is 1 everywhere: images without CTF, or corrected for it."""

_EDGE = 0.1
"""Width of a window's soft edge, as a share of half the box."""


@dataclass(frozen=True)
class Processing:
    """What is to be done.

    box_px: box to Fourier-crop to; sign: +1 or -1; normalise: background, image or none; radii of the background's
    inner edge and of the window, as shares of half the box, None for no window.
    """

    box_px: int
    sign: int = 1
    normalise: str = "background"
    background_radius: float = 0.75
    window_radius: float | None = None

    def _measured(self, images: torch.Tensor) -> torch.Tensor:
        """The pixels (D, D) whose mean becomes 0 and deviation 1; of images that were windowed, inside the window."""
        radius = radius_in_half_boxes(self.box_px)
        if self.normalise == "image":
            return torch.ones_like(radius, dtype=torch.bool)
        measured = radius > self.background_radius
        ring = ring_inside_window(images, measured)
        if ring is None:
            return measured
        where = f"{ring[0]:.2f} to {ring[1]:.2f} of half the box"
        say(f"images are windowed already, so that their background holds no noise; it is measured at {where}")
        return (radius > ring[0]) & (radius <= ring[1])

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Images (B, D, D) as they are to be (B, d, d), float32: sign, crop, normalisation, window, in this order.

        Cropping changes the noise, so it comes before the normalisation; the window after, since it takes noise away.
        """
        result = self.sign * fourier_crop(torch.from_numpy(images), self.box_px, 2)
        if self.normalise != "none":
            measured = self._measured(result)
            mean, deviation = mean_and_deviation(result, measured, correction=0)
            flat = deviation.ravel() <= 1e-6 * result.flatten(1).std(1)
            if flat.any():
                raise InputError(
                    f"normalise: {self.normalise} is not allowed, since the background of an image is flat (its "
                    f"deviation is {float(deviation.ravel()[flat][0]):g}); image or none is expected"
                )
            result = (result - mean) / deviation
        if self.window_radius is not None:
            result = result * soft_window(self.box_px, self.window_radius, _EDGE)
        return result.float().numpy()


def evaluated(classes: np.ndarray, has_map: list[bool], definition: Definition) -> np.ndarray:
    """Numbers of the particles whose own volume is wanted: of each class with a map, as many as there are of them."""
    stream, most = np.random.default_rng([definition["seed"], 1]), definition["evaluation_particles_per_class"]
    own = [np.flatnonzero(classes == k) for k, there in enumerate(has_map) if there]
    drawn = [stream.choice(numbers, min(most, len(numbers)), replace=False) for numbers in own]
    return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *drawn]))


@dataclass(frozen=True)
class Delivery:
    """What N of others' particles become: the stack of the contract, and in the truth's place what is known of them.

    sources (N,): their numbers in their own file; classes (N,), 0-based; class_names and maps, one a class, None for a
    class without; evaluation: numbers of the particles whose own volume is wanted; poses, rotations (N, 3, 3) and
    displacements (N, 2) in Å, if they are known.
    """

    particles: Stack
    processing: Processing
    sources: np.ndarray
    classes: np.ndarray
    class_names: tuple[str, ...]
    maps: Iterable[VolumeSource | None]
    evaluation: np.ndarray
    poses: tuple[np.ndarray, np.ndarray] | None

    @property
    def pixel_size_A(self) -> float:
        return self.particles.pixel_size_A * self.particles.box_px / self.processing.box_px

    def write(self, stack_folder: Path, truth_folder: Path) -> None:
        """Write particles, processed, in their order, and what is known of them; maps are taken one at a time."""
        self._write_images(stack_folder / IMAGES_NAME)
        n, box, pixel = len(self.particles), self.processing.box_px, self.pixel_size_A
        defocus, optics = self.particles.defocus, self.particles.optics
        if defocus is None or optics is None:
            defocus, optics = Defocus(*np.zeros((4, n))), NO_CTF
        stack.write_stack_star(stack_folder, defocus, optics, box, pixel, self.evaluation)
        paths: list[Path | None] = []
        for k, source in enumerate(self.maps):
            path = class_volume_path(truth_folder, k)
            paths.append(None if source is None else path)
            if source is not None:
                write_map(path, source.on_grid(box, pixel).numpy(), pixel)
        rotations, shifts_A = self.poses or (None, None)
        no_conformations, names = np.zeros((n, 0)), self.class_names
        content = truth.Truth(
            rotations, shifts_A, self.classes, no_conformations, names, tuple(paths), sources=self.sources
        )
        truth.write_truth_star(truth_folder, content)

    def _write_images(self, path: Path) -> None:
        n, images = len(self.particles), self.particles.images
        with (
            atomic(path) as temporary,
            ImageStackWriter(temporary, n, self.processing.box_px, self.pixel_size_A) as writer,
            tqdm(total=n, desc="particles", unit="image", disable=None, delay=5) as progress,
        ):
            # In the order in which they lie on disk, which is much quicker than in the random one of the stack.
            on_disk = np.lexsort((images.frame_index, images.file_index))
            for start in range(0, n, _CHUNK):
                part = on_disk[start : start + _CHUNK]
                writer.write(part, self.processing.apply(self.particles.read_images(part)))
                progress.update(len(part))
