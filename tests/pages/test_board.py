"""A real TensorBoard server, asked over HTTP what it sees; and the same pages in a real browser."""

import csv
import html
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, free_port, page, serving

from retrainlab import plots
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import scores
from retrainlab.evaluation.finding import Finding
from retrainlab.export import exporting
from retrainlab.images import overview
from retrainlab.pages import board, board_server
from retrainlab.pixels import decoding
from retrainlab.runs import summaries
from retrainlab.training import heads, trainer

RATES = [1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 1.0]


def write_run(folder, name, trained, model=None, rate=0.01, rename=str):
    """Log a short training as 03_retrain does."""
    table = trained["table"].assign(label=trained["table"]["label"].map(rename))
    noise = np.random.default_rng(0).normal(0, 0.3, trained["features"].shape)  # not every rate shall be perfect
    features = (trained["features"] + noise).astype(np.float32)
    settings = heads.HeadSettings(60, learning_rate=rate)
    with summaries.TrainingLogs(folder / name / "logs", 60) as logs:
        (head,), _ = trainer.train(features, table["label"], table["split"], [settings], 20, logs)
    predicted = scores.predictions(table, head.logits(features), head.labels)
    metrics = scores.summarise(predicted, head.labels)
    with summaries.ResultLogs(folder / name / "logs" / "results", 60) as logs:
        more = {} if rate < 0.003 else {"levels": "0 to 4095" if rate < 0.1 else "own"}  # that the first do not have
        logs.settings(name, {"learning_rate": rate, "optimizer": "sgd", "standardize": True} | more, metrics)
        logs.text("verdict", "It **fits**.")
        logs.pr_curves(predicted[predicted["split"] == "test"], head.labels)
        if model:
            logs.graph(model / "output_graph.pb")
            some = overview.sample(predicted["label"], 50)
            thumbnails = decoding.read_many(
                [trained["photos"] / path for path in predicted["path"].iloc[some]], (16, 16)
            )
            logs.projector(features[some], predicted.iloc[some], thumbnails)
            confusion = scores.confusion(predicted, head.labels)
            logs.findings({"confusion": Finding("", draw=lambda: plots.confusion(confusion))}, "whole")
    return metrics


@pytest.fixture(scope="module")
def reports(trained, photos, backbone, tmp_path_factory):
    """Ten runs with different learning rates; one of them with all that a run logs, and difficult label names."""
    folder = tmp_path_factory.mktemp("board")
    model = folder / "model"
    exporting.export(model, backbone, trained["head"])
    odd = {"red": "<b>red</b>,\tone", "green": 'green\nleaf | "x"', "blue": "蓝 & blue"}
    accuracy = {}
    for number, rate in enumerate(RATES):
        full = {"model": model, "rename": odd.get} if number == 3 else {}
        name = f"rate {number}"
        accuracy[name] = write_run(folder, name, trained | {"photos": photos}, rate=rate, **full)
    return folder, accuracy


@pytest.fixture(scope="module")
def server(reports):
    port = free_port()
    with serving(board.command(reports[0], "--port", str(port)), f"http://127.0.0.1:{port}/data/runs") as address:
        base = address.removesuffix("/data/runs")
        for _ in range(100):  # it loads run by run
            if len(ask(base, "data/runs")) >= 3 * len(RATES):
                break
        yield base


