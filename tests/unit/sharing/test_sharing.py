"""Archives that are not what they should be, and samples of images; tests/workflow/test_workflow.py has whole ones."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hydra_cases import Case

from hydra_bench.contracts.places import Results
from hydra_bench.core.checksums import NAME as CHECKSUMS
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import sha256
from hydra_bench.sharing.archive import archive, unpacked, write_zip
from hydra_bench.sharing.board import Submission, add, file_name, read_rows
from hydra_bench.sharing.identity import TOLERANCE, DatasetIdentity, check_same_images, read_sample, write_sample


@pytest.fixture
def packed(tmp_path: Path) -> Callable[..., Path]:
    """An archive of some files, each a name and a text; checksums are those of the texts, unless they are given."""

    def made(files: dict[str, str], checksums: str | None = None) -> Path:
        content = tmp_path / "content"
        content.mkdir()
        lines = []
        for name, text in files.items():
            (content / "file").write_text(text)
            lines.append(f"{sha256(content / 'file')}  {name}\n")
        path = tmp_path / "run.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name, text in files.items():
                file.writestr(name, text)
            file.writestr(CHECKSUMS, "".join(lines) if checksums is None else checksums)
        return path

    return made


def test_an_archive_comes_out_as_it_went_in(packed: Callable[..., Path], tmp_path: Path) -> None:
    results = unpacked(packed({"results/configuration.json": "{}"}), tmp_path / "out")
    assert (results / "configuration.json").read_text() == "{}"


def test_a_file_that_says_it_is_of_1970_is_packed(tmp_path: Path) -> None:
    """As files of some file systems do; the format begins in 1980."""
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "a.txt").write_text("x")
    os.utime(tmp_path / "content" / "a.txt", (0, 0))
    write_zip(tmp_path / "content", tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as file:
        assert file.read("a.txt") == b"x"


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside.txt", "results/../../outside.txt", "..\\outside.txt"])
def test_a_name_that_leads_out_of_an_archive_is_refused(packed: Callable[..., Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"run\.zip: .*outside\.txt' leads out of the archive; it is not unpacked"):
        unpacked(packed({name: "x"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "outside.txt").exists()


def test_a_file_that_is_not_what_its_checksum_says_is_named(packed: Callable[..., Path], tmp_path: Path) -> None:
    path = packed({"results/a.txt": "x"}, f"{'0' * 64}  results/a.txt\n")
    with pytest.raises(InputError, match=r"run\.zip: results/a\.txt: is not as it was written"):
        unpacked(path, tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.zip"
    path.write_text("no zip file")
    with pytest.raises(InputError, match=r"notes\.zip: cannot be unpacked"):
        unpacked(path, tmp_path / "out")
    with pytest.raises(InputError, match=r"holds no run\.json; a reconstruction"):
        add(tmp_path / "board", Submission(tmp_path, "A. Person"))
    with pytest.raises(InputError, match=r"--dataset: demo holds no stack/particles\.star; the folder of a dataset"):
        add(tmp_path / "board", Submission(tmp_path, "A. Person", Path("demo")))
    assert not (tmp_path / "board").exists()


def test_an_archive_of_another_dataset_is_said_to_be_one(
    packed: Callable[..., Path], case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = DatasetIdentity("other", "0" * 64, {}, 60, 32, 6.6)
    path = packed({"results/datasets/other/identity.json": json.dumps(asdict(theirs))})
    said = r"run\.zip: holds nothing on --dataset, \w+ \([0-9a-f]{12}\); it has other \(000000000000\)"
    with pytest.raises(InputError, match=said):
        add(tmp_path / "board", Submission(path, "A. Person", case.folder.parent))
    assert "its dataset other (000000000000) is another than --dataset" in capsys.readouterr().err
    with pytest.raises(InputError, match="holds no drgnai that ended well; it has none"):
        add(tmp_path / "board", Submission(path, "A. Person", method="drgnai"))
    assert not (tmp_path / "board").exists()


def test_what_is_wrong_in_an_archive_is_named_by_its_place_there(packed: Callable[..., Path], tmp_path: Path) -> None:
    path = packed({"results/datasets/other/identity.json": "{}"})
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: results/datasets/other/identity\.json: "):
        add(tmp_path / "board", Submission(path, "A. Person"))


def test_results_that_are_not_finished_are_not_archived(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no configuration\.json; the folder of a run's results is expected"):
        archive(Results(tmp_path), tmp_path.with_name("run.zip"))
    (tmp_path / "configuration.json").write_text("{}")
    with pytest.raises(InputError, match="metrics: no metrics; a finished run is expected"):
        archive(Results(tmp_path), tmp_path.with_name("run.zip"))


def test_samples_of_one_dataset_may_differ_in_their_last_digits_and_not_in_their_noise() -> None:
    draws = np.random.default_rng(0)
    ours = draws.normal(size=(16, 8, 8)).astype(np.float32)
    check_same_images(ours, ours + np.float32(0.5 * TOLERANCE), "run.zip")
    for theirs in (draws.normal(size=ours.shape), ours[::-1], ours * 1.02, np.full_like(ours, np.nan)):
        with pytest.raises(InputError, match="its images are not those of this dataset"):
            check_same_images(ours, theirs, "run.zip")
    with pytest.raises(InputError, match=r"its sample is \(4, 8, 8\)"):
        check_same_images(ours, ours[:4], "run.zip")


def test_a_sample_of_more_images_than_one_has_is_not_read(case: Case, tmp_path: Path) -> None:
    write_sample(case.folder.parent, tmp_path / "sample.mrcs")
    assert read_sample(tmp_path / "sample.mrcs").shape == (16, 32, 32)
    with pytest.raises(InputError, match=r"60 images; 1\.\.16 are expected in a sample"):
        read_sample(case.folder / "particles.mrcs")


def test_the_file_of_a_row_takes_no_odd_names(tmp_path: Path) -> None:
    row = {"dataset": {"name": "../a", "identity": "0123456789"}, "method": {"name": "K = 3"}, "by": "Å. Person"}
    assert file_name(row) == "a--k-3--person--01234567.json"
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "odd.json").write_text("[]")
    with pytest.raises(InputError, match=r"odd\.json: no row of a board of version 1"):
        read_rows(tmp_path)
