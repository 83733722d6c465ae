import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_folder, make_image, mounted
from PIL import Image

from retrainlab import files
from retrainlab.bottlenecks import caching, computing, extracting, features, projection
from retrainlab.bottlenecks.features import audit
from retrainlab.bottlenecks.projection import principal_components
from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder, read_pixels
from retrainlab.pixels.distortions import Distortion, apply
from retrainlab.pixels.levels import OWN, Levels


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "images", {"a": 12, "b": 12}, ("png",))


def run(fresh, folder, **options):
    cache = caching.open_cache(fresh)
    table = scanning.scan(folder).images
    return cache, table, extracting.extract(fresh, cache, ImageFolder(folder), table, **options)


def test_what_is_cached_is_what_the_backbone_says(fresh, folder):
    cache, table, done = run(fresh, folder)
    assert (done.cached, done.computed, done.problems) == (0, 24, {})
    features, known = cache.features(table, OWN)
    assert known["path"].tolist() == table["path"].tolist()
    for row in (0, 7, 23):
        pixels = read_pixels(folder / known["path"][row], fresh.image_size)
        assert np.array_equal(features[row], fresh.bottlenecks(pixels[None])[0])


def test_a_cache_that_may_only_be_read_serves_what_it_has_and_keeps_nothing_new(fresh, folder, tmp_path):
    with mounted(tmp_path / "disk", 20) as disk:
        shutil.copytree(fresh.folder.parent, disk / "cache")
        here = replace(fresh, folder=disk / "cache" / fresh.folder.name)
        run(here, folder)
        for number in range(12):
            make_image(100 + number, 5).save(folder / "b" / f"new {number}.png")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        cache, table, done = run(here, folder)
        assert (done.cached, done.computed) == (24, 12)
        said = rf"12 computed in .*, none of them kept: '{here.folder}' cannot be written \(Read-only file system\)\."
        assert re.search(said, str(done))
        features, known = cache.features(table, OWN)
        pixels = [read_pixels(folder / path, here.image_size) for path in known["path"]]
        assert np.array_equal(features, np.concatenate([here.bottlenecks(one[None]) for one in pixels]))
        assert run(here, folder)[2].computed == 12
        del cache


def test_nothing_is_computed_twice_and_that_is_said(fresh, folder):
    run(fresh, folder)
    (folder / "a").rename(folder / "renamed")
    shutil.copy(folder / "b" / "image 000.png", folder / "renamed" / "copy.png")
    cache, table, done = run(fresh, folder)
    assert (done.cached, done.computed) == (24, 0)
    assert str(done) == "24 images: 24 bottlenecks from the cache, none computed."
    assert len(cache.features(table, OWN)[1]) == 25


def test_an_edited_file_is_computed_anew(fresh, folder):
    run(fresh, folder)
    make_image(999).save(folder / "a" / "image 000.png")
    _, _, done = run(fresh, folder)
    assert (done.cached, done.computed) == (23, 1)


def test_a_damaged_part_is_set_aside_and_computed_again(fresh, folder):
    run(fresh, folder)
    (part,) = fresh.folder.glob("*.arrow")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    _, _, done = run(fresh, folder)
    assert (done.computed, done.damaged) == (24, 1)
    assert "1 damaged part set aside" in str(done)
    assert list(fresh.folder.glob("*.damaged"))
    _, _, again = run(fresh, folder)
    assert (again.computed, again.damaged) == (0, 0)


def test_a_cut_off_part_is_no_obstacle(fresh, folder):
    run(fresh, folder)
    (part,) = fresh.folder.glob("*.arrow")
    part.write_bytes(part.read_bytes()[:100])
    assert run(fresh, folder)[2].computed == 24


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupted_work_is_kept(fresh, folder, error, monkeypatch):
    count, real = iter(range(1000)), computing.read_pixels

    def interrupted(*arguments):
        if next(count) == 15:
            raise error
        return real(*arguments)

    monkeypatch.setattr(computing, "read_pixels", interrupted)
    with pytest.raises(error):
        run(fresh, folder, threads=1)
    monkeypatch.undo()
    _, _, done = run(fresh, folder)
    assert done.cached >= 15 and done.cached + done.computed == 24


def test_an_image_that_finishes_beside_the_one_that_ends_the_work_is_kept(folder, tmp_path):
    both, ended = threading.Barrier(2), threading.Event()

    class Backbone:
        image_size, dim = (8, 8), 3

        def bottlenecks(self, pixels):
            if both.wait(timeout=20) == 0:
                ended.set()
                raise MemoryError
            ended.wait(timeout=20)
            time.sleep(0.2)  # the work has ended by now
            return np.ones((1, 3), np.float32)

    cache, table = caching.Cache(tmp_path, 3), scanning.scan(folder).images
    with pytest.raises(MemoryError):
        extracting.extract(Backbone(), cache, ImageFolder(folder), table[:2], threads=2)
    assert len(cache) == 1 and (cache.features(table, OWN)[0] == 1).all()


