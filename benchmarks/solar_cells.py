"""How good are the settings that 04_overfitting chooses for the solar cells, over 50 splits of 75% to 25%?

The published protocol (Deitsch et al. 2019) trains on 75% of the 2,624 cells and tests on 25%, once. Here the settings
are chosen on the training and validation images of the demo's split; then all images are split anew 50 times. Most of
the images that then test have taken part in the choice of the settings, of one among 72; none of them has taught the
head that judges it. About a minute.
"""

import numpy as np

from retrainlab.analysis import budget, regularisation, resampling
from retrainlab.backbones import registry
from retrainlab.bottlenecks import caching, extracting
from retrainlab.datasets import fetching
from retrainlab.images import grouping, scanning
from retrainlab.pixels.decoding import ImageFolder
from retrainlab.training import trainer
from retrainlab.training.heads import HeadSettings


def main() -> None:
    folder = fetching.locate("elpv")
    table = scanning.load(folder, 25, 15).images
    backbone = registry.resolve("efficientnet_lite0", "~/.cache/retrainlab")
    cache, photos = caching.open_cache(backbone), ImageFolder.of(folder, table)
    extracting.extract(backbone, cache, photos, table)
    features, known = cache.features(table, photos.levels)
    labels, groups = known["label"].to_numpy(), grouping.groups(known).to_numpy()

    decays = [0.0, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0]  # as 03_retrain
    stack = HeadSettings().vary(weight_decay=decays)
    _, tried = trainer.train(features, labels, known["split"], stack, 1000)
    settings = stack[trainer.select(tried)]
    plan = budget.plan(12, settings, features.shape[1], 2)
    inside = (known["split"] != "test").to_numpy()
    folds = resampling.repeated_folds(labels[inside], groups[inside], known["split"][inside].to_numpy(), plan.folds)
    path = regularisation.settings_path(
        features[inside], labels[inside], folds, settings, plan.weight_decays, plan.learning_rates, groups[inside]
    )
    chosen = HeadSettings(**path.numbers["chosen"])
    said = regularisation.describe(path.numbers["chosen"])
    print(f"03_retrain chose weight_decay {settings.weight_decay:g}; 04_overfitting: {said}")

    quarter = np.where(np.arange(len(labels)) % 4 == 0, "validation", "train")  # how many, not which
    splits = resampling.repeated_folds(labels, groups, quarter, 50)
    for name, one in (("of 03_retrain", settings), ("of 04_overfitting", chosen)):
        accuracy = resampling.cross_validate(features, labels, splits, one).members["validation accuracy"]
        low, high = resampling.corrected_interval(accuracy, 0.25)
        print(f"settings {name}: mean accuracy {accuracy.mean():.2%} [{100 * low:.1f}, {100 * high:.1f}] over "
              f"{len(accuracy)} re-splits; they range from {accuracy.min():.1%} to {accuracy.max():.1%}")  # fmt: skip
    for method, figure in fetching.card(folder)["published"].items():
        print(f"published: {method} {figure:.2%}")


if __name__ == "__main__":
    main()
