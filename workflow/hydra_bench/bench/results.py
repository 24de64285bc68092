"""bench.json and bench.md: written anew after every measurement, so that a run that is killed keeps what it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra_bench.bench.definitions import Case
from hydra_bench.bench.machine import Circumstances, Machine
from hydra_bench.bench.summary import Measurement, markdown_table, summarise
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, write_json, write_text

JSON_NAME, TABLE_NAME = "bench.json", "bench.md"


@dataclass
class Results:
    """What is known so far: case name -> its measurements and their circumstances, as plain values."""

    folder: Path
    machine: Machine
    quick: bool
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, machine: Machine, quick: bool) -> Results:
        """With the cases that an earlier run left there. Raises InputError if those are of another machine."""
        results = cls(folder, machine, quick)
        path = folder / JSON_NAME
        if path.is_file():
            found = read_json(path)
            ours = results.identity()
            for key, value in ours.items():
                if found.get(key) != value:
                    raise InputError(f"{path}: {key} {found.get(key)!r}, and now {value!r}; name another --out")
            results.cases = found["cases"]
        return results

    def identity(self) -> dict[str, Any]:
        """What all cases of one file have in common."""
        return {**asdict(self.machine), "quick": self.quick}

    def record(
        self,
        case: Case,
        begun: Circumstances,
        warning: str | None,
        measurements: Sequence[Measurement],
        state: str,
        reason: str = "",
    ) -> None:
        """Put down what a case has so far, in place of what an earlier run had. state: running, ok or failed."""
        content = {**case.plain(), **asdict(begun), "load_average": list(begun.load_average), "warning": warning}
        content |= {"state": state, "reason": reason}
        content["measurements"] = [_rounded(asdict(measurement)) for measurement in measurements]
        content["summary"] = [_rounded(summary.plain()) for summary in summarise(measurements, case.bars)]
        self.cases = dict(sorted({**self.cases, case.name: content}.items()))
        write_json(self.folder / JSON_NAME, {**self.identity(), "cases": self.cases})
        write_text(self.folder / TABLE_NAME, self.page())

    def page(self) -> str:
        """The table, with what it was measured on above it."""
        m = self.machine
        lines = [
            "# Benchmarks of Hydra's speed\n",
            f"{m.cpu}, {m.cores} cores, {m.memory_GB:g} GB; device {m.device}, {m.threads} threads; Python {m.python}, "
            f'torch {m.torch}, hydra-bench {m.hydra_bench}. "Not reached" counts as later '
            "than any time.\n",
        ]
        if self.quick:
            lines.append("A `--quick` run: tiny cases, whose numbers and bars mean nothing.\n")
        lines.append(markdown_table({name: case["summary"] for name, case in self.cases.items()}))
        lines.append("## Cases\n")
        lines += [_case_line(name, case) for name, case in self.cases.items()]
        return "\n".join(lines) + "\n"


def _case_line(name: str, case: dict[str, Any]) -> str:
    load = case["load_average"][0]
    parts = [f"{case['date']}, commit {case['commit'] or 'unknown'}, load {load:g} before"]
    parts += [case["warning"]] if case["warning"] else []
    parts += (
        [f"{case['state']}: {case['reason']}" if case["reason"] else case["state"]] if case["state"] != "ok" else []
    )
    return f"- **{name}**: {case['about']} ({'; '.join(parts)})"


def _rounded(value: Any) -> Any:
    """Floats to six digits after the point, so that the file can be read."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value