def test_a_file_that_vanished_since_the_scan_is_reported(fresh, folder):
    table = scanning.scan(folder).images
    (folder / "a" / "image 003.png").unlink()
    cache = caching.open_cache(fresh)
    done = extracting.extract(fresh, cache, ImageFolder(folder), table)
    assert (
        done.problems == {"a/image 003.png": "the file cannot be read any more: No such file or directory"}
        and done.computed == 23
    )
    assert len(cache.features(table, OWN)[1]) == 23


def test_a_jpeg_that_only_decoding_finds_damaged_is_left_out_and_said(fresh, tmp_path):
    folder = make_folder(tmp_path / "photos", {"a": 3, "b": 3}, ("jpg",))
    file = folder / "a" / "image 001.jpg"
    data = bytearray(file.read_bytes())
    table = data.index(b"\xff\xc4") + 5
    data[table : table + 16] = b"\xff" * 16  # how many codes of each length: more than there can be
    file.write_bytes(data)
    images = scanning.load(folder).images
    assert images["problem"].isna().all()
    found = features.load(fresh, ImageFolder(folder), images)
    assert len(found.table) == 5 and "a/image 001.jpg" not in set(found.table["path"])
    assert "1 could not be read" in str(found) and "a/image 001.jpg: the image file is damaged" in str(found)
    again = features.load(fresh, ImageFolder(folder), scanning.load(folder, known=images).images)
    assert len(again.table) == 5 and "1 could not be read" in str(again)


def test_a_file_that_changed_since_the_scan_is_not_cached_under_its_old_name(fresh, folder):
    table = scanning.scan(folder).images
    make_image(999).save(folder / "a" / "image 003.png")
    cache = caching.open_cache(fresh)
    done = extracting.extract(fresh, cache, ImageFolder(folder), table)
    assert list(done.problems) == ["a/image 003.png"] and "has changed" in done.problems["a/image 003.png"]
    assert run(fresh, folder)[2].computed == 1


def test_a_folder_that_vanishes_is_said_once_and_what_was_computed_is_kept(folder, tmp_path):
    class Backbone:
        image_size, dim, seen = (8, 8), 3, 0

        def bottlenecks(self, pixels):
            self.seen += 1
            if self.seen == 5:
                folder.rename(tmp_path / "unplugged")
            return np.ones((1, 3), np.float32)

    table, photos = scanning.scan(folder).images, ImageFolder(folder)
    for left in ("nothing", "an empty folder"):
        cache = caching.Cache(tmp_path / left, 3)
        cache.folder.mkdir()
        if left == "an empty folder":
            (tmp_path / "unplugged").rename(folder)
        with pytest.raises(RetrainLabError) as error:
            extracting.extract(Backbone(), cache, photos, table, threads=1)
        said = str(error.value)
        assert said.startswith(f"The image folder '{folder}' has vanished, or is empty, while its images were read (a/")
        assert "What was computed is kept" in said and "\n" not in said
        again = caching.Cache(cache.folder, 3)
        again.refresh()
        assert len(again) == 5
        folder.mkdir()  # what a network drive leaves, the second time
        with pytest.raises(RetrainLabError, match="has vanished, or is empty"):
            extracting.extract(Backbone(), cache, photos, table, threads=1)
        folder.rmdir()


@pytest.fixture
def deep(tmp_path):
    """A folder of 12-bit images beside those of 8 bits."""
    root = make_folder(tmp_path / "images", {"a": 3, "b": 3}, ("png",))
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 4096, (40, 48)).astype(np.uint16)
        Image.fromarray(values).save(root / "a" / f"deep {number}.png")
    return root


def extracted(fresh, root):
    table = scanning.scan(root).images
    photos, cache = ImageFolder.of(root, table), caching.open_cache(fresh)
    return photos, table, cache, extracting.extract(fresh, cache, photos, table)


def test_the_scale_of_a_folder_belongs_to_what_the_cache_knows_images_by(fresh, deep):
    photos, table, cache, done = extracted(fresh, deep)
    assert photos.levels == Levels((0, 4095)) and done.computed == 9
    features, known = cache.features(table, photos.levels)
    row = known.index[known["path"] == "a/deep 1.png"][0]
    pixels = read_pixels(deep / "a" / "deep 1.png", fresh.image_size, photos.levels)
    assert len(known) == 9 and np.array_equal(features[row], fresh.bottlenecks(pixels[None])[0])
    plain = known["dtype"].isna()
    assert plain.sum() == 6
    assert np.array_equal(cache.knows(known["sha256"]), plain)
    assert extracted(fresh, deep)[3].computed == 0
    assert len(cache.features(table, OWN)[1]) == 6  # on another scale they are not known


