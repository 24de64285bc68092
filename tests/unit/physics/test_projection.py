"""Projections and densities against formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hydra_bench.core.errors import InputError
from hydra_bench.datasets.simulated.density import density_map
from hydra_bench.datasets.simulated.structures import load_atoms
from hydra_bench.physics.projection import project
from hydra_bench.physics.rotations import random_rotations

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"


def gaussians(box: int, centres: np.ndarray, sd: float) -> torch.Tensor:
    """Sum of unit 3-D Gaussians (D, D, D), z, y, x, at centres (n, 3), (x, y, z) from the origin."""
    axis = np.arange(box) - box // 2
    one = [np.exp(-((axis[:, None] - centres[:, j]) ** 2) / (2 * sd**2)) for j in range(3)]
    return torch.from_numpy(np.einsum("zn,yn,xn->zyx", one[2], one[1], one[0])).float()


def test_projections_of_gaussians() -> None:
    box, sd = 48, 2.0
    generator = np.random.default_rng(0)
    centres = generator.uniform(-10, 10, (6, 3))
    rotations = random_rotations(5, generator)
    images = project(gaussians(box, centres, sd), torch.from_numpy(rotations)).numpy()
    axis = np.arange(box) - box // 2
    for rotation, image in zip(rotations, images, strict=True):
        x, y, _ = (centres @ rotation.T).T  # x_view = R x_map
        ex, ey = (np.exp(-((axis[:, None] - c) ** 2) / (2 * sd**2)) for c in (x, y))
        expected = np.einsum("yn,xn->yx", ey, ex) * sd * np.sqrt(2 * np.pi)
        assert np.abs(image - expected).max() < 0.015 * expected.max()


def test_projected_mass_is_the_same_in_all_views() -> None:
    volume = gaussians(32, np.array([[3.0, -4.0, 2.0], [-6.0, 1.0, 5.0]]), 2.0)
    masses = project(volume, torch.from_numpy(random_rotations(8, np.random.default_rng(1)))).sum((1, 2))
    torch.testing.assert_close(masses, volume.sum().expand(8), rtol=1e-3, atol=0)


def test_density_integral_is_the_sum_of_form_factors() -> None:
    atoms = load_atoms(STRUCTURES, "6zu5", ["SA0", "SB0"])
    volume = density_map(atoms, 64, 3.3, 100.0)
    form_factors = sum(sum(site.atom.element.c4322.a) * site.atom.occ for site in atoms.model.all())
    assert float(volume.sum()) * 3.3**3 == pytest.approx(form_factors, rel=5e-3)


def test_density_is_centred_and_decays_with_b() -> None:
    atoms = load_atoms(STRUCTURES, "6zu5", ["SA0"])
    sharp, soft = (density_map(atoms, 48, 3.3, b) for b in (50.0, 400.0))
    axis = torch.arange(48) - 24.0
    centre = [float((sharp.sum(dims) * axis).sum() / sharp.sum()) for dims in ((0, 1), (0, 2), (1, 2))]
    assert np.abs(centre).max() < 0.2  # px; weighted by scattering, not by mass
    assert sharp.max() > 1.5 * soft.max()


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"entry": "9zzz"}, "9zzz.*3jb9, 6zu5"),
        ({"entry": "6zu5", "chains": ["Q*"]}, "chain pattern 'Q\\*' selects nothing"),
        ({"entry": "6zu5", "model": 2}, "no model 2; there are 1..1"),
        ({"entry": "3jb9", "assembly": "1"}, "no assembly '1'; there are none"),
    ],
)
def test_selections_that_are_not_there(selection: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_atoms(STRUCTURES, **selection)


def test_corrupt_structure(tmp_path: Path) -> None:
    (tmp_path / "1abc.cif").write_text("data_x\nloop_\n_a\n_b\n1\n")
    with pytest.raises(InputError, match="not a readable structure") as error:
        load_atoms(tmp_path, "1abc")
    assert "\n" not in str(error.value)


def test_biological_assembly_adds_chains() -> None:
    one = load_atoms(STRUCTURES, "6zu5", ["SA0"])
    assembled = load_atoms(STRUCTURES, "6zu5", ["SA0"], assembly="1")
    assert len(assembled.positions_A) >= len(one.positions_A)
