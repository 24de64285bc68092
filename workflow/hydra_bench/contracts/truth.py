"""Contract 2, the truth: what only the evaluation, and methods whose card says so, may see.

truth.star: `particles` (poses, classes, conformations, in the order of the stack) and `classes` (one
row a species: its name and its map). Where a species takes several states there is `states` too (one row
a state: its map, its class and its number in the class), and each particle has the number of its state.
volumes/class_<k>.mrc: one map a class, its central state's; volumes/class_<k>/state_<s>.mrc:
one map a state. provenance.json: where it all came from.

A class named `junk` (JUNK_NAME), which has no map, holds the images without one whole particle in their middle; their
poses mean nothing.

A conformation coordinate that a species does not have is NaN, never 0, which is a conformation like others.

Where there is no truth, as for an experiment's particles, the folder holds a reference in its place: what another
program found. It may lack poses, and maps of some classes (rlnReferenceImage is `none`). A particle's number in
the file that it comes from, from 0, is in the column hydraBenchSource.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench import __version__
from hydra_bench.contracts.places import TRUTH_NAME, class_volume_path
from hydra_bench.contracts.poses import ANGLE_COLUMNS, ORIGIN_COLUMNS, pose_table, poses_from_table
from hydra_bench.contracts.tables import columns_of_numbers, file_beside, whole_numbers
from hydra_bench.core.checksums import check_checksums
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, write_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import read_map
from hydra_bench.core.star import columns_named, read_star, write_star
from hydra_bench.core.types import BoolArray, FloatArray, IntArray

PROVENANCE_NAME = "provenance.json"
CONFORMATION_COLUMN, STATE_COLUMN = "hydraBenchConformation", "hydraBenchState"
JUDGES = ("truth", "reference", "nothing")
"""What may stand in a truth's folder."""
SOURCE_COLUMN, NO_MAP = "hydraBenchSource", "none"

JUNK_NAME = "junk"
"""The class, without a map, of images that have not one whole particle in their middle."""


@dataclass(frozen=True)
class Truth:
    """True state of every particle, or what a reference says of it.

    rotations (N, 3, 3), map to view; shifts_A (N, 2), the (x, y) displacement of the particle in its
    image (RELION's rlnOrigin is its negative), both None where no poses are known; classes (N,), 0-based;
    conformations (N, d), d may be 0, NaN where the particle's class has no such coordinate; class_names and
    volume_paths, one a class, None for a class without map; states (N,), 0-based in the particle's class, None if no
    class has several; state_paths, the maps of a class's states, none for a class with one state; sources (N,), None
    where particles come from nowhere else.
    """

    rotations: FloatArray | None
    shifts_A: FloatArray | None
    classes: IntArray
    conformations: FloatArray
    class_names: tuple[str, ...]
    volume_paths: tuple[Path | None, ...]
    states: IntArray | None = None
    state_paths: tuple[tuple[Path, ...], ...] = ()
    sources: IntArray | None = None

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def junk(self) -> BoolArray:
        """Which particles (N,) are junk: those of a class of that name without a map."""
        classes = zip(self.class_names, self.volume_paths, strict=True)
        named = [_is_junk(name, path is not None) for name, path in classes]
        return np.array(named)[self.classes]

    def has_map(self, k: int) -> bool:
        """Whether class k has a map: some of a reference's have none."""
        return self.volume_paths[k] is not None

    def particle_volume_path(self, particle: int) -> Path:
        """The map that this particle is an image of: that of its state, or of its class if that has but one."""
        k = int(self.classes[particle])
        if self.states is None or not self.state_paths[k]:
            return self._class_volume_path(k)
        return self.state_paths[k][int(self.states[particle])]

    def class_volume(self, k: int) -> FloatArray:
        """The map (D, D, D) of class k."""
        return read_map(self._class_volume_path(k))[0]

    def moves(self, k: int) -> bool:
        """Whether class k takes several states."""
        return self.states is not None and len(self.state_paths[k]) > 1

    def average_volume(self, k: int) -> FloatArray:
        """The mean (D, D, D) of the maps of class k's states, each as often as particles are in it."""
        if self.states is None or not self.state_paths[k]:
            return self.class_volume(k)
        counts = np.bincount(self.states[self.classes == k], minlength=len(self.state_paths[k]))
        summed = sum(
            count * read_map(path)[0].astype(np.float64)
            for path, count in zip(self.state_paths[k], counts, strict=True)
            if count
        )
        return np.asarray(summed / counts.sum(), dtype=np.float32)

    def _class_volume_path(self, k: int) -> Path:
        path = self.volume_paths[k]
        if path is None:
            raise ValueError(f"class {k + 1} has no map; has_map tells")
        return path


