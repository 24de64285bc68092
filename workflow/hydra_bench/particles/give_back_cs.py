"""Particles given back as CryoSPARC's .cs file and its .csg, or as a STAR file made of a .cs file's fields.

The .cs file holds all fields of the rows, those of the passthrough file among them, with uids as they are, in the
user's order; poses and classes are in `alignments3D`. The .csg file beside it is what CryoSPARC's job "Import Result
Group" takes: it says which file holds which group of fields. Source: CryoSPARC guide, "Manipulating .cs files created
by CryoSPARC" and "Importing and exporting job results"; a .csg file that CryoSPARC 4.4.1 exported, and took back with
another .cs file in it, stands in the README of reichow-lab/subunit_enrichment. For poses and shifts see
`cryosparc_alignments`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.spatial.transform import Rotation

from hydra_bench.contracts.reconstruction import Assignments
from hydra_bench.contracts.source import Source
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic, write_text
from hydra_bench.core.types import FloatArray
from hydra_bench.particles.cryosparc import (
    BLOB_FIELDS,
    UNUSED_FIELDS,
    Dataset,
    Rows,
    blob_files,
    is_unfilled,
    magnification_of,
    read_dataset,
)
from hydra_bench.particles.cryosparc_alignments import read_cs_poses
from hydra_bench.particles.give_back_star import Style, stack_name, told, with_relative_paths
from hydra_bench.particles.relion import MAGNIFICATION_COLUMNS
from hydra_bench.particles.star_rows import OPTICS, StarRows
from hydra_bench.physics.magnification import recorded_shifts

_ALIGNMENTS = (
    ("split", "<u4", ()),
    ("shift", "<f4", (2,)),
    ("pose", "<f4", (3,)),
    ("psize_A", "<f4", ()),
    ("error", "<f4", ()),
    ("error_min", "<f4", ()),
    ("resid_pow", "<f4", ()),
    ("slice_pow", "<f4", ()),
    ("image_pow", "<f4", ()),
    ("cross_cor", "<f4", ()),
    ("alpha", "<f4", ()),
    ("alpha_min", "<f4", ()),
    ("weight", "<f4", ()),
    ("pose_ess", "<f4", ()),
    ("shift_ess", "<f4", ()),
    ("class_posterior", "<f4", ()),
    ("class", "<u4", ()),
    ("class_ess", "<f4", ()),
)
"""The fields of alignments3D, their types and shapes, which CryoSPARC expects together."""
_ONES = ("alpha", "weight", "class_posterior", "class_ess")
_CSG_VERSION = "v4.0.0"
_CONVERTED = (
    *(*BLOB_FIELDS, "blob/psize_A", "uid", "ctf/type", "ctf/exp_group_id", "ctf/accel_kv", "ctf/cs_mm"),
    *("ctf/amp_contrast", "ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad", "ctf/phase_shift_rad", "ctf/scale"),
    *("ctf/bfactor", "location/micrograph_path", "location/micrograph_shape", "location/center_x_frac"),
    *("location/center_y_frac", "alignments3D/split", "ctf/anisomag"),
)
"""Fields that a STAR file of RELION is given columns for; poses and classes are those found."""
_NEUTRAL_AT_0 = (*UNUSED_FIELDS, "ctf/scale_const")
"""Fields of the CTF that nothing is lost with where they are zero."""
_FOUND = re.compile(r"(alignments3D|alignments3D_multi|alignments_class_\d+)/")


def write_cs(out: Path, source: Source, found: Assignments, style: Style) -> None:
    """Write rows (M) of a source's .cs file with what was found of them, and the .csg beside. Raises InputError."""
    data = _read(source)
    merged = _merged(data)
    if source.rows.max() >= len(merged):
        raise InputError(f"{source.path}: {len(merged)} rows; row {source.rows.max() + 1} is wanted")
    shifts_px = recorded_shifts(found.shifts_A / source.pixel_size_A, magnification_of(_taken(data, source)))
    rows = _with_alignments(merged[source.rows], source, found, shifts_px, style)
    with atomic(out) as temporary, open(temporary, "wb") as file:
        np.save(file, rows)
    groups = dict.fromkeys(name.partition("/")[0] for name in rows.dtype.names or () if "/" in name)
    results = {
        group: {"metafile": f">{out.name}", "num_items": len(rows), "type": _type_of(group)} for group in sorted(groups)
    }
    content = {
        # A time that never changes, since the same particles give the same bytes.
        "created": datetime(2000, 1, 1),
        "group": {
            "description": "Particles chosen by hydra-bench, with their poses and classes",
            "name": "particles",
            "title": "Particles of hydra-bench",
            "type": "particle",
        },
        "results": results,
        "version": _CSG_VERSION,
    }
    write_text(out.with_suffix(".csg"), yaml.safe_dump(content))


