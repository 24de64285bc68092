"""Whether a change left alone what the program computes: everything that the net's runs give, before and after it.

    cd tests/workflow
    python yardstick.py run BEFORE                      in the tree before: all runs of the net into a folder
    python yardstick.py run BEFORE demo                 some runs only; `demo` is config.yaml as it is
    python yardstick.py compare BEFORE/yardstick.json AFTER/yardstick.json --keys keys.yaml
    python yardstick.py measure OUT.json NAME=RESULTS   of results that are there already

Particle lists, images and maps are compared by their checksums, tables without the columns that say what a run cost,
and metrics key by key. It knows nothing of the package but its commands and files, so that one script serves both
trees. Run both on one machine in the same environment: the last digits depend on it.

`--keys` is a file of how the keys of metrics changed; `*` stands for one part of a key, the same in old and new:

    renamed: {fsc.per_class.*.auc_mean: fsc.species.*.auc}
    added: [schema_version]
    dropped: [own_labels]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from clone import Clone
from net_runs import ROOT, RUNS, arguments
from warm_commands import warm_commands

COST_COLUMNS = {"wall_s", "cpu_s", "peak_rss_mb"}
COST = "cost"
"""The key of metrics under which it is said what a run cost."""
TOLERANCE = 1e-6
DEMO = "demo"


def run(folder: Path, names: list[str]) -> None:
    """Run each, and write what it gave into yardstick.json beside what is in there of other runs."""
    folder.mkdir(parents=True, exist_ok=True)
    folder, found = folder.resolve(), folder / "yardstick.json"
    data = folder / "data"
    if not data.exists():
        subprocess.run([sys.executable, str(ROOT / "tests" / "material" / "net_data.py"), str(data)], check=True)
    with TemporaryDirectory() as commands, warm_commands(Path(commands)):
        for name in names or RUNS:
            began = time.monotonic()
            clone = Clone.make(folder / name, Path(commands))
            clone.add_net(data)
            clone.run(*([] if name == DEMO else arguments(name)))
            content = json.loads(found.read_text()) if found.exists() else {}
            content[name] = measured(clone.folder / "results")
            found.write_text(json.dumps(content, indent=1, sort_keys=True))
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def measured(results: Path) -> dict[str, Any]:
    """Checksums of files, rows of tables and values of metrics, each by its path under the results."""
    files = [path for suffix in ("star", "mrc", "mrcs") for path in results.rglob(f"*.{suffix}")]
    tables = [results / "tables" / name for name in ("table1.csv", "table2.csv")]
    metrics = list((results / "metrics").rglob("*.json"))
    return {
        "files": {_under(results, path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "tables": {_under(results, path): dict(_flat(_rows(path))) for path in tables},
        "metrics": {_under(results, path): dict(_flat(json.loads(path.read_text()))) for path in metrics},
    }


def _under(results: Path, path: Path) -> str:
    return path.relative_to(results).as_posix()


def _rows(path: Path) -> list[dict[str, str]]:
    rows = csv.DictReader(path.read_text().splitlines())
    return [{key: value for key, value in row.items() if key not in COST_COLUMNS} for row in rows]


def _flat(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Values by their keys, joined by dots, without those of the cost."""
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if parts is None:
        yield key, content
        return
    if not content:
        yield key, content
    for part, value in parts:
        if part != COST:
            yield from _flat(value, f"{key}.{part}" if key else str(part))


@dataclass(frozen=True)
class KeyMap:
    """How keys of metrics changed; what is not in it is the same."""

    renamed: dict[str, str]
    added: list[str]
    dropped: list[str]

    @classmethod
    def read(cls, path: Path | None) -> KeyMap:
        content = {} if path is None else yaml.safe_load(path.read_text()) or {}
        return cls(content.get("renamed", {}), content.get("added", []), content.get("dropped", []))

    def new(self, key: str) -> str | None:
        """The new key of an old one, None if it was dropped."""
        if any(_match(pattern, key) for pattern in self.dropped):
            return None
        for old, new in self.renamed.items():
            if found := _match(old, key):
                parts = iter(found.groups())
                return "".join(next(parts) if c == "*" else c for c in new) + key[found.end() :]
        return key

    def is_added(self, key: str) -> bool:
        return any(_match(pattern, key) for pattern in self.added)


def _match(pattern: str, key: str) -> re.Match[str] | None:
    """Of a key, or of one above it."""
    parts = [r"([^.]+)" if part == "*" else re.escape(part) for part in pattern.split(".")]
    return re.match(r"\.".join(parts) + r"(?=\.|$)", key)


def compare(before: dict[str, Any], after: dict[str, Any], keys: KeyMap) -> Iterator[tuple[bool, str]]:
    """Every difference: whether it is one beyond last digits, and what it is."""
    for run in sorted({*before, *after}):
        if run not in before or run not in after:
            yield True, f"{run}: only {'before' if run in before else 'after'}"
            continue
        old, new = before[run], after[run]
        yield from ((True, f"{run}/{line}") for line in _differing(old["files"], new["files"]))
        for kind in ("tables", "metrics"):
            for path in sorted({*old[kind], *new[kind]}):
                if path not in old[kind] or path not in new[kind]:
                    yield True, f"{run}/{path}: only {'before' if path in old[kind] else 'after'}"
                    continue
                a, b = old[kind][path], new[kind][path]
                if kind == "metrics":
                    a = {name: value for key, value in a.items() if (name := keys.new(key)) is not None}
                    b = {key: value for key, value in b.items() if not keys.is_added(key)}
                for line in _differing(a, b):
                    key = line.partition(": ")[0]
                    yield not (kind == "metrics" and _close(a.get(key), b.get(key))), f"{run}/{path} {line}"


def _differing(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *after}):
        if key not in before or key not in after:
            yield f"{key}: only {'before' if key in before else 'after'}"
        elif before[key] != after[key]:
            yield f"{key}: {before[key]!r} before, {after[key]!r} after"


def _close(a: Any, b: Any) -> bool:
    return isinstance(a, float) and isinstance(b, float) and abs(a - b) <= TOLERANCE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    running = modes.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join((*RUNS, DEMO))}; all but {DEMO} if none"
    )
    measuring = modes.add_parser("measure")
    measuring.add_argument("out", type=Path)
    measuring.add_argument("results", nargs="+", metavar="NAME=RESULTS")
    comparing = modes.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.add_argument("--keys", type=Path)
    args = parser.parse_args()
    if args.mode == "run":
        run(args.folder, args.names)
        return 0
    if args.mode == "measure":
        named = [text.partition("=") for text in args.results]
        content = {name: measured(Path(results)) for name, _, results in named}
        args.out.write_text(json.dumps(content, indent=1, sort_keys=True))
        return 0
    before, after = (json.loads(path.read_text()) for path in (args.before, args.after))
    found = list(compare(before, after, KeyMap.read(args.keys)))
    for differs, line in found:
        print(f"{'DIFFERS' if differs else 'digits '} {line}")
    print(f"{len(before)} runs, {sum(differs for differs, _ in found)} differences, {len(found)} lines")
    return int(any(differs for differs, _ in found))


if __name__ == "__main__":
    sys.exit(main())
