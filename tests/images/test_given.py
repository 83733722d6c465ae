"""What people say of images by folders, tables and `splits.csv`: layouts understood, and those that are refused."""

import unicodedata

import pandas as pd
import pytest
from conftest import make_folder, make_image, run_notebook

from retrainlab.errors import RetrainLabError
from retrainlab.evaluation.scores import SPLITS
from retrainlab.images import overview, relabeling, scanning
from retrainlab.runs import run_folder


def flat(root, *names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        make_image(number, number % 2).save(root / name)
    return root


def told(found, column):
    return found.images.set_index("path")[column].to_dict()


# --------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Training", "VALID", "Testing"),
        ("train_set", "dev", "test_set"),
        ("seg_train", "seg_val", "seg_test"),
        ("train2017", "validate2017", "test2017"),
    ],
)
def test_split_folders_give_the_split_and_no_labels(tmp_path, train, val, test):
    folders = {train: 6, val: 3, test: 2}
    make_folder(tmp_path, {f"{split}/{label}": n for split, n in folders.items() for label in ("red", "blue")})
    found = scanning.load(tmp_path)
    counts = overview.counts_by_label(found.images)
    assert counts.loc["red"].to_dict() == {"train": 6, "validation": 3, "test": 2, "total": 11}
    assert list(counts.index) == ["blue", "red"]
    assert found.said == [
        f"Folders give the split: {train} (train), {val} (validation), {test} (test), with one folder a label inside."
    ]


def test_where_only_train_and_test_exist_validation_is_taken_from_train(tmp_path):
    make_folder(tmp_path, {"train/a": 40, "train/b": 40, "test/a": 5, "test/b": 5})
    found = scanning.load(tmp_path, 25, 20)
    assert found.said[1] == "No folder is for validation, so that is drawn from training."
    images = found.images
    counts = overview.counts_by_label(images)
    assert counts["test"].to_dict() == {"a": 5, "b": 5}
    assert counts["validation"].min() > 3 and counts["train"].sum() + counts["validation"].sum() == 80
    assert images.loc[images["split"] == "test", "path"].str.startswith("test/").all()


def test_without_a_folder_for_testing_no_test_image_is_invented(tmp_path):
    found = scanning.load(make_folder(tmp_path, {"train/a": 9, "train/b": 9, "val/a": 4, "val/b": 4}), 25, 25)
    assert overview.counts_by_label(found.images).sum().to_dict() == {
        "train": 18, "validation": 8, "test": 0, "total": 26,
    }  # fmt: skip
    assert "No folder is for testing" in found.said[1]


def test_splits_inside_the_labels(tmp_path):
    found = scanning.load(
        make_folder(tmp_path, {f"{label}/{split}": 3 for label in "ab" for split in ("train", "test")})
    )
    assert set(found.images["label"]) == {"a", "b"}
    assert told(found, "split")["a/test/image 000.jpg"] == "test"


def test_a_label_that_is_called_test_stays_one(tmp_path):
    found = scanning.scan(make_folder(tmp_path, {"test": 3, "bus": 3, "train": 3}))
    assert set(found.images["label"]) == {"test", "bus", "train"} and found.said == [
        "Understood as one folder a label."
    ]


@pytest.mark.parametrize("inside", ["photos", "data/Images"])
def test_folders_around_all_are_no_part_of_the_labels(tmp_path, inside):
    make_folder(tmp_path / inside, {"blue": 3, "red/dark": 3, "red/light": 3})
    (tmp_path / "README.txt").write_text("about these images")
    found = scanning.scan(tmp_path)
    assert set(found.images["label"]) == {"blue", "red/dark", "red/light"}
    assert f"All are in '{inside}'" in found.said[0]


