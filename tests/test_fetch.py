"""Downloads, from a local server that behaves, breaks off, lies, and refuses; and files that are there already."""

import hashlib

import pytest
import requests
from mirror import PART, serving

from uwct.convert import fetch
from uwct.convert.fetch import UnavailableError, bring, download, identify, take
from uwct.networks.published import File, Identity

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = File("encoder1", "models/net.pth", Identity(len(CONTENT), "", SHA256))
OTHERS = {f"/models/{i}.pth": CONTENT[:size] for i, size in enumerate((1000, PART + 1000, 70_000))}


def file_of(place, content, *, sized=True):
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return File("encoder1", place, Identity(len(content) if sized else 0, blob, ""))


@pytest.fixture
def server(monkeypatch):
    with serving({"/models/net.pth": CONTENT, **OTHERS}, monkeypatch) as mirror:
        yield mirror


def get(server, folder, file=FILE, *progress):
    return download(f"{server.url}/models/net.pth", folder / "net.pth", file, *progress)


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    seen = []
    path = get(server, tmp_path, FILE, lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "net.pth"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert list(tmp_path.iterdir()) == [path]
    get(server, tmp_path)
    assert len(server.asked) == 1


def test_what_broke_off_goes_on(server, tmp_path):
    server.mood = "breaks once"
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, _, wanted in server.asked] == [None, f"bytes={PART}-"]


def test_what_breaks_off_again_and_again_is_kept_for_the_next_run(server, tmp_path, monkeypatch):
    server.mood = "breaks"
    monkeypatch.setattr(fetch, "TRIES", 2)
    with pytest.raises(UnavailableError, match="broke off after 524288 of 1024000 bytes; 524288 bytes are kept"):
        get(server, tmp_path)
    assert (tmp_path / "net.pth.part").read_bytes() == CONTENT[:524288]
    assert not (tmp_path / "net.pth").exists()
    server.mood = "well"
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1][2] == "bytes=524288-"


@pytest.mark.parametrize("mood", ["no ranges", "wrong range", "no lengths"])
def test_a_server_that_does_not_go_on_begins_again(server, tmp_path, mood):
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:1000])
    server.mood = mood
    assert get(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_no_beginning_is_thrown_away(server, tmp_path, length):
    (tmp_path / "net.pth.part").write_bytes(b"x" * length)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_whole_part_needs_no_server(server, tmp_path):
    (tmp_path / "net.pth.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == []
    assert not (tmp_path / "net.pth.part").exists()


@pytest.mark.parametrize(
    "identity",
    [
        Identity(len(CONTENT), "", SHA256),
        Identity(0, file_of("", CONTENT).identity.git_blob, ""),
        Identity(0, file_of("", CONTENT[::-1]).identity.git_blob, SHA256),
    ],
)
def test_another_file_under_the_same_name_is_refused_and_deleted(server, tmp_path, identity):
    server.mood = "lies"
    with pytest.raises(
        ValueError, match=r"is not the file that was expected: its SHA-256 begins with .*; it was deleted"
    ):
        get(server, tmp_path, File("encoder1", "", identity))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_changed_in_the_meantime_is_refused_and_the_next_run_begins_anew(server, tmp_path):
    (tmp_path / "net.pth.part").write_bytes(CONTENT[::-1][:1000])
    with pytest.raises(ValueError, match="is not the file that was expected"):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_file_of_another_size_is_refused_before_it_replaces_anything(server, tmp_path):
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:1000])
    server.mood = "longer"
    with pytest.raises(ValueError, match="it has 1024001 bytes, not 1024000"):
        get(server, tmp_path)
    assert (tmp_path / "net.pth.part").read_bytes() == CONTENT[:1000]


