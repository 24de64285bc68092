"""What the page carries inside: other people's libraries, data and pictures, so that it needs no other file.

Text is packed, gzip in base64, which browsers unpack by themselves (DecompressionStream): a third of the size.
"""

import base64
import gzip
import hashlib
import io
import json
import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import mrcfile
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from hydra_bench.core.json_values import Json, JsonObject

_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".csv": "text/csv", ".md": "text/markdown"}
SIDE_PX = 32
"""Of a thumbnail."""
_SMOOTHING_A = 10.0
_PERCENTILES = (0.5, 99.5)
_COLUMNS = 50
_QUALITY = 45


def data_uri(path: Path) -> str:
    """A file as a data URI."""
    media = _MEDIA_TYPES.get(path.suffix, "text/plain")
    return f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}"


def packed(text: str) -> str:
    """Text as gzip in base64; the same text gives the same bytes."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def packed_json(content: Json) -> str:
    return packed(json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False))


def library(package: str, path: str) -> str:
    """Somebody else's script, as a Python package ships it."""
    return (resources.files(package) / path).read_text(encoding="utf-8")


def content_policy(scripts: Sequence[str]) -> str:
    """What a browser lets the page do: run these scripts and no other, by their checksums, and load nothing.

    Labels, reasons and names come from files of others. They are escaped where they are written; were that forgotten
    once, what they held would still not run. A script that is unpacked on the way comes as a blob, which nothing but a
    script can make. Plotly writes styles as it draws.
    """
    sums = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{checksum}'" for checksum in sums)
    return (
        f"default-src 'none'; script-src {allowed} blob:; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; base-uri 'none'; form-action 'none'"
    )


def encoded(values: np.ndarray) -> str:
    """An array's bytes in base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def sprite(stack: Path, particles: np.ndarray, pixel_size_A: float) -> JsonObject | None:
    """The images of some particles (0-based numbers), smoothed, side by side in one JPEG; None without a stack."""
    if not stack.is_file() or not len(particles):
        return None
    rows = math.ceil(len(particles) / _COLUMNS)
    sheet = np.zeros((rows * SIDE_PX, _COLUMNS * SIDE_PX), np.uint8)
    with mrcfile.mmap(stack, mode="r", permissive=False) as mrc:
        for place, particle in enumerate(particles):
            row, column = divmod(place, _COLUMNS)
            image = _small(np.array(mrc.data[particle], dtype=np.float32), pixel_size_A)
            sheet[row * SIDE_PX : (row + 1) * SIDE_PX, column * SIDE_PX : (column + 1) * SIDE_PX] = image
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=_QUALITY)
    source = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return {"source": source, "side": SIDE_PX, "columns": _COLUMNS, "smoothing_A": _SMOOTHING_A}


def _small(image: np.ndarray, pixel_size_A: float) -> np.ndarray:
    """An image (D, D) as grey values (SIDE_PX, SIDE_PX), y upwards as in the other pictures."""
    smooth = gaussian_filter(image, _SMOOTHING_A / pixel_size_A)
    if len(smooth) > SIDE_PX:
        smooth = np.asarray(Image.fromarray(smooth).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))
    low, high = np.percentile(smooth, _PERCENTILES)
    grey = np.clip((smooth - low) / max(high - low, 1e-12), 0, 1)
    picture = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    picture[: len(grey), : len(grey)] = np.round(255 * grey[::-1])
    return picture
