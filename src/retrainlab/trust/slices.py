"""Where does a classifier fail? Groups of images with more mistakes than chance, after looking at many groups."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from .. import plots
from ..errors import RetrainLabError
from ..evaluation.finding import Finding
from ..evaluation.intervals import clustered_mean, points, wilson_interval
from ..pixels.decoding import ImageFolder

_LEAST, _MOST = 20, 0.5  # images of a group, and its share of all: a group is a part
_SIDE, _COMPONENTS = 96, 32
_QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
_SURE = 0.05


def describe(images: pd.DataFrame, photos: ImageFolder, matrix: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Describe images by what a group of them may have in common; what is the same for all is left out.

    Args:
        images: rows of the images table.
        photos: where they are.
        matrix: float32 [n, dim], their bottlenecks, for clusters of what looks alike.

    Returns:
        One column a property, numbers or texts.
    """
    small = photos.read_many(images["path"], (_SIDE, _SIDE)).astype(np.float32).mean(axis=3)
    names = [PurePosixPath(path) for path in images["path"]]
    inner = small[:, 1:-1, 1:-1]
    laplacian = 4 * inner - small[:, :-2, 1:-1] - small[:, 2:, 1:-1] - small[:, 1:-1, :-2] - small[:, 1:-1, 2:]
    found: dict[str, Any] = {
        "pixels": images["width"] * images["height"],
        "width to height": images["width"] / images["height"],
        "brightness": small.mean(axis=(1, 2)),
        "contrast": small.std(axis=(1, 2)),
        "sharpness": laplacian.std(axis=(1, 2)),
        "format": [name.suffix.lower() for name in names],
        "name begins with": [re.split(r"[\d_\- .]", name.stem, maxsplit=1)[0] for name in names],
        "cluster of like images": _clusters(matrix, seed),
    }
    found |= _exif(photos, images["path"])
    table = pd.DataFrame({name: np.asarray(values) for name, values in found.items()})
    return table.loc[:, [len(set(values)) > 1 for _, values in table.items()]]


def _clusters(matrix: np.ndarray, seed: int) -> list[str]:
    """Clusters of bottlenecks: k-means on principal components, about the root of a fiftieth of the images many."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    count = int(np.clip(np.sqrt(len(matrix) / 50), 1, 16))
    if count < 2 or not matrix.std():
        return ["1"] * len(matrix)
    places = PCA(min(_COMPONENTS, *matrix.shape), random_state=seed).fit_transform(matrix)
    found = KMeans(count, n_init=3, random_state=seed).fit_predict(places)
    return [str(1 + number) for number in found]


def _exif(photos: ImageFolder, paths: pd.Series) -> dict[str, list[str]]:
    """Camera and day of each photo, "" where its file does not tell; nothing where none does."""
    from PIL import Image

    camera, day = [], []
    for path in paths:
        try:
            with Image.open(photos.root / path) as image:
                tags = image.getexif()
        except (OSError, ValueError, SyntaxError):  # not Pillow's format, or damaged where nobody else looks
            tags = Image.Exif()
        camera.append(str(tags.get(272, "")).strip())
        day.append(str(tags.get(306, ""))[:10].replace(":", "-"))
    return {"camera": camera, "day": day}


def candidates(properties: pd.DataFrame) -> dict[str, np.ndarray]:
    """Make groups of images, by name bool [n]: quarters of numbers, values of texts; of 20 images to half of all."""
    found = {}
    for name, values in properties.items():
        if pd.api.types.is_numeric_dtype(values):
            ends = np.quantile(values, [0.25, 0.5, 0.75])
            quarter = np.searchsorted(ends, values, side="right")
            for number, which in enumerate(_QUARTERS):
                mine = values[quarter == number]
                if len(mine):
                    found[f"{name}: {which} ({mine.min():,.3g} to {mine.max():,.3g})"] = quarter == number
        else:
            for value in sorted(set(values)):
                found[f"{name}: {value or 'nothing'}"] = (values == value).to_numpy()
    return {name: mine for name, mine in found.items() if _LEAST <= mine.sum() <= _MOST * len(mine)}


def weak(right: np.ndarray, groups: Mapping[str, np.ndarray], together: np.ndarray) -> pd.DataFrame:
    """Compare each group with all other images.

    A one-sided test by Fisher, corrected by Holm for all groups that were looked at.

    Args:
        right: bool [n].
        groups: as of `candidates`.
        together: [n], images that depend on one another, for the intervals of differences.

    Returns:
        A row a group, the least likely by chance first: group, n, accuracy, low, high (its interval), others,
        difference (with an interval as of `clustered_mean`), p (corrected), weak.
    """
    from scipy.stats import fisher_exact
    from statsmodels.stats.multitest import multipletests

    rows = []
    for name, mine in groups.items():
        hits, rest = int(right[mine].sum()), int(right[~mine].sum())
        table = [[hits, int(mine.sum()) - hits], [rest, int((~mine).sum()) - rest]]
        low, high = wilson_interval(hits, int(mine.sum()))
        others = rest / max(1, int((~mine).sum()))
        apart = clustered_mean(np.where(mine, right - others, np.nan), together)
        chance = float(fisher_exact(table, alternative="less").pvalue)
        rows.append((name, int(mine.sum()), hits / mine.sum(), low, high, others, apart, chance))
    columns = ["group", "n", "accuracy", "low", "high", "others", "difference", "p"]
    found = pd.DataFrame(rows, columns=columns)
    if len(found):
        found["p"] = multipletests(found["p"], method="holm")[1]
    return found.assign(weak=found["p"] < _SURE).sort_values(["p", "accuracy"], kind="stable", ignore_index=True)


def where_it_fails(right: np.ndarray, properties: pd.DataFrame, together: np.ndarray) -> Finding:
    """Name the groups of images with more mistakes than chance.

    Args: as of `weak`; properties: as of `describe`.

    Returns:
        Numbers: weak_slices, by name of the group its difference of accuracy to the others, {"accuracy", "interval"};
        looked_at, how many groups were. Details: the table of `weak`.

    Raises:
        RetrainLabError: there is no group to look at.
    """
    groups = candidates(properties)
    if not groups:
        raise RetrainLabError(f"Among {len(right):,} images there is no group of {_LEAST} or more, up to half of them.")
    table = weak(right, groups, together)
    found = table[table["weak"]]
    numbers = {"weak_slices": dict(zip(found["group"], found["difference"], strict=True)), "looked_at": len(groups)}
    said = [
        f"{row.group}: {row.accuracy:.1%} right of {row.n:,}, others {row.others:.1%} ({points(row.difference)}): "
        f"beyond chance, after looking at {len(groups)} groups."
        for row in found.itertuples()
    ]
    none = f"No group of images has more mistakes than chance; {len(groups)} were looked at."
    draw = partial(plots.slices, table, float(right.mean()))
    return Finding("Where it fails", "\n".join(said) or none, numbers=numbers, draw=draw, details=table)
