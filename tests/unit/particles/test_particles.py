"""Particles of RELION, cryoSPARC and bare stacks: each layout gives the images, CTFs and poses that were written."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from particle_files import (
    BOX,
    DEFOCUS,
    EVERY,
    IMAGES,
    VOLTAGE,
    N,
    cs_blob,
    cs_ctf,
    cs_poses,
    cs_rows,
    joined,
    relion_30_table,
    relion_tables,
    save_cs,
    write_images,
    write_two_files,
)
from scipy.spatial.transform import Rotation

from hydra_bench.contracts.poses import pose_table
from hydra_bench.core.star import write_star
from hydra_bench.particles.particle_files import read_particles, read_poses
from hydra_bench.physics.ctf import Optics, contrast_transfer
from hydra_bench.physics.rotations import matrices_from_euler, random_rotations

FREQUENCIES = torch.rand(11, 2, generator=torch.Generator().manual_seed(0)) * 0.2


def one_by_one() -> torch.Tensor:
    """The CTF of each particle, of the single-optics function."""
    return torch.cat(
        [
            contrast_transfer(
                FREQUENCIES,
                DEFOCUS.take(np.array([i])),
                Optics(kV, 2.7 if kV == 300 else 2.0, 0.1 if kV == 300 else 0.07),
            )
            for i, kV in enumerate(VOLTAGE)
        ]
    )


def check(stack: object, sign: float = 1.0, atol: float = 2e-6) -> None:
    assert (len(stack), stack.box_px) == (N, BOX)
    assert stack.pixel_size_A == pytest.approx(2.0)
    wanted = np.array([5, 0, 3])
    np.testing.assert_array_equal(stack.read_images(wanted), sign * IMAGES[wanted])
    torch.testing.assert_close(stack.transfer(wanted, FREQUENCIES), one_by_one()[wanted], atol=atol, rtol=0)


def test_relion_with_optics_groups(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    write_star(tmp_path / "p.star", relion_tables())
    stack = read_particles(tmp_path / "p.star")
    check(stack)
    assert isinstance(stack.optics.voltage_kV, np.ndarray)


def test_groups_with_the_same_optics_are_as_one(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    tables = relion_tables()
    tables["optics"][["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]] = [300.0, 2.7, 0.1]
    tables["particles"] = tables["particles"].drop(columns="rlnPhaseShift")
    write_star(tmp_path / "p.star", tables)
    stack = read_particles(tmp_path / "p.star")
    assert stack.optics == Optics(300.0, 2.7, 0.1)
    assert (stack.defocus.phase_shift_deg == 0).all()


@pytest.mark.parametrize("name", ["", "images"])
@pytest.mark.parametrize("pixel", ["magnification", "rlnPixelSize"])
def test_relion_30(tmp_path: Path, name: str, pixel: str) -> None:
    write_two_files(tmp_path)
    table = relion_30_table()
    if pixel == "rlnPixelSize":
        table = table.drop(columns=["rlnMagnification", "rlnDetectorPixelSize"]).assign(rlnPixelSize=2.0)
    write_star(tmp_path / "p.star", {name: table})
    check(read_particles(tmp_path / "p.star"))


def test_images_are_found_where_the_programs_leave_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, star = tmp_path / "project", tmp_path / "project" / "Extract" / "job012" / "p.star"
    prefix = "Extract/job012/Micrographs/"
    write_two_files(project / prefix)
    write_star(star, relion_tables(prefix))
    check(read_particles(star))
    star = tmp_path / "elsewhere" / "p.star"
    write_star(star, relion_tables(prefix))
    check(read_particles(star, project))
    check(read_particles(star, project / prefix))
    monkeypatch.chdir(project)
    check(read_particles(star))
    write_star(star, relion_tables(f"{project}/{prefix}"))
    check(read_particles(star))
    write_star(star, relion_tables(f"/gone/{prefix}"))
    check(read_particles(star, project / prefix))


def test_the_other_suffix_is_tried_last(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    write_star(tmp_path / "p.star", relion_tables())
    for name in "ab":
        (tmp_path / f"{name}.mrcs").rename(tmp_path / f"{name}.mrc")
    check(read_particles(tmp_path / "p.star"))


def test_cryosparc_with_everything_in_one_file(tmp_path: Path) -> None:
    project = tmp_path / "P1"
    write_two_files(project / "J2" / "extract")
    path = save_cs(project / "J7" / "particles.cs", joined(cs_blob(b">J2/extract/"), cs_ctf()))
    check(read_particles(path), sign=-1, atol=1e-3)


@pytest.mark.parametrize("named", [True, False])
def test_cryosparc_with_a_passthrough_file(tmp_path: Path, named: bool) -> None:
    write_two_files(tmp_path / "images")
    path = save_cs(tmp_path / "P1_J3_particles.cs", cs_blob(b"J2/"))
    second = save_cs(tmp_path / "P1_J3_passthrough_particles.cs", cs_ctf(EVERY[::-1]))
    stack = read_particles(path, tmp_path / "images", passthrough=second if named else None)
    check(stack, sign=-1, atol=1e-3)


def test_a_bare_stack(tmp_path: Path) -> None:
    write_images(tmp_path / "a.mrcs", IMAGES, 3.5)
    stack = read_particles(tmp_path / "a.mrcs", ctf="none")
    assert stack.pixel_size_A == pytest.approx(3.5)
    assert stack.defocus is None
    np.testing.assert_array_equal(stack.read_images(EVERY), IMAGES)
    assert (stack.transfer(EVERY, FREQUENCIES) == torch.ones(N, 11)).all()
    assert read_particles(tmp_path / "a.mrcs", ctf="none", pixel_size_A=1.2).pixel_size_A == 1.2


def test_formats_are_known_by_content_too(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    write_star(tmp_path / "star.txt", relion_tables())
    save_cs(tmp_path / "cs.npy", joined(cs_blob(), cs_ctf()))
    (tmp_path / "stack.dat").write_bytes((tmp_path / "a.mrcs").read_bytes())
    assert len(read_particles(tmp_path / "star.txt")) == N
    assert len(read_particles(tmp_path / "cs.npy")) == N
    assert len(read_particles(tmp_path / "stack.dat", ctf="none")) == 3


def test_no_ctf_needs_no_columns(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    tables = relion_tables()
    tables["particles"] = tables["particles"][["rlnImageName", "rlnOpticsGroup"]]
    write_star(tmp_path / "p.star", tables)
    stack = read_particles(tmp_path / "p.star", ctf="none")
    assert (stack.transfer(EVERY, FREQUENCIES) == 1).all()
    blob = read_particles(save_cs(tmp_path / "p.cs", cs_blob()), ctf="none")
    np.testing.assert_array_equal(blob.read_images(EVERY), -IMAGES)


@pytest.fixture
def stack(tmp_path: Path) -> object:
    write_two_files(tmp_path)
    write_star(tmp_path / "p.star", relion_tables())
    return read_particles(tmp_path / "p.star")


ROTATIONS = random_rotations(N, np.random.default_rng(3))
SHIFTS_A = np.random.default_rng(4).uniform(-9, 9, (N, 2))


def test_poses_of_relion_in_any_order(tmp_path: Path, stack: object) -> None:
    tables = relion_tables("moved/")
    tables["particles"] = pd.concat([tables["particles"], pose_table(ROTATIONS, SHIFTS_A)], axis=1)
    tables["particles"] = tables["particles"].iloc[::-1]
    write_star(tmp_path / "poses.star", tables)
    rotations, shifts_A = read_poses(tmp_path / "poses.star", stack)
    np.testing.assert_allclose(rotations, ROTATIONS, atol=1e-5)
    np.testing.assert_allclose(shifts_A, SHIFTS_A, atol=1e-3)


def test_poses_of_relion_30_have_origins_in_px(tmp_path: Path, stack: object) -> None:
    poses = pose_table(ROTATIONS, SHIFTS_A)
    poses["rlnOriginX"], poses["rlnOriginY"] = poses.pop("rlnOriginXAngst") / 2, poses.pop("rlnOriginYAngst") / 2
    write_star(tmp_path / "poses.star", {"": pd.concat([relion_30_table(), poses], axis=1)})
    np.testing.assert_allclose(read_poses(tmp_path / "poses.star", stack)[1], SHIFTS_A, atol=1e-3)


def test_poses_without_image_names_are_in_order(tmp_path: Path, stack: object) -> None:
    write_star(tmp_path / "poses.star", {"particles": pose_table(ROTATIONS, SHIFTS_A)})
    np.testing.assert_allclose(read_poses(tmp_path / "poses.star", stack)[0], ROTATIONS, atol=1e-5)


def test_poses_of_cryosparc(tmp_path: Path, stack: object) -> None:
    vectors = Rotation.from_matrix(ROTATIONS.swapaxes(1, 2)).as_rotvec()
    rows = joined(cs_blob(b">J2/"), cs_poses("alignments3D", vectors, -SHIFTS_A / 4, 4.0))
    rotations, shifts_A = read_poses(save_cs(tmp_path / "p.cs", rows[::-1]), stack)
    np.testing.assert_allclose(rotations, ROTATIONS, atol=1e-5)
    np.testing.assert_allclose(shifts_A, SHIFTS_A, atol=1e-5)


@pytest.mark.parametrize(
    ("vector", "angles_deg"), [((0, 0, 0.4), (0, 0, 0.4)), ((0, 0.4, 0), (0, 0.4, 0)), ((0.4, 0, 0), (-90, 0.4, 90))]
)
def test_rotation_vectors_are_the_angles_that_pyem_writes(
    tmp_path: Path, stack: object, vector: tuple, angles_deg: tuple
) -> None:
    """csparc2star of a turn by 0.4 rad about z is psi = 0.4 rad, about y tilt, about x rot -90°, tilt, psi 90°."""
    angles_deg = [np.degrees(0.4) if a == 0.4 else a for a in angles_deg]
    rows = cs_poses("alignments3D", np.tile(vector, (N, 1)).astype(float), np.zeros((N, 2)), 2.0)
    rotations, _ = read_poses(save_cs(tmp_path / "p.cs", rows), stack)
    np.testing.assert_allclose(rotations[0], matrices_from_euler(np.array([angles_deg]))[0], atol=1e-6)


def test_cryosparc_classes_give_the_most_probable_pose(tmp_path: Path, stack: object) -> None:
    vectors = Rotation.from_matrix(ROTATIONS.swapaxes(1, 2)).as_rotvec()
    best = np.array([0, 1, 1, 0, 1, 0])
    parts = [cs_blob()]
    for k in range(2):
        right = (best == k)[:, None]
        parts.append(cs_poses(f"alignments_class_{k}", np.where(right, vectors, 0), -SHIFTS_A * right / 2, 2.0))
        parts.append(cs_rows(**{f"alignments_class_{k}__class_posterior": np.where(best == k, 0.9, 0.1)}))
    rotations, shifts_A = read_poses(save_cs(tmp_path / "p.cs", joined(*parts)), stack)
    np.testing.assert_allclose(rotations, ROTATIONS, atol=1e-5)
    np.testing.assert_allclose(shifts_A, SHIFTS_A, atol=1e-5)


def test_the_fingerprint_tells_stacks_apart(tmp_path: Path, stack: object) -> None:
    first = stack.fingerprint()
    assert first == json.loads(json.dumps(first)) == read_particles(tmp_path / "p.star").fingerprint()
    moved = tmp_path / "moved"
    write_two_files(moved)
    (moved / "p.star").write_bytes((tmp_path / "p.star").read_bytes())
    assert read_particles(moved / "p.star").fingerprint() == first
    write_images(moved / "a.mrcs", IMAGES[:3] + 1)
    assert read_particles(moved / "p.star").fingerprint()["image_sample_sha256"] != first["image_sample_sha256"]
    other = read_particles(tmp_path / "p.star", ctf="none").fingerprint()
    assert {name for name in first if first[name] != other[name]} == {"ctf_sha256"}
    assert read_particles(tmp_path / "a.mrcs", ctf="none").fingerprint()["file_sha256"] is None
