"""Extraction on a Dask cluster: a real scheduler, and three worker processes."""

import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import distributed
import numpy as np
import pytest
from conftest import make_folder
from machines import THERE, WORKER
from slow_change import Slow

from retrainlab.backbones import registry
from retrainlab.bottlenecks import caching, cluster, extracting, features
from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.pixels.distortions import Distortion


@pytest.fixture
def without_workers():
    """A scheduler that nobody works for."""
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0", host="127.0.0.1") as alone:
        cluster.join(alone.scheduler_address)
        yield alone
        cluster.current().close()


@pytest.fixture
def features_of(caches, photos, table):
    return lambda name: features.load(caches(name), ImageFolder(photos), table)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("far") / "images", {"a": 20, "b": 20}, ("png", "jpg"))


@pytest.fixture(scope="module")
def table(photos):
    return scanning.scan(photos).images


def extract(backbone, photos, table, *change):
    cache = caching.open_cache(backbone)
    return cache, extracting.extract(backbone, cache, ImageFolder(photos), table, *change)


def matrix(cache, table, variant=0):
    return cache.load(table["sha256"], variant)


def test_the_matrix_is_that_of_one_machine_bit_for_bit(joined, caches, photos, table):
    distortion = Distortion(flip_left_right=True, random_crop=20)
    there, done = extract(caches("there"), photos, table)
    assert done.computed == 40 and done.problems == {} and str(done).startswith("40 images: 0 bottlenecks from")
    assert len(list(there.folder.glob("*.arrow"))) >= 10  # as many tasks, at least: 4 a thread
    backbone = registry.resolve(caches("again").handle, there.folder.parent)
    there, distorted = extract(backbone, photos, table, distortion, 2)
    assert (distorted.computed, distorted.what) == (80, "distorted images")
    assert extract(backbone, photos, table)[1].computed == 0
    cluster.current().close()
    assert cluster.current() is None
    mine = caches("here")
    here, done = extract(mine, photos, table)
    here, distorted = extract(mine, photos, table, distortion, 2)
    assert done.computed == 40 and distorted.computed == 80
    for variant in (0, distortion.variant(1), distortion.variant(2)):
        assert np.array_equal(matrix(here, table, variant), matrix(there, table, variant))
    cluster.join(joined.address)


def test_images_that_cannot_be_read_are_said_as_on_one_machine(joined, caches, photos, tmp_path):
    mine = shutil.copytree(photos, tmp_path / "mine")
    table = scanning.scan(mine).images
    (mine / "a" / "image 002.png").write_bytes(b"changed")
    _, done = extract(caches("there"), mine, table)
    assert done.computed == 39
    assert done.problems == {"a/image 002.png": "the file has changed since it was scanned; run again"}


def test_a_worker_killed_in_the_middle_loses_nothing(joined, caches, photos, table, tmp_path):
    (log := tmp_path / "log").mkdir()
    victim, backbone = joined.three()[0], caches("there")
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(extract, backbone, photos, table, Slow(log, seconds=0.1))
        while not (log / str(victim.pid)).exists() and not work.done():
            time.sleep(0.01)
        victim.kill()
        cache, done = work.result(timeout=60)
    assert done.computed == 40 and done.problems == {} and len(list(log.iterdir())) == 3
    cluster.current().close()
    here, _ = extract(caches("here"), photos, table, Slow(log, seconds=0))
    assert np.array_equal(matrix(cache, table, 7), matrix(here, table, 7))
    cluster.join(joined.address)


def test_images_that_cost_one_worker_after_the_other_end_in_a_sentence(joined, caches, photos, table, tmp_path):
    (log := tmp_path / "log").mkdir()
    scheduler, backbone = joined.scheduler.scheduler, caches("there")
    before, scheduler.allowed_failures = scheduler.allowed_failures, 0
    try:
        with pytest.raises(
            RetrainLabError, match=r"^Dask workers were lost over the same images.*What was computed is"
        ):
            extract(backbone, photos, table, Slow(log, deadly=table["sha256"].iloc[-1]))
    finally:
        scheduler.allowed_failures = before
    assert 0 < len(caching.open_cache(backbone)) < 40


def test_a_worker_that_does_not_see_a_folder_says_which_one(joined, caches, photos, table, tmp_path):
    backbone, elsewhere = caches("there"), tmp_path / "not mounted"
    with pytest.raises(RetrainLabError) as error:
        extract(backbone, elsewhere, table)
    said = str(error.value)
    assert said.startswith("The Dask worker tcp://127.0.0.1:") and f"does not see the folder '{elsewhere}'" in said
    assert "What was computed is kept" in said and "image_dir" in said and "\n" not in said
    apart = caching.Cache(tmp_path, backbone.dim)  # a disk of this machine that has the name of theirs
    with pytest.raises(RetrainLabError, match=r"does not appear here.*Set bottleneck_dir to a folder that all"):
        extracting.extract(backbone, apart, ImageFolder(photos), table)
    backbone = caches("gone")
    cache = caching.open_cache(backbone)
    shutil.rmtree(backbone.folder)
    with pytest.raises(RetrainLabError, match=rf"does not see the folder '{backbone.folder}'.*bottleneck_dir"):
        extracting.extract(backbone, cache, ImageFolder(photos), table)


