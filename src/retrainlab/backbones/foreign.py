"""What lies where a SavedModel was expected, in words: an archive, another format, a web page.

Formats are told by their first bytes, whatever the file's name says.
"""

import html
import re
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

_HEAD = 1 << 16  # bytes that tell a format, and a page's title
_LOOKED_AT = 20  # files of a folder: it may be one of images
_UNPACK = "unpack it and give the folder that holds saved_model.pb"


class Foreign(NamedTuple):
    """Something that is no SavedModel: what it is called, and what a person who has it can do."""

    name: str
    advice: str


def recognise(file: Path) -> Foreign | None:
    """Tell what a file is; None where it is nothing known, or cannot be read."""
    try:
        head = _head(file)
    except OSError:
        return None
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return Foreign("an empty file", "get it anew")
    if head[4:8] == b"TFL3":
        return Foreign("a LiteRT model (.tflite)", "get the same network as a SavedModel")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Foreign("an HDF5 file, as Keras saves models (.h5)", _exported("load_model(FILE)"))
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            keras = {"config.json", "metadata.json"} <= set(archive.namelist())
        is_keras = Foreign("a Keras model (.keras)", _exported("load_model(FILE)"))
        return is_keras if keras else Foreign("a zip archive", _UNPACK)
    if re.match(rb"(?i)<!doctype html|<html|<head|<body", text):
        title = re.search(rb"(?is)<title[^>]*>(.*?)</title>", text)
        words = " ".join(html.unescape(title[1].decode("utf-8", "replace")).split())[:60] if title else ""
        return Foreign(f"a web page ('{words}')" if words else "a web page", "look at it in a browser")
    if text.startswith((b"<?xml", b"<Error", b'{"')):
        words = " ".join(re.sub(r"<[^>]*>", " ", text[:400].decode("utf-8", "replace")).split())[:100]
        return Foreign(f"a message ('{words}')", "see what it says")
    if head.startswith(b"\x1f\x8b") or tarfile.is_tarfile(file):
        return Foreign("a tar archive", _UNPACK)
    return None


def instead(path: Path) -> str:
    """Say what a path holds instead of saved_model.pb, and what to give, in two sentences."""
    expected = "Expected the folder of a SavedModel, such as a TF Hub module's"
    if path.name in ("saved_model.pb", "saved_model.pbtxt"):
        return f"it is a file of one. Give its folder, '{path.parent}'."
    if path.is_file():
        found = recognise(path)
        return f"it is {found.name}. {expected}: {found.advice}." if found else f"it is a file. {expected}."
    if below := nearby(path):
        folders = " and ".join(f"'{folder}'" for folder in below[:3])
        return f"it holds no saved_model.pb itself, but there is one in {folders}. Give that folder."
    for file in sorted(file for file in path.iterdir() if file.is_file())[:_LOOKED_AT]:
        if found := recognise(file):
            return f"it holds no saved_model.pb, but '{file.name}', {found.name}. {expected}: {found.advice}."
    return f"it holds no saved_model.pb. {expected}."


def nearby(folder: Path) -> list[Path]:
    """List the SavedModels one level below a folder: downloads often have a folder of the version around them."""
    return sorted(found.parent for found in folder.glob("*/saved_model.pb"))


def _exported(loaded: str) -> str:
    return f"make a SavedModel of it by `keras.models.{loaded}.export(FOLDER)` and give that folder"


def _head(file: Path) -> bytes:
    """The first bytes of what a file holds, decompressed if that makes it a page or a message."""
    with file.open("rb") as content:
        head = content.read(_HEAD)
    try:
        inner = zlib.decompressobj(31).decompress(head, _HEAD) if head.startswith(b"\x1f\x8b") else b""
    except zlib.error:
        return head
    return inner if inner.lstrip().startswith((b"<", b"{")) else head
