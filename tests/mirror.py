"""A server of files as the public ones are, with ranges; in other moods it breaks off, lies, refuses, or never ends."""

import re
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PART = 262_144  # bytes after which it breaks off


class Mirror(ThreadingHTTPServer):
    """Serves `files`, a dict from paths to bytes.

    Its `mood`: "well", "no ranges", "wrong range", "breaks once", "breaks" (each after PART bytes), "stalls" (there,
    until it is closed), "lies" (the same bytes in reverse), "longer" (by one byte), "endless", "no lengths", "absent",
    "silent". `asked` holds what it was asked for: method, path, range or None.
    """

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.mood, self.asked = files, "well", []
        self.stalled, self.closing = threading.Event(), threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self):
        """The paths that files were asked for from, in order."""
        return [path for method, path, _ in self.asked if method == "GET"]


@contextmanager
def serving(files, monkeypatch):
    """A Mirror at work, that no proxy stands before."""
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        for name in (variable, variable.upper()):
            monkeypatch.delenv(name, raising=False)
    with Mirror(files) as mirror:
        threading.Thread(target=mirror.serve_forever, daemon=True).start()
        yield mirror
        mirror.closing.set()
        mirror.shutdown()


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(self.server.mood)

    def do_GET(self):
        mood = self.server.mood
        for piece in self.answer(mood):
            self.wfile.write(piece)
        if mood == "breaks once":
            self.server.mood = "well"
        if mood == "stalls":
            self.wfile.flush()
            self.server.stalled.set()
            self.server.closing.wait()

    def answer(self, mood):
        """Sends the head, and returns the pieces of what is to follow."""
        self.server.asked.append((self.command, self.path, self.headers.get("Range")))
        content = self.server.files.get(self.path.partition("?")[0])
        if mood == "silent":
            self.close_connection = True
            return []
        if content is None or mood == "absent":
            self.send_error(404)
            return []
        content = {"lies": content[::-1], "longer": content + b"x"}.get(mood, content)
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        if mood in ("no ranges", "wrong range", "endless"):
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return []
        partial = start or mood == "wrong range"
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if mood not in ("endless", "no lengths"):
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if mood in ("breaks", "breaks once", "stalls"):
            return [content[start : start + PART]]
        return (content for _ in range(1000)) if mood == "endless" else [content[start:]]

    def handle(self):
        with suppress(BrokenPipeError, ConnectionResetError):  # nobody listens any more
            super().handle()

    def log_message(self, *args):
        pass
