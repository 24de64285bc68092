"""Bad particle files: each is refused in one line that names the file and the field."""

import re
from pathlib import Path

import numpy as np
import pytest
from particle_files import (
    BOX,
    EVERY,
    IMAGES,
    N,
    cs_blob,
    cs_ctf,
    cs_poses,
    joined,
    relion_30_table,
    relion_tables,
    save_cs,
    write_images,
    write_two_files,
)

from hydra_bench.core.errors import InputError
from hydra_bench.core.star import write_star
from hydra_bench.particles.particle_files import read_particles, read_poses


def drop(table: str, column: str) -> object:
    return lambda tables: tables.update({table: tables[table].drop(columns=column)})


def put(table: str, column: str, value: object, row: int = 0) -> object:
    def edit(tables: dict) -> None:
        values = tables[table][column].astype(object) if isinstance(value, str) else tables[table][column]
        tables[table][column] = [value if i == row else old for i, old in enumerate(values)]

    return edit


def scale(factor: float) -> object:
    """Defocus in another unit; without phase plate."""

    def edit(tables: dict) -> None:
        tables["particles"][["rlnDefocusU", "rlnDefocusV"]] *= factor
        tables["particles"]["rlnPhaseShift"] = 0.0

    return edit


def refused(call: object, path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        call()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("optics"), "no data_optics table, but data_particles has rlnOpticsGroup"),
        (lambda t: t.pop("particles"), "no data_particles table .* just data_general, data_optics"),
        (lambda t: t.update(particles=t["particles"].iloc[:0]), "data_particles holds no particles"),
        (lambda t: t["optics"].insert(0, "rlnVoltage", 300.0, True), "data_optics has the column rlnVoltage twice"),
        (drop("particles", "rlnImageName"), "data_particles lacks the column rlnImageName"),
        (drop("particles", "rlnOpticsGroup"), "data_particles lacks the column rlnOpticsGroup"),
        (drop("particles", "rlnDefocusV"), "data_particles lacks the column rlnDefocusV"),
        (drop("optics", "rlnVoltage"), "data_optics lacks the column rlnVoltage"),
        (drop("optics", "rlnImagePixelSize"), "data_optics lacks the column rlnImagePixelSize .* give pixel_size_A"),
        (put("particles", "rlnDefocusU", "high", 2), "data_particles: rlnDefocusU is high in row 3; a number"),
        (put("particles", "rlnDefocusU", np.nan, 2), "data_particles: rlnDefocusU is nan in row 3; a number"),
        (scale(1e-4), "rlnDefocusU and rlnDefocusV: median .* looks like in µm; Å are expected"),
        (scale(1e-1), "rlnDefocusU and rlnDefocusV: median .* looks like in nm; Å are expected"),
        (scale(1e4), "rlnDefocusU and rlnDefocusV: median .* more than 100 µm; Å"),
        (scale(0), "rlnDefocusU and rlnDefocusV: median 0, .* no defocus"),
        (put("optics", "rlnImagePixelSize", 0.0), "rlnImagePixelSize is 0 in optics group 7; above 0"),
        (put("optics", "rlnImagePixelSize", -2.0), "rlnImagePixelSize is -2 in optics group 7; above 0"),
        (
            put("optics", "rlnImagePixelSize", 2.5, 1),
            "rlnImagePixelSize: optics group 7 has 2 Å and optics group 3 has 2.5 Å",
        ),
        (
            put("optics", "rlnImageSize", 16, 1),
            "optics group 7 has 8 px and optics group 3 has 16 px; .* one image size",
        ),
        (put("optics", "rlnVoltage", 0.0), r"data_optics: rlnVoltage is 0 in optics group 7; 10 to 3000 \(kV\)"),
        (put("optics", "rlnVoltage", 3e5), "rlnVoltage is 300000 in optics group 7"),
        (put("optics", "rlnVoltage", "high"), "rlnVoltage is high in optics group 7; a number"),
        (put("optics", "rlnAmplitudeContrast", 10.0), "rlnAmplitudeContrast is 10 in optics group 7; 0 to 1"),
        (put("optics", "rlnSphericalAberration", 2.7e7), "rlnSphericalAberration is 2.7e.07 .* 0 to 20 .mm"),
        (put("optics", "rlnOpticsGroup", 7, 1), "data_optics: rlnOpticsGroup 7 is there twice"),
        (put("particles", "rlnOpticsGroup", 9, 4), "rlnOpticsGroup is 9 in row 5; data_optics has just 7, 3, 4"),
        (put("particles", "rlnImageName", "4@a.mrcs"), r"rlnImageName: particle 1 is image 4 of .*a\.mrcs.* 1\.\.3"),
        (put("particles", "rlnImageName", "0@a.mrcs"), "rlnImageName is '0@a.mrcs' in row 1; <number from 1>@<file>"),
        (put("particles", "rlnImageName", "x@a.mrcs"), "rlnImageName is 'x@a.mrcs' in row 1"),
        (put("particles", "rlnImageName", "a.mrcs"), "rlnImageName is 'a.mrcs', a file of several images"),
        (
            put("particles", "rlnImageName", "1@c.mrcs"),
            "rlnImageName names c.mrcs, which does not exist; tried .*c.mrcs,",
        ),
        (put("optics", "rlnCtfDataAreCtfPremultiplied", 1), "rlnCtfDataAreCtfPremultiplied is set for optics group 7"),
        (put("optics", "rlnImageDimensionality", 3), "rlnImageDimensionality is 3; 2 is allowed"),
    ],
)
def test_star_files_that_are_refused(tmp_path: Path, edit: object, message: str) -> None:
    write_two_files(tmp_path)
    tables = relion_tables()
    edit(tables)
    write_star(tmp_path / "p.star", tables)
    refused(lambda: read_particles(tmp_path / "p.star"), tmp_path / "p.star", message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rlnMagnification": 0.0}, "data_: rlnMagnification is 0; above 0"),
        ({"rlnMagnification": np.linspace(1e4, 2e4, N)}, "particle 1 has 5 Å and particle 2 has .* one pixel size"),
        ({"rlnVoltage": 0.0}, "data_: rlnVoltage is 0 in particle 1"),
    ],
)
def test_relion_30_files_that_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    write_two_files(tmp_path)
    write_star(tmp_path / "p.star", {"": relion_30_table().assign(**change)})
    refused(lambda: read_particles(tmp_path / "p.star"), tmp_path / "p.star", message)


