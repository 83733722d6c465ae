"""A server on the loopback that stands for TF Hub, and answers as told."""

import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def archive(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, ".")
    return packed.getvalue()


class Server:
    """Answers GET /NAME?tf-hub-format=compressed with an archive; `cut` sends half of it and hangs up.

    `answers`: by name, a status and headers that are sent with it instead of 200 and none.
    """

    def __init__(self):
        self.archives, self.asked, self.answers, self.cut = {}, [], {}, False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path, _, query = self.path.partition("?")
                outer.asked.append((path, query))
                content = outer.archives.get(path, b"")
                status, headers = outer.answers.get(path, (200 if path in outer.archives else 404, {}))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if outer.cut else content)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
