"""JSON files of a known form, whoever wrote them: every field is there and of its type, or one line names it."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json
from hydra_bench.core.json_values import Json

Record = TypeVar("Record")


def read_record(path: Path, kind: type[Record]) -> Record:
    """A file as a dataclass or a model of pydantic's. Raises InputError that names file and field."""
    return checked(read_json(path), kind, path)


def checked(content: Json, kind: type[Record], path: Path) -> Record:
    """The same of what was read from a file."""
    try:
        # In JSON's terms, in which a list may stand for a tuple.
        return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{key}: " for key in [".".join(map(str, first["loc"]))[:200]] if key)
        raise InputError(f"{path}: {where}{first['msg'][0].lower()}{first['msg'][1:200]}") from None
