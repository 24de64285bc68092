"""Particles of the other contrast than methods expect are said to be, by what their images show."""

from pathlib import Path

import numpy as np
import pytest
from particle_files import write_images

from hydra_bench.contracts.stack import Stack
from hydra_bench.particles.contrast import contrast_note
from hydra_bench.particles.particle_files import read_particles

BOX = 16


def stack_of(tmp_path: Path, lightness: float, n: int = 100) -> Stack:
    """Noise of deviation 1, and a disc that is lighter by so much."""
    axis = np.arange(BOX) - BOX // 2
    disc = np.hypot(axis[:, None], axis) < BOX / 5
    images = np.random.default_rng(0).standard_normal((n, BOX, BOX)) + lightness * disc
    return read_particles(write_images(tmp_path / "p.mrcs", images.astype("f4")), ctf="none")


@pytest.mark.parametrize(
    ("lightness", "inverted", "said"),
    [
        (0.5, False, None),
        (-0.5, True, None),
        (0.0, False, None),
        (0.0, True, None),
        (-0.5, False, "its particles look dark (9"),
        (0.5, True, "its particles look light (9"),
    ],
)
def test_the_other_contrast_is_said(tmp_path: Path, lightness: float, inverted: bool, said: str | None) -> None:
    note = contrast_note(stack_of(tmp_path, lightness), inverted, "turn it round")
    assert (note is None) == (said is None)
    if note is not None and said is not None:
        assert said in note
        assert note.endswith(": turn it round")
    assert contrast_note(stack_of(tmp_path, lightness, n=10), inverted, "turn it round") is None
