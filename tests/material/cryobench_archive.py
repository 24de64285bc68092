"""CryoBench's published layout, written from a small stack."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from hydra_cases import Case
from particle_files import write_images

from hydra_bench.core.mrc import write_map

FULL_PX = 64


def dump(path: Path, content: Any) -> None:
    with open(path, "wb") as file:
        pickle.dump(content, file)


def write_archive(folder: Path, case: Case, entries: tuple[str, str] = ("1abc", "2XYZ")) -> Path:
    """The small stack, sorted by class, as the published archives are: black, simulated at twice the delivered box."""
    stack, truth = case.stack, case.truth
    order = np.argsort(truth.classes, kind="stable")
    sorted_classes = truth.classes[order]
    images = -stack.read_images(order) * 13
    (folder / "vols" / "128_org").mkdir(parents=True)
    lines = []
    for k, name in enumerate(entries):
        write_images(folder / "images" / "snr0.01" / f"{k:03d}_particles.mrcs", images[sorted_classes == k])
        lines.append(f"{k:03d}_particles.mrcs")
        # The headers of the archives' maps do not say the images' pixel size.
        write_map(folder / "vols" / "128_org" / f"{k:03d}_{name}.mrc", truth.class_volume(k), 1.0)
    (folder / "images" / "snr0.01" / "sorted_particles.128.txt").write_text("\n".join(lines) + "\n")
    n, d = len(stack), stack.defocus.take(order)
    pixel = stack.pixel_size_A * stack.box_px / FULL_PX
    columns = (FULL_PX, pixel, d.u_A, d.v_A, d.angle_deg, 300, 2.7, 0.1, d.phase_shift_deg)
    dump(folder / "combined_ctfs.pkl", np.stack([np.broadcast_to(c, n) for c in columns], 1).astype(np.float32))
    # cryoDRGN's translations bring the particle back to the centre, in boxes.
    centring = -truth.shifts_A[order] / (stack.box_px * stack.pixel_size_A)
    dump(folder / "combined_poses.pkl", (truth.rotations[order].astype(np.float32), centring.astype(np.float32)))
    dump(folder / "gt_latents.pkl", sorted_classes)
    return folder
