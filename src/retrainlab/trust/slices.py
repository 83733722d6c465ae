"""Where does it fail? Groups of images, by what can be told of them unlabelled, that have more mistakes than chance.

Groups overlap, and many are looked at: every one pays for all of them (Holm 1979, jstor.org/stable/4615733), so that no
group at all is named in 95% of the cases where mistakes depend on nothing.
"""

import re
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from PIL import ExifTags

from .. import plots
from ..bottlenecks.projection import principal_components
from ..errors import RetrainLabError
from ..evaluation.finding import Finding, finding
from ..evaluation.intervals import difference_interval, points, wilson_interval
from ..pixels.decoding import ImageFolder
from ..pixels.opening import header

_LEAST = 20  # images of a group; at most half of all are in one
_CHANCE = 0.05  # how often a group may be named where mistakes depend on nothing
_SIDE, _BATCH = 96, 512  # pixels of the small copy, and how many are held at once
_GREY = [0.299, 0.587, 0.114]  # of red, green and blue: luma of ITU-R BT.601
_FEW = 8  # different numbers, that are a group each rather than quarters
_SHOWN, _SAID = 12, 3  # groups in table and figure, and in words
_ENDS = {  # what the lowest and the highest quarter are called, and the unit
    "size": ("smallest", "largest", " pixels"),
    "bytes": ("smallest", "largest", " bytes"),
    "aspect": ("narrowest", "widest", ""),
    "brightness": ("darkest", "brightest", ""),
    "sharpness": ("most blurred", "sharpest", ""),
}


def describe(images: pd.DataFrame, photos: ImageFolder | None, matrix: np.ndarray, seed: int) -> pd.DataFrame:
    """Tell of each image what it can be grouped by.

    Args:
        images: [n] usable rows of the images table: path, and width, height and bytes where they are known.
        photos: where the images are; None tells nothing that their files would have to be read for.
        matrix: float32 [n, dim], their bottlenecks.
        seed: of the clusters.

    Returns:
        By path, as far as it is known and not the same for all: size (width x height, pixels), bytes, aspect (width by
        height), format (of the file's name), name (the letters that it begins with), folder (the one above), brightness
        (mean grey, 0 to 255), contrast (its standard deviation), sharpness (variance of the Laplacian, Pech-Pacheco et
        al. 2000, doi.org/10.1109/ICPR.2000.903548; these three of a copy of 96 x 96 pixels), camera and day (EXIF),
        cluster (by number, the largest first, with the image nearest its centre).
    """
    paths = [PurePosixPath(path) for path in images["path"]]
    known = {name: images[name].to_numpy(float, na_value=np.nan) for name in ("width", "height", "bytes")
             if name in images}  # fmt: skip
    told: dict[str, Any] = {"bytes": known["bytes"]} if "bytes" in known else {}
    if "width" in known and "height" in known:
        told |= {"size": known["width"] * known["height"], "aspect": known["width"] / known["height"]}
    beginnings = [re.match(r"[^\W\d_]+", path.name.removesuffix(path.suffix)) for path in paths]
    told |= {
        "format": [path.suffix.lower().removeprefix(".") or None for path in paths],
        "name": [found[0] if found else None for found in beginnings],
        "folder": [path.parent.name or None for path in paths],
    }
    if photos is not None:
        told |= _seen(photos, list(images["path"])) | _taken(photos.root, list(images["path"]))
    told["cluster"] = _clusters(matrix, list(images["path"]), seed)
    table = pd.DataFrame(told, index=pd.Index(images["path"], name="path"))
    return table[[name for name in table if len(table[name].unique()) > 1]]


def _seen(photos: ImageFolder, paths: list[str]) -> dict[str, np.ndarray]:
    """Measure brightness, contrast and sharpness of small copies."""
    from scipy.ndimage import laplace

    measured = [np.empty((0, 3))]
    for start in range(0, len(paths), _BATCH):
        pixels = photos.read_many(paths[start : start + _BATCH], (_SIDE, _SIDE))
        grey = pixels @ np.array(_GREY, np.float32)
        edges = [laplace(image).var() for image in grey]
        measured.append(np.column_stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2)), edges]))
    return dict(zip(("brightness", "contrast", "sharpness"), np.concatenate(measured).T, strict=True))


