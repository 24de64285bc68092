"""The files of cryoDRGN 4.3: what its commands are given, and what they leave.

Conventions, checked against the program in tests/real/test_cryodrgn.py:

- Images are ours as they are. The program changes their sign (its `--uninvert-data` is off) and its CTF is the
  negative of ours, so a positive density comes out.
- Rotations are as here, map to view. A translation is that which centres the image: the displacement is its negative.
- `abinit` writes and reads translations in px. All other commands take them as shares of the side of their lattice,
  which is one more than the box's: px = share x (box + 1).
- `z.pkl` of `abinit` holds one array; that of the others two in a row, means and log-variances.
- Maps have the origin at voxel D//2, as ours.

Checkpoints (`weights.*.pkl`) are read by the program alone: loading one runs what it holds.
"""

import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.mrc import read_map
from hydra_bench.methods.programs.programs import program_output
from hydra_bench.particles.cryodrgn import CTF_COLUMNS, read_pose_arrays
from hydra_bench.particles.pickles import read_pickles
from hydra_bench.physics.ctf import Defocus, Optics

_END_OF_EPOCH = re.compile(
    r"=====> (?:(?P<phase>\w+) )?Epoch: (?P<epoch>\d+) (?:.*KLD = (?P<kld>[-\w.]+))?.*total loss = (?P<loss>[-\w.]+)"
)


def write_ctf(path: Path, stack: Stack) -> None:
    """ctf.pkl of a stack: an array (N, 9); without CTF, one that is 1 everywhere but for the sign."""
    n = len(stack)
    defocus = stack.defocus or Defocus(*(np.zeros(n) for _ in range(4)))
    optics = stack.optics or Optics(300.0, 0.0, 1.0)
    columns = (
        stack.box_px,
        stack.pixel_size_A,
        defocus.u_A,
        defocus.v_A,
        defocus.angle_deg,
        optics.voltage_kV,
        optics.spherical_aberration_mm,
        optics.amplitude_contrast,
        defocus.phase_shift_deg,
    )
    table = np.stack([np.broadcast_to(np.asarray(column, dtype=np.float32), n) for column in columns], axis=1)
    assert table.shape == (n, len(CTF_COLUMNS))
    _dump(path, table)


def write_poses(path: Path, rotations: np.ndarray, shifts_A: np.ndarray, stack: Stack, unit_px: float) -> None:
    """poses.pkl of rotations (N, 3, 3) and displacements (N, 2) in Å; its translations are in units of `unit_px`."""
    centring = -shifts_A / stack.pixel_size_A / unit_px
    _dump(path, (rotations.astype(np.float32), centring.astype(np.float32)))


def _dump(path: Path, content: object) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as file:
        pickle.dump(content, file, protocol=4)


def read_poses(path: Path, stack: Stack, unit_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (N, 3, 3), map to view, and displacements (N, 2) in Å; as `write_poses`. Raises RunFailedError."""
    with program_output(path):
        rotations, displacements = read_pose_arrays(path)
        if len(rotations) != len(stack):
            raise InputError(f"{path}: {len(rotations)} poses; the stack has {len(stack)} particles")
    return rotations, displacements * unit_px * stack.pixel_size_A


def read_latents(path: Path, n_particles: int, latent_dim: int, pickles: int) -> np.ndarray:
    """Latents (N, d), the first of the file's `pickles`. Raises RunFailedError."""
    with program_output(path):
        latents = np.asarray(read_pickles(path, pickles)[0], dtype=np.float64)
        if latents.shape != (n_particles, latent_dim):
            raise InputError(f"{path}: latents of shape {latents.shape}; {(n_particles, latent_dim)} is expected")
        if not np.isfinite(latents).all():
            raise InputError(f"{path}: latents that are no numbers; the training diverged")
    return latents


def read_volume(path: Path, box_px: int) -> np.ndarray:
    """A map (D, D, D) in z, y, x. Raises RunFailedError."""
    with program_output(path):
        volume = read_map(path)[0]
        if volume.shape[0] != box_px:
            raise InputError(f"{path}: a box of {volume.shape[0]} px; {box_px} is expected")
    return volume


def epochs_written(folder: Path, kind: str) -> list[int]:
    """Epochs, rising, of the files `<kind>.<epoch>.pkl` in a folder."""
    found = (re.fullmatch(rf"{kind}\.(\d+)\.pkl", path.name) for path in folder.glob(f"{kind}.*.pkl"))
    return sorted(int(match[1]) for match in found if match)


def is_whole_checkpoint(path: Path) -> bool:
    """Whether a checkpoint was written to its end: PyTorch's are zip files, whose table of contents comes last."""
    return path.is_file() and zipfile.is_zipfile(path)


def read_history(run_log: Path, pretrained: int, n_particles: int) -> pd.DataFrame:
    """Loss of each epoch as the program logged it, with the images seen till then; empty where it logged none.

    `pretrained` images come before the first epoch. One that was logged twice, after a killed attempt, counts once.
    """
    text = run_log.read_text(errors="replace") if run_log.is_file() else ""
    found = {int(match["epoch"]): match for match in _END_OF_EPOCH.finditer(text)}
    rows = [
        {
            "images_seen": pretrained + epoch * n_particles,
            "epoch": epoch,
            "phase": (match["phase"] or "train").lower(),
            "loss": float(match["loss"]),
            "kld": float(match["kld"] or "nan"),
        }
        for epoch, match in sorted(found.items())
    ]
    return pd.DataFrame(rows).dropna(axis=1, how="all")
