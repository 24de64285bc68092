"""What `hydra-bench analyse` leaves of a run's particles for others to use: analysis/particles.star.

In the order of the stack: hydraBenchCluster, the number of each particle's k-means cluster, from 1 through all classes,
0 in a class without latents; and hydraBenchPrincipal<j>, its coordinates along the principal components of its class's
latents, 0 beyond their number.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hydra_bench.contracts.places import PARTICLES_NAME
from hydra_bench.contracts.tables import whole_numbers
from hydra_bench.core.errors import InputError
from hydra_bench.core.star import read_star, write_star
from hydra_bench.core.types import FloatArray, IntArray

ANALYSIS_FOLDER = "analysis"
CLUSTER_COLUMN, PRINCIPAL_COLUMN = "hydraBenchCluster", "hydraBenchPrincipal"


@dataclass(frozen=True)
class ParticleAnalysis:
    """clusters (N,), from 1, 0 for none; principal (N, d), d may be 0."""

    clusters: IntArray
    principal: FloatArray


def write_particle_analysis(folder: Path, found: ParticleAnalysis) -> None:
    """Write it into the folder of an analysis."""
    table = pd.DataFrame({CLUSTER_COLUMN: found.clusters})
    for j in range(found.principal.shape[1]):
        table[f"{PRINCIPAL_COLUMN}{j + 1}"] = found.principal[:, j].round(6) + 0.0
    write_star(folder / PARTICLES_NAME, {"particles": table})


def read_clusters(run: Path, n_particles: int) -> IntArray:
    """Clusters (N,) of the particles of a run that has been analysed. Raises InputError."""
    path = run / ANALYSIS_FOLDER / PARTICLES_NAME
    if not path.is_file():
        raise InputError(f"--cluster: {path} is not there; `hydra-bench analyse {run}` makes it")
    table = read_star(path).get("particles", pd.DataFrame())
    if CLUSTER_COLUMN not in table or len(table) != n_particles:
        raise InputError(f"{path}: {CLUSTER_COLUMN} of {n_particles} particles is expected; analyse the run anew")
    return whole_numbers(table, CLUSTER_COLUMN, str(path), 0)
