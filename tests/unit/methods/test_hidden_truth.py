"""The truth stays hidden: nothing but the pixels tells the species, and methods do without the truth's folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from definitions import dataset
from hydra_cases import Case
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

from hydra_bench.cli.main import main
from hydra_bench.contracts.stack import write_stack_star
from hydra_bench.core.star import read_star
from hydra_bench.datasets.simulated.imaging import Imaging, draw_particles
from hydra_bench.methods import cards as method_cards

COUNTS = [900, 900, 900]


def features(star: Path) -> np.ndarray:
    """All that the STAR file says of each particle, and its place, as numbers (N, columns)."""
    tables = read_star(star)
    particles = tables["particles"]
    assert set(particles) == {
        "rlnImageName",
        "rlnOpticsGroup",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnPhaseShift",
    }
    number = particles["rlnImageName"].str.split("@").str[0].astype(int)
    columns = particles.drop(columns="rlnImageName").assign(number=number, row=np.arange(len(particles)))
    columns["odd"], columns["astigmatism"] = number % 2, columns["rlnDefocusU"] - columns["rlnDefocusV"]
    # A particle's neighbours: order may leak by runs, not only by place.
    neighbours = [np.roll(columns["rlnDefocusU"], shift) for shift in (-1, 1)]
    return np.column_stack([columns.to_numpy(float), *neighbours])


def guessed(star: Path, classes: np.ndarray) -> float:
    """How many of 3 equally frequent classes a forest guesses from the metadata, by cross-validation; 1/3 by chance."""
    forest = RandomForestClassifier(60, min_samples_leaf=5, random_state=0, n_jobs=1)
    # Folds drawn at random: in order, a forest could not use a leak by place.
    order = np.random.default_rng(0).permutation(len(classes))
    return float(cross_val_score(forest, features(star)[order], classes[order], cv=3).mean())


@pytest.mark.parametrize("micrographs", [None, 40])
def test_a_classifier_of_the_metadata_finds_nothing(tmp_path: Path, micrographs: int | None) -> None:
    imaging = Imaging.from_definition(dataset()["simulation"])
    imaging = replace(imaging, particles_per_micrograph=micrographs, height_sd_A=150)
    drawn = draw_particles(COUNTS, imaging, 2, seed=11)
    write_stack_star(tmp_path, drawn.defocus, drawn.optics, 32, 5.0, drawn.evaluation)
    chance = np.sqrt(2 / 9 / sum(COUNTS))
    assert guessed(tmp_path / "particles.star", drawn.classes) < 1 / 3 + 4 * chance
    # It would find a leak: by order, or by defocus.
    assert guessed(tmp_path / "particles.star", np.sort(drawn.classes)) > 0.9
    by_defocus = np.argsort(np.argsort(drawn.defocus.u_A)) * 3 // sum(COUNTS)
    assert guessed(tmp_path / "particles.star", by_defocus) > 0.9


def test_orientations_shifts_and_ctf_are_alike_in_all_classes() -> None:
    imaging = Imaging.from_definition(dataset()["simulation"])
    drawn = draw_particles(COUNTS, imaging, 2, seed=12)
    values = np.column_stack([drawn.shifts_A, drawn.defocus.u_A, drawn.defocus.angle_deg, drawn.rotations[:, 2]])
    spread = values.std(0) / np.sqrt(COUNTS[0])
    means = np.stack([values[drawn.classes == k].mean(0) for k in range(3)])
    assert (np.abs(means - values.mean(0)) < 4 * spread).all()


def test_headers_and_names_say_nothing(case: Case) -> None:
    folder = case.stack.path.parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "evaluation_particles.txt",
        "particles.mrcs",
        "particles.star",
    ]
    with mrcfile.open(folder / "particles.mrcs", header_only=True) as mrc:
        assert [label.strip() for label in mrc.header.label if label.strip()] == [b"hydra-bench"]
        assert not mrc.header.nsymbt
    text = (folder / "particles.star").read_text()
    assert not any(name in text for name in (*case.truth.class_names, "large", "created", "Angle" + "Rot"))
    evaluation = np.loadtxt(folder / "evaluation_particles.txt", dtype=int)
    assert (np.diff(evaluation) > 0).all()


def test_every_method_does_without_the_truth(case: Case, tmp_path: Path) -> None:
    """The same reconstruction, byte for byte, with the folder of the truth beside the stack and with it moved away."""
    # Adapters of other programs are handed a Task, in which there is no truth, by a rule that has none among its inputs
    # (test_config.py). A program with a rule of its own could do anything.
    own = [name for name in method_cards.programs() if method_cards.has_rule(name)]
    competing = [name for name in own if not method_cards.card(name)["reads_truth"]]
    assert competing == ["hydra"], "a program with its own rule was added: it belongs into this test"
    source = case.stack.path.parents[1]
    shutil.copytree(source, tmp_path / "data")
    stack = tmp_path / "data" / "stack"
    small = [f"--set={s}" for s in ("l_schedule=[3]", "decode_epochs=1", "width=16", "depth=1", "features=16")]
    command = ["hydra", "--particles", str(stack / "particles.star"), "--classes", "2", "--latent-dim", "1", *small]
    command += ["--evaluation-list", str(stack / "evaluation_particles.txt"), "--threads", "1", "--seed", "1"]
    assert main([*command, "--out", str(tmp_path / "with")]) == 0
    (tmp_path / "data" / "truth").rename(tmp_path / "elsewhere")
    assert main([*command, "--out", str(tmp_path / "without")]) == 0
    made = [p.relative_to(tmp_path / "with") for p in (tmp_path / "with").rglob("*") if p.is_file()]
    compared = [p for p in made if p.name not in ("run.json", "history.csv")]  # these hold times
    assert len(compared) >= 7
    for path in compared:
        assert (tmp_path / "with" / path).read_bytes() == (tmp_path / "without" / path).read_bytes(), path
