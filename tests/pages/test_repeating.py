"""A run repeated takes its own parameters, is made of no other images unasked, and keeps nothing that was refused."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import make_folder, run_notebook
from nbformat import v4

from retrainlab import project
from retrainlab.cli.main import main
from retrainlab.errors import RetrainLabError
from retrainlab.pages import notebooks, parameters, repeating, reports
from retrainlab.runs import run_folder

KNOWN = parameters.known()
DEFAULTS = {name: entry["default"] for name, entry in KNOWN.items()}
TABLE = pd.DataFrame({"path": ["a"], "label": ["x"], "problem": [None]})


@pytest.fixture
def mine(tmp_path):
    """A run of photos, made with a few parameters of its own, one of another version, one that is none any more."""
    (tmp_path / "photos").mkdir()
    run = run_folder.open_run(tmp_path / "out", "mine")
    run.begin(TABLE, tmp_path / "photos", "digest")
    kept = {"run": "mine", "reports_dir": "elsewhere", "image_dir": str(tmp_path / "photos"), "seed": 5, "top": 3}
    run.record(parameters=kept | {"zoom": 2.0, "optimizer": ["sgd"]})
    return run


def in_force(run, given, names=DEFAULTS, anew=False):
    values, said = repeating.in_force(run, given, KNOWN, {name: DEFAULTS[name] for name in names}, anew)
    return {name: value for name, value in values.items() if value != DEFAULTS.get(name)}, said


def test_a_new_run_has_the_defaults_and_says_of_which_images_it_is(tmp_path):
    run = run_folder.named(tmp_path, "new")
    assert in_force(run, {"seed": 5}) == ({"run": "new", "seed": 5}, ["Run 'new' is new: image_dir elpv."])
    assert in_force(run, {"image_dir": "/x"}) == ({"run": "new", "image_dir": "/x"}, [])
    assert not run.folder.exists()


def test_what_is_given_wins_over_what_the_run_has_and_that_over_the_defaults(mine, tmp_path):
    photos = str(tmp_path / "photos")
    passed = "Passed over, since the notebooks take it no more: zoom, optimizer."
    own = {"run": "mine", "image_dir": photos, "seed": 5, "top": 3}
    assert in_force(mine, {}) == (own, [f"Run 'mine' as before: image_dir {photos}, seed 5, top 3.", passed])
    values, said = in_force(mine, {"seed": 0, "learning_rate": 0.1, "image_dir": photos})
    assert values == {"run": "mine", "image_dir": photos, "top": 3, "learning_rate": 0.1}
    assert said[0] == "Run 'mine' as before: top 3."
    assert in_force(mine, {}, names=["run", "compare"]) == (own, [passed])  # unsaid, where it does not matter


def test_many_parameters_are_counted_and_the_home_folder_is_short(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    mine.record(parameters={"int8": True, "weight_decay": [0.1], "model_dir": "", "labels_from": "x", "dropout": 0.5})
    said = in_force(mine, {})[1][0]
    assert said == (
        "Run 'mine' as before: image_dir ~/photos, labels_from x, weight_decay [0.1], dropout 0.5, seed 5, and 2 more."
    )


def test_other_images_are_refused_unless_asked_for(mine, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for same in ("photos", "link", "link/../photos/"):
        assert in_force(mine, {"image_dir": str(tmp_path / same)})[0]["seed"] == 5
    for other in (str(tmp_path / "others"), "elpv"):
        with pytest.raises(RetrainLabError, match=r"Run 'mine' is of the images in '.*/photos', and") as error:
            in_force(mine, {"image_dir": other})
        assert f"{project.dataset('elpv') if other == 'elpv' else other}' are asked for." in str(error.value)
        assert "--replace" in str(error.value) and "another --run" in str(error.value)
        values, said = in_force(mine, {"image_dir": other, "top": 2}, anew=True)
        assert values.get("image_dir", "elpv") == other and "seed" not in values and values["top"] == 2
        assert said == ["Run 'mine' anew, without what it was given before."]
    with pytest.raises(RetrainLabError, match="--replace forgets which"):
        in_force(mine, {"top": 2}, anew=True)
    assert in_force(run_folder.named(tmp_path, "new"), {}, anew=True)[1] == ["Run 'new' is new: image_dir elpv."]


def test_a_run_that_tells_nothing_but_its_images_keeps_those(tmp_path):
    run = run_folder.open_run(tmp_path, "bare")
    run.begin(TABLE, tmp_path / "photos", "digest")
    assert in_force(run, {})[0] == {"run": "bare", "image_dir": str(tmp_path / "photos")}


def test_a_run_json_gives_what_its_run_was_made_with(mine, tmp_path, capsys):
    file = mine.folder / "run.json"
    own = {"image_dir": str(tmp_path / "photos"), "seed": 5, "top": 3}
    assert parameters.read([], KNOWN, file) == own
    assert capsys.readouterr().out == "Passed over, since the notebooks take it no more: zoom, optimizer.\n"
    assert parameters.read([("seed", "6")], KNOWN, file) == own | {"seed": 6}
    bare = run_folder.open_run(tmp_path / "out", "bare")
    assert parameters.read([], KNOWN, bare.folder / "run.json") == {}


def test_defaults_that_are_paths_count_from_anywhere_and_those_that_differ_are_nobodys(tmp_path, monkeypatch):
    notebooks.copy(tmp_path / "notebooks")
    (tmp_path / "net").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    mine = {"image_dir": "photos", "tfhub_module": "net", "bottleneck_dir": "~/cache", "model_dir": "m", "images": []}
    values, _ = repeating.in_force(run_folder.named("reports", "x"), {}, KNOWN, mine)
    here = {name: str(tmp_path / mine[name]) for name in ("image_dir", "tfhub_module", "model_dir")}
    assert values == mine | here | {"run": "x"}
    entries = [{"seed": {"default": 0}, "top": {"default": value}} for value in (5, 3)]
    assert parameters.defaults(entries) == {"seed": 0}


# --------------------------------------------------------------------------------------------- reports


@pytest.fixture
def report(tmp_path):
    """The command as a person calls it; returns (exit code, lines)."""

    def call(*arguments):
        words = ["report", "--run", "mine", "-p", "reports_dir", str(tmp_path / "out"), *map(str, arguments)]
        done = CliRunner().invoke(main, words)
        return done.exit_code, done.output.splitlines()

    return call


def test_a_run_made_in_a_notebook_is_repeated_refused_and_made_anew(report, photos, tmp_path):
    place = {"run": "mine", "reports_dir": str(tmp_path / "out")}
    run_notebook("01", **place, image_dir=str(photos), testing_percentage=30.0)
    run = run_folder.Run(tmp_path / "out" / "mine")
    (run.folder / "labels.csv").write_text("path,label,decided\nred/gone.jpg,red,blue\n")
    made, own = run.info()["dataset"], run.info()["parameters"]
    of_images = parameters.declared(notebooks.every()[0]).keys() - set(parameters.PLACE)
    assert own == {name: DEFAULTS[name] for name in of_images} | {"image_dir": str(photos), "testing_percentage": 30.0}

    kept = (run.folder / "run.json").read_text()
    others = make_folder(tmp_path / "others", {"a": 12, "b": 12})
    code, lines = report("--only", "01", "-p", "image_dir", others, "-p", "seed", 5)
    assert code == 1 and len(lines) == 1 and lines[0].startswith(f"Error: Run 'mine' is of the images in '{photos}'")
    assert (run.folder / "run.json").read_text() == kept  # untouched

    code, lines = report("--only", "01", "-p", "validation_percentage", 200, "-p", "seed", 5)
    assert code == 1 and lines[0] == f"Run 'mine' as before: image_dir {photos}, testing_percentage 30.0."
    assert lines[-2] == "Run 'mine' is what it was, and keeps none of the parameters that were given now."
    assert (run.info()["dataset"], run.info()["parameters"]) == (made, own)

    code, lines = report("--only", "01", "-p", "image_dir", others, "-p", "seed", 5, "--replace")
    assert code == 0 and run.info()["dataset"]["image_dir"] == str(others) and len(run.decisions()) == 1
    given = {name: DEFAULTS[name] for name in own} | place | {"image_dir": str(others), "seed": 5}
    assert run.info()["parameters"] == given


def test_an_interrupted_report_is_resumed_with_what_it_was_given(mine, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    place = {"reports_dir": str(tmp_path / "out")}
    monkeypatch.setattr(reports, "execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        reports.report("mine", place | {"learning_rate": 0.1}, say=lambda line: None)
    said = []
    with pytest.raises(KeyboardInterrupt):
        reports.report("mine", place, resume=True, say=said.append)
    assert said[0].endswith("learning_rate 0.1, seed 5, top 3.")


@pytest.mark.parametrize("changed", [True, False])
def test_what_was_given_is_kept_once_the_run_is_made_of_it(mine, monkeypatch, tmp_path, changed):
    def fail(book, run, values, *more):
        nbformat.write(v4.new_notebook(), run.folder / book.name)
        if book.stem == "02_bottlenecks":
            if changed:
                run.begin(TABLE.assign(path="b"), tmp_path / "photos", "another")
            raise RetrainLabError("no network")

    before, place = mine.info()["parameters"], {"reports_dir": str(tmp_path / "out")}
    monkeypatch.setattr(reports, "execute", fail)
    for again in range(2):
        with pytest.raises(RetrainLabError, match="no network"):
            reports.report("mine", place | ({} if again else {"learning_rate": 0.1}), say=lambda line: None)
        kept = mine.info()["parameters"]
        assert (kept["learning_rate"] == 0.1) if changed else (kept == before)


def test_a_folder_of_runs_that_is_a_file_has_no_runs(tmp_path):
    (tmp_path / "file").touch()
    assert run_folder.Run(Path(tmp_path, "file", "x")).info() == {}
