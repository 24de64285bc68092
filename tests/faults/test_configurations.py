"""Configurations with something else in some place: accepted where it can be, or refused in one line, at once."""

from __future__ import annotations

import datetime
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from tally import Tally

from hydra_bench.cli.main import main
from hydra_bench.config import configuration as config
from hydra_bench.config import identity
from hydra_bench.core.errors import InputError
from hydra_bench.core.yaml_files import read_yaml
from hydra_bench.methods import cards

GROUP = "configurations"
ROOT = Path(__file__).parents[2]
INPUTS = Path(__file__).with_name("inputs")
CASES = 420
LONGEST_S = 5.0

BASE: dict[str, Any] = {
    "datasets": ["t", "p"],
    "methods": ["m", "o"],
    "seeds": [0, 1],
    "threads": 1,
    "structures_folder": str(INPUTS / "structs"),
    "fetching": {"mirrors": ["https://files.example/{middle}/{entry}"], "offline": True},
    "evaluation": {"mask": {"radius_A": 50}},
    "report": {"main_method": "m"},
    "dataset_definitions": {
        "t": {
            "species": {
                "a": {"entry": "mol1", "images": 30, "chains": ["*"]},
                "b": {
                    "entry": "mol2",
                    "images": 30,
                    "motion": {"chains": ["A:1-12"], "angle_deg": [-5, 5], "states": 3},
                },
            },
            "simulation": {"box_px": 48, "pixel_size_A": 4.0, "delivered_box_px": 32, "snr": 0.5, "shift_px": 2},
            "evaluation_particles_per_class": 3,
        },
        "p": {"entries": ["mol1", "mol2"], "images": 20, "simulation": {"box_px": 64, "pixel_size_A": 4.0}},
    },
    "method_definitions": {
        "m": {"program": "hydra", "label": "M", "parameters": {"classes": 2, "latent_dim": [1, 0], "l_schedule": [4]}},
        "o": {"program": "backprojection", "label": "O", "parameters": {"labels": "true"}},
        "k": {"program": "known_poses", "label": "K", "poses_from": "truth", "merge_classes": {"x": [1, 2]}},
    },
}
VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 3, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, 1e300, float("nan"), float("inf"), -0.0),
    *("", "a", "m", "t", "truth", "\n", "m\n", "a\nb", "\x00", "\ud800", "\u2028", "é", "x" * 260, "x" * 5000, "1e400"),
    *("../x", "/etc/passwd", "index.json", "{", "{entry}", "{0.__class__}", "http://{entry}{", "http://me:pw@h/{entry}"),
    *("$(touch x)", "`touch x`", "'; touch x; '", "<script>alert(1)</script>", "~", "*", "[", "A:5-1", "A:1-", ":"),
    *([], [[]], [None], ["a", "a"], [1] * 20000, [1, 2], [2, 1], {}, {"a": 1}, {"a\n": 1}, {1: 2}, {None: 1}),
    *(datetime.date(2026, 1, 1), b"x", ("a",), {"a"}, 1j, [[[[[[[[[[[]]]]]]]]]]]),
]  # fmt: skip


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a configuration, as the keys that lead there."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*at, key)
        yield from places(value, (*at, key))


