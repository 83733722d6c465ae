import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import make_folder, make_image, run_notebook

from retrainlab.errors import RetrainLabError
from retrainlab.export.exporting import read_learnt
from retrainlab.images import overview, scanning, splitting
from retrainlab.runs import run_folder

OF_01 = {"run", "reports_dir", "image_dir", "testing_percentage", "validation_percentage", "start_from"}


def test_the_split_follows_the_percentages(many):
    counts = splitting.split(many, 25, 15)["split"].value_counts(normalize=True)
    assert counts["test"] == pytest.approx(0.25, abs=0.03)
    assert counts["validation"] == pytest.approx(0.15, abs=0.03)


def test_the_split_is_that_of_retrain_py(many):
    """Values computed by retrain.py's own formula for these names."""
    import hashlib

    table = splitting.split(many, 10, 10)
    for path, found in zip(table["path"], table["split"], strict=True):
        hashed = int(hashlib.sha1(path.encode()).hexdigest(), 16) % 2**27 * (100.0 / (2**27 - 1))
        assert found == ("validation" if hashed < 10 else "test" if hashed < 20 else "train")


def test_images_keep_their_split_when_others_come_and_go(many):
    whole = splitting.split(many).set_index("path")["split"]
    half = splitting.split(many.iloc[::2]).set_index("path")["split"]
    assert (whole[half.index] == half).all()


def test_the_split_survives_moving_the_folder(tmp_path):
    make_folder(tmp_path / "here", {"a": 20, "b": 20})
    before = scanning.load(tmp_path / "here").images
    (tmp_path / "here").rename(tmp_path / "there")
    assert scanning.load(tmp_path / "there").images["split"].equals(before["split"])


def test_nohash_names_and_copies_share_a_split(many):
    many.loc[:9, "path"] = [f"a/hand_nohash_{number}.jpg" for number in range(10)]
    many.loc[5:14, "sha256"] = "the same content"  # ties rows 5 to 9 to rows 10 to 14
    table = splitting.split(many, 30, 30)
    assert len(set(table.loc[:14, "split"])) == 1


def test_a_small_label_keeps_a_training_image(many):
    few = many.iloc[::97].reset_index(drop=True)
    few["label"] = [f"label {number}" for number in range(len(few))]
    table = splitting.split(few, 50, 49)
    assert (table["split"] == "train").all()
    assert any("no test image" in note for note in overview.notes(table))


def test_splits_csv_wins(tmp_path):
    make_folder(tmp_path, {"a": 40, "b": 40}, ("png",))
    paths = scanning.scan(tmp_path).images["path"]
    splits = ["train" if number % 2 else "test" for number in range(len(paths))]
    pd.DataFrame({"path": paths, "split": splits}).to_csv(tmp_path / "splits.csv", index=False)
    table = scanning.load(tmp_path, 10, 30).images
    assert ((table["split"] == "test") == (np.array(splits) == "test")).all()
    assert 4 <= (table["split"] == "validation").sum() <= 22  # none was listed: taken from training


def test_splits_csv_takes_copies_along_and_names_what_it_cannot_find(tmp_path):
    make_folder(tmp_path, {"a": 6, "b": 6}, ("png",))
    shutil.copy(tmp_path / "a" / "image 000.png", tmp_path / "a" / "twin.png")
    (tmp_path / "splits.csv").write_text("path,split\na/image 000.png,test\na/image 001.png,validation\n")
    table = scanning.load(tmp_path, 0, 0).images.set_index("path")["split"]
    assert table["a/twin.png"] == "test" and table["a/image 001.png"] == "validation"
    (tmp_path / "splits.csv").write_text("path,split\n./a/image 000.png,test\n")
    with pytest.raises(RetrainLabError, match=r"lists './a/image 000.png', which the image folder does not hold"):
        scanning.load(tmp_path)


@pytest.mark.parametrize("percentages", [(100, 0), (50, 50)])
def test_percentages_that_leave_no_training_image(many, percentages):
    with pytest.raises(RetrainLabError, match="leave no training image"):
        splitting.split(many, *percentages)


@pytest.mark.parametrize("value", [-5, float("nan")])
@pytest.mark.parametrize("name", ["testing_percentage", "validation_percentage"])
def test_a_negative_percentage_is_named(many, name, value):
    with pytest.raises(RetrainLabError, match=rf"^{name} is {value:g}\. Expected a number from 0 to less than 100\.$"):
        splitting.split(many, **{name: value})


