"""Where everything lies under results/: the same for rules and Python."""

from pathlib import Path

from hydra_bench.contracts.places import Results


def test_a_pattern_of_a_rule_gives_the_path_of_a_file() -> None:
    names = {"dataset": "ribosplike", "method": "hydra", "seed": "0"}
    pattern, files = Results().run("{dataset}", "{method}", "{seed}"), Results().run("ribosplike", "hydra", 0)
    for of_run in ("reconstruction", "metrics", "aligned", "unfinished"):
        assert str(getattr(pattern, of_run)).format(**names) == str(getattr(files, of_run))
    assert str(pattern.log("evaluate")).format(**names) == "results/logs/evaluate/ribosplike/hydra/0.log"
    assert files.benchmark("evaluate").name == "0.benchmark.tsv"


def test_results_are_found_by_a_metrics_file() -> None:
    for folder in (Path("results"), Path("/elsewhere/kept")):
        assert Results.of_metrics(Results(folder).run("one", "hydra", 3).metrics).folder == folder
