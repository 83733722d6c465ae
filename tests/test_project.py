"""From which folder paths count, which notebooks run, and where named data sets go."""

import os
import sys

import pytest

from retrainlab import project
from retrainlab.errors import RetrainLabError

HOME = ".cache/retrainlab/datasets"


def make_notebooks(folder):
    folder.mkdir(parents=True)
    (folder / "01_explore.ipynb").touch()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as a wheel leaves it: beside its modules lie the notebooks."""
    package = tmp_path / "site-packages" / "retrainlab"
    make_notebooks(package / "notebooks")
    monkeypatch.setattr(project, "_PACKAGE", package)
    monkeypatch.setenv("HOME", str(tmp_path))
    return package


def test_relative_paths_count_from_the_project_wherever_a_notebook_runs(tmp_path, monkeypatch):
    make_notebooks(tmp_path / "notebooks")
    for here in (tmp_path, tmp_path / "notebooks"):
        monkeypatch.chdir(here)
        assert project.place("reports") == tmp_path / "reports"
        assert project.place("/absolute").as_posix() == "/absolute"


@pytest.mark.skipif(os.name != "posix", reason="Windows knows its own paths")
def test_a_path_of_windows_is_not_taken_for_a_name_of_a_file_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (r"C:\Users\me\my photos", "C:/Users/me/my photos", tmp_path / r"c:\Users\me/my photos"):
        with pytest.raises(RetrainLabError, match=r"a path of Windows\. In WSL that is '/mnt/c/Users/me/my photos'"):
            project.place(path)
    assert project.module("https://example.com/module/1") == "https://example.com/module/1"
    (tmp_path / "c:").mkdir()
    assert project.place("c:/") == tmp_path / "c:"  # somebody has a folder of that name


def test_a_modules_folder_counts_from_the_project_too(tmp_path, monkeypatch):
    make_notebooks(tmp_path / "notebooks")
    (tmp_path / "modules" / "net").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks")
    assert project.module("modules/net") == str(tmp_path / "modules" / "net")
    assert project.module("efficientnet_lite0") == "efficientnet_lite0"


def test_an_empty_folder_is_a_project_and_runs_the_notebooks_of_the_package(tmp_path, installed, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert project.root() == tmp_path / "empty" and project.notebooks_dir() == installed / "notebooks"
    assert project.checkout() is None
    assert project.dataset("elpv") == tmp_path / HOME / "elpv"


def test_notebooks_of_another_name_report_beside_their_folder(tmp_path, installed, monkeypatch):
    for folder in ("mine", "reports/demo"):
        make_notebooks(tmp_path / "work" / folder)
    (tmp_path / "work" / "reports" / "demo" / "run.json").touch()
    for here in ("work", "work/mine", "work/reports/demo"):
        monkeypatch.chdir(tmp_path / here)
        assert project.place("reports") == tmp_path / "work" / "reports"
        assert project.dataset("elpv") == tmp_path / HOME / "elpv"


def test_a_project_with_notebooks_uses_them_and_keeps_its_data(tmp_path, installed, monkeypatch):
    make_notebooks(tmp_path / "work" / "notebooks")
    monkeypatch.chdir(tmp_path / "work")
    assert (
        project.notebooks_dir() == tmp_path / "work" / "notebooks" and project.carried_dir() == installed / "notebooks"
    )
    assert project.dataset("elpv") == tmp_path / "work" / "data" / "elpv"


def test_a_project_that_cannot_be_written_reads_its_data_and_fetches_to_the_cache(tmp_path, installed, monkeypatch):
    make_notebooks(tmp_path / "work" / "notebooks")
    (tmp_path / "work" / "data" / "elpv").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert project.dataset("elpv") == tmp_path / "work" / "data" / "elpv"
    assert project.dataset("stanford-dogs") == tmp_path / HOME / "stanford-dogs"


def test_a_checkout_carries_its_notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (project.checkout() / "pyproject.toml").exists()
    assert project.notebooks_dir() == project.carried_dir() == project.checkout() / "notebooks"


def test_the_command_is_called_as_it_can_be_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("my env", "other"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        for name in ("python", "retrainlab"):
            (tmp_path / folder / "bin" / name).write_text("")
            (tmp_path / folder / "bin" / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "my env" / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "other" / "bin"))
    assert project.command() == "'my env/bin/retrainlab'"
    monkeypatch.chdir(tmp_path / "other")
    assert project.command() == f"'{tmp_path}/my env/bin/retrainlab'"
    monkeypatch.setenv("PATH", str(tmp_path / "my env" / "bin"))
    assert project.command() == "retrainlab"
    monkeypatch.setattr(sys, "executable", "/usr/bin/a-python-without-it")
    assert project.command() == "retrainlab"
