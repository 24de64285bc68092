"""What the page carries inside: other people's libraries, data and pictures, so that it needs no other file.

Text is packed, gzip in base64, which browsers unpack by themselves (DecompressionStream): a third of the size.
"""

from __future__ import annotations

import base64
import gzip
import json
from importlib import resources
from pathlib import Path
from typing import Any

_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".csv": "text/csv", ".md": "text/markdown"}


def data_uri(path: Path) -> str:
    """A file as a data URI."""
    media = _MEDIA_TYPES.get(path.suffix, "text/plain")
    return f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}"


def packed(text: str) -> str:
    """Text as gzip in base64; the same text gives the same bytes."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def packed_json(content: Any) -> str:
    return packed(json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False))


def packed_library(package: str, path: str) -> str:
    """Somebody else's script, as a Python package ships it, packed."""
    return packed((resources.files(package) / path).read_text(encoding="utf-8"))
