"""The page: self-contained, complete, and true to the metrics."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_results import ODD, contents, finished, make_results, write_run

from hydra_bench.contracts.reconstruction import EMPTY_TEXT
from hydra_bench.report.figures.index import write_figures
from hydra_bench.report.figures.latents import latent_plot
from hydra_bench.report.page import details
from hydra_bench.report.page.interactive import Views
from hydra_bench.report.page.page import write_page
from hydra_bench.report.page.terms import TERMS
from hydra_bench.report.results import read_all, read_run
from hydra_bench.report.tables.rows import number
from hydra_bench.report.tables.tables import write_tables

COSTS = {"wall_s": 1, "cpu_s": 1, "peak_rss_mb": 0}
"""Columns of cost.csv that the page shows, in its order, with the digits that it prints."""
VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Collects tags, text and whether elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.words.append(data)


def make_page(folder: Path, paths: list[Path]) -> str:
    write_tables(paths, folder / "tables")
    write_figures(paths, folder / "figures")
    write_page(paths, folder / "tables", folder / "figures", folder / "index.html")
    return (folder / "index.html").read_text()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    folder = tmp_path_factory.mktemp("page")
    return folder, make_results(folder)


@pytest.fixture(scope="module")
def html(results: tuple[Path, list[Path]]) -> str:
    return make_page(*results)


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    for tag, attributes in Page(html).tags:
        for name in ("src", "href", "srcset", "data", "poster"):
            value = attributes.get(name)
            if value is not None and not (tag == "a" and name == "href"):
                assert value.startswith("data:"), (tag, name, value[:80])
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert all(
        (attributes["href"] or "").startswith(("#", "data:", "https://arxiv.org/"))
        for tag, attributes in Page(html).tags
        if tag == "a"
    )


def test_elements_nest_and_links_lead_somewhere(html: str) -> None:
    page = Page(html)
    assert page.open == []
    targets = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(targets) == len(set(targets))
    for tag, attributes in page.tags:
        if tag == "a" and (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in targets


def test_it_can_be_read_by_machines_and_by_ear(html: str) -> None:
    page = Page(html)
    assert ("html", {"lang": "en"}) in page.tags
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    tables = [tag for tag, _ in page.tags if tag == "table"]
    assert len(tables) == len([tag for tag, _ in page.tags if tag == "caption"])
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_method_and_its_numbers_are_there(html: str) -> None:
    text = re.sub(r"\s+", " ", " ".join(Page(html).words))
    for content in contents():
        assert content["label"] in text
        if content["state"] == "failed":
            continue
        for key in ("ari", "ami", "accuracy"):
            assert number(content["clustering"][key]) in text
        for key in ("auc", "cryobench_auc"):
            assert f"{number(content['fsc'][f'{key}_mean'])} ± {number(content['fsc'][f'{key}_sd'])}" in text
    assert "failed: out of memory" in text
    assert f"Empty (less than {EMPTY_TEXT}): class 4." in text
    assert all(term.meaning in text for term in TERMS)
    assert "0.1 at the full box of 32 px" in text


def test_bounds_stand_apart_and_marks_are_set(html: str) -> None:
    rows = re.findall(r'<tr data-dataset="demo" data-kind="(\w+)"([\s\S]*?)</tr>', html)
    assert [kind for kind, _ in rows] == ["method"] * 4 + ["bound"] * 2
    assert "Oracle" in rows[4][1]
    assert all("<strong" not in text and 'class="second"' not in text for kind, text in rows if kind == "bound")
    assert '<strong title="best"><span class="nowrap">0.990 ± 0.005</span></strong>' in html
    assert '<span class="second" title="second"><span class="nowrap">0.901</span></span>' in html


def test_labels_that_are_the_truth_have_no_confusion_matrix(tmp_path: Path) -> None:
    bound = finished("ceiling", "Ceiling", 1.0, 0.9, latents=False, reads_truth=True) | {"given": ["labels", "poses"]}
    bound["clustering"]["ari"] = None
    html = make_page(tmp_path, [write_run(tmp_path, finished("m", "M", 0.5, 0.5)), write_run(tmp_path, bound)])
    method, ceiling = (packed(html, f"dataset-1-method-{n}-data") for n in (1, 2))
    assert (method["confusion"] is None, ceiling["confusion"]) == (False, None)
    assert html.count('<section class="confusion">') == 1
    assert "ok; labels are the truth" in html
    assert "No score, since labels are the truth." in html
    assert "No score, since poses are the truth." in html
    (only,) = read_all([tmp_path / "metrics" / "demo" / "ceiling" / "1.json"])
    assert [p.name for p in (tmp_path / "figures" / "demo").glob("confusion.svg")]
    assert only.labels_text == "the truth"
    write_figures([tmp_path / "metrics" / "demo" / "ceiling" / "1.json"], tmp_path / "alone")
    assert not (tmp_path / "alone" / "demo" / "confusion.svg").exists()


def packed(html: str, anchor: str) -> dict[str, Any]:
    """The data of the page's views under an id."""
    text = re.search(rf'id="{anchor}">([^<]+)<', html)
    assert text
    return json.loads(gzip.decompress(base64.b64decode(text[1])))


