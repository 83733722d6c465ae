"""Names that would be markup, links, formulas or programs, on every page of a run, in a real browser."""

import csv

import browser
import pytest
from conftest import make_folder, make_image

from retrainlab.pages import reports

LABELS = ["<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "=1+1|cmd'!A1", "$x^2$ **bold** שלום"]


@pytest.mark.hard
@pytest.mark.skipif(browser.CHROMIUM is None, reason="needs Chromium")
def test_hostile_names_stay_text_on_every_page(tmp_path, module, bottleneck_dir):
    folder = make_folder(tmp_path / "images", dict.fromkeys(LABELS, 14))
    for label in LABELS:
        make_image(99).save(folder / label / '"><svg onload=alert(1)>.png')
        (folder / label / "=cmd<b>.jpg").write_bytes(b"no image")
    values = {"reports_dir": str(tmp_path / "reports"), "image_dir": str(folder), "tfhub_module": str(module),
              "bottleneck_dir": str(bottleneck_dir), "how_many_training_steps": 300, "testing_percentage": 25.0,
              "validation_percentage": 25.0, "budget_minutes": 0.2}  # fmt: skip
    index = reports.report("hostile", values, say=lambda line: None)
    pages = [index, *sorted((index.parent / "hostile").glob("*.html"))]
    assert len(pages) == 8
    wrong, text = [], {}
    with browser.page(400, 800) as page:
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: wrong.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        for file in pages:
            page.goto(file.as_uri())
            page.wait_for_timeout(300)
            found = [each for each in wrong if each != file.as_uri() and not each.startswith("data:")]
            assert found == [] and not wrong.clear(), file.name
            assert page.locator("img[onerror], svg[onload], a[href^='javascript']").count() == 0, file.name
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, file.name
            text[file.stem] = page.inner_text("main")
    assert all(label in text["03_retrain"] for label in LABELS[:3])
    with (index.parent / "hostile" / "suspects.csv").open() as file:
        assert not [value for row in csv.reader(file) for value in row if value.startswith("=")]
