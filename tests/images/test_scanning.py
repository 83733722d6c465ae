import hashlib
import itertools
import os
import shutil
import threading

import pandas as pd
import pytest
from conftest import make_folder, make_image
from PIL import Image

from retrainlab.errors import RetrainLabError
from retrainlab.images import overview, scanning


def save(image: Image.Image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def test_labels_are_kept_as_they_are_on_disk(tmp_path):
    labels = ["A-1", "a 1", "Äpfel", "猫", "dogs/small terrier", "dogs/big"]
    table = scanning.load(make_folder(tmp_path, dict.fromkeys(labels, 3))).images
    assert sorted(table["label"].unique()) == sorted(labels)
    assert table["problem"].isna().all()
    assert list(table.columns) == scanning.COLUMNS


def test_what_is_unreadable_is_listed_with_its_reason_and_left_out(tmp_path):
    make_folder(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "text.jpg").write_text("this is no picture")
    (tmp_path / "a" / "empty.png").touch()
    (tmp_path / "a" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    whole = (tmp_path / "b" / "image 000.jpg").read_bytes()
    (tmp_path / "b" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    save(make_image(1), tmp_path / "top.png")
    table = scanning.load(tmp_path).images.set_index("path")
    problems = table["problem"].dropna().to_dict()
    assert set(problems) == {"a/text.jpg", "a/empty.png", "a/phone.HEIC", "b/half.jpg", "top.png"}
    assert "not an image" in problems["a/text.jpg"]
    assert "empty" in problems["a/empty.png"]
    assert "convert it to JPEG" in problems["a/phone.HEIC"]
    assert "truncated" in problems["b/half.jpg"]
    assert "label folder" in problems["top.png"]
    assert table.loc[list(problems), "split"].isna().all()
    assert table["problem"].isna().sum() == 6
    assert any("5 of 11 files are left out" in note for note in overview.notes(table.reset_index()))


def test_other_files_hidden_files_and_own_outputs_are_passed_over(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "README.txt").write_text("about these images")
    save(make_image(0), tmp_path / ".trash" / "a.png")
    save(make_image(0), tmp_path / "a" / ".hidden.png")
    for marker in ("run.json", "CACHEDIR.TAG"):
        save(make_image(0), tmp_path / marker[:3] / "deep" / "a.png")
        (tmp_path / marker[:3] / marker).touch()
    assert set(scanning.scan(tmp_path).images["label"]) == {"a", "b"}


def test_a_link_in_a_circle_ends(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert len(scanning.scan(tmp_path).images) == 4


def test_a_name_that_is_not_utf8_is_a_problem_not_a_crash(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    odd = os.fsencode(tmp_path / "a") + b"/caf\xe9.png"
    shutil.copy(tmp_path / "a" / "image 001.png", odd)
    table = scanning.load(tmp_path).images
    assert "UTF-8" in table["problem"].dropna().item()
    table.to_parquet(tmp_path / "table.parquet")


def test_known_files_are_not_read_again(tmp_path, monkeypatch):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    first = scanning.scan(tmp_path).images
    with monkeypatch.context() as closed:
        closed.setattr(scanning, "_look", None)  # whoever looks at a file fails
        pd.testing.assert_frame_equal(scanning.scan(tmp_path, first).images, first)
    victim = tmp_path / "a" / "image 000.png"
    stat = victim.stat()
    victim.write_bytes(b"x" * stat.st_size)
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # of the same size, and as old by its own account
    assert scanning.scan(tmp_path, first).images["problem"].notna().sum() == 1


@pytest.mark.parametrize(
    ("labels", "said"), [({}, "holds no images"), ({"a": 3}, "one label only, 'a'"), (None, "does not exist")]
)
def test_a_folder_that_cannot_work_is_said_in_a_sentence(tmp_path, labels, said):
    root = tmp_path / "images"
    if labels is not None:
        make_folder(root, labels).mkdir(exist_ok=True)
    with pytest.raises(RetrainLabError, match=said):
        scanning.scan(root)


def test_all_unreadable_is_said_with_an_example(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.jpg").write_text("no")
    with pytest.raises(RetrainLabError, match=r"2 image files and none can be used. The first: a/x.jpg: not an image"):
        scanning.scan(tmp_path)


def test_a_repaired_file_is_looked_at_again(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    first = scanning.scan(tmp_path).images
    first.loc[0, "problem"] = "the file may not be read: permission denied"
    assert scanning.scan(tmp_path, first).images["problem"].isna().all()


def test_files_that_changed_places_are_looked_at_again(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("bmp",))  # of equal size
    one, other = tmp_path / "a" / "image 000.bmp", tmp_path / "b" / "image 000.bmp"
    os.utime(one, (1, 1)), os.utime(other, (1, 1))
    table = scanning.scan(tmp_path).images
    one.rename(tmp_path / "aside"), other.rename(one), (tmp_path / "aside").rename(other)
    before, after = (t.set_index("path")["sha256"] for t in (table, scanning.scan(tmp_path, table).images))
    assert after["a/image 000.bmp"] == before["b/image 000.bmp"] != before["a/image 000.bmp"]


def test_camera_raw_is_not_taken_for_its_preview(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    make_image(9).save(tmp_path / "a" / "DSC_1.nef", "TIFF")
    (row,) = scanning.scan(tmp_path).images.query("path == 'a/DSC_1.nef'").to_dict("records")
    assert row["problem"].startswith("a camera raw file that LibRaw cannot read")


def test_a_link_that_leads_nowhere_is_reported_if_it_is_named_like_an_image(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    (tmp_path / "a" / "annexed.jpg").symlink_to("../objects/none")
    (tmp_path / "a" / "notes").symlink_to("../objects/none")
    table = scanning.scan(tmp_path).images.set_index("path")
    assert table.loc["a/annexed.jpg", "problem"] == "it is a link to a file that does not exist"
    assert len(table) == 5


def test_a_changed_file_among_known_ones_keeps_the_table_in_order(tmp_path):
    make_folder(tmp_path, {"a": 3, "b": 3})
    first = scanning.scan(tmp_path).images
    make_image(9).save(tmp_path / "a" / "image 001.png")
    make_image(10).save(tmp_path / "a" / "image 000 b.png")
    (tmp_path / "b" / "image 002.jpg").unlink()
    again = scanning.scan(tmp_path, first).images
    pd.testing.assert_frame_equal(again, scanning.scan(tmp_path).images)
    assert again["path"].is_monotonic_increasing and len(again) == 6


def test_what_is_no_file_is_a_row_where_it_is_named_like_an_image(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "annex.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "a" / "circle.png").symlink_to(tmp_path / "a" / "circle.png")
    (tmp_path / "a" / "null.png").symlink_to(os.devnull)
    (tmp_path / "b" / "linked.png").symlink_to(tmp_path / "a" / "image 001.png")
    (tmp_path / "b" / "folder.png").mkdir()
    os.mkfifo(tmp_path / "b" / "pipe.png")
    os.mkfifo(tmp_path / "b" / "pipe")
    table = scanning.scan(tmp_path).images.set_index("path")
    nowhere = "it is a link to a file that does not exist"
    assert table["problem"].dropna().to_dict() == {
        "a/annex.png": nowhere,
        "a/circle.png": nowhere,
        "a/null.png": "it is a device, not a file",
        "b/pipe.png": "it is a named pipe, not a file",
    }
    assert table.loc["b/linked.png", "sha256"] == table.loc["a/image 001.png", "sha256"] and len(table) == 9


@pytest.mark.parametrize("name", ["splits.csv", "labels.csv"])
def test_a_pipe_that_is_called_like_a_table_is_said(tmp_path, name):
    flat = name == "labels.csv"
    make_folder(tmp_path, {"a": 2} if flat else {"a": 2, "b": 2})
    os.mkfifo(tmp_path / name)
    with pytest.raises(RetrainLabError, match=f"{name}.* cannot be read: it is a named pipe, not a file"):
        scanning.scan(tmp_path)


def test_a_pipe_in_place_of_the_folder_is_said(tmp_path):
    os.mkfifo(tmp_path / "images")
    with pytest.raises(RetrainLabError, match="is neither a folder nor a file"):
        scanning.scan(tmp_path / "images")


def test_a_file_that_changes_under_the_scan_is_one_of_its_contents_or_has_a_problem(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    victim, contents, ended = tmp_path / "a" / "image 000.png", [], threading.Event()
    for number in (7, 8):
        make_image(number).save(victim)
        contents.append(victim.read_bytes())
    known = {hashlib.sha256(content).hexdigest() for content in contents}

    def change() -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            victim.write_bytes(contents[number % 2])  # not at once: it is empty, then half, then whole
            if number % 5 == 0:
                victim.unlink()
                os.mkfifo(victim) if number % 2 else victim.mkdir()
                victim.unlink() if number % 2 else victim.rmdir()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        tables = [scanning.scan(tmp_path).images.set_index("path") for _ in range(40)]
    finally:
        ended.set()
        changing.join()
    rows = [table.loc["a/image 000.png"] for table in tables if "a/image 000.png" in table.index]
    assert rows and all((row["sha256"] in known) != isinstance(row["problem"], str) for row in rows)
    assert all(table["problem"].drop("a/image 000.png", errors="ignore").isna().all() for table in tables)
    victim.write_bytes(contents[0])
    again = scanning.scan(tmp_path, tables[-1].reset_index()).images.set_index("path")
    assert again.loc["a/image 000.png", "sha256"] == hashlib.sha256(contents[0]).hexdigest()
