import os
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import make_folder, make_image
from PIL import Image

from retrainlab import images
from retrainlab.errors import RetrainLabError


def save(image: Image.Image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


# ------------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "tga"])
def test_lossless_formats_give_the_pixels_that_were_saved(tmp_path, suffix):
    image = make_image(0)
    assert np.array_equal(images.read_pixels(save(image, tmp_path / f"a.{suffix}")), np.asarray(image))


@pytest.mark.parametrize(("suffix", "options"), [("jpg", {"quality": 95}), ("webp", {"quality": 95})])
def test_lossy_formats_come_close(tmp_path, suffix, options):
    smooth = make_image(0).resize((12, 10)).resize((48, 40))
    found = images.read_pixels(save(smooth, tmp_path / f"a.{suffix}", **options)).astype(int)
    assert np.abs(found - np.asarray(smooth)).mean() < 4


def test_content_decides_not_the_extension(tmp_path):
    path = save(make_image(0), tmp_path / "a.png")
    assert np.array_equal(images.read_pixels(path.rename(tmp_path / "a.jpg")), np.asarray(make_image(0)))


def test_exif_turns_the_image_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: the camera was held upright
    path = save(make_image(0, size=(48, 40)), tmp_path / "x" / "a.png", exif=exif)
    save(make_image(1), tmp_path / "y" / "b.png")
    assert images.read_pixels(path).shape == (48, 40, 3)
    row = images.scan(tmp_path).set_index("path").loc["x/a.png"]
    assert (row["width"], row["height"]) == (40, 48)


def test_alpha_is_laid_over_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (images.read_pixels(save(clear, tmp_path / "a.png")) == 255).all()
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0] * 256)
    assert (images.read_pixels(save(palette, tmp_path / "b.png", transparency=0)) == 255).all()


def test_sixteen_bits_become_eight(tmp_path):
    ramp = np.linspace(0, 65535, 16, dtype=np.uint16).reshape(4, 4)
    found = images.read_pixels(save(Image.fromarray(ramp), tmp_path / "a.png"))
    assert np.array_equal(found[..., 0], ramp >> 8)
    twelve = ramp >> 4  # a camera of 12 bits: its image must not turn black
    assert np.array_equal(images.read_pixels(save(Image.fromarray(twelve), tmp_path / "b.png"))[..., 0], ramp >> 8)


def test_greys_cmyk_and_floats_become_rgb(tmp_path):
    grey = images.read_pixels(save(Image.new("L", (4, 4), 77), tmp_path / "a.png"))
    assert (grey == 77).all() and grey.shape == (4, 4, 3)
    cyan = images.read_pixels(save(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), tmp_path / "b.jpg"))
    assert cyan[0, 0, 0] < 40 and cyan[0, 0, 1] > 100
    floats = images.read_pixels(save(Image.fromarray(np.full((4, 4), 0.5, np.float32)), tmp_path / "c.tiff"))
    assert (floats == 127).all()


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert tuple(images.read_pixels(tmp_path / "a.gif")[0, 0]) == (255, 0, 0)


