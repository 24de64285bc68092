"""The net: every shipped configuration made small by an overlay, run through real Snakemake to the page.

An overlay in net/ has the name of the configuration that it is laid over. What both read beside the embedded entries is
written by net_data.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = Path(__file__).parent / "net"
RUNS = tuple(sorted(path.stem for path in OVERLAYS.glob("*.yaml")))
"""Names of the configurations that have an overlay."""


def arguments(name: str) -> list[str]:
    """Of `snakemake` in a clone that has the overlays in net/: two jobs at a time, and both files."""
    targets = ["--", "all", "figs"] if name == "sweeps" else []
    return ["--cores", "2", "--configfile", f"config/{name}.yaml", f"net/{name}.yaml", *targets]


def configuration(name: str, overlay: Path | None = None) -> dict[str, Any]:
    """What Snakemake makes of both files and config.yaml: mappings merged, lists replaced."""
    merged: dict[str, Any] = {}
    folder = ROOT / "config"
    for path in (folder / "config.yaml", folder / f"{name}.yaml", overlay or OVERLAYS / f"{name}.yaml"):
        merge(merged, yaml.safe_load(path.read_text()))
    return merged


def merge(base: dict[str, Any], update: dict[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value
