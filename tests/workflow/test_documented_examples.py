"""The datasets that the documents give as examples, made small, through real Snakemake to the page.

That each example is a valid configuration is tested in tests/house/test_site.py. Those that read an experiment's files
or an archive of CryoBench are run by test_net.py, on files that it writes.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from clone import Clone
from net_runs import ROOT

PAGES = (ROOT / "config" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
STRUCTURES = ROOT.parent / "shared" / "structures"
SMALL_SPECIES = {"images": 6}
SMALL_SIMULATION = {"box_px": 64, "pixel_size_A": 9.9, "delivered_box_px": 32, "snr": 0.5, "shift_px": 3}


def simulated_examples() -> dict[str, tuple[str, dict[str, Any]]]:
    """Of each dataset that an example defines by its species: the example's text, and the definition."""
    found = {}
    for page in PAGES:
        for text in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL):
            for name, definition in yaml.safe_load(text).get("dataset_definitions", {}).items():
                if "species" in definition:
                    found[name] = (text, definition)
    return found


def small(definition: dict[str, Any]) -> dict[str, Any]:
    """What is laid over a definition so that it is made in seconds: few images, few states, a small box."""
    species = {}
    for name, content in definition["species"].items():
        species[name] = dict(SMALL_SPECIES)
        if "motion" in content:
            species[name]["motion"] = {"states": 2}
        if "interpolate" in content:
            species[name]["interpolate"] = 2
    return {"species": species, "simulation": SMALL_SIMULATION, "evaluation_particles_per_class": 1}


def test_datasets_of_the_documents_run_to_their_page(make_clone: Callable[[Path], Clone], warm: Path) -> None:
    if not (STRUCTURES / "6vyb.cif.gz").is_file():
        pytest.skip(f"examples fetch 6vxx and 6vyb, of which {STRUCTURES} has no copy")
    examples = simulated_examples()
    assert {"spike", "turning", "opening", "demo_noisy"} <= examples.keys()
    clone = make_clone(warm)
    for entry in ("6vxx", "6vyb"):
        shutil.copy(STRUCTURES / f"{entry}.cif.gz", clone.folder / "resources" / "structures")
    files = []
    for name, (text, _) in examples.items():
        files.append(f"{name}.yaml")
        (clone.folder / files[-1]).write_text(text)
    overlay = {
        "datasets": list(examples),
        "methods": ["oracle"],
        "seeds": [0],
        "dataset_definitions": {name: small(definition) for name, (_, definition) in examples.items()},
    }
    (clone.folder / "small.yaml").write_text(yaml.safe_dump(overlay))
    clone.run("--cores", "2", "--configfile", *files, "small.yaml")
    rows = csv.DictReader((clone.folder / "results" / "tables" / "table1.csv").read_text().splitlines())
    assert {row["dataset"]: row["state"] for row in rows} == dict.fromkeys(examples, "ok")
