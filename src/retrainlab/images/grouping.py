"""Which images belong together, so that no split parts them: copies, takes of one thing, what a person says."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..errors import RetrainLabError


def groups(images: pd.DataFrame) -> pd.Series:
    """Name, for each usable image, the group that must share a split.

    Images belong together that are equal up to `_nohash_`, equal in content, or of one `group` of the images table
    (None: of none); and so does what these belong to. A group is called by its name in the table, after a slash, with
    which no path begins: so it keeps its split when its images come and go. Without one, the shortest path is the name,
    since copies get longer ones (`a copy.jpg`, `a (1).jpg`): so the image that was there first keeps its split.
    """
    own = pd.Series([path.partition("_nohash_")[0] for path in images["path"]], images.index, dtype=object)
    given = images["group"] if "group" in images else pd.Series(None, images.index, dtype=object)
    component = pd.Series(_components(own, images["sha256"], given), images.index)
    name = own.mask(given.notna(), "/" + given.astype(object))
    names = pd.DataFrame({"component": component, "name": name}).drop_duplicates()
    met = names[names["component"].duplicated(keep=False)]  # few: nearly all groups are of one name
    met = met.assign(is_path=~met["name"].str.startswith("/"), length=met["name"].str.len())
    best = met.sort_values(["is_path", "length", "name"]).drop_duplicates("component")
    chosen = component.map(best.set_index("component")["name"]).astype(object)
    return chosen.where(chosen.notna(), name)


def _components(*ties: pd.Series) -> np.ndarray:
    """Number images such that those share a number that share a value of any of these, [n] each, or are tied by others.

    Missing values tie nothing.
    """
    codes = [pd.factorize(values, use_na_sentinel=True)[0] for values in ties]
    number = np.arange(len(ties[0]))
    while True:  # numbers spread from image to image; nearly always settled after one round
        before = number
        for code in codes:
            known = code >= 0
            least = np.full(code.max(initial=-1) + 1, len(number))
            np.minimum.at(least, code[known], number[known])
            number = number.copy()
            number[known] = least[code[known]]
        if (number == before).all():
            return number


def group_by_pattern(paths: Iterable[str], pattern: str) -> pd.Series:
    r"""Group images by a part of their paths: which patient, which cow, which film an image is of.

    Args:
        paths: relative to the image folder, with `/`, as in the images table.
        pattern: a regular expression that is searched in each path. What its first pair of parentheses holds is the
            group, or all that it matches where there are none: `patient\d+`, or `([^/]*?)_[^/]*$` for what the file's
            name begins with up to its first underscore. Upper and lower case differ.

    Returns:
        Text by path; None where the pattern matches nothing.

    Raises:
        RetrainLabError: the pattern is no regular expression, or fits no path.
    """
    example = r"Expected a regular expression, such as patient\d+ or /([^/_]+)_, whose parentheses hold the group."
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise RetrainLabError(f"The pattern of groups '{pattern}' cannot be read: {error}. {example}") from error
    paths = list(paths)
    matches = (search(path) for path in paths)
    found = [(match and match[min(1, match.re.groups)]) or None for match in matches]
    if not any(found):
        first = f"the first of {len(paths):,} is '{paths[0]}'" if paths else "there is none"
        raise RetrainLabError(f"The pattern of groups '{pattern}' fits no path: {first}. {example}")
    return pd.Series(found, paths, dtype=object, name="group")
