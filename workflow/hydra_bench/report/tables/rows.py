"""The rows of Table 1: measures over seeds and images, ranks, states."""

from dataclasses import dataclass, replace

import numpy as np

from hydra_bench.contracts.measures import Measure
from hydra_bench.contracts.metrics_file import INTERRUPTED, MEASURES
from hydra_bench.contracts.reconstruction import FAILED, NO_FAILURES, OK
from hydra_bench.contracts.scores import FscScores
from hydra_bench.methods.cards import card, programs
from hydra_bench.report.results import EvaluatedRun, by_dataset, by_method, named, settings
from hydra_bench.report.tables.references import normalised
from hydra_bench.report.tables.uncertainty import Range, interval, told_apart

FIRST, SECOND = 1, 2
TABLE_MEASURES = tuple(measure for measure in MEASURES if "table" in measure.shown)
PAGE_MEASURES = tuple(measure for measure in MEASURES if {"table", "page"} & set(measure.shown))
ROW_MEASURES = tuple(measure for measure in MEASURES if {"table", "page", "csv"} & set(measure.shown))


@dataclass(frozen=True)
class Aggregate:
    """One measure of one method, None where no run has it.

    sd is over seeds (None for one seed), or over images, as the measure says; seed_sd is that of a measure over images
    over the means of seeds. rank is 1, 2 or 0, among the dataset's competitors; those that are not told apart share
    one. interval is of the mean, 95 %; see uncertainty.py.
    """

    mean: float | None = None
    sd: float | None = None
    seed_sd: float | None = None
    rank: int = 0
    interval: Range | None = None


def aggregate(measure: Measure, runs: list[EvaluatedRun]) -> Aggregate:
    """A measure over runs of one method."""
    runs = [run for run in runs if measure.of(run.metrics) is not None]
    values = [value for run in runs if (value := measure.of(run.metrics)) is not None]
    if not values:
        return Aggregate()
    over_seeds = float(np.std(values, ddof=1)) if len(values) > 1 else None
    likely = interval(measure, runs) if measure.quality else None
    match measure.over:
        case "seeds":
            return Aggregate(float(np.mean(values)), over_seeds, interval=likely)
        case "cost":
            return Aggregate(float(np.mean(values)))
        case "images" if len(values) == 1:
            # One seed's figures are the metrics file's own, digit for digit.
            return Aggregate(values[0], measure.sd_over_images(runs[0].metrics), interval=likely)
        case "images":
            images = [value for run in runs for value in measure.of_images(run.metrics)]
            return Aggregate(float(np.mean(images)), float(np.std(images)), over_seeds, interval=likely)


@dataclass(frozen=True)
class Row:
    """One method on one dataset.

    measured: of the seeds that ended well; costs, where none did, of those that failed. per_class: species -> mean and
    sd of the FSC-AUC over its images of all seeds. lost, split: species that are so in one seed at least.
    normalised: the FSC-AUC between chance, 0, and the ceiling, 1; see references.py. given: what of a bound's results
    is the truth's own; unscored: why it lacks scores for that, in words.
    """

    dataset: str
    method: str
    label: str
    is_bound: bool
    n_seeds: int
    n_wanted: int
    state: str
    reason: str
    labels_from: str
    measured: dict[Measure, Aggregate]
    per_class: dict[str, tuple[float, float]]
    lost: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    normalised: float | None = None
    given: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()
    n_draws: int = 1

    @property
    def lost_and_split(self) -> str:
        """Species that some seed has in no class of their own, or in several, in words; "" where there is none.

        Of many, the first are named: the CSV file has all.
        """
        kinds = (("lost", self.lost), ("split", self.split))
        return "; ".join(f"{word}: {named(names)}" for word, names in kinds if names)

    @property
    def seeds_text(self) -> str:
        """Runs that ended well, and of how many where some did not or are missing; seeds × draws of the images."""
        if self.n_draws > 1 and self.n_seeds == self.n_wanted and not self.n_seeds % self.n_draws:
            return f"{self.n_seeds // self.n_draws} × {self.n_draws}"
        return str(self.n_seeds) if self.n_seeds == self.n_wanted else f"{self.n_seeds} of {self.n_wanted}"

    @property
    def state_text(self) -> str:
        """The state, and why it is not ok, or why scores are missing although it is."""
        return "; ".join([self.state, *self.unscored]) if not self.reason else f"{self.state}: {self.reason}"

    @property
    def kind_of_state(self) -> str:
        """The state in one of six words, to choose rows by."""
        if self.state in (OK, *NO_FAILURES, INTERRUPTED):
            return self.state
        return "partly ok" if self.n_seeds else FAILED


def table_rows(runs: list[EvaluatedRun]) -> list[Row]:
    """Table 1: datasets in order, in each the competitors and then the bounds."""
    rows: list[Row] = []
    for group in by_dataset(runs).values():
        wanted = len({run.key for run in group})
        methods = list(by_method(group).values())
        rows += _ranked([_row(seeds, wanted, group) for seeds in methods], methods)
    return rows