def state_volume_path(folder: Path, k: int, state: int) -> Path:
    """The map of one of several states of class k, both from 0, in a truth folder."""
    return class_volume_path(folder, k).with_suffix("") / f"state_{state + 1}.mrc"


def write_provenance(folder: Path, definition: JsonObject, facts: JsonObject) -> None:
    """Write what a dataset was made from, and what is to be told of its making."""
    write_json(folder / PROVENANCE_NAME, {"definition": definition, "hydra_bench_version": __version__, **facts})


def write_truth_star(folder: Path, truth: Truth) -> None:
    """Write truth.star; the maps and provenance.json are the simulator's to write."""
    particles = pd.DataFrame({"rlnClassNumber": truth.classes + 1})
    if truth.rotations is not None and truth.shifts_A is not None:
        particles = particles.join(pose_table(truth.rotations, truth.shifts_A))
    for j in range(truth.conformations.shape[1]):
        particles[f"{CONFORMATION_COLUMN}{j + 1}"] = np.round(truth.conformations[:, j], 6)
    classes = pd.DataFrame(
        {
            "rlnReferenceImage": [NO_MAP if p is None else str(p.relative_to(folder)) for p in truth.volume_paths],
            "hydraBenchClassName": truth.class_names,
        }
    )
    tables = {"classes": classes}
    if truth.states is not None:
        particles[STATE_COLUMN] = truth.states + 1
        # One row a state of the classes with several.
        tables["states"] = pd.DataFrame(
            {"rlnReferenceImage": str(path.relative_to(folder)), "rlnClassNumber": k + 1, STATE_COLUMN: s + 1}
            for k, paths in enumerate(truth.state_paths)
            for s, path in enumerate(paths)
        )
    if truth.sources is not None:
        particles[SOURCE_COLUMN] = truth.sources
    write_star(folder / TRUTH_NAME, tables | {"particles": particles})


def read_truth(folder: Path | str) -> Truth:
    """Read and check a truth folder.

    Raises InputError if a table, column, class, state or map is missing, or a file is not as it was written.
    """
    folder = Path(folder)
    check_checksums(folder)
    path = folder / TRUTH_NAME
    tables = read_star(path)
    _check_columns(path, tables)
    particles, classes = tables["particles"], tables["classes"]
    if not len(particles) or not len(classes):
        raise InputError(f"{path}: data_particles or data_classes holds no rows; at least one is needed")
    where = f"{path}: data_particles"
    names = [str(name) for name in classes["rlnReferenceImage"]]
    volume_paths = tuple(None if name == NO_MAP else _map_path(path, name) for name in names)
    _check_maps(path, volume_paths)
    labels = whole_numbers(particles, "rlnClassNumber", where, 1, len(classes)) - 1
    rotations, shifts = poses_from_table(particles, where) if ANGLE_COLUMNS[0] in particles else (None, None)
    states, state_paths = _read_states(path, tables, labels)
    coordinates = columns_named(particles, CONFORMATION_COLUMN)
    return Truth(
        rotations=rotations,
        shifts_A=shifts,
        classes=labels,
        conformations=columns_of_numbers(particles, coordinates, where, may_lack=True),
        class_names=tuple(str(name) for name in classes["hydraBenchClassName"]),
        volume_paths=volume_paths,
        states=states,
        state_paths=state_paths,
        sources=whole_numbers(particles, SOURCE_COLUMN, where, 0) if SOURCE_COLUMN in particles else None,
    )


