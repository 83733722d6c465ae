"""Image files of every kind that people have: right pixels, or the reason in a sentence, and never anything else."""

import re

import numpy as np
import pytest
from kinds import KINDS

from retrainlab.errors import RetrainLabError
from retrainlab.images import scanning
from retrainlab.pixels.decoding import read_pixels


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_gives_its_pixels_or_says_why_not(tmp_path, kind):
    (tmp_path / kind.name).write_bytes(kind.content)
    if isinstance(kind.expected, str):
        if kind.content:
            with pytest.raises(RetrainLabError, match=kind.expected):
                read_pixels(tmp_path / kind.name)
        return
    found = read_pixels(tmp_path / kind.name)
    expected = kind.expected if kind.expected.ndim == 3 else kind.expected[..., None].repeat(3, 2)
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert np.abs(found.astype(float) - expected).mean() <= kind.off


def test_a_folder_of_all_kinds_is_a_table_of_sizes_and_reasons(tmp_path):
    for number, kind in enumerate(KINDS):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        (folder / kind.name).write_bytes(kind.content)
    table = scanning.scan(tmp_path).images
    rows = {path[2:]: row for path, row in table.set_index("path").iterrows()}
    assert len(rows) == len(KINDS)
    for kind in KINDS:
        row = rows[kind.name]
        if isinstance(kind.expected, str):
            assert re.search(kind.expected, row["problem"] or ""), kind.name
        else:
            assert row["problem"] is None and (row["height"], row["width"]) == kind.expected.shape[:2], kind.name
    print(f"{len(KINDS)} kinds of image files tried")
    assert len(KINDS) > 150
