"""Inputs in the situation of public bug reports, each as its README says: read rightly, or refused with a reason.

Three and more other members of each kind are beside the units, each in a table: 01, 02 and 09 in test_cs_fields, 06, 14
and most of 17 in test_field_files, 03 and 12 in test_identity (particles); 05 and the odd stamp of 17 in test_mrc, its
names in test_star (core); 04 and the mmCIF file of 17 in test_atom_files (datasets).
"""

from __future__ import annotations

import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from hydra_bench.cli import hydra
from hydra_bench.cli.main import main
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.datasets.simulated.density import load_volume
from hydra_bench.datasets.simulated.structures import load_atoms
from hydra_bench.particles.particle_files import is_listed, read_labels, read_particles, read_poses

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "cases"
pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"{SHARED} is not there: the cases are not in the repository"
)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Copy a case by its number, and go there."""

    def copied(number: str) -> Path:
        (source,) = SHARED.glob(f"{number}-*")
        folder = tmp_path / source.name
        shutil.copytree(source, folder, symlinks=True)
        monkeypatch.chdir(folder)
        return folder

    return copied


def checked(capsys: pytest.CaptureFixture[str], *files: str) -> str:
    """What `dataset check` says of a configuration laid over the shipped one."""
    assert main(["dataset", "check", str(ROOT / "config" / "config.yaml"), *files]) == 0
    return capsys.readouterr().out


def options(*words: str) -> Namespace:
    parser = ArgumentParser()
    hydra.add_options(parser)
    return parser.parse_args([*words, "--out", "out"])


def stack_of(*words: str) -> Stack:
    """The particles as `hydra-bench hydra` reads them with these options."""
    return hydra.read_input(options(*words), {"classes": 1}).stack


@pytest.mark.parametrize("file", ["mine.yaml", "mine58.yaml"])
def test_01_labels_are_the_jobs_own(case: Callable, capsys: pytest.CaptureFixture[str], file: str) -> None:
    case("01")
    said = checked(capsys, file)
    assert "class 0: 6 particles" in said
    assert "class 1: 6 particles" in said


def test_02_labels_are_joined_by_uid(case: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    case("02")
    stack = read_particles("particles.star")
    for folder in ("J60", "only_one"):
        assert read_labels(f"{folder}/J60_00105_particles.cs", stack).tolist() == [1, 1, 1] + 9 * [0]
    assert "class 1: 3 particles" in checked(capsys, "mine.yaml")
    assert "one: 3 particles" in checked(capsys, "class.yaml")
    assert is_listed("J60/J60_class_01_00105_particles.cs", stack).tolist() == 3 * [True] + 9 * [False]


def test_03_files_of_one_name_in_two_folders_are_two(case: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    case("03")
    stack = read_particles("particles.star")
    _, shifts_A = read_poses("s2_first.star", stack)
    np.testing.assert_allclose(shifts_A, np.repeat([[-1.0, -1.0], [7.0, 7.0]], 12, axis=0))
    said = checked(capsys, "mine.yaml")
    assert "class 1: 12 particles" in said
    assert "class 2: 12 particles" in said


def test_04_chains_without_names_have_all_of_their_mass(case: Callable) -> None:
    case("04")
    masses = [load_atoms(".", f"./{name}.pdb").mass_kDa for name in ("with_names", "without_names", "one_letter")]
    np.testing.assert_allclose(masses, masses[0])


def test_05_maps_are_of_one_hand_whatever_their_axes(case: Callable) -> None:
    case("05")
    maps = [load_volume(".", f"./{name}.mrc").volume for name in ("xyz", "zyx")]
    np.testing.assert_array_equal(*maps)
    grid = gemmi.read_ccp4_map("zyx.mrc", setup=True).grid
    np.testing.assert_allclose(maps[1], np.array(grid).transpose(2, 1, 0))
    with pytest.raises(InputError, match=r"aniso\.mrc: voxels of 2 x 2 x 2\.4 Å"):
        load_volume(".", "./aniso.mrc")


@pytest.mark.parametrize("file", ["angst.star", "pixels.star"])
def test_06_origins_are_in_pixels_of_their_own_file(case: Callable, file: str) -> None:
    case("06")
    _, shifts_A = read_poses(file, read_particles("particles.star"))
    np.testing.assert_allclose(shifts_A, np.tile([-6.0, -12.0], (12, 1)))


def test_09_a_long_header_is_read(case: Callable) -> None:
    case("09")
    assert len(stack_of("--particles", "particles.cs")) == 12


def test_12_an_image_that_is_listed_twice(case: Callable) -> None:
    case("12")
    with pytest.raises(
        InputError, match=r"particles\.star: image 1 of particles\.mrcs is there twice, again in row 13"
    ):
        stack_of("--particles", "particles.star")
    assert len(stack_of("--particles", "particles.star", "--repeated", "first")) == 12
    assert len(stack_of("--particles", "particles.star", "--repeated", "keep")) == 24


def test_14_magnification_b_factor_and_scale_are_used_and_beam_tilt_is_said_not_to_be(
    case: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    case("14")
    stack = stack_of("--particles", "particles.star")
    assert "not used: beam tilt (rlnBeamTiltX), beam tilt (rlnBeamTiltY)" in capsys.readouterr().err
    assert any("beam tilt" in note for note in stack.notes)
    assert stack.magnification is not None
    np.testing.assert_allclose(stack.magnification[0], [[1.05, 0], [0, 1]])
    k = torch.tensor([[0.1, 0.0]])
    plain = Stack(stack.path, stack.images, stack.pixel_size_A, stack.optics, plain_defocus(stack))
    one = np.array([0])
    ratio = stack.transfer(one, k) / plain.transfer(one, k)
    assert float(ratio) == pytest.approx(0.5 * np.exp(-100 / 4 * 0.01), rel=1e-5)


def plain_defocus(stack: Stack) -> object:
    from dataclasses import replace

    assert stack.defocus is not None
    return replace(stack.defocus, b_factor_A2=None, scale=None)


@pytest.mark.parametrize("file", ["hash", "apostrophe", "colon", "no_group", "linked/particles"])
def test_17_odd_names_and_links_are_read(case: Callable, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = case("17")
    link = folder / "linked" / "particles.star"
    if not link.is_symlink():  # where the cases were copied by a program that keeps no links
        target = link.read_text().strip()
        link.unlink()
        link.symlink_to(target)
    monkeypatch.chdir("/")
    assert len(stack_of("--particles", str(folder / f"{file}.star"))) == 4


def test_17_what_is_missing_can_be_given(case: Callable) -> None:
    case("17")
    with pytest.raises(InputError, match=r"lacks the column rlnAmplitudeContrast; it can be given by --ampl"):
        stack_of("--particles", "no_contrast.star")
    stack = stack_of("--particles", "no_contrast.star", "--amplitude-contrast", "0.07")
    assert stack.optics is not None
    assert stack.optics.amplitude_contrast == 0.07


def test_17_an_odd_stamp_and_a_missing_column(case: Callable) -> None:
    case("17")
    assert load_volume(".", "./stamp.mrc").pixel_size_A > 0
    assert len(load_atoms(".", "./no_alt.cif").positions_A) == 5