def cs_as_star_rows(source: Source, found: Assignments, style: Style) -> tuple[StarRows, list[str]]:
    """The rows (M) of a source's .cs file as RELION's table with what was found, and the fields that it cannot hold.

    Raises InputError if the file lacks what every particle needs.
    """
    data = _taken(_read(source), source)
    shape = data.field("blob/shape").reshape(len(data), -1)
    pixel = data.field("blob/psize_A").astype(np.float64)
    optics = {
        "rlnVoltage": data.field("ctf/accel_kv"),
        "rlnSphericalAberration": data.field("ctf/cs_mm"),
        "rlnAmplitudeContrast": data.field("ctf/amp_contrast"),
        "rlnImagePixelSize": pixel,
    }
    exposure = data.field("ctf/exp_group_id") if "ctf/exp_group_id" in data.names else np.zeros(len(data))
    matrices = magnification_of(data)
    if matrices is not None:
        optics |= dict(zip(MAGNIFICATION_COLUMNS, matrices.reshape(-1, 4).T, strict=True))
    keys = np.stack([exposure, *optics.values()], 1).astype(np.float64)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    files, file_names = blob_files(data)
    names = [
        f"{frame + 1:06d}@{stack_name(file_names[f])}" for f, frame in zip(files, data.field("blob/idx"), strict=True)
    ]
    columns = {"rlnImageName": names, "rlnOpticsGroup": [str(g + 1) for g in group.ravel()]}
    columns |= _particle_columns(data)
    groups = {"rlnOpticsGroup": [str(g + 1) for g in range(len(first))]}
    groups["rlnOpticsGroupName"] = [f"opticsGroup{number}" for number in groups["rlnOpticsGroup"]]
    groups |= {name: [f"{values[row]:.6f}" for row in first] for name, values in optics.items()}
    groups |= {"rlnImageSize": [str(shape[row, 0]) for row in first], "rlnImageDimensionality": ["2"] * len(first)}
    table = StarRows({OPTICS: pd.DataFrame(groups), "particles": pd.DataFrame(columns)}, "particles")
    table = with_relative_paths(table, source.path, "blob/path", style)
    dropped = [
        name
        for name in sorted(data.names)
        if name not in _CONVERTED
        and not _FOUND.match(name)
        and not (name in _NEUTRAL_AT_0 and not data.field(name).any())
    ]
    if "blob/sign" in data.names and (data.field("blob/sign") == 1).all():
        dropped.remove("blob/sign")
    if style.keep_poses:
        rotations, shifts_A, _ = read_cs_poses(source.path, source.passthrough)
        found = replace(found, rotations=rotations[source.rows], shifts_A=shifts_A[source.rows])
        return told(table, found, found.shifts_A / pixel[:, None], pixel, Style()), dropped
    shifts_px = recorded_shifts(found.shifts_A / source.pixel_size_A, matrices)
    return told(table, found, shifts_px, pixel, Style()), dropped


