"""What was written is read, and each flipped bit is found; others can still read the files."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from retrainlab import sealing
from retrainlab.sealing import DamagedFile

VALUES = {"label": "猫", "share": 0.1 + 0.2, "none": None, "list": [1, 2.5, "x"], "within": {"b": 1, "a": float("inf")}}
TABLE = pd.DataFrame({"path": ["a", "b"], "logits": list(np.eye(2, dtype=np.float32)), "n": [1, 2]}, index=[5, 7])


def flipped(file):
    """Flip one bit after the other, at most 800 of them; the file is whole again at the end."""
    whole = file.read_bytes()
    for bit in np.unique(np.linspace(0, 8 * len(whole) - 1, 800).astype(int)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        yield bit
    file.write_bytes(whole)


def test_json_is_read_as_it_was_written_or_it_is_said(tmp_path):
    file = tmp_path / "values.json"
    file.write_text(sealing.json_text(VALUES | {"seal": "of before"}), encoding="utf-8")
    assert sealing.read_json(file, dict) == VALUES
    assert json.loads(file.read_text(encoding="utf-8"))["share"] == VALUES["share"]  # for anybody
    for bit in flipped(file):
        try:
            found = sealing.read_json(file, dict)
        except DamagedFile:
            continue
        kept = {key: value for key, value in found.items() if key in VALUES}
        assert kept == VALUES, bit  # the key of the seal itself, or a blank


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\x00", '{"seal": null}', "[]"])
def test_what_is_no_such_json_is_said(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DamagedFile):
        sealing.read_json(tmp_path / "x.json", dict[str, int])


def test_whoever_takes_the_seal_out_may_change_the_rest(tmp_path):
    file = tmp_path / "x.json"
    changed = json.loads(sealing.json_text({"a": 1})) | {"a": 2}
    file.write_text(json.dumps(changed))
    with pytest.raises(DamagedFile, match="if it was changed on purpose, take 'seal' out"):
        sealing.read_json(file, dict[str, int])
    file.write_text(json.dumps({"a": changed["a"]}))
    assert sealing.read_json(file, dict[str, int]) == {"a": 2}


def test_a_table_is_read_as_it_was_written_or_it_is_said(tmp_path):
    file = tmp_path / "table.parquet"
    file.write_bytes(sealing.frame_bytes(TABLE))
    pd.testing.assert_frame_equal(sealing.read_frame(file, ["path"]), TABLE)
    pd.testing.assert_frame_equal(pd.read_parquet(file), TABLE)  # for anybody
    for _ in flipped(file):
        with pytest.raises(DamagedFile):
            sealing.read_frame(file)
    with pytest.raises(DamagedFile, match="it has no column 'label'"):
        sealing.read_frame(file, ["path", "label"])
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DamagedFile):
        sealing.read_frame(file)
    TABLE.to_parquet(file)
    with pytest.raises(DamagedFile, match="it is no sealed Parquet file"):
        sealing.read_frame(file)


def test_a_table_that_holds_what_looks_like_a_seal(tmp_path):
    table = pa.table({"text": [sealing._IN_FOOTER.decode() + "0" * 64, "0" * 64]})
    (tmp_path / "x.parquet").write_bytes(sealing.table_bytes(table))
    assert sealing.read_table(tmp_path / "x.parquet").equals(table)


def test_other_files_are_read_as_they_were_written_or_it_is_said(tmp_path):
    content, file = np.random.default_rng(0).bytes(200), tmp_path / "x"
    file.write_bytes(sealing.with_seal(content, "one"))
    assert sealing.read_bytes(file, "one") == content
    with pytest.raises(DamagedFile):
        sealing.read_bytes(file, "two")
    for _ in flipped(file):
        with pytest.raises(DamagedFile):
            sealing.read_bytes(file, "one")
    file.write_bytes(b"")
    with pytest.raises(DamagedFile):
        sealing.read_bytes(file, "one")


def test_arrays_are_read_as_they_were_written_or_it_is_said(tmp_path):
    file, arrays = tmp_path / "x.npz", {"kernel": np.eye(3, dtype=np.float32), "bias": np.arange(3)}
    np.savez(file, **arrays)

    assert sealing.read_arrays(file).keys() == arrays.keys()
    for bit in flipped(file):
        try:
            found = sealing.read_arrays(file)
        except DamagedFile:
            continue
        assert all((values == arrays[name]).all() for name, values in found.items()), bit  # one may be lost
