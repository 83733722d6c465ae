"""What people meet at addresses of modules, each from a real server on the loopback: a sentence, and nothing kept."""

import gzip
import io
import socket
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from email.message import Message
from urllib.error import URLError

import numpy as np
import pytest
from module_server import Server, archive

from retrainlab.backbones import addresses, hub, registry
from retrainlab.errors import RetrainLabError

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in &amp;\n  continue</title></head><body>...</body></html>"
NO_ARCHIVE = "instead of an archive of a SavedModel"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "modules"))
    started = Server()
    yield started
    started.stop()


def refused(tmp_path, handle: str) -> str:
    """What is said of a handle; that it is one line and names the way out, and that nothing is kept, is checked."""
    with pytest.raises(RetrainLabError) as error:
        hub.fetch(handle)
    said = str(error.value)
    assert said.startswith(f"The module {handle} could not be fetched: ") and "\n" not in said
    assert "fetch and unpack it elsewhere and give the folder" in said and "efficientnet_lite0" in said
    modules = tmp_path / "modules"
    assert not modules.exists() or list(modules.iterdir()) == []
    return said.removeprefix(f"The module {handle} could not be fetched: ").partition(" Check the address")[0]


def packed(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("_json", ".json"), data)
    return content.getvalue()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the server refused it (401 Unauthorized)."),
        (403, "the server refused it (403 Forbidden)."),
        (404, "the server does not have it (404 Not Found)."),
        (407, "the proxy asks for a login (407 Proxy Authentication Required)."),
        (429, "the server has had too many requests (429 Too Many Requests); try again later."),
        (500, "the server failed (500 Internal Server Error); try again later."),
        (503, "the server failed (503 Service Unavailable); try again later."),
    ],
)
def test_a_server_that_does_not_give_it(server, tmp_path, status, said):
    server.archives["/net/1"], server.answers["/net/1"] = PAGE, (status, {})
    assert refused(tmp_path, f"{server.url}/net/1") == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file came"),
        (PAGE, "a web page ('Sign in & continue') came"),
        (b"\xef\xbb\xbf\r\n<HTML><body>gone</body></HTML>", "a web page came"),
        (gzip.compress(PAGE), "a web page ('Sign in & continue') came"),
        (
            b'{"code": 403, "message": "Permission denied"}',
            'a message (\'{"code": 403, "message": "Permission denied"}\') came',
        ),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a message ('AccessDenied') came"),
        (packed(config_json=b"{}", metadata_json=b"{}"), "a Keras model (.keras) came"),
        (packed(saved_model=b"..."), "a zip archive came"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "an HDF5 file, as Keras saves models (.h5) came"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(500), "a LiteRT model (.tflite) came"),
    ],
    ids=["empty", "page", "old page", "gzip page", "json", "xml", "keras", "zip", "hdf5", "tflite"],
)
def test_something_else_comes(server, tmp_path, content, said):
    server.archives["/net/1"], server.answers["/net/1"] = content, (200, {"Content-Type": "application/x-tar"})
    assert refused(tmp_path, f"{server.url}/net/1") == f"{said} {NO_ARCHIVE}."


def test_a_redirect_to_a_log_in_page_says_where_that_is(server, tmp_path):
    server.answers["/net/1"] = (302, {"Location": f"{server.url}/login?next=net"})
    server.archives["/login"] = PAGE
    expected = f"a web page ('Sign in & continue') came from {server.url}/login {NO_ARCHIVE}."
    assert refused(tmp_path, f"{server.url}/net/1") == expected


def test_a_redirect_to_the_archive_is_followed(server, module):
    server.answers["/net/1"] = (302, {"Location": f"{server.url}/storage/net.tar.gz"})
    server.archives["/storage/net.tar.gz"] = archive(module)
    assert (hub.fetch(f"{server.url}/net/1") / "saved_model.pb").exists()


def test_redirects_in_a_circle(server, tmp_path):
    server.answers["/net/1"] = (302, {"Location": f"{server.url}/net/2"})
    server.answers["/net/2"] = (302, {"Location": f"{server.url}/net/1"})
    assert refused(tmp_path, f"{server.url}/net/1") == "the address redirects in a circle, or to nowhere (302)."


def test_no_redirect_out_of_an_encrypted_connection():
    request = urllib.request.Request("https://example.org/net/1")
    follow = addresses._Redirects().redirect_request
    with pytest.raises(URLError, match=r"the server redirects to http://example[.]org/net, which is not encrypted"):
        follow(request, None, 302, "Found", Message(), "http://example.org/net")
    assert follow(request, None, 302, "Found", Message(), "https://example.org/net").full_url.startswith("https:")


def test_a_server_without_tls(server, tmp_path):
    address = server.url.replace("http:", "https:")
    assert refused(tmp_path, f"{address}/net/1").startswith("the server speaks no TLS that this machine accepts (")


def test_a_host_that_nobody_knows(server, tmp_path):
    said = refused(tmp_path, "http://modules.invalid/net/1")
    assert said.startswith("there is no way to modules.invalid from here (")


def test_a_proxy_that_refuses(server, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", server.url)  # it answers 501 to CONNECT
    said = refused(tmp_path, "https://modules.invalid/net/1")
    assert said.startswith("the proxy refused it: 501 ")


def test_a_port_where_nobody_listens(server, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert refused(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}/net/1") == "Connection refused."


def below(folder, *names) -> bytes:
    """An archive in which a folder lies under each of these names."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in names:
            tar.add(folder, name)
    return content.getvalue()


def test_a_module_one_folder_down_in_its_archive_is_found(server, module):
    server.archives["/net/1"] = below(module, "feature-vector-v2")
    assert sorted(path.name for path in hub.fetch(f"{server.url}/net/1").iterdir()) == sorted(
        path.name for path in module.iterdir()
    )


def test_several_modules_in_an_archive(server, tmp_path, module):
    server.archives["/net/1"] = below(module, "1", "2")
    assert refused(tmp_path, f"{server.url}/net/1") == "what was sent holds several SavedModels."


def test_an_address_that_turns_bad_does_not_matter_to_a_module_that_is_there(server, tmp_path, module):
    handle = f"{server.url}/net/1"
    server.archives["/net/1"] = archive(module)
    first = registry.resolve(handle, tmp_path / "cache")
    server.archives["/net/1"], server.answers["/net/1"] = PAGE, (403, {})
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    again = registry.resolve(handle, tmp_path / "other cache")
    assert np.array_equal(again.bottlenecks(pixels), first.bottlenecks(pixels)) and len(server.asked) == 1
    code = f"from retrainlab.backbones import hub; print(hub.fetch({handle!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(again.module) and len(server.asked) == 1
