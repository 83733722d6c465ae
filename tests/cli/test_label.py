"""`retrainlab label` as a person meets it: few images, folders of them, files that are gone on with."""

import csv
import fcntl
import io
import json
import os
import pty
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import make_folder, make_image
from PIL import Image

from retrainlab.bottlenecks import cluster
from retrainlab.cli import answer_files
from retrainlab.cli.main import main
from retrainlab.errors import RetrainLabError
from retrainlab.export import exporting
from retrainlab.labeling import answering, distributing, labelers, streaming

DAMAGED = "not an image in any format that can be read; convert it to JPEG, PNG or TIFF"
OPINION = ["says", "unlike", "most_like", "most_like_label", "distance"]
COMMAND = [sys.executable, "-c", "from retrainlab.cli.main import main; main()", "label"]


@pytest.fixture(scope="module")
def model(backbone, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "model"
    exporting.export(folder, backbone, trained["head"])
    return folder


@pytest.fixture
def call(model):
    command = ["label", "--model", model]
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in [*command, *arguments]])


@pytest.fixture
def new(tmp_path, monkeypatch):
    """Images as people have them, in the current folder; six of the ten files can be labelled."""
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "new", {"deep/er": 2, "flat": 3})
    (tmp_path / "new" / "README").write_text("no image")
    (tmp_path / "new" / "labels.csv").write_text("id,label\n")
    (tmp_path / "new" / ".hidden.jpg").write_bytes(b"")
    (tmp_path / "new" / "damaged.jpg").write_bytes(b"damaged")
    shutil.copy(tmp_path / "new" / "flat" / "image 000.jpg", tmp_path / "new" / "no suffix")
    return [f"new/{name}" for name in ("damaged.jpg", "deep/er/image 000.jpg", "deep/er/image 001.png",
            "flat/image 000.jpg", "flat/image 001.png", "flat/image 002.jpg", "no suffix")]  # fmt: skip


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_best_labels_come_first(call, photos):
    done = call(next(photos.glob("green/*.jpg")))
    lines = [line.rsplit(" ", 1) for line in done.output.splitlines()]
    assert done.exit_code == 0 and len(lines) == 3
    assert lines[0][0] == "green"
    chances = [float(number) for _, number in lines]
    assert chances == sorted(chances, reverse=True) and sum(chances) == pytest.approx(1, abs=1e-4)


def test_json_lines(call, model, photos, tmp_path):
    image = next(photos.glob("blue/*.png"))
    done = call("--json", "--top", 2, image, tmp_path / "none.jpg")
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.exit_code == 1 and "none.jpg: the file does not exist." in done.stderr
    table, _ = answering.label(labelers.load(model), [image], 2)
    assert first["path"] == str(image) and first["problem"] is None and len(first["model"]) == 8
    assert first["labels"] == table[["label", "probability"]].round(6).to_dict("records")
    assert first["labels"][0]["label"] == "blue" and len(first["labels"]) == 2
    problem = {"path": str(tmp_path / "none.jpg"), "labels": [], "opinion": None, "problem": "the file does not exist"}
    assert second == problem | {"model": first["model"]}


