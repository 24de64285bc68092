"""JSON schemas with defaults: checking, filling in, and saying in words what is allowed."""

import json
import math
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches

import jsonschema
import yaml

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json, JsonObject

_LARGEST_INTEGER = 2**63 - 1
"""Of either sign; every program takes such that one is handed on to."""
_LONGEST_TEXT = 4096
"""Of Linux's paths, the longest texts that there are."""
_LONGEST_NAME = 255
"""Of a file or folder, in bytes."""
_DEEPEST = 50
_MOST_SHOWN = 100
"""Characters of a value in an error message."""

Schema = JsonObject
KeyPath = tuple[str | int, ...]


class KeyPathError(Exception):
    """Something is wrong at a key. Becomes an InputError where the file that holds the key is known.

    `sought` is the key by which that file is found, where it is not the one that is named.
    """

    def __init__(self, path: KeyPath, problem: str, sought: KeyPath | None = None) -> None:
        super().__init__(path, problem, sought)
        self.path = path
        self.problem = problem
        self.sought = sought or path

    def __str__(self) -> str:
        """The key as text, dataset_definitions.demo.simulation.snr or seeds[0], and what is wrong there."""
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{_printable(part)}" for part in self.path)
        return f"{key.removeprefix('.') or 'the configuration'}: {self.problem}"


@contextmanager
def at_key(path: KeyPath) -> Iterator[None]:
    """Whatever InputError the block raises is wrong at this key: a KeyPathError, of one line."""
    try:
        yield
    except InputError as error:
        raise KeyPathError(path, " ".join(str(error).split())) from None


def filled(schema: Schema, content: Json, at: KeyPath = ()) -> Json:
    """A copy of the content with the schema's defaults, checked. Raises KeyPathError for the first thing wrong."""
    content = _with_defaults(schema, content, at)
    # Misspelt keys come first, since they are also why a required one is missing.
    found = jsonschema.Draft202012Validator(schema).iter_errors(content)
    errors = sorted(found, key=lambda e: (e.validator != "additionalProperties", [str(part) for part in e.path]))
    if errors:
        raise _explained(errors[0], at)
    return content


def _with_defaults(schema: Schema, content: Json, at: KeyPath) -> Json:
    _check_plain(schema, content, at)
    if isinstance(content, float):
        # JSON schema takes 64.0 for an integer, Python's range does not.
        return int(content) if schema.get("type") == "integer" and content.is_integer() else content
    if isinstance(content, list):
        return [_with_defaults(schema.get("items", {}), item, (*at, i)) for i, item in enumerate(content)]
    if not isinstance(content, dict):
        return content
    defaults = {key: value["default"] for key, value in schema.get("properties", {}).items() if "default" in value}
    content = deepcopy(defaults) | content
    # In the schema's order, so that the same definition written in another order is the same text as JSON.
    order = [key for key in schema.get("properties", {}) if key in content]
    order += [key for key in content if key not in order]
    return {key: _with_defaults(_inner(schema, key), content[key], (*at, key)) for key in order}


def _check_plain(schema: Schema, value: Json, at: KeyPath) -> None:
    """Raises KeyPathError for what no schema here allows, and JSON schema lets through or stumbles over.

    So it is wherever a configuration comes from: a file, Snakemake's reading of it, or its command line.
    """

    def refusal(what: str) -> KeyPathError:
        allowed = allowed_text(schema) if schema else "another value"  # which takes longer to say than to check
        return KeyPathError(at, f"{what} is not allowed; {allowed} is expected")

    if len(at) > _DEEPEST:
        raise KeyPathError(at[:3], f"more than {_DEEPEST} mappings and lists within each other are not allowed")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise refusal(f"{value}")
    elif isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            digits = value.bit_length() * 3 // 10
            raise refusal(f"an integer of about {digits} digits")
    elif isinstance(value, str):
        _check_text(value, at, "")
    elif isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise KeyPathError(at, f"the key {key!r} is not allowed; a text is expected: put it in quotes")
            _check_text(key, (*at, key), "the key ")
    elif value is not None and not isinstance(value, list):
        raise refusal(f"a {type(value).__name__}")


def _check_text(text: str, at: KeyPath, what: str) -> None:
    """Names, labels and paths end up in file names, commands, tables and pages, each of a line."""
    if len(text) > _LONGEST_TEXT:
        raise KeyPathError(at, f"{what}{_shown(text)} is not allowed; at most {_LONGEST_TEXT} characters are expected")
    if max(len(part.encode(errors="replace")) for part in text.split("/")) > _LONGEST_NAME:
        raise KeyPathError(
            at, f"{what}{_shown(text)} is not allowed; at most {_LONGEST_NAME} bytes in a row are expected"
        )
    if _printable(text) != text:
        raise KeyPathError(at, f"{what}{_shown(text)} is not allowed; one line without control characters is expected")


