import html

import nbconvert.filters
import pandas as pd
import pytest

from retrainlab import escaping
from retrainlab.analysis import suspects
from retrainlab.evaluation.finding import Finding

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://elsewhere/x.png)",
    "**bold** _italic_ `code` ~~no~~",
    "# no heading",
    "$x^2$",
    "a|b\nc",
    "&lt; stays &amp; as it is",
    "back\\slash",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_in_markdown(name):
    page = nbconvert.filters.markdown2html(f"Weakest: {escaping.markdown(name)}.")
    text = " ".join(name.split())
    shown = page.strip().removeprefix("<p>").removesuffix("</p>")
    assert "<" not in shown
    assert html.unescape(shown) == f"Weakest: {text}."


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_name_is_no_formula(name, tmp_path):
    assert escaping.cell(name) == f"'{name}" and escaping.cell(f"a{name}") == f"a{name}"
    table = pd.DataFrame({"path": [f"{name}/1.png"], "sha256": ["a"], "label": [name], "given": [name],
                          "suggested": ["ant"], "probability": [0.1]})  # fmt: skip
    written = pd.read_csv(suspects.write(tmp_path, table))
    assert written.loc[0, ["path", "label", "suggested"]].tolist() == [f"'{name}/1.png", f"'{name}", "ant"]


@pytest.mark.parametrize("styled", [False, True])
def test_names_in_tables_stay_text(styled):
    table = pd.DataFrame({"<b>column</b>": [0.5]}, index=["<img src=x onerror=alert(1)>"])
    shown = Finding("", table=table.style.format(precision=3) if styled else table)._repr_html_()
    assert "<img" not in shown and "<b>" not in shown and "&lt;img src=x onerror=alert(1)&gt;" in shown
