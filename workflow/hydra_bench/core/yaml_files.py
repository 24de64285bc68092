"""YAML files, of which none may repeat a key: the clone's schemas, and definitions as sub-commands are given them."""

import json
from functools import cache
from pathlib import Path

import yaml

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.schema import Schema


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Json, Json]:
        keys = [key.value for key, _ in node.value]
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            raise yaml.constructor.ConstructorError(None, None, f"key {repeated!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | str) -> Json:
    """Read one YAML file. Raises InputError if it is missing, is not YAML or repeats a key."""
    try:
        return yaml.load(Path(path).read_text(), Loader=_Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable YAML ({' '.join(str(error).split())})") from None


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


def read_definition(text: str) -> Definition:
    """A definition given as JSON text, or as the path of a YAML or JSON file. Raises InputError."""
    if not text.lstrip().startswith("{"):
        text = json.dumps(read_yaml(text))
    try:
        definition = json.loads(text, object_hook=Definition)
    except ValueError as error:
        raise InputError(f"--definition: not JSON ({error})") from None
    if not isinstance(definition, Definition):
        raise InputError(f"--definition: {text}: a mapping of keys to values is expected")
    return definition
