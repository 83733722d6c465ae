import json
import shutil
import sys

import pytest
from nbformat import v4

from retrainlab import project
from retrainlab.errors import RetrainLabError
from retrainlab.pages import execution, notebooks, parameters, reports
from retrainlab.runs import run_folder


@pytest.fixture
def run_cell(tmp_path, monkeypatch):
    """Run a cell as a notebook of a report, with a broken kernel named as the notebooks' first on Jupyter's path."""
    stray = tmp_path / "stray" / "kernels" / "python3"
    stray.mkdir(parents=True)
    spec = {"argv": ["/nowhere/python", "-f", "{connection_file}"], "display_name": "stray", "language": "python"}
    (stray / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "stray"))

    def run(source: str, seed=7):
        book = tmp_path / "07_mine.ipynb"
        cells = [v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]}), v4.new_code_cell(source)]
        made = v4.new_notebook(cells=cells)
        made.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "any"}
        book.write_text(v4.writes(made))
        out = run_folder.open_run(tmp_path / "reports", "one")
        execution.execute(book, out, {"seed": seed})
        return json.loads((out.folder / book.name).read_text())["cells"][-1]["outputs"]

    return run


def test_the_kernel_is_this_python_whatever_kernels_are_installed(run_cell):
    (output,) = run_cell("import sys; print(sys.executable, seed)")
    assert "".join(output["text"]).split() == [sys.executable, "7"]


def test_a_parameter_of_another_type_is_said_by_the_notebook_itself(run_cell):
    with pytest.raises(RetrainLabError, match=r"^Parameter seed is '7'\. Expected a whole number\."):
        run_cell("from retrainlab.pages import parameters; parameters.hold(globals())", seed="7")


def test_a_kernel_that_ends_by_itself_is_said(run_cell):
    with pytest.raises(RetrainLabError, match=r"The Python that ran 07_mine has ended or never began \("):
        run_cell("import os; os._exit(9)")


@pytest.fixture
def older(tmp_path, monkeypatch):
    """A project whose notebooks are copies of another version's."""
    notebooks.copy(tmp_path / "notebooks")
    with (tmp_path / "notebooks" / "06_compare.ipynb").open("a") as file:
        file.write("\n")
    monkeypatch.chdir(tmp_path)


def test_an_import_that_does_not_fit_tells_of_the_other_version(older, run_cell, tmp_path):
    with pytest.raises(RetrainLabError, match=r"cannot import name 'gone' from 'retrainlab'.* \(in 07_mine") as error:
        run_cell("from retrainlab import gone")
    assert f"The notebooks in '{tmp_path / 'notebooks'}' are not those of Retrain Lab" in str(error.value)
    with pytest.raises(RetrainLabError) as error:
        run_cell("1 / 0")
    assert "ZeroDivisionError: division by zero" in str(error.value) and "are not those" not in str(error.value)


def test_a_parameter_that_the_notebooks_of_another_version_do_not_have(older, tmp_path):
    file = tmp_path / "notebooks" / "03_retrain.ipynb"
    book = json.loads(file.read_text())
    for cell in book["cells"]:
        cell["source"] = [line for line in cell["source"] if not line.startswith("int8: bool")]
    file.write_text(json.dumps(book))
    assert "int8" in parameters.known() and "int8" not in parameters.declared(file)
    with pytest.raises(RetrainLabError, match=r"Unknown parameter 'int8'\..* are not those of Retrain Lab"):
        reports.report("one", {"reports_dir": str(tmp_path / "reports"), "int8": True})


def test_the_notebooks_of_this_version_are_no_reason(run_cell, tmp_path, monkeypatch):
    shutil.copytree(project.carried_dir(), tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RetrainLabError, match="cannot import name 'gone'") as error:
        run_cell("from retrainlab import gone")
    assert "are not those" not in str(error.value)
