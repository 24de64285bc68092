"""STAR rows as text: what is not changed stays to the letter, however it is written."""

from pathlib import Path

import numpy as np
import pytest

from hydra_bench.core.errors import InputError
from hydra_bench.core.star import read_star
from hydra_bench.particles.star_rows import quoted, read_star_rows

TEXT = """# version 30001

data_optics
_rlnOpticsGroup 1
_rlnOpticsGroupName "Krios 1"

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


def test_values_are_kept_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    path.write_text(TEXT)
    rows = read_star_rows(path)
    assert rows.columns == ["rlnImageName", "rlnMicrographName", "rlnDefocusU"]
    assert rows.particles["rlnMicrographName"].tolist() == ["a b.mrc", "it's"]
    assert rows.has_optics
    rows.take(np.array([1, 0])).with_columns({"rlnClassNumber": ["1", "2"]}).write(tmp_path / "q.star")
    text = (tmp_path / "q.star").read_text()
    assert "000002@x.mrcs it's 12000.000000 1\n000001@5'utr/grid#1.mrcs \"a b.mrc\" 1.20e+04 2\n" in text
    found = read_star(tmp_path / "q.star", as_text=True)
    assert list(found) == ["optics", "particles", "more"]
    assert found["optics"].to_numpy().tolist() == [["1", "Krios 1"]]
    assert found["particles"].iloc[::-1, :3].to_numpy().tolist() == rows.particles.to_numpy().tolist()


@pytest.mark.parametrize("value", ["plain", "two words", "it's", '"quoted', "#1", "_x", "a'b c", "5'utr#1"])
def test_quoting(value: str, tmp_path: Path) -> None:
    (tmp_path / "p.star").write_text(f"data_\nloop_\n_a\n_b\n{quoted(value)} 1\n")
    assert read_star(tmp_path / "p.star", as_text=True)[""].to_numpy().tolist() == [[value, "1"]]


def test_a_file_without_particles(tmp_path: Path) -> None:
    (tmp_path / "p.star").write_text("data_other\nloop_\n_a\n1\n")
    with pytest.raises(InputError, match="no data_particles table"):
        read_star_rows(tmp_path / "p.star")