def test_split_folders_with_a_folder_around_them(tmp_path):
    found = scanning.load(make_folder(tmp_path / "dataset", {"train/a": 5, "train/b": 5, "test/a": 2, "test/b": 2}))
    assert set(found.images["label"]) == {"a", "b"}
    assert (found.images["split"] == "test").sum() == 4


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            ["train/a", "train/b", "test/a", "test/b", "extra"],
            r"folders of splits \(test, train\) and others .*\(extra\)",
        ),
        (["train/a", "train/b", "a", "b"], r"folders of splits \(train\) and others"),
        (["train/a", "train/b", "eval/a", "eval/b"], r"folders of splits \(train\) and others beside them \(eval\)"),
        (["val/a", "val/b", "test/a", "test/b"], r"has no folder for training beside test, val"),
        (["site/train/a", "site/train/b", "other/train/a"], r"folders of splits \(other/train, site/train\)"),
        (["a/train", "a/test", "b"], r"folders of splits \(test, train\) and others beside them \(b\)"),
        (["train", "test"], r"holds images straight in test, train, so what to learn from is unknown"),
    ],
)
def test_mixed_layouts_are_refused(tmp_path, labels, said):
    with pytest.raises(RetrainLabError, match=said):
        scanning.scan(make_folder(tmp_path, dict.fromkeys(labels, 2)))


def test_labels_that_are_named_like_one_split_stay_labels(tmp_path):
    assert set(scanning.scan(make_folder(tmp_path, {"blood_test": 3, "urine_test": 3})).images["label"]) == {
        "blood_test", "urine_test",
    }  # fmt: skip


def test_split_folders_twice_inside_one_another(tmp_path):
    """As Intel's images are given on Kaggle."""
    found = scanning.load(
        make_folder(tmp_path, {f"seg_{s}/seg_{s}/{label}": 3 for s in ("train", "test") for label in "ab"})
    )
    assert set(found.images["label"]) == {"a", "b"} and (found.images["split"] == "test").sum() == 6


def test_a_label_without_a_folder_for_training_is_left_out(tmp_path):
    found = scanning.load(make_folder(tmp_path, {"train/a": 9, "train/b": 9, "test/images": 4}), 20, 20)
    assert told(found, "problem")["test/images/image 000.jpg"] == "no folder for training has its label"
    assert found.said[1] == "Only the folder for training has labels, so validation and test are drawn from it."
    assert set(found.images["split"].dropna()) == {"train", "validation", "test"}


def test_an_image_straight_in_a_split_folder_is_left_out(tmp_path):
    make_folder(tmp_path, {"train/a": 2, "train/b": 2, "test/a": 2, "test/b": 2})
    make_image(7).save(tmp_path / "test" / "loose.png")
    assert told(scanning.scan(tmp_path), "problem")["test/loose.png"].startswith("it lies in 'test', but in no label")


def test_leftovers_of_other_systems_are_passed_over_and_said_once(tmp_path):
    make_folder(tmp_path, {"red": 3, "blue": 3})
    for left in ("@eaDir/red", "red/@eaDir", "#recycle", "$RECYCLE.BIN/x", "System Volume Information", "lost+found",
                 ".Trash-1000/files", "thumbs"):  # fmt: skip
        make_folder(tmp_path, {left: 1})
    found = scanning.scan(tmp_path)
    assert set(found.images["label"]) == {"red", "blue"} and len(found.images) == 6
    (said,) = [said for said in found.said if said.startswith("Passed over")]
    assert said == (
        "Passed over, as left there by other systems or programs: #recycle, $RECYCLE.BIN, .Trash-1000 and 5 more. "
        "Rename what is yours."
    )


def test_a_label_that_was_passed_over_is_named_where_it_is_missed(tmp_path):
    with pytest.raises(
        RetrainLabError, match=r"one label only, 'fingers'. Passed over, .*: thumbs. Rename what is yours"
    ):
        scanning.scan(make_folder(tmp_path, {"fingers": 2, "thumbs": 2}))


def test_archives_beside_the_labels_are_said(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "more.zip").write_bytes(b"PK")
    assert "Not looked into: more.zip. Unpack what holds images of yours." in scanning.scan(tmp_path).said


