"""The plan of the house: imports run one way, the drawing and the README's table are true, no part is too long."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "retrainlab"
plan = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "house.py")))
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.fixture(scope="module")
def house():
    return plan.read(PACKAGE)


@pytest.fixture
def copy(tmp_path) -> Path:
    """The checkout as far as the plan goes, to spoil; what is drawn there is true."""
    shutil.copytree(PACKAGE, tmp_path / "src" / "retrainlab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", tmp_path)
    plan.write(tmp_path)
    return tmp_path


def append(file: Path, code: str) -> int:
    """Add code to a file; returns the number of its last line."""
    text = file.read_text(encoding="utf-8") + code
    file.write_text(text, encoding="utf-8")
    return len(text.splitlines())


def test_imports_run_one_way(house):
    assert plan.complaints(house) == []


def test_the_drawing_and_the_table_are_true():
    assert plan.check() == []


def test_nobody_imports_the_doors_and_the_foundations_import_nobody(house):
    kinds = {room.name: room.kind for room in house.rooms}
    assert {kinds[found.room] for found in house.imports if kinds.get(found.used) == "doors"} <= {"doors"}
    assert {kinds.get(i.used) for i in house.imports if kinds[i.room] in ("ground", "foundations")} <= {"ground"}
    assert {"errors", "evaluation", "images", "lab", "cli"} <= set(kinds)


def test_what_is_read_is_what_the_code_imports(house):
    uses = {(found.room, found.used) for found in house.imports}
    assert {("bottlenecks", "backbones"), ("labeling", "export"), ("lab", "images"), ("cli", "lab")} <= uses
    assert len(uses) > 50
    assert sum(room.lines for room in house.rooms) > 5000


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("from ..training.heads import Head\n", "training.heads"),
        ("from .. import lab\n", "lab"),
        ("import retrainlab.cli.main\n", "cli.main"),
        ("from retrainlab import training\n", "training"),
        ("from retrainlab.runs import run_folder as folder\n", "runs"),
        ("def late():\n    from ..pages import board\n", "pages"),
        ("if TYPE_CHECKING:\n    from ..export.contracts import Contract\n", "export.contracts"),
    ],
)
def test_an_import_against_the_order_is_found_with_file_and_line(copy, code, module):
    line = append(copy / "src/retrainlab/images/overview.py", code)
    room = module.partition(".")[0]
    expected = f"retrainlab/images/overview.py:{line}: `images` imports {module}, but `{room}` comes after `images`"
    assert any(said.startswith(expected) for said in plan.check(copy))


def test_the_command_says_what_is_wrong_and_fails(copy):
    append(copy / "src/retrainlab/evaluation/scores.py", "from ..images import overview\n")
    command = [sys.executable, str(copy / "docs" / "house.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "`evaluation` imports images, but `images` comes after `evaluation`: imports run one way." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_room_uses_no_more_than_its_docstring_allows(copy):
    line = append(copy / "src/retrainlab/labeling/graphs.py", "from ..analysis import gap\n")
    expected = f"retrainlab/labeling/graphs.py:{line}: `labeling` imports analysis, but its docstring says it may use"
    assert any(said.startswith(expected) for said in plan.check(copy))


def test_imports_of_the_room_itself_and_of_libraries_are_nobodys_business(copy):
    before = plan.check(copy)
    code = "import html\nfrom . import scanning\nfrom ..images import splitting\nfrom .. import __version__\n"
    append(copy / "src/retrainlab/images/overview.py", code)
    assert plan.check(copy) == before


def test_a_room_without_a_place_is_found(copy):
    attic = copy / "src/retrainlab/attic"
    attic.mkdir()
    (attic / "old.py").write_text("")
    (copy / "src/retrainlab/shed.py").write_text("")
    said = plan.check(copy)
    assert "`attic` is in no line of the order in the package's docstring." in said
    assert "`shed` is in no line of the order in the package's docstring." in said


def test_a_place_without_a_room_is_said(copy):
    shutil.rmtree(copy / "src/retrainlab/pages")
    with pytest.raises(plan.WrongPlan, match=r"pages.*there is no such file"):
        plan.check(copy)


def test_a_drawing_of_other_modules_is_found_and_one_of_other_lines_is_not(copy):
    append(copy / "src/retrainlab/images/overview.py", "# a remark\n" * 300)
    assert not any("house.svg" in said for said in plan.check(copy))
    (copy / "src/retrainlab/images/guessing.py").write_text('"""What an image may be."""\n')
    assert any("docs/house.svg shows other rooms, modules or imports" in said for said in plan.check(copy))
    plan.write(copy)
    assert not any("house.svg" in said for said in plan.check(copy))
    assert "guessing" in (copy / "docs/house.svg").read_text(encoding="utf-8")


def test_a_table_that_says_something_else_is_found(copy):
    readme = copy / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(text.replace("| the foundations |", "| all above |", 1), encoding="utf-8")
    assert any("README's table of rooms" in said for said in plan.check(copy))
    readme.write_text(text.replace(plan.MARKERS[1], ""), encoding="utf-8")
    with pytest.raises(plan.WrongPlan, match="no place for the table"):
        plan.check(copy)


def test_a_room_that_says_nothing_or_names_nobody_is_found(copy):
    init = copy / "src/retrainlab/runs/__init__.py"
    text = init.read_text(encoding="utf-8")
    init.write_text(text.replace("May use: ", "May use: the cellar, "), encoding="utf-8")
    with pytest.raises(plan.WrongPlan, match="the cellar under `May use` is no room above this one"):
        plan.check(copy)
    init.write_text('"""To be said."""\n', encoding="utf-8")
    with pytest.raises(plan.WrongPlan, match="lacks `Takes: `, `Gives: ` or `May use: `"):
        plan.check(copy)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_takes_gives_and_may_use(room):
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    said = ast.get_docstring(tree) or ""
    assert all(f"\n{word}: " in said for word in ("Takes", "Gives", "May use"))
    # only `plots` is used by the name of the room; `pages` keeps a library from being loaded that takes seconds
    assert len(tree.body) == 1 or room in ("plots", "pages")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_module_and_no_function_is_too_long_to_read_at_once(file):
    text = file.read_text(encoding="utf-8")
    too_long = {file.name: count} if (count := len(text.splitlines())) > 300 else {}
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = function.end_lineno - function.lineno + 1
            too_long |= {function.name: lines} if lines > 60 else {}
    assert too_long == {}


def test_names_in_docstrings_are_there():
    """`module.name` in a docstring or a comment leads a reader to a module that has it."""
    there: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        names = re.findall(r"^(?:def|class) (\w+)|^(\w+)\b[^=\n(]*= ", file.read_text(encoding="utf-8"), re.MULTILINE)
        stem = file.parent.name if file.stem == "__init__" else file.stem
        there.setdefault(stem, set()).update(name for pair in names for name in pair if name)
        there.setdefault(file.parent.name, set()).add(file.stem)
    for file in PACKAGE.rglob("*.py"):
        for module, name in re.findall(r"`([a-z_]+)\.(\w+)[^`(]*`", file.read_text(encoding="utf-8")):
            ours = module in there and name not in ("py", "csv", "json", "parquet", "tflite")
            assert not ours or name in there[module], f"{file.name}: `{module}.{name}`"
