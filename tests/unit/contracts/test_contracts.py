"""Each file contract: what is written is read back, and what is wrong is refused in one line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from definitions import dataset

from hydra_bench.contracts.reconstruction import Assignments, read_assignments, read_run, write_assignments
from hydra_bench.contracts.stack import read_evaluation_list, read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.errors import InputError, RunFailedError
from hydra_bench.core.files import atomic, read_json
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.core.star import read_star, write_star
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.methods.recording import Outcome, Request, record_run
from hydra_bench.physics.rotations import random_rotations

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("simulated")
    simulate(dataset(images=4), STRUCTURES, made / "stack", made / "truth")
    return made


@pytest.fixture
def folder(simulated: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(simulated, tmp_path / "dataset")


def edit_star(path: Path, edit: object) -> None:
    tables = read_star(path)
    edit(tables)
    write_star(path, tables)


def drop(table: str, column: str) -> object:
    return lambda tables: tables.update({table: tables[table].drop(columns=column)})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("optics"), "no data_optics"),
        (drop("optics", "rlnVoltage"), "data_optics lacks the column rlnVoltage"),
        (drop("particles", "rlnDefocusU"), "data_particles lacks the column rlnDefocusU"),
        (lambda t: t.update(particles=t["particles"].iloc[:0]), "data_particles holds no particles"),
        (
            lambda t: t["particles"].__setitem__("rlnDefocusU", "high"),
            "rlnDefocusU is high in row 1; a number is expected",
        ),
        (lambda t: t["particles"].insert(0, "rlnAngleRot", 0.0), "rlnAngleRot gives truth away"),
        (lambda t: t["particles"].insert(0, "rlnClassNumber", 1), "rlnClassNumber gives truth away"),
        (lambda t: t.update(particles=t["particles"].drop(index=0)), "must number one image file's entries"),
        (lambda t: t["optics"].__setitem__("rlnImageSize", 64), "the STAR file says"),
    ],
)
def test_stacks_that_are_refused(folder: Path, edit: object, message: str) -> None:
    path = folder / "stack" / "particles.star"
    edit_star(path, edit)
    with pytest.raises(InputError, match=message) as error:
        read_stack(path)
    assert str(path.parent) in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_and_missing_images_are_refused(folder: Path) -> None:
    images = folder / "stack" / "particles.mrcs"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated"):
        read_stack(folder / "stack" / "particles.star")
    images.unlink()
    with pytest.raises(InputError, match=r"particles\.mrcs: no such file"):
        read_stack(folder / "stack" / "particles.star")


def test_stack_header_and_values(folder: Path) -> None:
    stack = read_stack(folder / "stack" / "particles.star")
    images = stack.read_images(np.arange(len(stack)))
    assert images.shape == (8, 32, 32)
    assert np.isfinite(images).all()
    import mrcfile

    with mrcfile.open(stack.images.paths[0]) as mrc:
        assert mrc.is_image_stack()
        np.testing.assert_array_equal(mrc.data, images)
        assert float(mrc.header.dmean) == pytest.approx(images.mean(), abs=1e-5)
        assert float(mrc.voxel_size.x) == pytest.approx(stack.pixel_size_A, rel=1e-5)


def test_evaluation_list_is_checked(folder: Path) -> None:
    path = folder / "stack" / "evaluation_particles.txt"
    path.write_text("3\n8\n")
    with pytest.raises(InputError, match=r"0\.\.7"):
        read_evaluation_list(path, 8)
    path.write_text("three\n")
    with pytest.raises(InputError, match="one particle number a line"):
        read_evaluation_list(path, 8)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("classes"), "no data_classes"),
        (drop("particles", "rlnAnglePsi"), "lacks the column rlnAnglePsi"),
        (
            lambda t: t["particles"].__setitem__("rlnClassNumber", 9),
            r"rlnClassNumber is 9 in row 1; 1\.\.2 is expected",
        ),
        (lambda t: t["classes"].__setitem__("rlnReferenceImage", "volumes/none.mrc"), "no such file"),
    ],
)
def test_truths_that_are_refused(folder: Path, edit: object, message: str) -> None:
    edit_star(folder / "truth" / "truth.star", edit)
    with pytest.raises(InputError, match=message):
        read_truth(folder / "truth")


def some_assignments() -> Assignments:
    generator = np.random.default_rng(0)
    posteriors = generator.dirichlet([1, 1, 1], 12).round(6)
    return Assignments(
        classes=posteriors.argmax(1),
        posteriors=posteriors,
        rotations=random_rotations(12, generator),
        shifts_A=generator.uniform(-9, 9, (12, 2)),
        latents=generator.standard_normal((12, 2)),
    )


def test_assignments_round_trip(tmp_path: Path) -> None:
    written = some_assignments()
    write_assignments(tmp_path, written)
    read = read_assignments(tmp_path, 12)
    np.testing.assert_array_equal(read.classes, written.classes)
    for name in ("posteriors", "rotations", "shifts_A", "latents"):
        np.testing.assert_allclose(getattr(read, name), getattr(written, name), atol=6e-6, err_msg=name)


def test_assignments_of_another_stack_are_refused(tmp_path: Path) -> None:
    write_assignments(tmp_path, some_assignments())
    with pytest.raises(InputError, match="12 particles; the stack has 13"):
        read_assignments(tmp_path, 13)


def test_maps_round_trip_and_bad_maps_are_refused(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).standard_normal((6, 6, 6)).astype(np.float32)
    write_map(tmp_path / "map.mrc", volume, 2.5)
    read, pixel = read_map(tmp_path / "map.mrc")
    np.testing.assert_array_equal(read, volume)
    assert pixel == pytest.approx(2.5)
    write_map(tmp_path / "flat.mrc", volume[:3], 2.5)
    with pytest.raises(InputError, match="cubic"):
        read_map(tmp_path / "flat.mrc")


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with atomic(tmp_path / "file.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


REQUEST = Request({"name": "some", "program": "hydra", "parameters": {"classes": 2}}, seed=4, device="cpu")


def test_a_run_is_recorded(tmp_path: Path) -> None:
    def work(folder: Path) -> Outcome:
        (folder / "result.txt").write_text("done")
        return Outcome(images_seen=10, notes={"empty_classes": [2]})

    record_run(tmp_path / "out", REQUEST, work)
    run = read_run(tmp_path / "out")
    assert (run.state, run.method, run.seed, run.images_seen) == ("ok", "some", 4, 10)
    assert run.cost.peak_rss_mb > 0
    assert (tmp_path / "out" / "result.txt").read_text() == "done"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RunFailedError("too few images"), "too few images"), (ValueError("a\nb"), "ValueError: a b")],
)
def test_a_failed_run_is_recorded_with_its_reason(tmp_path: Path, error: Exception, reason: str) -> None:
    def work(folder: Path) -> Outcome:
        (folder / "half.txt").write_text("half")
        raise error

    record_run(tmp_path / "out", REQUEST, work)
    run = read_run(tmp_path / "out")
    assert (run.state, run.reason) == ("failed", reason)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["run.json"]


def test_a_wrong_input_is_passed_on_and_leaves_nothing(tmp_path: Path) -> None:
    def work(folder: Path) -> Outcome:
        raise InputError("labels: wrong")

    with pytest.raises(InputError, match="labels: wrong"):
        record_run(tmp_path / "out", REQUEST, work)
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"state": "ok"}')
    with pytest.raises(InputError, match="not a run of this version"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_json(tmp_path / "run.json")