def test_a_group_that_folders_put_into_several_splits_is_said(tmp_path):
    root = flat(
        tmp_path, *(f"{split}/{label}/cow1_{n}.png" for split in ("train", "test") for label in "ab" for n in "12")
    )
    images = scanning.load(root, groups=r"cow\d").images
    (said,) = [note for note in overview.notes(images) if "groups" in note]
    assert said.startswith("1 of 1 groups lie in several splits ('cow1' is one), by what folders or tables say")


def test_a_label_in_two_spellings_of_unicode_is_one(tmp_path):
    for form in ("NFC", "NFD"):
        make_folder(tmp_path, {unicodedata.normalize(form, "café"): 3, "thé": 3})
    assert set(scanning.scan(tmp_path).images["label"]) == {"café", "thé"}


def test_labels_that_look_alike_are_said(tmp_path):
    images = scanning.load(make_folder(tmp_path, dict.fromkeys(["Rose", "rose", "ant", "ant ", "bee"], 2))).images
    alike = [note for note in overview.notes(images) if "mistake" in note]
    assert alike == [
        "The labels 'Rose' and 'rose' differ in capitals or spaces alone: likely a mistake; rename one of them.",
        "The labels 'ant' and 'ant ' differ in capitals or spaces alone: likely a mistake; rename one of them.",
    ]


# --------------------------------------------------------------------------------------------- tables


def table(text, root, name="labels.csv", encoding="utf-8"):
    (root / name).write_bytes(text.encode(encoding))
    return root / name


FOUR = ("0a.jpg", "0b.jpg", "0c.jpg", "0d.jpg")


@pytest.mark.parametrize(
    "text",
    [
        "id,breed\n0a,pug\n0b,pug\n0c,corgi\n0d,corgi\n",
        "breed;id\npug;0a.jpg\npug;0b.jpg\ncorgi;0c.jpg\ncorgi;0d.jpg\n",
        "file\tthing\n0a.jpg\tpug\n0b.jpg\tpug\n0c.jpg\tcorgi\n0d.jpg\tcorgi\n",
        'image,label\r\n"C:\\me\\pics\\0a.JPG","pug"\r\nC:\\me\\pics\\0b.JPG,pug\r\n0c,corgi\r\n./0d.jpg,corgi\r\n',
        ",path,label,camera\n0,0a.jpg,pug,x\n1,0b.jpg,pug,y\n2,0c.jpg,corgi,x\n3,0d.jpg,corgi,z\n",
        "0a.jpg,pug\n0b.jpg,pug\n0c.jpg,corgi\n0d.jpg,corgi\n",
        "image,pug,corgi\n0a,1.0,0.0\n0b,1.0,0.0\n0c,0.0,1.0\n0d,0.0,1.0\n",
    ],
    ids=["kaggle", "semicolons", "tabs", "windows", "pandas", "no headings", "one column a label"],
)
@pytest.mark.parametrize("where", ["beside", "above"])
def test_a_flat_folder_with_a_table(tmp_path, text, where):
    root = flat(tmp_path / "train", *FOUR)
    file = table(text, root if where == "beside" else tmp_path)
    found = scanning.scan(root)
    assert told(found, "label") == {"0a.jpg": "pug", "0b.jpg": "pug", "0c.jpg": "corgi", "0d.jpg": "corgi"}
    assert found.said[0].startswith(f"Labels are those of labels.csv ({file.parent}): its column '")


def test_labels_that_are_numbers_stay_as_they_are_written(tmp_path):
    table("id,label\n0a,0\n0b,007\n0c,1.0\n0d,NA\n", flat(tmp_path, *FOUR))
    assert list(told(scanning.scan(tmp_path), "label").values()) == ["0", "007", "1.0", "NA"]


def test_rows_without_images_and_images_without_rows_are_said(tmp_path):
    table("id,label\n0a,pug\n0b,corgi\n9x,pug\n0d,\n", flat(tmp_path, *FOUR))
    found = scanning.scan(tmp_path)
    assert told(found, "problem") == {
        "0a.jpg": None, "0b.jpg": None, "0c.jpg": "labels.csv has no row for it",
        "0d.jpg": "labels.csv, line 5, gives it no label",
    }  # fmt: skip
    assert found.said[1] == "Rows of labels.csv that fit no image, or several: 1 (line 4: '9x')."
    assert found.said[2] == "Images without a row in labels.csv, left out: 1 (the first is 0c.jpg)."


