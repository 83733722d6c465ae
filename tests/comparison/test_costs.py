from dataclasses import replace

import numpy as np
import pytest
from written_runs import write_run

from retrainlab.comparison import costs
from retrainlab.evaluation import intervals
from retrainlab.runs.results import load


def test_the_cheapest_backbone_that_is_not_worse(tmp_path):
    write_run(tmp_path, "large", seed=1, accuracy=0.95, n=600, backbone="L", milliseconds=40)
    write_run(tmp_path, "middle", seed=1, accuracy=0.948, n=600, backbone="M", milliseconds=20)
    write_run(tmp_path, "small", seed=1, accuracy=0.85, n=600, backbone="S", milliseconds=5)
    write_run(tmp_path, "large again", seed=2, accuracy=0.7, n=600, backbone="L", milliseconds=35)
    write_run(tmp_path, "not measured", seed=1, accuracy=0.99, n=600, backbone="X")
    results = load(tmp_path)
    assert costs.milliseconds(results) == {"large": 35, "large again": 35, "middle": 20, "small": 5}
    found, run = costs.cheapest(results)
    assert list(found.index) == ["small", "middle", "large"] and run == "middle"
    assert found["not worse"].tolist() == [False, True, True]
    assert found.loc["large", ["difference", "low", "high"]].tolist() == [0, 0, 0]
    said = costs.weigh(results).sentence
    assert said.startswith("On the 600 validation images that all share, the cheapest backbone that is not worse")
    assert "is M ('middle', 20.0 ms an image): -" in said and "one, L ('large', 35.0 ms an image)." in said
    assert costs.cheapest(results, margin=0.2)[1] == "small"
    some = {name: results[name] for name in ("small", "large")}
    assert costs.cheapest(some)[1] == "large" and "no cheaper one is shown" in costs.weigh(some).sentence
    some = {name: results[name] for name in ("small", "large again")}
    assert costs.cheapest(some)[1] == "small" and "also the cheapest" in costs.weigh(some).sentence


def test_a_backbone_worse_by_the_margin_seldom_gets_through():
    random, through = np.random.default_rng(0), []
    for seed in range(300):
        kinds = random.choice(4, 400, p=[0.1, 0.05, 0.05 - costs.MARGIN, 0.8 + costs.MARGIN])
        low, _ = intervals.paired_difference(kinds >= 2, kinds % 2 == 1, seed)["interval"]
        through.append(low > -costs.MARGIN)
    print(f"worse by the margin, and taken to be not worse: {np.mean(through):.1%}")
    assert np.mean(through) <= 0.05


def test_too_few_images_to_show_that_a_backbone_is_not_worse(tmp_path):
    only = {"seed": 1, "n": 20, "splits": ("validation",)}
    write_run(tmp_path, "large", accuracy=1.0, backbone="L", milliseconds=40, **only)
    write_run(tmp_path, "small", accuracy=0.95, backbone="S", milliseconds=5, **only)
    found, run = costs.cheapest(load(tmp_path), margin=0.06)
    assert found.loc["small", "difference"] == pytest.approx(-1 / 20) and run == "large"


def test_backbones_are_weighed_on_images_that_all_share(tmp_path):
    """Images of its own, however easy, do not make a backbone the most accurate one."""
    write_run(tmp_path, "large", seed=1, accuracy=0.9, n=600, backbone="L", milliseconds=40)
    write_run(tmp_path, "small", seed=1, accuracy=0.9, n=300, backbone="S", milliseconds=5)
    results = load(tmp_path)
    easy = results["large"].predictions
    own = ~easy["path"].isin(results["small"].predictions["path"])
    easy = easy.assign(predicted=easy["label"].where(own, easy["predicted"]))
    mine = easy[easy["split"] == "validation"]
    theirs = results["small"].predictions.query("split == 'validation'")
    share = mine[mine["path"].isin(theirs["path"])]
    table, _ = costs.cheapest(results | {"large": replace(results["large"], predictions=easy)})
    assert table["n"].tolist() == [300, 300]
    assert table.loc["large", "accuracy"] == (share["label"] == share["predicted"]).mean()
    assert table.loc["small", "accuracy"] == (theirs["label"] == theirs["predicted"]).mean()
    write_run(tmp_path, "far", backbone="F", milliseconds=9, prefix="other ")
    table, run = costs.cheapest(load(tmp_path))
    assert table.empty and run is None and "that all share" in costs.weigh(load(tmp_path)).sentence


def test_backbones_that_cannot_be_weighed(tmp_path):
    write_run(tmp_path, "no validation", splits=("train",), milliseconds=5)
    write_run(tmp_path, "no predictions", milliseconds=5).folder.joinpath("predictions.parquet").unlink()
    write_run(tmp_path, "no time", backbone="another")
    for results in (load(tmp_path), {}):
        found, run = costs.cheapest(results)
        assert found.empty and run is None and "not worse" in found
        assert "It takes runs of two backbones" in costs.weigh(results).sentence
        assert costs.weigh(results).draw is None