def test_relion_30_without_voltage_is_refused(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    write_star(tmp_path / "p.star", {"particles": relion_30_table().drop(columns="rlnVoltage")})
    refused(lambda: read_particles(tmp_path / "p.star"), tmp_path, "data_particles lacks the column rlnVoltage")


def test_images_of_another_size_than_the_table_says_are_refused(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    write_images(tmp_path / "a.mrcs", np.zeros((3, 6, 6), dtype=np.float32))
    write_star(tmp_path / "p.star", relion_tables())
    message = r"a\.mrcs: image size 6 x 6 px in its header; .*p\.star: data_optics: rlnImageSize says 8 x 8"
    refused(lambda: read_particles(tmp_path / "p.star"), tmp_path / "a.mrcs", message)


def test_a_truncated_image_file_is_refused(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    write_star(tmp_path / "p.star", relion_tables())
    (tmp_path / "a.mrcs").write_bytes((tmp_path / "a.mrcs").read_bytes()[:-1])
    refused(lambda: read_particles(tmp_path / "p.star"), tmp_path / "a.mrcs", "truncated")


def test_files_of_one_name_do_not_become_one(tmp_path: Path) -> None:
    write_two_files(tmp_path / "images")
    tables = relion_tables("first/")
    tables["particles"]["rlnImageName"] = [f"1@{'first' if i else 'second'}/a.mrcs" for i in range(N)]
    write_star(tmp_path / "p.star", tables)
    message = "rlnImageName names second/a.mrcs and first/a.mrcs, but both are found as"
    refused(lambda: read_particles(tmp_path / "p.star", tmp_path / "images"), tmp_path / "p.star", message)


def without(rows: np.ndarray, field: str) -> np.ndarray:
    return rows[[name for name in rows.dtype.names if name != field]]


def changed(field: str, row: int, value: float) -> np.ndarray:
    rows = joined(cs_blob(), cs_ctf())
    rows[field][row] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (cs_blob(), "CTF missing: lacks the field ctf/accel_kv; if a passthrough .cs file holds it"),
        (without(joined(cs_blob(), cs_ctf()), "ctf/df2_A"), "CTF missing: lacks the field ctf/df2_A"),
        (without(joined(cs_blob(), cs_ctf()), "blob/path"), "lacks the field blob/path"),
        (joined(cs_blob(), cs_ctf())[:0], "holds no particles"),
        (np.zeros(4), "not a .cs file"),
        (changed("blob/psize_A", 0, 0), "blob/psize_A is 0 in row 1; above 0"),
        (changed("blob/psize_A", 3, 3), "blob/psize_A: particle 1 has 2 Å and particle 4 has 3 Å"),
        (changed("blob/shape", 3, 6), "blob/shape: particle 1 has 8 px and particle 4 has 6 x 6 px"),
        (changed("blob/idx", 2, 3), r"blob/idx: particle 3 is image 4 of .*b\.mrcs, which holds images 1\.\.3"),
        (changed("blob/sign", 2, 0), "blob/sign is 0 in row 3; 1 or -1"),
        (changed("ctf/accel_kv", 2, 0), "ctf/accel_kv is 0 in row 3; 10 to 3000"),
        (changed("ctf/df1_A", 2, np.nan), "ctf/df1_A is nan in row 3; a number"),
        (
            joined(cs_blob(b"gone/", b".mrc"), cs_ctf()),
            "blob/path names gone/b.mrc, which does not exist; tried .*J1.* .and .mrcs",
        ),
    ],
)
def test_cs_files_that_are_refused(tmp_path: Path, rows: np.ndarray, message: str) -> None:
    write_two_files(tmp_path / "J1")
    path = save_cs(tmp_path / "J1" / "p.cs", rows)
    refused(lambda: read_particles(path), path, message)


def test_passthrough_files_of_other_particles_are_refused(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    path, second = save_cs(tmp_path / "p.cs", cs_blob()), save_cs(tmp_path / "second.cs", cs_ctf()[:3])
    message = r"second\.cs: uid \d+ of .*p\.cs is not there"
    refused(lambda: read_particles(path, passthrough=second), second, message)
    save_cs(second, cs_ctf(np.zeros(N, dtype=int)))
    refused(lambda: read_particles(path, passthrough=second), second, "is there twice")
    save_cs(second, without(cs_ctf(), "uid"))
    refused(lambda: read_particles(path, passthrough=second), second, "lacks the field uid")
    save_cs(second, without(cs_ctf(), "ctf/cs_mm"))
    refused(lambda: read_particles(path, passthrough=second), second, "lack the field ctf/cs_mm")


def test_files_of_no_known_kind_and_bare_stacks_without_ctf_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "a.mrcs", IMAGES)
    bare = tmp_path / "a.mrcs"
    refused(lambda: read_particles(bare), bare, "CTF missing: .* ctf = none")
    write_images(bare, IMAGES, 0.0)
    refused(lambda: read_particles(bare, ctf="none"), bare, "pixel size 0 Å in its header; .* give pixel_size_A")
    (tmp_path / "notes.txt").write_text("hello")
    notes = tmp_path / "notes.txt"
    refused(lambda: read_particles(notes), notes, re.escape("(.star, .cs, .mrcs are allowed)"))
    refused(lambda: read_particles(tmp_path / "no.star"), tmp_path / "no.star", "no such file")
    (tmp_path / "p.cs").write_text("hello")
    refused(lambda: read_particles(tmp_path / "p.cs"), tmp_path / "p.cs", "not a .cs file")
    (tmp_path / "p.star").write_text("hello")
    refused(lambda: read_particles(tmp_path / "p.star"), tmp_path / "p.star", "holds no STAR table")


def test_arguments_that_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "a.mrcs", IMAGES)
    for arguments, message in (
        ({"ctf": "maybe"}, "ctf: 'maybe'; file or none"),
        ({"ctf": "none", "pixel_size_A": -1.0}, "pixel_size_A: -1"),
        ({"ctf": "none", "datadir": tmp_path / "none"}, "datadir: .*none is not a folder"),
        ({"ctf": "none", "passthrough": tmp_path / "second.cs"}, "passthrough: .*second.cs; only a .cs file has one"),
    ):
        with pytest.raises(InputError, match=message):
            read_particles(tmp_path / "a.mrcs", **arguments)


