"""`hydra-bench select`: what a run found, in the rows of the user's own file, for RELION, cryoSPARC and cryoDRGN."""

import pickle
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from given_back import found_of, write_result, write_run_of
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
    write_images,
    write_two_files,
)

from hydra_bench.cli.main import main
from hydra_bench.contracts.analysis import ParticleAnalysis, write_particle_analysis
from hydra_bench.contracts.poses import pose_table
from hydra_bench.core.star import read_star, write_star
from hydra_bench.particles.particle_files import read_particles, read_poses

FOUND = found_of(N)
"""Classes 1, 2, 3, 1, 2, 3 with posteriors 0.5, 0.6, ... 1."""


def select(run: Path, out: Path, *options: str) -> Path:
    assert main(["select", str(run), "--out", str(out), *options]) == 0
    return out


def problem(capsys: pytest.CaptureFixture[str], run: Path, out: Path, *options: str) -> str:
    """The one line that a refused selection says."""
    assert main(["select", str(run), "--out", str(out), *options]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert not out.exists()
    return said.removeprefix("hydra-bench: error: ")


@pytest.fixture
def star(tmp_path: Path) -> Path:
    """RELION 3.1: two files, two optics groups, a column that nobody knows, and digits that must stay."""
    write_two_files(tmp_path)
    tables = relion_tables()
    tables["particles"]["someoneElsesColumn"] = [f"1.{i}00e-09" for i in range(N)]
    tables["particles"]["rlnOriginXAngst"] = 99.0
    write_star(tmp_path / "particles.star", tables)
    return tmp_path / "particles.star"


@pytest.fixture
def cs(tmp_path: Path) -> Path:
    """A .cs file of uids in no order, with what it lacks in a passthrough file of another order."""
    write_two_files(tmp_path)
    location = cs_rows(
        location__micrograph_path=np.array([f">mics/m{i}.mrc".encode() for i in range(N)]),
        location__micrograph_shape=np.full((N, 2), (100, 200), dtype=np.uint32),
        location__center_x_frac=np.full(N, 0.25, dtype="f4"),
        location__center_y_frac=np.full(N, 0.5, dtype="f4"),
        pick_stats__ncc_score=np.arange(N, dtype="f4"),
    )
    blob = cs_blob(b">")
    blob["blob/sign"] = 1
    save_cs(tmp_path / "J9_passthrough_particles.cs", joined(cs_ctf(), location)[::-1])
    return save_cs(tmp_path / "J9_particles.cs", blob)


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


def test_junk_is_told_in_the_rows_and_can_be_left_out(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    telling = replace(FOUND, junk=np.array([0.0, 0.9, 0.2, 0.6, 0.5, 1.0]))
    run = write_run_of(tmp_path / "run", read_particles(star), telling)
    everyone = select(run, star.with_name("all.star"))
    assert read_star(everyone)["particles"]["hydraBenchJunkPosterior"].tolist() == telling.junk.tolist()
    kept = select(run, star.with_name("kept.star"), "--exclude-junk")
    assert read_star(kept)["particles"]["hydraBenchJunkPosterior"].tolist() == [0.0, 0.2, 0.5]
    # A run that does not tell, of these rows, leaves none of the earlier one's.
    silent = write_run_of(tmp_path / "silent", read_particles(everyone), FOUND)
    assert "hydraBenchJunkPosterior" not in read_star(select(silent, star.with_name("silent.star")))["particles"]
    said = problem(capsys, silent, star.with_name("none.star"), "--exclude-junk")
    assert said == "--exclude-junk: the run does not tell junk; one of `hydra --preset field` does"


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


def test_lists_for_cryodrgn_count_rows_of_the_users_file(star: Path, tmp_path: Path) -> None:
    shuffled = np.array([3, 5, 0, 1])
    run = write_run_of(tmp_path / "run", read_particles(star).take(shuffled), FOUND.take(shuffled))
    for suffix in ("npy", "ind", "pkl"):
        out = select(run, tmp_path / f"chosen.{suffix}", "--class", "1,3")
        rows = np.load(out) if suffix == "npy" else pickle.loads(out.read_bytes())
        assert rows.tolist() == [0, 3, 5]


def test_one_file_a_class(star: Path, tmp_path: Path) -> None:
    run = write_run_of(tmp_path / "run", read_particles(star), FOUND)
    select(run, tmp_path / "of.npy", "--one-a-class", "--min-posterior", "0.6")
    rows = {path.name: np.load(path).tolist() for path in tmp_path.glob("of*.npy")}
    assert rows == {"of_class1.npy": [3], "of_class2.npy": [1, 4], "of_class3.npy": [2, 5]}


def test_latents_and_clusters(star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = write_run_of(tmp_path / "run", read_particles(star), FOUND), tmp_path / "chosen.npy"
    assert "`hydra-bench analyse" in problem(capsys, run, out, "--cluster", "2")
    write_particle_analysis(run / "analysis", ParticleAnalysis(np.array([1, 3, 5, 2, 4, 6]), np.zeros((N, 0))))
    assert np.load(select(run, out, "--cluster", "2,5")).tolist() == [2, 3]
    out.unlink()
    assert problem(capsys, run, out, "--cluster", "7") == "--cluster: 7; 1 to 6 is allowed"
    assert "name one class" in problem(capsys, run, out, "--latent-box", "1:-9:9")
    low, high = sorted(FOUND.latents[[0, 3], 1])
    box = ["--class", "1", "--latent-box", f"2:{low - 1e-4}:{high - 1e-4}", "--latent-box", "1:-9:9"]
    assert np.load(select(run, out, *box)).tolist() == [int(np.flatnonzero(FOUND.latents[:, 1] == low)[0])]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--class", "4"], "--class: 4; 1 to 3 is allowed"),
        (["--class", "0"], "--class: 0; 1 to 3 is allowed"),
        (["--class", "x"], "--class: 'x'; numbers with commas between them are expected"),
        (["--min-posterior", "1.5"], "--min-posterior: 1.5; 0 to 1 is allowed"),
        (["--class", "1", "--min-posterior", "0.95"], "none of the 6 particles meets all that is asked for"),
        (["--latent-box", "1:2"], "--latent-box: '1:2'; LATENT:LOWEST:HIGHEST is expected, such as 1:-0.5:1"),
        (["--latent-box", "1:2:1"], "--latent-box: '1:2:1'; a latent from 1, and its lowest value before its highest"),
        (["--latent-box", "3:0:1"], "--latent-box: latent 3; 1 to 2 is allowed"),
    ],
)
def test_what_cannot_be_chosen(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    run = write_run_of(tmp_path / "run", read_particles(star), FOUND)
    assert problem(capsys, run, tmp_path / "chosen.npy", *options) == said


def test_what_cannot_be_written(star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run_of(tmp_path / "run", read_particles(star), FOUND)
    assert "only a .cs file has the uids" in problem(capsys, run, tmp_path / "chosen.cs")
    assert ".star, .cs, .ind, .pkl, .npy are allowed" in problem(capsys, run, tmp_path / "chosen.txt")
    assert main(["select", str(run), "--out", str(star)]) == 2
    assert "never written over" in capsys.readouterr().err
    images = read_particles(write_images(tmp_path / "bare.mrcs", IMAGES), ctf="none")
    bare = write_run_of(tmp_path / "bare", images, FOUND)
    assert "without rows" in problem(capsys, bare, tmp_path / "chosen.star")
    assert np.load(select(bare, tmp_path / "chosen.npy", "--class", "2")).tolist() == [1, 4]


def test_a_file_that_is_not_what_it_was(star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = write_run_of(tmp_path / "run", read_particles(star), FOUND), tmp_path / "chosen.npy"
    copy = tmp_path / "copy.star"
    copy.write_bytes(star.read_bytes())
    tables = read_star(star)
    write_star(star, {**tables, "particles": tables["particles"].iloc[::-1]})
    assert "its rows may be other images" in problem(capsys, run, out)
    select(run, out, "--particles", str(copy))
    star.unlink()
    out.unlink()
    assert "name by --particles where it lies now" in problem(capsys, run, out)


def test_runs_that_have_nothing_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_result(tmp_path / "failed", FOUND, state="failed")
    assert "ended as failed" in problem(capsys, run, tmp_path / "chosen.npy")
    run = write_result(tmp_path / "unknown", FOUND)
    assert "is not recorded" in problem(capsys, run, tmp_path / "chosen.npy")
