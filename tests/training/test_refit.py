"""What is exported learns from training and validation images; what chose it is still measured apart."""

import numpy as np
import pytest

from retrainlab.backbones.backbone import BackboneSettings
from retrainlab.errors import RetrainLabError
from retrainlab.evaluation import scores
from retrainlab.export.exporting import read_learnt
from retrainlab.lab import Lab
from retrainlab.new_training import NewTraining
from retrainlab.pixels.distortions import Distortion
from retrainlab.training import trainer
from retrainlab.training.heads import HeadSettings
from retrainlab.trust import guard

SETTINGS = HeadSettings(how_many_training_steps=60)


def trained(photos, module, bottleneck_dir, folder, refit, shares=(20.0, 20.0), distortion=None):
    lab = Lab.open(f"refit {refit}", str(photos), *shares, reports_dir=folder)
    features = lab.features(BackboneSettings(str(module)), bottleneck_dir, distortion, 2)
    study = lab.choose_weight_decay(features, SETTINGS, [0.01, 0.1])
    training = NewTraining.of(lab)
    return training, study, training.train_chosen(study, 30, refit)


def test_train_and_validation_figures_stay_and_test_is_that_of_both(photos, module, bottleneck_dir, tmp_path):
    _, study, without = trained(photos, module, bottleneck_dir, tmp_path, False)
    training, _, refitted = trained(photos, module, bottleneck_dir, tmp_path, True)
    for split in ("train", "validation"):
        assert refitted.metrics[split] == without.metrics[split]
    assert refitted.metrics["gap"] == without.metrics["gap"] and refitted.refit and not without.refit

    features = study.features
    both = features.table["split"].replace({"validation": "train"})
    (head,), _ = trainer.train(features.matrix, features.table["label"], both, [study.settings], 60)
    head = head.calibrated(without.head.temperature)
    assert refitted.head.kernel == pytest.approx(head.kernel) and refitted.head.temperature == head.temperature
    known = scores.summarise(scores.predictions(features.table, head.logits(features.matrix), head.labels), head.labels)
    assert refitted.metrics["test"] == known["test"]
    training.write_results(refitted)
    training.export(refitted, guard.of(refitted), "final_result")
    training.publish()
    lab = training.lab
    assert read_learnt(lab.run.model) == set(features.table.loc[features.table["split"] != "test", "sha256"])
    assert lab.metrics["refit"] and lab.run.info()["learnt_from"]["refit"]


def test_without_validation_or_test_images(photos, module, bottleneck_dir, tmp_path):
    _, _, nothing_to_add = trained(photos, module, bottleneck_dir, tmp_path, True, (20.0, 0.0))
    assert not nothing_to_add.refit
    _, _, untested = trained(photos, module, bottleneck_dir, tmp_path, True, (0.0, 20.0))
    assert untested.refit and untested.metrics["test"]["n"] == 0 < untested.metrics["validation"]["n"]


def test_with_a_distortion_variants_of_validation_images_are_learnt_from(photos, module, bottleneck_dir, tmp_path):
    distortion = Distortion(flip_left_right=True)
    _, study, refitted = trained(photos, module, bottleneck_dir, tmp_path, True, distortion=distortion)
    both = study.features.with_validation()
    matrix, table = both.learning
    assert (table["split"] == "distorted").sum() == 2 * (study.features.table["split"] != "test").sum()
    (head,), _ = trainer.train(matrix, table["label"], table["split"], [study.settings], 60)
    assert refitted.head.kernel * refitted.head.temperature == pytest.approx(head.kernel, rel=1e-4, abs=1e-6)
    assert np.isfinite(refitted.head.kernel).all()


def test_a_head_on_other_depths_of_the_same_network_is_refused(photos, module, bottleneck_dir, tmp_path):
    training, _, refitted = trained(photos, module, bottleneck_dir, tmp_path, True)
    training.write_results(refitted)
    training.export(refitted, guard.of(refitted), "final_result")
    training.publish()
    again = Lab.open("again", str(photos), 10.0, 30.0, reports_dir=tmp_path).starting_from(training.lab.run.name)
    deep = again.backbone(BackboneSettings(str(module), depth="all"), bottleneck_dir)
    with pytest.raises(RetrainLabError, match=r"other numbers of it than depth 'all' and average_views false give"):
        again.start(deep)
    assert again.start(again.backbone(BackboneSettings(str(module)), bottleneck_dir)).labels == ["blue", "green", "red"]
