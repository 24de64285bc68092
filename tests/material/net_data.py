"""What the shipped configurations read beside the embedded entries, in small: `python net_data.py FOLDER` writes it.

structures/           two states of a small complex
relion/               particles of two species and junk with another program's labels and maps, as RELION has them
J42, J57, J60 to J62  the same as cryoSPARC has them
Tomotwin-100, Ribosembly    archives of CryoBench
sparc/J9              a finished job of cryoSPARC on a stack of 60 particles
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import starfile
from cryobench_archive import write_archive
from cryosparc_job import ABINIT_MAPS, Job
from definitions import dataset
from experimental_stack import write_project
from hydra_cases import Case
from particle_files import cs_rows, save_cs
from structure_files import write_states

from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.files import read_json
from hydra_bench.core.star import read_star, write_star
from hydra_bench.core.threads import set_threads
from hydra_bench.datasets.simulated.simulate import simulate

STRUCTURES = Path(__file__).parents[2] / "resources" / "structures"


def write_net_data(folder: Path) -> Path:
    """Write all of it; the folder."""
    (folder / "structures").mkdir(parents=True)
    write_states(folder / "structures")
    made = folder / "simulated"
    simulate(dataset(snr=2.0), STRUCTURES, made / "stack", made / "truth")
    scale = read_json(made / "truth" / "provenance.json")["image_scale"]
    case = Case(read_stack(made / "stack" / "particles.star"), read_truth(made / "truth"), scale)
    write_archive(folder / "Tomotwin-100", case, ("6up6", "6id1"))
    write_archive(folder / "Ribosembly", case)
    job = Job(folder / "sparc" / "J9", case)
    job.write("J9_final_particles.cs", job.fields() | job.class_groups())
    job.write_maps([name.replace("J42", "J9") for name in ABINIT_MAPS])
    write_project(folder / "relion", STRUCTURES)
    _tilt_the_beam(folder / "relion" / "Job1" / "particles.star")
    _write_cryosparc_project(folder)
    return folder


def _tilt_the_beam(star: Path) -> None:
    """Say of the second group what is not used, and must be told."""
    tables = read_star(star)
    tables["optics"]["rlnBeamTiltX"] = [0.0, 0.7]
    write_star(star, tables)


def _write_cryosparc_project(folder: Path) -> None:
    """The particles of relion/ in a refinement's .cs file, labels of another job of six classes, and its maps."""
    content = starfile.read(folder / "relion" / "Job1" / "particles.star", always_dict=True)
    particles = content["particles"].merge(content["optics"], on="rlnOpticsGroup", how="left")
    classified = starfile.read(folder / "relion" / "Job2" / "labels.star", always_dict=True)["particles"]
    numbers, _, files = zip(*(name.partition("@") for name in particles["rlnImageName"]), strict=True)
    number, path = [int(text) - 1 for text in numbers], [f"relion/{file}".encode() for file in files]
    uid = np.arange(len(particles), dtype=np.uint64) + 2**60
    images = {"uid": uid, "blob__path": np.array(path), "blob__idx": np.array(number, dtype=np.uint32)}
    box = particles["rlnImageSize"].to_numpy()
    rows = cs_rows(
        **images,
        blob__shape=np.stack([box, box], 1).astype(np.uint32),
        blob__psize_A=particles["rlnImagePixelSize"].to_numpy(np.float32),
        blob__sign=np.full(len(uid), -1, dtype=np.float32),
        ctf__accel_kv=particles["rlnVoltage"].to_numpy(np.float32),
        ctf__cs_mm=particles["rlnSphericalAberration"].to_numpy(np.float32),
        ctf__amp_contrast=particles["rlnAmplitudeContrast"].to_numpy(np.float32),
        ctf__df1_A=particles["rlnDefocusU"].to_numpy(np.float32),
        ctf__df2_A=particles["rlnDefocusV"].to_numpy(np.float32),
        ctf__df_angle_rad=np.radians(particles["rlnDefocusAngle"]).to_numpy(np.float32),
        ctf__phase_shift_rad=np.zeros(len(uid), dtype=np.float32),
    )
    save_cs(folder / "J42" / "particles.cs", rows)
    # RELION's classes 1 and 3 are the large subunit, 2 is the small one, 4 junk; here 0, 2 and 5 are the large one.
    known = dict(zip(classified["rlnImageName"], classified["rlnClassNumber"], strict=True))
    labels = [
        {1: 0, 2: 1, 3: 2 + 3 * (i % 2), 4: 3 + i % 2}.get(known.get(name, 0), 4)
        for i, name in enumerate(particles["rlnImageName"])
    ]
    # The job's own file has labels alone; images, and another job's classes, passed through, in an order of their own.
    own = cs_rows(uid=uid, alignments3D__class=np.array(labels, dtype=np.uint32))
    save_cs(folder / "J57" / "particles.cs", own)
    upstream = {f"alignments_class_{k}__class_posterior": np.full(len(uid), 0.9 - 0.8 * k, np.float32) for k in (0, 1)}
    save_cs(folder / "J57" / "J57_passthrough_particles_all_classes.cs", cs_rows(**images, **upstream)[::-1])
    for job, species in (("J60", "large"), ("J61", "small"), ("J62", "large")):
        (folder / job).mkdir()
        shutil.copy(folder / "relion" / f"{species}.mrc", folder / job / "volume.mrc")


if __name__ == "__main__":
    set_threads(1)
    write_net_data(Path(sys.argv[1]))