def junk_numbers(tables: dict[str, pd.DataFrame]) -> list[int]:
    """The numbers of junk in rlnClassNumber, by the tables of a truth.star; none by those of other STAR files."""
    classes = tables.get("classes")
    if classes is None or not {"rlnReferenceImage", "hydraBenchClassName"} <= set(classes):
        return []
    named = zip(classes["hydraBenchClassName"], classes["rlnReferenceImage"], strict=True)
    return [number for number, (name, image) in enumerate(named, start=1) if _is_junk(str(name), str(image) != NO_MAP)]


def _is_junk(name: str, has_map: bool) -> bool:
    """Whether a class of that name is that of junk."""
    return name == JUNK_NAME and not has_map


def judged_by(folder: Path | str) -> str:
    """What stands in a truth folder: "truth", the "reference" of another program, or "nothing" where none is given."""
    path = Path(folder) / PROVENANCE_NAME
    if not path.is_file():
        return "truth"
    content = read_json(path)
    kind = content.get("kind", "truth") if isinstance(content, dict) else None
    if kind not in JUDGES:
        raise InputError(f"{path}: kind is {str(kind)[:50]!r}; {', '.join(JUDGES)} are allowed")
    return str(kind)


def _check_columns(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    expected = {"classes": ["rlnReferenceImage", "hydraBenchClassName"], "particles": ["rlnClassNumber"]}
    poses = [*ANGLE_COLUMNS, *ORIGIN_COLUMNS]
    # A reference may have none of them, but not some.
    if SOURCE_COLUMN not in tables.get("particles", ()) or any(c in tables["particles"] for c in poses):
        expected["particles"] += poses
    if "states" in tables:
        expected["states"] = ["rlnReferenceImage", "rlnClassNumber", STATE_COLUMN]
        expected["particles"].append(STATE_COLUMN)
    for name, columns in expected.items():
        if name not in tables:
            raise InputError(f"{path}: no data_{name} table")
        missing = [column for column in columns if column not in tables[name]]
        if missing:
            raise InputError(f"{path}: data_{name} lacks the column {missing[0]}")


def _map_path(path: Path, name: str) -> Path:
    return file_beside(path.parent, name, f"{path}: rlnReferenceImage")


def _check_maps(path: Path, maps: tuple[Path | None, ...]) -> None:
    for volume_path in maps:
        if volume_path is not None and not volume_path.is_file():
            raise InputError(f"{volume_path}: no such file; {path} names it in rlnReferenceImage")


def _read_states(
    path: Path, tables: dict[str, pd.DataFrame], labels: IntArray
) -> tuple[IntArray | None, tuple[tuple[Path, ...], ...]]:
    """`states` and `state_paths` of Truth, given the particles' classes (N,), 0-based."""
    if "states" not in tables:
        return None, ()
    states = whole_numbers(tables["particles"], STATE_COLUMN, f"{path}: data_particles", 1) - 1
    table = tables["states"]
    for column in ("rlnClassNumber", STATE_COLUMN):
        table = table.assign(**{column: whole_numbers(table, column, f"{path}: data_states", 1)})
    table = table.sort_values(STATE_COLUMN)
    state_paths = []
    for k in range(len(tables["classes"])):
        rows = table[table["rlnClassNumber"] == k + 1]
        count = len(rows)
        if list(rows[STATE_COLUMN]) != list(range(1, count + 1)):
            raise InputError(f"{path}: data_states must number the states of class {k + 1} from 1, each once")
        own = states[labels == k]
        # A class with one state has no rows, and its particles are in state 1.
        if len(own) and not 0 <= own.min() <= own.max() < max(count, 1):
            raise InputError(f"{path}: {STATE_COLUMN} of class {k + 1} must lie in 1..{max(count, 1)}")
        state_paths.append(tuple(_map_path(path, str(name)) for name in rows["rlnReferenceImage"]))
        _check_maps(path, state_paths[-1])
    return states, tuple(state_paths)
