"""Whole commands, killed with all their processes at moments spread over their time; then they are run again.

Whatever was there is whole afterwards, of before or of now; and the second try ends as one that nobody disturbed.
"""

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from retrainlab.labeling import labelers
from retrainlab.runs import listing
from retrainlab.runs.run_folder import Run

_COMMAND = [sys.executable, "-c", "from retrainlab.cli.main import main; main()"]
_QUICK = "-p how_many_training_steps 200 -p testing_percentage 20 -p validation_percentage 20 -p budget_minutes 0.2"


def started(arguments: list[str], folder: Path) -> subprocess.Popen:
    with (folder / "said.txt").open("w") as said:
        return subprocess.Popen([*_COMMAND, *arguments], cwd=folder, stdout=said, stderr=said)


def run(arguments: list[str], folder: Path) -> float:
    began = time.perf_counter()
    assert started(arguments, folder).wait() == 0, (folder / "said.txt").read_text()
    return time.perf_counter() - began


def killed(arguments: list[str], folder: Path, after: float) -> None:
    """Start a command, and end it with every process that it has begun, kernels too, after so many seconds."""
    process = started(arguments, folder)
    time.sleep(after)
    try:
        main = psutil.Process(process.pid)
        processes = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        processes = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    psutil.wait_procs(processes, 10)


def figures(run: Run) -> dict:
    """What metrics.json says but for times; {} before a training. The model must be there, and open."""
    metrics = run.metrics()
    if not metrics:
        return {}
    if (run.model / "contract.json").exists():
        assert labelers.load(run.model).labels == metrics["labels"]
    names = ("labels", "steps", "temperature", "train", "validation", "test", "gap")
    return {name: metrics[name] for name in names} | {"seed": run.info()["settings"]["seed"]}


def weights(graph: Path) -> set[bytes]:
    """The numbers of a frozen graph; TensorFlow writes its parts in no certain order."""
    from tensorflow.core.framework.graph_pb2 import GraphDef

    nodes = GraphDef.FromString(graph.read_bytes()).node
    return {node.attr["value"].tensor.tensor_content for node in nodes if node.op == "Const"}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name.endswith((".retrainlab", ".published"))]


@pytest.fixture(scope="module")
def common(photos, module):
    return ["-p", "image_dir", str(photos), "-p", "tfhub_module", str(module), "-p", "bottleneck_dir", "cache",
            "-p", "reports_dir", "reports", *_QUICK.split()]  # fmt: skip


@pytest.mark.hard
@pytest.mark.parametrize(("books", "moments"), [("02", 4), ("03", 6), ("04", 2)])
def test_a_report_killed_at_any_moment_is_old_or_new_and_ends_as_if_nothing_had_been(books, moments, common, tmp_path):
    before = tmp_path / "before"
    before.mkdir()
    project = ["report", "--run", "one", *common]
    if books != "02":  # there is a training already, of another seed
        run([*project, "--only", "03", "-p", "seed", "1"], before)
    shutil.copytree(before, tmp_path / "calm")
    again = [*project, "--only", books, "-p", "seed", "2" if books == "03" else "1"]
    seconds = run(again, tmp_path / "calm")
    old, new = (figures(Run(place / "reports" / "one")) for place in (before, tmp_path / "calm"))
    assert (old != new) == (books == "03")
    for moment in range(moments):
        place = tmp_path / str(moment)
        shutil.copytree(before, place)
        killed(again, place, seconds * (moment + 0.5) / moments)
        found = Run(place / "reports" / "one")
        assert figures(found) in (old, new), moment
        assert not listing.read_runs(place / "reports")[1]
        run(again, place)
        assert figures(found) == new, moment
        assert not leftovers(place / "reports"), moment
        shutil.rmtree(place)
    print(f"report --only {books}: {moments} kills in {seconds:.0f} s, each old or new; the next try as undisturbed")


@pytest.mark.hard
def test_a_sweep_killed_at_any_moment_ends_as_if_nothing_had_been(common, tmp_path):
    grid = [
        "sweep",
        "--run",
        "all",
        *common,
        "-p",
        "learning_rate",
        "[0.01, 0.1]",
        "-p",
        "train_batch_size",
        "[50, 100]",
    ]
    calm = tmp_path / "calm"
    calm.mkdir()
    seconds = run(grid, calm)

    def table(place: Path) -> dict:
        return {path.parent.name: figures(Run(path.parent)) for path in sorted(place.glob("reports/*/metrics.json"))}

    for moment in range(3):
        place = tmp_path / str(moment)
        place.mkdir()
        killed(grid, place, seconds * (moment + 0.5) / 3)
        whole = table(calm)
        assert all(whole[name] == mine for name, mine in table(place).items()), moment
        run(grid, place)
        assert table(place) == whole and not leftovers(place / "reports"), moment


@pytest.mark.hard
def test_retrain_killed_at_any_moment_leaves_its_files_old_or_new(photos, module, tmp_path):
    def flags(seed: int) -> list[str]:
        return ["retrain", "--image_dir", str(photos), "--tfhub_module", str(module), "--bottleneck_dir", "cache",
                "--how_many_training_steps", str(100 + seed), "--output_graph", "graph.pb", "--output_labels",
                "labels.txt", "--summaries_dir", "logs", "--checkpoint_path", "checkpoint"]  # fmt: skip

    before = tmp_path / "before"
    before.mkdir()
    run(flags(1), before)
    shutil.copytree(before, tmp_path / "calm")
    seconds = run(flags(2), tmp_path / "calm")
    old, new = (weights(place / "graph.pb") for place in (before, tmp_path / "calm"))
    assert old and old != new
    for moment in range(3):
        place = tmp_path / str(moment)
        shutil.copytree(before, place)
        killed(flags(2), place, seconds * (moment + 0.5) / 3)
        assert weights(place / "graph.pb") in (old, new), moment
        run(flags(2), place)
        assert weights(place / "graph.pb") == new and not leftovers(place), moment
