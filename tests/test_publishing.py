"""A folder's new parts are all there or none, whenever a process is killed; what it left aside goes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import killed
import pytest
from conftest import mounted
from killed import NEW, OLD

from retrainlab import asides, files, publishing
from retrainlab.errors import RetrainLabError

HERE = Path(__file__).parent
THERE = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def kill(what, folder):
    """Kill what is done to a folder at every step: the folders that are left, by the number of the step."""
    subprocess.run([sys.executable, HERE / "killed.py", what, folder], env=THERE, check=True)
    return sorted(folder.iterdir(), key=lambda place: [float(part) for part in place.name.split(" and ")])


@pytest.mark.parametrize(("what", "states"), [("train", 30), pytest.param("train twice", 150, marks=pytest.mark.hard)])
def test_a_training_is_there_or_not_whenever_it_is_killed(tmp_path, what, states):
    found = []
    for place in kill(what, tmp_path):
        publishing.settle(place)
        asides.sweep(place)
        found.append(killed.read(place))
        assert found[-1] in (OLD, NEW), place.name
        assert not [path for path in place.iterdir() if path.name.startswith(".")], place.name
    assert len(found) > states and found == sorted(found, key=lambda state: state == NEW)  # never old again
    assert found.count(OLD) > 10 < found.count(NEW)


@pytest.mark.parametrize(("what", "part"), [("export", "model"), ("table", "images.parquet")])
def test_a_replacement_is_there_or_not_whenever_it_is_killed(tmp_path, what, part):
    new = {"model/a": "new", "model/b": "new"} if what == "export" else {part: "new"}
    rest = {name: text for name, text in OLD.items() if not name.startswith(part)}
    found = []
    for place in kill(what, tmp_path):
        asides.sweep(place)
        found.append(killed.read(place))
        assert found[-1] in (OLD, rest | new), place.name
        assert not [path for path in place.iterdir() if path.name.startswith(".")], place.name
    assert found[0] == OLD and found[-1] == rest | new


def begun(folder, *names):
    """A process that holds names aside in a folder, until it is killed."""
    code = "from pathlib import Path; import sys, time; from retrainlab import asides\n"
    code += "kept = [asides.begin(Path(name), name.endswith('model')) for name in sys.argv[1:]]\nprint(flush=True)\n"
    code += "time.sleep(60)"
    command = [sys.executable, "-c", code, *(str(folder / name) for name in names)]
    process = subprocess.Popen(command, env=THERE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_what_a_dead_process_left_is_swept_and_what_lives_is_not(tmp_path):
    process = begun(tmp_path, "table.parquet", "model")
    assert len(list(tmp_path.iterdir())) == 2
    asides.sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    with files.replacing(tmp_path / "mine") as aside:
        asides.sweep(tmp_path)
        assert aside.exists()
    process.kill()
    process.wait()
    (tmp_path / ".hidden.txt").touch()
    (tmp_path / ".notes.12345678-12345678").touch()  # not ours
    asides.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden.txt", ".notes.12345678-12345678", "mine"]


def test_what_another_machine_left_is_swept_when_it_is_a_day_old(tmp_path):
    (tmp_path / ".x.00000000-12345678.retrainlab").touch()
    (tmp_path / ".model.00000000-12345678.retrainlab").mkdir()
    asides.sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    for place in list(tmp_path.iterdir()):
        for path in (*place.rglob("*"), place):
            os.utime(path, (time.time() - 90000,) * 2)
    asides.sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_that_fill_a_disks_255_bytes_are_written(tmp_path):
    file = tmp_path / ("写" * 84 + ".py")
    with files.replacing(file) as aside:
        aside.write_text("x")
    assert file.read_text() == "x"


def test_several_processes_that_publish_at_once_end_in_one_whole_training(tmp_path):
    killed.write(tmp_path, {f"{part}/x": "-1" for part in ("logs", "model")} | {"run.json": "-1", "metrics.json": "-1"})
    code = "import sys; from pathlib import Path; from killed import write; from retrainlab import asides, publishing\n"
    code += "folder, own = Path(sys.argv[1]), sys.argv[2]\nfor number in range(40):\n"
    code += "    made, _ = asides.begin(folder / 'training', True)\n    name = f'{own} {number}'\n"
    code += "    write(made, {'logs/x': name, 'model/x': name, 'run.json': name, 'metrics.json': name})\n"
    code += "    publishing.publish(folder, made)\n"
    there = THERE | {"PYTHONPATH": os.pathsep.join([str(HERE), THERE["PYTHONPATH"]])}
    working = [subprocess.Popen([sys.executable, "-c", code, tmp_path, name], env=there) for name in "abc"]
    seen = set()
    while any(process.poll() is None for process in working):
        with files.alone(tmp_path):
            publishing.complete(tmp_path)
            shown = {text for name, text in killed.read(tmp_path).items() if not name.startswith(".")}
        assert len(shown) == 1
        seen |= shown
    assert [process.returncode for process in working] == [0, 0, 0]
    (last,) = {text for name, text in killed.read(tmp_path).items() if not name.startswith(".")}
    assert last.endswith(" 39") and len(seen) > 2


def test_what_is_published_waits_for_somebody_who_may_write(tmp_path):
    with mounted(tmp_path / "disk", 1) as disk:
        killed.write(disk, OLD)
        made, handle = asides.begin(disk / "training", folder=True)
        killed.write(made, {"metrics.json": "new"})
        made.rename(disk / ".published")
        asides.end(made, handle)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(
            RetrainLabError, match=r"disk' cannot be written: Read-only .* waits there to take its place"
        ):
            publishing.settle(disk)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        publishing.settle(disk)
        assert killed.read(disk) == OLD | {"metrics.json": "new"}


def test_a_folder_that_another_disk_is_mounted_in_is_not_replaced(tmp_path):
    killed.write(tmp_path, OLD)
    with mounted(tmp_path / "model" / "mount", 1) as disk:
        (disk / "precious").write_text("mine")
        before = killed.read(tmp_path)
        said = r"Another disk is mounted at '.*model/mount', so '.*model' cannot be replaced as a whole\. Unmount it"
        with pytest.raises(RetrainLabError, match=said), files.replacing_folder(tmp_path / "model"):
            pytest.fail("it is said before the work")
        made, handle = asides.begin(tmp_path / "training", folder=True)
        killed.write(made, {"model/a": "new", "metrics.json": "new"})
        with pytest.raises(RetrainLabError, match=said):
            publishing.publish(tmp_path, made)
        asides.end(made, handle)
        assert killed.read(tmp_path) == before
