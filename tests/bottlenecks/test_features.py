"""The bottlenecks of images under a condition."""

import numpy as np
import pytest
from conftest import make_folder

from retrainlab.bottlenecks import extracting, features
from retrainlab.bottlenecks.caching import Cache
from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.conditions import CONDITIONS, MASKS
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.pixels.distortions import MIRROR, Distortion


@pytest.fixture
def mine(backbone, tmp_path):
    """Features of 20 images, with a cache of their own."""
    folder, cache = make_folder(tmp_path / "images", {"p": 10, "q": 10}), tmp_path / "cache"
    cache.mkdir()
    images = scanning.load(folder, 20, 20).images
    return features.load(backbone, ImageFolder(folder), images, cache=Cache(cache, backbone.dim))


def test_bottlenecks_under_a_condition_are_those_of_its_pixels_and_kept(mine):
    noisy = CONDITIONS["noisy"][4]
    found = mine.under(noisy, [7, 3, 7])
    assert found.shape == (3, mine.backbone.dim) and found.dtype == np.float32 and len(mine.cache) == 20 + 2
    for row, bottleneck in zip([7, 3, 7], found, strict=True):
        path, sha256 = mine.table.loc[row, ["path", "sha256"]]
        made = noisy.apply(mine.photos.read(path, mine.backbone.image_size), sha256)
        assert bottleneck == pytest.approx(mine.backbone.bottlenecks(made[None])[0], abs=1e-5)
    everything = mine.under(noisy, mine.table["split"].notna().to_numpy())
    assert len(mine.cache) == 40 and np.array_equal(everything[[7, 3, 7]], found)
    again = Cache(mine.cache.folder, mine.backbone.dim)
    again.refresh()
    done = extracting.extract(mine.backbone, again, mine.photos, mine.table, noisy)
    assert (done.cached, done.computed) == (20, 0) and "20 images (noisy, step 5): 20" in str(done)


def test_no_rows_are_no_bottlenecks(mine):
    assert mine.under(MASKS["grey"], []).shape == (0, mine.backbone.dim) and len(mine.cache) == 20


def test_conditions_and_distortions_share_a_cache_and_never_a_place(mine):
    rows = range(len(mine.table))
    before = mine.under(MASKS["grey"], rows)
    mine.distorted(Distortion(True, 20, 20, 20))
    others = {one: mine.under(one, rows) for one in (CONDITIONS["darker"][0], CONDITIONS["darker"][4])}
    train = (mine.table["split"] == "train").sum()
    assert len(mine.cache) == 20 * (1 + 1 + 2) + mine.variants * train
    assert np.array_equal(mine.under(MASKS["grey"], rows), before)
    assert all(np.abs(other - before).max() > 1e-3 for other in others.values())
    assert np.array_equal(mine.cache.features(mine.table, mine.photos.levels)[0], mine.matrix)


def test_the_mirrored_are_those_that_a_distortion_mirrors(mine):
    mirrored, flip = mine.under(MASKS["mirrored"], range(20)), Distortion(flip_left_right=True)
    drawn = [flip.draw(mine.backbone.image_size, sha256, 1).flip for sha256 in mine.table["sha256"]]
    assert 0 < sum(drawn) < 20
    for change, expected in ((flip, np.where(np.array(drawn)[:, None], mirrored, mine.matrix)), (MIRROR, mirrored)):
        extracting.extract(mine.backbone, mine.cache, mine.photos, mine.table, change)
        assert mine.cache.load(mine.table["sha256"], change.variant(1)) == pytest.approx(expected, abs=1e-5)
    assert np.abs(mirrored - mine.matrix).max() > 1e-3


def test_an_image_that_is_gone_is_said(mine):
    (mine.photos.root / mine.table.loc[4, "path"]).unlink()
    with pytest.raises(RetrainLabError, match=r"1 of 20 images cannot be shown under 'grey': .* read any more"):
        mine.under(MASKS["grey"], range(20))
    assert len(mine.under(MASKS["grey"], [3, 5])) == 2
