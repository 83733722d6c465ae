"""Which image a text means that a person wrote: a path or the end of one, with or without extension."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath

from .layouts import one_form


class Names:
    """The images of a folder by what a table may call them: a path, or the end of one, with or without extension."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    @cached_property
    def _ends(self) -> dict[str, list[str]]:  # late: most folders have no table beside them
        ends = defaultdict(list)
        for path in self._paths:
            name = one_form(PurePosixPath(path).name).lower()
            for end in {name, PurePosixPath(name).stem}:
                ends[end].append(path)
        return ends

    @cached_property
    def _whole(self) -> set[str]:
        return {one_form(PurePosixPath(path).name).lower() for path in self._paths}

    def is_whole(self, text: str) -> bool:
        """Tell whether a cell ends in the name of an image with its extension: then it is no mere number."""
        return bool(parts := _parts(text)) and parts[-1].lower() in self._whole

    def find(self, text: str) -> list[str]:
        r"""List the images that a cell may mean, at best one; `C:\data\ant\1.JPG` means ant/1.jpg."""
        wanted = _parts(text)
        if not wanted:
            return []
        folders = [part.lower() for part in wanted[:-1]]
        agreeing: dict[str, int] = {}
        for path in self._ends.get(wanted[-1].lower(), []):
            own = [part.lower() for part in _parts(path)[:-1]]
            same = _agreeing(folders, own)
            if same == min(len(folders), len(own)):  # train/1.jpg is not test/1.jpg
                agreeing[path] = same
        found = [path for path, same in agreeing.items() if same == max(agreeing.values())]
        exact = [path for path in found if wanted[-1] in (_parts(path)[-1], PurePosixPath(_parts(path)[-1]).stem)]
        return exact if exact and len(found) > 1 else found


def _parts(path: str) -> list[str]:
    return [part for part in one_form(path).strip().replace("\\", "/").split("/") if part not in ("", ".")]


def _agreeing(one: list[str], other: list[str]) -> int:
    """Count the folders, from the inner one outwards, in which two paths agree."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
