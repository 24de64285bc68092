"""Particle files of other layouts than the usual: units, optics, the whole forward model, where images lie."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from particle_files import (
    BOX,
    DEFOCUS,
    EVERY,
    IMAGES,
    PLACES,
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

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.star import write_star
from hydra_bench.particles.columns import Microscope
from hydra_bench.particles.particle_files import read_particles, read_poses

UID = {"uid": np.arange(N, dtype=np.uint64) + 2**60}


def with_poses(table: pd.DataFrame, unit: str, x: np.ndarray) -> pd.DataFrame:
    angles = {"rlnAngleRot": 0.0, "rlnAngleTilt": 0.0, "rlnAnglePsi": 0.0}
    return table.assign(**angles, **{f"rlnOriginX{unit}": x, f"rlnOriginY{unit}": 0.0})


def pose_files() -> dict[str, tuple[dict[str, pd.DataFrame], np.ndarray]]:
    """Files with origins, and the displacement along x in Å that each says."""
    x = np.arange(N, dtype=float)
    tables = relion_tables()
    groups = tables["particles"]["rlnOpticsGroup"].to_numpy()
    tables["optics"]["rlnImagePixelSize"] = [4.0, 8.0, 3.0]
    of_group = np.where(groups == 7, 4.0, 8.0)
    old = relion_30_table()
    one_group = relion_tables()
    one_group["optics"] = one_group["optics"].iloc[:1].assign(rlnImagePixelSize=6.0)
    one_group["particles"] = one_group["particles"].drop(columns="rlnOpticsGroup")
    in_particles = relion_tables()
    in_particles["optics"] = in_particles["optics"].drop(columns="rlnImagePixelSize")
    in_particles["particles"]["rlnImagePixelSize"] = 5.0
    both = with_poses(with_poses(relion_tables()["particles"], "", 100 * x), "Angst", x)
    return {
        "px, two groups of different binning": (
            {**tables, "particles": with_poses(tables["particles"], "", x)},
            -x * of_group,
        ),
        "Å, two groups": ({**tables, "particles": with_poses(tables["particles"], "Angst", x)}, -x),
        "px, one group without a column": (
            {**one_group, "particles": with_poses(one_group["particles"], "", x)},
            -6 * x,
        ),
        "px, size in the particles": (
            {**in_particles, "particles": with_poses(in_particles["particles"], "", x)},
            -5 * x,
        ),
        "RELION 3.0, px by magnification": ({"": with_poses(old.assign(rlnMagnification=12500.0), "", x)}, -4 * x),
        "RELION 3.0, px, no size": (
            {"": with_poses(old.drop(columns=["rlnMagnification", "rlnDetectorPixelSize"]), "", x)},
            -2 * x,
        ),
        "both, Å count": ({**relion_tables(), "particles": both}, -x),
    }


@pytest.mark.parametrize("name", pose_files())
def test_lengths_are_in_the_units_of_the_file_that_they_stand_in(tmp_path: Path, stack: Stack, name: str) -> None:
    tables, x_A = pose_files()[name]
    write_star(tmp_path / "poses.star", tables)
    np.testing.assert_allclose(read_poses(tmp_path / "poses.star", stack)[1][:, 0], x_A)


def test_which_pixel_size_counts_is_said(tmp_path: Path, stack: Stack) -> None:
    assert not stack.notes
    given = read_particles(tmp_path / "p.star", pixel_size_A=2.5)
    assert given.pixel_size_A == 2.5
    assert "the pixel size is 2.5 Å as given, not 2 Å as in the file" in given.notes[0]
    assert "2.5 Å, not that of the headers of 2 of its 2 image files (2 Å in b.mrcs)" in given.notes[1]
    write_images(tmp_path / "a.mrcs", IMAGES[:3], 5.0)
    header = read_particles(tmp_path / "p.star")
    assert header.pixel_size_A == 2.0
    assert "not that of the headers of 1 of its 2 image files (5 Å in a.mrcs)" in header.notes[0]


def test_origins_of_a_file_whose_pixel_size_is_put_right_are_the_same_pixels(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    x = np.arange(N, dtype=float)
    tables = relion_tables()
    write_star(tmp_path / "p.star", {**tables, "particles": with_poses(tables["particles"], "Angst", 2.0 * x)})
    right = read_particles(tmp_path / "p.star", pixel_size_A=2.2)
    np.testing.assert_allclose(read_poses(tmp_path / "p.star", right)[1][:, 0], -2.2 * x)


@pytest.mark.parametrize("kind", ["star", "star, particles", "cs"])
def test_sizes_that_hardly_differ_may_be_taken_as_one(tmp_path: Path, kind: str) -> None:
    """Two calibrations of one microscope; poses stay the same pixels, each of its own size."""
    write_two_files(tmp_path)
    sizes = np.where(np.arange(N) % 2, 1.99, 2.01)
    groups = np.arange(N) % 2 + 1
    x = np.arange(N, dtype=float)
    tables = relion_tables()
    tables["particles"] = with_poses(tables["particles"].assign(rlnOpticsGroup=groups), "Angst", x * sizes)
    optics = tables["optics"].iloc[[0, 0]].assign(rlnOpticsGroup=[1, 2], rlnImagePixelSize=[2.01, 1.99])
    tables["optics"] = optics
    if kind == "star, particles":
        move(tables, ["rlnImagePixelSize"])
    write_star(tmp_path / "p.star", tables)
    blob = cs_blob()
    blob["blob/psize_A"] = sizes
    shifts = np.stack([x, 0 * x], 1)
    poses = cs_poses("alignments3D", np.zeros((N, 3)), shifts, 2.0)
    poses["alignments3D/psize_A"] = sizes
    save_cs(tmp_path / "p.cs", joined(blob, cs_ctf(), poses))
    path = tmp_path / ("p.cs" if kind == "cs" else "p.star")
    with pytest.raises(InputError, match=r"must have one pixel size: .* within 1% of one, give that by pixel_size_A"):
        read_particles(path)
    with pytest.raises(InputError, match=r"has 2\.01 Å and .* has 1\.99 Å; all particles must have one pixel size"):
        read_particles(path, pixel_size_A=2.2)
    stack = read_particles(path, pixel_size_A=2.0)
    assert "the pixel size is 2 Å as given, not 1.99 to 2.01 Å as in the file" in stack.notes[0]
    np.testing.assert_allclose(read_poses(path, stack)[1][:, 0], -2.0 * x, rtol=1e-5)
    part = stack.take(np.array([3, 1]))
    np.testing.assert_allclose(read_poses(path, part)[1][:, 0], [-6.0, -2.0], rtol=1e-5)


LAYOUTS: dict[str, Callable[[dict[str, pd.DataFrame]], object]] = {
    "constants in the particles": lambda t: move(t, ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]),
    "all of the optics in the particles": lambda t: move(t, [c for c in t["optics"] if c.startswith("rlnI")]),
    "general block": lambda t: t.update(general=pd.DataFrame({"rlnX": [1]})),
}


def move(tables: dict[str, pd.DataFrame], columns: list[str]) -> None:
    """Columns of the optics into the particles, as converters leave them."""
    optics = tables["optics"].set_index("rlnOpticsGroup")
    for column in columns:
        tables["particles"][column] = optics[column].loc[tables["particles"]["rlnOpticsGroup"]].to_numpy()
        tables["optics"] = tables["optics"].drop(columns=column)


@pytest.mark.parametrize("name", LAYOUTS)
def test_optics_may_stand_in_either_table(tmp_path: Path, stack: Stack, name: str) -> None:
    tables = relion_tables()
    LAYOUTS[name](tables)
    write_star(tmp_path / "q.star", tables)
    other = read_particles(tmp_path / "q.star")
    for field in ("voltage_kV", "spherical_aberration_mm", "amplitude_contrast"):
        np.testing.assert_array_equal(getattr(other.optics, field), getattr(stack.optics, field))
    assert other.pixel_size_A == stack.pixel_size_A


def test_constants_that_are_missing_or_wrong_can_be_given(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    tables = relion_tables()
    tables["optics"] = tables["optics"].drop(columns=["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"])
    write_star(tmp_path / "p.star", tables)
    for given, option in (((None, 2.7, 0.1), "--voltage"), ((300, None, 0.1), "--cs"), ((300, 2.7, None), "--ampl")):
        with pytest.raises(InputError, match=f"lacks the column rln.*; it can be given by {option}"):
            read_particles(tmp_path / "p.star", microscope=Microscope(*given))
    assert read_particles(tmp_path / "p.star", microscope=Microscope(300, 2.7, 0.1)).optics.voltage_kV == 300
    with pytest.raises(InputError, match="--voltage is 5 in row 1; 10 to 3000"):
        read_particles(tmp_path / "p.star", microscope=Microscope(5, 2.7, 0.1))
    write_star(tmp_path / "q.star", relion_tables())
    other = read_particles(tmp_path / "q.star", microscope=Microscope(amplitude_contrast=0.15))
    assert other.optics.amplitude_contrast == 0.15
    assert "amplitude_contrast is 0.15 as given, not 0.1 as in the file" in other.notes[0]
    path = save_cs(tmp_path / "p.cs", cs_blob())
    with pytest.raises(InputError, match=r"lacks the field ctf/accel_kv; .*; it can be given by --voltage"):
        read_particles(path)


@pytest.mark.parametrize("file", ["star, optics", "star, particles", "cs", "cs, whole matrix"])
def test_the_whole_forward_model_is_read(tmp_path: Path, file: str) -> None:
    write_two_files(tmp_path)
    matrix, b_factor, scale = np.array([[1.02, 0.01], [-0.02, 0.99]]), np.linspace(0, 90, N), np.linspace(0.5, 1.5, N)
    tables = relion_tables()
    where = "particles" if file == "star, particles" else "optics"
    for number, name in enumerate(("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")):
        tables[where][name] = matrix.ravel()[number]
    tables["particles"] = tables["particles"].assign(rlnCtfBfactor=b_factor, rlnCtfScalefactor=scale)
    tables["optics"]["rlnOddZernike"] = "[0,0,0,0,0,0]"
    tables["optics"]["rlnEvenZernike"] = "[0,0,0.5,0,0,0]"
    write_star(tmp_path / "p.star", tables)
    anisomag = (matrix - (file == "cs") * np.eye(2)).ravel()
    more = {"ctf__anisomag": np.tile(anisomag, (N, 1)).astype("f4"), "ctf__bfactor": b_factor.astype("f4")}
    more |= {
        "ctf__scale": scale.astype("f4"),
        "ctf__tetra_A": np.ones((N, 4), "f4"),
        "ctf__tilt_A": np.zeros((N, 2), "f4"),
    }
    save_cs(tmp_path / "p.cs", joined(cs_blob(), cs_ctf(), cs_rows(**UID, **more)))
    stack = read_particles(tmp_path / ("p.star" if file.startswith("star") else "p.cs"))
    np.testing.assert_allclose(stack.magnification, np.tile(matrix, (N, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(stack.defocus.b_factor_A2, b_factor, rtol=1e-6)
    np.testing.assert_allclose(stack.defocus.scale, scale, rtol=1e-6)
    (note,) = stack.notes
    assert "not used: even Zernike terms (rlnEvenZernike)" in note or "not used: tetrafoil (ctf/tetra_A)" in note
    assert "odd" not in note
    assert "tilt" not in note
    assert np.abs(stack.read_images(EVERY)).max() > 0
    part = stack.take(np.array([4, 2]))
    np.testing.assert_allclose(part.read_images(np.array([1])), stack.read_images(np.array([2])), atol=1e-5)
    frequencies = torch.tensor([[0.1, 0.05]])
    torch.testing.assert_close(part.transfer(np.array([0]), frequencies), stack.transfer(np.array([4]), frequencies))


@pytest.mark.parametrize("kind", ["star", "cs"])
def test_neutral_values_change_nothing(tmp_path: Path, kind: str) -> None:
    write_two_files(tmp_path)
    tables = relion_tables()
    neutral = {"rlnMagMat00": 1.0, "rlnMagMat01": 0.0, "rlnMagMat10": 0.0, "rlnMagMat11": 1.0, "rlnBeamTiltX": 0.0}
    tables["optics"] = tables["optics"].assign(**neutral, rlnOddZernike="[0,0,0]")
    tables["particles"] = tables["particles"].assign(rlnCtfBfactor=0.0, rlnCtfScalefactor=1.0)
    write_star(tmp_path / "p.star", tables)
    zero = {"ctf__anisomag": np.zeros((N, 4), "f4"), "ctf__bfactor": np.zeros(N, "f4"), "ctf__scale": np.ones(N, "f4")}
    save_cs(tmp_path / "p.cs", joined(cs_blob(), cs_ctf(), cs_rows(**UID, **zero)))
    stack = read_particles(tmp_path / f"p.{kind}")
    assert stack.magnification is None
    assert stack.defocus.b_factor_A2 is None
    assert stack.defocus.scale is None
    assert not stack.notes
    assert len(DEFOCUS) == len(stack)
    assert stack.box_px == BOX


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"rlnCtfDataAreCtfPremultiplied": 1}, "its images are multiplied by their CTF"),
        ({"rlnCtfDataArePhaseFlipped": 1}, "its images are phase-flipped"),
        ({"rlnTomoParticleName": "a/1"}, "has the column rlnTomoParticleName, of tilt series; several images of one"),
        ({"rlnTomoName": "tomo1"}, "has the column rlnTomoName, of tilt series"),
        (
            {"rlnGroupName": "g", "rlnMicrographPreExposure": np.arange(N) * 3.0},
            "rlnMicrographPreExposure differs within rlnGroupName g, as in tilt series",
        ),
        ({"rlnMagMat00": 3.0}, r"is no magnification matrix; one within 0\.3 of the identity"),
    ],
)
@pytest.mark.parametrize("version", ["3.1", "3.0"])
def test_images_that_are_refused(tmp_path: Path, columns: dict[str, object], said: str, version: str) -> None:
    write_two_files(tmp_path)
    tables = relion_tables() if version == "3.1" else {"": relion_30_table()}
    tables["optics"] = tables["optics"].drop(columns="rlnCtfDataAreCtfPremultiplied") if "optics" in tables else None
    name = "particles" if version == "3.1" else ""
    tables = {key: table for key, table in tables.items() if table is not None}
    tables[name] = tables[name].assign(**columns)
    write_star(tmp_path / "p.star", tables)
    with pytest.raises(InputError, match=said) as error:
        read_particles(tmp_path / "p.star")
    assert "\n" not in str(error.value)


def test_single_particles_of_a_micrograph_are_no_tilt_series(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    tables = relion_tables()
    tables["particles"] = tables["particles"].assign(rlnGroupName="mic1", rlnMicrographPreExposure=1.5)
    write_star(tmp_path / "p.star", tables)
    assert len(read_particles(tmp_path / "p.star")) == N


@pytest.mark.parametrize("suffix", [".mrc:mrcs", ".mrcs:mrcs", ".mrcs:mrc"])
def test_a_mark_that_a_name_is_a_stack_is_no_part_of_it(tmp_path: Path, suffix: str) -> None:
    write_two_files(tmp_path)
    tables = relion_tables()
    tables["particles"]["rlnImageName"] = [f"{number}@{name}{suffix}" for name, number in PLACES]
    write_star(tmp_path / "p.star", tables)
    np.testing.assert_array_equal(read_particles(tmp_path / "p.star").read_images(EVERY), IMAGES)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("/home/them/project/Extract/job042/s1/", "Extract/job042/s1"),
        ("/home/them/project/Extract/job042/s1/", "s1"),
        ("/home/them/project/Extract/job042/s1/", "."),
        ("Extract/job042/s1/", "s1"),
        (">J42/extract/s1/", "extract/s1"),
    ],
)
def test_images_may_have_been_moved_with_some_of_their_folders(tmp_path: Path, written: str, kept: str) -> None:
    """Below datadir, and not in another folder of the same name nearer by."""
    write_two_files(tmp_path / "images" / kept)
    if kept != ".":
        for name in "ab":
            write_images(tmp_path / "images" / f"{name}.mrcs", 0 * IMAGES[:3])
    path = tmp_path / "lists" / ("p.cs" if written.startswith(">") else "p.star")
    if path.suffix == ".cs":
        blob = cs_blob(written.encode())
        blob["blob/sign"] = 1
        save_cs(path, joined(blob, cs_ctf()))
    else:
        write_star(path, relion_tables(written))
    np.testing.assert_array_equal(read_particles(path, tmp_path / "images").read_images(EVERY), IMAGES)
    with pytest.raises(InputError, match=r"name by datadir \(--datadir\) the folder below which they lie"):
        read_particles(path)


@pytest.mark.parametrize(
    ("start", "said"),
    [(b"\x1f\x8b\x08\0", "gunzip"), (b"BZh9", "bunzip2"), (b"\x28\xb5\x2f\xfd", "unzstd"), (b"\xfd7zXZ", "unxz")],
)
def test_compressed_images_are_refused_with_what_unpacks_them(tmp_path: Path, start: bytes, said: str) -> None:
    write_two_files(tmp_path)
    content = (tmp_path / "a.mrcs").read_bytes()
    (tmp_path / "a.mrcs").write_bytes(start + content[len(start) :])
    write_star(tmp_path / "p.star", relion_tables())
    with pytest.raises(InputError, match=rf"a\.mrcs: is compressed; .* unpack it \({said}\)"):
        read_particles(tmp_path / "p.star")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"u_A": -DEFOCUS.u_A, "v_A": -DEFOCUS.v_A}, "the defocus is negative .* which is overfocus"),
        ({"angle_deg": np.radians(DEFOCUS.angle_deg)}, "all angles of the defocus lie between .* as in radians"),
        ({"phase_shift_deg": np.radians(DEFOCUS.phase_shift_deg)}, "all phase shifts lie between .* as in radians"),
        ({"phase_shift_deg": np.full(N, np.pi / 2)}, "all phase shifts lie between .* as in radians"),
        ({"angle_deg": np.full(N, 0.5), "phase_shift_deg": np.full(N, 0.0)}, None),
        ({"u_A": np.where(EVERY == 0, -1, 1) * DEFOCUS.u_A}, None),
    ],
)
def test_a_defocus_that_is_seldom_right_is_said(
    tmp_path: Path, changes: dict[str, np.ndarray], said: str | None
) -> None:
    write_two_files(tmp_path)
    names = {"u_A": "rlnDefocusU", "v_A": "rlnDefocusV", "angle_deg": "rlnDefocusAngle"}
    names["phase_shift_deg"] = "rlnPhaseShift"
    tables = relion_tables()
    tables["particles"] = tables["particles"].assign(**{names[key]: values for key, values in changes.items()})
    write_star(tmp_path / "p.star", tables)
    notes = read_particles(tmp_path / "p.star").notes
    assert len(notes) == (said is not None)
    assert said is None or re.search(said, notes[0])


@pytest.mark.parametrize("images_at", ["link", "target", "project of the link"])
def test_images_may_lie_beside_a_link_or_its_target(
    tmp_path: Path, images_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, target = tmp_path / "project" / "Job1" / "p.star", tmp_path / "store" / "deep" / "p.star"
    folders = {"link": link.parent, "target": target.parent, "project of the link": tmp_path / "project"}
    write_two_files(folders[images_at])
    write_star(target, relion_tables())
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(read_particles(link).read_images(EVERY), IMAGES)
