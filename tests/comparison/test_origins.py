"""Where a change came from: by hand, and in planted cases."""

import numpy as np
import pytest
from written_runs import table, write_run

from retrainlab.comparison import origins
from retrainlab.evaluation import intervals
from retrainlab.runs.results import load


def lines(run, against) -> list[str]:
    return origins.explain(run, against).sentence.splitlines()


def test_a_change_is_divided_by_hand():
    run, against = table("1110" + "    " + "11"), table("1000" + "1111")
    parts = origins.decompose(run, against)
    assert (parts["n"], parts["only"], parts["relabelled"]) == (4, (2, 4), 0)
    assert parts["total"]["accuracy"] == pytest.approx(5 / 6 - 5 / 8)
    assert parts["shared"]["accuracy"] == pytest.approx(0.5)
    assert parts["other"]["accuracy"] == pytest.approx(5 / 6 - 5 / 8 - 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up(seed):
    random = np.random.default_rng(seed)
    run, against = (table(random.choice(["1", "0", " "], 80)) for _ in range(2))
    against.loc[:9, ["label", "predicted"]] = "dog"
    parts = origins.decompose(run, against, seed)
    assert parts["shared"]["accuracy"] + parts["other"]["accuracy"] == pytest.approx(
        parts["total"]["accuracy"], abs=1e-12
    )
    both = len(set(run["path"]) & set(against["path"]))
    assert parts["n"] + parts["relabelled"] == both > parts["n"]
    assert parts["only"] == (len(run) - both, len(against) - both)
    for name in ("total", "shared", "other"):
        low, high = parts[name]["interval"]
        assert low < parts[name]["accuracy"] < high


def test_on_the_same_images_all_of_a_change_is_the_classifiers():
    random = np.random.default_rng(0)
    a, b = random.random(300) < 0.9, random.random(300) < 0.8
    parts = origins.decompose(table(a), table(b))
    assert parts["total"]["accuracy"] == pytest.approx(parts["shared"]["accuracy"])
    assert parts["total"]["interval"] == pytest.approx(parts["shared"]["interval"])
    assert parts["shared"]["interval"] == pytest.approx(intervals.paired_difference(a, b)["interval"], abs=0.01)
    assert [parts["other"]["accuracy"], *parts["other"]["interval"]] == pytest.approx([0, 0, 0], abs=1e-12)


def test_intervals_of_the_parts_hold_the_truth():
    """A classifier 5 points better, and 200 images of its own that are 10 points easier than the 200 shared ones."""
    random = np.random.default_rng(0)
    truth, held = {"shared": 0.05, "total": 0.10, "other": 0.05}, []
    for seed in range(100):
        chance, own = random.random(200), random.random(200)
        ours, theirs = np.concatenate([chance < 0.85, own < 0.95]), chance < 0.8
        parts = origins.decompose(table(ours), table(theirs), seed)
        held.append(
            [parts[name]["interval"][0] <= value <= parts[name]["interval"][1] for name, value in truth.items()]
        )
    assert (np.mean(held, axis=0) >= 0.88).all() and 0.91 <= np.mean(held) <= 0.99


def test_without_shared_or_any_images():
    parts = origins.decompose(table("1110"), table("1100", prefix="other "))
    assert parts["n"] == 0 and parts["only"] == (4, 4) and parts["total"]["accuracy"] == pytest.approx(0.25)
    assert parts["shared"] == parts["other"] == {"accuracy": None, "interval": None}
    assert origins.decompose(table("11"), table(""))["total"] == {"accuracy": None, "interval": None}


def test_it_is_said_where_a_change_came_from(tmp_path):
    write_run(tmp_path, "old", n=300, accuracy=0.7)
    write_run(tmp_path, "new", n=300, accuracy=0.95, settings={"learning_rate": 0.5})
    write_run(tmp_path, "newer", n=300, accuracy=0.95, settings={"learning_rate": 0.5, "seed": 1})
    write_run(tmp_path, "more images", n=400, accuracy=0.95)
    write_run(tmp_path, "again", n=300, accuracy=0.7, settings={"seed": 1})
    write_run(tmp_path, "unexplained", n=300, accuracy=0.95)
    results = load(tmp_path)
    old = results["old"]
    said = lines(results["new"], old)
    assert said[:2] == ["Images: the same, in the same splits.", "Settings: learning_rate 0.5 against not set."]
    assert said[2].startswith("Validation accuracy of 'new' minus that of 'old', on the same 300 images: +2")
    assert said[3].startswith("Only one thing differs (learning_rate): +2")
    assert lines(results["newer"], old)[-1].startswith("2 things differ (seed, learning_rate), and which")
    assert lines(results["again"], old)[-1].startswith("No change of the classifier can be shown")
    assert lines(results["unexplained"], old)[-1].startswith("Nothing differs that was recorded")
    assert origins.explain(results["new"], old).draw is None  # the same images: there is nothing to divide
    found = origins.explain(results["more images"], old)
    ax = found.draw()
    assert ax.get_title() == "Validation accuracy of more images minus that of old"
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "in all", "on images that both have", "from other images",
    ]  # fmt: skip
    said = found.sentence.splitlines()
    assert said[0] == ("Images: 1,200 (400 for training) against 900 (300 for training). 900 are in both, 300 only in "
                       "'more images', 0 only in 'old'; of those in both, 0 are in another split.")  # fmt: skip
    assert said[3].startswith("On the 300 validation images that both have: +2")
    assert "100 images are only in 'more images', 0 only in 'old', 0 in both under different labels." in said[4]
    assert said[5].startswith("Only one thing differs (images)")