def test_the_views_hold_what_the_metrics_say(html: str) -> None:
    dataset, method = packed(html, "dataset-1-data"), packed(html, "dataset-1-method-2-data")
    content = next(c for c in contents() if c["method"] == "hydra_k5")
    assert [species["name"] for species in dataset["species"]] == content["class_names"]
    assert method["confusion"]["labels"] == [f"class {j}" for j in range(1, 6)]
    assert method["confusion"]["counts"] == content["clustering"]["confusion"]
    for curve, entry in zip(method["fsc"]["classes"], content["fsc"]["per_class"], strict=True):
        assert curve["mean"] == pytest.approx(entry["curve_mean"], abs=5e-5)
    x = np.frombuffer(base64.b64decode(method["latents"]["x"]), "<f4")
    assert x == pytest.approx(np.array(content["latents"]["projection"])[:, 0], abs=1e-6)
    particles = np.frombuffer(base64.b64decode(dataset["particles"]), "<u4")
    assert list(particles) == list(range(len(content["labels"])))
    assert dataset["thumbnails"]["source"].startswith("data:image/jpeg;base64,")
    assert [one["label"] for one in method["maps"]] == [1, 2, 3, 5]  # class 4 is empty
    assert all(level["mesh"] for one in method["maps"] for level in one["levels"])


@pytest.mark.parametrize("name", ODD)
def test_odd_results_give_a_page_all_tables_and_figures(tmp_path: Path, name: str) -> None:
    paths = ODD[name](tmp_path)
    html = make_page(tmp_path, paths)
    page = Page(html)
    assert page.open == []
    text = " ".join(page.words)
    for run in map(read_run, paths):
        assert run.label in text
        if run.ok:
            assert number(run.clustering.ari) in text
    expected = {
        "failed": ["failed: out of memory", "not configured: set CRYOSPARC_LICENSE_ID", "<b>Killed</b> & gone"],
        "missing_seed": ["1 of 3", "1 of 2 failed, 1 of 3 seeds missing"],
        "one_class": ["one class"],
        "hundred_classes": ["species 100", "100 species (20 each)", "the lowest FSC-AUC first"],
        "no_truth": ["class 3, small subunit"],
        "joined": ["classes, merged: both is 2 + 3", "both is classes 2 and 3, counted as one; the map shown is that"],
        "partly_mapped": ["class 3, junk"],
    }
    assert all(words in text for words in expected[name])
    if name == "partly_mapped":
        assert [one["aligned"] for one in packed(html, "dataset-1-method-1-data")["maps"]] == [True, True, False]
        assert [one["levels"] is None for one in packed(html, "dataset-1-data")["species"]] == [False, False, True]
    if name == "no_truth":
        method = packed(html, "dataset-1-method-1-data")
        assert method["fsc"] is None
        assert [one["aligned"] for one in method["maps"]] == [False] * 3
        assert packed(html, "dataset-1-data")["species"][0]["levels"] is None
    if name == "joined":
        method = packed(html, "dataset-1-method-1-data")
        assert sorted(method["confusion"]["labels"]) == ["both", "class 1", "class 4"]
        assert method["latents"]["sizes"] == [40, 20, 40, 20]
        assert "merged: both is 2 + 3" in (tmp_path / "tables" / "table1.csv").read_text()
    for table in ("table1.csv", "table2.csv"):
        assert (tmp_path / "tables" / table).stat().st_size > 0


def test_the_same_bytes_twice(html: str, results: tuple[Path, list[Path]], tmp_path: Path) -> None:
    folder, paths = results
    write_page(paths, folder / "tables", folder / "figures", tmp_path / "index.html")
    assert (tmp_path / "index.html").read_text() == html


