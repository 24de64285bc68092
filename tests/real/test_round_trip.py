"""From RELION's project through the workflow and Hydra back into the same project, by programs not written here.

The project is as projects are: two image files, two optics groups, rows in no order. The workflow crops its images and
shuffles them again, Hydra finds classes and poses, and `hydra-bench select` gives each class back in the project's own
rows. RELION and cryoDRGN then reconstruct it from the project's own images, at the poses of the file.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from given_back import found_of, write_run_of
from particle_files import cs_rows, save_cs, write_images
from simulated import checked, dataset
from test_backprojection import STRUCTURES, shell_correlation

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import PARTICLES_NAME, Results
from hydra_bench.contracts.reconstruction import Assignments, read_assignments
from hydra_bench.contracts.source import Source, source_of_run
from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.mrc import ImageStackWriter, read_map
from hydra_bench.core.star import read_star, write_star
from hydra_bench.datasets.experimental.experiment import import_experiment
from hydra_bench.datasets.importing import Processing
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.maps.alignment import align_map, apply
from hydra_bench.methods.programs.programs import Programs, find_executable
from hydra_bench.particles.cryodrgn import read_pose_table
from hydra_bench.particles.particle_files import read_particles
from hydra_bench.physics.rotations import angular_distance_deg

ENVIRONMENTS = Path(__file__).parents[2] / "build" / "envs"
ENVIRONMENT, CRYOSPARC = ENVIRONMENTS / "cryodrgn", ENVIRONMENTS / "cryosparc" / "bin" / "python"

pytestmark = pytest.mark.skipif(
    shutil.which("relion_reconstruct") is None,
    reason="relion_reconstruct is missing: apt-get install --no-install-recommends relion",
)

EACH, BOX, CROPPED, PIXEL_A = 160, 64, 48, 8.8
SPECIES = {"large_subunit": {"entry": "6zu5", "chains": ["L*"]}, "spliceosome": {"entry": "3jb9"}}
TO_HALF_NYQUIST = slice(1, BOX // 4 + 1)


@dataclass(frozen=True)
class RoundTrip:
    """A project, what Hydra found of its particles, and what is true of them.

    classes (N,) are the true ones of the project's rows, maps (K, BOX, BOX, BOX) theirs.
    """

    project: Path
    run: Path
    classes: np.ndarray
    maps: np.ndarray
    source: Source
    found: Assignments

    def select(self, name: str, *options: str) -> Path:
        out = self.project / "Select" / "job009" / name
        assert main(["select", str(self.run), "--out", str(out), *options]) == 0
        return out

    def members(self, k: int) -> np.ndarray:
        """The project's rows of Hydra's class k, rising."""
        return np.sort(self.source.rows[self.found.classes == k])

    def truth_of(self, k: int) -> int:
        """The true class that most particles of Hydra's class k are of."""
        return int(np.bincount(self.classes[self.members(k)]).argmax())


