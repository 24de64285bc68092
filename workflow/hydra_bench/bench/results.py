"""bench.json and bench.md, which say what was measured and on what machine.

They are written anew after every measurement, so that a run that is killed keeps what it has.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from hydra_bench import __version__
from hydra_bench.bench.definitions import Case
from hydra_bench.bench.summary import Measurement, markdown_table, summarise
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, write_json, write_text
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.records import checked
from hydra_bench.jobs.cuda import driver_version

JSON_NAME, TABLE_NAME = "bench.json", "bench.md"


@dataclass(frozen=True)
class Machine:
    """What must be the same for two measurements to stand in one table; driver: of a GPU, "" for none."""

    cpu: str
    cores: int
    memory_GB: float
    device: str
    driver: str
    threads: int
    python: str
    torch: str
    hydra_bench: str


@dataclass(frozen=True)
class Figure:
    """A row of a case's summary: see summary.summarise."""

    figure: str
    unit: str
    runs: int
    median: float | None
    min: float | None
    max: float | None
    bar: str | None
    met: bool | None


@dataclass(frozen=True)
class KeptCase:
    """What the page says of a case that an earlier run measured."""

    about: str
    date: str
    commit: str | None
    warning: str | None
    load_average: tuple[float, float, float]
    state: str
    reason: str
    took_s: float
    summary: list[Figure]


@dataclass
class Results:
    """What is known so far: case name -> its measurements and their circumstances, as plain values."""

    folder: Path
    machine: Machine
    quick: bool
    cases: dict[str, JsonObject] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, machine: Machine, quick: bool) -> Results:
        """With the cases that an earlier run left there. Raises InputError if those are of another machine."""
        results = cls(folder, machine, quick)
        path = folder / JSON_NAME
        if path.is_file():
            found = read_json(path)
            if not isinstance(found, dict) or not isinstance(found.get("cases"), dict):
                raise InputError(f"{path}: no measurements of `hydra-bench bench`; name another --out")
            ours = results.identity()
            for key, value in ours.items():
                if found.get(key) != value:
                    raise InputError(f"{path}: {key} {found.get(key)!r}, and now {value!r}; name another --out")
            for content in found["cases"].values():
                checked(content, KeptCase, path)
            results.cases = found["cases"]
        return results

    def identity(self) -> JsonObject:
        """What all cases of one file have in common."""
        return {**asdict(self.machine), "quick": self.quick}

    def record(self, case: Case, begun: JsonObject, measurements: Sequence[Measurement]) -> None:
        """Put down what a case has so far, in place of what an earlier run had.

        begun : its circumstances, a warning or None, its state (running, ok or failed), the reason if it failed, and
        the seconds it took so far, its data included.
        """
        content = {**case.plain(), **begun}
        content["measurements"] = [_rounded(asdict(measurement)) for measurement in measurements]
        content["summary"] = _rounded(summarise(measurements, case.bars))
        self.cases = dict(sorted({**self.cases, case.name: content}.items()))
        write_json(self.folder / JSON_NAME, {**self.identity(), "cases": self.cases})
        write_text(self.folder / TABLE_NAME, self.page())

    def page(self) -> str:
        """The table, with what it was measured on above it."""
        m = self.machine
        lines = [
            "# Benchmarks of Hydra's speed\n",
            f"{m.cpu}, {m.cores} cores, {m.memory_GB:g} GB; device {m.device}, driver {m.driver or 'none'}; "
            f"{m.threads} threads; Python {m.python}, torch {m.torch}, hydra-bench {m.hydra_bench}. "
            '"Not reached" counts as later than any time.\n',
        ]
        if self.quick:
            lines.append("A `--quick` run: tiny cases, whose numbers and bars mean nothing.\n")
        lines.append(markdown_table({name: case["summary"] for name, case in self.cases.items()}))
        lines.append("## Cases\n")
        lines += [_case_line(name, case) for name, case in self.cases.items()]
        return "\n".join(lines) + "\n"


def _case_line(name: str, case: JsonObject) -> str:
    load = case["load_average"][0]
    state = "" if case["state"] == "ok" else case["state"] + (f": {case['reason']}" if case["reason"] else "")
    where = f"{case['date']}, commit {case['commit'] or 'unknown'}, load {load:g} before"
    said = [where, f"took {case['took_s']:.0f} s", case["warning"], state]
    return f"- **{name}**: {case['about']} ({'; '.join(part for part in said if part)})"


def _rounded(value: Json) -> Json:
    """Floats to six digits after the point, so that the file can be read."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def describe_machine(device: torch.device, threads: int) -> Machine:
    name = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    driver = driver_version() if device.type == "cuda" else ""
    versions = (platform.python_version(), torch.__version__, __version__)
    return Machine(_cpu_model(), cores, round(memory, 1), name, driver, threads, *versions)


def circumstances() -> JsonObject:
    """When and from which sources: commit is None outside a git checkout, and ends in "-dirty" with changes.

    load_average : over one, five and fifteen minutes, when the measurement began.
    """
    load = [round(average, 2) for average in os.getloadavg()]
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": _commit(), "load_average": load}


def busy_warning(load: float, cores: int, threads: int) -> str | None:
    """A line if the threads to be measured will have to share cores with other work."""
    if load <= max(0, cores - threads) + 0.5:  # with nothing to do a machine still has a load of some tenths
        return None
    return f"the machine is busy: load {load:.1f} on {cores} cores before measuring with {threads} threads"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """No tag is taken in its place, and none of its digits is left out."""
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    try:
        done = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