def test_bad_images_are_named_when_they_are_read(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    write_images(tmp_path / "a.mrcs", np.ones((3, BOX, BOX), dtype=np.float32))
    write_star(tmp_path / "p.star", relion_tables())
    stack = read_particles(tmp_path / "p.star")
    refused(lambda: stack.read_images(EVERY), tmp_path / "a.mrcs", r"a\.mrcs: image 1 is constant .* \(particle 2\)")


def test_poses_that_are_refused(tmp_path: Path) -> None:
    write_two_files(tmp_path)
    star = tmp_path / "p.star"
    write_star(star, relion_tables())
    stack = read_particles(star)
    refused(lambda: read_poses(star, stack), star, "data_particles lacks the column rlnAngleRot")
    poses = relion_tables()
    for column in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"):
        poses["particles"][column] = 0.0
    other = tmp_path / "other.star"
    write_star(other, {**poses, "particles": poses["particles"].iloc[:-1]})
    refused(lambda: read_poses(other, stack), other, r"rlnImageName: image 2 of a\.mrcs is not there")
    poses["particles"]["rlnImageName"] = "1@a.mrcs"
    write_star(other, poses)
    refused(
        lambda: read_poses(other, stack),
        other,
        r"rlnImageName: image 1 of a\.mrcs is there twice",
    )
    write_star(other, {"particles": poses["particles"].drop(columns="rlnImageName").iloc[:-1]})
    refused(lambda: read_poses(other, stack), other, f"{N - 1} rows without image names; .* has {N}")
    path = save_cs(tmp_path / "p.cs", cs_blob())
    refused(lambda: read_poses(path, stack), path, "lacks the field alignments3D/pose")
    path = save_cs(tmp_path / "p.cs", without(cs_poses("alignments3D", np.zeros((N, 3)), np.zeros((N, 2)), 2.0), "x"))
    assert read_poses(path, stack)[0].shape == (N, 3, 3)
    save_cs(path, without(cs_poses("alignments3D", np.zeros((N, 3)), np.zeros((N, 2)), 2.0), "alignments3D/shift"))
    refused(lambda: read_poses(path, stack), path, "lacks the field alignments3D/shift")
    refused(lambda: read_poses(tmp_path / "a.mrcs", stack), tmp_path / "a.mrcs", "holds no poses")
