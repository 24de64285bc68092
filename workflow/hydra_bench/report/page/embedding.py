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

from markupsafe import Markup

_HERE = Path(__file__).parent
_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".csv": "text/csv", ".md": "text/markdown"}
SCRIPTS = ("unpack.js", "colours.js", "table.js", "costs.js", "charts.js", "latents.js", "viewer.js", "main.js")
"""The page's own code in the order in which it is read."""


def data_uri(path: Path) -> str:
    """A file as a data URI."""
    media = _MEDIA_TYPES.get(path.suffix, "text/plain")
    return f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}"


def packed(text: str) -> str:
    """Text as gzip in base64; the same text gives the same bytes."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def packed_json(content: Any) -> str:
    return packed(json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False))


def plotly() -> str:
    """plotly.js, which draws the charts and the 3-D view, packed."""
    return packed((resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8"))


def datatables() -> str:
    """DataTables, which sorts and filters tables, packed, as the module that itables ships."""
    return packed((resources.files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8"))


def own_script() -> Markup:
    """The page's own code."""
    return Markup("\n".join((_HERE / "js" / name).read_text() for name in SCRIPTS))


def own_style() -> Markup:
    return Markup((_HERE / "page.css").read_text())
