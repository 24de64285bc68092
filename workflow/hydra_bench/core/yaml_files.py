"""YAML files, read by one careful reader: the clone's schemas, configurations, definitions given to sub-commands.

What comes out is what JSON could hold. A file may not repeat a key, of which PyYAML would silently keep the last;
not contain itself; and not be larger, counting what its aliases stand for each time, than a configuration can need:
of nine lines, each of ten aliases to the one before, a billion values would come.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.reading import read_text
from hydra_bench.core.schema import Schema

_MOST_BYTES = 8 << 20
_MOST_JSON_BYTES = 64 << 20
"""Of a definition of thousands of species with every default written out."""
_MOST_VALUES = 50_000
"""Thousands of species. It takes two seconds to read so many."""
_DEEPEST = 50
"""Mappings and lists within each other; the deepest key of a configuration is ten down."""
_LONGEST_NUMBER = 100
_JSON_TAGS = [f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")]


class _Loader(yaml.SafeLoader):
    """As the module says. What is wrong becomes a YAMLError that names line and column."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._values = self._depth = 0
        self._values_in: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._values
        self._values += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _refusal(f"more than {_DEEPEST} mappings and lists within each other", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent) and node is not None:
            if node not in self._values_in:
                raise _refusal(f"*{event.anchor} is in what it stands for", event)
            self._values += self._values_in[node]
        elif node is not None:
            self._values_in[node] = self._values - before
        if self._values > _MOST_VALUES:
            raise _refusal(f"more than {_MOST_VALUES:,} values, aliases counted as what they stand for", event)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Json, Json]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise _refusal(f"key {key.value!r} is there twice", key)
            seen.add(key.value if isinstance(key.value, str) else id(key))
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Json:
        is_number = node.tag.endswith((":int", ":float"))
        if is_number and len(node.value) > _LONGEST_NUMBER:
            raise _refusal(f"a number of {len(node.value)} characters", node)
        return super().construct_scalar(node)


def _refusal(problem: str, at: yaml.Event | yaml.Node) -> yaml.MarkedYAMLError:
    mark: Any = at.start_mark  # of one of two classes, of which the stubs know one
    return yaml.MarkedYAMLError(None, None, problem, mark)


# Dates stay texts, and sets, pairs and bytes are refused, none of which JSON has.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag in _JSON_TAGS
}


def parse_yaml(text: str) -> Json:
    """What a text says. Raises ValueError with the reason on one line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).replace('in "<unicode string>", ', "in ").split())) from None
    # What PyYAML raises where a tag and its value do not fit, !!bool maybe, or a number has no digits, 0b_.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a value is not what its tag says: {error}") from None


def read_yaml(path: Path | str) -> Json:
    """Read one YAML file. Raises InputError if it is missing or not as the module says."""
    text = read_text(path, _MOST_BYTES)
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise InputError(f"{path}: not readable YAML ({error})") from None


@cache
def read_schema(path: Path) -> Schema:
    """Read a schema of the clone. Raises InputError where it is not there."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; install hydra-bench from a clone, with `pip install -e .`")
    schema: Schema = read_yaml(path)
    return schema


class Definition(JsonObject):
    """A mapping of a definition; a key that is asked for and not there is the user's mistake."""

    def __missing__(self, key: str) -> Json:
        raise InputError(f"--definition: lacks the key {key!r}; there are {', '.join(self) or 'none'}")


def read_definition(text: str, option: str = "--definition") -> Definition:
    """What an option is given: JSON text, or the path of a YAML or JSON file. Raises InputError."""
    where = option if _is_json(text) else text
    content = text if _is_json(text) else _json_of_file(text)
    try:
        definition = json.loads(content, object_pairs_hook=_mapping)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error})") from None
    if not isinstance(definition, Definition):
        raise InputError(f"{option}: {text[:200]}: a mapping of keys to values is expected")
    return definition


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _json_of_file(path: str) -> str:
    """A file as JSON; one that is JSON already, which the workflow writes, may have more values than a person's."""
    return read_text(path, _MOST_JSON_BYTES) if path.endswith(".json") else json.dumps(read_yaml(path))


def _mapping(pairs: list[tuple[str, Json]]) -> Definition:
    mapping = Definition()
    for name, value in pairs:
        if name in mapping:
            raise ValueError(f"key {name[:100]!r} is there twice")
        mapping[name] = value
    return mapping
