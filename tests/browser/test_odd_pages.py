"""Pages of results that are not as usual open without an error, and their methods do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from report_results import NAMES, ODD, finished, identity, write_run

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
            if name == "hundred_classes":
                curves = seen.page.evaluate("document.querySelector('details[open] .fsc .chart').data.length")
                assert curves == 2 + 1 + 5  # two bands, the median, the worst five
        else:
            assert run.reason in seen.page.locator("table.results").inner_text()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=SCREENSHOTS / f"odd-{name}.png")
    assert seen.complaints == []


def test_what_a_file_of_others_smuggles_in_does_not_run(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    """Scripts in labels, species and reasons stand there as text; one that were let through would not run either."""
    script = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    content = finished("m", f"M {script}", 0.9, 0.8)
    content["class_names"] = [f"s {script}", *NAMES[1:]]
    for part in (*content["fsc"]["per_class"], *content["alignments"]):
        part["class_name"] = part["class_name"].replace(NAMES[0], f"s {script}")
    failed = identity("n", "N", seed=1) | {"reason": script, "notes": {"log_tail": [script]}}
    paths = [write_run(tmp_path, content), write_run(tmp_path, failed)]
    write_tables(paths, tmp_path / "tables")
    write_json(tmp_path / "figures" / "index.json", [])
    write_page(paths, tmp_path / "tables", tmp_path / "figures", tmp_path / "index.html")
    seen = visit(tmp_path / "index.html")
    seen.open_method(content["label"])
    assert seen.page.title() == "hydra-bench results"
    assert script in seen.page.locator("table.results").inner_text()
    assert seen.complaints == []
    # As if a label had not been escaped: the browser runs neither.
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    (tmp_path / "forgotten.html").write_text(text.replace("<main", f"{script}<main", 1), encoding="utf-8")
    seen = visit(tmp_path / "forgotten.html")
    seen.open_method(content["label"])
    assert seen.page.title() == "hydra-bench results"
