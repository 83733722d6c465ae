"""Kinds of damage to a file; and what a run, its export and its cache come to: the same, or a sentence naming it."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from retrainlab import sealing
from retrainlab.backbones import cuts, freezing, modules
from retrainlab.backbones.backbone import BackboneSettings
from retrainlab.comparison.side_by_side import Comparison
from retrainlab.errors import RetrainLabError
from retrainlab.export import exporting
from retrainlab.lab import Lab
from retrainlab.labeling import label_image, labelers
from retrainlab.pages import index_page
from retrainlab.runs import listing, results

SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
PLACE = st.floats(0, 1, exclude_max=True)


@dataclass(frozen=True)
class Damage:
    """What is done to a file: its name, a place in it (0 to 1), and for JSON what takes the place of a value."""

    how: str
    place: float
    value: object

    def __call__(self, file: Path, others: list[Path]) -> None:
        before, stamp = bytearray(file.read_bytes()), file.stat()
        at = int(self.place * len(before))
        if self.how == "flipped" and before:
            before[at] ^= 1 << int(self.place * 1e6) % 8
        elif self.how == "zeroed":
            before[at : at + 4096] = bytes(len(before[at : at + 4096]))
        elif self.how == "cut":
            before = before[:at]
        elif self.how == "emptied":
            before = bytearray()
        elif self.how == "another shape":
            before = bytearray(json.dumps(self.value).encode())
        elif self.how == "another value":
            before = bytearray(json.dumps(_with(json.loads(before), self.place, self.value)).encode())
        elif self.how == "another file":
            before = bytearray(others[int(self.place * len(others))].read_bytes())
        file.write_bytes(before)
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as a disk does it


def damages(file: str) -> st.SearchStrategy[Damage]:
    ways = ["flipped", "zeroed", "cut", "emptied", "another shape", "another file"]
    ways += ["another value"] * 2 * file.endswith((".json", ".ipynb"))
    return st.builds(Damage, st.sampled_from(ways), PLACE, SHAPES)


def _with(values: object, place: float, value: object) -> object:
    """Put a value somewhere into JSON, without its seal: as a person might, or another version."""
    values.pop(sealing.SEAL, None)
    spots = [*_spots(values)]
    holder, key = spots[int(place * len(spots))]
    if isinstance(value, bool) and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = value
    return values


def _spots(values: object):
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in list(pairs):
        yield values, key
        yield from _spots(value)


# --------------------------------------------------------------------------------------------- what there is to see


def _label(root: Path, name: str = "") -> object:
    labeler = labelers.load(root / "reports/one/model" / name)
    pixels, _ = labeler.read(root.parent / "image.png")
    if labeler.guarded is None:
        return labeler.probabilities(pixels), labeler.note
    chances, opinion = labeler.guarded.judge(pixels)
    return chances, opinion.said, opinion.strangeness, str(opinion.nearest), labeler.note


def _graph(root: Path) -> object:
    labeler = label_image.load(root / "reports/one/model/output_graph.pb")
    return labeler.labels, labeler.probabilities(labeler.read(root.parent / "image.png")[0])


def _reopened(root: Path) -> object:
    lab = Lab.reopen("one", root / "reports")
    features = lab.features_again(root / "cache")
    head = exporting.load_head(lab.run.model, features.backbone)
    learnt = sorted(exporting.read_learnt(lab.run.model))
    tables = [lab.run.read_table(name).to_json() for name in ("history", "predictions")]
    known = lab.metrics, lab.settings, lab.images.to_json(), lab.trust(features, 1).predicted.to_json()
    return features.matrix, head.logits(features.matrix), learnt, tables, known


def _network(root: Path) -> object:
    """What a later export is made of: the frozen graph, its cuts, and the SavedModel."""
    lab = Lab.reopen("one", root / "reports")
    wanted = BackboneSettings(lab.run.training()["backbone"]["handle"])
    plain, used = lab.backbone(wanted, root / "cache"), lab.features_again(root / "cache").backbone
    images = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    features, kept = modules.load_module(used.module)
    constants = [node.attr["value"].tensor for node in freezing.freeze(plain).node if node.op == "Const"]
    weights = sorted(constant.tensor_content for constant in constants)  # freezing names them anew each time
    return cuts.of(plain), cuts.last_map(plain), weights, np.asarray(features(images)), used.network(images), bool(kept)


def _compared(root: Path) -> object:
    found = results.load(str(root / "reports"), run="one")
    every = listing.list_runs(root / "reports")
    compared = Comparison(found, "one")
    said = str(compared.all_runs(every, root / "reports")), str(compared.difference()), str(compared.settings())
    index = index_page.write_index(root / "reports").read_text().split("<main>")[1].split("<footer")[0]
    return said, every.drop(columns="settings").to_json(), index


LOOKS: dict[str, Callable[[Path], object]] = {
    "label": _label,
    "label by LiteRT": lambda root: _label(root, "model.tflite"),
    "reopen": _reopened,
    "compare": _compared,
    "label by SavedModel": lambda root: _label(root, "saved_model.pb"),
    "label --graph": _graph,
    "network": _network,
}
_BY_TENSORFLOW = ("label by SavedModel", "label --graph", "network")


def looks_at(file: str) -> list[str]:
    """Which looks may tell of a file; those that TensorFlow takes long for only where they do."""
    some = ["label", "compare", "reopen"] if file.startswith("reports") else ["reopen"]
    if file.endswith("contract.json"):
        return [*some, "label by LiteRT", "label by SavedModel", "label --graph"]
    if file.startswith("reports"):
        some += ["label --graph"] * file.endswith("output_graph.pb")
        some += ["label by LiteRT"] * file.endswith("/model.tflite")
        some += ["label by SavedModel"] * ("/saved_model.pb" in file or "/variables/" in file)
        return some
    return some + ["network"] * (not file.endswith((".arrow", "checked.json", "CACHEDIR.TAG")))


def same(one: object, other: object, within: float = 0) -> bool:
    """Tell whether two looks came to the same. TensorFlow itself does not always round alike: `within` is for that."""
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and bool((np.abs(one - other) <= within).all())
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(same(*pair, within) for pair in zip(one, other, strict=True))
    return one == other


class Watched:
    """A sound copy of everything, what it comes to, and a count of what became of each damage."""

    def __init__(self, sound: Path) -> None:
        self.sound, self.counts = sound, Counter()
        self.files = sorted(path.relative_to(sound).as_posix() for path in sound.rglob("*") if path.is_file())
        self.expected = {name: look(self.copied()) for name, look in LOOKS.items()}

    def damageable(self) -> list[str]:
        """The files of the run `one`, of its export, and of the cache; not what only backups look at."""
        mine = [file for file in self.files if file.startswith(("reports/one/", "cache/"))]
        return [file for file in mine if not file.endswith("CACHEDIR.TAG")]

    def copied(self) -> Path:
        root = self.sound.with_name("copy")
        shutil.rmtree(root, ignore_errors=True)
        return shutil.copytree(self.sound, root)

    def hold(self, file: str, damage: Damage) -> None:
        """Damage a file, and look: it is the same as before, or the sentence that came instead names the file."""
        root = self.copied()
        kind = f"{file.rpartition('/')[2]} {damage.how}"
        damage(root / file, [self.sound / other for other in self.files if Path(other).suffix == Path(file).suffix])
        unchanged = (root / file).read_bytes() == (self.sound / file).read_bytes()
        outcome = "same"
        for name in looks_at(file):
            try:
                found = LOOKS[name](root)
            except RetrainLabError as error:
                assert _named(file, str(error)), f"{kind}: '{name}' says: {error}"
                assert not unchanged, f"{kind}: {error}"
                outcome = "said"
                continue
            if same(found, self.expected[name], 1e-6 if name in _BY_TENSORFLOW else 0):
                continue
            if name == "compare" and _named(file, str(found)) and "two" in str(found):
                outcome = "said"  # its row, or a line above the table; the others are there
            else:
                assert damage.how == "another value", f"{kind}: '{name}' gives {found}, not {self.expected[name]}"
                outcome = "taken as it is"
        self.counts[outcome] += 1


def _named(file: str, said: str) -> bool:
    """Tell whether a sentence names a file; of the cache, its folder does, where it cannot be made anew."""
    return file.rpartition("/")[2] in said or "run.json" in said * file.endswith("run.json")
