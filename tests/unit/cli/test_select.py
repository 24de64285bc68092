"""`hydra-bench select`: which particles are chosen, into which files, and what is refused."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from given_back import found_of, problem, select, write_result, write_run_of
from particle_files import (
    IMAGES,
    N,
    write_images,
)

from hydra_bench.cli.main import main
from hydra_bench.contracts.analysis import ParticleAnalysis, write_particle_analysis
from hydra_bench.core.star import read_star, write_star
from hydra_bench.particles.particle_files import read_particles

FOUND = found_of(N)
"""Classes 1, 2, 3, 1, 2, 3 with posteriors 0.5, 0.6, ... 1."""


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