def _taken(root: Path, paths: list[str]) -> dict[str, list[str | None]]:
    """Read which camera took the images on which day, as far as their files say it."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda path: _exif(root / path), paths))
    return {"camera": [camera for camera, _ in found], "day": [day for _, day in found]}


def _exif(path: Path) -> tuple[str | None, str | None]:
    """Read camera model and day, as 2024-05-31, from a file's EXIF; None for what it does not say."""
    try:
        with header(path) as image:
            if image.format == "PNG" and not image.info.keys() & {"exif", "Raw profile type exif"}:
                return None, None  # getexif would decode all of it, to look behind the pixels
            exif = image.getexif()
            model = exif.get(ExifTags.Base.Model)
            date = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal, exif.get(ExifTags.Base.DateTime))
    except Exception:  # Pillow raises nearly anything on damaged metadata, and cannot open camera raw and DICOM
        return None, None
    camera = " ".join(model.replace("\0", " ").split()) if isinstance(model, str) else ""
    day = re.match(r"([1-9]\d{3}):(\d\d):(\d\d)", str(date))
    return camera or None, "-".join(day.groups()) if day else None


def _clusters(matrix: np.ndarray, paths: list[str], seed: int) -> list[str | None]:
    """Name each image's cluster of bottlenecks: k-means of up to 32 principal components, 2 to 16 clusters."""
    if len(matrix) < 2 * _LEAST or not np.ptp(matrix, axis=0).any():
        return [None] * len(matrix)
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    parts, _ = principal_components(matrix, 32)
    count = int(np.clip(round((len(matrix) / 50) ** 0.5), 2, 16))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # fewer different images than clusters
        fitted = KMeans(count, n_init=3, random_state=seed).fit(parts)
    distances, ranked = fitted.transform(parts), pd.Series(fitted.labels_).value_counts().index
    names = {
        cluster: f"{place}, such as {paths[distances[:, cluster].argmin()]}" for place, cluster in enumerate(ranked, 1)
    }
    return [names[cluster] for cluster in fitted.labels_]


def candidates(properties: pd.DataFrame) -> dict[str, np.ndarray]:
    """Group images by each of their properties: numbers in quarters, or by value if there are few; others by value.

    `properties`: [n] rows, as of `describe`. Returns name -> bool [n]: groups of at least 20 images and at most half of
    all, each once, though two properties may make it.
    """
    found: dict[str, np.ndarray] = {}
    seen: set[bytes] = set()
    for column, values in properties.items():
        numeric = pd.api.types.is_numeric_dtype(values) and values.nunique() > _FEW
        for name, members in (_quarters if numeric else _by_value)(str(column), values).items():
            if _LEAST <= members.sum() <= len(members) / 2 and members.tobytes() not in seen:
                seen.add(members.tobytes())
                found[name] = members
    return found


def _quarters(column: str, values: pd.Series) -> dict[str, np.ndarray]:
    numbers = values.to_numpy(float)
    edges = np.nanquantile(numbers, [0.25, 0.5, 0.75])
    place = np.where(np.isnan(numbers), -1, np.searchsorted(edges, numbers, side="right"))
    low, high, unit = _ENDS.get(column, ("lowest", "highest", ""))
    first, second, third = map(_number, edges)
    names = [f"{low} quarter (below {first}{unit})", f"second {low} quarter ({first} to {second}{unit})",
             f"second {high} quarter ({second} to {third}{unit})", f"{high} quarter (from {third}{unit})"]  # fmt: skip
    return {f"{column}: {name}": place == quarter for quarter, name in enumerate(names)}


