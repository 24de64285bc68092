"""Definitions that sub-commands are given, by the workflow or by hand: checked as a configuration's are."""

from collections.abc import Iterator
from contextlib import contextmanager

from hydra_bench.config.configuration import SCHEMA_PATH
from hydra_bench.config.method_definitions import GIVEN_BY
from hydra_bench.contracts.places import is_name
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.schema import KeyPathError, Schema, check_name, filled
from hydra_bench.core.yaml_files import read_definition, read_schema
from hydra_bench.datasets import kinds
from hydra_bench.datasets.simulated.entries import Folders
from hydra_bench.methods.cards import filled_parameters, has_schema, programs

_OF_METHOD = ("name", "program", "parameters", *GIVEN_BY, "time_limit_min", "reads_truth")


def dataset_definition(text: str, folders: Folders) -> JsonObject:
    """A dataset's definition, complete, and checked against what is in its files. Raises InputError."""
    given = read_definition(text)
    schema: Schema = _properties()["dataset_definitions"]["additionalProperties"]
    with _problems_named():
        name = _name(given)
        plain = {key: value for key, value in given.items() if key != "name"}
        dataset = kinds.completed(filled(schema, plain), schema, ())
        kinds.kind_of(dataset).check(dataset, folders, ())
    return name | dataset


def evaluation_definition(text: str) -> JsonObject:
    """The configuration's `evaluation` block with a method's merge_classes, complete. Raises InputError."""
    schema = _properties()["evaluation"]
    merging = _properties()["method_definitions"]["additionalProperties"]
    own = {"merge_classes": merging["properties"]["merge_classes"]}
    with _problems_named():
        checked: JsonObject = filled(schema | {"properties": schema["properties"] | own}, dict(read_definition(text)))
    return checked


def method_definition(text: str, default_program: str | None = None) -> JsonObject:
    """A method's definition, as it was given. Raises InputError."""
    given = read_definition(text)
    if default_program is not None:
        given.setdefault("name", default_program)
        given.setdefault("program", default_program)
    with _problems_named():
        for key in given:
            check_name(key, _OF_METHOD, (key,), "a key of a method's definition")
        _name(given)
        program = str(given["program"])
        if program != default_program:
            check_name(program, programs(), ("program",), "a folder of workflow/methods")
        if not isinstance(given["parameters"], dict):
            raise KeyPathError(("parameters",), "a mapping of names to values is expected")
        if has_schema(program):
            filled_parameters(program, dict(given["parameters"]))
        schema: Schema = _properties()["method_definitions"]["additionalProperties"]
        for key in (*GIVEN_BY, "time_limit_min"):
            filled(schema["properties"][key], given.get(key), (key,))
    return given


def _properties() -> JsonObject:
    properties: JsonObject = read_schema(SCHEMA_PATH)["properties"]
    return properties


def _name(given: JsonObject) -> JsonObject:
    """The definition's name, if it has one."""
    if "name" not in given:
        return {}
    if not isinstance(given["name"], str) or not is_name(given["name"]):
        raise KeyPathError(("name",), f"{str(given['name'])[:100]!r} is not allowed; a name of letters is expected")
    return {"name": given["name"]}


@contextmanager
def _problems_named() -> Iterator[None]:
    try:
        yield
    except KeyPathError as problem:
        raise InputError(f"--definition: {problem}") from None
