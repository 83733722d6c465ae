import io
import re
import time

import pytest
from nbformat import v4

from retrainlab.pages import engine, execution, watching
from retrainlab.runs import run_folder


def shown(text):
    """What a terminal shows after it was written: it knows `a line up` and `clear the line`."""
    lines, at = [""], 0
    for part in re.split(r"(\x1b\[1A|\x1b\[2K|\r|\n)", text):
        if part == "\x1b[1A":
            at -= 1
        elif part == "\x1b[2K":
            lines[at] = ""
        elif part == "\n":
            at += 1
            lines += [""] * (at == len(lines))
        elif part != "\r":
            assert not lines[at] or not part, "written over what stands there"
            lines[at] += part
    return [line for line in lines if line]


def test_a_log_file_has_two_lines_a_notebook_whatever_it_does():
    said = []
    watch = watching.Watch(said.append)
    with watch.drawing(), watch.running("03_retrain") as tell:
        for step in range(1000):
            tell(f"step {step}", "1/2")
    assert said == ["03_retrain: running", "03_retrain: 0 s"]


def test_a_terminal_has_a_line_for_each_notebook_that_runs_and_keeps_what_was_said(monkeypatch):
    monkeypatch.setattr(watching, "_SECONDS", 0.05)
    monkeypatch.setenv("COLUMNS", "44")
    screen = io.StringIO()
    watch = watching.Watch(lambda line: print(line, file=screen), screen)
    with watch.drawing():
        with watch.running("04_overfitting") as four, watch.running("07_trust") as seven:
            four("What more images would bring", "10/20")
            seven("短い" * 30, "")
            time.sleep(0.3)
            watch.say("05_label: already there")
            now = shown(screen.getvalue())
            assert now[0] == "05_label: already there" and len(now) == 3
            assert now[1] == "04_overfitting: 0 s, What more imag (10/20)"
            assert now[2].startswith("07_trust: 0 s, 短い") and len(now[2]) < 30  # each is two columns wide
            time.sleep(0.2)
        with pytest.raises(ZeroDivisionError), watch.running("06_compare"):
            raise ZeroDivisionError
    time.sleep(0.15)
    said = ["05_label: already there", "07_trust: 1 s", "04_overfitting: 1 s", "06_compare: failed after 0 s"]
    assert [line.replace(": 0 s", ": 1 s") for line in shown(screen.getvalue())] == said


def test_minutes_are_said_as_such():
    assert [watching._said(seconds) for seconds in (0.4, 99.4, 125)] == ["0 s", "99 s", "2 min 5 s"]


def test_a_notebook_tells_the_heading_above_the_cell_and_its_bar(tmp_path):
    bar = "from tqdm.auto import tqdm; import time\n"
    bar += "for _ in tqdm(range(4), 'a <b>', unit=' images', leave=False, disable=None): time.sleep(0.2)"
    cells = [
        v4.new_markdown_cell("# What?\n\nIt asks."),
        v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]}),
        v4.new_markdown_cell("## How long\n\n### It takes"),
        v4.new_code_cell(bar),
        v4.new_code_cell("1 + 1"),
    ]
    made = v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "any"}
    book, told = tmp_path / "07_mine.ipynb", []
    book.write_text(v4.writes(made))
    execution.execute(
        book, run_folder.open_run(tmp_path / "reports", "one"), {"seed": 1}, None, lambda *what: told.append(what)
    )
    told = [line for number, line in enumerate(told) if told[number - 1] != line or not number]
    assert told[0] == ("What?", "") and told[1] == told[-1] == ("It takes", "")
    bars = [bar for heading, bar in told if heading == "It takes" and bar]
    assert len(bars) >= 3 and all(bar.startswith("a <b>") for bar in bars)
    assert re.search(r"50% 2/4 \[00:00<00:0\d, +[\d.]+ images/s\]", "\n".join(bars))


def test_bars_that_are_closed_and_widgets_of_other_kinds_are_not_told():
    bars = engine.Bars()
    assert str(bars) == ""
    widgets = {
        "a": {"_model_name": "HTMLModel", "value": "scan:&lt;"},
        "b": {"_model_name": "FloatProgressModel"},
        "c": {"_model_name": "HTMLModel"},
        "box": {"children": [f"IPY_MODEL_{name}" for name in "abc"]},
        "d": {"children": ["IPY_MODEL_a", "IPY_MODEL_gone", None]},
    }
    for comm, state in widgets.items():
        bars.take({"msg_type": "comm_open", "content": {"comm_id": comm, "data": {"state": state}}})
    bars.take({"msg_type": "comm_msg", "content": {"comm_id": "c", "data": {"state": {"value": " 3/4\u2007x"}}}})
    bars.take({"msg_type": "comm_msg", "content": {"comm_id": "c", "data": {"method": "custom"}}})
    bars.take({"msg_type": "stream", "content": {"name": "stdout", "text": "x"}})
    assert str(bars) == "scan:< 3/4 x"
    bars.take({"msg_type": "comm_close", "content": {"comm_id": "box", "data": {}}})
    assert str(bars) == ""
