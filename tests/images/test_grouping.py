import numpy as np
import pandas as pd
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.images import grouping, splitting


def table(paths: list[str], group: list | None = None, sha256: list[str] | None = None) -> pd.DataFrame:
    labels = [path.split("/")[0] for path in paths]
    found = pd.DataFrame({"path": paths, "label": labels, "sha256": sha256 or paths, "problem": None})
    return found if group is None else found.assign(group=group)


def test_an_image_alone_is_called_by_its_path_and_copies_by_the_shortest():
    paths = ["a/1.jpg", "a/1 copy.jpg", "b/2_nohash_1.jpg", "b/2_nohash_2.jpg", "b/3.jpg"]
    found = grouping.groups(table(paths, sha256=["x", "x", "y", "z", "w"]))
    assert found.tolist() == ["a/1.jpg", "a/1.jpg", "b/2", "b/2", "b/3.jpg"]


def test_a_group_is_called_by_its_name_which_is_no_path():
    paths = ["a/1.jpg", "a/2.jpg", "b/3.jpg", "a/4.jpg"]
    assert grouping.groups(table(paths, ["a/4.jpg", "a/4.jpg", None, None])).tolist() == [
        "/a/4.jpg",
        "/a/4.jpg",
        "b/3.jpg",
        "a/4.jpg",
    ]
    assert grouping.groups(table(paths, [None] * 4)).equals(grouping.groups(table(paths)))
    assert grouping.groups(table(paths, [np.nan, "cow", np.nan, "cow"])).tolist() == [
        "a/1.jpg",
        "/cow",
        "b/3.jpg",
        "/cow",
    ]


def test_groups_that_touch_are_one():
    """Two cows share a copy, one of them a `_nohash_` name with an image of no group; a chain of ten is one as well."""
    paths = ["a/1.jpg", "a/2.jpg", "a/3_nohash_1.jpg", "b/3.jpg", "a/3_nohash_2.jpg", "b/4.jpg"]
    found = grouping.groups(
        table(paths, ["cow 1", "cow 2", "cow 2", None, None, "cow 3"], ["x", "x", "y", "z", "w", "v"])
    )
    assert found.tolist() == ["/cow 1"] * 3 + ["b/3.jpg", "/cow 1", "/cow 3"]
    chain = table([f"a/{n}.jpg" for n in range(20)], [f"g{n // 2}" for n in range(20)])
    chain["sha256"] = [f"s{(n + 1) // 2}" for n in range(20)]
    assert set(grouping.groups(chain)) == {"/g0"}
    assert set(grouping.groups(chain.sample(frac=1, random_state=0))) == {"/g0"}


@pytest.mark.parametrize("split", [splitting.split, splitting.even_split])
def test_a_group_keeps_its_split_when_its_images_come_and_go(split):
    paths = [f"{'ab'[n % 2]}/{n}.jpg" for n in range(600)]
    whole = table(paths, [f"patient {n % 60}" for n in range(600)])
    before = split(whole, 20, 20)
    assert before.drop_duplicates(["group", "split"])["group"].is_unique and len(set(before["split"])) == 3
    held = before["split"][before.groupby("group").cumcount() >= 5]
    assert split(whole.loc[held.index], 20, 20)["split"].equals(held)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"patient\d+", ["patient1", "patient1", "patient12", None]),
        (r"/([^/_]+)_", ["patient1", "patient1", "patient12", "Patient1"]),
        (r"(?P<who>\d+)_(\d)", ["1", "1", "12", "1"]),
        (r"_(2)?", [None, "2", None, None]),
        (r"^[^/]+", ["cat", "dog", "cat", "dog"]),
    ],
)
def test_groups_by_a_pattern(pattern, expected):
    paths = ["cat/patient1_1.jpg", "dog/patient1_2.jpg", "cat/patient12_1.jpg", "dog/Patient1_1.jpg"]
    found = grouping.group_by_pattern(paths, pattern)
    assert found.tolist() == expected and found.index.tolist() == paths and found.name == "group"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("patient(", r"'patient\(' cannot be read: missing \), unterminated subpattern.* such as patient\\d\+"),
        ("*", r"'\*' cannot be read: nothing to repeat"),
        ("cow", r"'cow' fits no path: the first of 2 is 'a/patient1\.jpg'\. .* such as patient\\d\+"),
        ("", r"'' fits no path"),
        ("(cow)?", r"fits no path"),
    ],
)
def test_a_pattern_that_groups_nothing_is_said(pattern, said):
    with pytest.raises(RetrainLabError, match=said):
        grouping.group_by_pattern(["a/patient1.jpg", "b/patient2.jpg"], pattern)


def test_no_paths_fit_no_pattern():
    with pytest.raises(RetrainLabError, match="fits no path: there is none"):
        grouping.group_by_pattern([], "a")