def test_tensorflow_is_not_imported(model, photos):
    code = (
        "import sys; from retrainlab.cli.main import main;"
        f"main(['label', '--model', {str(model)!r}, {str(photos / 'red')!r}], standalone_mode=False);"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# --------------------------------------------------------------------------------------------- folders


def test_a_folder_is_all_images_below_it(call, new):
    done = call("new", "--csv")
    assert [row["path"] for row in rows(done.stdout)] == new
    assert [row["problem"] for row in rows(done.stdout)] == [DAMAGED] + [""] * 6
    assert done.stderr == f"Error: new/damaged.jpg: {DAMAGED}.\n" and done.exit_code == 1


def test_folders_and_files_are_labelled_in_the_order_given_and_once(call, new):
    done = call("new/flat/image 001.png", "new/deep", "new/flat", "--image", "new/deep/er/image 000.jpg")
    paths = [line for line in done.stdout.splitlines() if line.startswith("new/")]
    assert paths == [new[4], new[1], new[2], new[3], new[5]] and done.exit_code == 0
    assert len(done.stdout.splitlines()) == 5 * 4 and done.stderr == ""


def test_what_holds_no_images_is_said_and_the_others_are_labelled(call, new, tmp_path):
    (tmp_path / "empty").mkdir()
    shutil.make_archive("photos", "zip", "new")
    done = call("empty", "photos.zip", "none.zip", "new/flat")
    assert done.exit_code == 1 and len(done.stdout.splitlines()) == 3 * 4
    assert done.stderr.splitlines() == [
        "Error: empty: the folder holds no images.",
        "Error: photos.zip: an archive, not an image; unpack it, and name the folder.",
        "Error: none.zip: the file does not exist.",
    ]


def test_many_images_are_counted_at_the_end_and_few_are_not(call, tmp_path, photos):
    for number in range(101):
        (tmp_path / f"{number}.png").symlink_to(next(photos.glob("red/*.png")))
    done = call(tmp_path, tmp_path / "none.png")
    assert done.stderr.splitlines()[-1].startswith("102 images in ")
    assert done.stderr.endswith(" images/s), 1 could not be labelled.\n")
    assert "images/s" not in call(photos / "red").stderr


# --------------------------------------------------------------------------------------------- CSV


@pytest.mark.parametrize(
    ("top", "columns"),
    [
        ([], ["path", "label", "probability", *OPINION, "problem", "model"]),
        (["--top", 2], ["path", "label", "probability", "label_2", "probability_2", *OPINION, "problem", "model"]),
    ],
)
def test_csv_has_a_row_an_image(call, model, photos, top, columns):
    done = call(photos / "green", "--csv", *top)
    found = rows(done.stdout)
    assert list(found[0]) == columns and len(found) == 30 and done.exit_code == 0
    table, _ = answering.label(labelers.load(model), [photos / "green"], 2)
    best = table[table["rank"] == 1]
    assert [row["path"] for row in found] == best["path"].tolist()
    assert [row["label"] for row in found] == best["label"].tolist()
    assert [float(row["probability"]) for row in found] == pytest.approx(best["probability"].tolist(), abs=1e-6)


def test_csv_quotes_what_needs_it_and_no_name_becomes_a_formula(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["=1+1.png", "@x.png", 'a "b", c\nd.png']
    for name in names:
        make_image(0).save(name)
    done = call("--output", "new.csv", *names)
    found = rows((tmp_path / "new.csv").read_bytes().decode())
    assert [row["path"] for row in found] == ["./=1+1.png", "./@x.png", names[2]]
    assert done.exit_code == 0 and all((tmp_path / row["path"]).exists() for row in found)
    assert call("--output", "new.csv", *names).stderr == "3 images: new.csv has them all already.\n"


# --------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["new.csv", "new.jsonl"])
def test_a_file_is_gone_on_with_and_what_was_cut_off_is_redone(call, new, tmp_path, name):
    file = tmp_path / name
    done = call("new", "--output", name)
    whole = file.read_bytes()
    assert done.stdout == "" and done.exit_code == 1
    assert done.stderr.splitlines()[0] == f"Error: new/damaged.jpg: {DAMAGED}."
    assert done.stderr.splitlines()[1].startswith("7 images in ")
    make_image(0).save("new/damaged.jpg")  # mended: what could not be labelled is tried again
    lines = whole.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-2]) + lines[-2][:-9])
    done = call("new", "--output", name)
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == f"4 images are in {name} already."
    assert done.stderr.splitlines()[1].startswith("3 images in ")
    redone = file.read_bytes().splitlines(keepends=True)
    assert set(lines) - set(redone) == {line for line in lines if b"damaged" in line} and len(redone) == len(lines)
    assert call("new", "--output", name).stderr == f"7 images: {name} has them all already.\n"
    assert file.read_bytes().splitlines(keepends=True) == redone