def _printable(text: str) -> str:
    """A text without what is no character: controls, ends of lines, halves of a pair of surrogates."""
    return "".join(
        character if unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") else f"\\x{ord(character):02x}"
        for character in text
    )


def _inner(schema: Schema, key: str) -> Schema:
    """The schema of a key of a mapping; empty if the mapping has no such key."""
    others = schema.get("additionalProperties")
    inner: Schema = schema.get("properties", {}).get(key, others if isinstance(others, dict) else {})
    return inner


def _explained(error: jsonschema.ValidationError, at: KeyPath) -> KeyPathError:
    path = (*at, *error.path)
    schema: Json = error.schema
    value: Json = error.instance
    if "propertyNames" in error.schema_path:
        return KeyPathError(path, f"{_shown(value)} is not allowed; {allowed_text(schema)} is expected", (*path, value))
    required: Json = error.validator_value
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = next(key for key in value if key not in known)
        allowed = f"allowed are {', '.join(known)}{nearest(str(unknown), known)}"
        return KeyPathError((*path, unknown), f"unknown key; {allowed}")
    if error.validator == "required":
        missing = next(key for key in required if key not in value)
        return KeyPathError((*path, missing), f"is missing; {allowed_text(schema['properties'][missing])} is expected")
    return KeyPathError(path, f"{_shown(value)} is not allowed; {allowed_text(schema)} is expected")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known name that was probably meant, if one is near."""
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def check_name(name: str, allowed: Iterable[str], path: KeyPath, what: str) -> None:
    """Raises KeyPathError for a name that is none of those allowed, which `what` says in words."""
    names = list(allowed)
    if name not in names:
        known = ", ".join(names) or "none there"
        raise KeyPathError(path, f"unknown name {name!r}; {what} is expected: {known}{nearest(name, names)}")


def allowed_text(schema: Schema) -> str:
    """What a schema allows, in words."""
    if "allowed" in schema:
        return str(schema["allowed"])
    if "enum" in schema:
        return "one of " + ", ".join(map(_shown, schema["enum"]))
    if "const" in schema:
        return _shown(schema["const"])
    if "oneOf" in schema:
        return " or ".join(map(allowed_text, schema["oneOf"]))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_KINDS[kind](schema) for kind in kinds)


def _shown(value: Json) -> str:
    """A value as YAML writes it, the beginning of a long one."""
    text = _as_yaml(value)
    if "\n" in text:  # YAML writes a text of several lines so
        text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _as_yaml(value: Json) -> str:
    """A value on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).removesuffix("\n").removesuffix("\n...")


def _number_text(noun: str, schema: Schema) -> str:
    bounds = (("exclusiveMinimum", "above {}"), ("minimum", "at least {}"), ("maximum", "at most {}"))
    limits = [text.format(schema[key]) for key, text in bounds if key in schema]
    even = "an even integer" if schema.get("multipleOf") == 2 else noun
    return f"{even} {' and '.join(limits)}".strip()


def _list_text(schema: Schema) -> str:
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    length = f" of {fewest}" if fewest == most else f" of {fewest} or more" if fewest else ""
    different = " and all different" if schema.get("uniqueItems") else ""
    return f"a list{length}, each {allowed_text(schema['items'])}{different}"


def _mapping_text(schema: Schema) -> str:
    keys = ", ".join(schema.get("properties", {}))
    if keys:
        return f"a mapping with the keys {keys}"
    return "a mapping of names to definitions" if "additionalProperties" in schema else "a mapping"


_KINDS = {
    "integer": lambda schema: _number_text("an integer", schema),
    "number": lambda schema: _number_text("a number", schema),
    "string": lambda schema: "a text",
    "boolean": lambda schema: "true or false",
    "null": lambda schema: "null",
    "array": _list_text,
    "object": _mapping_text,
}


def keys(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """Every key below a schema as (path, its schema, whether it is required); <name> stands for a free name."""
    inner = [(key, value, key in schema.get("required", [])) for key, value in schema.get("properties", {}).items()]
    if isinstance(schema.get("additionalProperties"), dict):
        inner.append(("<name>", schema["additionalProperties"], False))
    inner += [("", choice, False) for choice in schema.get("oneOf", [])]
    for key, value, required in inner:
        below = ".".join(filter(None, (path, key)))
        if key not in ("", "<name>"):
            yield below, value, required
        yield from keys(value, below)
    if "items" in schema:
        yield from keys(schema["items"], f"{path}[]")


def markdown_table(schema: Schema, path: str = "") -> str:
    """A table of every key of a schema: what is allowed, its default, what it is."""
    lines = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    for key, value, required in keys(schema, path):
        # `default_text` says what stands behind a default of null.
        known = value.get("default_text", _as_yaml(value["default"]) if "default" in value else "")
        default = "required" if required else f"`{known}`" if known else ""
        text = " | ".join((f"`{key}`", allowed_text(value), default, value["description"]))
        lines.append(f"| {text} |")
    return "\n".join(lines) + "\n"
