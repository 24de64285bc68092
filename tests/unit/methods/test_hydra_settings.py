"""The settings of Hydra: read as they are written, refused in words, and all that is made from them up to date."""

import json
from typing import Any

import pytest
import yaml

from hydra_bench.cli.main import main
from hydra_bench.core.errors import InputError
from hydra_bench.methods.cards import filled_parameters
from hydra_bench.methods.hydra.fit.training_input import make_schedule
from hydra_bench.methods.hydra.settings import PRESETS, Settings, described
from hydra_bench.methods.hydra.settings_tables import (
    DOCUMENT_PATH,
    SCHEMA_PATH,
    document_text,
    listing,
    schema_text,
)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"classes": 0}, "classes: 0; 1 or more"),
        ({"latent_dim": -1}, "latent_dim: -1; 0 or more"),
        ({"latent_dim": [1, 2]}, "latent_dim: 2 numbers for 3 classes"),
        ({"held_out_folds": 101}, "held_out_folds: 101; 100 or less is allowed"),
        ({"held_out_folds": 2, "gating": "encoder"}, "held_out_folds: 2; 1 is expected beside an encoder"),
        ({"full_search_share": 0.5}, "full_search_share: 0.5; 0 is expected beside a sharpness"),
        ({"preset": "slow"}, "preset: 'slow'; allowed are fast, fine, many, field, paper"),
        ({"preset": ["fast"]}, "preset: .*'fast'.*; allowed are fast, fine, many, field, paper"),
        ({"clases": 3}, "parameters.clases: unknown"),
        ({"keep": []}, "keep: empty"),
        ({"steps_per_search": []}, "steps_per_search: empty"),
        ({"steps_per_search": [3, 0]}, "steps_per_search: 0; 1 or more"),
        ({"poses": "given"}, "poses: 'given'; allowed are search, refine, fixed"),
        ({"learning_rate": 0}, "learning_rate: 0; more than 0"),
        ({"learning_rate": "fast"}, "learning_rate: 'fast'; a number"),
        ({"learning_rate": float("nan")}, "learning_rate: nan; a number"),
        ({"width": 1.5}, "width: 1.5; a whole number"),
        ({"width": True}, "width: True; a whole number"),
        ({"width": None}, "width: None; a whole number"),
        ({"variational": "maybe"}, "variational: 'maybe'; true or false"),
        ({"l_schedule": 5}, r"l_schedule: 5; whole numbers in brackets"),
        ({"l_schedule": [5, "six"]}, "l_schedule: .*six.*; whole numbers in brackets"),
        ({"sharpness": [1, 2, 3]}, "sharpness: .*; two numbers in brackets"),
        ({"latent_dim": "two"}, "latent_dim: 'two'; a whole number, or whole numbers in brackets"),
        ({"sigma": "none"}, "sigma: 'none'; a number, or null"),
        ({"poses": 3}, "poses: '3'; allowed are search"),
        ({"sharpness": [0, 5]}, "sharpness: 0; more than 0"),
        ({"search_images": 10, "l_schedule": []}, "l_schedule: empty"),
    ],
)
def test_bad_settings(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings.from_parameters(parameters)


def test_settings_are_read_as_they_are_written() -> None:
    """YAML takes 1e-4 for text, and whole numbers do for others."""
    s = Settings.from_parameters(
        {"preset": "paper", "learning_rate": "1e-4", "sharpness": [2, 5], "sigma": 2, "latent_dim": [1, 0, 2]}
    )
    assert (s.learning_rate, s.sharpness, s.sigma, s.latent_dim) == (1e-4, (2.0, 5.0), 2.0, (1, 0, 2))
    assert (s.depth, s.keep, s.variational) == (3, (8, 8, 8, 8), False)
    assert Settings.from_parameters({}) == Settings()
    assert Settings.from_parameters({"classes": 8}) == Settings(classes=8, **PRESETS["many"])
    assert Settings.from_parameters({"classes": 8, "preset": "fast"}) == Settings(classes=8)


@pytest.mark.parametrize(
    ("steps_per_search", "sweeps"), [(2, [2] * 10), ((3, 2, 1), [3, 2] + [1] * 8), ((4,), [4] * 10)]
)
def test_sweeps_of_each_epoch_of_the_search(steps_per_search: int | tuple[int, ...], sweeps: list[int]) -> None:
    schedule = make_schedule(Settings(steps_per_search=steps_per_search), 1500, 20)
    assert [epoch.sweeps for epoch in schedule if epoch.phase == "search"] == sweeps
    assert {epoch.sweeps for epoch in schedule if epoch.phase != "search"} == {1}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"explore": 1.5}, "explore: 1.5; 1 or less is allowed"),
        ({"explore": -1}, "explore: -1; 0 or more is allowed"),
        ({"negligible": 2}, "negligible: 2; 1 or less is allowed"),
        ({"spare_epochs": -1}, "spare_epochs: -1; 0 or more is allowed"),
        ({"latent_learning_rate": -1e-3}, "latent_learning_rate: -0.001; 0 or more is allowed"),
        ({"encoder_width": 0}, "encoder_width: 0; 1 or more is allowed"),
        ({"l_schedule": []}, "l_schedule: empty; one number or more is allowed"),
    ],
)
def test_what_the_schema_refuses_the_command_refuses_too(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings.from_parameters(parameters)
    with pytest.raises(Exception, match=f"parameters.{next(iter(parameters))}: .* is not allowed"):
        filled_parameters("hydra", parameters)


def test_what_is_made_from_the_settings_is_up_to_date() -> None:
    """`make generated` writes them anew."""
    assert SCHEMA_PATH.read_text() == schema_text()
    document = DOCUMENT_PATH.read_text()
    assert document == document_text(document)


def test_every_setting_and_preset_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(content["description"].endswith(".") for content in described().values())
    with pytest.raises(SystemExit) as ended:
        main(["hydra", "--settings"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == listing() + "\n"
    assert "\nspare_fields: 2; many 0; paper 0\n" in listing()
    assert "\nprior_strength: 2.0; many 0.0; paper 0.0\n" in listing()
    for preset, changes in PRESETS.items():
        assert Settings.from_parameters({"preset": preset}) == Settings(**changes)


def test_the_definition_of_a_run_stays_what_it_was() -> None:
    """Its text names a finished run: filled defaults, and the order of the parameters."""
    given = {"sigma": 2, "preset": "fine", "spare_fields": 4, "width": 8, "chunk": 9}
    found = {name: value for name, value in filled_parameters("hydra", given).items() if value is not None}
    expected = (
        '{"classes": 3, "latent_dim": 2, "preset": "fine", "spare_fields": 4, "width": 8, "chunk": 9, "sigma": 2}'
    )
    assert json.dumps(found) == expected


def test_null_leaves_a_setting_to_the_preset() -> None:
    chosen = yaml.safe_load("{preset: paper, depth: null, width: 8}")
    left = {name: value for name, value in filled_parameters("hydra", chosen).items() if value is not None}
    assert (Settings.from_parameters(left).depth, Settings.from_parameters(left).width) == (3, 8)
