"""Which field of a `.cs` file counts, a job's own or one passed through, and which files of CryoSPARC are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from particle_files import (
    EVERY,
    N,
    cs_blob,
    cs_ctf,
    cs_poses,
    cs_rows,
    joined,
    save_cs,
    write_two_files,
)

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.particles.particle_files import (
    is_listed,
    read_labels,
    read_particles,
    read_poses,
    read_poses_and_classes,
)

UID = {"uid": np.arange(N, dtype=np.uint64) + 2**60}


LABELS = np.array([0, 1, 1, 0, 2, 0])


def posteriors(labels: np.ndarray, k: int = 3) -> np.ndarray:
    return (0.1 + 0.7 * np.eye(k)[labels]).astype("f4")


def class_groups(labels: np.ndarray) -> dict[str, np.ndarray]:
    return {f"alignments_class_{k}__class_posterior": posteriors(labels)[:, k] for k in range(3)}


def own_layouts() -> dict[str, dict[str, np.ndarray]]:
    multi = {"alignments3D_multi__class_posterior": posteriors(LABELS)}
    multi |= {
        "alignments3D_multi__pose": np.zeros((N, 3, 3), "f4"),
        "alignments3D_multi__shift": np.zeros((N, 3, 2), "f4"),
        "alignments3D_multi__psize_A": np.ones(N, "f4"),
    }
    return {
        "classification": {"alignments3D__class": LABELS.astype(np.uint32)},
        "two-dimensional": {"alignments2D__class": LABELS.astype(np.uint32)},
        "refinement": class_groups(LABELS),
        "refinement 4.5": multi,
    }


@pytest.mark.parametrize("layout", own_layouts())
@pytest.mark.parametrize("passed", ["classification", "refinement", "refinement 4.5"])
def test_a_jobs_own_classes_go_before_those_that_passed_through(
    tmp_path: Path, stack: Stack, layout: str, passed: str
) -> None:
    upstream = own_layouts()[passed]
    upstream = {name: values[::-1] for name, values in upstream.items()}
    save_cs(tmp_path / "J9" / "J9_00042_particles.cs", cs_rows(**UID, **own_layouts()[layout])[::-1])
    blob = cs_blob()
    save_cs(tmp_path / "J9" / "J9_passthrough_particles_all_classes.cs", joined(blob, cs_rows(**UID, **upstream)))
    assert read_labels(tmp_path / "J9" / "J9_00042_particles.cs", stack).tolist() == LABELS.tolist()


def test_classes_of_two_jobs_in_one_file_are_refused(tmp_path: Path, stack: Stack) -> None:
    layouts = own_layouts()
    other = {"alignments3D__class": LABELS[::-1].astype(np.uint32)}
    path = save_cs(tmp_path / "p.cs", joined(cs_blob(), cs_rows(**UID, **layouts["refinement"], **other)))
    with pytest.raises(InputError, match=r"alignments3D/class and alignments_class_<k>/class_posterior are of dif"):
        read_labels(path, stack)
    agreeing = {"alignments3D__class": LABELS.astype(np.uint32)}
    path = save_cs(tmp_path / "q.cs", joined(cs_blob(), cs_rows(**UID, **layouts["refinement"], **agreeing)))
    assert read_labels(path, stack).tolist() == LABELS.tolist()


def test_poses_are_the_jobs_own_too(tmp_path: Path, stack: Stack) -> None:
    shifts = np.random.default_rng(0).uniform(-3, 3, (N, 2)).astype("f4")
    own = {**class_groups(LABELS)}
    rows = [cs_rows(**UID, **own)]
    for k in range(3):
        rows.append(cs_poses(f"alignments_class_{k}", np.zeros((N, 3)), shifts * (k == LABELS)[:, None], 2.0))
    save_cs(tmp_path / "J9" / "J9_particles.cs", joined(*rows))
    upstream = cs_poses("alignments3D", np.ones((N, 3)), np.full((N, 2), 9.0), 2.0)
    save_cs(tmp_path / "J9" / "J9_passthrough_particles.cs", joined(cs_blob(), upstream))
    rotations, shifts_A = read_poses(tmp_path / "J9" / "J9_particles.cs", stack)
    np.testing.assert_allclose(shifts_A, -2 * shifts, atol=1e-5)
    np.testing.assert_allclose(rotations, np.broadcast_to(np.eye(3), (N, 3, 3)))
    with_classes = read_poses_and_classes(tmp_path / "J9" / "J9_particles.cs", stack)
    np.testing.assert_array_equal(with_classes[0], rotations)
    np.testing.assert_array_equal(with_classes[1], shifts_A)
    assert with_classes[2].tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("beside", "taken"),
    [
        ({"J9_passthrough_particles_class_0.cs": EVERY[:3], "J9_passthrough_particles_all_classes.cs": EVERY}, True),
        ({"J9_passthrough_particles_class_0.cs": EVERY[:3], "J9_passthrough_particles_class_1.cs": EVERY[3:]}, False),
        ({"J8_passthrough_particles.cs": EVERY[:2], "J9_passthrough_particles.cs": EVERY[::-1]}, True),
        ({"P1_J9_passthrough_particles_selected.cs": EVERY}, True),
    ],
)
def test_of_several_passthrough_files_that_is_taken_whose_uids_cover(
    tmp_path: Path, stack: Stack, beside: dict[str, np.ndarray], taken: bool
) -> None:
    own = save_cs(tmp_path / "J9" / "J9_00042_particles.cs", cs_rows(**UID, **own_layouts()["refinement"])[::-1])
    for name, rows in beside.items():
        save_cs(tmp_path / "J9" / name, cs_blob()[rows])
    if taken:
        assert read_labels(own, stack).tolist() == LABELS.tolist()
        return
    with pytest.raises(InputError, match=r"J9_passthrough_particles_class_0\.cs, J9_passthrough_particles_class_1\.cs"):
        read_labels(own, stack)
    save_cs(tmp_path / "elsewhere.cs", cs_blob())
    named = read_labels(own, stack, passthrough=tmp_path / "elsewhere.cs")
    assert named.tolist() == LABELS.tolist()


def test_passthrough_files_that_say_different_things_are_not_chosen_among(tmp_path: Path, stack: Stack) -> None:
    own = save_cs(tmp_path / "J9" / "particles.cs", cs_rows(**UID, **own_layouts()["refinement"]))
    save_cs(tmp_path / "J9" / "a_passthrough.cs", cs_blob())
    other = cs_blob()[::-1].copy()
    other["uid"] = UID["uid"]  # given to other images
    save_cs(tmp_path / "J9" / "b_passthrough.cs", other)
    with pytest.raises(InputError, match=r"a_passthrough\.cs, b_passthrough\.cs"):
        read_labels(own, stack)


def test_the_file_of_one_class_lists_its_particles(tmp_path: Path, stack: Stack) -> None:
    mine = np.array([1, 2])
    path = save_cs(tmp_path / "J9" / "J9_class_01_particles.cs", cs_rows(uid=UID["uid"][mine]))
    save_cs(tmp_path / "J9" / "J9_passthrough_particles_class_0.cs", cs_blob()[[0, 3]])
    save_cs(tmp_path / "J9" / "J9_passthrough_particles_class_1.cs", cs_blob()[mine])
    assert np.flatnonzero(is_listed(path, stack)).tolist() == mine.tolist()


@pytest.mark.parametrize("classes", [250, 400])
@pytest.mark.parametrize("of", ["the file's own", "its passthrough file's", "that of labels"])
def test_headers_may_be_long(tmp_path: Path, stack: Stack, classes: int, of: str) -> None:
    """A classification into many classes; NumPy itself reads no more than 10,000 characters of a header."""
    chosen = np.arange(classes) == LABELS[:, None]
    many = {f"alignments_class_{k}__class_posterior": chosen[:, k].astype("f4") for k in range(classes)}
    everything = joined(cs_blob(), cs_ctf(), cs_rows(**UID, **many))
    assert len(str(everything.dtype.descr)) > 10_000
    if of == "its passthrough file's":
        save_cs(tmp_path / "J9_passthrough_particles.cs", everything)
        everything = cs_rows(**UID)
    path = save_cs(tmp_path / "J9_particles.cs", everything)
    if of == "that of labels":
        assert read_labels(path, stack).tolist() == LABELS.tolist()
    else:
        assert len(read_particles(path)) == N


def test_pickles_are_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "p.cs").write_bytes((tmp_path / "p.npy").read_bytes())
    with pytest.raises(InputError, match=r"p\.cs: not a \.cs file"):
        read_particles(tmp_path / "p.cs")


def test_cryosparcs_list_of_files_is_no_list_of_particles(tmp_path: Path) -> None:
    (tmp_path / "J9_particles.csg").write_text("results: {}\n")
    with pytest.raises(InputError, match="name that of the particles, its metafile"):
        read_particles(tmp_path / "J9_particles.csg")


def test_numbers_of_the_other_byte_order(tmp_path: Path, stack: Stack) -> None:
    poses = cs_poses("alignments3D", np.ones((N, 3)), np.ones((N, 2)), 2.0)
    rows = joined(cs_blob(), cs_ctf(), poses, cs_rows(**own_layouts()["classification"]))
    swapped = rows.astype(rows.dtype.newbyteorder(">"))
    path = save_cs(tmp_path / "swapped.cs", swapped)
    read = read_particles(path)
    np.testing.assert_allclose(read.defocus.u_A, stack.defocus.u_A, rtol=1e-6)
    assert read_labels(path, read).tolist() == LABELS.tolist()
    np.testing.assert_allclose(read_poses(path, stack)[1], -2.0, rtol=1e-6)


@pytest.mark.parametrize("field", ["ctf/df_angle_rad", "ctf/phase_shift_rad"])
def test_degrees_in_a_field_of_radians_are_refused(tmp_path: Path, field: str) -> None:
    write_two_files(tmp_path)
    ctf = cs_ctf()
    ctf[field] = np.degrees(ctf[field])
    save_cs(tmp_path / "p.cs", joined(cs_blob(), ctf))
    with pytest.raises(InputError, match=rf"{field} is [\d.]+ in row 1; -12\.56.* to 12\.56.* \(rad\) is allowed"):
        read_particles(tmp_path / "p.cs")
