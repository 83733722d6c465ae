"""What people write becomes a grid of settings, or a sentence on what is wrong with it."""

import pytest

from retrainlab.cli import grids
from retrainlab.errors import RetrainLabError
from retrainlab.pages import parameters
from retrainlab.training import trainer

KNOWN = parameters.known()
DEFAULTS = {name: entry["default"] for name, entry in KNOWN.items()}


def test_divide():
    pairs = [("learning_rate", "1"), ("learning_rate", "0.1, 1e-4"), ("weight_decay", "[0,0.1]"), ("image_dir", "a")]
    single, several = grids.divide([*pairs, ("unheard_of", "1,2")], KNOWN)
    assert single == [("weight_decay", "[0,0.1]"), ("image_dir", "a"), ("unheard_of", "1,2")]
    assert several == {"learning_rate": ["0.1", "1e-4"]}
    assert grids.divide([], KNOWN) == ([], {})


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("learning_rate", "1,,2"), "learning_rate is '1,,2'. Expected values with one comma between two"),
        (("learning_rate", "1,"), "learning_rate is '1,'"),
        (
            ("testing_percentage", "10,20"),
            "testing_percentage cannot be varied. Expected one of average_views, class_weight",
        ),
        (("image_dir", "here,there"), "image_dir cannot be varied"),
    ],
)
def test_values_that_cannot_be_divided(pair, said):
    with pytest.raises(RetrainLabError) as error:
        grids.divide([pair], KNOWN)
    assert said in str(error.value)


def test_a_folder_with_a_comma_in_its_name_is_one_value(tmp_path):
    (tmp_path / "a,b").mkdir()
    pair = ("image_dir", str(tmp_path / "a,b"))
    assert grids.divide([pair], KNOWN) == ([pair], {})


def test_combinations_that_can_share_bottlenecks_or_a_stack_are_grouped():
    grid = {"learning_rate": [1.0, 2.0], "hidden_units": [0, 8], "flip_left_right": [False, True]}
    points = grids.points("s", grid, DEFAULTS)
    assert [point.name for point in points] == [f"s-{number:02}" for number in range(1, 9)]
    features = grids.grouped(points, grids.FEATURES)
    assert [{point.varied["flip_left_right"] for point in group} for group in features] == [{False}, {True}]
    stacks = grids.grouped(features[0], grids.STACK)
    assert [[point.said for point in stack] for stack in stacks] == [
        [f"learning_rate {rate}, hidden_units {units}, flip_left_right False" for rate in (1, 2)] for units in (0, 8)
    ]
    for stack in stacks:  # training.train takes them as one
        shared = {tuple(getattr(one, name) for name in trainer.SHARED) for p in stack for one in p.candidates}
        assert len(shared) == 1


def test_every_setting_of_a_head_may_be_varied_and_the_notebooks_know_it():
    assert grids.SWEPT.issubset(DEFAULTS)


def test_addresses_are_told_apart_by_the_parts_that_differ():
    hub = "https://tfhub.dev/google/imagenet/{}/feature_vector/5"
    assert grids.texts([hub.format("inception_v3"), hub.format("mobilenet_v2")]) == ["inception_v3", "mobilenet_v2"]
    assert grids.texts(["efficientnet_lite0", "/nets/mine"]) == ["efficientnet_lite0", "nets/mine"]
    assert grids.texts(["/a/net", "/b/net"]) == ["a", "b"] and grids.texts(["adam"]) == ["adam"]
    assert grids.texts([0.0001, 1e-9, 3.0]) == ["0.0001", "1e-09", "3"]
    points = grids.points("s", {"tfhub_module": [hub.format("a"), hub.format("b")]}, DEFAULTS)
    assert [point.said for point in points] == ["tfhub_module a", "tfhub_module b"]
