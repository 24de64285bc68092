"""The folder of an analysis: tables, maps along the latents, a script of ChimeraX, one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from tqdm import tqdm

from hydra_bench.contracts.analysis import write_particle_analysis
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import Assignments, Run
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic, write_text
from hydra_bench.core.mrc import read_map
from hydra_bench.core.types import FloatArray
from hydra_bench.methods.hydra.output.reconstruction import FIELDS_NAME, SavedFields, read_fields
from hydra_bench.methods.hydra.output.volumes import MOST_MAPS, principal_path, write_volumes
from hydra_bench.report.analysis.chimerax import Shown, script
from hydra_bench.report.analysis.numbers import (
    ClassSize,
    LatentSpace,
    class_sizes,
    latent_spaces,
    particle_analysis,
)
from hydra_bench.report.analysis.page import Analysis, write_analysis_page
from hydra_bench.report.figures.isosurface import level_holding
from hydra_bench.report.figures.rendered_maps import HELD_FRACTION
from hydra_bench.report.figures.style import species_colour

CLASSES_NAME, COMPONENTS_NAME, CLUSTERS_NAME = "classes.csv", "components.csv", "clusters.csv"
SCRIPT_NAME, PAGE_NAME = "maps.cxc", "index.html"


@dataclass(frozen=True)
class Wanted:
    """How much is made: clusters a class, maps along a component, and along how many components of a class."""

    clusters: int = 4
    points: int = 7
    components: int = 2

    def check(self) -> None:
        """Raises InputError for what cannot be made."""
        for option, value, least in (
            ("--clusters", self.clusters, 1),
            ("--points", self.points, 2),
            ("--components", self.components, 0),
        ):
            if not least <= value <= MOST_MAPS:
                allowed = f"{least} or more" if value < least else f"at most {MOST_MAPS}"
                raise InputError(f"{option}: {value}; {allowed} is allowed")


def analyse(run_folder: Path, run: Run, found: Assignments, wanted: Wanted, out: Path) -> None:
    """Write everything into `out`. Raises InputError.

    Maps along the latents are rendered where the run kept its fields, as Hydra's do; of other methods there are the
    class maps alone.
    """
    wanted.check()
    sizes = class_sizes(found)
    spaces = latent_spaces(found, wanted.clusters)
    fields = read_fields(run_folder) if (run_folder / FIELDS_NAME).is_file() else None
    write_particle_analysis(out, particle_analysis(spaces, len(found)))
    _write_table(out / CLASSES_NAME, [vars(size) for size in sizes])
    series = _render(spaces, fields, wanted, out)
    _write_table(out / COMPONENTS_NAME, _component_rows(spaces, series, out))
    _write_table(out / CLUSTERS_NAME, _cluster_rows(spaces, fields is not None))
    shown = _shown(run_folder, sizes, series)
    write_text(out / SCRIPT_NAME, script(out, shown))
    write_analysis_page(out / PAGE_NAME, Analysis(run_folder, run, found, sizes, spaces, shown))


def components_folder(out: Path, class_number: int, component: int) -> Path:
    return out / "maps" / f"class_{class_number}" / f"component_{component}"


def clusters_folder(out: Path, class_number: int) -> Path:
    return out / "maps" / f"class_{class_number}" / "clusters"


def _render(
    spaces: list[LatentSpace], fields: SavedFields | None, wanted: Wanted, out: Path
) -> dict[tuple[int, int], tuple[Path, ...]]:
    """Maps of clusters and along components, by class and component, both from 1."""
    series: dict[tuple[int, int], tuple[Path, ...]] = {}
    if fields is None:
        return series
    for space in tqdm(spaces, desc="maps", unit="class", disable=None, delay=5):
        k = space.class_number - 1
        dimensions = fields.fields[k].latent_dim
        latents = _padded(space.latents, dimensions)
        centres = np.stack([cluster.latent for cluster in space.clusters])
        write_volumes(fields, k, _padded(centres, dimensions), clusters_folder(out, k + 1))
        for component in range(1, min(wanted.components, space.latents.shape[1]) + 1):
            folder = components_folder(out, k + 1, component)
            write_volumes(fields, k, principal_path(latents, component, wanted.points), folder)
            series[k + 1, component] = tuple(sorted(folder.glob("*.mrc")))
    return series


def _padded(latents: FloatArray, dimensions: int) -> FloatArray:
    """Latents (n, d) with zeros for dimensions that none of them uses."""
    return np.pad(latents, ((0, 0), (0, dimensions - latents.shape[1])))


def _component_rows(
    spaces: list[LatentSpace], series: dict[tuple[int, int], tuple[Path, ...]], out: Path
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for space in spaces:
        for j, axis in enumerate(space.axes):
            low, high = np.percentile(space.principal[:, j], [5, 95])
            maps = series.get((space.class_number, j + 1), ())
            row = {"class": space.class_number, "component": j + 1, "variance_share": space.shares[j]}
            row |= {"percentile_5": low, "percentile_95": high}
            row |= {"maps": str(maps[0].parent.relative_to(out)) if maps else ""}
            rows.append(row | {f"axis_{i + 1}": value for i, value in enumerate(axis)})
    return rows


def _cluster_rows(spaces: list[LatentSpace], rendered: bool) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for space in spaces:
        for j, cluster in enumerate(space.clusters):
            k = cluster.class_number
            name = f"maps/class_{k}/clusters/class_{k}_{j:03d}.mrc" if rendered else ""
            row = {"cluster": cluster.number, "class": k, "particles": cluster.particles, "map": name}
            rows.append(row | {f"latent_{i + 1}": value for i, value in enumerate(cluster.latent)})
    return rows


def _shown(run_folder: Path, sizes: list[ClassSize], series: dict[tuple[int, int], tuple[Path, ...]]) -> list[Shown]:
    """Class maps and series of them, at the levels that hold a share of the class map's positive density."""
    classes, moving = [], []
    for size in sizes:
        path = class_volume_path(run_folder, size.number - 1)
        if size.empty or not path.is_file():
            continue
        level = level_holding(read_map(path)[0], HELD_FRACTION)
        colour = to_hex(species_colour(size.number - 1))
        classes.append(Shown(f"class {size.number}", (path,), level, colour))
        for (number, component), maps in series.items():
            if number == size.number:
                moving.append(Shown(f"class {number}, component {component}", maps, level, colour))
    return [*classes, *moving]


def _write_table(path: Path, rows: list[dict[str, object]]) -> None:
    with atomic(path) as temporary:
        pd.DataFrame(rows).round(6).to_csv(temporary, index=False)
