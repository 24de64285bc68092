"""What changed between two sets of results: differences with their significance over runs.

The unit is a run, one seed on one draw of the images: images of one run share its random start, so that their spread
says nothing of another run. Runs on the same images with the same seed are pairs, whose signs are permuted; where the
two sides have other runs, their values are. All p-values of a comparison are corrected together (Benjamini and
Hochberg: the share of false ones among those marked). Few seeds cannot be significant, whatever they say: that is told,
and how many could be.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from hydra_bench.contracts.measures import Measure
from hydra_bench.contracts.metrics_file import INTERRUPTED, MEASURES
from hydra_bench.contracts.reconstruction import FAILED, NOT_CONFIGURED
from hydra_bench.core.files import write_text
from hydra_bench.report import permutation
from hydra_bench.report.permutation import Permutation
from hydra_bench.report.results import EvaluatedRun, by_dataset, by_method, read_all
from hydra_bench.report.tables.rows import number


@dataclass(frozen=True)
class Difference:
    """One measure of one method: values over runs before and after; their test (None of one run), its p corrected."""

    dataset: str
    method: str
    label: str
    measure: Measure
    before: tuple[float, ...]
    after: tuple[float, ...]
    test: Permutation | None = None
    p_corrected: float | None = None

    @property
    def change(self) -> float:
        return float(np.mean(self.after) - np.mean(self.before))

    @property
    def better(self) -> bool:
        return self.change > 0 if self.measure.more_is_better else self.change < 0


@dataclass(frozen=True)
class Comparison:
    """Differences of what both have; what only one has, what failed, and whatever else changed, in words."""

    differences: list[Difference]
    remarks: list[str] = field(default_factory=list)


def compare(before: Iterable[Path | str], after: Iterable[Path | str]) -> Comparison:
    """Compare the metrics files of two results. Raises InputError if a file is none."""
    old = _grouped(read_all(before))
    new = _grouped(read_all(after))
    remarks = [f"{_name(key)}: only before." for key in old if key not in new]
    remarks += [f"{_name(key)}: only after." for key in new if key not in old]
    differences: list[Difference] = []
    for key in (key for key in old if key in new):
        remarks += _what_else(key, old[key], new[key])
        for measure in (measure for measure in MEASURES if "compare" in measure.shown):
            a = _values(measure, old[key])
            b = _values(measure, new[key])
            if a and b:
                differences.append(_difference(key, new[key][0].label, measure, (a, b)))
    return Comparison(_corrected(differences), remarks)


_Key = tuple[str, str]


def _grouped(runs: list[EvaluatedRun]) -> dict[_Key, list[EvaluatedRun]]:
    groups = by_dataset(runs)
    return {(d, m): seeds for d, group in groups.items() for m, seeds in by_method(group).items()}


def _name(key: _Key) -> str:
    return f"{key[0]}, {key[1]}"


def _what_else(key: _Key, old: list[EvaluatedRun], new: list[EvaluatedRun]) -> list[str]:
    """Seeds, failures, versions, parameters and masks that differ."""
    found = []
    facts: dict[str, Callable[[list[EvaluatedRun]], list[Any]]] = {  # whatever can be compared and printed
        "seeds": lambda runs: sorted({run.seed for run in runs}),
        "draws of the images": lambda runs: sorted({run.draw for run in runs}),
        "failed seeds": lambda runs: [run.seed for run in runs if run.state == FAILED],
        "seeds not configured": lambda runs: [run.seed for run in runs if run.state == NOT_CONFIGURED],
        "interrupted seeds": lambda runs: [run.seed for run in runs if run.state == INTERRUPTED],
        "version": lambda runs: sorted({str(run.metrics.program_version) for run in runs}),
        "device": lambda runs: sorted({str(run.metrics.device) for run in runs}),
        "FSC mask": lambda runs: sorted({str(run.fsc.mask) for run in runs if run.metrics.fsc}),
        "particles": lambda runs: sorted({run.n_particles for run in runs if run.ok}),
    }
    for name, value in facts.items():
        a = value(old)
        b = value(new)
        if a != b:
            found.append(f"{_name(key)}: {name} {_listed(a)} before, {_listed(b)} after.")
    parameters = old[0].metrics.parameters, new[0].metrics.parameters
    for parameter in sorted(set(parameters[0]) | set(parameters[1])):
        a, b = (side.get(parameter, "not set") for side in parameters)
        if a != b:
            found.append(f"{_name(key)}: parameter {parameter} {a} before, {b} after.")
    return found


def _listed(values: list[object]) -> str:
    return ", ".join(map(str, values)) or "none"


_Values = dict[tuple[str, int], float]
"""A measure of each run by what pairs it: the dataset and the seed."""


def _values(measure: Measure, runs: list[EvaluatedRun]) -> _Values:
    """What runs that ended well have of it."""
    values = {run.key: measure.of(run.metrics) for run in runs if run.ok}
    return {key: value for key, value in values.items() if value is not None}


def _difference(key: _Key, label: str, measure: Measure, sides: tuple[_Values, _Values]) -> Difference:
    """A measure before and after, of at least one run each."""
    before, after = (tuple(side.values()) for side in sides)
    return Difference(*key, label, measure, before, after, _test(*sides))


def _test(before: _Values, after: _Values) -> Permutation | None:
    """None where a side has one run."""
    if min(len(before), len(after)) < 2:
        return None
    if set(before) == set(after):
        return permutation.paired(np.array([after[key] - value for key, value in before.items()]))
    return permutation.unpaired(np.array(list(before.values())), np.array(list(after.values())))


def _corrected(differences: list[Difference]) -> list[Difference]:
    tested = [difference.test.p for difference in differences if difference.test is not None]
    if not tested:
        return differences
    corrected = iter(map(float, false_discovery_control(tested)))
    return [d if d.test is None else replace(d, p_corrected=next(corrected)) for d in differences]


def table(comparison: Comparison) -> pd.DataFrame:
    """One row a difference."""
    records: list[dict[str, object]] = []
    for difference in comparison.differences:
        what = {"dataset": difference.dataset, "method": difference.method, "measure": difference.measure.name}
        records.append(
            what
            | _side("before", difference.before)
            | _side("after", difference.after)
            | {"change": difference.change, "p_corrected": difference.p_corrected}
            | _test_of(difference.test)
        )
    return pd.DataFrame(records)


def _test_of(test: Permutation | None) -> dict[str, object]:
    if test is None:
        return {"p": None, "least_p": None, "test": ""}
    return {"p": test.p, "least_p": test.least_p, "test": "paired" if test.paired else "unpaired"}


def _side(name: str, values: tuple[float, ...]) -> dict[str, object]:
    return {f"seeds_{name}": len(values), f"mean_{name}": np.mean(values), f"sd_{name}": _sd(values)}


def _sd(values: tuple[float, ...]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def write_csv(comparison: Comparison, path: Path) -> None:
    write_text(path, table(comparison).to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def markdown(comparison: Comparison, level: float) -> str:
    """The comparison for people: a table, significant changes marked, then what else differs."""
    head = ["Dataset", "Method", "Measure", "Before", "After", "Change", "p (corrected)", ""]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|--:|--:|--:|--:|---|"]
    for difference in comparison.differences:
        digits = difference.measure.digits
        cells = [difference.dataset, difference.label, difference.measure.name]
        cells += [_spread(difference.before, digits), _spread(difference.after, digits)]
        cells += [f"{round(difference.change, digits) + 0.0:+.{digits}f}"]
        cells += [_p(difference.p_corrected), _verdict(difference, level)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [
        f"Mean ± sd over runs. better, worse: p below {level:g} by a permutation test over runs, of pairs where both "
        "sides have the same seeds on the same images, exact for few, corrected for all rows together "
        "(Benjamini-Hochberg). Of one run there is no test.",
        *_power(comparison.differences, level),
        *comparison.remarks,
    ]
    return "\n".join([*lines, "", *notes])


def _power(differences: list[Difference], level: float) -> list[str]:
    """Where no values of so many runs could be significant: that, and how many runs could."""
    tests = [difference.test for difference in differences if difference.test is not None]
    weak = {test.least_p: test for test in tests if test.least_p >= level}
    return [
        f"cannot tell: so many {_noun(test)} give no p below {least_p:.3g}, whatever they are; with "
        f"{test.runs_needed(level)} {_noun(test)} p may be below {level:g}."
        for least_p, test in sorted(weak.items())
    ]


def _noun(test: Permutation) -> str:
    return "pairs" if test.paired else "runs a side"


def _spread(values: tuple[float, ...], digits: int) -> str:
    sd = _sd(values)
    text = number(float(np.mean(values)), digits)
    return text if sd is None else f"{text} ± {number(sd, digits)} ({len(values)})"


def _p(value: float | None) -> str:
    return "–" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _verdict(difference: Difference, level: float) -> str:
    if difference.test is None or difference.p_corrected is None:
        return "one run" if difference.change else "same"
    if difference.test.least_p >= level:
        return "cannot tell" if difference.change else "same"
    if difference.p_corrected >= level:
        return ""
    return "better" if difference.better else "worse"
