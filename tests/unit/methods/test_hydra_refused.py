"""Input that `hydra-bench hydra` cannot use: exit status 2, one line that names the file or field, nothing left."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from hydra_cases import TINY, Case, hydra, write_stack

from hydra_bench.cli.hydra import check_replaced
from hydra_bench.cli.main import main
from hydra_bench.contracts import stack
from hydra_bench.core.checksums import write_checksums
from hydra_bench.core.star import read_star, write_star


def refused(arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing may be left in the folder, in which the output would be."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    # What is said of the particles beside it is no error.
    errors = [line for line in error.splitlines() if line.startswith("hydra-bench: error: ")]
    assert len(errors) == 1, error
    assert error.splitlines()[-1] == errors[0]
    assert message in error
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "clases=3"], "parameters.clases: unknown setting; did you mean classes?"),
        (["--set", "width"], "--set: 'width'; KEY=VALUE is expected"),
        (["--set", "width=[1"], "--set: 'width=[1'; the value is not readable YAML"),
        (["--set", "width=wide"], "width: 'wide'; a whole number is expected"),
        (["--set", "width=0"], "width: 0; 1 or more"),
        (["--set", "l_schedule=5"], "l_schedule: 5; whole numbers in brackets"),
        (["--set", "l_schedule=[4, 16]"], "l_schedule: 16; this box allows 1 to 15"),
        (["--downsample", "24", "--set", "l_schedule=[12]"], "l_schedule: 12; this box allows 1 to 11"),
        (["--downsample", "33"], "downsample_px: 33; the stack's box of 32 or less"),
        (["--downsample", "4"], "downsample_px: 4; 8 or more"),
        (["--preset", "slow"], "preset: 'slow'; allowed are fast, fine, many, field, paper"),
        (["--latent-dim", "2,x"], "--latent-dim: '2,x'; numbers with commas"),
        (["--latent-dim", "2,2,2,0"], "latent_dim: 4 numbers for 3 classes"),
        (["--classes", "61"], "classes: 61 for the 60 images of the stack"),
        (["--seed", "-1"], "--seed: '-1'; a whole number from 0 to 9223372036854775807 is allowed"),
        (["--checkpoint-minutes", "-1"], "--checkpoint-minutes: -1; 0 or more is allowed"),
        (["--threads", "0"], "--threads: 0; 1 or more"),
        (["--device", "tpu"], "--device: 'tpu'; auto, cpu, cuda"),
        (["--set", "poses=refine"], "lacks the column rlnAngleRot"),
        (["--poses-from", "none.star"], "none.star: no such file"),
        (["--init-from", "none.star"], "none.star: no such file"),
        (["--evaluation-list", "none.txt"], "none.txt: cannot be read"),
        (["--datadir", "nowhere"], "datadir: nowhere is not a folder"),
        (["--pixel-size", "-1"], "pixel_size_A: -1"),
        (["--definition", '{"parameters": {}}', "--classes", "3"], "--definition: holds all parameters; classes"),
    ],
)
def test_bad_values(
    case: Case, more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    refused(["hydra", "--particles", str(case.stack.path), "--out", "out", *more], message, tmp_path, capsys)


def test_given_poses_that_would_not_be_used(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = case.folder.parent / "truth" / "truth.star"
    arguments = hydra(case.stack.path, tmp_path / "out", "--poses-from", str(truth), poses="search")
    refused(arguments, "poses: search; poses were given", tmp_path, capsys)


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        (
            [],
            {"classes": 1},
            "truth.star: rlnClassNumber: 2 different classes; at most 1 are allowed, which",
        ),
        ([], {"poses": "refine"}, "poses: refine; a run that begins from "),
        ([], {"poses": "fixed"}, "poses: fixed; a run that begins from "),
        (["--poses-from", "none.star"], {}, "--init-from: is not allowed beside --poses-from"),
    ],
)
def test_poses_and_classes_that_a_search_cannot_begin_from(
    case: Case, more: list[str], changes: dict[str, Any], message: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    truth = case.folder.parent / "truth" / "truth.star"
    arguments = hydra(case.stack.path, tmp_path / "out", "--init-from", str(truth), *more, **changes)
    refused(arguments, message, tmp_path, capsys)


def test_a_folder_of_other_files_is_not_replaced(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").touch()
    for out, message in (("thesis", "holds files, but no run.json"), ("thesis/chapter", "is a file"), (".", "holds")):
        assert main(hydra(case.stack.path, Path(out))) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"hydra-bench: error: --out: {out}")
        assert message in error
        assert error.count("\n") == 1
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["thesis", "thesis/chapter"]
    monkeypatch.chdir(tmp_path / "thesis")
    (tmp_path / "thesis" / "chapter").unlink()
    assert main(hydra(case.stack.path, Path())) == 2
    assert "--out: .; a folder with a name is expected" in capsys.readouterr().err


def test_what_was_put_into_a_runs_folder_is_not_replaced_with_it(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A selection, as the guide names it, and maps; not what `hydra-bench analyse` makes anew."""
    run = tmp_path / "run"
    for name in ("particles.star", "run.json", "history.csv", "analysis/index.html"):
        (run / name).parent.mkdir(exist_ok=True, parents=True)
        (run / name).touch()
    write_checksums(run, without=("run.json", "history.csv", "index.html"))
    check_replaced(run)
    for name, said in (("maps/particles.mrc", "maps/particles.mrc put"), ("class1.star", "class1.star and 1 more f")):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).touch()
        assert main(hydra(case.stack.path, run)) == 2
        assert f"would be replaced as a whole, with {said}" in capsys.readouterr().err
        assert (run / name).is_file()


