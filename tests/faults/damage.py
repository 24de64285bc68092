"""Damaged versions of a file's bytes: cut, flipped, zeroed, with other words in them, of another kind; by a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

WORDS = (
    *(b"nan", b"inf", b"-inf", b"-1", b"0", b"1.5", b"1e400", b"-1e30", b"9" * 400, b"9223372036854775808"),
    *(b"", b"abc", b"?", b"<NA>", b"null", b"true", b"[]", b"{}", b"../../x", b"x" * 5000),
    *(b"\x00", b"\xff\xfe", "Å…é".encode()),
)
"""What stands in the place of a number or a name of a text."""
KINDS = {"cut": 7, "flipped": 8, "zeroed": 4, "words": 12}
"""How many of each there are of a file."""


def damaged(content: bytes, seed: str) -> Iterator[tuple[str, bytes]]:
    """Versions of a file, each with what was done to it."""
    draw = random.Random(seed)
    for number in range(KINDS["cut"]):
        length = 0 if number == 0 else draw.randrange(len(content))
        yield f"cut to {length} bytes", content[:length]
    for _ in range(KINDS["flipped"]):
        # The beginning says most, of binary files.
        end = draw.choice((64, 1100, len(content)))
        bits = [draw.randrange(8 * min(end, len(content))) for _ in range(draw.choice((1, 1, 2, 10)))]
        flipped = bytearray(content)
        for bit in bits:
            flipped[bit // 8] ^= 1 << bit % 8
        yield f"bits {bits} flipped", bytes(flipped)
    for _ in range(KINDS["zeroed"]):
        start = draw.randrange(len(content))
        length = draw.choice((1, 16, 512, 4096))
        yield (
            f"{length} bytes from {start} on zeroed",
            content[:start] + bytes(len(content[start:][:length])) + content[start + length :],
        )
    words = list(re.finditer(rb"[\w.+-]+", content))
    for _ in range(KINDS["words"]):
        word, other = draw.choice(words), draw.choice(WORDS)
        yield (
            f"{word[0][:40]!r} at {word.start()} is {other[:40]!r}",
            content[: word.start()] + other + content[word.end() :],
        )
