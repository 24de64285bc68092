"""CryoBench's layout: an archive made here, read back into the contracts; and tables of cryoDRGN that are refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryobench_archive import dump, write_archive
from hydra_cases import Case

from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json
from hydra_bench.core.mrc import read_map
from hydra_bench.datasets.cryobench.archive import import_archive
from hydra_bench.particles.cryodrgn import read_ctf_table, read_numbers, read_pose_table
from hydra_bench.particles.pickles import read_pickle


@pytest.fixture
def archive(case: Case, tmp_path: Path) -> Path:
    return write_archive(tmp_path / "Tomotwin-2", case)


def definition(folder: Path, **more: Any) -> dict[str, Any]:
    own = {
        "folder": str(folder),
        "images": None,
        "ctf": "combined_ctfs.pkl",
        "poses": "combined_poses.pkl",
        "labels": "gt_latents.pkl",
        "volumes": "vols/128_org",
        "classes": None,
        "images_per_class": None,
        "box_px": None,
    }
    return {"seed": 5, "evaluation_particles_per_class": 2, "cryobench": {**own, **more}}


def test_an_archive_becomes_stack_and_truth(archive: Path, case: Case, tmp_path: Path) -> None:
    import_archive(definition(archive), tmp_path / "stack", tmp_path / "truth")
    stack, truth = read_stack(tmp_path / "stack" / "particles.star"), read_truth(tmp_path / "truth")
    order = np.argsort(case.truth.classes, kind="stable")[truth.sources]
    assert truth.class_names == ("000_1abc", "001_2XYZ")
    np.testing.assert_array_equal(truth.classes, case.truth.classes[order])
    assert abs(np.corrcoef(np.arange(len(truth)), truth.classes)[0, 1]) < 0.4
    np.testing.assert_allclose(truth.rotations, case.truth.rotations[order], atol=1e-5)
    np.testing.assert_allclose(truth.shifts_A, case.truth.shifts_A[order], atol=1e-3)
    assert stack.pixel_size_A == pytest.approx(case.stack.pixel_size_A)
    np.testing.assert_allclose(stack.defocus.u_A, case.stack.defocus.u_A[order], rtol=1e-5)
    numbers = np.arange(len(stack))
    for image, true in zip(stack.read_images(numbers), case.stack.read_images(order), strict=True):
        assert np.corrcoef(image.ravel(), true.ravel())[0, 1] > 0.9999
    volume, pixel = read_map(truth.volume_paths[1])
    assert pixel == pytest.approx(stack.pixel_size_A)
    np.testing.assert_allclose(volume, case.truth.class_volume(1), atol=1e-5 * np.abs(volume).max())
    assert read_json(tmp_path / "truth" / "provenance.json")["particles_were"] == "black"


def test_some_classes_and_images_of_it(archive: Path, tmp_path: Path) -> None:
    few = definition(archive, classes=["2xyz"], images_per_class=12, box_px=16)
    import_archive(few, tmp_path / "stack", tmp_path / "truth")
    truth = read_truth(tmp_path / "truth")
    assert (truth.class_names, len(truth)) == (("001_2XYZ",), 12)
    assert read_stack(tmp_path / "stack" / "particles.star").box_px == 16
    shares = definition(archive, labels=None)
    import_archive(shares, tmp_path / "s" / "stack", tmp_path / "s" / "truth")
    assert np.bincount(read_truth(tmp_path / "s" / "truth").classes).tolist() == [30, 30]


def changed(path: Path, change: Callable[[Any], Any]) -> None:
    dump(path, change(read_pickle(path)))


@pytest.mark.parametrize(
    ("break_it", "more", "said"),
    [
        (lambda f: changed(f / "combined_poses.pkl", lambda p: (p[0][::-1].copy(), p[1])), {}, "at other rotations"),
        (lambda f: changed(f / "combined_poses.pkl", lambda p: (p[0], -p[1])), {}, "do not look like"),
        (lambda f: changed(f / "gt_latents.pkl", lambda labels: labels[::-1].copy()), {}, "do not look like"),
        (
            lambda f: changed(f / "combined_poses.pkl", lambda p: (p[0][:-1], p[1][:-1])),
            {},
            "59 particles; there are 60",
        ),
        (lambda f: changed(f / "combined_poses.pkl", lambda p: (2 * p[0], p[1])), {}, "matrices that are no rotations"),
        (lambda f: changed(f / "combined_poses.pkl", lambda p: (p[0], p[1] * 32)), {}, "shares of the box, within 1"),
        (lambda f: changed(f / "combined_ctfs.pkl", lambda c: c[:, :8]), {}, r"an array \(particles, 9\)"),
        (lambda f: changed(f / "gt_latents.pkl", lambda labels: labels + 1), {}, "labels 1..2; 0..1, one a map"),
        (lambda f: (f / "combined_ctfs.pkl").unlink(), {}, "combined_ctfs.pkl: cannot be read"),
        (lambda f: (f / "vols" / "128_org" / "000_1abc.mrc").unlink(), {}, "labels 0..1; 0..0"),
        (lambda f: None, {"classes": ["9zzz"]}, "classes: 9zzz is not there; there are 000_1abc, 001_2XYZ"),
        (lambda f: None, {"images_per_class": 31}, "images_per_class: 31; class 000_1abc has 30 images"),
        (lambda f: None, {"box_px": 64}, "box_px: 64; at most the images' own 32 px"),
        (lambda f: None, {"images": "no.txt"}, "no.txt: cannot be read"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    archive: Path, tmp_path: Path, break_it: Callable[[Path], None], more: dict, said: str
) -> None:
    break_it(archive)
    with pytest.raises(InputError, match=said) as error:
        import_archive(definition(archive, **more), tmp_path / "stack", tmp_path / "truth")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "stack").exists()


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    evil = Evil()
    evil.path = tmp_path / "made"
    dump(tmp_path / "evil.pkl", evil)
    with pytest.raises(InputError, match="only NumPy arrays are allowed"):
        read_numbers(tmp_path / "evil.pkl")
    assert not (tmp_path / "made").exists()
    (tmp_path / "broken.pkl").write_bytes(b"\x80\x04broken")
    for read in (read_ctf_table, read_pose_table, read_numbers):
        with pytest.raises(InputError, match=r"broken\.pkl: not a pickle of arrays"):
            read(tmp_path / "broken.pkl")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    for values in (np.arange(5), np.arange(5, dtype=">i4"), np.arange(6.0)[::2]):
        with open(tmp_path / "a.pkl", "wb") as file:
            pickle.dump((values, None), file, protocol=protocol)
        np.testing.assert_array_equal(read_pickle(tmp_path / "a.pkl")[0], values)
    old = pickle.dumps(np.arange(4), protocol=protocol).replace(b"numpy._core", b"numpy.core")
    if protocol < 4:  # later ones state the length of the name
        (tmp_path / "old.pkl").write_bytes(old)
        np.testing.assert_array_equal(read_numbers(tmp_path / "old.pkl"), np.arange(4))
