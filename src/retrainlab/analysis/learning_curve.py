"""How accuracy grows with the number of training images, and what twice as many would bring.

Error falls with the number of images about as a power law (Hestness et al. 2017, arxiv.org/abs/1712.00409; Rosenfeld et
al. 2020, arxiv.org/abs/1909.12673). Few sizes determine its three numbers badly, and many curves fit alike. So the
interval of a prediction holds every value that some power law through the measurements allows: a likelihood interval,
in which what is not asked for (exponent, asymptote, noise) is set to whatever suits the value best.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..evaluation.intervals import points
from ..training import trainer
from ..training.heads import HeadSettings

_APART = 50_000  # weights of a head from which on arithmetic costs more than starting it: no need to share a step
_EXPONENTS = np.geomspace(0.05, 2, 30)
# deviations of a head's error by the images it happened to get; never quite 0, lest errors of 0 make a singular matrix
_NOISE = np.array([1e-4, *np.geomspace(0.001, 0.2, 11)])
_VALUES = 101  # of a grid on which predictions are tried
# How much worse than the best a law may fit to lie in the 95% interval: 3.84 for many images (Wilks 1938), more because
# the noise is estimated, too. Measured on generated curves: the interval holds the truth in 93 to 99% of them.
_ALLOWED = 4.5


@dataclass(frozen=True)
class DataCurve:
    """Heads trained on fewer and fewer images.

    Attributes:
        sizes: float [sizes], training images of a head, mean over members; ascending.
        hits: float32 [sizes, members, n], 1 where a member of that size is right about a row, NaN where it does not
            validate it.
        train_accuracy: float [sizes, members], on the images that the head was trained on.
        labels, groups: [n].
    """

    sizes: np.ndarray
    hits: np.ndarray
    train_accuracy: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Fit:
    """What a power law makes of a data curve. Errors and gains are shares, 0 to 1; intervals (low, high) hold 95%.

    Attributes:
        n: images that were judged.
        sizes, errors: float [sizes], training images and the error measured with them.
        exponent: of the best power law; this and all that follows is NaN where there is none.
        now, twice, gain: its error with all training images and with twice as many, and the difference.
        twice_interval, gain_interval: of the last two.
        tells: whether the interval of the gain is narrower than 10 points and half the error, or than 2 points.
        sentence: what twice the images would bring.
    """

    n: int
    sizes: np.ndarray
    errors: np.ndarray
    exponent: float
    now: float
    twice: float
    gain: float
    twice_interval: tuple[float, float]
    gain_interval: tuple[float, float]
    tells: bool
    sentence: str

    def error(self, size: np.ndarray) -> np.ndarray:
        """The law's error for numbers of training images, which must be above 0."""
        return self.now + self.gain * _shape(np.asarray(size) / self.sizes[-1], self.exponent)


def measure(
    features: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    settings: HeadSettings,
    fractions: Sequence[float] = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1),
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> DataCurve:
    """Train every fold on nested shares of its training images, with the same settings, and judge its validation part.

    Each member draws its own images, label by label, so that differences between members show what the draw does. A
    label keeps at least one image. Sizes that come out the same are measured once.

    Args:
        features: float32 [n, dim].
        labels: [n].
        splits: [members, n] as of `resampling.repeated_folds`; more repeats make the curve steadier.
        fractions: of the training images, above 0 up to 1; 1 is added where it is missing.
        groups: [n]; images of one group are drawn together, as they would be found together. None for none.
        seed: of the draws.
    """
    splits = np.asarray(splits, dtype=object)
    labels = np.asarray(labels, dtype=object).astype(str)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    fractions = sorted({*fractions, 1.0})
    drawn = np.stack(
        [
            _nested(labels, groups, own == "train", fractions, np.random.default_rng([seed, member]))
            for member, own in enumerate(splits)
        ],
        axis=1,
    )  # [sizes, members, n]
    sizes, kept = np.unique(drawn.sum(axis=2).mean(axis=1), return_index=True)
    hits = np.full((len(sizes), *splits.shape), np.nan, np.float32)
    train_accuracy = np.full((len(sizes), len(splits)), np.nan)
    together = features.shape[1] * len(np.unique(labels)) < _APART
    members = np.arange(len(splits))
    for place, number in enumerate(kept):
        own = np.where(drawn[number], "train", np.where(splits == "validation", "validation", "test")).astype(object)
        for part in [members] if together else members[:, None]:
            right = _hits(features, labels, own[part], settings)
            for member, hit in zip(part, right.T, strict=True):
                mine = own[member] == "validation"
                hits[place, member, mine] = hit[mine]
                train_accuracy[place, member] = hit[own[member] == "train"].mean()
    return DataCurve(sizes, hits, train_accuracy, labels, groups)


