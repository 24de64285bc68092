"""What is made from settings.py: the schema of Hydra's parameters, its list on the command line, the documents' table.

`make generated` runs this module, which writes the schema that the workflow checks configurations against (it must
not import pydantic) and the table of the presets in docs/explanation/how-hydra-works.md; a test fails where those
differ.
"""

import textwrap
from collections.abc import Iterator

import yaml

from hydra_bench.core.clone import CLONE
from hydra_bench.core.files import write_text
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.schema import Schema, allowed_text
from hydra_bench.methods.hydra.settings import PRESETS, described

SCHEMA_PATH = CLONE / "workflow" / "methods" / "hydra" / "params.schema.yaml"
DOCUMENT_PATH = CLONE / "docs" / "explanation" / "how-hydra-works.md"

_HEADER = """\
# Parameters of the program `hydra`, under method_definitions.<name>.parameters.
# Made by `make generated` from workflow/hydra_bench/methods/hydra/settings.py; not to be changed by hand.
"""
_BEGIN, _END = "<!-- Made by `make generated` from settings.py. -->\n", "<!-- To here. -->\n"

_IDENTIFYING = ("classes", "latent_dim")
"""Settings whose default is filled into a definition, and so is part of a run's identity; null leaves the others to
the preset."""


def parameter_schema() -> Schema:
    """The JSON schema of a definition's parameters: the preset, and every setting, null for what the preset has."""
    properties = {name: _property(name, content) for name, content in described().items()}
    preset = {
        "description": "Named set of settings; null takes fast, or many for more than five classes "
        "(docs/explanation/how-hydra-works.md says what each is for).",
        "enum": [*PRESETS, None],
        "default": None,
    }
    # In the order of a definition, which the preset stands in, too.
    first = {name: properties[name] for name in _IDENTIFYING}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Hydra",
        "type": "object",
        "additionalProperties": False,
        "properties": first | {"preset": preset} | properties,
    }


def _property(name: str, content: JsonObject) -> Schema:
    """One setting in the forms that core.schema puts into words."""
    kinds, defaults = _kinds(content), {"default": content["default"]}
    if name not in _IDENTIFYING:
        first = kinds[0]
        kinds[0] = {"enum": [*first["enum"], None]} if "enum" in first else {**first, "type": [first["type"], "null"]}
        defaults = {"default": None, "default_text": default_text(name)}
    allowed = kinds[0] if len(kinds) == 1 else {"oneOf": kinds}
    return {"description": " ".join(content["description"].split()), **allowed, **defaults}


def _kinds(content: JsonObject) -> list[Schema]:
    return [_kind(kind) for kind in content.get("anyOf", [content]) if kind.get("type") != "null"]


def _kind(content: JsonObject) -> Schema:
    if "enum" in content:
        return {"enum": content["enum"]}
    known = ("type", "minimum", "exclusiveMinimum", "maximum", "items", "minItems", "maxItems")
    kind = {key: content[key] for key in known if key in content}
    return {**kind, "items": content["prefixItems"][0]} if "prefixItems" in content else kind


def values_by_preset(name: str) -> dict[str, str]:
    """Preset -> a setting's value as YAML; only the first preset, whose are the defaults, and those that differ."""
    first, *others = PRESETS
    default = _shown(described()[name]["default"])
    changed = {preset: _shown(PRESETS[preset][name]) for preset in others if name in PRESETS[preset]}
    return {first: default} | {preset: value for preset, value in changed.items() if value != default}


def default_text(name: str) -> str:
    """A setting's real default, and the presets that have another one: 2; many 4; paper 0."""
    default, *others = values_by_preset(name).items()
    return "; ".join([default[1], *(f"{preset} {value}" for preset, value in others)])


def _shown(value: object) -> str:
    """A value as YAML writes it in one line."""
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def schema_text() -> str:
    return _HEADER + yaml.safe_dump(
        parameter_schema(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )


def listing() -> str:
    """The presets and all settings for a terminal: name, default and presets, what it is, what is allowed."""
    presets = f"Presets: {', '.join(PRESETS)}. Defaults are those of {next(iter(PRESETS))}, then those that differ."
    return "\n".join([presets, "", *(_listed(name, content) for name, content in described().items())])


def _listed(name: str, content: JsonObject) -> str:
    allowed = " or ".join(map(allowed_text, _kinds(content)))
    about = f"{' '.join(content['description'].split())} Allowed: {allowed}."
    return f"{name}: {default_text(name)}\n{textwrap.fill(about, 100, initial_indent='    ', subsequent_indent='    ')}"


def _table_lines() -> Iterator[str]:
    yield f"| setting | {' | '.join(PRESETS)} |"
    yield "|---" * (len(PRESETS) + 1) + "|"
    for name in described():
        values = values_by_preset(name)
        cells = [f"`{values[preset]}`" if preset in values else "" for preset in PRESETS]
        yield f"| `{name}` | {' | '.join(cells)} |"


def document_text(document: str) -> str:
    """A document with its table of settings written anew between the two marks."""
    before, _, rest = document.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return before + _BEGIN + "\n" + "\n".join(_table_lines()) + "\n\n" + _END + after


if __name__ == "__main__":
    write_text(SCHEMA_PATH, schema_text())
    write_text(DOCUMENT_PATH, document_text(DOCUMENT_PATH.read_text()))