def test_an_image_under_two_labels_is_left_out_with_both_lines(tmp_path):
    table("id,label\n0a,pug\n0b,corgi\n0c,pug\n0c,corgi\n0d,pug\n0d,pug\n", flat(tmp_path, *FOUR))
    found = told(scanning.scan(tmp_path), "problem")
    assert found["0c.jpg"] == "labels.csv says of it 'pug' in line 4, 'corgi' in line 5" and found["0d.jpg"] is None


def test_splits_and_groups_of_a_table(tmp_path):
    table(
        "path,label,Split,patient_id\n0a,x,train,p1\n0b,y,VAL,p2\n0c,x,test,\n0d,y,training,p1\n", flat(tmp_path, *FOUR)
    )
    found = scanning.load(tmp_path)
    assert list(told(found, "split").values()) == ["train", "validation", "test", "train"]
    assert list(told(found, "group").values()) == ["p1", "p2", None, "p1"]


def test_train_and_test_folders_without_labels_but_with_a_table(tmp_path):
    """As Kaggle gives them: what is to be submitted has no labels."""
    root = flat(tmp_path, *(f"train/{n}.jpg" for n in range(6)), "test/7.jpg", "test/8.jpg")
    table("id,breed\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(6)), root)
    images = scanning.load(root, 20, 20).images.set_index("path")
    assert (
        images["problem"].notna().sum() == 2 and images.loc["test/7.jpg", "problem"] == "labels.csv has no row for it"
    )
    assert set(images["label"].dropna()) == {"a", "b"}


def test_a_table_that_labels_both_split_folders_takes_their_splits(tmp_path):
    root = flat(tmp_path, "train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg")
    file = table("path,label\ntrain/1.jpg,a\ntrain/2.jpg,b\ntest/1.jpg,b\ntest/2.jpg,a\n", root)
    found = scanning.load(root)
    assert list(told(found, "split").values()) == ["test", "test", "train", "train"]
    assert told(found, "label")["test/1.jpg"] == "b"
    file.write_text(
        file.read_text().replace("label\n", "label,split\n").replace(",a\n", ",a,train\n").replace(",b\n", ",b,\n")
    )
    with pytest.raises(RetrainLabError, match=r"puts 'test/2.jpg' into test, but it is in train by what else is said"):
        scanning.load(root)


def lines(pairs):
    return "".join(f"{label}/image 00{n}.png,{new}\n" for label, new in pairs for n in (0, 1))


def test_label_folders_and_a_table_must_agree_or_one_be_chosen(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    file = table("path,label\n" + lines([("a", "x"), ("b", "y")]), tmp_path)
    with pytest.raises(
        RetrainLabError, match=r"Labels are given twice.*line 2 of .*labels.csv says 'x' of a/image 000"
    ):
        scanning.scan(tmp_path)
    assert set(scanning.scan(tmp_path, labels_csv=file).images["label"]) == {"x", "y"}
    table("path,label\n" + lines([("a", "a"), ("b", "b")]), tmp_path)
    assert set(scanning.scan(tmp_path).images["label"]) == {"a", "b"}


def test_what_else_a_table_says_of_images_does_not_matter_to_label_folders(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    file = table("path,camera\n" + lines([("a", "x"), ("b", "x")]), tmp_path)
    found = scanning.scan(tmp_path)
    assert set(found.images["label"]) == {"a", "b"}
    assert found.said[1] == f"{file} names these images, too, and is not used."


def test_a_table_may_add_groups_and_splits_to_the_labels_of_folders(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    table("path,patient,split\n" + lines([("a", "p1,train"), ("b", "p2,test")]), tmp_path)
    found = scanning.load(tmp_path)
    assert list(told(found, "group").values()) == ["p1", "p1", "p2", "p2"]
    assert list(told(found, "split").values()) == ["train", "train", "test", "test"]
    assert list(told(found, "label").values()) == ["a", "a", "b", "b"]
    assert "More is said in labels.csv" in found.said[1]


def test_parts_of_one_data_set_are_no_labels(tmp_path):
    """As HAM10000 is given: two folders of images, and a table above both."""
    root = flat(tmp_path, *(f"part_{n % 2}/{n}.jpg" for n in range(8)))
    file = table("image_id,dx\n" + "".join(f"{n},{'ab'[n // 4]}\n" for n in range(8)), root, "metadata.csv")
    with pytest.raises(RetrainLabError, match=r"Labels are given twice"):
        scanning.scan(root)
    assert list(told(scanning.scan(root, labels_csv=file), "label").values()).count("a") == 4


def test_images_beside_a_table_and_others_without_are_no_labels(tmp_path):
    root = flat(tmp_path, *(f"images/{n}.jpg" for n in range(4)), *(f"unlabeled/u{n}.jpg" for n in range(9)))
    table("id,label\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(4)), root)
    with pytest.raises(RetrainLabError, match=r"Labels are given twice.*'a' of images/0.jpg"):
        scanning.scan(root)


def test_images_and_masks_of_the_same_names_are_no_labels(tmp_path):
    root = flat(tmp_path, *(f"{folder}/{n}.jpg" for folder in ("images", "masks") for n in range(4)))
    table("id,label\n" + "".join(f"{n}.jpg,{'ab'[n % 2]}\n" for n in range(4)), root)
    with pytest.raises(RetrainLabError, match=r"line 2 of .*labels.csv fits images/0.jpg and masks/0.jpg"):
        scanning.scan(root)


@pytest.mark.parametrize("head", ["id,filename,label", "no,image,label", "Unnamed: 0,path,label"])
def test_numbers_of_rows_are_no_names_of_images(tmp_path, head):
    root = flat(tmp_path, *(f"{n}.jpg" for n in range(10)))
    table(head + "\n" + "".join(f"{n},{9 - n}.jpg,{'ab'[n % 2]}\n" for n in range(10)), root)
    assert told(scanning.scan(root), "label") == {f"{n}.jpg": "ba"[n % 2] for n in range(10)}


def test_two_columns_that_name_different_images_are_refused(tmp_path):
    root = flat(tmp_path, *(f"{n}.jpg" for n in range(10)))
    file = table("id,image,label\n" + "".join(f"{n},{9 - n},{'ab'[n % 2]}\n" for n in range(10)), root)
    with pytest.raises(RetrainLabError, match=r"The columns id and image of .* both name images, and not the same"):
        scanning.scan(root, labels_csv=file)


def test_what_is_to_be_submitted_is_no_table_of_labels(tmp_path):
    root = flat(tmp_path, *(f"train/{n}.jpg" for n in range(4)), *(f"test/t{n}.jpg" for n in range(9)))
    table("id,label\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(4)), root, "train.csv")
    table("id,label\n" + "".join(f"t{n},0\n" for n in range(9)), root, "sample_submission.csv")
    assert set(scanning.scan(root).images["label"].dropna()) == {"a", "b"}
    table("id,label\n" + "".join(f"t{n},{'ab'[n % 2]}\n" for n in range(9)), root, "test.csv")
    with pytest.raises(RetrainLabError, match=r"Several tables give labels"):
        scanning.scan(root)


def test_columns_that_are_not_used_are_said(tmp_path):
    table("id,label,animal,fold\n0a,x,p1,1\n0b,y,p2,2\n0c,x,p1,1\n0d,y,p1,2\n", flat(tmp_path, *FOUR))
    assert scanning.scan(tmp_path).said[0].endswith("'label' is the label. Not used: animal, fold.")


def test_a_table_that_is_not_understood_is_named_with_its_reason(tmp_path):
    root = flat(tmp_path, *(f"images/{n}.jpg" for n in range(4)))
    table("id,x,y\n0,a,b\n1,a,c\n", root)
    with pytest.raises(
        RetrainLabError, match=r"give no labels, and no table does. Which column of .*labels.csv is the"
    ):
        scanning.scan(root)


def test_a_row_that_fits_two_images_is_said_of_both(tmp_path):
    root = flat(tmp_path, "train/1.jpg", "train/2.jpg", "test/1.jpg", "train/3.jpg")
    table("id,label\n1,a\n2,b\n3,a\n", root)
    assert (
        told(scanning.scan(root), "problem")["test/1.jpg"] == "line 2 of labels.csv fits it, but other images as well"
    )


def test_two_tables_are_not_chosen_between(tmp_path):
    text = "id,label\n0a,a\n0b,b\n0c,a\n0d,b\n"
    table(text, flat(tmp_path, *FOUR)), table(text, tmp_path, "other.csv")
    with pytest.raises(RetrainLabError, match=r"Several tables .*labels\.csv, .*other\.csv. Name one: labels_csv"):
        scanning.scan(tmp_path)


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("id,label\n0a,Bär\n", "latin-1", r"labels\.csv, line 2, is not UTF-8 \(b'\\xe4'\).*Save it as UTF-8"),
        ("id,label\n0a,pug,big\n", "utf-8", r"line 2, has 3 columns, the first line 2"),
        ('id,label\n"0a"x,pug\n', "utf-8", r"line 2, cannot be read: "),
        ("id,label\n", "utf-8", r"has no rows"),
        ("", "utf-8", r"has no rows"),
        ("id,label\nzz,pug\n", "utf-8", r"No column of .* names images of this folder: id, label"),
        ("id,x,y\n0a,pug,big\n", "utf-8", r"Which column of .* is the label cannot be told: x, y"),
        ("id,class,breed\n0a,pug,big\n", "utf-8", r"several columns that may be the label: class, breed"),
        ("id,label,split\n0a,pug,holdout\n", "utf-8", r"line 2, names the split 'holdout'"),
        ("id,cat,dog\n0a,1,1\n", "utf-8", r"line 2, has 2 labels of the columns cat, dog"),
        ("id,id\n0a,1\n", "utf-8", r"two columns of the same name"),
    ],
)
def test_a_table_that_cannot_be_understood_is_said_with_file_and_line(tmp_path, text, encoding, said):
    file = table(text, flat(tmp_path, *FOUR), encoding=encoding)
    with pytest.raises(RetrainLabError, match=said):
        scanning.scan(tmp_path, labels_csv=file)


def test_a_table_in_utf16_as_spreadsheets_write_it(tmp_path):
    table("id,label\n0a,Bär\n0b,猫\n0c,Bär\n0d,猫\n", flat(tmp_path, *FOUR), encoding="utf-16")
    assert set(scanning.scan(tmp_path).images["label"]) == {"Bär", "猫"}


def test_names_in_two_spellings_of_unicode_fit(tmp_path):
    flat(tmp_path, *(unicodedata.normalize("NFD", f"café{n}.jpg") for n in range(4)))
    table("id,label\n" + "".join(f"café{n},{'ab'[n % 2]}\n" for n in range(4)), tmp_path)
    assert scanning.scan(tmp_path).images["problem"].isna().all()


def test_a_flat_folder_without_labels_is_not_blamed_on_a_file(tmp_path):
    flat(tmp_path, *FOUR)
    (tmp_path / "0.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(
        RetrainLabError, match=r"holds 5 images in no label folders. Expected one folder of images a label"
    ):
        scanning.scan(tmp_path)


# --------------------------------------------------------------------------------------------- splits.csv


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,split\na/x.png,holdout", "line 2, names the split 'holdout'"),
        ("file,split\na/x.png,train", "has the columns file, split"),
        ("path,split\na/image 000.png,train\na/image 000.png,test", "puts 'a/image 000.png' into two splits"),
        ("path,split\n./a/image 000.png,test\n", "lists './a/image 000.png', which the image folder does not hold"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_bad_splits_csv_is_said(tmp_path, text, said):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(RetrainLabError, match=said):
        scanning.load(tmp_path)


def test_a_splits_csv_that_is_no_file(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "splits.csv").mkdir()
    with pytest.raises(RetrainLabError, match=r"splits\.csv cannot be read: Is a directory\.$"):
        scanning.load(tmp_path)


def test_what_splits_csv_and_folders_say_must_agree(tmp_path):
    make_folder(tmp_path, {"train/a": 2, "train/b": 2, "test/a": 2, "test/b": 2}, ("png",))
    (tmp_path / "splits.csv").write_text("path,split\ntrain/a/image 000.png,test\n")
    with pytest.raises(RetrainLabError, match=r"puts 'train/a/image 000.png' into test, but it is in train"):
        scanning.load(tmp_path)
    (tmp_path / "splits.csv").write_text("path,split\ntrain/a/image 000.png,train\n")
    assert (scanning.load(tmp_path).images["split"] == "test").sum() == 4


# --------------------------------------------------------------------------------------------- archives


@pytest.mark.parametrize(("kind", "how"), [("zip", "unzip 'photos.zip'"), ("gztar", "tar -xf 'photos.tar.gz'")])
def test_an_archive_is_said_to_be_one(tmp_path, kind, how):
    import shutil

    make_folder(tmp_path / "photos", {"a": 2, "b": 2})
    file = shutil.make_archive(str(tmp_path / "photos"), kind, tmp_path / "photos")
    with pytest.raises(RetrainLabError, match=rf"is a (zip|tar) archive. Unpack it \(.*{how}.* and set image_dir"):
        scanning.scan(file)
    (tmp_path / "only").mkdir()
    shutil.move(file, tmp_path / "only")
    with pytest.raises(RetrainLabError, match=r"holds no images, but the archive photos\..*Unpack it there"):
        scanning.scan(tmp_path / "only")


def test_known_images_that_a_table_does_not_name_are_not_read_again(tmp_path, monkeypatch):
    table("id,label\n0a,pug\n0b,corgi\n0c,pug\n", flat(tmp_path, *FOUR))
    first = scanning.scan(tmp_path).images
    with monkeypatch.context() as closed:
        closed.setattr(scanning, "look", lambda *_: pytest.fail("an image was read again"))
        pd.testing.assert_frame_equal(scanning.scan(tmp_path, first).images, first)


# --------------------------------------------------------------------------------------------- in runs


def test_a_run_keeps_how_its_images_were_understood(tmp_path):
    root = flat(tmp_path / "cows", *(f"cow{n // 4}_{n}.png" for n in range(40)))
    text = "file,behaviour\n" + "".join(f"cow{n // 4}_{n}.png,{'ab'[n % 2]}\n" for n in range(40))
    file = table(text, tmp_path, "what.csv")
    place = {"run": "cows", "reports_dir": str(tmp_path / "out"), "image_dir": str(root)}
    said = run_notebook("01", **place, labels_csv=str(file), groups=r"cow\d+", testing_percentage=20.0)
    assert f"Labels are those of what.csv ({tmp_path}): its column 'file' names the images, 'behaviour' is the" in said
    assert r"The pattern cow\d+ makes 10 groups of 40 images." in said
    run = run_folder.Run(tmp_path / "out" / "cows")
    info, images = run.info(), run.read_table("images")
    assert info["dataset"]["said"][0] in said and info["parameters"]["groups"] == r"cow\d+"
    assert info["parameters"]["labels_csv"] == str(file)
    assert images.groupby("group")["split"].nunique().max() == 1 and set(images["split"]) == set(SPLITS)
    relabeling.decide(run.folder, "cow0_0.png", images.set_index("path")["sha256"]["cow0_0.png"], "a", "b")
    run_notebook("01", **place, labels_csv=str(file), groups=r"cow\d+", testing_percentage=20.0)
    again = run.read_table("images").set_index("path")
    assert again.loc["cow0_0.png", ["label", "given"]].tolist() == ["b", "a"]
    assert (again["split"] == images.set_index("path")["split"]).all()