def _row(seeds: list[EvaluatedRun], n_wanted: int, group: list[EvaluatedRun]) -> Row:
    good = [run for run in seeds if run.ok]
    wanting = [run for run in seeds if not run.ok]
    paid = [run for run in good or seeds if run.state not in NO_FAILURES]
    names = good[0].class_names if good else []
    return Row(
        dataset=seeds[0].group,
        method=seeds[0].method,
        label=seeds[0].label,
        is_bound=seeds[0].metrics.reads_truth,
        n_seeds=len(good),
        n_wanted=n_wanted,
        state=_state(seeds, n_wanted),
        reason="; ".join(dict.fromkeys(run.reason for run in wanting)),
        labels_from="; ".join(dict.fromkeys(run.labels_text for run in good)),
        measured={measure: aggregate(measure, good if measure.quality else paid) for measure in ROW_MEASURES},
        per_class=_per_class([run.fsc for run in good if run.metrics.fsc], names),
        normalised=normalised(good, group),
        given=tuple(dict.fromkeys(what for run in good for what in run.metrics.given)),
        unscored=tuple(dict.fromkeys(why for run in good for why in run.unscored)),
        n_draws=len({run.draw for run in group}),
        lost=tuple(dict.fromkeys(name for run in good for name in run.clustering.lost_species)),
        # In the order of the species, which the file's keys do not have.
        split=tuple(name for name in names if any(name in run.clustering.split_species for run in good)),
    )


def _per_class(compared: list[FscScores], names: list[str]) -> dict[str, tuple[float, float]]:
    """FSC-AUC of each evaluated species over the images of all seeds: mean and sd."""
    if len(compared) == 1:
        return {entry.class_name: (entry.auc_mean, entry.auc_sd) for entry in compared[0].per_class}
    images: dict[str, list[float]] = {}
    for particle in (particle for fsc in compared for particle in fsc.per_particle):
        images.setdefault(names[particle.true_class], []).append(particle.auc)
    return {name: (float(np.mean(aucs)), float(np.std(aucs))) for name, aucs in images.items()}


def _state(seeds: list[EvaluatedRun], n_wanted: int) -> str:
    """One state if all seeds share it; or how many failed, were not to be had, were interrupted and were not run."""
    states = [run.state for run in seeds]
    if len(set(states)) == 1 and states[0] != OK:
        return states[0]
    counts = [(state, states.count(state)) for state in (FAILED, *NO_FAILURES, INTERRUPTED)]
    parts = [f"{count} of {len(seeds)} {state}" for state, count in counts if count]
    if len(seeds) < n_wanted:
        parts.append(f"{n_wanted - len(seeds)} of {n_wanted} seeds missing")
    return ", ".join(parts) or OK


def _ranked(rows: list[Row], methods: list[list[EvaluatedRun]]) -> list[Row]:
    """The rows with ranks; methods are the runs of each row."""
    for measure in (measure for measure in TABLE_MEASURES if measure.quality):
        for rank in (FIRST, SECOND):
            open_rows = [
                n
                for n, row in enumerate(rows)
                if not row.is_bound and row.measured[measure].mean is not None and not row.measured[measure].rank
            ]
            if not open_rows:
                break
            means = {n: rows[n].measured[measure].mean or 0.0 for n in open_rows}
            best = (max if measure.more_is_better else min)(open_rows, key=means.__getitem__)
            good = [[run for run in methods[n] if run.ok] for n in range(len(rows))]
            for n in open_rows:
                if n == best or not told_apart(measure, good[best], good[n]):
                    found = replace(rows[n].measured[measure], rank=rank)
                    rows[n] = replace(rows[n], measured=rows[n].measured | {measure: found})
    return rows


def number(value: float | None, digits: int = 3) -> str:
    """A number at the printed digits; an en dash where there is none, and no minus before a zero."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def spread(mean: float | None, sd: float | None, digits: int = 3) -> str:
    """mean ± sd at the printed digits."""
    return number(mean, digits) if sd is None else f"{number(mean, digits)} ± {number(sd, digits)}"


def protocol(runs: list[EvaluatedRun]) -> list[str]:
    """What each program that competes was tuned on, as its card says."""
    said = {}
    for program in dict.fromkeys(run.metrics.program for run in runs if not run.metrics.reads_truth):
        found = card(program) if program in programs() else {}
        if "tuned_on" in found:
            said[found["name"]] = " ".join(found["tuned_on"].split())
    return [f"{name}, {text}" for name, text in said.items()]


def footer(runs: list[EvaluatedRun]) -> str:
    """Under a dataset's rows: what its numbers depend on, and why bounds lack some."""
    facts = [f"{name}: {value}" for name, value in settings(runs)]
    facts += [f"Tuned: {'; '.join(tuning)}"] if (tuning := protocol(runs)) else []
    seeds = sorted({run.seed for run in runs})
    facts += [f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"]
    if (draws := len({run.draw for run in runs})) > 1:
        facts += [f"{draws} draws of the images"]
    return " ".join([f"{'; '.join(facts)}.", *_unscored(runs)])


def _unscored(runs: list[EvaluatedRun]) -> list[str]:
    """A sentence for each reason why bounds have no scores of labels, or of maps."""
    whose: dict[str, list[str]] = {}
    for run in (run for run in runs if run.ok):
        for why in run.unscored:
            whose.setdefault(why, []).append(run.label)
    return [f"No score where {why}: {', '.join(dict.fromkeys(labels))}." for why, labels in whose.items()]