def changed(draw: random.Random, whole: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A configuration with one, two or three places changed, and what was changed."""
    made, what = deepcopy(whole), []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at = draw.choice(list(places(made)))
        parent = made
        for key in at[:-1]:
            parent = parent[key]
        value = deepcopy(draw.choice(VALUES))
        how = draw.choice(("put", "put", "put", "put", "key", "gone"))
        if how == "put":
            parent[at[-1]] = value
        elif how == "gone" or isinstance(parent, list):
            del parent[at[-1]]
        elif not isinstance(value, list | dict | set):
            parent[value] = parent.pop(at[-1])
        what.append(f"{how} {'.'.join(map(str, at))}: {ascii(value)[:60]}")
    return "; ".join(what), made


def ended(content: dict[str, Any], folder: Path, with_contents: bool) -> tuple[str, str | None]:
    """How the checks of a configuration ended, and what is wrong with that, None if nothing is."""
    began = time.process_time()
    try:
        checked = config.validate(content)
        for name in checked["method_definitions"]:
            for dataset in checked["datasets"]:
                identity.state_folder(checked, dataset, name, 0)
        identity.write_configuration(folder / "configuration.json", checked)
        assert config.validate(config.load([folder / "configuration.json"])) is not None
        if with_contents:
            config.check_named_files(checked)
            config.check_contents(checked)
        how = "accepted"
    except InputError as error:
        how, line = "refused", str(error)
        if line.count("\n") or not line or len(line) > 3000:
            return how, f"a line of {len(line)} characters, {line.count(chr(10))} ends of lines: {line[:300]!r}"
    except Exception as error:
        return "raised", f"{type(error).__name__}: {str(error)[:300]}"
    took = time.process_time() - began
    return how, f"{took:.1f} s" if took > LONGEST_S else None


def test_changed_configurations_are_accepted_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_BENCH_OFFLINE", "1")
    # Where every key is written out, every key is changed.
    written_out = config.validate(BASE)
    assert ended(written_out, tmp_path, True) == ("accepted", None)
    how_many: Counter[str] = Counter()
    for seed in range(CASES):
        draw = random.Random(seed)
        what, content = changed(draw, draw.choice((BASE, written_out)))
        how, problem = ended(content, tmp_path, seed % 3 == 0)
        how_many[how] += 1
        tally.check(GROUP, f"seed {seed}: {what}", problem)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["configuration.json"]
    assert min(how_many["accepted"], how_many["refused"]) > CASES / 20, how_many


TEXTS = {
    "a repeated key": "datasets: [t]\ndatasets: [t]\n",
    "no UTF-8": b"datasets: [\xff]\n",
    "UTF-16": "datasets: [t]\n".encode("utf-16"),
    "a NUL": b"datasets: [\x00]\n",
    "400 digits": f"seeds: [{'9' * 400}]\n",
    "4,000 digits of a float": f"seeds: [{'9' * 4000}.5]\n",
    "a number without digits": "seeds: [0b_]\n",
    "a hexadecimal number": f"seeds: [0x{'f' * 40}]\n",
    "a sexagesimal number": f"seeds: [{':'.join(['59'] * 40)}]\n",
    "a Python object": "datasets: !!python/object/apply:os.system [touch x]\n",
    "bytes": "datasets: !!binary aGk=\n",
    "a set": "datasets: !!set {a, b}\n",
    "a tag of a number": "datasets: !!int x\n",
    "deep lists": "datasets: " + "[" * 5000,
    "deep mappings": "datasets: " + "{a: " * 5000,
    "deep lines": "".join(" " * depth + "a:\n" for depth in range(300)),
    "a list": "[1, 2]\n",
    "a text": "hello\n",
    "nothing": "",
    "two documents": "a: 1\n---\nb: 2\n",
    "an unknown alias": "datasets: *x\n",
    "a merged bomb": "a: &a {x: 1, y: 2}\n" + "".join(f"a{n}: &a{n} {{<<: [*a, *a]}}\n" for n in range(3)),
    "a mapping as a key": "? {a: b}\n: c\n",
    "a million values": "datasets: [" + "1," * 300_000 + "]\n",
    "8 MB of spaces": " " * (9 << 20),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("overlay", [False, True])
def test_texts_that_are_no_configuration(
    name: str, overlay: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    text = TEXTS[name]
    path = tmp_path / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    began = time.process_time()
    files = [str(ROOT / "config" / "config.yaml"), str(path)] if overlay else [str(path)]
    try:
        status = main(["check-config", *files])
        line = capsys.readouterr().err
        problem = None if status == 2 and line.count("\n") == 1 and "c.yaml" in line else f"{status}: {line[:500]}"
        # Seeds, a hundred levels and so on are errors of keys, which begin with the key where no file has it.
        if name == "nothing":
            problem = None if status == 2 else f"{status}"
    except Exception as error:
        problem = f"{type(error).__name__}: {str(error)[:300]}"
    took = time.process_time() - began
    tally.check(GROUP, f"{name}, overlay {overlay}", problem or (f"{took:.1f} s" if took > 2 * LONGEST_S else None))


def test_parameters_of_every_program(tally: Tally) -> None:
    """Each parameter of each program with other values."""
    for program in cards.programs():
        keys = list(cards.parameter_schema(program).get("properties", {}))
        draw = random.Random(program)
        for number in range(12):
            parameters = {
                key: deepcopy(draw.choice(VALUES)) for key in draw.sample(keys, min(len(keys), 1 + number % 2))
            }
            content = deepcopy(BASE)
            content["method_definitions"]["x"] = {"program": program, "label": "X", "parameters": parameters}
            try:
                checked = config.validate(content)
                cards.check_parameters(checked["method_definitions"]["x"])
                json.dumps(checked)
                problem = None
            except InputError as error:
                problem = str(error) if "\n" in str(error) else None
            except Exception as error:
                problem = f"{type(error).__name__}: {str(error)[:300]}"
            tally.check(GROUP, f"{program}: {ascii(parameters)[:200]}", problem)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(key=st.sampled_from(sorted(BASE)), value=ANYTHING)
@tries(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_anything_in_the_place_of_a_key(key: str, value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert ended(BASE | {key: value}, tmp_path_factory.getbasetemp(), False)[1] is None


@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"#,?<= \n0129.~%@`", max_size=60))
@tries(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_text_as_yaml(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the careful reader takes is what PyYAML takes, but for what JSON has not."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    with suppress(InputError):
        assert repr(read_yaml(path)) == repr(yaml.safe_load(text)) or "-" in text  # which a date has


def test_properties_count_once(tally: Tally) -> None:
    for name in ("anything in the place of a key", "any text as YAML"):
        tally.check(GROUP, name, None)
