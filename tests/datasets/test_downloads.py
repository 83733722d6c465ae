"""Downloads against a server on the loopback that cuts off, forgets, lies and vanishes; archives that mean harm."""

import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from archive_server import serving

from retrainlab.datasets.downloads import Source, download, problem_of, unpack
from retrainlab.errors import RetrainLabError

DATA = np.random.default_rng(0).bytes(1_000_000)
QUICK = (0, 0, 0)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --------------------------------------------------------------------------------------------- downloading


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    source = server.source("images.tar", DATA)
    file = download(source, tmp_path / "new" / "folder")
    assert file == tmp_path / "new" / "folder" / "images.tar" and file.read_bytes() == DATA
    assert download(source, file.parent) == file
    assert server.requests == [("images.tar", None)] and names(file.parent) == ["images.tar"]


def test_a_cut_off_connection_is_resumed_where_it_stopped(server, tmp_path):
    source = server.source("images.tar", DATA)
    server.cuts = [400_000, 300_000, 0]
    assert download(source, tmp_path, QUICK).read_bytes() == DATA
    ranges = [asked for _, asked in server.requests]
    assert ranges == [None, "bytes=400000-", "bytes=700000-", "bytes=700000-"]


def test_what_has_arrived_stays_when_all_tries_fail_and_the_next_run_goes_on_from_there(server, tmp_path):
    source = server.source("images.tar", DATA)
    server.cuts = [500_000, 0]
    with pytest.raises(RetrainLabError) as error:
        download(source, tmp_path, (0,))
    assert str(error.value) == (
        f"{source.url} cannot be fetched: the connection was cut off. What has arrived, 500,000 of 1,000,000 bytes, is "
        "kept. Check the network and run this again; or get the file by other means, put it at "
        f"'{tmp_path / 'images.tar'}' and run this again."
    )
    assert names(tmp_path) == ["images.tar.part"] and (tmp_path / "images.tar.part").read_bytes() == DATA[:500_000]
    assert download(source, tmp_path, ()).read_bytes() == DATA
    assert server.requests[-1] == ("images.tar", "bytes=500000-")


def test_a_server_that_knows_no_ranges_sends_everything_anew(server, tmp_path):
    source = server.source("images.tar", DATA)
    server.ranges, server.cuts = False, [400_000]
    assert download(source, tmp_path, QUICK).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [None, "bytes=400000-"]


def test_a_server_that_tells_no_lengths(server, tmp_path):
    source = server.source("images.tar", DATA)
    server.lengths, server.cuts = False, [400_000]
    assert download(source, tmp_path, QUICK).read_bytes() == DATA
    (tmp_path / "images.tar").unlink()
    server.files["images.tar"] = DATA * 9  # more than expected: not read to its end
    with pytest.raises(RetrainLabError, match=r"has 1,\d+,\d+ bytes, expected 1,000,000"):
        download(source, tmp_path, QUICK)


def test_a_range_that_cannot_be_had_starts_anew(server, tmp_path):
    source = server.source("images.tar", DATA)
    (tmp_path / "images.tar.part").write_bytes(DATA[:300_000])
    server.answers = [416]
    assert download(source, tmp_path, QUICK).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == ["bytes=300000-", None]


def test_a_server_that_answers_with_another_range(server, tmp_path):
    source = server.source("images.tar", DATA)
    server.confused, server.cuts = True, [500_000]
    assert download(source, tmp_path, QUICK).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [None, "bytes=500000-", None]


def test_too_much_from_an_earlier_try_starts_anew(server, tmp_path):
    (tmp_path / "images.tar.part").write_bytes(b"x" * 2_000_000)
    assert download(server.source("images.tar", DATA), tmp_path, QUICK).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == ["bytes=2000000-", None]


def test_a_whole_part_needs_no_request(server, tmp_path):
    (tmp_path / "images.tar.part").write_bytes(DATA)
    assert download(server.source("images.tar", DATA), tmp_path).read_bytes() == DATA
    assert server.requests == []


def test_a_busy_server_is_asked_again_and_a_refusing_one_is_not(server, tmp_path):
    source = server.source("images.tar", DATA)
    server.answers = [503, 500]
    assert download(source, tmp_path / "a", QUICK).read_bytes() == DATA
    server.requests.clear()
    server.answers = [404]
    with pytest.raises(RetrainLabError, match=r"cannot be fetched: the server answers 404 Not Found\. Check"):
        download(source, tmp_path / "b", QUICK)
    assert len(server.requests) == 1


def test_another_digest_sets_the_file_aside_so_that_the_next_try_starts_clean(server, tmp_path):
    source = server.source("images.tar", DATA)
    server.files["images.tar"] = damaged = b"x" + DATA[1:]
    with pytest.raises(RetrainLabError) as error:
        download(source, tmp_path)
    said = str(error.value)
    found = hashlib.sha256(damaged).hexdigest()
    assert said.startswith(f"'{tmp_path / 'images.tar'}' has SHA-256 {found}, expected {source.sha256}: ")
    assert "set aside as 'images.tar.bad'; run this again" in said and names(tmp_path) == ["images.tar.bad"]
    server.files["images.tar"] = DATA
    assert download(source, tmp_path).read_bytes() == DATA


