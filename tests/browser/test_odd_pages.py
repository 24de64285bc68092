"""Pages of results that are not as usual open without an error, and their methods do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from report_results import ODD

from conftest import SCREENSHOTS, Visit
from hydra_bench.core.files import write_json
from hydra_bench.report.page.page import write_page
from hydra_bench.report.results import read_run
from hydra_bench.report.tables.tables import write_tables


@pytest.mark.parametrize("name", ["failed", "one_class", "no_truth", "hundred_classes"])
def test_an_odd_page_opens(tmp_path: Path, visit: Callable[..., Visit], name: str) -> None:
    paths = ODD[name](tmp_path)
    write_tables(paths, tmp_path / "tables")
    write_json(tmp_path / "figures" / "index.json", [])
    write_page(paths, tmp_path / "tables", tmp_path / "figures", tmp_path / "index.html")
    seen = visit(tmp_path / "index.html")
    for run in map(read_run, paths):
        if run.ok:
            seen.open_method(run.label)
            opened = seen.page.locator("details.method[open]")
            assert opened.locator(".confusion .chart svg.main-svg").count()
            assert opened.locator(".viewer canvas").count() == (1 if name == "no_truth" else 2)
        else:
            assert run.reason in seen.page.locator("table.results").inner_text()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=SCREENSHOTS / f"odd-{name}.png")
    assert seen.complaints == []
