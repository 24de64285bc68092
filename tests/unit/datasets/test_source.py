"""Where a stack's images came from: recorded apart from the truth, and the way back to the user's own rows.

The particles are an experiment's, in two files and two optics groups: a workflow takes some, shuffles, inverts and
crops them.
"""

from pathlib import Path

import numpy as np
import pytest
from experimental_stack import Project
from given_back import found_of, write_result
from particle_files import BOX, IMAGES, VOLTAGE, N, relion_tables, write_two_files

from hydra_bench.cli.main import main
from hydra_bench.cli.simulate import record_source
from hydra_bench.contracts.places import Results
from hydra_bench.contracts.source import is_source_of, read_source, source_of_particles, source_of_run
from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.star import write_star
from hydra_bench.datasets.experimental.experiment import import_experiment
from hydra_bench.datasets.importing import Processing
from hydra_bench.particles.particle_files import read_particles, read_poses

SUBSET = 5


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The results of a workflow on such a dataset: named `mine`, cropped to half its box."""
    folder = tmp_path_factory.mktemp("round_trip")
    project = Project(folder / "project", IMAGES, np.zeros(N), VOLTAGE, ())
    write_two_files(project.folder / "Job1")
    write_star(project.folder / "Job1" / "particles.star", relion_tables())
    particles = {**project.definition, "subset": SUBSET, "box_px": BOX // 2, "normalise": "none", "reference": None}
    definition = {"seed": 3, "evaluation_particles_per_class": 4, "particles": particles}
    results = Results(folder / "results")
    import_experiment(definition, results.dataset("mine").stack, results.dataset("mine").truth)
    return results


def test_selected_rows_are_the_right_images(results: Results, tmp_path: Path) -> None:
    """Pixels compared: the rows' images, processed as the workflow did, are the images of the stack."""
    places = results.dataset("mine")
    stack = read_stack(places.particles)
    found = found_of(SUBSET)
    run = write_result(results.run("mine", "any", 0).reconstruction, found)
    source = source_of_run(run)
    out = source.path.with_name("chosen.star")
    assert main(["select", str(run), "--class", "2", "--out", str(out)]) == 0
    given = read_particles(out)
    members = np.flatnonzero(found.classes == 1)
    members = members[np.argsort(source.rows[members])]
    processing = Processing(stack.box_px, -1, "none")
    images = processing.apply(given.read_images(np.arange(len(given))))
    np.testing.assert_allclose(images, stack.read_images(members), atol=1e-4)
    np.testing.assert_allclose(given.defocus.u_A, stack.defocus.u_A[members], atol=0.01)
    np.testing.assert_array_equal(given.optics.voltage_kV, stack.optics.voltage_kV[members])
    rotations, shifts_A = read_poses(out, given)
    np.testing.assert_allclose(rotations, found.rotations[members], atol=1e-5)
    np.testing.assert_allclose(shifts_A, found.shifts_A[members], atol=1e-4)


def test_it_tells_rows_and_no_truth(results: Results) -> None:
    places = results.dataset("mine")
    source = read_source(places.source)
    np.testing.assert_array_equal(source.rows, read_truth(places.truth).sources)
    assert sorted(path.name for path in places.source.iterdir()) == ["rows.npy", "source.json"]
    stack = read_stack(places.particles)
    assert source.pixel_size_A * source.box_px == pytest.approx(stack.pixel_size_A * stack.box_px)
    assert source.box_px == 2 * stack.box_px


def test_a_run_by_hand_on_a_workflows_stack_leads_to_the_users_file(results: Results) -> None:
    stack = read_stack(results.dataset("mine").particles)
    own = source_of_particles(stack.take(np.array([4, 2])))
    source = read_source(results.dataset("mine").source)
    assert own.path == source.path
    assert own.rows.tolist() == source.rows[[4, 2]].tolist()


def test_the_record_of_an_earlier_stack_is_not_taken(results: Results, tmp_path: Path) -> None:
    first = results.dataset("mine")
    places = Results(tmp_path).dataset("mine")
    for name in ("source", "stack"):
        (places.stack.parent / name).mkdir(parents=True)
        for path in (first.stack.parent / name).iterdir():
            (places.stack.parent / name / path.name).write_bytes(path.read_bytes())
    assert is_source_of(places.source, places.particles)
    places.particles.write_text(places.particles.read_text().replace("300.0", "299.0"))
    run = write_result(Results(tmp_path).run("mine", "any", 0).reconstruction, found_of(SUBSET))
    with pytest.raises(InputError, match="is of another stack than"):
        source_of_run(run)
    record_source(places.stack)
    assert source_of_run(run).path == places.particles
    assert source_of_run(run).rows.tolist() == list(range(SUBSET))


def test_projects_may_be_moved(results: Results, tmp_path: Path) -> None:
    moved = results.folder.parent.rename(tmp_path / "moved")
    try:
        source = read_source(Results(moved / "results").dataset("mine").source)
        source.check_unchanged()
    finally:
        moved.rename(results.folder.parent)
