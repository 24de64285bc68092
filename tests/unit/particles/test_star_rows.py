"""STAR rows as text: what is not changed stays to the letter, however it is written."""

from pathlib import Path

import pytest

from hydra_bench.core.errors import InputError
from hydra_bench.particles.star_rows import quoted, read_star_rows, unquoted

TEXT = """# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
1 "Krios 1"

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnDefocusU #3
  000001@5'utr/grid#1.mrcs   'a b.mrc'   1.20e+04 # said by hand

000002@x.mrcs "it's"	 12000.000000

data_more
loop_
_a
1
"""


def test_words_are_kept_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    path.write_text(TEXT)
    rows = read_star_rows(path)
    assert rows.columns == ("rlnImageName", "rlnMicrographName", "rlnDefocusU")
    assert rows.column("rlnImageName") == ["000001@5'utr/grid#1.mrcs", "000002@x.mrcs"]
    assert rows.column("rlnMicrographName") == ["a b.mrc", "it's"]
    assert rows.has_optics
    rows.take([1, 0]).with_columns({"rlnClassNumber": ["1", "2"]}).write(tmp_path / "q.star")
    text = (tmp_path / "q.star").read_text()
    assert "000002@x.mrcs \"it's\" 12000.000000 1\n000001@5'utr/grid#1.mrcs 'a b.mrc' 1.20e+04 2\n" in text
    assert '_rlnOpticsGroupName #2\n1 "Krios 1"\n' in text
    assert text.endswith("data_more\nloop_\n_a\n1\n")
    assert read_star_rows(tmp_path / "q.star").take([1, 0]).rows[0][:3] == rows.rows[0]


@pytest.mark.parametrize("word", ["plain", "two words", "it's", '"quoted', "#1", "", "_x", "a'b c"])
def test_quoting(word: str) -> None:
    assert unquoted(quoted(word)) == word


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    path.write_text(TEXT.replace("12000.000000", ""))
    with pytest.raises(InputError, match="line 18 has 2 words; data_particles has 3 columns"):
        read_star_rows(path)
    path.write_text("data_other\nloop_\n_a\n1\n")
    with pytest.raises(InputError, match="no data_particles table"):
        read_star_rows(path)
