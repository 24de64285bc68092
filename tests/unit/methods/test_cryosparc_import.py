"""Finished CryoSPARC jobs as reconstructions, from files that are written here as that program writes them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryosparc_job import ABINIT_MAPS, Job
from hydra_cases import Case

from hydra_bench.cli.main import main
from hydra_bench.config import configuration
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import read_assignments, read_run, sample_path
from hydra_bench.core.errors import InputError
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.maps.fsc import compare
from hydra_bench.methods import cards as method_cards
from hydra_bench.particles.particle_files import read_labels, read_poses
from hydra_bench.physics.rotations import angular_distance_deg

files = method_cards.method_module("cryosparc_import/files.py")


@pytest.fixture
def job(tmp_path: Path, case: Case) -> Job:
    return Job(tmp_path / "P3" / "J42", case)


@pytest.fixture
def imported(tmp_path: Path, case: Case) -> Callable[..., Path]:
    """Run the import as a job of the workflow does; the reconstruction."""

    def run(**parameters: Any) -> Path:
        definition = {"name": "sparc", "program": "cryosparc_import", "parameters": parameters}
        stack, out = case.stack.path, tmp_path / "out"
        files = ["--particles", str(stack), "--evaluation-list", str(stack.parent / "evaluation_particles.txt")]
        folders = ["--state", str(tmp_path / "state"), "--out", str(out)]
        assert main(["reconstruct", *files, *folders, "--definition", json.dumps(definition)]) == 0
        return out

    return run


@pytest.mark.parametrize("layout", ["class_groups", "multi", "single"])
def test_classes_poses_and_maps_are_those_of_the_job(
    job: Job, imported: Callable[..., Path], case: Case, layout: str
) -> None:
    job.write("J42_00100_particles.cs", job.fields() | getattr(job, layout)(), slice(3))
    job.write("J42_final_particles.cs", job.fields() | getattr(job, layout)())
    job.write("J42_class_00_final_particles.cs", job.fields(), slice(5))
    job.write_maps(ABINIT_MAPS[::-1])
    (job.folder / ABINIT_MAPS[0]).rename(job.folder / "J42_class_00_00100_volume.mrc")
    job.write_maps(ABINIT_MAPS)
    out = imported(job=str(job.folder))
    found, truth = read_assignments(out, len(case.truth)), case.truth
    assert (found.classes == truth.classes).all()
    np.testing.assert_allclose(found.posteriors, np.where(np.eye(2)[truth.classes], 0.8, 0.2), atol=1e-5)
    assert angular_distance_deg(found.rotations, truth.rotations).max() < 0.05
    np.testing.assert_allclose(found.shifts_A, truth.shifts_A, atol=1e-3)
    for k in range(2):
        volume, pixel = read_map(class_volume_path(out, k))
        assert (len(volume), pixel) == (case.stack.box_px, pytest.approx(case.stack.pixel_size_A))
        assert compare(volume, truth.class_volume(k)).curve[: len(volume) // 4 - 2].min() > 0.99
    evaluated = int((case.stack.path.parent / "evaluation_particles.txt").read_text().split()[0])
    own = read_map(class_volume_path(out, truth.classes[evaluated]))[0]
    np.testing.assert_array_equal(read_map(sample_path(out, evaluated))[0], own)
    run = read_run(out)
    assert run.notes["particles_missing"] == 0
    assert any("not of the job" in text for text in run.notes["departures"])


def test_a_reference_may_have_that_layout_too(job: Job, case: Case) -> None:
    path = job.write(
        "particles.cs", job.fields() | {"blob/path": np.full(len(job.uid), b"particles.mrcs")} | job.multi()
    )
    assert (read_labels(path, case.stack) == case.truth.classes).all()
    rotations, shifts_A = read_poses(path, case.stack)
    assert angular_distance_deg(rotations, case.truth.rotations).max() < 0.05
    np.testing.assert_allclose(shifts_A, case.truth.shifts_A, atol=1e-3)


def test_homogeneous_refinement_is_one_class_whatever_passed_through(
    tmp_path: Path, case: Case, imported: Callable[..., Path]
) -> None:
    before, job = Job(tmp_path / "before", case), Job(tmp_path / "J43", case, 1)
    job.write("J43_007_particles.cs", {"uid": job.uid} | job.single())
    job.write("J43_passthrough_particles.cs", job.fields() | before.multi())
    job.write_maps(["J43_007_volume_map.mrc"])
    write_map(job.folder / "J43_007_volume_map_sharp.mrc", np.zeros((8, 8, 8)), 1.0)
    json_file = {
        "version": "v4.6.2",
        "job_type": "homo_refine_new",
        "started_at": {"$date": "2026-11-25T10:00:00.000Z"},
        "completed_at": {"$date": "2026-11-25T10:20:30.000Z"},
    }
    (job.folder / "job.json").write_text(json.dumps(json_file))
    out = imported(job=str(job.folder))
    assert (read_assignments(out, len(case.truth)).posteriors == 1).all()
    notes = read_run(out).notes
    assert notes["versions"] == {"CryoSPARC": "v4.6.2"}
    assert (notes["job_type"], notes["job_wall_s"]) == ("homo_refine_new", 1230)
    wanted = {"J43_007_particles.cs", "J43_007_volume_map.mrc", "J43_passthrough_particles.cs", "job.json"}
    assert {path.name for path in files.used_files({"job": str(job.folder)})} == wanted


def test_particles_that_are_not_in_the_job_are_a_class_of_their_own(
    job: Job, imported: Callable[..., Path], case: Case
) -> None:
    job.write("J42_final_particles.cs", job.fields() | job.class_groups(), slice(10, None))
    job.write("J42_passthrough_particles_unused.cs", job.fields(), slice(10))
    job.write_maps(ABINIT_MAPS)
    out = imported(job=str(job.folder))
    found, left_out = read_assignments(out, len(case.truth)), job.order[:10]
    assert (found.classes[left_out] == 2).all()
    assert (np.delete(found.classes, left_out) == np.delete(case.truth.classes, left_out)).all()
    assert not read_map(class_volume_path(out, 2))[0].any()
    run = read_run(out)
    assert run.notes["particles_missing"] == 10
    assert run.notes["departures"][1].startswith(
        f"10 of {len(case.truth)} particles are not in the job; they are class 3"
    )


def test_files_may_be_named_one_by_one(job: Job, imported: Callable[..., Path], case: Case) -> None:
    particles = job.write("mine.cs", job.fields() | job.class_groups())
    job.write_maps(["b.mrc", "a.mrc"])
    volumes = [str(job.folder / name) for name in ("b.mrc", "a.mrc")]
    out = imported(particles=str(particles), volumes=volumes)
    assert read_run(out).state == "ok"
    assert (read_assignments(out, len(case.truth)).classes == case.truth.classes).all()


def without(name: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    return lambda fields: {key: value for key, value in fields.items() if key != name}


def replaced(name: str, values: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, np.ndarray]], Any]:
    return lambda fields: {key: values(value) if key == name else value for key, value in fields.items()}


@pytest.mark.parametrize(
    ("layout", "change", "expected"),
    [
        ("class_groups", without("alignments_class_1/pose"), "lacks the field alignments_class_1/pose"),
        (
            "class_groups",
            without("alignments_class_0/class_posterior"),
            "lacks the field alignments_class_0/class_post",
        ),
        ("class_groups", without("alignments_class_0/psize_A"), "lacks the field alignments_class_0/psize_A"),
        ("class_groups", without("blob/path"), "lacks the field blob/path"),
        (
            "fields",
            without("uid"),
            "lacks the field alignments3D_multi/class_posterior; nor is there alignments_class_",
        ),
        ("multi", without("alignments3D_multi/shift"), "lacks the field alignments3D_multi/shift"),
        (
            "multi",
            replaced("alignments3D_multi/pose", lambda v: v[:, :, :2]),
            r"pose has shape .*; \(.*, 2, 3\) is exp",
        ),
        ("multi", replaced("alignments3D_multi/class", lambda v: v * 0), "the numbers 0 to 1, each once, are expected"),
        (
            "multi",
            replaced("alignments3D_multi/class_posterior", lambda v: v * 0),
            "is no distribution over the classes",
        ),
        (
            "class_groups",
            replaced("alignments_class_0/pose", lambda v: v * np.nan),
            "alignments_class_0/pose is nan in",
        ),
        ("class_groups", replaced("blob/idx", lambda v: v * 0), r"image 1 of J1.*particles.mrc is there twice"),
        (
            "class_groups",
            replaced("blob/path", lambda v: np.full(len(v), b"J2/other.mrc")),
            "names no image of .*other.mrc, not image 1 of",
        ),
    ],
)
def test_a_file_that_is_not_usable_is_a_failed_row_that_names_it(
    job: Job, imported: Callable[..., Path], layout: str, change: Callable[..., dict[str, np.ndarray]], expected: str
) -> None:
    made = {} if layout == "fields" else getattr(job, layout)()
    job.write("J42_final_particles.cs", change(job.fields() | made))
    job.write_maps(ABINIT_MAPS)
    run = read_run(imported(job=str(job.folder)))
    assert run.state == "failed"
    assert "J42_final_particles.cs" in run.reason
    assert re.search(expected, run.reason), run.reason


def test_a_truncated_file_is_a_failed_row_that_names_it(job: Job, imported: Callable[..., Path]) -> None:
    path = job.write("J42_final_particles.cs", job.fields() | job.class_groups())
    job.write_maps(ABINIT_MAPS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "J42_final_particles.cs: " in read_run(imported(job=str(job.folder))).reason
    path.write_bytes(whole)
    map_path = job.folder / ABINIT_MAPS[1]
    map_path.write_bytes(map_path.read_bytes()[:2000])
    assert ABINIT_MAPS[1] in read_run(imported(job=str(job.folder))).reason
    job.write_maps([*ABINIT_MAPS, "J42_class_02_final_volume.mrc"])
    assert read_run(imported(job=str(job.folder))).reason.startswith("3 maps, but ")


def test_what_is_not_there_is_said_before_any_job(job: Job) -> None:
    def problem(**parameters: Any) -> str:
        with pytest.raises(InputError) as error:
            files.job_files(parameters)
        return str(error.value)

    assert problem() == "particles: is missing, as is job; a finished job's folder, or its files, are expected"
    assert "volumes: is missing" in problem(particles="x.cs")
    assert "the folder of a finished CryoSPARC job is expected" in problem(job=str(job.folder / "J0"))
    assert "holds no *_particles.cs of all classes" in problem(job=str(job.folder))
    job.write("J42_final_particles.cs", job.fields())
    assert "holds no *_volume.mrc and no *_volume_map.mrc" in problem(job=str(job.folder))
    assert problem(job=str(job.folder), volumes=["no.mrc"]) == "volumes: no.mrc: no such file"
    job.write_maps(["J42_class_01_final_volume.mrc"])
    assert "holds no map of class 0" in problem(job=str(job.folder))


def test_a_configuration_that_names_a_missing_job_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    sparc = "{program: cryosparc_import, label: x, parameters: {job: nowhere/J1}}"
    mine.write_text(f"methods: [sparc]\nmethod_definitions: {{sparc: {sparc}}}\n")
    files = [Path(__file__).parents[3] / "config" / "config.yaml", mine]
    settings = configuration.validate(configuration.load(files), files)
    with pytest.raises(InputError) as error:
        configuration.check_named_files(settings, files)
    assert str(error.value).startswith(f"{mine}: method_definitions.sparc.parameters: job: nowhere/J1 is not there; ")
    settings["methods"] = ["hydra_k3"]
    configuration.check_named_files(settings, files)
