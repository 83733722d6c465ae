"""What twice the images would bring: a power law through a learning curve.

Error falls with the number of images about as a power law (Hestness et al. 2017, arxiv.org/abs/1712.00409; Rosenfeld et
al. 2020, arxiv.org/abs/1909.12673). Few sizes determine its three numbers badly, and many curves fit alike. So the
interval of a prediction holds every value that some power law through the measurements allows: a likelihood interval,
in which what is not asked for (exponent, asymptote, noise) is set to whatever suits the value best.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.intervals import points
from .learning_curve import LearningCurve

_EXPONENTS = np.geomspace(0.05, 2, 30)
# deviations of a head's error by the images it happened to get; never quite 0, lest errors of 0 make a singular matrix
_NOISE = np.array([1e-4, *np.geomspace(0.001, 0.2, 11)])
_VALUES = 101  # of a grid on which gains are tried: an optimizer would stop in one of the many flat valleys
# How much worse than the best a law may fit to lie in the 95% interval: 3.84 for many images (Wilks 1938), more because
# the noise is estimated, too. Measured on generated curves: the interval holds the truth in 93 to 99% of them.
_ALLOWED = 4.5


@dataclass(frozen=True)
class Fit:
    """What a power law makes of a learning curve. Errors and gains are shares, 0 to 1; the interval holds 95%.

    Attributes:
        n: images that were judged.
        sizes, errors: float [sizes], training images and the error measured with them.
        exponent: of the best power law; this and all that follows is NaN where there is none.
        now, twice, gain: its error with all training images and with twice as many, and the difference.
        interval: (low, high) of the gain.
        why: why there is none.
    """

    n: int
    sizes: np.ndarray
    errors: np.ndarray
    exponent: float = np.nan
    now: float = np.nan
    twice: float = np.nan
    gain: float = np.nan
    interval: tuple[float, float] = (np.nan, np.nan)
    why: str = ""

    @property
    def tells(self) -> bool:
        """Whether the interval of the gain is narrower than 10 points and half the error, or than 2 points."""
        return bool(self.interval[1] - self.interval[0] <= max(0.02, min(0.1, self.now / 2)))

    @property
    def change(self) -> dict[str, Any]:
        """The gain as a difference, {"accuracy", "interval"}."""
        return {"accuracy": self.gain, "interval": list(self.interval)}

    def error(self, size: np.ndarray) -> np.ndarray:
        """The law's error for numbers of training images, which must be above 0."""
        return self.now + self.gain * _shape(np.asarray(size) / self.sizes[-1], self.exponent)

    def __str__(self) -> str:
        if self.why:
            return f"What twice the training images would bring cannot be told: {self.why}."
        gain = points(self.change).replace(" points", " points of accuracy")
        if self.tells:
            return f"Twice the training images ({2 * self.sizes[-1]:,.0f}) would bring {gain}."
        return (
            f"What twice the training images would bring cannot be told from {self.n:,} images: anything from "
            f"{100 * self.interval[0]:.1f} to {100 * self.interval[1]:.1f} points."
        )


