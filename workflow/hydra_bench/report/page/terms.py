"""What each word on the page means, in a sentence or two: the measures, as registered, and some more."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from hydra_bench.contracts.metrics_file import MEASURES
from hydra_bench.contracts.reconstruction import EMPTY_TEXT


@dataclass(frozen=True)
class Term:
    """A word of the page and its meaning; `anchor` is its place in the page."""

    anchor: str
    name: str
    meaning: str


_OTHERS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8").replace("{empty}", EMPTY_TEXT))
TERMS = (
    *(Term(measure.column.replace("_", "-"), measure.label, measure.meaning) for measure in MEASURES),
    *(Term(**term) for term in _OTHERS),
)
