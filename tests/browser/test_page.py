"""The demo's page in a real browser: what a person would see, click, hover and turn."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from conftest import RESULTS, SCREENSHOTS, Visit
from hydra_bench.contracts.scores import Interval
from hydra_bench.report.results import read_run
from hydra_bench.report.tables.rows import number, spread

HYDRA = "Hydra, K=3"
LARGEST_PAGE_MB, SLOWEST_LOAD_S = 15, 2.0
SERIOUS = ("serious", "critical")


def pixels(element: Locator) -> np.ndarray:
    """A screenshot of an element (height, width, 3), 0..255."""
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"), dtype=float)


def column(page: Page, name: str, table: str = "results") -> list[str]:
    """The cells of a column of the table of results, or that of the costs, `jobs`, from the top."""
    heads = [text.strip() for text in page.locator(f"table.{table} thead th").all_inner_texts()]
    place = next(i for i, head in enumerate(heads) if head.startswith(name))
    return [row.locator("th, td").nth(place).inner_text() for row in page.locator(f"table.{table} tbody tr").all()]


def check_accessible(page: Page) -> None:
    violations = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["target"]) for v in violations if v["impact"] in SERIOUS] == []


def test_the_page_is_small_quick_silent_and_asks_the_network_for_nothing(
    demo: Path, visit: Callable[..., Visit]
) -> None:
    assert demo.stat().st_size < LARGEST_PAGE_MB * 1e6
    seen = visit(demo)
    seen.open_method(HYDRA)
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in seen.requests if url.startswith("file:")]) == 1
    timing = seen.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
    assert timing < SLOWEST_LOAD_S


def test_the_table_sorts_and_bounds_stay_below(demo: Path, visit: Callable[..., Visit]) -> None:
    page = visit(demo).page
    head = page.locator("table.results thead th").filter(has_text="FSC-AUC")
    for direction, better in (("ascending", np.less_equal), ("descending", np.greater_equal)):
        head.click()
        expect(head).to_have_attribute("aria-sort", direction)
        values = [None if text == "–" else float(text.split(" ± ")[0]) for text in column(page, "FSC-AUC")]
        kinds = [row.get_attribute("data-kind") for row in page.locator("table.results tbody tr").all()]
        competing = kinds.count("method")
        assert kinds == ["method"] * competing + ["bound"] * (len(kinds) - competing)
        for group in (values[:competing], values[competing:]):
            known = [value for value in group if value is not None]
            assert group == known + [None] * (len(group) - len(known))  # what has no score comes last, either way
            assert all(better(a, b) for a, b in pairwise(known))


def test_the_table_filters_by_words_and_by_kind(demo: Path, visit: Callable[..., Visit]) -> None:
    page = visit(demo).page
    everything = column(page, "Method")
    page.get_by_label("Filter:").fill("K=5")
    assert column(page, "Method") == ["Hydra, K=5"]
    page.get_by_label("Filter:").fill("")
    page.get_by_label("Kind").select_option("bound")
    assert all("bound" in text for text in column(page, "Method"))
    assert 0 < len(column(page, "Method")) < len(everything)


def test_the_costs_are_those_of_the_table_to_download_and_sort(demo: Path, visit: Callable[..., Visit]) -> None:
    page = visit(demo).page
    with open(RESULTS / "tables" / "cost.csv") as file:
        written = list(csv.DictReader(file))
    assert {"simulate", "reconstruct", "evaluate"} == {row["step"] for row in written}
    assert column(page, "Job", "jobs") == [row["step"] for row in written]
    walls = [number(float(row["wall_s"]), 1) for row in written]
    assert column(page, "Wall", "jobs") == walls
    head = page.locator("table.jobs thead th").filter(has_text="Wall")
    head.click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert column(page, "Wall", "jobs") == sorted(walls, key=float)
    page.get_by_role("combobox", name="Job").select_option("reconstruct")
    assert set(column(page, "Job", "jobs")) == {"reconstruct"}
    attempts = {row["attempts"] for row in written if row["step"] == "reconstruct"}
    assert set(column(page, "Attempts", "jobs")) == attempts


def scored(value: float | None, sd: float | None, interval: Interval | None) -> str:
    """A cell of the table: the score, its spread, and in brackets its interval, where there are such."""
    ends = "" if interval is None else f" [{number(interval.low)}, {number(interval.high)}]"
    return spread(value, sd) + ends


def test_numbers_are_those_of_the_metrics(demo: Path, visit: Callable[..., Visit]) -> None:
    """To the printed digits, read from the files and from the page as it is shown."""
    page = visit(demo).page
    runs = {run.label: run for run in map(read_run, sorted((RESULTS / "metrics" / "demo").glob("*/0.json")))}
    shown = {name.split("\n")[0].removesuffix(" bound"): i for i, name in enumerate(column(page, "Method"))}
    assert set(shown) == set(runs)
    expected = {
        "ARI": lambda run: scored(run.clustering.ari, None, run.clustering.ari_interval),
        "FSC-AUC": lambda run: (
            scored(run.fsc.auc_mean, run.fsc.auc_sd, run.fsc.auc_interval) if run.metrics.fsc else number(None)
        ),
        "Wall": lambda run: number(run.metrics.cost.wall_s, 1),
        "CPU": lambda run: number(run.metrics.cost.cpu_s, 1),
        "Peak": lambda run: number(run.metrics.cost.peak_rss_mb, 0),
    }
    for name, value in expected.items():
        cells = column(page, name)
        assert {label: cells[i] for label, i in shown.items()} == {label: value(run) for label, run in runs.items()}
    seen = page.evaluate("JSON.parse(document.querySelector('.costs script').textContent).rows")
    assert {row["label"]: number(row["ari_mean"]) for row in seen} == {
        label: number(run.clustering.ari) for label, run in runs.items()
    }


def test_a_method_opens_and_its_charts_show_its_metrics(demo: Path, visit: Callable[..., Visit]) -> None:
    seen = visit(demo)
    seen.open_method(HYDRA)
    run = read_run(RESULTS / "metrics" / "demo" / "hydra_k3" / "0.json")
    drawn = seen.page.evaluate("document.querySelector('details[open] .confusion .chart').data[0].text")
    order = run.label_order()
    assert drawn == [[f"{row[j]:,}" for j in order] for row in run.clustering.confusion]
    curves = seen.page.evaluate("document.querySelector('details[open] .fsc .chart').data.map(one => one.y)")
    means = [entry.curve_mean for entry in run.fsc.per_class]
    assert len(curves) == 2 * len(means)  # each with its band
    assert np.allclose(curves[1::2], means, atol=5e-5)


def test_latents_show_a_particle_under_the_pointer(demo: Path, visit: Callable[..., Visit]) -> None:
    seen = visit(demo)
    seen.open_method("Hydra, K=1")
    latents = seen.page.locator("details[open] .latents")
    latents.scroll_into_view_if_needed()
    canvas, facts = latents.locator("canvas"), latents.locator(".particle p")
    empty = pixels(canvas)
    latents.locator(".point").nth(40).hover(force=True)
    seen.page.wait_for_function("document.querySelector('details[open] .particle p').textContent.includes('Particle')")
    text = facts.inner_text()
    particle = int(text.split("\n")[0].removeprefix("Particle "))
    run = read_run(RESULTS / "metrics" / "demo" / "hydra_k1" / "0.json")
    assert run.class_names[run.true_classes[particle - 1]] in text
    assert f"cluster {run.labels[particle - 1] + 1}" in text
    seen.page.wait_for_timeout(200)
    assert np.abs(pixels(canvas) - empty).max() > 50
    # By keyboard: a particle's number.
    number_box = latents.get_by_role("spinbutton", name="Particle")
    number_box.fill("7")
    number_box.press("Enter")
    seen.page.wait_for_function(
        "document.querySelector('details[open] .particle p').textContent.includes('Particle 7')"
    )


def test_the_3d_view_draws_and_turns_both_maps_together(demo: Path, visit: Callable[..., Visit]) -> None:
    seen = visit(demo)
    seen.open_method(HYDRA)
    view = seen.page.locator("details[open] .viewer .chart")
    view.scroll_into_view_if_needed()
    seen.page.wait_for_timeout(500)
    before = pixels(view)
    half = before.shape[1] // 2
    sides = (slice(0, half), slice(half, None))
    coloured = before.max(2) - before.min(2) > 60
    assert all(coloured[:, side].mean() > 0.02 for side in sides)

    box = view.bounding_box()
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
    seen.page.mouse.move(x, y)
    seen.page.mouse.down()
    seen.page.mouse.move(x + 90, y + 30, steps=4)
    seen.page.mouse.up()
    seen.page.wait_for_timeout(500)
    dragged = pixels(view)
    assert all((np.abs(dragged - before)[:, side].max(2) > 40).mean() > 0.01 for side in sides)
    cameras = seen.page.evaluate(
        "(({scene, scene2}) => [scene.camera, scene2.camera])"
        "(document.querySelector('details[open] .viewer .chart').layout)"
    )
    assert cameras[0]["eye"] == pytest.approx(cameras[1]["eye"])

    view.press("ArrowLeft")
    seen.page.wait_for_timeout(500)
    turned = pixels(view)
    assert (np.abs(turned - dragged).max(2) > 40).mean() > 0.01
    said = seen.page.locator("details[open] .said")
    stated = said.inner_text()
    seen.page.locator("details[open] .level").press("ArrowLeft")
    assert said.inner_text() != stated
    assert "σ" in stated
    seen.page.wait_for_timeout(500)
    assert (np.abs(pixels(view) - turned).max(2) > 40).mean() > 0.01


def test_what_a_number_means_is_one_click_away(demo: Path, visit: Callable[..., Visit]) -> None:
    page = visit(demo).page
    page.get_by_role("button", name="ARI", exact=True).click()
    assert page.locator("#term-ari").is_visible()
    assert "Adjusted Rand index" in page.locator("#term-ari").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#term-ari").is_visible()


def test_a_method_opens_by_keyboard(demo: Path, visit: Callable[..., Visit]) -> None:
    page = visit(demo).page
    page.locator("table.results tbody a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("details.method[open][data-ready]", timeout=60_000)


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("desktop", "dark"), ("phone", "light")])
def test_it_is_accessible_and_fits_the_screen(demo: Path, visit: Callable[..., Visit], size: str, scheme: str) -> None:
    seen = visit(demo, size, scheme)
    seen.page.screenshot(path=SCREENSHOTS / f"{size}-{scheme}-results.png")
    check_accessible(seen.page)
    seen.open_method(HYDRA)
    seen.page.wait_for_timeout(500)
    seen.page.screenshot(path=SCREENSHOTS / f"{size}-{scheme}-method.png")
    seen.page.screenshot(path=SCREENSHOTS / f"{size}-{scheme}-all.png", full_page=True)
    check_accessible(seen.page)
    assert seen.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert seen.complaints == []
