"""Methods of a configuration: their cards, whose poses they are given, the files they name, which are bounds."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hydra_bench.config import configuration, identity
from hydra_bench.config.method_definitions import reads_truth
from hydra_bench.core.errors import InputError
from hydra_bench.methods import cards as method_cards

ROOT = Path(__file__).parents[3]
DEFAULT = ROOT / "config" / "config.yaml"


@pytest.mark.parametrize("program", method_cards.programs())
def test_every_card_is_complete(program: str) -> None:
    card = method_cards.card(program)
    always = {"name", "program", "description", "paper", "licence", "reads_truth", "takes_poses"}
    may = {"adapter", "environment", "executables", "needs_poses", "install", "file_parameters", "files_from"}
    may |= {"takes_init", "needs_poses_for", "parameters_checked_by", "fit_checked_by", "bound", "tuned_on"}
    assert always <= set(card) <= always | may
    assert isinstance(card["reads_truth"], bool)
    assert isinstance(card["takes_poses"], bool)
    assert not card.get("takes_init") or method_cards.has_rule(program), "adapters are handed nothing to begin from"
    assert method_cards.has_rule(program) != ("adapter" in card), "a rule of its own, or an adapter"
    assert ("bound" in card) == card["reads_truth"], "what makes a bound, and nothing else, reads the truth"
    assert "bound" not in card or callable(method_cards.named_function(program, "bound"))
    assert not card.get("executables") or card["install"], "how to install its programs"
    assert (ROOT / "envs" / f"{method_cards.environment_name(program)}.yaml").is_file()


@pytest.mark.parametrize("program", [p for p in method_cards.programs() if not method_cards.has_rule(p)])
def test_every_adapter_is_there(program: str) -> None:
    assert callable(method_cards.named_function(program, "adapter"))
    assert not method_cards.card(program)["reads_truth"], "an adapter is never given the truth"


@pytest.mark.parametrize("program", [*filter(method_cards.has_rule, method_cards.programs()), None])
def test_a_methods_rule_reads_the_truth_only_if_its_card_says_so(program: str | None) -> None:
    """None: the one rule for all adapters."""
    folder = method_cards.METHODS_FOLDER
    path = folder.parent / "rules" / "reconstruct.smk" if program is None else folder / program / "rule.smk"
    code = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    assert ("truth" in code.lower()) == (program is not None and method_cards.card(program)["reads_truth"])


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nobody", "unknown name 'nobody'; truth or a key of method_definitions is expected"),
        ("hydra_k3", "hydra_k3 <- hydra_k3 goes round in a circle"),
        ("hydra_k5", "hydra_k3 <- hydra_k5 <- hydra_k3 goes round in a circle"),
    ],
)
def test_given_poses_must_come_from_somewhere(source: str, problem: str) -> None:
    settings = configuration.load([DEFAULT])
    settings["method_definitions"]["hydra_k3"]["poses_from"] = source
    settings["method_definitions"]["hydra_k5"]["poses_from"] = "hydra_k3"
    with pytest.raises(InputError, match="method_definitions.hydra_k[35].poses_from: .*" + re.escape(problem)):
        configuration.validate(settings)


def test_a_program_that_takes_no_poses_is_given_none() -> None:
    settings = configuration.load([DEFAULT])
    settings["method_definitions"]["oracle"]["poses_from"] = "truth"
    with pytest.raises(InputError, match=r"oracle\.poses_from: the program backprojection takes no poses; null is exp"):
        configuration.validate(settings)


def test_a_file_that_parameters_name_must_be_there(tmp_path: Path) -> None:
    settings = configuration.load([DEFAULT])
    settings["method_definitions"]["relion"] = {
        "program": "relion",
        "label": "RELION",
        "parameters": {"references": ["nowhere.mrc"]},
    }
    checked = configuration.validate(settings)
    configuration.check_named_files(checked)  # it does not run
    with pytest.raises(InputError, match=r"method_definitions\.relion\.parameters: nowhere\.mrc: no such file"):
        configuration.check_named_files(checked | {"methods": ["relion"]})


def test_a_program_that_needs_poses_is_given_some() -> None:
    settings = configuration.load([DEFAULT])
    settings["method_definitions"]["known"] = {"program": "known_poses", "label": "known"}
    with pytest.raises(InputError, match=r"known\.poses_from: is null; the program known_poses needs poses, truth or"):
        configuration.validate(settings)


def test_a_time_limit_is_for_programs_of_others() -> None:
    settings = configuration.load([DEFAULT])
    settings["method_definitions"]["hydra_k3"]["time_limit_min"] = 5
    with pytest.raises(InputError, match=r"hydra_k3\.time_limit_min: the program hydra has no time limit of its own"):
        configuration.validate(settings)


def test_who_is_given_true_poses_is_a_bound() -> None:
    settings = configuration.load([DEFAULT])
    settings["method_definitions"]["hydra_k3"]["poses_from"] = "truth"
    settings["method_definitions"]["hydra_k5"]["poses_from"] = "hydra_k3"
    checked = configuration.validate(settings)
    bounds = [name for name in checked["method_definitions"] if reads_truth(checked["method_definitions"], name)]
    ours = ["ceiling", "oracle", "single_map", "other_species", "noise", "shuffled", "class_bound", "class_bound_stack"]
    assert bounds == ["hydra_k3", "hydra_k5", "hydra_from_truth", *ours]


def test_what_is_given_to_begin_from_makes_a_bound_too() -> None:
    settings = configuration.load([DEFAULT])
    settings["method_definitions"]["hydra_k5"]["init_from"] = "hydra_from_truth"
    checked = configuration.validate(settings)
    definitions = checked["method_definitions"]
    assert not reads_truth(definitions, "hydra_k3")
    assert reads_truth(definitions, "hydra_from_truth")
    assert reads_truth(definitions, "hydra_k5")
    begun, plain = (json.loads(identity.method_definition(checked, name)) for name in ("hydra_k5", "hydra_k3"))
    assert (begun["init_from"], begun["reads_truth"]) == ("hydra_from_truth", True)
    assert not {"init_from", "reads_truth"} & set(plain)  # runs that there are stay valid


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"hydra_k3": {"init_from": "nobody"}}, r"hydra_k3\.init_from: unknown name 'nobody'; truth or a key of"),
        ({"hydra_k3": {"init_from": "hydra_k3"}}, r"hydra_k3\.init_from: hydra_k3 <- hydra_k3 goes round in a circle"),
        (
            {"hydra_k3": {"init_from": "hydra_k5"}, "hydra_k5": {"poses_from": "hydra_k3"}},
            r"hydra_k3\.init_from: hydra_k3 <- hydra_k5 <- hydra_k3 goes round in a circle",
        ),
        (
            {"hydra_k3": {"init_from": "truth", "poses_from": "truth"}},
            r"hydra_k3\.init_from: is not allowed beside poses_from; null is expected for one of them",
        ),
        (
            {"hydra_k3": {"init_from": "truth", "parameters": {"poses": "fixed"}}},
            r"hydra_k3\.parameters\.poses: fixed is not allowed without poses; poses_from is expected",
        ),
        (
            {"oracle": {"init_from": "truth"}},
            r"oracle\.init_from: the program backprojection takes no poses and classes to begin from; null is expected "
            r"\(those that do: hydra\)",
        ),
    ],
)
def test_what_cannot_be_begun_from_is_refused(changes: dict[str, Any], problem: str) -> None:
    settings = configuration.load([DEFAULT])
    for name, change in changes.items():
        settings["method_definitions"][name] |= change
    with pytest.raises(InputError, match=problem):
        configuration.validate(settings)
