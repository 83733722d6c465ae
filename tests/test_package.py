"""The project as a whole: late imports, the lock file, environment.yml, the README."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from retrainlab.backbones import hub
from retrainlab.pages import notebooks, parameters

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src"
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in (PACKAGE / "retrainlab").rglob("[a-z]*.py")
)
README = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else ""
LOCK = dict(
    re.match(r"([a-z0-9._-]+)==([^ ;]+)", line, re.IGNORECASE).groups()
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if "==" in line.split(";")[0]
)


def test_nothing_imports_tensorflow_or_dask_before_it_is_needed():
    code = f"import sys, importlib\nfor m in {MODULES}: importlib.import_module(m)\n"
    code += "assert not {'tensorflow', 'tensorflow_hub', 'keras', 'distributed'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_lock_names_every_dependency_and_no_index():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    for requirement in wanted:
        name = re.match(r"[\w.-]+", requirement).group().lower()
        assert name in LOCK, name
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "--" not in text


def test_environment_yml_agrees_with_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    dependencies = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    named = dict(entry.split("==") for entry in pip if "==" in entry)
    seven = {"jupyterlab", "tensorflow", "tensorflow-hub", "tensorboard", "papermill", "pandas", "seaborn"}
    assert seven <= set(named)
    assert all(LOCK[name] == version for name, version in named.items())
    assert any(entry.startswith("python") for entry in dependencies)
    assert "--editable .[demo]" in pip or "-e .[demo]" in pip


def test_the_readme_lists_every_parameter_with_its_default_and_every_notebook():
    for book in notebooks.every():
        assert f"notebooks/{book.name}" in README
        for name, entry in parameters.declared(book).items():
            row = re.search(rf"^\| `{name}` \| `(.*?)` \|", README, re.MULTILINE)
            assert row, f"{name} is missing from the README's table of parameters"
            assert row.group(1) == yaml.safe_dump(entry["default"], default_flow_style=True).split("\n")[0], name


def test_the_readme_lists_every_command_and_make_target():
    from retrainlab.cli.main import main

    for name in main.commands:
        assert f"retrainlab {name}" in README
    makefile = (ROOT / "Makefile").read_text()
    for target in ("report", "test", "test-hard", "lab", "tensorboard", "lint", "bench", "clean"):
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)
        assert f"make {target}" in README


def test_the_readme_lists_the_known_modules():
    for module in hub.known_modules():
        dim = f"{int(module['dim']):,}"
        assert f"| {module['network']} | `{module['handle']}` | {module['image_size']} | {dim} |" in README


def test_pictures_of_the_readme_exist():
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).exists(), picture


def test_bare_make_lists_the_commands():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in ("report", "test", "lab", "tensorboard", "lint", "bench", "clean"))
