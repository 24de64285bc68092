"""`hydra-bench select`: what was found, in the rows of the user's own file, for RELION and cryoSPARC."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from given_back import found_of, select, write_run_of
from particle_files import (
    EVERY,
    IMAGES,
    N,
    cs_blob,
    cs_ctf,
    cs_poses,
    cs_rows,
    joined,
    relion_30_table,
    relion_tables,
    save_cs,
    write_two_files,
)

from hydra_bench.contracts.poses import pose_table
from hydra_bench.core.star import read_star, write_star
from hydra_bench.particles.particle_files import read_particles, read_poses

FOUND = found_of(N)
"""Classes 1, 2, 3, 1, 2, 3 with posteriors 0.5, 0.6, ... 1."""


def test_rows_of_relions_file_are_given_back(star: Path, tmp_path: Path) -> None:
    stack = read_particles(star)
    out = select(write_run_of(tmp_path / "run", stack, FOUND), star.with_name("chosen.star"), "--class", "1,3")
    chosen = np.array([0, 2, 3, 5])
    given, poses = read_particles(out), read_poses(out, read_particles(out))
    np.testing.assert_array_equal(given.read_images(np.arange(4)), IMAGES[chosen])
    np.testing.assert_array_equal(given.optics.voltage_kV, stack.optics.voltage_kV[chosen])
    np.testing.assert_allclose(poses[0], FOUND.rotations[chosen], atol=1e-6)
    np.testing.assert_allclose(poses[1], FOUND.shifts_A[chosen], atol=1e-5)
    was, now = read_star(star), read_star(out)
    found = now["particles"]
    assert found["rlnClassNumber"].tolist() == [1, 3, 1, 3]
    np.testing.assert_allclose(found["rlnMaxValueProbDistribution"], [0.5, 0.7, 0.8, 1], atol=1e-6)
    for j in range(2):
        np.testing.assert_allclose(found[f"hydraBenchLatent{j + 1}"], FOUND.latents[chosen, j], atol=1e-6)
    for k in range(3):
        np.testing.assert_allclose(found[f"hydraBenchPosterior{k + 1}"], FOUND.posteriors[chosen, k], atol=1e-6)
    for name in ("rlnImageName", "rlnCoordinateX", "rlnDefocusU", "rlnOpticsGroup"):
        assert found[name].tolist() == was["particles"][name].iloc[chosen].tolist()
    assert now["optics"].equals(was["optics"])
    assert now["general"].equals(was["general"])
    place = was["particles"].columns.get_loc("someoneElsesColumn")
    kept = [line.split()[place] for line in out.read_text().splitlines() if "@" in line]
    assert kept == [f"1.{i}00e-09" for i in chosen]


def test_what_was_given_back_before_is_replaced(star: Path, tmp_path: Path) -> None:
    """A run with fewer classes leaves no posteriors of the earlier one's."""
    first = select(write_run_of(tmp_path / "run", read_particles(star), FOUND), star.with_name("first.star"))
    fewer = found_of(N, n_classes=2, latent_dim=0, seed=1)
    second = select(write_run_of(tmp_path / "run2", read_particles(first), fewer), star.with_name("second.star"))
    names = read_star(second)["particles"].columns
    assert [name for name in names if name.startswith("hydraBench")] == ["hydraBenchPosterior1", "hydraBenchPosterior2"]
    assert names.is_unique


def test_origins_are_in_pixels_where_relion_has_them_so(tmp_path: Path) -> None:
    """RELION 3.0; and whatever pixel size a run was told, it moves the image by as many pixels."""
    write_two_files(tmp_path)
    star = tmp_path / "old.star"
    write_star(star, {"": relion_30_table()})
    run = write_run_of(tmp_path / "run", read_particles(star, pixel_size_A=4.0), FOUND)
    out = select(run, tmp_path / "chosen.star")
    table = next(iter(read_star(out).values()))
    np.testing.assert_allclose(table["rlnOriginX"], -FOUND.shifts_A[:, 0] / 4.0, atol=1e-6)
    assert "rlnOriginXAngst" not in table
    given = read_particles(out)
    np.testing.assert_allclose(read_poses(out, given)[1], FOUND.shifts_A * given.pixel_size_A / 4.0, atol=1e-5)