def test_a_server_that_never_ends_is_left(server, tmp_path):
    server.mood = "endless"
    seen = []
    with pytest.raises(ValueError, match="is not the file that was expected"):
        get(server, tmp_path, FILE, lambda done, total: seen.append(done))
    assert seen[-1] <= len(CONTENT) + fetch.CHUNK
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there(server, tmp_path):
    server.mood = "absent"
    with pytest.raises(UnavailableError, match="the server answered 404 Not Found"):
        get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_server_without_a_first_byte(server, tmp_path):
    server.files["/models/net.pth"] = b""
    with pytest.raises(UnavailableError, match="the server has no more than what is there"):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_server_at_all(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "TRIES", 1)
    server.mood = "silent"
    with pytest.raises(UnavailableError, match="cannot be had: "):
        get(server, tmp_path)
    with pytest.raises(UnavailableError, match="cannot be had: Connection refused") as error:
        download("http://127.0.0.1:1/net.pth", tmp_path / "net.pth", FILE)
    assert "object at 0x" not in str(error.value)


def test_a_slow_server_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    def slow(*args, timeout, **options):
        assert timeout == fetch.SECONDS
        raise requests.ReadTimeout("slow")

    monkeypatch.setattr(fetch.requests, "get", slow)
    with pytest.raises(UnavailableError, match="the server does not answer"):
        download("http://127.0.0.1:1/net.pth", tmp_path / "net.pth", FILE)


def test_proxies_are_taken_from_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.files["http://weights.invalid/net.pth"] = CONTENT
    path = download("http://weights.invalid/net.pth", tmp_path / "net.pth", FILE)
    assert path.read_bytes() == CONTENT
    assert server.downloads() == ["http://weights.invalid/net.pth"]


def test_git_knows_a_file_by_its_blob(tmp_path):
    (tmp_path / "file").write_bytes(b"what is up, doc?")
    known = "bd9dbf5aae1a3862dd1526723246b20206e5fc37"  # of the book Pro Git, section "Git Objects"
    found = identify(tmp_path / "file")
    assert found == (16, known, hashlib.sha256(b"what is up, doc?").hexdigest())
    assert File("", "", Identity(0, known, "")).is_known_by(found)
    assert not File("", "", Identity(0, known[::-1], "")).is_known_by(found)
    assert not File("", "", Identity(0, known, SHA256)).is_known_by(found)
    assert not File("", "", Identity(15, known, "")).is_known_by(found)


@pytest.mark.parametrize("sized", [True, False])
def test_one_progress_counts_all_files(server, tmp_path, sized):
    files = [file_of(place[1:], content, sized=sized) for place, content in OTHERS.items()]
    (tmp_path / "0.pth").write_bytes(OTHERS["/models/0.pth"])
    server.mood = "breaks once"
    seen = []
    paths = bring(files, tmp_path, f"{server.url}/", lambda done, total: seen.append((done, total)))
    assert [path.read_bytes() for path in paths] == list(OTHERS.values())
    whole = sum(map(len, OTHERS.values()))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {whole}  # what the table does not say, the server does, beforehand
    assert seen[-1] == (whole, whole)
    assert server.downloads() == ["/models/1.pth", "/models/1.pth", "/models/2.pth"]


def test_progress_does_without_sizes_that_nobody_knows(server, tmp_path):
    server.mood = "no lengths"
    files = [file_of(place[1:], content, sized=False) for place, content in OTHERS.items()]
    seen = []
    bring(files, tmp_path, server.url, lambda done, total: seen.append((done, total)))
    assert seen[0] == (1000, 0)
    assert seen[-1][0] == sum(map(len, OTHERS.values()))


def test_files_are_taken_by_their_content_whatever_they_are_called(tmp_path):
    files = [file_of(place[1:], content) for place, content in OTHERS.items()]
    mine, kept = tmp_path / "mine", tmp_path / "kept"
    (mine / "deep").mkdir(parents=True)
    (mine / "deep" / "a.bin").write_bytes(OTHERS["/models/1.pth"])
    (mine / "2.pth").write_bytes(OTHERS["/models/2.pth"][::-1])  # the name and the size, but another content
    assert take(files, mine, kept) == [files[0], files[2]]
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {"1.pth": OTHERS["/models/1.pth"]}
    (mine / "deep" / "a.bin").unlink()  # it is there already
    (mine / "b").write_bytes(OTHERS["/models/0.pth"])
    (mine / "c").write_bytes(OTHERS["/models/2.pth"])
    assert take(files, mine, kept) == []
    assert {path.name for path in kept.iterdir()} == {"0.pth", "1.pth", "2.pth"}
