"""A server on the loopback that hands out files, and misbehaves on request."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from retrainlab.datasets.downloads import Source


class Server(ThreadingHTTPServer):
    """`files` by name; `requests` lists each request's name and Range header, as they came.

    `cuts`: after how many bytes to close the connection, for one request after the other; `answers`: status codes for
    one request after the other, instead of the file; `ranges`, `lengths`: whether it knows ranges and tells lengths;
    `confused`: answers any range with the first half.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.requests, self.cuts, self.answers = {}, [], [], []
        self.ranges = self.lengths = True
        self.confused = False

    def source(self, name: str, data: bytes) -> Source:
        """Hand out `data` under a name, and say truly what it is."""
        self.files[name] = data
        return Source(f"http://127.0.0.1:{self.server_port}/some/{name}", len(data), hashlib.sha256(data).hexdigest())


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, name, asked = self.server, self.path.rpartition("/")[2], self.headers.get("Range")
        server.requests.append((name, asked))
        if server.answers:
            self.send_error(server.answers.pop(0))
            return
        data = server.files[name]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        if start and start >= len(data):
            self.send_error(416)
            return
        if start and server.confused:
            start, data = 0, data[: len(data) // 2]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-{len(data) - 1}/{2 * len(data)}")
        else:
            self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if server.lengths:
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
