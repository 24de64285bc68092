"""Names for what YAML and JSON files hold: configurations, definitions, parameters, notes, records."""

from typing import Any, TypeAlias

Json: TypeAlias = Any  # what is in it, a schema or a contract says, which no checker of types can read
"""Any value of them."""
JsonObject: TypeAlias = dict[str, Json]
"""A mapping of them, or a record on its way into one."""
