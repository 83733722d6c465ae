import pytest
from nbformat import v4

from retrainlab.errors import RetrainLabError
from retrainlab.pages import parameters

KNOWN = {
    "steps": {"default": 1, "type": int, "help": "how many"},
    "rate": {"default": 0.1, "type": float, "help": "how fast"},
    "name": {"default": "", "type": str, "help": "what"},
    "on": {"default": True, "type": bool, "help": "whether"},
    "decay": {"default": [0.0], "type": list, "help": "which"},
    "images": {"default": [], "type": list, "help": "paths"},
    "compare": {"default": [], "type": list, "help": "names"},
}


def test_values_are_made_to_fit():
    pairs = [("steps", "3"), ("rate", "1e-4"), ("name", "0815"), ("on", "false"), ("decay", "[0, 1e-3]")]
    found = parameters.check(parameters.read(pairs, KNOWN), KNOWN)
    assert found["steps"] == 3 and found["rate"] == 1e-4 and found["on"] is False
    assert [float(value) for value in found["decay"]] == [0, 1e-3]
    for text in ("/photos #1", "2024-05-01", "007", "no", "a: b", ""):
        assert parameters.read([("name", text)], KNOWN) == {"name": text}
    assert parameters.check({"decay": 0.5}, KNOWN) == {"decay": [0.5]}
    assert parameters.check({"name": 2024}, KNOWN) == {"name": "2024"}


def test_a_list_of_names_or_of_paths_is_read_as_it_was_typed():
    typed = [("images", text) for text in ("5", "2024-05-01", "photo #1.jpg", "a: b.jpg", "a,b.jpg", " c.jpg")]
    names = {"a,b": ["a", "b"], "a , 5": ["a", "5"], "0815": ["0815"], "": [], "[a, 5]": ["a", "5"]}
    wanted = [["5"], ["2024-05-01"], ["photo #1.jpg"], ["a: b.jpg"], ["a,b.jpg"], [" c.jpg"], [], ["a", "b c"]]
    pairs = [*typed, ("images", ""), ("images", "[a, b c]"), *(("compare", text) for text in names)]
    read = [parameters.check(parameters.read([pair], KNOWN), KNOWN) for pair in pairs]
    assert [value for found in read for value in found.values()] == [*wanted, *names.values()]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stesp": 3}, "Unknown parameter 'stesp'. Did you mean steps?"),
        ({"steps": "many"}, "Parameter steps is 'many'. Expected a whole number: how many."),
        ({"steps": 1.5}, "Expected a whole number"),
        ({"rate": "fast"}, "Expected a number: how fast"),
        ({"on": 1}, "Expected true or false"),
        ({"images": None}, "Parameter images is None. Expected a list: paths."),
        ({"images": {"a": "b.jpg"}}, "Expected a list: paths"),
        ({"compare": [True]}, "Expected a list: names"),
        ({"compare": ["a\0b"]}, "Expected no NUL in it"),
    ],
)
def test_wrong_parameters_are_said(values, said):
    with pytest.raises(RetrainLabError) as error:
        parameters.check(values, KNOWN)
    assert said in str(error.value)


def test_a_parameters_file_and_pairs_that_win(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("steps: 5\nname: x\n")
    assert parameters.read([("steps", "6")], KNOWN, file) == {"steps": 6, "name": "x"}
    file.write_text("- steps")
    with pytest.raises(RetrainLabError, match="holds no parameters"):
        parameters.read([], KNOWN, file)
    file.write_text("a: [")
    with pytest.raises(RetrainLabError, match="cannot be read as YAML"):
        parameters.read([], KNOWN, file)
    with pytest.raises(RetrainLabError, match=r"none.yaml' cannot be read"):
        parameters.read([], KNOWN, tmp_path / "none.yaml")


def write_notebook(folder, *cells, tag="parameters"):
    book = v4.new_notebook(cells=[v4.new_code_cell(cell, metadata={"tags": [tag]}) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "language": "python"}
    file = folder / "07_mine.ipynb"
    file.write_text(v4.writes(book))
    return file


def test_a_default_may_hold_any_sign(tmp_path):
    cell = """# where from
image_dir: str = "date=2024-05-01/run=#7"  # folder, as #6 asked
weight_decay: list = [
    0.1,  # much
    0.2,
]  # penalties
shift: float = -1.5"""
    assert parameters.declared(write_notebook(tmp_path, cell)) == {
        "image_dir": {"default": "date=2024-05-01/run=#7", "type": str, "help": "folder, as #6 asked"},
        "weight_decay": {"default": [0.1, 0.2], "type": list, "help": "penalties"},
        "shift": {"default": -1.5, "type": float, "help": ""},
    }


def test_a_notebook_without_its_parameters_cell_does_not_run_with_defaults(tmp_path):
    for file in (write_notebook(tmp_path, "seed: int = 1", tag="other"), write_notebook(tmp_path)):
        with pytest.raises(RetrainLabError, match=r"07_mine.ipynb' cannot be read \(0 cells have the tag\)"):
            parameters.declared(file)
    with pytest.raises(RetrainLabError, match=r"\(2 cells have the tag\)"):
        parameters.declared(write_notebook(tmp_path, "seed: int = 1", "seed: int = 2"))


@pytest.mark.parametrize(
    ("declared", "value", "said"),
    [
        (
            "on: bool = False",
            "false",
            "Parameter on is 'false'. Expected true or false. To papermill it goes as -y 'on",
        ),
        ("on: bool = False", 1, "Expected true or false"),
        ("run: str = 'demo'", 7, "Parameter run is 7. Expected text. To papermill it goes as -r run VALUE"),
        ("decay: list = [0.1]", 0.1, "Expected a list. To papermill it goes as -y 'decay: VALUE'"),
        ("decay: list = [0.1]", "[0.1, 0.2]", "Expected a list"),
        ("seed: int = 0", 1.5, "Expected a whole number"),
        ("seed: int = 0", True, "Expected a whole number"),
        ("rate: float = 0.1", None, "Expected a number"),
        ("rate: float = 0.1", 1, ""),
        ("names: list[str] = []", "a", ""),
    ],
)
def test_what_papermill_took_for_another_type_is_said(declared, value, said):
    namespace = {}
    exec(declared, namespace)
    parameters.hold(namespace)
    namespace[declared.split(":")[0]] = value
    if not said:
        return parameters.hold(namespace)
    with pytest.raises(RetrainLabError) as error:
        parameters.hold(namespace)
    assert said in str(error.value)


@pytest.mark.parametrize("cell", ["seed: int = 1 + 2", "seed: int =", "seed = 1", "seed: int", "import os"])
def test_a_notebook_whose_parameters_are_no_plain_values(tmp_path, cell):
    file = write_notebook(tmp_path, cell)
    with pytest.raises(RetrainLabError, match=r"The parameters of '.*07_mine.ipynb' cannot be read \("):
        parameters.declared(file)


def test_a_damaged_notebook(tmp_path):
    (tmp_path / "07_mine.ipynb").write_text("{")
    with pytest.raises(RetrainLabError, match=r"cannot be read \(.*Expected a notebook with a cell tagged"):
        parameters.declared(tmp_path / "07_mine.ipynb")
