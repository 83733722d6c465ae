"""A real JupyterLab in a real browser: every notebook by Run All, untouched, and the TensorBoard tile."""

import json
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from browser import CHROMIUM, free_port, page, serving
from conftest import make_folder, make_image

from retrainlab.runs import summaries

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [pytest.mark.hard, pytest.mark.skipif(not CHROMIUM, reason="no Chromium here; .ci/run installs it")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """`make lab` on a copy of the notebooks, with a home of its own: nothing is cached yet.

    A broken kernel that has the name of the notebooks' own is the first on Jupyter's path.
    """
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", project / "notebooks")
    photos = make_folder(project / "photos", {"blue": 60, "green": 60, "red": 60})
    for number in range(4):  # labelled wrongly, so that there is something to decide on
        image = next((photos / "blue").glob(f"*{number:03}.*"))
        image.rename(photos / "green" / f"wrong {image.name}")
    (project / "new").mkdir()
    for number in range(6):
        make_image(900 + number, number % 3).save(project / "new" / f"{number}.png")
    for book in (project / "notebooks").glob("*.ipynb"):  # what takes longest is tried elsewhere
        text = book.read_text(encoding="utf-8").replace('depth: str = \\"all\\"', 'depth: str = \\"last\\"')
        text = text.replace('image_dir: str = \\"elpv\\"', 'image_dir: str = \\"photos\\"')
        text = text.replace("budget_minutes: float = 12.0", "budget_minutes: float = 0.2")
        text = text.replace('unlabelled_dir: str = \\"\\"', 'unlabelled_dir: str = \\"new\\"')
        book.write_text(text, encoding="utf-8")
    port, home = free_port(), tmp_path_factory.mktemp("home")
    server = {"open_browser": False, "allow_root": True, "port": port, "port_retries": 0}
    (home / ".jupyter").mkdir()
    config = {"ServerApp": server, "IdentityProvider": {"token": ""}}
    (home / ".jupyter" / "jupyter_server_config.json").write_text(json.dumps(config))
    stray = home / "stray" / "kernels" / "python3"
    stray.mkdir(parents=True)
    spec = {"argv": ["/nowhere/python", "-f", "{connection_file}"], "display_name": "stray", "language": "python"}
    (stray / "kernel.json").write_text(json.dumps(spec))
    command = ["make", "--file", str(ROOT / "Makefile"), "--old-file", ".venv/ready", "lab",
               f"BIN={Path(sys.executable).parent}"]  # fmt: skip
    env = os.environ | {"HOME": str(home), "JUPYTER_PATH": str(home / "stray")}
    with serving(command, f"http://127.0.0.1:{port}/api", cwd=project, env=env) as address:
        yield address.removesuffix("/api"), project


IDLE = ".jp-Notebook-ExecutionIndicator[data-status='idle']"


def start(tab, base: str, book: Path) -> None:
    """Open a notebook and press Run All."""
    tab.goto(f"{base}/lab/tree/notebooks/{book.name}?reset")
    tab.wait_for_selector(IDLE, timeout=60_000)
    tab.wait_for_timeout(1000)
    tab.click(".lm-MenuBar-itemLabel >> text='Run'")
    tab.click("text='Run All Cells'")


def run_all(tab, base: str, book: Path) -> list:
    """Run a notebook, save it now and then, and return its code cells once every one has run.

    While a kernel starts on a busy machine, JupyterLab may drop what was sent to it: a notebook that stands still with
    cells that have not run is started again, at most three times.
    """
    start(tab, base, book)
    stood, before, again = 0, 0, 0
    for _ in range(160):
        tab.wait_for_timeout(2000)
        tab.keyboard.press("Control+s")
        tab.wait_for_timeout(500)
        try:
            cells = [cell for cell in nbformat.read(book, 4).cells if cell.cell_type == "code"]
        except ValueError:  # it is being written
            continue
        failed = [o for cell in cells for o in cell.outputs if o.output_type == "error"]
        if failed or all(cell.execution_count for cell in cells):
            return cells
        done = sum(bool(cell.execution_count) for cell in cells)
        stood = stood + 1 if done == before and tab.locator(IDLE).count() else 0
        before = done
        if stood == 6 and again < 3:
            start(tab, base, book)
            stood, again = 0, again + 1
    raise AssertionError(f"{book.name} did not end: {done} of {len(cells)} cells have run")


def decide(tab, file: Path) -> None:
    """Click on two buttons under the labels in doubt."""
    tab.click("button:has-text('Keep ')")
    tab.wait_for_selector("text=2 of ")
    tab.click("button:has-text('Change to ')")
    tab.wait_for_selector("text=3 of ")
    decided = pd.read_csv(file)
    assert (decided["label"] == decided["decided"]).tolist() == [True, False]
    images = pd.read_parquet(file.with_name("images.parquet"))
    assert len(decided.merge(images, on=["path", "sha256"])) == 2


def label_next(tab, file: Path) -> None:
    """Skip an image, label the one after it by a button, and take that back."""
    tab.click("button:has-text('Skip')")
    tab.click(".jupyter-button:has-text('green')")
    tab.wait_for_selector("text=1 of 6 have a label")
    assert pd.read_csv(file)["label"].dropna().tolist() == ["green"]
    tab.click("button:has-text('Undo')")
    tab.wait_for_selector("text=0 of 6 have a label")
    assert pd.read_csv(file)["label"].isna().all()


def choose(tab, photo: Path) -> None:
    """Choose a photo, and see it labelled."""
    with tab.expect_file_chooser() as chooser:
        tab.click("button:has-text('Choose photos')")
    chooser.value.set_files(photo)
    tab.wait_for_selector(".jupyter-widgets img", timeout=120_000)


def test_run_all_in_every_notebook_decide_on_labels_and_label_a_chosen_photo(lab):
    base, project = lab
    with page() as tab:
        for book in sorted((project / "notebooks").glob("*.ipynb")):
            outputs = [output for cell in run_all(tab, base, book) for output in cell.outputs]
            assert outputs, book.name
            assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"], book.name
            if book.stem == "04_overfitting":
                decide(tab, project / "reports" / "demo" / "labels.csv")
            if book.stem == "05_label":
                choose(tab, next((project / "photos" / "red").iterdir()))
            if book.stem == "07_trust":
                label_next(tab, project / "reports" / "demo" / "to_label.csv")
        assert (project / "reports" / "demo" / "metrics.json").exists()
        assert not (project / "notebooks" / "reports").exists()


def test_the_tile_opens_tensorboard_at_the_first_click(lab):
    base, project = lab
    with closing(summaries.EventFile(project / "reports" / "tile" / "logs" / "train")) as file:
        file.scalar(1, "accuracy", 0.5)
    with page() as tab:
        refused: list[str] = []
        tab.context.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
        tab.goto(f"{base}/lab?reset")
        tile = tab.locator(".jp-LauncherCard", has_text="TensorBoard")
        tile.wait_for(timeout=60_000)
        assert tile.locator("img").evaluate("icon => icon.complete && icon.naturalWidth > 0")
        with tab.context.expect_page() as opened:
            tile.click()
        board = opened.value
        board.wait_for_selector("text=tile/train", timeout=60_000)
        assert board.title() == "Retrain Lab"
        fonts = "() => document.fonts.ready.then(all => [...all].map(font => font.status))"
        assert "loaded" in board.evaluate(fonts) and "error" not in board.evaluate(fonts)
        assert not [address for address in refused if "/tensorboard/" in address or "/icon/" in address]