def _by_value(column: str, values: pd.Series) -> dict[str, np.ndarray]:
    unit, numeric = _ENDS.get(column, ("", "", ""))[2], pd.api.types.is_numeric_dtype(values)
    common = values.value_counts()
    return {
        f"{column}: {_number(value) if numeric else value}{unit}": (values == value).to_numpy(bool)
        for value in common[common >= _LEAST].index
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def weak(right: np.ndarray, candidates: Mapping[str, np.ndarray], groups: np.ndarray) -> pd.DataFrame:
    """Compare each group's accuracy with that of all other images, and ask whether it is lower beyond chance.

    Images that belong together depend on one another, and count as fewer: m of them as m / (1 + (m - 1) r), where r is
    how much alike they are in being right (the design effect of Donald & Donner 1987, doi.org/10.1002/sim.4780060408).
    The p-value is of Fisher's exact test, one-sided, then corrected by Holm's method for all that were looked at.

    Args:
        right: bool [n], whether each image is right.
        candidates: name -> bool [n], as of the function `candidates`.
        groups: [n], which images belong together; of different values where each stands for itself.

    Returns:
        By name, the least likely by chance first: n, counts as (independent images), accuracy with its 95% interval
        (low, high), others (their accuracy), difference with its 95% interval (difference low, difference high), p,
        corrected, weak (whether that is below 5%). The intervals are of one group for itself.
    """
    from scipy.stats import fisher_exact
    from statsmodels.stats.multitest import multipletests

    code = pd.factorize(np.asarray(groups))[0]
    alike = _likeness(right, code)
    rows = []
    for members in candidates.values():
        (hits, n), (other_hits, others) = (_independent(right, code, part, alike) for part in (members, ~members))
        counts = [[round(n - hits), round(hits)], [round(others - other_hits), round(other_hits)]]
        low, high = difference_interval(hits, n, other_hits, others)
        mine, theirs = right[members].mean(), right[~members].mean()
        p = fisher_exact(counts, alternative="greater").pvalue
        rows.append((members.sum(), n, mine, *wilson_interval(hits, n), theirs, mine - theirs, low, high, p))
    columns = ["n", "counts as", "accuracy", "low", "high", "others", "difference", "difference low", "difference high"]
    table = pd.DataFrame(rows, index=pd.Index(candidates, name="images of", dtype=object), columns=[*columns, "p"])
    corrected = multipletests(table["p"], method="holm")[1] if rows else table["p"]
    table = table.assign(corrected=corrected, weak=np.asarray(corrected) < _CHANCE)
    return table.sort_values(["p", "difference"], kind="stable")


def _likeness(right: np.ndarray, code: np.ndarray) -> float:
    """How much more alike two images of one group are than any two, 0 to 1: the intraclass correlation.

    By analysis of variance (Ridout, Demetrio & Firth 1999, doi.org/10.1111/j.0006-341X.1999.00137.x). 0 where each
    image is a group of its own, 1 where all are in one. `right`: bool [n]; `code`: int [n], from 0.
    """
    sizes, n = np.bincount(code), len(code)
    if len(sizes) == n:
        return 0.0
    if len(sizes) == 1:
        return 1.0
    means = np.bincount(code, right) / sizes
    within = (sizes * means * (1 - means)).sum() / (n - len(sizes))
    between = (sizes * (means - right.mean()) ** 2).sum() / (len(sizes) - 1)
    typical = (n - (sizes**2).sum() / n) / (len(sizes) - 1)
    total = between + (typical - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 0.0


def _independent(right: np.ndarray, code: np.ndarray, members: np.ndarray, alike: float) -> tuple[float, float]:
    """Count how many independent images these are worth: those that are right, and all."""
    sizes = np.bincount(code[members])
    effect = 1 + ((sizes**2).sum() / sizes.sum() - 1) * alike
    return float(right[members].sum() / effect), float(members.sum() / effect)


@finding("Where it fails")
def where_it_fails(rows: pd.DataFrame, properties: pd.DataFrame, groups: np.ndarray) -> Finding:
    """Name the groups of images with more mistakes than chance; that they are where it fails says nothing of why.

    Args:
        rows: [n] of the predictions table, of images that no head has learnt from: path, label, predicted.
        properties: by path, as of `describe`; of these images, among others.
        groups: [n], which of `rows` belong together.
    """
    looked = candidates(properties.reindex(rows["path"]))
    if not looked:
        raise RetrainLabError(
            f"No property parts these {len(rows):,} images into groups of at least {_LEAST} that are at most half of "
            f"all. Expected at least {2 * _LEAST} images that differ in brightness, camera, folder or the like."
        )
    right = (rows["label"] == rows["predicted"]).to_numpy(bool)
    table = weak(right, looked, groups)
    found, count = table[table["weak"]], f"{len(looked):,} group{'s' * (len(looked) > 1)}"
    said = [
        f"Images of “{name}”: {row['accuracy']:.0%} right of {row['n']:,}, others {row['others']:.0%}, "
        f"{points(_difference(row))}: beyond chance after looking at {count}."
        for name, row in found.head(_SAID).to_dict("index").items()
    ]
    if len(found) > _SAID:
        said.append(f"So are {len(found) - _SAID:,} more.")
    if np.sum([looked[name] for name in found.index], axis=0).max(initial=0) > 1:
        said.append("Groups overlap: several may show one weakness.")
    if found.empty:
        were = "were" if len(looked) > 1 else "was"
        said.append(f"No group of images has more mistakes than chance: {len(looked):,} {were} looked at.")
    numbers = {
        name: {"n": row["n"], "accuracy": row["accuracy"], "others": row["others"], "corrected": row["corrected"],
               "difference": _difference(row)}
        for name, row in found.to_dict("index").items()
    }  # fmt: skip
    shown = table.head(_SHOWN)
    brief = {
        name: {"n": f"{row['n']:,}", "right": f"{row['accuracy']:.1%}", "others": f"{row['others']:.1%}",
               "difference": points(_difference(row)), "p, corrected": f"{row['corrected']:.2g}",
               "beyond chance": "yes" if row["weak"] else "no"}
        for name, row in shown.to_dict("index").items()
    }  # fmt: skip
    return Finding(
        "Where it fails",
        "\n".join(said),
        numbers={"groups_looked_at": len(looked), "weak_groups": numbers},
        table=pd.DataFrame.from_dict(brief, orient="index").style.format(escape="html"),
        draw=lambda: plots.weak_groups(shown, right.mean(), len(looked)),
        details=table,
    )


def _difference(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"accuracy": row["difference"], "interval": [row["difference low"], row["difference high"]]}
