"""Where everything lies under results/: each path is spelled here, once, for the rules and for Python.

A name in a path may be one of Snakemake's wildcards: `Results().run("{dataset}", "{method}", "{seed}")` gives the
patterns of rules, `Results(folder).run("ribosplike", "hydra", 0)` the files of one run. Only the standard library is
imported, since every job reads the Snakefiles. Of the files in a contract's folder, those that rules name are here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PARTICLES_NAME, IMAGES_NAME, EVALUATION_NAME = "particles.star", "particles.mrcs", "evaluation_particles.txt"
"""The files of a stack; the particles of a reconstruction have the first name, too."""
TRUTH_NAME, RUN_NAME = "truth.star", "run.json"


@dataclass(frozen=True)
class Results:
    """A folder of results, of all datasets."""

    folder: Path = Path("results")

    @classmethod
    def of_metrics(cls, metrics: Path) -> Results:
        """Those that a run's metrics file lies in."""
        return cls(metrics.parents[3])

    def dataset(self, dataset: str) -> DatasetPlaces:
        return DatasetPlaces(self, dataset)

    def run(self, dataset: str, method: str, seed: int | str) -> RunPlaces:
        return RunPlaces(self, dataset, method, str(seed))

    @property
    def configuration(self) -> Path:
        """The checked configuration of the last run, as JSON."""
        return self.folder / "configuration.json"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics"

    @property
    def tables(self) -> Path:
        return self.folder / "tables"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @property
    def unfinished(self) -> Path:
        """What takes the place of metrics where a run gave none."""
        return self.folder / "unfinished"

    @property
    def page(self) -> Path:
        return self.folder / "report" / "index.html"

    def log(self, step: str, *names: str) -> Path:
        """What the job of a step said; names are those of what the step is done for."""
        return self._job_file(step, names, "log")

    def benchmark(self, step: str, *names: str) -> Path:
        """What the job of a step cost, as Snakemake measured it."""
        return self._job_file(step, names, "benchmark.tsv")

    def _job_file(self, step: str, names: tuple[str, ...], suffix: str) -> Path:
        return self.folder.joinpath("logs", *[step, *names][:-1], f"{[step, *names][-1]}.{suffix}")


@dataclass(frozen=True)
class DatasetPlaces:
    """What belongs to one dataset."""

    results: Results
    name: str

    @property
    def stack(self) -> Path:
        """The folder of all that methods may see."""
        return self.results.folder / "datasets" / self.name / "stack"

    @property
    def particles(self) -> Path:
        return self.stack / PARTICLES_NAME

    @property
    def images(self) -> Path:
        return self.stack / IMAGES_NAME

    @property
    def evaluation_list(self) -> Path:
        return self.stack / EVALUATION_NAME

    @property
    def truth(self) -> Path:
        """The folder of all that they may not see."""
        return self.results.folder / "datasets" / self.name / "truth"

    @property
    def gallery(self) -> Path:
        return self.results.folder / "galleries" / f"{self.name}.png"

    @property
    def paper(self) -> Path:
        """The folder of the paper's figures of this dataset."""
        return self.results.folder / "paper" / self.name

    @property
    def supplement(self) -> Path:
        return self.paper / "supplement"

    def figure(self, name: str, suffix: str) -> Path:
        """A figure of the paper: its picture as svg and png, its caption as txt."""
        return self.paper / f"{name}.{suffix}"

    def log(self, step: str, *names: str) -> Path:
        return self.results.log(step, self.name, *names)

    def benchmark(self, step: str, *names: str) -> Path:
        return self.results.benchmark(step, self.name, *names)


@dataclass(frozen=True)
class RunPlaces:
    """What belongs to one run: a method on a dataset, with a seed."""

    results: Results
    dataset: str
    method: str
    seed: str

    @property
    def reconstruction(self) -> Path:
        """The folder that the method fills."""
        return self.results.folder / "reconstructions" / self.dataset / self.method / self.seed

    @property
    def metrics(self) -> Path:
        return self.results.metrics / self.dataset / self.method / f"{self.seed}.json"

    @property
    def aligned(self) -> Path:
        """The folder of its maps, aligned to the true ones."""
        return self.metrics.with_name(f"{self.seed}_aligned")

    @property
    def unfinished(self) -> Path:
        """Why there are no metrics, in their place."""
        return self.results.unfinished / self.dataset / self.method / f"{self.seed}.json"

    def state(self, digest: str) -> Path:
        """The folder of its state while it is under way; the digest is of all that the result depends on."""
        return self.results.folder / "checkpoints" / self.dataset / self.method / f"{self.seed}-{digest}"

    def log(self, step: str) -> Path:
        return self.results.log(step, self.dataset, self.method, self.seed)

    def benchmark(self, step: str) -> Path:
        return self.results.benchmark(step, self.dataset, self.method, self.seed)