def write_project(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """RELION's project in a folder; true classes (N,) of its rows, and the maps."""
    tables, labels = [], []
    for number, voltage in enumerate((300.0, 200.0), 1):
        made = folder.with_name(f"simulated_{number}")
        species = {name: {**content, "images": EACH} for name, content in SPECIES.items()}
        size = {"box_px": BOX, "pixel_size_A": PIXEL_A, "delivered_box_px": BOX, "snr": 1.0, "shift_px": 4}
        ctf = {"astigmatism_A": [0, 3000], "voltage_kV": voltage}
        simulate(dataset(number, species, 1, **size, ctf=ctf), STRUCTURES, made / "stack", made / "truth")
        stack, truth = read_stack(made / "stack" / PARTICLES_NAME), read_truth(made / "truth")
        name = f"Extract/job003/mic{number}.mrcs"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with ImageStackWriter(folder / name, len(stack), BOX, PIXEL_A) as writer:
            writer.write(np.arange(len(stack)), stack.read_images(np.arange(len(stack))))
        table = read_star(stack.path)["particles"].assign(rlnOpticsGroup=number)
        table["rlnImageName"] = table["rlnImageName"].str.replace("particles.mrcs", name)
        tables.append(table)
        labels.append(truth.classes)
    optics = pd.concat(
        [read_star(folder.with_name(f"simulated_{n}") / "stack" / PARTICLES_NAME)["optics"] for n in (1, 2)]
    )
    optics = optics.assign(rlnOpticsGroup=[1, 2], rlnOpticsGroupName=["krios", "talos"])
    particles, classes = pd.concat(tables), np.concatenate(labels)
    order = np.random.default_rng(5).permutation(len(particles))
    write_star(folder / "particles.star", {"optics": optics, "particles": particles.iloc[order]})
    return classes[order], np.stack([truth.class_volume(k) for k in range(2)])


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> RoundTrip:
    folder = tmp_path_factory.mktemp("round_trip")
    project, results = folder / "project", Results(folder / "results")
    classes, maps = write_project(project)
    definition = checked({"seed": 1, "particles": {"file": str(project / "particles.star"), "box_px": CROPPED}})
    places, run = results.dataset("mine"), results.run("mine", "hydra", 0).reconstruction
    import_experiment(definition, places.stack, places.truth)
    command = ["hydra", "--particles", str(places.particles), "--classes", "2", "--out", str(run), "--threads", "1"]
    assert main(command) == 0
    source = source_of_run(run)
    return RoundTrip(project, run, classes, maps, source, read_assignments(run, len(source.rows)))


def relion(trip: RoundTrip, *words: object) -> str:
    """Run one of RELION's programs in the project."""
    done = subprocess.run(list(map(str, words)), cwd=trip.project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def class_maps(trip: RoundTrip) -> list[tuple[Path, np.ndarray]]:
    """Each class's STAR file as it is given back, and RELION's map of it."""
    made = []
    for k in range(2):
        star = trip.select(f"class{k + 1}.star", "--class", str(k + 1))
        relion(trip, "relion_reconstruct", "--i", star, "--o", star.with_suffix(".mrc"), "--ctf")
        made.append((star, read_map(star.with_suffix(".mrc"))[0]))
    return made


def test_relion_makes_each_class_map_of_the_projects_own_images(
    trip: RoundTrip, class_maps: list[tuple[Path, np.ndarray]]
) -> None:
    """Hydra finds poses up to a turn, a shift and the hand: maps are aligned as the evaluation aligns them."""
    for k, (_, found) in enumerate(class_maps):
        purity = (trip.classes[trip.members(k)] == trip.truth_of(k)).mean()
        true = trip.maps[trip.truth_of(k)]
        fsc = shell_correlation(apply(found, align_map(found, true)), true)
        print(f"class {k + 1}: purity {purity:.3f}, FSC", fsc.round(3))
        assert purity >= 0.98
        assert (fsc[TO_HALF_NYQUIST] >= 0.9).all()


def test_poses_that_are_not_the_images_own_give_no_map(
    trip: RoundTrip, class_maps: list[tuple[Path, np.ndarray]]
) -> None:
    """What the test above could not see otherwise: rows of other images, or angles of other rows."""
    star, right = class_maps[0]
    tables = read_star(star)
    angles = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
    tables["particles"][angles] = np.roll(tables["particles"][angles].to_numpy(), 1, axis=0)
    write_star(star.with_name("rolled.star"), tables)
    relion(trip, "relion_reconstruct", "--i", star.with_name("rolled.star"), "--o", star.with_name("no.mrc"), "--ctf")
    fsc = shell_correlation(read_map(star.with_name("no.mrc"))[0], right)
    # Single shells of two maps that have only their outline in common may agree by chance.
    assert np.median(fsc[5 : BOX // 4]) < 0.4


def test_relion_refines_from_the_file_as_it_is_and_keeps_our_columns(
    trip: RoundTrip, class_maps: list[tuple[Path, np.ndarray]]
) -> None:
    star, found = class_maps[0]
    out = trip.project / "Class3D" / "run"
    out.parent.mkdir()
    words = ["--ref", star.with_suffix(".mrc"), "--K", 1, "--iter", 1, "--tau2_fudge", 4, "--pad", 2, "--ini_high", 30]
    words += ["--particle_diameter", 400, "--ctf", "--skip_align", "--o", out]
    relion(trip, "relion_refine", "--i", star, *words)
    given = read_star(star)["particles"].set_index("rlnImageName")
    kept = read_star(f"{out}_it001_data.star")["particles"].set_index("rlnImageName").loc[given.index]
    own = [name for name in given.columns if name.startswith("hydraBench")]
    assert own == ["hydraBenchPosterior1", "hydraBenchPosterior2", "hydraBenchLatent1", "hydraBenchLatent2"]
    for name in (*own, "rlnDefocusU", "rlnOpticsGroup", "rlnAngleTilt", "rlnOriginXAngst"):
        np.testing.assert_allclose(kept[name], given[name], atol=2e-6)
    fsc = shell_correlation(read_map(f"{out}_it001_class001.mrc")[0], found)
    print("FSC of relion_refine with relion_reconstruct", fsc.round(3))
    assert (fsc[TO_HALF_NYQUIST] >= 0.98).all()


@pytest.mark.skipif(find_executable("cryodrgn", ENVIRONMENT) is None, reason="cryodrgn is missing: make envs")
def test_cryodrgn_reads_the_same_file_and_makes_the_same_map(
    trip: RoundTrip, class_maps: list[tuple[Path, np.ndarray]]
) -> None:
    programs, work = Programs(ENVIRONMENT, "make envs"), trip.project / "cryodrgn"
    work.mkdir()
    for k, (star, found) in enumerate(class_maps):
        poses, ctf = work / "poses.pkl", work / "ctf.pkl"
        programs.run("cryodrgn", "parse_pose_star", star, "-o", poses, cwd=work)
        programs.run("cryodrgn", "parse_ctf_star", star, "-o", ctf, cwd=work)
        rotations, displacements = read_pose_table(poses)
        members = np.argsort(trip.source.rows)[np.isin(np.sort(trip.source.rows), trip.members(k))]
        assert angular_distance_deg(rotations, trip.found.rotations[members]).max() < 0.05
        np.testing.assert_allclose(displacements * BOX * PIXEL_A, trip.found.shifts_A[members], atol=1e-2)
        words = ["--datadir", trip.project, "--poses", poses, "--ctf", ctf, "-o", work, "--no-half-maps"]
        programs.run("cryodrgn", "backproject_voxel", star, *words, "--reg-weight", 0.01, cwd=work)
        fsc = shell_correlation(read_map(work / "backproject.mrc")[0], found)
        print(f"class {k + 1}: FSC of backproject_voxel with relion_reconstruct", fsc.round(4))
        assert (fsc[TO_HALF_NYQUIST] >= 0.99).all()


def test_pixels_of_the_selected_rows_are_those_that_hydra_saw(trip: RoundTrip) -> None:
    """The rows' images, cropped and normalised as the workflow does, are the images of the stack."""
    star = trip.select("both.star")
    stack = read_stack(trip.run.parents[3] / "datasets" / "mine" / "stack" / PARTICLES_NAME)
    given = read_particles(star)
    own = Processing(CROPPED).apply(given.read_images(np.arange(len(given))))
    np.testing.assert_allclose(own, stack.read_images(np.argsort(trip.source.rows)), atol=1e-3)


LOAD = """
import json, sys
from cryosparc.dataset import Dataset
rows = Dataset.load(sys.argv[1])
print(json.dumps({"uid": rows["uid"].tolist(), "fields": rows.fields(), "prefixes": rows.prefixes()}))
"""


@pytest.mark.skipif(not CRYOSPARC.is_file(), reason="cryosparc-tools is not installed: make envs")
def test_cryosparc_tools_reads_uids_in_order(tmp_path: Path) -> None:
    """And cryoDRGN's converter the poses of the same file."""
    n, rng = 30, np.random.default_rng(4)
    write_images(tmp_path / "J1" / "m.mrcs", rng.standard_normal((n, 8, 8)).astype(np.float32))
    uids = rng.permutation(n).astype(np.uint64) + np.uint64(2**60)
    blob = {"blob__path": np.full(n, b">J1/m.mrcs"), "blob__idx": rng.permutation(n).astype("u4")}
    blob |= {"blob__shape": np.full((n, 2), 8, "u4"), "blob__psize_A": np.full(n, 2, "f4")}
    ctf = {"accel_kv": 300, "cs_mm": 2.7, "amp_contrast": 0.1, "df1_A": 1e4, "df2_A": 1e4, "df_angle_rad": 0}
    fields = {f"ctf__{name}": np.full(n, value, "f4") for name, value in ctf.items()}
    cs = save_cs(tmp_path / "J2_particles.cs", cs_rows(uid=uids, **blob, **fields))
    found = found_of(n)
    run = write_run_of(tmp_path / "run", read_particles(cs), found)
    out = tmp_path / "chosen.cs"
    assert main(["select", str(run), "--class", "1,2", "--out", str(out)]) == 0
    chosen = np.flatnonzero(found.classes < 2)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([CRYOSPARC, "-c", LOAD, out], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert read["uid"] == uids[chosen].tolist()
    assert sorted(read["prefixes"]) == ["alignments3D", "blob", "ctf"]
    named = yaml.safe_load(out.with_suffix(".csg").read_text())["results"]
    assert sorted(named) == sorted(read["prefixes"])
    if find_executable("cryodrgn", ENVIRONMENT) is not None:
        words = ["parse_pose_csparc", out, "-D", 8, "-o", tmp_path / "poses.pkl"]
        Programs(ENVIRONMENT, "make envs").run("cryodrgn", *words, cwd=tmp_path)
        with open(tmp_path / "poses.pkl", "rb") as file:
            rotations, centring = pickle.load(file)
        assert angular_distance_deg(rotations.astype(float), found.rotations[chosen]).max() < 0.05
        np.testing.assert_allclose(-centring * 8 * 2, found.shifts_A[chosen], atol=1e-3)