def test_another_size_is_found_before_anything_is_fetched(server, tmp_path):
    source = server.source("images.tar", DATA)
    server.files["images.tar"] = b"<html>Please log in</html>"
    (tmp_path / "images.tar.part").write_bytes(b"")
    with pytest.raises(
        RetrainLabError, match="the server offers 26 bytes, 1,000,000 were expected; the file has changed"
    ):
        download(source, tmp_path)
    assert (tmp_path / "images.tar.part").read_bytes() == b""


def test_a_file_put_there_by_hand_is_taken_if_it_is_the_right_one(tmp_path):
    source = Source("http://127.0.0.1:1/images.tar", len(DATA), hashlib.sha256(DATA).hexdigest())
    (tmp_path / "images.tar").write_bytes(DATA)
    assert download(source, tmp_path).read_bytes() == DATA
    (tmp_path / "images.tar").write_bytes(DATA[:-1])
    with pytest.raises(RetrainLabError, match=r"images\.tar' has 999,999 bytes, expected 1,000,000"):
        download(source, tmp_path)
    assert names(tmp_path) == ["images.tar.bad"]


def test_no_network_is_one_sentence_that_says_what_else_can_be_done(tmp_path):
    with serving() as server:
        source = server.source("images.tar", DATA)
    with pytest.raises(RetrainLabError) as error:
        download(source, tmp_path, QUICK)
    assert str(error.value) == (
        f"{source.url} cannot be fetched: Connection refused. Check the network and run this again; or get the file by "
        f"other means, put it at '{tmp_path / 'images.tar'}' and run this again."
    )
    with pytest.raises(RetrainLabError, match="cannot be fetched: "):
        download(replace(source, url="http://no-such-host.invalid/images.tar"), tmp_path, ())


# --------------------------------------------------------------------------------------------- unpacking


def archive(path, *members: tuple[str, bytes] | tarfile.TarInfo, mode="w"):
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def special(name, kind, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_files_and_folders_are_unpacked(tmp_path, mode):
    folder = special("Images/empty/", tarfile.DIRTYPE)
    long = "Images/" + "x" * 120 + ".jpg"
    file = archive(tmp_path / "a.tar", ("./Images/a/1.jpg", b"one"), folder, (long, b"two"), mode=mode)
    unpack(file, tmp_path / "out")
    assert (tmp_path / "out/Images/a/1.jpg").read_bytes() == b"one" and (tmp_path / "out" / long).read_bytes() == b"two"
    assert (tmp_path / "out/Images/empty").is_dir()


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (("../evil", b"x"), "'../evil' would lie outside its folder"),
        (("a/../../evil", b"x"), "'a/../../evil' would lie outside its folder"),
        (("/evil", b"x"), "'/evil' would lie outside its folder"),
        (special("/evil/", tarfile.DIRTYPE), "'/evil' would lie outside its folder"),
        (special("evil", tarfile.SYMTYPE, "/etc/passwd"), "'evil' is a link to '/etc/passwd'"),
        (special("evil", tarfile.SYMTYPE, "good"), "'evil' is a link to 'good'"),
        (special("evil", tarfile.LNKTYPE, "../../outside"), "'evil' is a link to '../../outside'"),
        (special("evil", tarfile.CHRTYPE), "'evil' is neither a file nor a folder"),
        (special("evil", tarfile.FIFOTYPE), "'evil' is neither a file nor a folder"),
    ],
)
def test_an_archive_that_means_harm_is_refused(tmp_path, member, said):
    file = archive(tmp_path / "a.tar", ("good", b"x"), member, ("evil/through", b"x"))
    into = tmp_path / "deep" / "out"
    with pytest.raises(RetrainLabError, match=r"a\.tar' is refused: its member ") as error:
        unpack(file, into)
    assert said in str(error.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "deep", "good", "out"]


@pytest.mark.parametrize(("mode", "keep"), [("w", 3000), ("w:gz", 2000), ("w:gz", 5), ("w:xz", 2000), ("w", 100)])
def test_an_archive_that_is_cut_short_is_said_so(tmp_path, mode, keep):
    file = archive(tmp_path / "a.tar", ("1", DATA[:9000]), ("2", DATA[9000:20_000]), mode=mode)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(
        RetrainLabError, match=r"a\.tar' is cut short or damaged \(.+\)\. Delete it, and run this again"
    ):
        unpack(file, tmp_path / "out")


def test_an_archive_that_would_fill_the_disk_is_refused_before_it_does(tmp_path):
    bomb = archive(tmp_path / "bomb.tgz", ("a", bytes(2**28)), ("b", bytes(2**24)), mode="w:gz")
    assert bomb.stat().st_size < 2**19
    with pytest.raises(RetrainLabError, match=r"its member 'b' makes the files more than 20 times as large as"):
        unpack(bomb, tmp_path / "into")
    assert not (tmp_path / "into" / "b").exists()
    with bomb.open("rb") as file:
        assert problem_of(file) == "holds 'b', which makes the files more than 20 times as large as the archive"
