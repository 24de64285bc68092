"""Which runs of a dataset the paper's figures show."""

from dataclasses import dataclass

from hydra_bench.contracts.places import dataset_and_draw
from hydra_bench.core.errors import InputError
from hydra_bench.report.figures.method_lines import Line, method_lines
from hydra_bench.report.results import EvaluatedRun, by_dataset, first_seeds


@dataclass(frozen=True)
class ShownRuns:
    """Runs of one dataset that ended well, the first seed of each method, bounds last.

    main: the run that figures of one method show; clustered: one whose labels are k-means on its latents, if any;
    all_runs: all seeds of all methods, failed ones too; lines: each method's colour.
    """

    all_runs: list[EvaluatedRun]
    runs: list[EvaluatedRun]
    main: EvaluatedRun
    clustered: EvaluatedRun | None
    lines: dict[str, Line]

    @property
    def competitors(self) -> list[EvaluatedRun]:
        """Methods that do not read the truth; the bounds, where nothing else was run."""
        return _competitors(self.runs)


def choose_runs(runs: list[EvaluatedRun], dataset: str, main_method: str | None = None) -> ShownRuns:
    """The runs of a dataset. `main_method` None takes the competitor with classes of its own of highest ARI.

    Raises
    ------
    InputError
        If the dataset has no run that ended well, or the method none.
    """
    groups = by_dataset(runs)
    dataset = dataset_and_draw(dataset)[0]
    if dataset not in groups:
        raise InputError(f"{dataset}: no such dataset among the metrics; there are {', '.join(groups)}")
    shown = first_seeds(groups[dataset])
    if not shown:
        raise InputError(f"{dataset}: no run ended well; there is nothing to draw")
    competing = _competitors(shown)
    if main_method is None:
        main = max(competing, key=lambda run: (run.noun == "class", run.clustering.ari or 0.0))
    else:
        found = [run for run in shown if run.method == main_method]
        if not found:
            names = ", ".join(run.method for run in shown)
            raise InputError(f"{main_method}: no run of this method ended well on {dataset}; there are {names}")
        main = found[0]
    # One that found its own poses before one that was given some.
    clusters = [run for run in competing if run.noun == "cluster" and run.metrics.latents]
    clustered = min(clusters, key=lambda run: (run.poses_from or run.init_from) is not None, default=None)
    return ShownRuns(groups[dataset], shown, main, clustered, method_lines(runs))


def _competitors(runs: list[EvaluatedRun]) -> list[EvaluatedRun]:
    return [run for run in runs if not run.metrics.reads_truth] or runs