def _particle_columns(data: Dataset) -> dict[str, list[str]]:
    """Columns of the particles' table, but for names and groups of optics."""
    values: dict[str, FloatArray] = {
        "rlnDefocusU": data.field("ctf/df1_A"),
        "rlnDefocusV": data.field("ctf/df2_A"),
        "rlnDefocusAngle": np.degrees(data.field("ctf/df_angle_rad")),
    }
    for name, field in (("rlnCtfScalefactor", "ctf/scale"), ("rlnCtfBfactor", "ctf/bfactor")):
        if field in data.names and not (field == "ctf/scale" and is_unfilled(data.field(field))):
            values[name] = data.field(field)
    if "ctf/phase_shift_rad" in data.names:
        values["rlnPhaseShift"] = np.degrees(data.field("ctf/phase_shift_rad"))
    if {"location/center_x_frac", "location/center_y_frac", "location/micrograph_shape"} <= data.names:
        height_width = data.field("location/micrograph_shape")
        values["rlnCoordinateX"] = data.field("location/center_x_frac") * height_width[:, 1]
        values["rlnCoordinateY"] = data.field("location/center_y_frac") * height_width[:, 0]
    words = {name: [f"{value:.6f}" for value in column] for name, column in values.items()}
    if "location/micrograph_path" in data.names:
        paths = data.field("location/micrograph_path")
        words["rlnMicrographName"] = [_text(path).removeprefix(">") for path in paths]
    if "alignments3D/split" in data.names:
        words["rlnRandomSubset"] = [str(int(split) + 1) for split in data.field("alignments3D/split")]
    if "uid" in data.names:
        words["ucsfUid"] = [str(uid) for uid in data.field("uid")]
    return words


def _read(source: Source) -> Dataset:
    # Of micrographs and picks RELION and later jobs of CryoSPARC know more with them, though a run needs neither.
    return read_dataset(source.path, source.passthrough, [*BLOB_FIELDS, "location/micrograph_path"])


def _taken(data: Dataset, source: Source) -> Dataset:
    second = None if data.passthrough is None else data.passthrough[source.rows]
    return Dataset(data.path, data.main[source.rows], data.passthrough_path, second)


def _merged(data: Dataset) -> Rows:
    """All fields of all rows (N), the file's own before those that pass through. Raises InputError without uids."""
    if "uid" not in data.own_names:
        raise InputError(f"{data.path}: lacks the field uid, by which CryoSPARC tells particles; .star is allowed")
    parts = [data.main] if data.passthrough is None else [data.main, data.passthrough]
    fields: dict[str, Rows] = {}
    for part in parts:
        fields |= {name: part for name in part.dtype.names or () if name not in fields}
    types = [(name, part.dtype[name]) for name, part in fields.items()]
    merged: Rows = np.empty(len(data), dtype=types)
    for name, part in fields.items():
        merged[name] = part[name]
    return merged


def _with_alignments(rows: Rows, source: Source, found: Assignments, shifts_px: FloatArray, style: Style) -> Rows:
    """Rows (M) of the file with alignments3D as found; shifts_px (M, 2) in px of the images as they were recorded."""
    there = set(rows.dtype.names or ())
    missing = [entry for entry in _ALIGNMENTS if f"alignments3D/{entry[0]}" not in there]
    types = [(name, rows.dtype[name]) for name in rows.dtype.names or ()]
    wider: Rows = np.zeros(len(rows), dtype=[*types, *((f"alignments3D/{n}", t, s) for n, t, s in missing)])
    for name in rows.dtype.names or ():
        wider[name] = rows[name]
    for name, _, _ in missing:
        if name in _ONES:
            wider[f"alignments3D/{name}"] = 1
    wider["alignments3D/class"] = found.classes
    wider["alignments3D/class_posterior"] = found.posteriors[np.arange(len(found)), found.classes]
    if style.keep_poses and "alignments3D/pose" in there:
        return wider
    pixel_A = wider["blob/psize_A"].astype(np.float64) if "blob/psize_A" in there else source.pixel_size_A
    rotations = found.rotations
    if style.keep_poses:  # they are in the groups of fields of several classes
        rotations, shifts_A, _ = read_cs_poses(source.path, source.passthrough)
        rotations, shifts_px = rotations[source.rows], shifts_A[source.rows] / source.pixel_size_A
        pixel_A = source.pixel_size_A
    wider["alignments3D/psize_A"] = pixel_A
    wider["alignments3D/pose"] = -Rotation.from_matrix(rotations).as_rotvec()
    wider["alignments3D/shift"] = -shifts_px
    return wider


def _type_of(group: str) -> str:
    """What CryoSPARC calls a group of fields."""
    if re.fullmatch(r"alignments_class_\d+", group):
        return "particle.alignments3D"
    return "particle.components" if group.startswith("components_mode") else f"particle.{group}"


def _text(value: bytes | str) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)
