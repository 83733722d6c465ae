"""The public datasets: the embedded one itself, the others as small archives of the same structure on the loopback."""

import io
import tarfile
from dataclasses import replace

import pandas as pd
import pytest
from archive_server import serving
from conftest import make_image
from test_catalogue import mat_file

from retrainlab.datasets import catalogue, fetching
from retrainlab.errors import RetrainLabError
from retrainlab.images import overview, scanning

BREEDS = ("n02085620-Chihuahua", "n02085936-Maltese_dog", "n02089078-black-and-tan_coonhound")


def _tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _jpeg(seed: int, hue: int) -> bytes:
    buffer = io.BytesIO()
    make_image(seed, hue).save(buffer, "jpeg")
    return buffer.getvalue()


def _small(name: str, images: int, labels: int, *sources) -> catalogue.Dataset:
    whole = catalogue.DATASETS[name]
    return replace(whole, card=whole.card | {"images": images, "labels": labels}, sources=sources)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def dogs(server):
    """Three breeds of three images, two to train on and one for the test; the server that has them."""
    paths = {f"{breed}/{breed[:9]}_{10 * n}.jpg": _jpeg(n, hue) for hue, breed in enumerate(BREEDS) for n in range(3)}
    train = [path for path in paths if not path.endswith("_20.jpg")]
    test = [path for path in paths if path.endswith("_20.jpg")]
    lists = {"train_list.mat": mat_file(file_list=train), "test_list.mat": mat_file(file_list=test)}
    archive = _tar({f"Images/{path}": data for path, data in paths.items()})
    lists_source = server.source("lists.tar", _tar(lists | {"file_list.mat": mat_file(file_list=[*train, *test])}))
    return _small("stanford-dogs", 9, 3, lists_source, server.source("images.tar", archive))


@pytest.fixture
def flowers(server):
    """Two labels of two images, and the photographers."""
    paths = {f"flower_photos/{label}/{n}.jpg": _jpeg(n, hue) for hue, label in enumerate("ab") for n in range(2)}
    archive = _tar(paths | {"flower_photos/LICENSE.txt": b"CC-BY by somebody"}, "w:gz")
    return _small("flower-photos", 4, 2, server.source("flower_photos.tgz", archive))


@pytest.fixture(scope="module")
def elpv(tmp_path_factory):
    return fetching.fetch("elpv", tmp_path_factory.mktemp("data") / "elpv")


def test_elpv_is_the_published_task(elpv):
    table = scanning.load(elpv, 25, 15).images
    counts = overview.counts_by_label(table)["total"].to_dict()
    assert counts == {"defective": 821, "functional": 1803}  # 68.7% functional, as published
    assert table["problem"].isna().all()
    assert set(zip(table["width"], table["height"], strict=True)) == {(300, 300)}


def test_its_card_names_licence_sources_and_published_figures(elpv):
    card = fetching.card(elpv)
    assert card["licence"] == "CC BY-NC-SA 4.0" and len(card["cite"]) == 3
    assert sorted(card["published"].values()) == [0.8244, 0.8842]
    assert fetching.card(elpv.parent) == {}