def test_a_run_without_fsc_or_with_conformations_is_shown(tmp_path: Path) -> None:
    found = {
        "class_name": "spliceosome",
        "label": 1,
        "n_particles": 40,
        "coordinates": [
            {
                "spearman": 0.912,
                "r2": 0.8,
                "r2_by_chance": 0.02,
                "p": 0.01,
                "first_axis_spearman": 0.7,
                "first_axis_r2": 0.6,
            },
            None,
        ],
    }
    content = finished("m", "M", 0.5, 0.5, latents=False) | {"fsc": None, "conformation": {"per_class": [found]}}
    html = make_page(tmp_path, [write_run(tmp_path, content)])
    assert "<td>0.912</td><td>0.800</td>" in html


def test_one_latent_alone_is_spread_out_and_said_to_be(tmp_path: Path) -> None:
    content = finished("m", "M", 0.5, 0.5)
    points = np.array(content["latents"]["projection"]) * [1, 0]
    path = write_run(tmp_path, content | {"latents": {"dimension": 1, "projection": points.tolist()}})
    (run,) = read_all([path])
    found = Views([run]).of_method(run)["latents"]
    assert found["axes"] == ["latent 1 (a.u.)", "(spread at random)"]
    y = np.frombuffer(base64.b64decode(found["y"]), "<f4")
    assert len(set(y)) == len(points)
    assert np.abs(y).max() <= 1
    axes = latent_plot(run).figure.axes[0]
    assert (axes.get_ylabel(), list(axes.get_yticks())) == ("(spread at random)", [])


def test_junk_is_counted_in_a_sentence_and_a_note_of_another_kind_is_shown_as_it_is(tmp_path: Path) -> None:
    content = finished("hydra", "Hydra", 0.5, 0.5)
    counted = read_run(write_run(tmp_path, content | {"notes": {"junk_images": 1234}}))
    assert details.remarks(counted)[-1].startswith("Junk, more likely of no class than of one: 1,234 of ")
    other = read_run(write_run(tmp_path, content | {"notes": {"junk_images": "many"}}))
    assert details.remarks(other)[-1] == "junk_images: many"


def test_notes_say_how_a_run_was_made(tmp_path: Path) -> None:
    notes = {
        "versions": {"cryodrgn": "3.4.1", "torch": "2.1"},
        "commands": ["cryodrgn abinit_het particles.mrcs --zdim 8 -o <out>"],
        "departures": ["lazy loading, for memory"],
        "poses_from": "consensus",
        "class_sizes": [40, 80],
    }
    content = finished("theirs", "Theirs", 0.5, 0.5, latents=False) | {"notes": notes}
    html = make_page(tmp_path, [write_run(tmp_path, content)])
    facts = re.search(r'<dl class="facts">\s*<dt>Program[\s\S]*?</dl>', html)[0]
    assert '<dt>Versions</dt>\n  <dd class="more">cryodrgn 3.4.1</dd>\n  <dd class="more">torch 2.1</dd>' in facts
    assert "<code>cryodrgn abinit_het particles.mrcs --zdim 8 -o &lt;out&gt;</code>" in facts
    assert (
        '<dt>Departures from the program&#39;s defaults</dt>\n  <dd class="more">lazy loading, for memory</dd>' in facts
    )
    assert '<dt>Poses from</dt>\n  <dd class="more">consensus</dd>' in facts
    assert "class_sizes: [40, 80]" in facts
    assert "versions:" not in facts
    bare = details.told(read_run(write_run(tmp_path, content | {"notes": {"class_sizes": [40]}})))
    assert bare == []
    begun = details.told(read_run(write_run(tmp_path, content | {"notes": {"init_from": "truth"}})))
    assert begun == [details.Told("Begins at poses and classes of", ["the truth"])]


def test_costs_of_every_job_are_those_of_the_table_to_download(html: str, results: tuple[Path, list[Path]]) -> None:
    table = re.search(r'<table class="jobs[\s\S]*?</table>', html)[0]
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr data-job[\s\S]*?</tr>", table)]
    with open(results[0] / "tables" / "cost.csv") as file:
        written = list(csv.DictReader(file))
    assert len(cells) == len(written) == len(contents())
    for shown, row in zip(cells, written, strict=True):
        assert shown[0] == row["step"] == "reconstruct"
        assert shown[2:6] == [row["seed"], *(number(float(row[key]), d) for key, d in COSTS.items())]
        assert shown[7] == f"{int(row['images_seen']):,}"
        assert shown[-1] == row["state"]


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    paths = make_results(tmp_path)
    failed = next(path for path in paths if not read_run(path).ok)
    failed.write_text(failed.read_text().replace("out of memory", "<script>alert(1)</script>"))
    html = make_page(tmp_path, [failed])
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
