import pytest

from retrainlab import reports
from retrainlab.errors import RetrainLabError

KNOWN = {
    "steps": {"default": 1, "type": int, "help": "how many"},
    "rate": {"default": 0.1, "type": float, "help": "how fast"},
    "name": {"default": "", "type": str, "help": "what"},
    "on": {"default": True, "type": bool, "help": "whether"},
    "decay": {"default": [0.0], "type": list, "help": "which"},
}


def test_values_are_made_to_fit():
    pairs = [("steps", "3"), ("rate", "1e-4"), ("name", "0815"), ("on", "false"), ("decay", "[0, 1e-3]")]
    found = reports.check_parameters(reports.read_parameters(pairs, KNOWN), KNOWN)
    assert found["steps"] == 3 and found["rate"] == 1e-4 and found["on"] is False
    assert [float(value) for value in found["decay"]] == [0, 1e-3]
    for text in ("/photos #1", "2024-05-01", "007", "no", "a: b", ""):
        assert reports.read_parameters([("name", text)], KNOWN) == {"name": text}
    assert reports.check_parameters({"decay": 0.5}, KNOWN) == {"decay": [0.5]}
    assert reports.check_parameters({"name": 2024}, KNOWN) == {"name": "2024"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stesp": 3}, "Unknown parameter 'stesp'. Did you mean steps?"),
        ({"steps": "many"}, "Parameter steps is 'many'. Expected a whole number: how many."),
        ({"steps": 1.5}, "Expected a whole number"),
        ({"rate": "fast"}, "Expected a number: how fast"),
        ({"on": 1}, "Expected true or false"),
    ],
)
def test_wrong_parameters_are_said(values, said):
    with pytest.raises(RetrainLabError) as error:
        reports.check_parameters(values, KNOWN)
    assert said in str(error.value)


def test_a_parameters_file_and_pairs_that_win(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("steps: 5\nname: x\n")
    assert reports.read_parameters([("steps", "6")], KNOWN, file) == {"steps": 6, "name": "x"}
    file.write_text("- steps")
    with pytest.raises(RetrainLabError, match="holds no parameters"):
        reports.read_parameters([], KNOWN, file)
    file.write_text("a: [")
    with pytest.raises(RetrainLabError, match="cannot be read as YAML"):
        reports.read_parameters([], KNOWN, file)
    with pytest.raises(RetrainLabError, match=r"none.yaml' cannot be read"):
        reports.read_parameters([], KNOWN, tmp_path / "none.yaml")


def test_an_index_without_runs_says_so(tmp_path):
    assert "No run yet" in reports.write_index(tmp_path).read_text()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "01_explore.html").touch()
    text = reports.write_index(tmp_path).read_text()
    assert "No run yet" not in text and '<a href="begun/01_explore.html">Explore</a>' in text


def test_pages_of_other_parameters_never_count_as_done(tmp_path, monkeypatch):
    def fail(*_):
        raise RetrainLabError("no")

    monkeypatch.setattr(reports, "_execute", fail)
    pages = tmp_path / "x"
    pages.mkdir()
    (pages / "03_retrain.html").touch()
    for resume in (False, True):
        with pytest.raises(RetrainLabError, match="no"):
            reports.report("x", {"reports_dir": str(tmp_path), "seed": 5}, resume=resume, say=lambda line: None)
        assert not list(pages.glob("*.html"))
    assert "No run yet" in (tmp_path / "index.html").read_text()


def test_only_must_name_a_notebook(tmp_path):
    with pytest.raises(RetrainLabError, match=r"--only 99 names no notebook\. Known: 01_explore"):
        reports.report("x", {"reports_dir": str(tmp_path)}, only=["99"])


def test_cells_that_show_nothing_fold_together():
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

    cells = [new_code_cell("a"), new_code_cell("b"), new_code_cell("c", outputs=[new_output("stream", text="x")])]
    folded = reports._folded([*cells, new_markdown_cell("text"), new_code_cell("d")])
    assert [cell.source for cell in folded] == ["a\n\nb\n\nc", "text", "d"]
    assert len(folded[0].outputs) == 1
