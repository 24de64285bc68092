"""What a run depends on, written as text, and the folder of its state that is named after a hash of that."""

import hashlib
import json
from pathlib import Path

from hydra_bench.config.method_definitions import GIVEN_BY, TRUTH, given_from, given_sources, reads_truth
from hydra_bench.contracts.places import Results
from hydra_bench.core.files import write_text
from hydra_bench.core.json_values import JsonObject
from hydra_bench.datasets.simulated.fetching import without_password
from hydra_bench.methods.cards import given_parameters

Config = JsonObject

_FILES = Path(".snakemake") / "hydra-bench"


def write_configuration(path: Path, settings: Config) -> None:
    """Write a checked configuration as JSON, keys in their order: that of species is the order of the true classes.

    Passwords in the mirrors' addresses are left out.
    """
    fetching = settings["fetching"] | {"mirrors": [without_password(url) for url in settings["fetching"]["mirrors"]]}
    write_text(path, json.dumps(settings | {"fetching": fetching}, indent=2) + "\n")


def dataset_definition(settings: Config, dataset: str) -> str:
    """What a dataset depends on, as JSON."""
    return json.dumps({"name": dataset, **settings["dataset_definitions"][dataset]})


def method_definition(settings: Config, method: str) -> str:
    """What a method depends on, as JSON; its label is not in it. A parameter of null is left to the program."""
    definition = settings["method_definitions"][method]
    content = {"name": method, "program": definition["program"], "parameters": given_parameters(definition)}
    content |= {key: definition[key] for key in (*GIVEN_BY, "time_limit_min") if definition[key] is not None}
    if given_from(definition) is not None:
        content["reads_truth"] = reads_truth(settings["method_definitions"], method)
    return json.dumps(content)


def in_a_file(text: str) -> str:
    """The path of a file that holds a text, which no command line need have room for: Linux takes 128 kB an argument.

    Its name is a checksum of the text, so that to Snakemake another text is another parameter; it lies with Snakemake's
    own records, which are there in dry runs, too.
    """
    path = _FILES / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text:
        write_text(path, text)
    return str(path)


def state_folder(settings: Config, dataset: str, method: str, seed: int | str) -> Path:
    """The folder of one run's state.

    Its name holds a hash of all that the result depends on, so that a job never meets another one's state. It is no
    declared output of a rule, since Snakemake deletes those of a job that fails.
    """
    depends_on = dataset_definition(settings, dataset)
    for name in (method, *given_sources(settings["method_definitions"], method)):
        if name != TRUTH:
            depends_on += method_definition(settings, name)
    digest = hashlib.sha256(depends_on.encode()).hexdigest()[:12]
    return Results().run(dataset, method, seed).state(digest)
