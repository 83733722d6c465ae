import matplotlib.pyplot as plt
import numpy as np
import pytest

from retrainlab.errors import RetrainLabError
from retrainlab.evaluation.finding import Finding
from retrainlab.runs import summaries
from retrainlab.training import heads, trainer


@pytest.fixture
def logs(trained, tmp_path):
    table, settings = trained["table"], [heads.HeadSettings(200)]
    with summaries.TrainingLogs(tmp_path / "logs", 200) as watch:
        trainer.train(trained["features"], table["label"], table["split"], settings, 50, watch)
    return tmp_path / "logs"


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), {"scalars": 0, "histograms": 0, "tensors": 0})
    return events.Reload()


def values(events, tag):
    from tensorboard.util import tensor_util

    return [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]


def test_scalars_of_both_splits_are_the_history(logs, trained):
    table = trained["table"]
    _, history = trainer.train(trained["features"], table["label"], table["split"], [heads.HeadSettings(200)], 50)
    for split in ("train", "validation"):
        events = read(logs / split)
        mine = history[history["split"] == split]
        for quantity in ("accuracy", "cross_entropy"):
            expected = list(zip(mine["step"], mine[quantity], strict=True))
            assert np.array(values(events, quantity)) == pytest.approx(np.array(expected), abs=1e-5)


def test_weights_and_biases_are_described_under_retrain_pys_names(logs):
    tags = set(read(logs / "train").Tags()["tensors"])
    for name in ("weights", "biases"):
        for statistic in ("mean", "stddev", "max", "min", "histogram"):
            assert f"final_retrain_ops/{name}/summaries/{statistic}" in tags
    for split in ("train", "validation"):
        tags = set(read(logs / split).Tags()["tensors"])
        assert {"final_retrain_ops/Wx_plus_b/pre_activations", "activations"} <= tags


def test_histograms_hold_every_value_once(logs, trained):
    from tensorboard.util import tensor_util

    events = read(logs / "train").Tensors("final_retrain_ops/weights/summaries/histogram")
    assert 5 <= len(events) <= 12
    buckets = tensor_util.make_ndarray(events[-1].tensor_proto)  # left, right, count
    assert buckets[:, 2].sum() == trained["head"].kernel.size


def test_logs_that_cannot_be_written_name_the_folder_and_no_parameter(tmp_path):
    (tmp_path / "logs").touch()
    with pytest.raises(RetrainLabError, match=r"logs/train' cannot be written: .*\. Make it writable") as error:
        summaries.TrainingLogs(tmp_path / "logs", 10)
    assert "reports_dir" not in str(error.value)


def test_findings_that_have_a_figure_are_written_as_images_and_leave_none_open(tmp_path):
    findings = {
        "gap": Finding("The gap", draw=lambda: plt.subplots(2, 2)[1]),
        "words": Finding("What is said"),
        "nothing": Finding("What stopping earlier would win", "There are too few images.", told=False),
    }
    with summaries.ResultLogs(tmp_path / "results", 7) as logs:
        logs.findings(findings, "see 04_overfitting")
    events = read(tmp_path / "results")
    assert events.Tags()["tensors"] == ["gap"] and plt.get_fignums() == []
    (event,) = events.Tensors("gap")
    assert event.step == 7 and event.tensor_proto.string_val[2].startswith(b"\x89PNG")