def fit(curve: LearningCurve, rows: np.ndarray | slice = slice(None)) -> Fit:
    """Fit error = a + b x size^-c, and predict what twice the training images would bring.

    Measured errors scatter around the law because the validation images are a sample (the covariance of the errors
    comes from the images, groups as one), and because each head got a sample of training images (a deviation that
    falls with the root of the size; its scale comes from the differences between members, and from the fit). b is at
    least 0, c from 0.05 to 2, and errors stay within 0 and 1 up to twice the images. a may be below 0, where it is but
    a matter of shape: intervals that forbid it missed the truth in one of four cases where errors fall towards 0.

    Args:
        curve: of three sizes or more; with fewer, the fit says that nothing can be told.
        rows: bool [n], the images whose error is meant, such as those of one label.
    """
    wrong = 1 - curve.hits[:, :, rows].astype(float)  # [sizes, members, n]
    judged = ~np.isnan(wrong[0])
    images, members = judged.any(axis=0), judged.any(axis=1)
    wrong, group = wrong[:, members][:, :, images], pd.factorize(curve.groups[rows][images])[0]
    count, _, n = wrong.shape
    if n == 0:
        return Fit(n, curve.sizes, np.full(count, np.nan), why="no image was judged")
    each = np.nanmean(wrong, axis=1)  # [sizes, n]
    errors = each.mean(axis=1)
    if count < 3:
        why = f"there are {count} different numbers of them, and a curve takes three"
        return Fit(n, curve.sizes, errors, why=why)
    x = curve.sizes / curve.sizes[-1]
    precisions, badness = _noise(wrong, each, group, x)
    gain, now, exponent, _ = _best(errors, x, precisions, badness)
    *_, (low, high) = _best(_careful(each), x, precisions, badness)
    return Fit(n, curve.sizes, errors, exponent, now, now - gain, gain, (min(low, gain), max(high, gain)))


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


def _noise(wrong: np.ndarray, each: np.ndarray, group: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every noise of `_NOISE`: the inverse covariance of the errors [noises, sizes, sizes], what it costs [noises].

    The cost is twice the negative log-likelihood of the differences between members, and the covariance's own part.

    wrong: [sizes, members, n], NaN where not judged; each: its mean over members; group: int [n]; x: [sizes].
    """
    members = wrong.shape[1]
    noises = _NOISE[:, None, None] ** 2 * np.diag(1 / x)
    covariances = _covariance(each, group) / (each.shape[1] + 4) + noises / members
    judged = ~np.isnan(wrong[0])
    member, image = np.nonzero(judged)
    own = _covariance(wrong[:, member, image], group[image] * members + member) / judged.sum(axis=1).mean() + noises
    between = np.nanmean(wrong, axis=2)
    between = between - between.mean(axis=1, keepdims=True)  # [sizes, members]
    cost = np.linalg.slogdet(covariances)[1] + (members - 1) * np.linalg.slogdet(own)[1]
    return np.linalg.inv(covariances), cost + (between * np.linalg.solve(own, between)).sum(axis=(1, 2))


def _best(
    errors: np.ndarray, x: np.ndarray, precisions: np.ndarray, badness: np.ndarray
) -> tuple[float, float, float, tuple[float, float]]:
    """Find the law that fits best: (gain, error now, exponent), and the lowest and highest gain that fit about as well.

    A law is now + gain x shape; a grid of gains is tried with every exponent and noise, and the best `now` for them.
    """
    shapes = _shape(x, _EXPONENTS[:, None])  # [exponents, sizes]
    gains = np.linspace(0, 1, _VALUES)
    for _ in range(3):  # each time closer
        rest = errors - gains[:, None] * shapes[:, None, :]  # [exponents, gains, sizes]
        misfit, nows = np.full(rest.shape[:2], np.inf), np.zeros(rest.shape[:2])
        for precision, cost in zip(precisions, badness, strict=True):
            now = np.clip(rest @ precision.sum(axis=0) / precision.sum(), gains, 1)  # errors stay within 0 and 1
            left = rest - now[:, :, None]
            costs = ((left @ precision) * left).sum(axis=2) + cost
            nows, misfit = np.where(costs < misfit, now, nows), np.minimum(misfit, costs)
        inside = gains[misfit.min(axis=0) <= misfit.min() + _ALLOWED]
        exponent, best = np.unravel_index(misfit.argmin(), misfit.shape)
        step = gains[1] - gains[0]
        found = float(gains[best]), float(nows[exponent, best]), float(_EXPONENTS[exponent])
        gains = np.linspace(max(0, inside[0] - step), min(1, inside[-1] + step), _VALUES)
    return *found, (float(inside[0]), float(inside[-1]))