def test_an_image_of_more_bits_changes_the_scale_of_the_others_but_not_of_8_bit_images(fresh, deep):
    before = extracted(fresh, deep)
    Image.fromarray(np.full((40, 48), 60000, np.uint16)).save(deep / "b" / "brighter.png")
    photos, table, cache, done = extracted(fresh, deep)
    assert photos.levels == Levels((0, 65535)) and (done.cached, done.computed) == (6, 4)
    old, new = (one[2].features(one[1], one[0].levels) for one in (before, (photos, table, cache)))
    old, new = (pd.DataFrame(matrix, index=known["path"]) for matrix, known in (old, new))
    same = (old == new.loc[old.index]).all(axis=1)
    assert same.sum() == 6 and not same.filter(like="deep").any()
    assert audit(cache, table, photos.levels)["value"]["images with a bottleneck"] == "10"


def test_variants_of_16_bit_images_are_on_the_scale_of_the_folder(fresh, deep):
    table = scanning.load(deep, 0, 0).images
    photos = ImageFolder.of(deep, table)
    loaded = features.load(fresh, photos, table, Distortion(True, random_brightness=20), 2)
    matrix, learn = loaded.learning
    assert len(learn) == 9 + 2 * 9 and loaded.of(table).learning[1].equals(learn)
    first = learn.index[(learn["split"] == "distorted") & (learn["path"] == "a/deep 1.png")][0]
    drawn = loaded.distortion.draw(fresh.image_size, learn["sha256"][first], 1)
    pixels = apply(photos.read("a/deep 1.png", drawn.resized), drawn, fresh.image_size)
    assert np.array_equal(matrix[first], fresh.bottlenecks(pixels[None])[0])


def test_two_at_once_fill_one_cache(fresh, folder):
    failures = []

    def work():
        try:
            run(fresh, folder)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    cache, table, done = run(fresh, folder)
    assert not failures and done.computed == 0 and len(cache.features(table, OWN)[0]) == 24


def test_a_full_disk_ends_in_a_sentence(fresh, folder, monkeypatch):
    from pathlib import Path

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RetrainLabError, match="No space left on device"):
        run(fresh, folder)


def test_the_order_of_rows_follows_the_table(fresh, folder):
    cache, table, _ = run(fresh, folder)
    shuffled = table.sample(frac=1, random_state=0)
    features, known = cache.features(shuffled, OWN)
    straight = cache.features(table, OWN)[0]
    assert known["path"].tolist() == shuffled["path"].tolist()
    assert np.array_equal(features, straight[shuffled.index])


def test_the_audit_counts(fresh, folder):
    cache, table, _ = run(fresh, folder)
    facts = audit(cache, table, OWN)["value"]
    assert facts["images with a bottleneck"] == "24" and facts["numbers a bottleneck"] == "24"
    assert facts["values that are not finite"] == "0"
    empty = audit(cache, table.iloc[:0], OWN)["value"]
    assert empty["images with a bottleneck"] == "0"


def test_few_directions_of_many_are_those_of_all(monkeypatch):
    features = np.random.default_rng(0).standard_normal((60, 90)).astype(np.float32) * np.linspace(3, 1, 90)
    features = (features - features.mean(axis=0)).astype(np.float32)
    few, variances = projection.principal_directions(features, 2)
    monkeypatch.setattr(projection, "_MANY", 10**9)  # always all of them
    whole, same = projection.principal_directions(features, 2)
    assert variances == pytest.approx(same, rel=1e-4) and variances[0] > variances[1]
    assert np.abs((few * whole).sum(axis=0)) == pytest.approx(1, abs=1e-4)


def test_principal_components_known_answer():
    random = np.random.default_rng(0)
    features = random.normal(0, [[10, 3, 0.1]], (500, 3)).astype(np.float32)
    points, share = principal_components(features)
    assert abs(np.corrcoef(points[:, 0], features[:, 0])[0, 1]) > 0.99
    assert points.std(axis=0) == pytest.approx([10, 3], rel=0.1) and share > 0.99
    again, _ = principal_components(features[::-1])
    assert again[::-1] == pytest.approx(points, abs=1e-3)  # signs are no matter of chance
    same, share = principal_components(np.ones((5, 3), np.float32))
    assert (same == 0).all() and share == 0


