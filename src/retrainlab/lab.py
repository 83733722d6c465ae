"""The few objects that notebooks and `retrainlab sweep` stand on.

A Lab is a run and its images; it gives Features; a Study on them chooses settings; training makes a Classifier, which
the Lab keeps and exports. Nobody else writes the sequence find, scan, split, decide, resolve, extract, load.
"""

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import project
from .backbones import registry
from .backbones.backbone import Backbone, BackboneSettings
from .bottlenecks.features import Features
from .bottlenecks.features import load as load_features
from .datasets import fetching
from .evaluation.finding import Finding, finding
from .images import overview, relabeling, scanning, splitting
from .pixels.decoding import ImageFolder
from .pixels.distortions import Distortion
from .runs.run_folder import Run, open_run, opening
from .training.heads import Head, HeadSettings
from .training.study import Study, study

if TYPE_CHECKING:
    from .analysis.overfitting import Overfitting
    from .trust.trust import Trust


@dataclass(frozen=True)
class Lab:
    """A run and the images that it works on.

    Attributes:
        run: its folder under reports_dir.
        image_dir: the folder that the images' paths count from.
        images: the images table with its splits, labelled as it was decided.
        given: the same as it is labelled without those decisions.
        decisions: what a person decided about labels in doubt, as of `relabeling.read`.
        said: how layout, labels and splits were understood, a sentence each.
        parameters: what the images were found and divided by, as `open` takes it: paths count from anywhere.
        seconds: what finding the images took.
        start_from: the run whose head training starts from, "" for none.
        trained: when a run that was reopened was trained.
    """

    run: Run
    image_dir: Path
    images: pd.DataFrame
    given: pd.DataFrame
    decisions: pd.DataFrame
    said: list[str]
    parameters: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    start_from: str = ""
    trained: str = ""

    @classmethod
    def open(
        cls,
        run: str,
        image_dir: str,
        testing_percentage: float,
        validation_percentage: float,
        labels_csv: str = "",
        groups: str = "",
        labels_from: str = "",
        reports_dir: str | Path = "reports",
    ) -> "Lab":
        """Find, scan and split the images, and apply the decisions on labels; the run keeps what it has.

        Args:
            image_dir: a folder, or the name of a known dataset.
            labels_csv: a table of labels, empty where folders give them or the table is found by itself.
            groups: a pattern; images whose names agree in what it matches stay in one split. Empty for none.
            labels_from: the run whose decisions count beside this run's own.

        Raises:
            RetrainLabError: the folder, the labels, the split or the decisions are not what they must be.
        """
        table = project.place(labels_csv) if labels_csv else None
        with opening(reports_dir, run) as out:
            folder, decisions, began = fetching.locate(image_dir), out.decisions(labels_from), time.perf_counter()
            known, shares = out.known_images(folder), (testing_percentage, validation_percentage)
            found = scanning.load(folder, *shares, known, table, groups)
        images = relabeling.apply(found.images, decisions)
        seconds = round(time.perf_counter() - began, 2)
        parameters = {
            "image_dir": fetching.lasting(image_dir),
            "testing_percentage": testing_percentage,
            "validation_percentage": validation_percentage,
            "labels_csv": str(table or ""),
            "groups": groups,
            "labels_from": labels_from,
        }
        return cls(out, folder, images, found.images, decisions, found.said, parameters, seconds)

    def starting_from(self, run: str) -> "Lab":
        """Let training start from the head of another run, "" for none: what that has learnt from judges nothing here.

        Raises:
            RetrainLabError: there is no such run, or it has no head.
        """
        if not run:
            return self
        from .export.exporting import read_learnt

        learnt = read_learnt(self.run.other(run).model)
        (images, moved), (given, _) = (splitting.keep_training(each, learnt) for each in (self.images, self.given))
        said = [f"{moved:,} images stay in training, since the head of '{run}' has learnt from them."] * bool(moved)
        return replace(self, images=images, given=given, said=[*self.said, *said], start_from=run)

    @classmethod
    def reopen(cls, run: str, reports_dir: str | Path = "reports") -> "Lab":
        """Open a trained run with the images that it was trained on.

        Raises:
            RetrainLabError: it was not trained yet.
        """
        out = open_run(reports_dir, run)
        out.trained()
        info, images = out.training(), out.read_table("images")
        dataset = info["dataset"]
        given = Path(dataset["image_dir"]), images, images, out.decisions()
        return cls(out, *given, said=dataset["said"], trained=info.get("trained", ""))

    @cached_property
    def photos(self) -> ImageFolder:
        """The images to read, on one scale."""
        return ImageFolder.of(self.image_dir, self.images)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json says of a trained run."""
        return self.run.trained()

    @property
    def settings(self) -> HeadSettings:  # how the head of a trained run was trained
        return HeadSettings(**self.run.training()["settings"])

    @property
    def notes(self) -> str:
        """What a person should know of the images before trusting figures made from them, a line each."""
        return "\n".join([*self.said, *overview.notes(self.images), *relabeling.notes(self.given, self.decisions)])

    def begin(self) -> None:
        """Take these images for the run's own, or, if it was trained on others, for those of its next training."""
        self.take_images(self.run)

    def take_images(self, run: Run) -> None:
        """Write these images, and how they were found, to this run's folder or that of a training of it."""
        run.begin(self.images, self.image_dir, overview.digest(self.images), self.said)
        if "seen" not in run.info():
            run.record(parameters=self.parameters | {"start_from": self.start_from})

    def backbone(self, wanted: BackboneSettings, bottleneck_dir: str | Path) -> Backbone:
        """Resolve a backbone; relative paths count from the project's root."""
        if self.start_from:
            wanted = replace(wanted, tuned=self.run.other(self.start_from).training()["backbone"]["tuned"])
        handle, *rest = astuple(wanted)
        return registry.resolve(project.module(handle), project.place(bottleneck_dir), *rest)

    def features(
        self,
        wanted: BackboneSettings,
        bottleneck_dir: str | Path = "~/.cache/retrainlab",
        distortion: Distortion | None = None,
        variants: int = 8,
    ) -> Features:
        """Resolve a backbone and load the bottlenecks of all usable images; those that are missing are computed.

        Raises:
            RetrainLabError: the backbone, the cache or the distortion is not what it must be.
        """
        return load_features(self.backbone(wanted, bottleneck_dir), self.photos, self.images, distortion, variants)

    def features_again(self, bottleneck_dir: str | Path, tuned: bool = False) -> Features:
        """The features of a trained run but for distortions, from before fine-tuning or as the network was `tuned`."""
        used = self.run.training()["backbone"]
        wanted = BackboneSettings(**{field.name: used[field.name] for field in fields(BackboneSettings)})
        return self.features(wanted if tuned else replace(wanted, tuned=""), bottleneck_dir)

    def questions(self, features: Features, budget_minutes: float, seed: int = 0) -> "Overfitting":
        """Ask whether a reopened run knows its images or remembers them, with so many minutes on two cores, about."""
        from .analysis.overfitting import Overfitting

        predictions = self._predictions()
        given = (self.settings, self.metrics, self.run.info(), predictions, self.photos, budget_minutes, seed)
        return Overfitting(features.matrix, features.table, *given, source=features)

    @finding("The interval of this run's cross-entropy")
    def _predictions(self) -> Finding:
        return Finding("", details=self.run.read_table("predictions"))

    def trust(self, features: Features, budget_minutes: float, seed: int = 0) -> "Trust":
        """Ask whether single answers of a reopened run may be believed, as `questions` asks of the whole."""
        from .export import exporting
        from .labeling import explaining
        from .trust import trust

        head = exporting.load_head(self.run.model, features.backbone)
        knows, explain = exporting.load_guard(self.run.model), partial(explaining.load, self.run.model)
        given = self.settings, head, self.run.read_table("predictions"), knows, explain
        return trust.Trust(features, *given, self.run.training()["backbone"]["milliseconds"], budget_minutes, seed)

    def add_metrics(self, **values: Any) -> None:
        """Add what was found out about a reopened run to its metrics.json.

        Raises:
            RetrainLabError: it was trained anew meanwhile.
        """
        self.run.add_metrics(self.trained, **values)

    def record(self, features: Features) -> None:
        """Write what was extracted to run.json."""
        self.run.record(extraction=str(features.extractions[0]), seconds={"bottlenecks": features.seconds})

    def choose_weight_decay(self, features: Features, settings: HeadSettings, weight_decay: Sequence[float]) -> Study:
        """Choose a weight decay on validation, see `study.study`."""
        return study(features, settings, weight_decay, self.start(features.backbone))

    def start(self, backbone: Backbone) -> Head | None:
        """Load the head that training starts from; None for chance.

        Raises:
            RetrainLabError: it stands on another backbone, or is gone.
        """
        if not self.start_from:
            return None
        from .export.exporting import load_head

        return load_head(self.run.other(self.start_from).model, backbone)