def fit(curve: DataCurve, rows: np.ndarray | None = None) -> Fit:
    """Fit error = a + b x size^-c, and predict what twice the training images would bring.

    Measured errors scatter around the law because the validation images are a sample (the covariance of the errors
    comes from the images, groups as one), and because each head got a sample of training images (a deviation that
    falls with the root of the size; its scale comes from the differences between members, and from the fit). b is at
    least 0, c from 0.05 to 2, and errors stay within 0 and 1 up to twice the images. a may be below 0, where it is but
    a matter of shape: intervals that forbid it missed the truth in one of four cases where errors fall towards 0.

    Args:
        curve: of three sizes or more; with fewer, the fit says that nothing can be told.
        rows: bool [n], the images whose error is meant, such as those of one label; None for all.
    """
    wrong = 1 - curve.hits[:, :, slice(None) if rows is None else rows].astype(float)  # [sizes, members, n]
    judged = ~np.isnan(wrong[0])
    images, members = judged.any(axis=0), judged.any(axis=1)
    wrong, judged = wrong[:, members][:, :, images], judged[members][:, images]
    group = pd.factorize((curve.groups if rows is None else curve.groups[rows])[images])[0]
    count, size, n = wrong.shape
    each = np.nanmean(wrong, axis=1) if n else np.zeros((count, 0))  # [sizes, n]
    errors = each.mean(axis=1) if n else np.full(count, np.nan)
    if n == 0 or count < 3:
        why = f"there are {count} different numbers of them, and a curve takes three" if n else "no image was judged"
        nothing, anything = (np.nan,) * 4, (np.nan, np.nan)
        said = f"What twice the training images would bring cannot be told: {why}."
        return Fit(n, curve.sizes, errors, *nothing, anything, anything, False, said)
    x = curve.sizes / curve.sizes[-1]
    careful = _careful(each)
    sampling = _covariance(each, group) / (n + 4)
    place, image = np.nonzero(judged)
    own = _covariance(wrong[:, place, image], group[image] * size + place) / judged.sum(axis=1).mean()
    between = np.nanmean(wrong, axis=2)
    between = between - between.mean(axis=1, keepdims=True)  # [sizes, members]
    noises = [noise**2 * np.diag(1 / x) for noise in _NOISE]
    covariances = np.stack([sampling + noise / size for noise in noises])
    badness = np.array([np.linalg.slogdet(covariance)[1] for covariance in covariances])
    for number, noise in enumerate(noises):
        badness[number] += (size - 1) * np.linalg.slogdet(own + noise)[1]
        badness[number] += (between * np.linalg.solve(own + noise, between)).sum()
    precisions = np.linalg.inv(covariances)

    def gains(measured: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        shapes = _shape(x, _EXPONENTS[:, None])
        return lambda gain: _misfit(measured, precisions, badness, gain, shapes, np.ones_like(shapes), (gain, 1.0))

    def twices(measured: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        shapes = 1 + _shape(x, _EXPONENTS[:, None])
        return lambda twice: _misfit(measured, precisions, badness, twice, np.ones_like(shapes), shapes, (0, 1 - twice))

    gain, _, exponent = _allowed(gains(errors))
    twice, _, _ = _allowed(twices(errors))
    _, (low, high), _ = _allowed(gains(careful))
    _, interval, _ = _allowed(twices(careful))
    low, high = min(low, gain), max(high, gain)
    now = twice + gain
    tells = bool(high - low <= max(0.02, min(0.1, now / 2)))
    sentence = (
        f"Twice the training images ({2 * curve.sizes[-1]:,.0f}) would bring {100 * gain:+.1f} points of accuracy "
        f"[{100 * low:.1f}, {100 * high:.1f}]."
        if tells
        else f"What twice the training images would bring cannot be told from {n:,} images: anything from "
        f"{100 * low:.1f} to {100 * high:.1f} points."
    )
    interval = min(interval[0], twice), max(interval[1], twice)
    return Fit(n, curve.sizes, errors, exponent, now, twice, gain, interval, (low, high), tells, sentence)


def weakest(curve: DataCurve, count: int = 5) -> list[str]:
    """Name the labels with the lowest out-of-fold accuracy with all training images, lowest first.

    The lowest of many look worse than they are; their gain is still measured on the same images at every size.
    """
    judged = ~np.isnan(curve.hits[-1]).all(axis=0)
    hits = np.nanmean(curve.hits[-1][:, judged], axis=0)
    return pd.Series(hits).groupby(curve.labels[judged]).mean().nsmallest(count).index.tolist()


def written(fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Write fits for people, one row each, as texts; those that nothing can be told of are left out."""
    rows = {
        name: {
            "images judged": f"{one.n:,}",
            "error now": f"{one.now:.1%}",
            "error with twice the images": f"{one.twice:.1%}",
            "gain": points({"accuracy": one.gain, "interval": one.gain_interval}),
        }
        for name, one in fits.items()
        if np.isfinite(one.gain)
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _nested(
    labels: np.ndarray, groups: np.ndarray, own: np.ndarray, fractions: Sequence[float], random: np.random.Generator
) -> np.ndarray:
    """Draw shares of a training split, each within the next, label by label and group by group: bool [fractions, n]."""
    rows = np.flatnonzero(own)
    _, first, unit = np.unique(groups[rows], return_index=True, return_inverse=True)
    label = pd.Series(labels[rows][first])
    order = random.permutation(len(label))
    place = label.iloc[order].groupby(label.iloc[order]).cumcount().sort_index().to_numpy()
    of = label.groupby(label).transform("size").to_numpy()
    drawn = np.zeros((len(fractions), len(own)), bool)
    for number, fraction in enumerate(fractions):
        drawn[number, rows] = (place < np.maximum(1, np.round(fraction * of)))[unit]
    return drawn


def _hits(features: np.ndarray, labels: np.ndarray, splits: np.ndarray, settings: HeadSettings) -> np.ndarray:
    """Train a stack of splits [members, n] and say what each got right at last: bool [n, members]."""
    used = np.flatnonzero((splits != "test").any(axis=0))
    own = splits == "train"
    # heads of a stack share batches: as much larger as lets each see train_batch_size images of its own in a step
    share = own.sum(axis=1).mean() / own.any(axis=0).sum()
    settings = replace(settings, train_batch_size=round(settings.train_batch_size / share))
    last: dict[str, np.ndarray] = {}
    stack, steps = [settings] * len(splits), settings.how_many_training_steps
    trainer.train(features[used], labels[used], splits[:, used], stack, steps, lambda seen: last.update(hits=seen.hits))
    hits = np.zeros((len(features), len(splits)), bool)
    hits[used] = last["hits"]
    return hits


def _shape(x: np.ndarray, exponent: np.ndarray | float) -> np.ndarray:
    """A power law through 0 at x = 1 and -1 at x = 2."""
    return (x**-exponent - 1) / (1 - 2**-exponent)


def _careful(wrong: np.ndarray) -> np.ndarray:
    """Errors [sizes] of images [sizes, n] and four more, half of them wrong (Agresti & Coull 1998)."""
    return (wrong.sum(axis=1) + 2) / (wrong.shape[1] + 4)


def _covariance(wrong: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Covariance over the sizes of one image's error, images of a group counted as one: [sizes, sizes].

    Those of `_careful` are in it: all sizes agree on two of them, and on two each size is right or wrong by itself.
    Without them few images, or errors near 0, would look certain.

    wrong: [sizes, n]; group: int [n].
    """
    mean = _careful(wrong)
    sums = np.stack([np.bincount(group, row) for row in wrong - mean[:, None]])
    more = 4 * np.outer(0.5 - mean, 0.5 - mean) + (1 + np.eye(len(wrong))) / 2
    return (sums @ sums.T + more) / (wrong.shape[1] + 3)


def _misfit(
    measured: np.ndarray,
    precisions: np.ndarray,
    badness: np.ndarray,
    values: np.ndarray,
    given: np.ndarray,
    free: np.ndarray,
    bounds: tuple[np.ndarray | float, np.ndarray | float],
) -> np.ndarray:
    """Twice the negative log-likelihood of laws values x given + w x free, for the best w within bounds and noise.

    measured: [sizes]; precisions: [noises, sizes, sizes]; badness: [noises], what a noise costs; values: [values];
    given, free: [exponents, sizes]. Returns [exponents, values].
    """
    rest = measured - values[None, :, None] * given[:, None, :]  # [exponents, values, sizes]
    best = np.full(rest.shape[:2], np.inf)
    for precision, cost in zip(precisions, badness, strict=True):
        weights = free @ precision  # [exponents, sizes]
        w = np.einsum("evs,es->ev", rest, weights) / (weights * free).sum(axis=1)[:, None]
        left = rest - np.clip(w, *bounds)[:, :, None] * free[:, None, :]
        best = np.minimum(best, ((left @ precision) * left).sum(axis=2) + cost)
    return best


def _allowed(misfit: Callable[[np.ndarray], np.ndarray]) -> tuple[float, tuple[float, float], float]:
    """The value that fits best, the lowest and the highest that fit about as well, and the best one's exponent."""
    values = np.linspace(0, 1, _VALUES)
    for _ in range(3):  # each time closer
        table = misfit(values)
        inside = values[table.min(axis=0) <= table.min() + _ALLOWED]
        exponent, best = np.unravel_index(table.argmin(), table.shape)
        found = float(values[best]), (float(inside[0]), float(inside[-1])), float(_EXPONENTS[exponent])
        step = values[1] - values[0]
        values = np.linspace(max(0, inside[0] - step), min(1, inside[-1] + step), _VALUES)
    return found