def test_large_jpegs_are_decoded_at_reduced_scale_with_the_same_result(tmp_path):
    smooth = make_image(0).resize((1600, 1200), Image.Resampling.BICUBIC)
    path = save(smooth, tmp_path / "a.jpg", quality=95)
    whole = np.asarray(Image.open(path).resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(images.read_pixels(path, (64, 64)) - whole).mean() < 2


def test_size_is_height_by_width(tmp_path):
    assert images.read_pixels(save(make_image(0), tmp_path / "a.png"), (10, 20)).shape == (10, 20, 3)


# ------------------------------------------------------------------------------------------- scanning


def test_labels_are_kept_as_they_are_on_disk(tmp_path):
    labels = ["A-1", "a 1", "Äpfel", "猫", "dogs/small terrier", "dogs/big"]
    table = images.load(make_folder(tmp_path, dict.fromkeys(labels, 3)))
    assert sorted(table["label"].unique()) == sorted(labels)
    assert table["problem"].isna().all()
    assert list(table.columns) == images.COLUMNS


def test_what_is_unreadable_is_listed_with_its_reason_and_left_out(tmp_path):
    make_folder(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "text.jpg").write_text("this is no picture")
    (tmp_path / "a" / "empty.png").touch()
    (tmp_path / "a" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    whole = (tmp_path / "b" / "image 000.jpg").read_bytes()
    (tmp_path / "b" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    save(make_image(1), tmp_path / "top.png")
    table = images.load(tmp_path).set_index("path")
    problems = table["problem"].dropna().to_dict()
    assert set(problems) == {"a/text.jpg", "a/empty.png", "a/phone.HEIC", "b/half.jpg", "top.png"}
    assert "not an image" in problems["a/text.jpg"]
    assert "empty" in problems["a/empty.png"]
    assert "convert it to JPEG" in problems["a/phone.HEIC"]
    assert "truncated" in problems["b/half.jpg"]
    assert "label folder" in problems["top.png"]
    assert table.loc[list(problems), "split"].isna().all()
    assert table["problem"].isna().sum() == 6
    assert any("5 of 11 files are left out" in note for note in images.notes(table.reset_index()))


def test_other_files_hidden_files_and_own_outputs_are_passed_over(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "README.txt").write_text("about these images")
    save(make_image(0), tmp_path / ".trash" / "a.png")
    save(make_image(0), tmp_path / "a" / ".hidden.png")
    for marker in ("run.json", "CACHEDIR.TAG"):
        save(make_image(0), tmp_path / marker[:3] / "deep" / "a.png")
        (tmp_path / marker[:3] / marker).touch()
    assert set(images.scan(tmp_path)["label"]) == {"a", "b"}


def test_a_link_in_a_circle_ends(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert len(images.scan(tmp_path)) == 4


def test_a_name_that_is_not_utf8_is_a_problem_not_a_crash(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    odd = os.fsencode(tmp_path / "a") + b"/caf\xe9.png"
    shutil.copy(tmp_path / "a" / "image 001.png", odd)
    table = images.load(tmp_path)
    assert "UTF-8" in table["problem"].dropna().item()
    table.to_parquet(tmp_path / "table.parquet")


def test_known_files_are_not_read_again(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    first = images.scan(tmp_path)
    victim = tmp_path / "a" / "image 000.png"
    stat = victim.stat()
    victim.write_bytes(b"x" * stat.st_size)
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time: nobody could know
    pd.testing.assert_frame_equal(images.scan(tmp_path, first), first)
    os.utime(victim)
    assert images.scan(tmp_path, first)["problem"].notna().sum() == 1


@pytest.mark.parametrize(
    ("labels", "said"), [({}, "holds no images"), ({"a": 3}, "one label only, 'a'"), (None, "does not exist")]
)
def test_a_folder_that_cannot_work_is_said_in_a_sentence(tmp_path, labels, said):
    root = tmp_path / "images"
    if labels is not None:
        make_folder(root, labels).mkdir(exist_ok=True)
    with pytest.raises(RetrainLabError, match=said):
        images.scan(root)


def test_all_unreadable_is_said_with_an_example(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.jpg").write_text("no")
    with pytest.raises(RetrainLabError, match=r"2 image files and none can be used. The first: a/x.jpg: not an image"):
        images.scan(tmp_path)


# ------------------------------------------------------------------------------------------- splitting


@pytest.fixture
def many() -> pd.DataFrame:
    """A table without files: 2,000 images of two labels."""
    paths = [f"{label}/{number}.jpg" for label in "ab" for number in range(1000)]
    table = pd.DataFrame({"path": paths, "label": [p[0] for p in paths], "sha256": paths, "problem": None})
    return table.reindex(columns=images.COLUMNS)


def test_the_split_follows_the_percentages(many):
    counts = images.split(many, 25, 15)["split"].value_counts(normalize=True)
    assert counts["test"] == pytest.approx(0.25, abs=0.03)
    assert counts["validation"] == pytest.approx(0.15, abs=0.03)


def test_the_split_is_that_of_retrain_py(many):
    """Values computed by retrain.py's own formula for these names."""
    import hashlib

    table = images.split(many, 10, 10)
    for path, found in zip(table["path"], table["split"], strict=True):
        hashed = int(hashlib.sha1(path.encode()).hexdigest(), 16) % 2**27 * (100.0 / (2**27 - 1))
        assert found == ("validation" if hashed < 10 else "test" if hashed < 20 else "train")


def test_images_keep_their_split_when_others_come_and_go(many):
    whole = images.split(many).set_index("path")["split"]
    half = images.split(many.iloc[::2]).set_index("path")["split"]
    assert (whole[half.index] == half).all()


def test_the_split_survives_moving_the_folder(tmp_path):
    make_folder(tmp_path / "here", {"a": 20, "b": 20})
    before = images.load(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert images.load(tmp_path / "there")["split"].equals(before["split"])


def test_nohash_names_and_copies_share_a_split(many):
    many.loc[:9, "path"] = [f"a/hand_nohash_{number}.jpg" for number in range(10)]
    many.loc[5:14, "sha256"] = "the same content"  # ties rows 5 to 9 to rows 10 to 14
    table = images.split(many, 30, 30)
    assert len(set(table.loc[:14, "split"])) == 1


def test_a_small_label_keeps_a_training_image(many):
    few = many.iloc[::97].reset_index(drop=True)
    few["label"] = [f"label {number}" for number in range(len(few))]
    table = images.split(few, 50, 49)
    assert (table["split"] == "train").all()
    assert any("no test image" in note for note in images.notes(table))


def test_splits_csv_wins(tmp_path):
    make_folder(tmp_path, {"a": 40, "b": 40}, ("png",))
    paths = images.scan(tmp_path)["path"]
    splits = ["train" if number % 2 else "test" for number in range(len(paths))]
    pd.DataFrame({"path": paths, "split": splits}).to_csv(tmp_path / "splits.csv", index=False)
    table = images.load(tmp_path, 10, 30)
    assert ((table["split"] == "test") == (np.array(splits) == "test")).all()
    assert 4 <= (table["split"] == "validation").sum() <= 22  # none was listed: taken from training


def test_splits_csv_takes_copies_along_and_names_what_it_cannot_find(tmp_path):
    make_folder(tmp_path, {"a": 6, "b": 6}, ("png",))
    shutil.copy(tmp_path / "a" / "image 000.png", tmp_path / "a" / "twin.png")
    (tmp_path / "splits.csv").write_text("path,split\na/image 000.png,test\na/image 001.png,validation\n")
    table = images.load(tmp_path, 0, 0).set_index("path")["split"]
    assert table["a/twin.png"] == "test" and table["a/image 001.png"] == "validation"
    (tmp_path / "splits.csv").write_text("path,split\n./a/image 000.png,test\n")
    with pytest.raises(RetrainLabError, match=r"lists './a/image 000.png', which the image folder does not hold"):
        images.load(tmp_path)


def test_a_repaired_file_is_looked_at_again(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2}, ("png",))
    first = images.scan(tmp_path)
    first.loc[0, "problem"] = "the file may not be read: permission denied"
    assert images.scan(tmp_path, first)["problem"].isna().all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,split\na/x.png,training", "names the split 'training'"),
        ("file,split\na/x.png,train", "has the columns file, split"),
        ("path,split\nx,train\nx,test", "puts 'x' into two splits"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_bad_splits_csv_is_said(tmp_path, text, said):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(RetrainLabError, match=said):
        images.read_splits(tmp_path)


@pytest.mark.parametrize("percentages", [(100, 0), (50, 50)])
def test_percentages_that_leave_no_training_image(many, percentages):
    with pytest.raises(RetrainLabError, match="leave no training image"):
        images.split(many, *percentages)


def test_the_digest_tells_contents_and_splits_apart(many):
    table = images.split(many)
    assert images.digest(table) == images.digest(table.sample(frac=1, random_state=0))
    assert images.digest(table) != images.digest(images.split(many, 20, 10))
    assert images.digest(table) != images.digest(table.iloc[1:])


@pytest.mark.parametrize("value", [-5, float("nan")])
@pytest.mark.parametrize("name", ["testing_percentage", "validation_percentage"])
def test_a_negative_percentage_is_named(many, name, value):
    with pytest.raises(RetrainLabError, match=rf"^{name} is {value:g}\. Expected a number from 0 to less than 100\.$"):
        images.split(many, **{name: value})


def test_notes_name_the_first_files_that_are_left_out_with_their_problem(many):
    many.loc[:4, "problem"] = "the file is empty"
    table = images.split(many)
    paths = many["path"][:5].tolist()
    assert images.notes(table)[0] == (
        f"5 of {len(many)} files are left out. {paths[0]}: the file is empty. {paths[1]}: the file is empty. "
        f"{paths[2]}: the file is empty. And 2 more."
    )
    assert images.notes(table, named=5)[0].endswith(f"{paths[4]}: the file is empty.")
    assert images.notes(table, named=0)[0] == f"5 of {len(many)} files are left out."
