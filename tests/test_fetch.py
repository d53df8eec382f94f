"""Downloads, from a local server that behaves, breaks off, lies, and refuses."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from uwct.convert import fetch
from uwct.convert.fetch import Expected, download, named_by_hash

CONTENT = bytes(range(256)) * 4000
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


class Server(BaseHTTPRequestHandler):
    mood = "well"  # "well", "no ranges", "wrong range", "breaks once", "breaks", "lies", "absent", "silent"
    requests = ()

    def do_GET(self):
        cls = type(self)
        cls.requests = (*cls.requests, (self.path, self.headers.get("Range")))
        if cls.mood == "absent":
            self.send_error(404)
            return
        if cls.mood == "silent":
            self.close_connection = True
            return
        content = CONTENT[::-1] if cls.mood == "lies" else CONTENT
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        if cls.mood in ("no ranges", "wrong range"):
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start or cls.mood == "wrong range" else 200)
        if start or cls.mood == "wrong range":
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        breaks = cls.mood.startswith("breaks")
        self.wfile.write(content[start : start + 262_144] if breaks else content[start:])
        if cls.mood == "breaks once":
            cls.mood = "well"

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    Server.mood, Server.requests = "well", ()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def get(url, folder, *progress):
    return download(url, folder / url.rpartition("/")[2], named_by_hash(url), *progress)


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    seen = []
    path = get(f"{server}/{NAME}", tmp_path / "new", lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "new" / NAME
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert list(path.parent.iterdir()) == [path]
    get(f"{server}/{NAME}", path.parent)
    assert len(Server.requests) == 1


def test_what_broke_off_goes_on(server, tmp_path):
    Server.mood = "breaks once"
    assert get(f"{server}/{NAME}", tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in Server.requests] == [None, "bytes=262144-"]


def test_what_breaks_off_again_and_again_is_kept_for_the_next_run(server, tmp_path, monkeypatch):
    Server.mood = "breaks"
    monkeypatch.setattr(fetch, "TRIES", 2)
    with pytest.raises(OSError, match="broke off after 524288 of 1024000 bytes; 524288 bytes are kept"):
        get(f"{server}/{NAME}", tmp_path)
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:524288]
    assert not (tmp_path / NAME).exists()
    Server.mood = "well"
    assert get(f"{server}/{NAME}", tmp_path).read_bytes() == CONTENT
    assert Server.requests[-1][1] == "bytes=524288-"


@pytest.mark.parametrize("mood", ["no ranges", "wrong range"])
def test_a_server_that_does_not_go_on_begins_again(server, tmp_path, mood):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    Server.mood = mood
    assert get(f"{server}/{NAME}", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_no_beginning_is_thrown_away(server, tmp_path, length):
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * length)
    assert get(f"{server}/{NAME}", tmp_path).read_bytes() == CONTENT


def test_another_file_under_the_same_name_is_refused_and_deleted(server, tmp_path):
    Server.mood = "lies"
    with pytest.raises(ValueError, match="is not the file that was expected"):
        get(f"{server}/{NAME}", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there(server, tmp_path):
    Server.mood = "absent"
    with pytest.raises(OSError, match="the server answered 404 Not Found"):
        get(f"{server}/{NAME}", tmp_path)
    assert len(Server.requests) == 1


def test_no_server_at_all(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "TRIES", 1)
    Server.mood = "silent"
    with pytest.raises(OSError, match="cannot be had: "):
        get(f"{server}/{NAME}", tmp_path)
    with pytest.raises(OSError, match="cannot be had: Connection refused") as error:
        get(f"http://127.0.0.1:1/{NAME}", tmp_path)
    assert "object at 0x" not in str(error.value)


def test_a_slow_server_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    def slow(*args, timeout, **options):
        assert timeout == fetch.SECONDS
        raise requests.ReadTimeout("slow")

    monkeypatch.setattr(fetch.requests, "get", slow)
    with pytest.raises(OSError, match="the server does not answer"):
        get(f"http://127.0.0.1:1/{NAME}", tmp_path)


def test_proxies_are_taken_from_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert get(f"http://weights.invalid/models/{NAME}", tmp_path).read_bytes() == CONTENT
    assert Server.requests[0][0] == f"http://weights.invalid/models/{NAME}"


def test_git_knows_a_file_by_its_blob(tmp_path):
    (tmp_path / "file").write_bytes(b"what is up, doc?")
    known = "bd9dbf5aae1a3862dd1526723246b20206e5fc37"  # of the book Pro Git, section "Git Objects"
    assert Expected(git_blob=known).fits(tmp_path / "file")
    assert not Expected(git_blob=known[::-1]).fits(tmp_path / "file")
    assert not Expected(sha256="00", git_blob=known).fits(tmp_path / "file")


def test_a_name_without_a_hash_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must end with its hash"):
        get("http://127.0.0.1:1/vgg19.pth", tmp_path)