def test_a_run_that_was_told_another_pixel_size(star: Path, tmp_path: Path) -> None:
    """Å of the file's own optics table, by which RELION divides."""
    run = write_run_of(tmp_path / "run", read_particles(star, pixel_size_A=3.0), FOUND)
    out = select(run, star.with_name("chosen.star"))
    shifts_px = FOUND.shifts_A / 3.0
    np.testing.assert_allclose(read_star(out)["particles"]["rlnOriginXAngst"], -shifts_px[:, 0] * 2.0, atol=1e-5)


MAGNIFICATION = np.array([[1.05, 0.03], [-0.02, 0.96]])


@pytest.mark.parametrize("options", [(), ("--keep-poses",)])
@pytest.mark.parametrize("kind", ["star", "3.0", "cs", "cs for RELION"])
def test_shifts_are_those_in_the_images_as_they_were_recorded(tmp_path: Path, kind: str, options: list[str]) -> None:
    """Where magnification is not the same in all directions, a run's are those in the undistorted images."""
    write_two_files(tmp_path)
    name, out_name = ("p.cs", "out.cs") if kind.startswith("cs") else ("p.star", "out.star")
    labels = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
    matrix = dict(zip(labels, MAGNIFICATION.ravel(), strict=True))
    poses = pose_table(FOUND.rotations[::-1], FOUND.shifts_A[::-1])
    if kind == "star":
        tables = relion_tables()
        tables["optics"] = tables["optics"].assign(**matrix)
        tables["particles"] = tables["particles"].assign(**dict(poses.items()))
        write_star(tmp_path / name, tables)
    elif kind == "3.0":
        poses = poses.rename(columns=lambda column: column.removesuffix("Angst"))
        write_star(tmp_path / name, {"": relion_30_table().assign(**matrix, **dict(poses.items()))})
    else:
        own = cs_poses("alignments3D", np.zeros((N, 3)), FOUND.shifts_A[::-1] / 2, 2.0)
        anisomag = cs_rows(ctf__anisomag=np.tile((MAGNIFICATION - np.eye(2)).ravel(), (N, 1)).astype("f4"))
        save_cs(tmp_path / name, joined(cs_blob(b">"), cs_ctf(), anisomag, own))
        out_name = "out.star" if kind == "cs for RELION" else out_name
    stack = read_particles(tmp_path / name)
    out = select(write_run_of(tmp_path / "run", stack, FOUND), tmp_path / out_name, *options)
    given = read_particles(out)
    np.testing.assert_allclose(given.magnification, stack.magnification, atol=1e-6)
    was = read_poses(tmp_path / name, stack) if options else (FOUND.rotations, FOUND.shifts_A)
    for now, expected in zip(read_poses(out, given), was, strict=True):
        np.testing.assert_allclose(now, expected, atol=3e-5)
    if kind == "star" and not options:
        # As `test_magnification_matrices_are_relions` has it of relion_reconstruct.
        table = read_star(out)["particles"]
        origins = table[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy()
        np.testing.assert_allclose(origins, -FOUND.shifts_A @ MAGNIFICATION, atol=1e-5)


def test_a_run_of_some_particles_in_another_order(star: Path, tmp_path: Path) -> None:
    """They come back in the order of the user's file."""
    stack = read_particles(star)
    subset = stack.take(np.array([4, 1]))
    out = select(write_run_of(tmp_path / "run", subset, FOUND.take(np.array([4, 1]))), star.with_name("two.star"))
    given = read_particles(out)
    np.testing.assert_array_equal(given.read_images(np.arange(2)), IMAGES[[1, 4]])
    np.testing.assert_allclose(read_poses(out, given)[0], FOUND.rotations[[1, 4]], atol=1e-6)


def test_poses_may_stay(star: Path, tmp_path: Path) -> None:
    tables = read_star(star)
    names = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"]
    tables["particles"][names] = np.arange(5 * N).reshape(N, 5) + 0.25
    write_star(star, tables)
    run = write_run_of(tmp_path / "run", read_particles(star), FOUND)
    found = read_star(select(run, star.with_name("kept.star"), "--keep-poses"))["particles"]
    np.testing.assert_array_equal(found[names], tables["particles"][names])
    assert found["rlnClassNumber"].tolist() == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("keeps", [False, True])
def test_priors_are_those_of_the_poses(star: Path, tmp_path: Path, keeps: bool) -> None:
    """About which RELION searches locally, whatever the pose is."""
    tables = read_star(star)
    angles = ["rlnAngleRotPrior", "rlnAngleTiltPrior", "rlnAnglePsiPrior"]
    origins = ["rlnOriginXPriorAngst", "rlnOriginYPriorAngst", "rlnOriginXPrior", "rlnOriginYPrior"]
    tables["particles"][[*angles, *origins]] = 11.5
    write_star(star, tables)
    run = write_run_of(tmp_path / "run", read_particles(star), FOUND)
    found = read_star(select(run, star.with_name("chosen.star"), *(["--keep-poses"] if keeps else [])))["particles"]
    poses = pose_table(FOUND.rotations, FOUND.shifts_A).to_numpy()
    expected = np.concatenate([poses, poses[:, 3:] / 2.0], axis=1)
    np.testing.assert_allclose(found[[*angles, *origins]], np.full((N, 7), 11.5) if keeps else expected, atol=1e-5)


def test_paths_from_relions_project(star: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run_of(tmp_path / "run", read_particles(star), FOUND)
    project = tmp_path / "elsewhere" / "project"
    project.mkdir(parents=True)
    out = select(run, project / "Select" / "job001" / "particles.star", "--relative-to", str(project))
    assert read_star(out)["particles"]["rlnImageName"][0] == "000002@../../b.mrcs"
    monkeypatch.chdir(project)  # where RELION is started
    np.testing.assert_array_equal(read_particles(out).read_images(EVERY), IMAGES)


def test_rows_of_cryosparcs_file_are_given_back(cs: Path, tmp_path: Path) -> None:
    stack = read_particles(cs)
    out = select(write_run_of(tmp_path / "run", stack, FOUND), tmp_path / "chosen.cs", "--class", "2,3")
    chosen = np.array([1, 2, 4, 5])
    rows, was = np.load(out), np.load(cs)
    np.testing.assert_array_equal(rows["uid"], was["uid"][chosen])
    np.testing.assert_array_equal(rows["pick_stats/ncc_score"], chosen)
    np.testing.assert_array_equal(rows["alignments3D/class"], [1, 2, 1, 2])
    np.testing.assert_allclose(rows["alignments3D/class_posterior"], [0.6, 0.7, 0.9, 1], atol=1e-6)
    given = read_particles(out)
    np.testing.assert_array_equal(given.read_images(np.arange(4)), IMAGES[chosen])
    rotations, shifts_A = read_poses(out, given)
    np.testing.assert_allclose(rotations, FOUND.rotations[chosen], atol=1e-5)
    np.testing.assert_allclose(shifts_A, FOUND.shifts_A[chosen], atol=1e-5)
    # Keys, types and forms of values as in a file that CryoSPARC 4.4.1 exported: see `give_back_cs`.
    group = yaml.safe_load(out.with_suffix(".csg").read_text())
    assert {key: type(value) for key, value in group.items()} == {
        "created": datetime,
        "group": dict,
        "results": dict,
        "version": str,
    }
    assert set(group["group"]) == {"description", "name", "title", "type"}
    assert group["group"]["type"] == "particle"
    assert {name: result["type"] for name, result in group["results"].items()} == {
        name: f"particle.{name}" for name in ("alignments3D", "blob", "ctf", "location", "pick_stats")
    }
    assert set(group["results"]) == {"alignments3D", "blob", "ctf", "location", "pick_stats"}
    assert group["results"]["blob"] == {"metafile": ">chosen.cs", "num_items": 4, "type": "particle.blob"}


def test_cryosparcs_rows_for_relion(cs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = read_particles(cs)
    out = select(write_run_of(tmp_path / "run", stack, FOUND), tmp_path / "chosen.star", "--class", "2")
    chosen = np.array([1, 4])
    said = capsys.readouterr().err
    assert "pick_stats/ncc_score" in said
    assert "blob/" not in said
    given, table = read_particles(out), read_star(out)["particles"]
    np.testing.assert_array_equal(given.read_images(np.arange(2)), IMAGES[chosen])
    np.testing.assert_allclose(given.defocus.u_A, stack.defocus.u_A[chosen], rtol=1e-6)
    np.testing.assert_allclose(given.defocus.angle_deg, stack.defocus.angle_deg[chosen], atol=1e-4)
    np.testing.assert_array_equal(given.optics.voltage_kV, stack.optics.voltage_kV[chosen])
    np.testing.assert_allclose(read_poses(out, given)[0], FOUND.rotations[chosen], atol=1e-6)
    np.testing.assert_allclose(read_poses(out, given)[1], FOUND.shifts_A[chosen], atol=1e-5)
    assert table["rlnMicrographName"].tolist() == ["mics/m1.mrc", "mics/m4.mrc"]
    assert (table["rlnCoordinateX"].tolist(), table["rlnCoordinateY"].tolist()) == ([50, 50], [50, 50])
    assert table["ucsfUid"].tolist() == (np.load(cs)["uid"][chosen]).tolist()


def test_what_is_neutral_is_not_named_as_lost(cs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a scale that nobody filled does not become one of 0, with which RELION would have no image."""
    neutral = cs_rows(
        ctf__tilt_A=np.zeros((N, 2), "f4"),
        ctf__trefoil_A=np.zeros((N, 2), "f4"),
        ctf__tetra_A=np.eye(N, 4, dtype="f4"),
        ctf__scale=np.zeros(N, "f4"),
        ctf__anisomag=np.zeros((N, 4), "f4"),
    )
    save_cs(cs, joined(np.load(cs), neutral))
    out = select(write_run_of(tmp_path / "run", read_particles(cs), FOUND), tmp_path / "chosen.star")
    assert "left out: ctf/tetra_A, pick_stats/ncc_score of" in capsys.readouterr().err
    given = read_particles(out)
    assert given.magnification is None
    assert given.defocus.scale is None


def test_a_stack_named_mrc_is_told_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELION takes a .mrc file for a map unless its name ends with :mrcs."""
    write_two_files(tmp_path)
    (tmp_path / "J3").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"{name}.mrcs").rename(tmp_path / "J3" / f"{name}.mrc")
    cs = save_cs(tmp_path / "J9.cs", joined(cs_blob(b">J3/", b".mrc"), cs_ctf()))
    stack = read_particles(cs)
    run = write_run_of(tmp_path / "run", stack, FOUND)
    project = tmp_path / "project"
    for options, name in (([], "J3/b.mrc:mrcs"), (["--relative-to", str(project)], "../J3/b.mrc:mrcs")):
        out = select(run, project / "chosen.star", *options)
        assert read_star(out)["particles"]["rlnImageName"][0] == f"000002@{name}"
        monkeypatch.chdir(project)
        np.testing.assert_array_equal(read_particles(out).read_images(EVERY), stack.read_images(EVERY) * -1)


def test_cryosparcs_own_poses_may_stay(cs: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors, shifts = rng.standard_normal((N, 3)), rng.standard_normal((N, 2))
    save_cs(cs, joined(np.load(cs), cs_poses("alignments3D", vectors, shifts, 3.0)))
    run = write_run_of(tmp_path / "run", read_particles(cs), FOUND)
    for name in ("chosen.cs", "chosen.star"):
        out = select(run, tmp_path / name, "--keep-poses")
        for found, own in zip(read_poses(out, read_particles(out)), read_poses(cs, read_particles(cs)), strict=True):
            np.testing.assert_allclose(found, own, atol=1e-5)
