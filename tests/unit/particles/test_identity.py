"""Which row of one file is which row of another: right, or refused, whatever the folders, suffixes and prefixes."""

from __future__ import annotations

import numpy as np
import pytest

from hydra_bench.core.errors import InputError
from hydra_bench.particles.identity import ImageNames, find_images, match_images

UID_A, UID_B = "000111222333444555666", "000111222333444555777"


def names(*images: str, where: str = "own.star", uids: list[int] | None = None) -> ImageNames:
    """Of rows named `number@file`, from 1."""
    numbers, files = zip(*(image.split("@") for image in images), strict=True)
    unique = {file: number for number, file in enumerate(dict.fromkeys(files))}
    return ImageNames(
        where,
        tuple(unique),
        np.array([unique[file] for file in files]),
        np.array([int(number) - 1 for number in numbers]),
        None if uids is None else np.array(uids, dtype=np.uint64),
    )


@pytest.mark.parametrize(
    ("own", "other", "rows"),
    [
        # Folders have moved, or are told from elsewhere.
        (["1@a.mrcs", "2@a.mrcs"], ["2@x/y/a.mrcs", "1@x/y/a.mrcs"], [1, 0]),
        (["1@/data/s1/M/a.mrcs", "1@/data/s2/M/a.mrcs"], ["1@s2/M/a.mrcs", "1@s1/M/a.mrcs"], [1, 0]),
        (["1@/new/s1/a.mrcs", "1@/new/more/s2/a.mrcs"], ["1@/old/more/s2/a.mrcs", "1@/old/s1/a.mrcs"], [1, 0]),
        (["1@./s1/../s2/a.mrcs"], ["1@s2/a.mrcs"], [0]),
        # Of two files of one name the one that shares more of its path; the other is none.
        (["1@s1/a.mrcs", "1@s2/a.mrcs"], ["1@s2/a.mrcs"], [-1, 0]),
        (["1@s1/a.mrcs", "1@s1/b.mrcs"], ["1@s1/b.mrcs", "1@s2/a.mrcs"], [-1, 0]),
        (["1@j1/M/a.mrcs", "1@j1/M/b.mrcs"], ["1@j2/M/b.mrcs", "1@j1/M/a.mrcs"], [1, -1]),
        # Suffixes, and cryoSPARC's prefix.
        (["1@s1/a.mrc", "1@s2/a.mrc"], ["1@s2/a.mrcs:mrcs", "1@s1/a.mrc:mrcs"], [1, 0]),
        (["1@a.mrc", "1@a.mrcs"], ["1@a.mrcs", "1@a.mrc"], [1, 0]),
        (["1@particles.mrcs"], [f"1@J1/imported/{UID_A}_particles.mrc"], [0]),
        ([f"1@J1/{UID_A}_m.mrc", f"1@J1/{UID_B}_m.mrc"], [f"1@J2/{UID_B}_m.mrc", f"1@J2/{UID_A}_m.mrc"], [1, 0]),
        # No prefix: a time of day in front of the name.
        (["1@20210304123456789_a.mrc", "1@20210304123456790_a.mrc"], ["1@20210304123456790_a.mrcs"], [-1, 0]),
    ],
)
def test_images_are_found_by_the_longest_tail_that_is_unique(own: list[str], other: list[str], rows: list[int]) -> None:
    assert find_images(names(*own), names(*other, where="other.star")).tolist() == rows


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        (
            ["1@s1/a.mrcs", "1@s2/a.mrcs"],
            ["1@a.mrcs"],
            "a.mrcs could be s1/a.mrcs or s2/a.mrcs of own.star",
        ),
        (
            ["1@s1/M/a.mrcs"],
            ["1@s2/M/a.mrcs", "1@s3/M/a.mrcs"],
            "s1/M/a.mrcs could be s2/M/a.mrcs or s3/M/a.mrcs of",
        ),
        ([f"1@J1/{UID_A}_m.mrc", f"1@J1/{UID_B}_m.mrc"], ["1@m.mrcs"], "other.star: m.mrcs could be J1/0001"),
        (
            ["1@a.mrcs"],
            ["1@b.mrcs"],
            r"names no image of own.star \(image 1 of b.mrcs, not image 1 of a",
        ),
        (["1@a.mrcs"], ["1@a.mrcs", "1@./a.mrcs"], "other.star: image 1 of ./a.mrcs is there twice, again in row 2"),
        (
            ["1@s1/a.mrcs", "1@s1/a.mrcs"],
            ["1@s1/a.mrcs"],
            "own.star: image 1 of s1/a.mrcs is there twice",
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused(own: list[str], other: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        find_images(names(*own), names(*other, where="other.star"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("uids", "theirs", "other", "rows"),
    [
        ([7, 8, 9], [9, 7, 8], ["1@x.mrc", "2@x.mrc", "3@x.mrc"], [1, 2, 0]),  # restacked: other files, the same uids
        ([7, 8, 9], [9, 7], ["1@x.mrc", "2@x.mrc"], [1, -1, 0]),  # a selection of them
        ([7, 8, 9], [1, 2, 3], ["3@a.mrc", "2@a.mrc", "1@a.mrc"], [2, 1, 0]),  # imported anew: names tell
        ([7, 8, 9], [9, 1, 2], ["3@a.mrc", "1@a.mrc", "4@a.mrc"], [1, -1, 0]),  # some of them, and others
        ([7, 8, 9], None, ["3@a.mrc", "1@a.mrc"], [1, -1, 0]),
    ],
)
def test_uids_go_before_names_where_they_cover_the_rows(
    uids: list[int], theirs: list[int] | None, other: list[str], rows: list[int]
) -> None:
    own = names("1@a.mrcs", "2@a.mrcs", "3@a.mrcs", uids=uids)
    assert find_images(own, names(*other, uids=theirs)).tolist() == rows


def test_uids_and_names_that_contradict_each_other_are_refused() -> None:
    own = names("1@a.mrcs", "2@a.mrcs", uids=[7, 8])
    with pytest.raises(InputError, match=r"by its uid, image 1 of a.mrcs of own.star is in row 1, by its name in"):
        find_images(own, names("2@a.mrcs", "1@a.mrcs", "3@a.mrcs", uids=[7, 1, 2]))


def test_rows_in_order_only_where_nothing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    own, nameless = names("1@a.mrcs", "2@a.mrcs"), ImageNames.nameless("plain.star", 2)
    assert find_images(own, nameless).tolist() == [0, 1]
    assert "plain.star names no images; its rows are taken to be those of own.star" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"plain.star: 3 rows without image names; own.star has 2"):
        find_images(own, ImageNames.nameless("plain.star", 3))
    with pytest.raises(InputError, match=r"job.cs: names no images, and none of its uids is in own.star; .* by pass"):
        find_images(own, ImageNames.nameless("job.cs", 2, np.array([5, 6])))


def test_images_that_are_listed_twice() -> None:
    twice = names("1@a.mrcs", "2@a.mrcs", "1@a.mrcs", "1@b.mrcs")
    assert twice.repeated().tolist() == [False, False, True, False]
    with pytest.raises(InputError, match="is there twice"):
        find_images(twice, twice)
    assert find_images(twice, twice, "keep").tolist() == [0, 1, 2, 3]
    once = names("1@b.mrcs", "2@a.mrcs", "1@a.mrcs")
    assert find_images(twice, once, "keep").tolist() == [2, 1, 2, 0]
    assert find_images(once, twice, "first").tolist() == [3, 1, 0]


def test_an_image_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"other.star: image 2 of a.mrcs is not there, which is in own.star"):
        match_images(names("1@a.mrcs", "2@a.mrcs"), names("1@a.mrcs", where="other.star"))


def test_thousands_of_files_take_no_time() -> None:
    own = names(*(f"1@/data/s{i % 2}/M/mic{i // 2}.mrcs" for i in range(20_000)))
    other = names(*(f"1@s{i % 2}/M/mic{i // 2}.mrc" for i in reversed(range(20_000))))
    assert find_images(own, other).tolist() == list(range(20_000))[::-1]
