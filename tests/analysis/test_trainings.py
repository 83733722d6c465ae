"""What a person puts together stays together in everything that is trained to ask about a run."""

import numpy as np
import pandas as pd
import pytest

from retrainlab.analysis import gap
from retrainlab.analysis.trainings import Trainings
from retrainlab.images.splitting import even_split
from retrainlab.training.heads import HeadSettings

COWS, EACH = 20, 10


def cows(group: bool) -> Trainings:
    """Ten photos of each of twenty cows: what a photo looks like is the cow's own, and says nothing of its label.

    Half of its variance is the photo's own, so that no two photos of a cow look like near-duplicates.
    """
    random, cow = np.random.default_rng(0), np.repeat(np.arange(COWS), EACH)
    features = random.normal(0, 1, (COWS, 32))[cow] + random.normal(0, 1, (COWS * EACH, 32))
    labels = np.array(["lame", "sound"])[cow % 2]
    paths = [f"{label}/{number}.jpg" for number, label in enumerate(labels)]
    images = pd.DataFrame({"path": paths, "label": labels, "sha256": paths, "problem": None})
    images["group"] = [f"cow {number}" for number in cow] if group else None
    asked = even_split(images, 20, 20)
    return Trainings(features.astype(np.float32), asked, HeadSettings(100), budget_minutes=1)


@pytest.fixture(scope="module")
def together() -> Trainings:
    return cows(group=True)


def test_with_groups_accuracy_is_at_chance_and_without_far_above(together):
    apart = cows(group=False)
    assert len(set(apart.groups)) == len(apart.rows)  # nothing but the group tells which photos are of one cow
    fair, flattered = (gap.learnt(each.crossed, each.labels, each.groups) for each in (together, apart))
    assert abs(fair["accuracy"]) < 0.15 and fair["interval"][0] < 0 < fair["interval"][1]
    assert flattered["accuracy"] > 0.2 and flattered["interval"][0] > 0.1


def test_every_re_split_and_every_draw_of_the_curve_takes_whole_groups(together):
    cow = together.rows["group"].to_numpy()
    assert len(set(together.groups)) == len(set(cow)) == len(set(zip(cow, together.groups, strict=True)))
    for split in together.splits:
        assert len(set(zip(cow, split, strict=True))) == len(set(cow))
    assert np.array_equal(together.curve.groups, together.groups)
    assert (together.curve.sizes % EACH == 0).all()
    assert not together.apart  # what a person puts together is no find of near-duplicates


def test_test_images_are_whole_groups_as_well(together):
    assert together.table.drop_duplicates(["group", "split"])["group"].is_unique
    assert together.table["split"].value_counts().to_dict() == {"train": 120, "validation": 40, "test": 40}