def test_wherever_it_was_cut_off_it_ends_up_the_same(call, new, tmp_path):
    file = tmp_path / "new.csv"
    (tmp_path / new[-1]).rename("new/\n,\n")
    call("new/flat", "new/\n,\n", "--output", file)
    whole = file.read_bytes()
    for length in [*range(0, 60, 7), *range(len(whole) - 60, len(whole))]:
        file.write_bytes(whole[:length])
        done = call("new/flat", "new/\n,\n", "--output", file)
        assert file.read_bytes() == whole, (length, done.output)


def test_answers_of_other_images_stay_in_the_file(call, new, tmp_path):
    call("new/deep", "new/damaged.jpg", "--output", "new.csv")
    done = call("new/flat", "--output", "new.csv")
    assert done.exit_code == 0 and done.stderr.startswith("3 images in ")
    found = rows((tmp_path / "new.csv").read_text())
    assert [row["path"] for row in found] == [new[1], new[2], new[0], *new[3:6]]


@pytest.mark.parametrize("name", ["new.csv", "new.jsonl"])
def test_answers_of_another_model_or_shape_are_not_mixed(call, model, new, tmp_path, name):
    call("new/flat", "--output", name)
    whole = (tmp_path / name).read_bytes()
    done = call("new", "--output", name, "--top", 2)
    assert done.exit_code == 1 and "--top" in done.stderr and done.stderr.count("\n") == 1
    done = CliRunner().invoke(main, ["label", "--model", str(model / "model.tflite"), "new", "--output", name])
    assert done.exit_code == 1 and f"'{tmp_path / name}' holds answers of another model" in done.stderr
    assert (tmp_path / name).read_bytes() == whole


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("new.csv", b"my notes"),
        ("new.csv", b"id,breed\n1,dog\n"),
        ("new.csv", b"path,label,probability,problem,model\na.jpg\nb.jpg,x,0.5,,12345678\n"),
        ("new.csv", "\N{SNOWMAN}\n".encode("utf-16")),
        ("new.json", b"[]\n"),
        ("new.json", b"[\n{"),
        ("new.json", b'{"path": "a.jpg"}\n'),
    ],
)
def test_a_file_of_something_else_is_left_alone(call, new, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    done = call("new", "--output", name)
    assert done.exit_code == 1 and "does not hold such answers: " in done.stderr and done.stderr.count("\n") == 1
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--csv", "--json"], "Answers are either CSV or JSON lines"),
        (["--output", "new.txt"], "'new.txt' does not say what to write."),
        (["--output", "none/new.csv"], "cannot be written: No such file or directory."),
    ],
)
def test_what_cannot_be_written_is_said(call, new, arguments, said):
    done = call("new", *arguments)
    assert done.exit_code == 1 and said in done.stderr and done.stderr.count("\n") == 1


def test_the_form_may_be_said_where_the_name_does_not(call, new, tmp_path):
    assert call("new/flat", "--output", "answers", "--json").exit_code == 0
    assert len([json.loads(line) for line in (tmp_path / "answers").read_text().splitlines()]) == 3


