"""Where everything lies under results/: each path is spelled here, once, for the rules and for Python.

A name in a path may be one of Snakemake's wildcards: `Results().run("{dataset}", "{method}", "{seed}")` gives the
patterns of rules, `Results(folder).run("ribosplike", "hydra", 0)` the files of one run. Only the standard library is
imported, since every job reads the Snakefiles. Of the files in a contract's folder, those that rules name are here too.
"""

from __future__ import annotations

import re
from pathlib import Path

NAME = r"(?!index\.json$)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
"""What datasets, methods and classes may be called: these names are parts of paths, and index.json is taken there."""
PARTICLES_NAME, IMAGES_NAME, EVALUATION_NAME = "particles.star", "particles.mrcs", "evaluation_particles.txt"
"""The files of a stack; the particles of a reconstruction have the first name, too."""
TRUTH_NAME, RUN_NAME = "truth.star", "run.json"
SOURCE_FOLDER = "source"
"""Beside the folder of a stack, and in that of a run on anybody's particles: which rows of whose file they are."""


def is_name(text: str) -> bool:
    """Whether it may be the name of a dataset, a method or a class."""
    return re.fullmatch(NAME, text) is not None


_DRAW = re.compile(r"(.+)\.draw([1-9]\d*)")


def draw_name(dataset: str, draw: int) -> str:
    """The name of a draw of a dataset's images, such as demo.draw1; the first, 0, has the dataset's own."""
    return f"{dataset}.draw{draw}" if draw else dataset


def dataset_and_draw(name: str) -> tuple[str, int]:
    """The inverse of `draw_name`."""
    found = _DRAW.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


def class_volume_path(folder: Path, k: int) -> Path:
    """The map of class k, from 0, in the folder of a truth or a reconstruction; file names count from 1, as RELION."""
    return folder / "volumes" / f"class_{k + 1}.mrc"


class TablePlaces:
    """A folder of tables: Table 1 in three forms, Table 2, and what every job cost.

    robustness, robustness_markdown : what troubles of images do to methods; only where datasets differ by them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table1 = folder / "table1.csv"
        self.table1_markdown = folder / "table1.md"
        self.table1_latex = folder / "table1.tex"
        self.table2 = folder / "table2.csv"
        self.cost = folder / "cost.csv"
        self.robustness = folder / "robustness.csv"
        self.robustness_markdown = folder / "robustness.md"

    def all(self) -> tuple[Path, ...]:
        of_studies = self.robustness, self.robustness_markdown
        return self.table1, self.table1_markdown, self.table1_latex, self.table2, self.cost, *of_studies


class Results:
    """A folder of results.

    configuration : the last run's, checked, as JSON. datasets : a folder for each. metrics : a file for each run.
    unfinished : what takes the place of metrics where a run gave none. tables (TablePlaces), figures, page : of all
    datasets together. bench : what Hydra's speed was measured as, which no rule makes.
    """

    def __init__(self, folder: Path = Path("results")) -> None:
        self.folder = folder
        self.configuration = folder / "configuration.json"
        self.datasets = folder / "datasets"
        self.metrics = folder / "metrics"
        self.unfinished = folder / "unfinished"
        self.tables = TablePlaces(folder / "tables")
        self.figures = folder / "figures"
        self.page = folder / "report" / "index.html"
        self.bench = folder / "bench"

    @classmethod
    def of_metrics(cls, metrics: Path) -> Results:
        """The results that a run's metrics file lies in."""
        # A relative path may be shorter than what lies above it.
        above = metrics.parents if len(metrics.parents) > 3 else metrics.absolute().parents
        return cls(above[min(3, len(above) - 1)])

    @classmethod
    def dataset_of_reconstruction(cls, reconstruction: Path) -> DatasetPlaces | None:
        """The dataset that the folder of a run's reconstruction is of; None where it lies in no results."""
        above = reconstruction.absolute().parents
        if len(above) < 4:
            return None
        places = cls(above[3]).run(above[1].name, above[0].name, reconstruction.absolute().name)
        is_there = places.reconstruction == reconstruction.absolute()
        return cls(above[3]).dataset(places.dataset) if is_there else None

    def dataset(self, dataset: str) -> DatasetPlaces:
        return DatasetPlaces(self, dataset)

    def run(self, dataset: str, method: str, seed: int | str) -> RunPlaces:
        return RunPlaces(self, dataset, method, str(seed))

    def log(self, step: str, *names: str) -> Path:
        """What the job of a step said; names are those of what the step is done for."""
        return self.folder / f"{'/'.join(('logs', step, *names))}.log"

    def benchmark(self, step: str, *names: str) -> Path:
        """What the job of a step cost, as Snakemake measured it."""
        return self.log(step, *names).with_suffix(".benchmark.tsv")


class DatasetPlaces:
    """What belongs to one dataset.

    stack : the folder of all that methods may see: particles, images, evaluation_list. truth : of all that they may
    not. source : of the record of which rows of the user's own file the particles are. paper : of the paper's figures;
    supplement : of those of its supplement. gallery : a picture of its particles.
    """

    def __init__(self, results: Results, name: str) -> None:
        self.results, self.name = results, name
        self.stack = results.datasets / name / "stack"
        self.particles = self.stack / PARTICLES_NAME
        self.images = self.stack / IMAGES_NAME
        self.evaluation_list = self.stack / EVALUATION_NAME
        self.truth = self.stack.with_name("truth")
        self.source = self.stack.with_name(SOURCE_FOLDER)
        self.gallery = results.folder / "galleries" / f"{name}.png"
        self.paper = results.folder / "paper" / name
        self.supplement = self.paper / "supplement"

    def figure(self, name: str, suffix: str) -> Path:
        """A figure of the paper: its picture as svg and png, its caption as txt."""
        return self.paper / f"{name}.{suffix}"

    def log(self, step: str, *names: str) -> Path:
        return self.results.log(step, self.name, *names)

    def benchmark(self, step: str, *names: str) -> Path:
        return self.results.benchmark(step, self.name, *names)


class RunPlaces:
    """What belongs to one run: a method on a dataset, with a seed.

    reconstruction : the folder that the method fills. metrics : its scores; aligned : the folder of its maps, aligned
    to the true ones. unfinished : why there are no metrics, in their place.
    """

    def __init__(self, results: Results, dataset: str, method: str, seed: str) -> None:
        self.results, self.dataset, self.method, self.seed = results, dataset, method, seed
        self.reconstruction = results.folder / "reconstructions" / dataset / method / seed
        self.metrics = results.metrics / dataset / method / f"{seed}.json"
        self.aligned = self.metrics.with_name(f"{seed}_aligned")
        self.unfinished = results.unfinished / dataset / method / f"{seed}.json"

    def state(self, digest: str) -> Path:
        """The folder of its state while it is under way; the digest is of all that the result depends on."""
        return self.results.folder / "checkpoints" / self.dataset / self.method / f"{self.seed}-{digest}"

    def log(self, step: str) -> Path:
        return self.results.log(step, self.dataset, self.method, self.seed)

    def benchmark(self, step: str) -> Path:
        return self.results.benchmark(step, self.dataset, self.method, self.seed)
