import pytest

from retrainlab import datasets, images
from retrainlab.errors import RetrainLabError


@pytest.fixture(scope="module")
def elpv(tmp_path_factory):
    return datasets.fetch("elpv", tmp_path_factory.mktemp("data") / "elpv")


def test_elpv_is_the_published_task(elpv):
    table = images.load(elpv, 25, 15)
    counts = images.counts_by_label(table)["total"].to_dict()
    assert counts == {"defective": 821, "functional": 1803}  # 68.7% functional, as published
    assert table["problem"].isna().all()
    assert set(zip(table["width"], table["height"], strict=True)) == {(300, 300)}


def test_its_card_names_licence_sources_and_published_figures(elpv):
    card = datasets.card(elpv)
    assert card["licence"] == "CC BY-NC-SA 4.0" and len(card["cite"]) == 3
    assert sorted(card["published"].values()) == [0.8244, 0.8842]
    assert datasets.card(elpv.parent) == {}


def test_fetching_again_changes_nothing(elpv):
    before = elpv.stat().st_mtime_ns
    assert datasets.fetch("elpv", elpv) == elpv and elpv.stat().st_mtime_ns == before
    assert [path.name for path in elpv.parent.iterdir()] == ["elpv"]  # nothing half done beside it


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RetrainLabError, match="exists and is not the dataset"):
        datasets.fetch("elpv", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_unknown_names():
    with pytest.raises(RetrainLabError, match=r"No dataset 'cats'\. Expected one of: elpv"):
        datasets.fetch("cats")


def test_a_path_is_taken_as_it_is(tmp_path):
    assert datasets.locate(tmp_path) == tmp_path
