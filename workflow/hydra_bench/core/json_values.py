"""Names for what YAML and JSON files hold: configurations, definitions, parameters, notes, records."""

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""Any value of them. It stays `Any`, since a schema or a contract says what it is, which a checker cannot read."""
JsonObject: TypeAlias = dict[str, Json]
"""A mapping of them, or a record on its way into one."""
