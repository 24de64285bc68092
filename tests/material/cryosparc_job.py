"""The files of a finished CryoSPARC job, written as that program writes them."""

from pathlib import Path

import numpy as np
import torch
from hydra_cases import Case
from scipy.spatial.transform import Rotation

from hydra_bench.core.mrc import write_map
from hydra_bench.physics.fourier import fourier_crop

ABINIT_MAPS = ["J42_class_00_final_volume.mrc", "J42_class_01_final_volume.mrc"]
JOB_PIXEL_A = 5.0
"""CryoSPARC's jobs may work in another box; shifts are in px of theirs."""


class Job:
    """The files of one finished job on a stack, in a folder of their own."""

    def __init__(self, folder: Path, case: Case, multiplicity: int = 2) -> None:
        self.folder, self.case, self.k = folder, case, multiplicity
        folder.mkdir(parents=True)
        n = len(case.truth)
        self.order = np.random.default_rng(0).permutation(n)
        self.uid = np.random.default_rng(1).integers(1, 2**62, n, dtype=np.uint64)
        self.vectors = -Rotation.from_matrix(case.truth.rotations).as_rotvec()
        self.shifts = -case.truth.shifts_A / JOB_PIXEL_A
        self.posteriors = np.full((n, multiplicity), 0.2 / max(multiplicity - 1, 1))
        self.posteriors[np.arange(n), case.truth.classes if multiplicity > 1 else 0] = 0.8 if multiplicity > 1 else 1

    def fields(self) -> dict[str, np.ndarray]:
        """What every file has: the images, under the name that an import job gives them."""
        n = len(self.uid)
        name = b"J1/imported/012951868257382468663_particles.mrc"
        return {"uid": self.uid, "blob/path": np.full(n, name), "blob/idx": np.arange(n, dtype=np.uint32)}

    def class_groups(self, **wrong: dict[str, np.ndarray | None]) -> dict[str, np.ndarray]:
        """Up to version 4.4; of classes that a particle is not in, poses are nonsense."""
        made = {}
        for k in range(self.k):
            mine = (self.posteriors.argmax(1) == k)[:, None]
            made[f"alignments_class_{k}/pose"] = np.where(mine, self.vectors, 0.3).astype(np.float32)
            made[f"alignments_class_{k}/shift"] = np.where(mine, self.shifts, 9).astype(np.float32)
            made[f"alignments_class_{k}/class_posterior"] = self.posteriors[:, k].astype(np.float32)
            made[f"alignments_class_{k}/psize_A"] = np.full(len(self.uid), JOB_PIXEL_A, np.float32)
        return made

    def multi(self) -> dict[str, np.ndarray]:
        """From version 4.5 on, here with columns in the opposite order of the classes."""
        groups, order = self.class_groups(), range(self.k)[::-1]
        made = {
            f"alignments3D_multi/{name}": np.stack([groups[f"alignments_class_{k}/{name}"] for k in order], axis=1)
            for name in ("pose", "shift", "class_posterior")
        }
        classes = np.tile(np.array(order, dtype=np.uint32), (len(self.uid), 1))
        pixel = groups["alignments_class_0/psize_A"]
        return made | {"alignments3D_multi/class": classes, "alignments3D_multi/psize_A": pixel}

    def single(self) -> dict[str, np.ndarray]:
        """Homogeneous refinement, and 3-D classification."""
        return {
            "alignments3D/pose": self.vectors.astype(np.float32),
            "alignments3D/shift": self.shifts.astype(np.float32),
            "alignments3D/psize_A": np.full(len(self.uid), JOB_PIXEL_A, np.float32),
            "alignments3D/class": self.posteriors.argmax(1).astype(np.uint32),
            "alignments3D/class_posterior": self.posteriors.max(1).astype(np.float32),
        }

    def write(self, name: str, fields: dict[str, np.ndarray], keep: slice = slice(None)) -> Path:
        """A .cs file: a NumPy array of rows, in an order of its own, under a name without .npy."""
        rows = np.empty(len(self.uid), dtype=[(key, value.dtype, value.shape[1:]) for key, value in fields.items()])
        for key, value in fields.items():
            rows[key] = value
        path = self.folder / name
        with open(path, "wb") as file:
            np.save(file, rows[self.order][keep])
        return path

    def write_maps(self, names: list[str]) -> None:
        """The true maps, one a class, at half the box."""
        for k, name in enumerate(names):
            volume = torch.from_numpy(self.case.truth.class_volume(k % 2))
            box = volume.shape[-1] // 2
            pixel = self.case.stack.pixel_size_A * 2
            write_map(self.folder / name, fourier_crop(volume, box, 3).numpy(), pixel)
