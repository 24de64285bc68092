"""An experiment's project folder, made: two optics groups, three image files, black particles, junk, labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from definitions import dataset
from particle_files import write_images

from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import Truth, read_truth
from hydra_bench.core.mrc import write_map
from hydra_bench.core.star import write_star
from hydra_bench.datasets.simulated.simulate import simulate

EACH, JUNK = 30, 9
"""Particles of each species in each of the two groups, and junk images in the third file."""


@dataclass(frozen=True)
class Project:
    """What lies in `folder`.

    images (N, D, D), white, before brightness and contrast were spoilt; classes (N,), -1 for junk; voltages (N,); the
    particles' poses are in truths, one a group.
    """

    folder: Path
    images: np.ndarray
    classes: np.ndarray
    voltages: np.ndarray
    truths: tuple[Truth, ...]

    @property
    def definition(self) -> dict:
        """A `particles` block, complete, for this project."""
        return {
            "file": str(self.folder / "Job1" / "particles.star"),
            "datadir": None,
            "passthrough": None,
            "ctf": "file",
            "pixel_size_A": None,
            "voltage_kV": None,
            "spherical_aberration_mm": None,
            "amplitude_contrast": None,
            "box_px": None,
            "contrast": "black",
            "normalise": "background",
            "background_radius": 0.75,
            "window_radius": None,
            "subset": None,
            "repeated": "refuse",
            "reference": {
                "labels": str(self.folder / "Job2" / "labels.star"),
                "classes": {
                    "large": {"labels": [1, 3], "files": None, "map": str(self.folder / "large.mrc")},
                    "small": {"labels": [2], "files": None, "map": str(self.folder / "small.mrc")},
                },
                "poses": False,
                "passthrough": None,
            },
        }


def write_project(folder: Path, structures: Path) -> Project:
    """Simulate the two groups, spoil the images as a detector would, and list them as RELION does."""
    rng, parts, truths = np.random.default_rng(0), [], []
    for voltage, seed in ((300, 1), (200, 2)):
        content = {**dataset(images=EACH, snr=2.0), "seed": seed}
        content["simulation"]["ctf"]["voltage_kV"] = voltage
        made = folder / f"simulated_{voltage}"
        simulate(content, structures, made / "stack", made / "truth")
        stack, truth = read_stack(made / "stack" / "particles.star"), read_truth(made / "truth")
        parts.append((stack.read_images(np.arange(len(stack))), stack.defocus))
        truths.append(truth)
    box = parts[0][0].shape[-1]
    junk = rng.standard_normal((JUNK, box, box)).astype(np.float32)
    junk[:, 4:9, 20:24] += 6
    images = np.concatenate([parts[0][0], parts[1][0], junk])
    gain, offset = rng.uniform(5, 20, (len(images), 1, 1)), rng.uniform(-50, 300, (len(images), 1, 1))
    spoilt = (offset - gain * images).astype(np.float32)
    n = 2 * EACH
    files = np.repeat(["a.mrcs", "b.mrcs", "c.mrcs"], [n, n, JUNK])
    frames = np.concatenate([np.arange(n), np.arange(n), np.arange(JUNK)]) + 1
    for name in np.unique(files):
        write_images(folder / "extract" / name, spoilt[files == name], stack.pixel_size_A)
    defocus = [np.concatenate([*(getattr(d, key) for _, d in parts), np.full(JUNK, 15000.0)]) for key in ("u_A", "v_A")]
    angle = np.concatenate([*(d.angle_deg for _, d in parts), np.zeros(JUNK)])
    group = np.where(files == "b.mrcs", 2, 1)
    table = pd.DataFrame(
        {
            "rlnImageName": [f"{frame:06d}@extract/{name}" for frame, name in zip(frames, files, strict=True)],
            "rlnOpticsGroup": group,
            "rlnDefocusU": defocus[0],
            "rlnDefocusV": defocus[1],
            "rlnDefocusAngle": angle,
        }
    )
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1, 2],
            "rlnOpticsGroupName": ["krios", "talos"],
            "rlnVoltage": [300.0, 200.0],
            "rlnSphericalAberration": [2.7, 2.7],
            "rlnAmplitudeContrast": [0.1, 0.1],
            "rlnImagePixelSize": stack.pixel_size_A,
            "rlnImageSize": box,
            "rlnImageDimensionality": 2,
        }
    )
    order = rng.permutation(len(table))
    write_star(folder / "Job1" / "particles.star", {"optics": optics, "particles": table.iloc[order]})
    classes = np.concatenate([truths[0].classes, truths[1].classes, np.full(JUNK, -1)])
    # Another program's labels: large is classes 1 and 3, small 2, junk 4, of which it has thrown two away.
    labels = np.select([classes == 0, classes == 1], [np.where(rng.random(len(classes)) < 0.5, 1, 3), 2], 4)
    kept = table.assign(rlnClassNumber=labels).iloc[: len(table) - 2].sample(frac=1, random_state=1)
    write_star(folder / "Job2" / "labels.star", {"optics": optics, "particles": kept})
    for k, name in enumerate(truths[0].class_names):
        write_map(folder / f"{name}.mrc", truths[0].class_volume(k), stack.pixel_size_A)
    return Project(folder, images[order], classes[order], np.where(group == 2, 200, 300)[order], tuple(truths))