def test_a_worker_whose_disk_is_full_says_so(without_workers, caches, photos, table):
    """A limit on the size of files ends a write midway, as a full disk does."""
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *WORKER, without_workers.scheduler_address]
    backbone, worker = caches("there"), subprocess.Popen(limited, env=THERE, stderr=subprocess.DEVNULL)
    try:
        with pytest.raises(RetrainLabError) as error:
            extract(backbone, photos, table)
    finally:
        worker.kill()
        worker.wait()
    said = rf"The Dask worker tcp://.* had to stop. The bottlenecks in '{backbone.folder}' cannot be written: File too"
    assert re.match(said, str(error.value)) and "What was written before is kept; make room or" in str(error.value)
    assert not list(backbone.folder.glob("*.arrow"))


def test_a_task_does_not_share_out_its_own_work(joined):
    client = cluster.current()
    assert client.submit(cluster.current, pure=False).result() is None and cluster.current() is client
    assert dict(cluster.spread(abs, [-1, 2], "numbers")) == {-1: 1, 2: 2}


def test_features_travel_as_names_and_are_read_again(joined, features_of):
    client, mine = cluster.current(), features_of("there")
    again = pickle.loads(pickle.dumps(replace(mine, matrix=mine.matrix[:0])))
    assert np.array_equal(again.matrix, mine.matrix) and again.table.equals(mine.table)
    for part in mine.cache.folder.glob("*.arrow"):
        part.unlink()
    with pytest.raises(RetrainLabError, match=r"^The Dask worker .* has 0 of 40 bottlenecks that are needed"):
        list(cluster.run(client, mine.under, ["never"]))


def test_other_versions_are_refused_with_both_numbers(joined, caches, photos, table, monkeypatch):
    own = cluster.versions()
    assert all(own.values()) and own["numpy"] == np.__version__
    monkeypatch.setattr(cluster, "versions", lambda: own | {"pillow": "1.0"})
    with pytest.raises(RetrainLabError, match=rf"has other versions.*: pillow {own['pillow']} \(here 1.0\)\."):
        extract(caches("there"), photos, table)


def test_a_scheduler_without_workers_is_waited_for_but_not_for_ever(
    without_workers, caches, photos, table, monkeypatch
):
    monkeypatch.setattr(cluster, "_SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(cluster, "_SECONDS_WITHOUT_WORKERS", 0.3)
    with pytest.raises(RetrainLabError, match=r"has had no workers for 0 seconds.*start workers, and run again"):
        extract(caches("there"), photos, table)


def test_a_scheduler_that_goes_away_ends_in_a_sentence(without_workers, caches, photos, table, monkeypatch):
    monkeypatch.setattr(cluster, "_SECONDS_BETWEEN_LOOKS", 0.1)
    backbone = caches("there")
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(extract, backbone, photos, table)
        time.sleep(0.5)
        without_workers.close()
        with pytest.raises(RetrainLabError, match=r"is gone, or has dropped the work. What was computed is kept"):
            work.result(timeout=60)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "nowhere", "tcp://nowhere.invalid:8786", "x://y:1"]
)
def test_a_scheduler_that_does_not_answer_is_said(address, monkeypatch):
    monkeypatch.setattr(cluster, "_SECONDS_TO_ANSWER", 0.5)
    with pytest.raises(RetrainLabError, match=f"^No Dask scheduler answers at dask_scheduler '{address}'. Expected"):
        cluster.join(address)
    assert cluster.current() is None


def test_without_dask_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    cluster.join("")
    assert cluster.current() is None
    with pytest.raises(RetrainLabError, match=r"Dask is not installed.*pip install 'retrainlab\[distributed\]'"):
        cluster.join("local")


def test_local_is_a_process_a_core_and_joining_again_leaves_it(capsys):
    cluster.join("local")
    first = cluster.current()
    try:
        assert list(first.nthreads().values()) == [1] * os.cpu_count()
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("Dask's dashboard: http://127.0.0.1:")
        page = urlopen(line.split()[2]).read()
        assert b"bokeh" in page  # which shows it, or is asked for
        with pytest.raises(RetrainLabError):
            cluster.join("nowhere")
        assert first.status == "closed" and cluster.current() is None
    finally:
        first.close()
