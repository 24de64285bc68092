"""Texts of somebody's, such as labels and reasons, that stand in a table as they are."""

import re
import unicodedata

_HALVES = range(0xD800, 0xE000)
"""Halves of a pair of surrogates, which no text in UTF-8 has."""


def plain(text: str) -> str:
    """A text as it is in Markdown: no markup, no HTML, on one line.

    An underscore within a word is none of markup.
    """
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def one_line(text: str) -> str:
    """Without ends of lines, and without other characters that are none to be printed."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text if ord(c) not in _HALVES)
