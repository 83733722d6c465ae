"""Which cells of an executed notebook a page shows, and in which order."""

from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from retrainlab.pages.sections import arranged

PICTURE = new_output("display_data", {"image/png": "", "text/plain": "a figure"})
TITLE = new_markdown_cell("# Is it good?\n\nThis page says it.")


def said(text="x"):
    return new_output("stream", text=text)


def shown(*cells):
    """Source of each cell of the page; what it unfolds by, before it."""
    return [f"{cell.metadata.get('unfolded by', '')}|{cell.source}" for cell in arranged([TITLE, *cells])]


def test_the_answer_comes_right_after_the_title():
    answer = new_code_cell("answer", outputs=[said()], metadata={"tags": ["summary"]})
    cells = new_markdown_cell("## How it came\n\nSlowly."), new_code_cell("figure", outputs=[PICTURE])
    last = new_markdown_cell("**Next:** [04](04_overfitting.ipynb)")
    assert shown(*cells, new_markdown_cell("## What was found"), answer, last) == [
        "|# Is it good?", "|answer", "About this page|This page says it.", "|## How it came", "What this is|Slowly.",
        "|figure", "|**Next:** [04](04_overfitting.html)",
    ]  # fmt: skip


def test_a_section_that_shows_nothing_is_left_out_with_its_code():
    empty = new_markdown_cell("## Fine-tuning\n\nIt is off."), new_code_cell("nothing")
    full = new_markdown_cell("## Mistakes"), new_code_cell("table", outputs=[said()])
    assert shown(*empty, *full)[2:] == ["|## Mistakes", "|table"]
    part = new_markdown_cell("### Eight bits"), new_code_cell("off")
    assert shown(*full, *part, *full)[2:] == ["|## Mistakes", "|table", "|## Mistakes", "|table"]
    below = new_markdown_cell("### Eight bits"), new_code_cell("on", outputs=[said()])
    assert shown(*empty, *below)[2:] == [
        "|## Fine-tuning", "What this is|It is off.", "|nothing", "|### Eight bits", "|on"
    ]  # fmt: skip


def test_nothing_says_how_to_read_what_is_not_there():
    read = new_markdown_cell("*How to read it:* up is better.\n\nThe rest is by the way.")
    section = new_markdown_cell("## Figure")
    assert shown(section, new_code_cell("f", outputs=[PICTURE]), read)[-1] == (
        "How to read it|Up is better.\n\nThe rest is by the way."
    )
    assert shown(section, new_code_cell("f", outputs=[said()]), read)[-1] == "What this is|The rest is by the way."
    table = new_output("execute_result", {"text/html": "<table></table>"})
    assert shown(section, new_code_cell("f", outputs=[table]), read)[-1].startswith("How to read it|")


def test_a_text_on_what_shows_nothing_is_left_out():
    section, full = new_markdown_cell("## S"), new_code_cell("a", outputs=[said()])
    text = new_markdown_cell("With a folder of new images, these come next.")
    assert shown(section, full, text, new_code_cell("b"))[2:] == ["|## S", "|a", "|b"]
    assert shown(section, full, text, full)[2:] == ["|## S", "|a", f"What this is|{text.source}", "|a"]


def test_cells_that_show_nothing_fold_together():
    section = new_markdown_cell("## S")
    cells = new_code_cell("a"), new_code_cell("b"), new_code_cell("c", outputs=[said()])
    assert shown(section, *cells, new_code_cell("d"))[2:] == ["|## S", "|a\n\nb\n\nc", "|d"]


def test_progress_bars_stay_off_pages_and_the_notebook_as_it_was():
    bar = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "50%"})
    cell = new_code_cell("extract", outputs=[bar, said("done")])
    assert arranged([TITLE, cell])[-1].outputs == [said("done")] and len(cell.outputs) == 2