@pytest.fixture
def own(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack's STAR file, to be spoilt."""
    folder = tmp_path_factory.mktemp("spoilt")
    return write_stack(folder, case.stack, case.stack.read_images(np.arange(60)), 9.9).path


def spoil_image(value: float) -> Callable[[Path], None]:
    def edit(star: Path) -> None:
        with mrcfile.mmap(star.with_name("particles.mrcs"), mode="r+") as mrc:
            mrc.data[40] = value

    return edit


def shorten(star: Path) -> None:
    images = star.with_name("particles.mrcs")
    images.write_bytes(images.read_bytes()[:-5000])


def without_optics(star: Path) -> None:
    write_star(star, {"particles": read_star(star)["particles"]})


SPOILT = [
    (lambda star: star.with_name("particles.mrcs").unlink(), "particles.star: rlnImageName names particles.mrcs"),
    (shorten, "particles.mrcs: truncated: "),
    (spoil_image(np.nan), "particles.mrcs: image 41 has NaN or infinite pixels; remove it"),
    (spoil_image(3.0), "particles.mrcs: image 41 is constant (variance 0); remove it"),
    (without_optics, "particles.star: no data_optics table"),
    (lambda star: star.write_text("no table\n"), "particles.star: "),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_spoilt_particles(
    own: Path, spoil: Callable[[Path], None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(own)
    refused(hydra(own, tmp_path / "out"), message, tmp_path, capsys)


@pytest.mark.parametrize("normalise", ["stack", "none"])
def test_an_image_that_only_training_meets(
    own: Path, normalise: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large stack only a sample of the images is read before."""
    spoil_image(np.nan)(own)
    monkeypatch.setattr(stack, "_FINGERPRINT_IMAGES", 2)
    monkeypatch.setattr("hydra_bench.methods.hydra.data.images._SAMPLE", 5)
    refused(hydra(own, tmp_path / "out", normalise=normalise), "image 41 has NaN", tmp_path, capsys)


def test_an_image_stack_alone_has_no_ctf(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = own.with_name("particles.mrcs")
    refused(hydra(images, tmp_path / "out"), "particles.mrcs: CTF missing", tmp_path, capsys)
    assert main(hydra(images, tmp_path / "out", "--no-ctf")) == 0


def test_one_image_is_too_few_for_three_classes(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("one")
    one = write_stack(folder, case.stack, case.stack.read_images(np.arange(1)), 9.9)
    message = "classes: 3 for the 1 images of the stack; at most one class an image is possible"
    refused(hydra(one.path, tmp_path / "out", classes=3), message, tmp_path, capsys)
    assert main(hydra(one.path, tmp_path / "out", classes=1)) == 0


def test_a_run_that_diverges_is_recorded_as_failed(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alone the command fails; as a method of a benchmark it has succeeded in recording that."""
    parameters = {**TINY, "learning_rate": 1e30, "learning_rate_final": 1e30}
    assert main(hydra(case.stack.path, tmp_path / "a", learning_rate=1e30, learning_rate_final=1e30)) == 1
    error = capsys.readouterr().err
    assert error == "hydra-bench: error: the fields diverged (not a number); a lower learning_rate may help\n"
    definition = json.dumps({"name": "hydra", "program": "hydra", "parameters": parameters})
    arguments = ["hydra", "--definition", definition, "--particles", str(case.stack.path), "--threads", "1"]
    assert main([*arguments, "--out", str(tmp_path / "b")]) == 0
    for name in "ab":
        recorded = json.loads((tmp_path / name / "run.json").read_text())
        assert recorded["state"] == "failed"
        assert recorded["reason"].startswith("the fields diverged")
        assert [path.name for path in (tmp_path / name).iterdir()] == ["run.json"]