def test_fetching_again_changes_nothing(elpv):
    before = elpv.stat().st_mtime_ns
    assert fetching.fetch("elpv", elpv) == elpv and elpv.stat().st_mtime_ns == before
    assert [path.name for path in elpv.parent.iterdir()] == ["elpv"]  # nothing half done beside it


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RetrainLabError, match="exists and is not the dataset"):
        fetching.fetch("elpv", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_unknown_names():
    with pytest.raises(RetrainLabError, match=r"No dataset 'cats'\. Expected one of: elpv"):
        fetching.fetch("cats")


def test_a_path_is_taken_as_it_is(tmp_path):
    assert fetching.locate(tmp_path) == tmp_path


# --------------------------------------------------------------------------------------------- Stanford Dogs, flowers


def test_dogs_have_readable_names_and_the_official_split(dogs, tmp_path):
    folder = fetching.prepare("stanford-dogs", dogs, tmp_path / "data" / "dogs")
    assert sorted(path.name for path in folder.iterdir()) == [
        "Chihuahua", "Maltese dog", "black-and-tan coonhound", "dataset.json", "splits.csv",
    ]  # fmt: skip
    table = scanning.load(folder, 50, 0).images.set_index("path")
    assert len(table) == 9 and table["problem"].isna().all()
    official = {path: "test" if path.endswith("_20.jpg") else "train" for path in table.index}
    assert table["split"].to_dict() == official
    assert pd.read_csv(folder / "splits.csv")["split"].value_counts().to_dict() == {"train": 6, "test": 3}
    card = fetching.card(folder)
    assert card["name"] == "stanford-dogs" and "ImageNet may have seen the test images" in card["caveat"]
    assert {"title", "images", "labels", "licence", "cite", "published", "protocol"} <= set(card)


def test_flowers_keep_the_list_of_photographers(flowers, tmp_path):
    folder = fetching.prepare("flower-photos", flowers, tmp_path / "flowers")
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE.txt", "a", "b", "dataset.json"]
    assert (folder / "LICENSE.txt").read_bytes() == b"CC-BY by somebody"
    assert overview.counts_by_label(scanning.load(folder, 0, 0).images)["total"].to_dict() == {"a": 2, "b": 2}


def test_nothing_but_the_dataset_is_left_and_it_is_not_fetched_again(dogs, server, tmp_path):
    folder = fetching.prepare("stanford-dogs", dogs, tmp_path / "dogs")
    assert [path.name for path in tmp_path.iterdir()] == ["dogs"]
    assert fetching.prepare("stanford-dogs", dogs, folder) == folder and len(server.requests) == 2


def test_a_connection_that_is_cut_off_costs_nothing(dogs, server, tmp_path):
    server.cuts = [10**9, 4000]
    assert len(list(fetching.prepare("stanford-dogs", dogs, tmp_path / "dogs").glob("*/*.jpg"))) == 9
    assert server.requests == [("lists.tar", None), ("images.tar", None), ("images.tar", "bytes=4000-")]


def test_another_count_leaves_no_folder_and_keeps_the_archives(dogs, server, tmp_path):
    wrong = replace(dogs, card=dogs.card | {"images": 20580})
    with pytest.raises(RetrainLabError, match=r"have 9 images of 3 labels\. Expected 20,580 of 3; see"):
        fetching.prepare("stanford-dogs", wrong, tmp_path / "dogs")
    assert [path.name for path in tmp_path.iterdir()] == [".downloads"]
    fetching.prepare("stanford-dogs", dogs, tmp_path / "dogs")
    assert len(server.requests) == 2  # the archives of the first try


def test_an_archive_that_ends_early_between_two_members_is_found_by_counting(server, tmp_path):
    half = _tar({f"flower_photos/a/{n}.jpg": b"x" * 512 for n in range(8)})[: 4 * 1024]
    flowers = _small("flower-photos", 8, 1, server.source("flower_photos.tgz", half))
    with pytest.raises(RetrainLabError, match="have 4 images of 1 labels"):
        fetching.prepare("flower-photos", flowers, tmp_path / "flowers")


def _replace(dataset: catalogue.Dataset, server, name: str, data: bytes) -> catalogue.Dataset:
    return replace(dataset, sources=tuple(server.source(name, data) if s.name == name else s for s in dataset.sources))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("images.tar", _tar({"Images/../../../evil.jpg": b"x"}), "'Images/../../../evil.jpg' would lie outside"),
        ("images.tar", _tar({"Images/n1-a/1.jpg": b"x" * 9000})[:4000], "images.tar' is cut short or damaged"),
        ("images.tar", _tar({"Pictures/n1-a/1.jpg": b"x"}), "images.tar has Pictures at its top. Expected 'Images'"),
        ("lists.tar", _tar({"train_list.mat": b"x"}), "'train_list.mat' cannot be read"),
        ("lists.tar", _tar({"train_list.mat": mat_file(file_list=[])}), "Expected 'test_list.mat'"),
        ("lists.tar", _tar({f"{s}_list.mat": mat_file(file_list=["n1-a/1.jpg"]) for s in ("train", "test")}),
         "name 2 images, the archive holds 9"),
    ],
)  # fmt: skip
def test_an_archive_that_is_not_as_expected_leaves_nothing_half_done(dogs, server, tmp_path, name, data, said):
    with pytest.raises(RetrainLabError) as error:
        fetching.prepare("stanford-dogs", _replace(dogs, server, name, data), tmp_path / "deep" / "dogs")
    assert said in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == [".downloads"]
    assert [path.name for path in (tmp_path / "deep" / ".downloads" / "stanford-dogs").iterdir()] != []


def test_one_dataset_is_not_taken_for_another(elpv):
    with pytest.raises(RetrainLabError, match="is not the dataset 'flower-photos'"):
        fetching.fetch("flower-photos", elpv)


def test_a_place_that_cannot_be_written(dogs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RetrainLabError, match=r"'stanford-dogs' cannot be written to .*: Not a directory"):
        fetching.prepare("stanford-dogs", dogs, tmp_path / "file" / "dogs")


@pytest.mark.parametrize("content", ['{"labels": [["a.png", 0]]}', "[1]", "{", '{"name": "mine"}'])
def test_a_dataset_json_of_somebody_elses_is_no_card(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    assert fetching.card(tmp_path) == {}