def test_a_part_that_was_checked_is_not_read_again_until_it_changes(fresh, folder, monkeypatch):
    cache, table, _ = run(fresh, folder)
    whole = cache.features(table, OWN)[0]
    caching.open_cache(fresh)
    with monkeypatch.context() as closed:
        closed.setattr(caching.hashlib, "file_digest", None)  # whoever reads a part to check it fails
        assert np.array_equal(caching.open_cache(fresh).features(table, OWN)[0], whole)
    (fresh.folder / "checked.json").write_text("[1, 2")
    assert len(caching.open_cache(fresh)) == 24  # what cannot be read is checked anew
    (part,) = fresh.folder.glob("*.arrow")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert len(caching.open_cache(fresh).damaged) == 1


@pytest.mark.parametrize("dim", [3, 4, 7, 1280])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_sum_of_a_row_tells_each_changed_bit_and_whose_row_it_is(dim, dtype):
    random = np.random.default_rng(0)
    rows, names = random.normal(size=(40, dim)).astype(dtype), np.array([f"{n:064x}" for n in range(40)], "S64")
    variants = np.arange(40, dtype=np.int32) % 2
    whole = caching._checks(names, variants, rows)
    assert len(set(whole)) == 40 and (caching._checks(names[::2], variants[::2], rows[::2]) == whole[::2]).all()
    for _ in range(200):
        damaged, row = rows.copy(), random.integers(40)
        damaged.view(np.uint8)[row, random.integers(rows.itemsize * dim)] ^= 1 << random.integers(8)
        assert ((caching._checks(names, variants, damaged) != whole) == (np.arange(40) == row)).all()
    swapped = rows.copy()
    swapped[:, [0, -1]] = swapped[:, [-1, 0]]
    for others in ((names[::-1], variants, rows), (names, 1 - variants, rows), (names, variants, swapped)):
        assert (caching._checks(*others) != whole).all()


def _damage_unseen(part, place):
    """Flip a bit as a disk does it: size and time of change stay."""
    stamp, content = part.stat(), bytearray(part.read_bytes())
    content[place] ^= 4
    part.write_bytes(content)
    os.utime(part, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_a_row_that_was_damaged_since_it_was_checked_is_computed_again(fresh, folder):
    cache, table, _ = run(fresh, folder)
    whole, photos = cache.features(table, OWN)[0], ImageFolder.of(folder, table)
    caching.open_cache(fresh)  # checks, and writes that down
    (part,) = fresh.folder.glob("*.arrow")
    _damage_unseen(part, part.read_bytes().index(whole[7].tobytes()) + 9)
    again = caching.open_cache(fresh)
    assert len(again) == 24 and not again.damaged  # nothing was read for that
    assert np.array_equal(again.load(table["sha256"][:5].tolist()), whole[:5])  # other rows are as they were
    with pytest.raises(caching.DamagedPart, match=r"arrow' has been damaged since it was last checked"):
        again.load(table["sha256"].tolist())
    assert len(again) == 0 and len(again.damaged) == 1 and not part.exists()
    run(fresh, folder)
    caching.open_cache(fresh)
    (part,) = fresh.folder.glob("*.arrow")
    _damage_unseen(part, part.read_bytes().index(whole[3].tobytes()) + 1)
    found = features.load(fresh, photos, table)
    assert np.array_equal(found.matrix, whole) and found.extractions[0].computed == 24
    assert "1 damaged part set aside and computed again" in str(found)


def test_a_damaged_part_in_a_cache_that_only_others_may_write_is_not_used(fresh, folder, monkeypatch):
    cache, table, _ = run(fresh, folder)
    caching.open_cache(fresh)
    (part,) = fresh.folder.glob("*.arrow")
    _damage_unseen(part, part.read_bytes().index(cache.features(table, OWN)[0][7].tobytes()) + 9)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(part), "replace", refuse)
    again = caching.open_cache(fresh)
    with pytest.raises(caching.DamagedPart):
        again.load(table["sha256"].tolist())
    again.refresh()
    assert len(again) == 0 and part.exists()


def test_a_matrix_beyond_memory_is_mapped_and_the_same(fresh, folder, monkeypatch):
    cache, table, _ = run(fresh, folder)
    whole = cache.features(table, OWN)[0]
    monkeypatch.setattr(files, "_IN_MEMORY", 0)
    monkeypatch.setattr(files, "BLOCK", 50)
    mapped = cache.features(table, OWN)[0]
    assert not mapped.flags.owndata and np.array_equal(mapped, whole)
    rows = np.array([5, 1, 1])
    assert np.array_equal(files.taken(mapped, rows), whole[rows])
    assert files.taken(mapped, np.ones(24, bool)) is mapped