def test_a_full_disk_is_said_and_what_was_written_is_kept(call, photos, tmp_path):
    """A limit on the size of files ends a write midway, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = tmp_path / "new.csv"
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
        done = call(photos, "--output", file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"Error: '{file}' cannot be written: File too large. What is labelled already is")
    assert file.stat().st_size == 500
    done = call(photos, "--output", file)
    assert done.exit_code == 0 and " in " + str(file) + " already.\n" in done.stderr
    assert sorted(row["path"] for row in rows(file.read_text())) == sorted(map(str, photos.glob("*/*.*")))


# --------------------------------------------------------------------------------------------- Parquet


def test_parquet_is_a_folder_of_parts_with_the_rows_of_csv(call, new, tmp_path):
    done, plain = call("new", "--output", "new.parquet", "--top", 2), call("new", "--csv", "--top", 2)
    assert done.exit_code == 1 and "7 images in " in done.stderr
    found, expected = pd.read_parquet("new.parquet"), pd.read_csv(io.StringIO(plain.stdout))
    assert list(found) == list(expected) and found["path"].tolist() == new
    for name in found.drop(columns="unlike"):
        assert found[name].dropna().tolist() == pytest.approx(expected[name].dropna().tolist(), abs=1e-6)
    assert found["problem"].fillna("").tolist() == [DAMAGED] + [""] * 6
    assert [path.suffix for path in (tmp_path / "new.parquet").iterdir()] == [".parquet"]


def test_parts_are_gone_on_with_and_problems_are_tried_again(call, new, tmp_path):
    assert call("new/deep", "new/damaged.jpg", "--output", "new.parquet").exit_code == 1
    shutil.copy("new/flat/image 000.jpg", "new/damaged.jpg")
    done = call("new", "--output", "new.parquet")
    assert done.exit_code == 0 and "2 images are in new.parquet already.\n" in done.stderr
    assert sorted(pd.read_parquet("new.parquet")["path"]) == sorted(new)
    assert len(list((tmp_path / "new.parquet").iterdir())) == 2
    assert call("new", "--output", "new.parquet").stderr == "7 images: new.parquet has them all already.\n"


def test_what_is_no_folder_of_such_answers_is_left_as_it_is(call, new, tmp_path):
    call("new/deep", "--output", "new.parquet")
    done = call("new/flat", "--output", "new.parquet", "--top", 2)
    assert done.exit_code == 1 and "with this --top expected path, label, probability, label_2" in done.stderr
    parts = tmp_path / "new.parquet"
    pd.read_parquet(parts).assign(model="0").to_parquet(next(parts.iterdir()), index=False)
    done = call("new/flat", "--output", "new.parquet")
    assert done.exit_code == 1 and "holds answers of another model" in done.stderr
    assert len(pd.read_parquet("new.parquet")) == 2
    (parts / "part-000000-x.parquet").write_bytes(b"damaged")
    assert "is no whole Parquet file" in call("new/flat", "--output", "new.parquet").stderr
    (tmp_path / "a.parquet").touch()
    assert "is a file, and answers in Parquet are a folder" in call("new/flat", "--output", "a.parquet").stderr


def test_parts_that_find_no_room_are_said(call, new, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
        done = call("new/flat", "--output", "new.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (
        done.exit_code == 1
        and "cannot be written: " in done.stderr
        and "What is labelled already is kept" in done.stderr
    )
    assert not list((tmp_path / "new.parquet").iterdir())
    assert call("new/flat", "--output", "new.parquet").exit_code == 0


# --------------------------------------------------------------------------------------------- on a cluster


@pytest.fixture(scope="module")
def many_images(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("many") / "images", {"a": 300, "b": 300})


def test_a_cluster_labels_as_one_machine_does_and_a_killed_worker_loses_nothing(call, machines, many_images, tmp_path):
    (many_images / "a" / "damaged.jpg").write_bytes(b"damaged")
    here = call(many_images, "--output", tmp_path / "here.parquet")
    cluster.join(machines.address, str)
    victim = machines.three()[0]
    killer = threading.Timer(1, victim.kill)
    killer.start()
    there = call(many_images, "--output", tmp_path / "there.parquet", "--dask_scheduler", machines.address)
    killer.join()
    cluster.current().close()
    assert there.stderr.startswith("Dask's dashboard: http://") and there.exit_code == here.exit_code == 1
    assert there.stderr.splitlines()[1] == here.stderr.splitlines()[0] and "damaged.jpg: not an image" in there.stderr
    assert there.stderr.splitlines()[3:] == here.stderr.splitlines()[2:]  # what is odd about all of them
    one, other = (pd.read_parquet(tmp_path / f"{name}.parquet").sort_values("path") for name in ("here", "there"))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True), check_exact=True)
    assert len(one) == 601 and victim.wait(5)


def test_a_cluster_goes_on_with_a_file_and_names_what_a_worker_does_not_see(call, machines, many_images, tmp_path):
    (tmp_path / "mine").mkdir()
    shutil.copy(many_images / "a" / "image 000.jpg", tmp_path / "mine" / "1.jpg")
    cluster.join(machines.address, str)
    machines.three()
    given = (tmp_path / "mine", tmp_path / "none.jpg", "--output", tmp_path / "new.csv")
    far = (*given, "--dask_scheduler", machines.address)
    assert "none.jpg: the file does not exist." in call(*far).stderr
    assert "1 image is in " in call(*far).stderr
    work = distributing._Work(None, 1, {tmp_path / "none"})
    with pytest.raises(RetrainLabError, match=r"^It does not see the folder '.*none'.*let IMAGES be a folder that all"):
        work.answers({"a": tmp_path / "none" / "a.jpg"})
    cluster.current().close()


def test_a_cluster_wants_a_file_and_an_answer(call, new, monkeypatch):
    assert "--dask_scheduler goes with --output" in call("new", "--dask_scheduler", "local").stderr
    monkeypatch.setattr(cluster, "_SECONDS_TO_ANSWER", 0.5)
    done = call("new", "--output", "new.csv", "--dask_scheduler", "tcp://127.0.0.1:9")
    assert done.exit_code == 1 and "No Dask scheduler answers at dask_scheduler 'tcp://127.0.0.1:9'" in done.stderr


# --------------------------------------------------------------------------------------------- interrupted


def test_an_interrupt_ends_in_a_sentence_and_the_command_goes_on_later(model, photos, call, tmp_path):
    image, slow, file = next(photos.glob("red/*.png")), tmp_path / "slow.png", tmp_path / "new.csv"
    Image.new("P", (13000, 13000)).save(slow, transparency=0)  # which takes seconds to lay over white
    command = [*COMMAND, "--model", str(model), str(image), str(slow), "--output", str(file)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not file.exists() or file.read_bytes().count(b"\n") < 2:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    said = f"Interrupted: 1 of 2 images are labelled and in {file}; the same command goes on with the others.\n"
    assert running.communicate() == (None, said) and running.returncode == 130
    make_image(0).save(slow)
    done = call(image, slow, "--output", file)
    assert done.exit_code == 0 and done.stderr.startswith(f"1 image is in {file} already.\n1 image in ")


def test_a_reader_that_has_gone_ends_it_quietly(model, photos):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as broken:
        command = [*COMMAND, "--model", str(model), str(photos)]
        done = subprocess.run(command, stdout=broken, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""


def test_a_terminal_sees_a_bar_and_no_log_does(model, photos, tmp_path):
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    subprocess.run([*COMMAND, "--model", str(model), str(photos), "--output", str(tmp_path / "a.csv")], stderr=end)
    seen = os.read(terminal, 65536).decode()
    assert "| 0/90 [" in seen and "90 images in " in seen
    subprocess.run([*COMMAND, "--model", str(model), str(photos), "--csv"], stdout=end, stderr=end)
    os.close(end)
    seen = os.read(terminal, 65536).decode()
    assert "| 0/90 [" not in seen and seen.startswith("path,label,probability,says,unlike,")
    os.close(terminal)


def test_only_a_file_is_written_to_and_a_link_to_one_stays_a_link(tmp_path):
    form = answer_files.Form("csv", 1, "12345678")
    (tmp_path / "pipe").mkdir()
    for place in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(RetrainLabError, match=r"is no file\. Leave --output out"):
            answer_files.go_on(place, form, [])
    odd = streaming.Answer("a\rb.png", [("ant", 0.5)])
    (tmp_path / "real.csv").write_text(form.header + form.line(odd) + "torn,an")
    (tmp_path / "real.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert answer_files.go_on(tmp_path / "link.csv", form, []) == {"a\rb.png"}
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "real.csv").read_bytes().decode() == form.header + form.line(odd)
