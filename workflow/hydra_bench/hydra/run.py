"""Hydra as a method: a stack in, a reconstruction out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hydra_bench.errors import InputError, RunFailedError
from hydra_bench.hydra.output import notes, write_reconstruction
from hydra_bench.hydra.settings import Settings
from hydra_bench.hydra.train import train
from hydra_bench.recording import Outcome
from hydra_bench.stack import Stack


def choose_device(name: str) -> torch.device:
    """The device named; "auto" takes the first GPU if there is a usable one. Raises InputError."""
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device: {name!r}; auto, cpu or cuda:<number> is allowed") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device: {name!r}; {torch.cuda.device_count()} usable GPUs are here")
    return device


def run_hydra(
    stack: Stack, evaluation: np.ndarray, settings: Settings, seed: int, device: torch.device, folder: Path
) -> Outcome:
    """Train and write the reconstruction; a progress bar shows the way when stderr is a terminal."""
    if settings.classes > len(stack):
        raise RunFailedError(
            f"{settings.classes} classes for {len(stack)} images; at most one class an image is possible"
        )
    if settings.l_schedule and max(settings.l_schedule) > stack.box_px // 2 - 1:
        raise RunFailedError(f"l_schedule reaches {max(settings.l_schedule)}; a box of {stack.box_px} px allows "
                        f"at most {stack.box_px // 2 - 1}")  # fmt: skip
    total = len(stack) * (len(settings.l_schedule) + settings.decode_epochs)
    with tqdm(total=total, desc=f"Hydra K={settings.classes}", unit="image", disable=None) as bar:

        def report(row: dict) -> None:
            sizes = "/".join(str(value) for name, value in row.items() if name.startswith("size_"))
            bar.set_postfix_str(
                f"{row['phase']} epoch {row['epoch'] + 1}, l={row['l']}, loss {row['loss']:.4f}, classes {sizes}"
            )

        trained = train(stack, settings, seed, device, report, bar.update)
    write_reconstruction(trained, stack, evaluation, folder)
    return Outcome(images_seen=trained.history.images_seen, notes=notes(trained))
