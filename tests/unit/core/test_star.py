"""STAR files as other programs write them: values with # and ', comments, blocks without a loop, odd lines."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hydra_bench.core.errors import InputError
from hydra_bench.core.star import read_star, write_star


def read(tmp_path: Path, text: str, **options: bool) -> dict[str, pd.DataFrame]:
    (tmp_path / "t.star").write_bytes(text.encode())
    return read_star(tmp_path / "t.star", **options)


@pytest.mark.parametrize(
    "name",
    [
        "1@grid#1.mrcs",
        "1@5'utr.mrcs",
        "1@it's#2.mrcs",
        'a"b.mrcs',
        "data_2/m.mrcs",
        "µ.mrcs",
        "1@x.mrc:mrcs",
        "loop_2/m",
    ],
)
def test_values_are_what_is_written(tmp_path: Path, name: str) -> None:
    text = f"data_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n{name} 1.5 \n2@b.mrcs 2\n"
    table = read(tmp_path, text)["particles"]
    assert table["rlnImageName"].tolist() == [name, "2@b.mrcs"]
    assert table["rlnDefocusU"].tolist() == [1.5, 2.0]
    write_star(tmp_path / "u.star", {"particles": table})
    pd.testing.assert_frame_equal(read_star(tmp_path / "u.star")["particles"], table)


def test_comments_quotes_and_blocks_without_a_loop(tmp_path: Path) -> None:
    text = """\ufeff# version 30001

data_general # of all

_rlnSmth   'two words'
_rlnNumber 3

data_optics
loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup     #2

"group one" 1 # the first
# nothing
'it''s two' 2

data_empty
loop_
_rlnX
data_nothing
"""
    blocks = read(tmp_path, text.replace("\n", "\r\n"))
    assert list(blocks) == ["general", "optics", "empty"]
    assert blocks["general"].to_dict("list") == {"rlnSmth": ["two words"], "rlnNumber": [3]}
    assert blocks["optics"]["rlnOpticsGroupName"].tolist() == ["group one", "it''s two"]
    assert blocks["optics"]["rlnOpticsGroup"].tolist() == [1, 2]
    assert len(blocks["empty"]) == 0
    assert list(blocks["empty"].columns) == ["rlnX"]


def test_text_stays_as_it_is_written(tmp_path: Path) -> None:
    text = "data_\nloop_\n_rlnGroupName\n_rlnX\n0012 1.50\n0013 nan\n"
    assert read(tmp_path, text, as_text=True)[""].values.tolist() == [["0012", "1.50"], ["0013", "nan"]]
    numbers = read(tmp_path, text)[""]
    assert numbers["rlnGroupName"].tolist() == [12, 13]
    np.testing.assert_array_equal(numbers["rlnX"], [1.5, np.nan])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data_p\nloop_\n_a\n_b\n1 2\n3\n", "data_p: row 2 .line 5 on. has 1 values; 2, one a column, are expected"),
        ("data_p\nloop_\n_a\n_b\n1 2\n3 4 5\n", "data_p: row 2 .* has 3 values; 2"),
        ("data_p\nloop_\n_a\n_b\n1 2 3\n3 4 5\n", "data_p: row 1 .* has 3 values; 2"),
        ("data_p\nloop_\n_a\n_b\n'1 2' 3 4\n", "data_p: row 1 .* has 3 values; 2"),
        ("data_p\n_a\n_b 2\n", "data_p: row 1 .* has 1 values; 2"),
        ("data_p\nloop_\n_a\n1\ndata_p\nloop_\n_a\n1\n", "data_p is there twice"),
        ("data_p\nloop_\n_a\n1\nloop_\n_a\n1\n", "data_p holds a second table in line 5"),
        ("hello", "holds no STAR table"),
    ],
)
def test_files_that_are_not_whole_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