def ask(base, path, body=None, **query):
    address = f"{base}/{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text[:1] in b"[{" else text


RUN = "rate 3"
RESULTS = f"{RUN}/results"


def test_runs_have_names_that_people_recognise(server):
    found = ask(server, "data/runs")
    assert {f"rate {n}/{part}" for n in range(10) for part in ("results", "train", "validation")} == set(found)


def test_scalars_and_histograms_of_both_splits_in_full(server):
    for split in ("train", "validation"):
        for tag in ("accuracy", "cross_entropy"):
            events = ask(server, "data/plugin/scalars/scalars", run=f"{RUN}/{split}", tag=tag)
            assert [step for _, step, _ in events] == [0, 20, 40, 60]
        assert ask(server, "data/plugin/histograms/histograms", run=f"{RUN}/{split}", tag="activations")
    tags = ask(server, "data/plugin/scalars/tags")
    names = {
        f"final_retrain_ops/{w}/summaries/{s}" for w in ("weights", "biases") for s in ("mean", "stddev", "min", "max")
    }
    assert names <= set(tags[f"{RUN}/train"])
    assert set(tags[RESULTS]) == set(summaries.RESULTS)


def test_graph_images_and_texts(server):
    graph = ask(server, "data/plugin/graphs/graph", run=RESULTS)
    assert b'name: "Placeholder"' in graph and b'name: "final_result"' in graph
    (image,) = ask(server, "data/plugin/images/images", run=RESULTS, tag="confusion")
    assert ask(server, f"data/plugin/images/individualImage?{image['query']}")[:8] == b"\x89PNG\r\n\x1a\n"
    (text,) = ask(server, "data/plugin/text/text", run=RESULTS, tag="verdict")
    assert text["text"] == "<p>It <strong>fits</strong>.</p>"
    (table,) = ask(server, "data/plugin/text/text", run=RESULTS, tag="settings")
    assert "<td>learning_rate</td>" in html.unescape(table["text"])


def test_pr_curves_a_label_with_difficult_names_as_text(server):
    tags = ask(server, "data/plugin/pr_curves/tags")[RESULTS]
    assert {tag["displayName"] for tag in tags.values()} == {"<b>red</b>, one", 'green leaf | "x"', "蓝 & blue"}
    (curve,) = ask(server, "data/plugin/pr_curves/pr_curves", run=RESULTS, tag=next(iter(tags)))[RESULTS]
    assert min(curve["precision"]) >= 0 and max(curve["recall"]) == 1


def test_the_projectors_files_agree_in_length(server, reports):
    logs = reports[0] / "rate 3" / "logs" / "results"
    points = np.loadtxt(logs / "bottlenecks.tsv", delimiter="\t")
    metadata = (logs / "bottlenecks_metadata.tsv").read_text().splitlines()
    assert len(points) == 50 and len(metadata) == 51
    table = pd.read_csv(logs / "bottlenecks_metadata.tsv", sep="\t", quoting=csv.QUOTE_NONE)
    assert ((table["answer"] == "right") == (table["label"] == table["predicted"])).all()
    assert set(table["answer"]) <= {"right", "wrong"}
    assert all(line.count("\t") == 4 for line in metadata) and "<b>red</b>, one\t" in "\n".join(metadata)
    assert ask(server, "data/plugin/projector/runs") == [RESULTS]
    info = ask(server, "data/plugin/projector/info", run=RESULTS)["embeddings"][0]
    assert info["tensorShape"] == [50, 24] and info["sprite"]["singleImageDim"] == [16, 16]
    sprite = ask(server, "data/plugin/projector/sprite_image", run=RESULTS, name=info["tensorName"])
    assert sprite[:8] == b"\x89PNG\r\n\x1a\n"


def test_hparams_sorts_ten_runs_by_validation_accuracy(server, reports):
    hparams = f"{server}/experiment/defaultExperimentId/data/plugin/hparams"
    experiment = ask(hparams, "experiment", {"experimentName": ""})
    settings = [(info["name"], info["differs"]) for info in experiment["hparamInfos"]]
    assert settings == [("learning_rate", True), ("levels", True)]  # what is the same in all is not offered
    assert {info["name"]["tag"] for info in experiment["metricInfos"]} == set(summaries.RESULTS)
    columns = [{"metric": {"group": "", "tag": "results/validation_accuracy"}, "order": "ORDER_DESC"}]
    asked = {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_RUNNING"],
             "colParams": columns, "startIndex": 0, "sliceSize": 100}  # fmt: skip
    groups = ask(hparams, "session_groups", asked)["sessionGroups"]
    found, (_, metrics) = {}, reports
    for group in groups:
        values = {m["name"]["tag"]: m["value"] for m in group["metricValues"]}
        found[group["name"]] = values["results/validation_accuracy"]
        assert group["hparams"]["optimizer"] == "sgd" and group["hparams"]["standardize"] is True
        assert set(values) == set(summaries.RESULTS)
        loss = metrics[group["name"]]["validation"]["cross_entropy"]
        assert values["results/validation_cross_entropy"] == pytest.approx(loss)
        assert ("levels" in group["hparams"]) is (group["hparams"]["learning_rate"] >= 0.003)
    assert found == pytest.approx({name: m["validation"]["accuracy"] for name, m in metrics.items()})
    assert list(found.values()) == sorted(found.values(), reverse=True) and len(set(found.values())) > 1


def test_logs_that_cannot_be_written_end_in_a_sentence(trained, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "logs").write_text("in the way")
    with pytest.raises(RetrainLabError, match=r"logs folder '.*one/logs.*' cannot be written"):
        write_run(tmp_path, "one", trained)
    assert (tmp_path / "one" / "logs").read_text() == "in the way"


def test_one_label_and_none_in_pr_curves(tmp_path):
    table = pd.DataFrame({"path": ["x"] * 3, "label": "a", "split": "test"})
    predicted = scores.predictions(table, np.zeros((3, 1), np.float32), ["a"])
    with summaries.ResultLogs(tmp_path / "results", 1) as logs:
        logs.pr_curves(predicted, ["a"])
        logs.pr_curves(predicted.iloc[:0], ["a"])


def test_a_hundred_thousand_bottlenecks_are_sampled_evenly():
    labels = pd.Series(np.repeat(["rare", "common"], [50, 99_950]))
    rows = overview.sample(labels, 2000)
    assert len(rows) == 2000 and len(set(rows)) == 2000
    assert (labels.iloc[rows] == "rare").sum() == 50
    assert np.array_equal(rows, overview.sample(labels, 2000))
    assert len(overview.sample(labels.iloc[:10], 2000)) == 10


def test_a_missing_picture_is_grey_in_the_sprite(photos):
    thumbnails = decoding.read_many([next(photos.glob("red/*")), photos / "none"], (8, 8))
    assert thumbnails.shape == (2, 8, 8, 3) and (thumbnails[1] == 128).all() and thumbnails[0].std() > 5


def test_it_says_one_line_and_ends_quietly(reports):
    command = board.command(reports[0], "--port", str(free_port()))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        said = server.stdout.readline()
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0 and server.stdout.read() == ""
    assert re.fullmatch(r"TensorBoard: http://localhost:\d+/ \(Ctrl\+C ends it\)\n", said)


def test_fonts_are_found_below_any_path(server):
    page = ask(server, "").decode()
    assert "url(/" not in page and page.count("url(font-roboto/") > 10
    frame = ask(server, "data/plugin/projector/projector_binary.html").decode()
    fonts = set(re.findall(r"url\(([^)#]+\.woff2)\)", frame))
    assert fonts and all(font.startswith("../../../font-roboto/") for font in fonts)
    for font in sorted(fonts)[:3]:
        assert ask(server, font.removeprefix("../../../"))[:4] == b"wOF2"


def test_runs_are_linked_as_they_come_and_go(tmp_path):
    reports, folder = tmp_path / "reports", tmp_path / "links"
    folder.mkdir()
    board_server.link(reports, folder)  # there is none yet
    for logs in ("one/logs", "two, of birds/logs", "two, of birds/.training.0a-0b/logs", "three/model"):
        (reports / logs).mkdir(parents=True)
    board_server.link(reports, folder)
    names = {"one", "two, of birds", "two, of birds, being trained"}
    assert {link.name for link in folder.iterdir()} == names
    (folder / "two, of birds" / "train").mkdir()
    assert (reports / "two, of birds" / "logs" / "train").is_dir()
    shutil.rmtree(reports / "one")
    board_server.link(reports, folder)
    assert {link.name for link in folder.iterdir()} == names - {"one"}


def test_a_folder_without_runs_is_said(tmp_path):
    assert board.note(tmp_path / "report").startswith(f"'{tmp_path / 'report'}' is not there yet")
    assert board.note(tmp_path) == f"'{tmp_path}' holds no runs yet; TensorBoard shows them as they come."
    (tmp_path / "run" / "logs").mkdir(parents=True)
    assert board.note(tmp_path) == ""


def test_jupyter_finds_the_tile():
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="jupyter_serverproxy_servers", name="tensorboard")
    server = entry.load()()
    assert server["launcher_entry"]["title"] == "TensorBoard" and "{port}" in server["command"]
    assert server["command"][0] == sys.executable
    icon = Path(server["launcher_entry"]["icon_path"]).read_text()
    assert icon.startswith("<svg ") and ElementTree.fromstring(icon).get("viewBox")


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here; .ci/run installs it")
def test_chromium_shows_scalars_hparams_and_projector(server):
    with page() as tab:
        tab.goto(f"{server}/#scalars")
        tab.wait_for_selector("text=rate 3/train", timeout=60_000)
        tab.wait_for_selector("tf-scalar-card", timeout=60_000)
        tab.goto(f"{server}/#hparams")
        tab.reload()
        tab.wait_for_selector("text=results/validation_accuracy", timeout=60_000)
        tab.wait_for_selector("text=rate 9", timeout=60_000)
        assert tab.locator("text=/^rate \\d$/").count() >= 10
        boxes = tab.locator(".hparam-checkbox")
        ticked = boxes.evaluate_all("all => all.filter(box => box.checked).map(box => box.textContent.trim())")
        assert ticked == ["learning_rate", "levels"]
        tab.goto(f"{server}/#projector")
        with tab.expect_response(lambda answer: "projector/sprite_image" in answer.url, timeout=60_000) as sprite:
            tab.reload()
        assert sprite.value.ok
        tab.wait_for_timeout(2000)
        assert not any(frame.locator("text=does not have WebGL").count() for frame in tab.frames)
        (projector,) = (frame for frame in tab.frames if frame.url.endswith("projector_binary.html"))
        projector.wait_for_selector("vz-projector-legend .label", timeout=30_000)
        assert set(projector.locator("vz-projector-legend .label").all_inner_texts()) == {
            "<b>red</b>, one", 'green leaf | "x"', "蓝 & blue",
        }  # fmt: skip