def test_images_keep_their_split_when_copies_of_them_come(many):
    before = splitting.split(many, 25, 15)
    first = many.iloc[:400]
    for name in (" copy.jpg", " (1).jpg", " - Copy.jpg"):
        copies = first.assign(path=first["path"].str.removesuffix(".jpg") + name)
        after = splitting.split(pd.concat([copies, many], ignore_index=True), 25, 15)
        assert after["split"].iloc[400:].tolist() == before["split"].tolist()
        assert after["split"].iloc[:400].tolist() == before["split"].iloc[:400].tolist()


def test_no_head_is_judged_by_images_that_it_has_learnt_from(many):
    table = splitting.split(many)
    learnt = set(table.loc[table["split"] == "train", "sha256"])
    same, moved = splitting.keep_training(table, learnt)
    assert moved == 0 and same.equals(table)
    held = table.index[table["split"] == "test"][:2]
    table["group"] = pd.Series("one cow", table.index).where(table.index.isin(held), None)
    after, moved = splitting.keep_training(table, {*learnt, table["sha256"][held[0]]})
    assert moved == 2 and (after["split"][held] == "train").all()
    assert after.drop(index=held).equals(table.drop(index=held))


def test_a_training_that_starts_from_another_keeps_the_images_apart(photos, module, bottleneck_dir, tmp_path):
    place = {"reports_dir": str(tmp_path), "bottleneck_dir": str(bottleneck_dir), "image_dir": str(photos),
             "tfhub_module": str(module), "how_many_training_steps": 20, "weight_decay": [0.1]}  # fmt: skip
    run_notebook("03", run="first", testing_percentage=20.0, validation_percentage=20.0, **place)
    first = run_folder.Run(tmp_path / "first")
    both = sum(first.metrics()[split]["n"] for split in ("train", "validation"))
    assert len(read_learnt(first.model)) == both  # it is refitted
    again = {"run": "second", "start_from": "first", "testing_percentage": 10.0, "validation_percentage": 30.0}
    said = run_notebook("01", **{name: value for name, value in (place | again).items() if name in OF_01})
    assert "images stay in training, since the head of 'first' has learnt from them." in said
    second = run_folder.Run(tmp_path / "second")
    seen = second.read_table("images")
    run_notebook("03", **again, **place)
    images = second.read_table("images")
    assert images["split"].equals(seen["split"]) and {"test", "validation"} <= set(images["split"])
    learnt = read_learnt(run_folder.Run(tmp_path / "first").model)
    assert set(images.loc[images["sha256"].isin(learnt), "split"]) == {"train"}


def test_images_that_a_splits_csv_names_keep_their_split_if_it_names_only_some(many):
    held = splitting.split(many, 10, 30).query("split == 'validation'")["path"].iloc[:5]
    table = splitting.split(many, 10, 30, pd.DataFrame({"path": held, "split": "train"}))
    assert (table.set_index("path").loc[held, "split"] == "train").all() and (
        table["split"] == "validation"
    ).sum() > 400


def test_a_head_that_started_from_another_has_learnt_what_that_has(photos, module, bottleneck_dir, tmp_path):
    for hue, label in enumerate(("red", "green")):
        (tmp_path / "elsewhere" / label).mkdir(parents=True)
        for number in range(12):
            make_image(500 + number, hue).save(tmp_path / "elsewhere" / label / f"{number}.png")
    place = {"reports_dir": str(tmp_path), "bottleneck_dir": str(bottleneck_dir), "tfhub_module": str(module),
             "how_many_training_steps": 20, "weight_decay": [0.1], "validation_percentage": 20.0}  # fmt: skip
    first, second = (run_folder.Run(tmp_path / name) for name in ("first", "second"))
    run_notebook("03", run="first", image_dir=str(photos), **place)
    run_notebook("03", run="second", image_dir=str(tmp_path / "elsewhere"), start_from="first", **place)
    assert read_learnt(first.model) < read_learnt(second.model)
    before = first.metrics()
    with pytest.raises(RetrainLabError, match="There is no run 'third'"):
        run_notebook("03", run="first", image_dir=str(photos), start_from="third", **place)
    assert first.metrics() == before  # what is refused costs nothing