def test_it_is_said_what_cannot_be_told(tmp_path):
    write_run(tmp_path, "one")
    write_run(tmp_path, "far", prefix="other ")
    write_run(tmp_path, "bare").folder.joinpath("predictions.parquet").unlink()
    write_run(tmp_path, "all for training", splits=("train",))
    write_run(tmp_path, "no table", n=50).folder.joinpath("images.parquet").unlink()
    results = load(tmp_path)
    one = results["one"]
    assert "share no validation image" in lines(one, results["far"])[-1]
    assert lines(one, results["bare"])[-1].startswith("'bare' has no predictions")
    assert lines(results["bare"], one)[-1].startswith("'bare' has no predictions")
    assert "Not both have validation images" in lines(one, results["all for training"])[-1]
    assert "which of them differ was not recorded" in lines(one, results["no table"])[0]


def test_other_labels_splits_and_software_are_causes(tmp_path):
    write_run(tmp_path, "old", n=300, accuracy=0.7)
    other = write_run(tmp_path, "other", n=300, accuracy=0.95)
    images = other.read_table("images")
    images.loc[:4, "label"] = "elephant"
    images.loc[:1, "split"] = "test"
    other.write_table("images", images)
    other.record(versions={"numpy": "0.1"}, dataset={"digest": "another"})
    results = load(tmp_path)
    said = lines(results["other"], results["old"])
    assert "of those in both, 2 are in another split." in said[0]
    assert said[1] == "Labels: 5 of the images in both have another label."
    assert said[3].startswith("Software: numpy 0.1 against ")
    assert said[-1].startswith("3 things differ (images, labels, software)")


def test_the_same_images_under_new_names_are_no_cause(tmp_path):
    write_run(tmp_path, "old", n=300, accuracy=0.7)
    renamed = write_run(tmp_path, "renamed", n=300, accuracy=0.95, settings={"seed": 1})
    for name in ("images", "predictions"):
        moved = renamed.read_table(name)
        renamed.write_table(name, moved.assign(path="new/" + moved["path"]))
    renamed.record(dataset={"digest": "another"})
    said = lines(*load(tmp_path, ["renamed", "old"]).values())
    assert said[0] == "Images: the same, in the same splits." and said[-1].startswith("Only one thing differs (seed)")
