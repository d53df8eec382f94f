"""Every kind of bad input that is tried, and what one gets; `python tests/bad_inputs.py` writes docs/inputs.md of it.

A row is run in a folder with a photo (photo.jpg), a style (a.png), a model (tiny.safetensors) and a style of that model
(style.safetensors).
"""

import dataclasses
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from foreign import T7, decoder, encoder, t7
from PIL import Image
from safetensors.numpy import load_file, save_file

from uwct.networks.tensors import read_file

DOCUMENT = Path(__file__).parents[1] / "docs" / "inputs.md"
INTRODUCTION = """# What bad input gets

Files are data to uwct: nothing in them is executed, and what they claim is checked before memory is taken for it. Bad
input ends a command with one sentence on stderr and exit code 2; nothing is written, and files that were there stay as
they were. (libtiff adds lines of its own about broken TIFFs.) In a run over a folder a bad picture is passed over, its
sentence comes at the end, and the exit code is 1.

A file system that cannot do what is asked for beside writing (waiting for the disk, say) costs nothing. What is
finished and cannot take its name, as on Windows while another program has the old file open, is kept beside it under
another name, which the sentence says.

Limits, all checked before anything is allocated:

| what | limit |
| --- | --- |
| pixels of a picture | 500 million (`--max-megapixels`), and what there is memory for: 48 bytes a pixel to decode |
| formats of pictures | JPEG, PNG, GIF, BMP, PPM, WebP, TIFF, AVIF, JPEG 2000; HEIC with the extra `heic` |
| formats of clips | what FFmpeg reads, with the extra `video`; animated GIF, PNG and WebP |
| a PNG's text or profile | 16 MiB, decompressed |
| standard input | 1 GiB |
| a model or style file | 2 GiB, 1 MiB of header, 1,000 tensors of F16, F32 or F64 |
| a model's layers | 16 a block, of 4,096 channels |
| weights of other programs | 1,000 tensors, together not larger than their file |

The tables are those of `tests/bad_inputs.py`, all of whose rows the tests run; `...` stands for what differs.
"""


@dataclasses.dataclass(frozen=True)
class Bad:
    """One row: what it is, how to make it (in the current folder), the command, and what comes after `error: `."""

    what: str
    sentence: str
    words: str
    make: Callable[[], object] = lambda: None


def png(width: int, height: int, data: bytes = b"", chunks: bytes = b"") -> bytes:
    """A PNG file that claims a size and holds other data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def file(name: str, content: bytes) -> Callable[[], object]:
    return lambda: Path(name).write_bytes(content)


def part(name: str, source: str, share: float) -> Callable[[], object]:
    """The beginning of another file."""
    return lambda: Path(name).write_bytes((data := Path(source).read_bytes())[: int(len(data) * share)])


def spoilt(name: str, source: str) -> Callable[[], object]:
    """A JPEG with markers among its pixels that cannot stand there."""

    def make() -> None:
        data = Path(source).read_bytes()
        pixels = data.index(b"\xff\xda") + 20
        Path(name).write_bytes(data[:pixels] + b"\xff\xc4" * 20 + data[pixels:])

    return make


def image(name: str, array: np.ndarray) -> Callable[[], object]:
    return lambda: Image.fromarray(array).save(name)


def tensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def million() -> bytes:
    """A safetensors file of so many empty tensors."""
    return tensors(("{" + ",".join(f'"{i}":{json.dumps(f32(0))}' for i in range(10)) * 100_000 + "}").encode())


def changed(source: str, change: Callable[[dict, dict], object]) -> Callable[[], object]:
    """bad.safetensors: another file with its tensors or metadata changed."""

    def make() -> None:
        found, (_, metadata) = dict(load_file(source)), read_file(Path(source))
        change(found, metadata)
        save_file(found, "bad.safetensors", metadata=metadata)

    return make


def reconfigured(**fields: object) -> Callable[[], object]:
    return changed("tiny.safetensors", lambda t, m: m.update(config=json.dumps(json.loads(m["config"]) | fields)))


def f32(*shape: int, start: int = 0, stop: int | None = None) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, 4 * int(np.prod(shape)) if stop is None else stop]}


class Attack:
    """Unpickled, it would make a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("attacked",)


def deflated() -> None:
    """A PyTorch file of 64 MiB of zeros, compressed to 64 KiB."""
    torch.save({"0.weight": torch.zeros(2**24)}, "whole.pth")
    with zipfile.ZipFile("whole.pth") as whole, zipfile.ZipFile("bad.pth", "w", zipfile.ZIP_DEFLATED) as bad:
        for name in whole.namelist():
            bad.writestr(name, whole.read(name))
    Path("whole.pth").unlink()


def nested() -> None:
    content: dict[str, object] = {}
    content["state_dict"] = content["a"] = content
    torch.save(content, "bad.pth")


def claiming_h5() -> None:
    with h5py.File("bad.h5", "w") as found:
        found.create_dataset("block1_conv1/kernel:0", (3, 3, 3, 2**14), "f4", chunks=(3, 3, 3, 64))


def endless_t7() -> bytes:
    """A Sequential whose only layer is itself."""
    stream = T7()
    stream.torch("nn.Sequential")
    stream.data += struct.pack("<iii", 3, 2, 1) + struct.pack("<ii", 2, 7) + b"modules"
    stream.data += struct.pack("<iii", 3, 3, 1) + struct.pack("<id", 1, 1.0) + struct.pack("<ii", 4, 1)
    return stream.data


STYLIZE = "stylize --content photo.jpg --style a.png --levels 1 --model tiny.safetensors"
CONTENT = "stylize --style a.png --levels 1 --model tiny.safetensors --content "
JPG, PNG = CONTENT + "bad.jpg", CONTENT + "bad.png"
MODEL = "stylize --content photo.jpg --style a.png --levels 1 --model bad.safetensors"
STYLE = "stylize --content photo.jpg --levels 1 --model tiny.safetensors --style bad.safetensors"
CONVERT = "convert --output out.safetensors "
UNREADABLE = "bad.safetensors is not a readable safetensors file: "
NO_PICTURE = " is not a picture in a format that can be read"
BROKEN = "bad.png cannot be read as a picture: ..."
TOO_LARGE = "bad.png is too large: it has more than the limit of 500 million pixels; --max-megapixels raises it"
PTH = CONVERT + "bad.pth"
LEVEL1 = "encoder/conv1_1/bias"
DEEP = "[" * 100_000

ROWS = {
    "Pictures and masks": [
        Bad("no such file", "there is no picture none.jpg", CONTENT + "none.jpg"),
        Bad("an empty file", "bad.jpg" + NO_PICTURE, JPG, file("bad.jpg", b"")),
        Bad("text", "bad.jpg" + NO_PICTURE, JPG, file("bad.jpg", b"hello")),
        Bad("half a JPEG", "bad.jpg cannot be read as a picture: ...", JPG, part("bad.jpg", "photo.jpg", 0.5)),
        Bad("a JPEG with damaged pixels, in windows", "bad.jpg cannot be read as a picture: ...", JPG + " --tile 64",
            spoilt("bad.jpg", "photo.jpg")),
        Bad("half a PNG", BROKEN, PNG, part("bad.png", "a.png", 0.5)),
        Bad(
            "half a PNG, in windows", BROKEN, PNG + " --tile 64",
            part("bad.png", "a.png", 0.5),
        ),
        Bad(
            "a PNG without its pixels", BROKEN, PNG,
            file("bad.png", png(16, 16)),
        ),
        Bad(
            "a PNG that claims 50,000 x 50,000 pixels",
            TOO_LARGE,
            PNG, file("bad.png", png(50_000, 50_000)),
        ),
        Bad(
            "the same as a style",
            TOO_LARGE,
            "stylize --content photo.jpg --levels 1 --model tiny.safetensors --style bad.png",
            file("bad.png", png(50_000, 50_000)),
        ),
        Bad(
            "the same as a mask",
            TOO_LARGE,
            STYLIZE + " --region bad.png", file("bad.png", png(50_000, 50_000)),
        ),
        Bad(
            "the same, in windows",
            TOO_LARGE,
            PNG + " --tile 64", file("bad.png", png(50_000, 50_000)),
        ),
        Bad(
            "a picture beyond the limit that one gives",
            "a.png is too large: it has more than the limit of 0.0005 million pixels; --max-megapixels raises it",
            STYLIZE + " --max-megapixels 0.0005",
        ),
        Bad(
            "a PNG with a text of 100 MB, compressed", BROKEN, PNG,
            lambda: Path("bad.png").write_bytes(png(1, 1, b"\0\0\0\0", ztxt())),
        ),
        Bad(
            "numbers that are not finite, in a TIFF",
            "bad.tif cannot be read as a picture: its values run from nan to nan, beyond 0 to 1", CONTENT + "bad.tif",
            image("bad.tif", np.full((16, 16), np.nan, np.float32)),
        ),
        Bad("a PostScript program", "bad.jpg" + NO_PICTURE, JPG,
            file("bad.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n")),
        Bad("an SVG", "bad.svg" + NO_PICTURE, CONTENT + "bad.svg --tile 64",
            file("bad.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"/>')),
        Bad("a pipe", "bad.png is a device or a pipe, not a file; give - to read standard input", PNG,
            lambda: os.mkfifo("bad.png")),
        Bad("a device", "/dev/zero is a device or a pipe, not a file; give - to read standard input",
            CONTENT + "/dev/zero --output out.png"),
        Bad("a mask that is no picture", "bad.png" + NO_PICTURE,
            STYLIZE + " --style-mask bad.png", file("bad.png", b"hello")),
        Bad("a mask of labels, without a color", "the mask bad.png is nearly black everywhere: white is 255, and it "
            "has 2 at most; of a picture of labels, name a color (MASK:RRGGBB)",
            STYLIZE + " --region bad.png", image("bad.png", np.arange(81, dtype=np.uint8).reshape(9, 9) % 3)),
        Bad("a color that a mask has not", "no pixel of the mask bad.png has the color 030405",
            STYLIZE + " --region bad.png:030405", image("bad.png", np.zeros((9, 9), np.uint8))),
        Bad("a palette's number where there is none", "bad.png has no palette whose colors could be counted",
            STYLIZE + " --region bad.png:#3", image("bad.png", np.zeros((9, 9), np.uint8))),
        Bad("a black mask of a style", "the mask bad.png leaves nothing of the style",
            STYLIZE + " --style-mask bad.png", image("bad.png", np.zeros((9, 9), np.uint8))),
        Bad("a name with codes that terminals obey",
            r"there is no picture \x1b[31mred.png", CONTENT + "\x1b[31mred.png --output out.png"),
    ],
    "Model files": [
        Bad("no such model", "there is no model called none: ...",
            "stylize --content photo.jpg --style a.png --model none"),
        Bad("an empty file", UNREADABLE + "...", MODEL, file("bad.safetensors", b"")),
        Bad("text", UNREADABLE + "it has ... bytes of header; 1048576 are the most", MODEL,
            file("bad.safetensors", b"hello, here is text")),
        Bad("a pickle that would make a folder", UNREADABLE + "it has ... bytes of header; 1048576 are the most", MODEL,
            lambda: Path("bad.safetensors").write_bytes(pickle.dumps(Attack()))),
        Bad("a header that claims 2^60 bytes",
            UNREADABLE + "it has 1152921504606846976 bytes of header; 1048576 are the most", MODEL,
            file("bad.safetensors", tensors({}, length=2**60))),
        Bad("half a model", UNREADABLE + "...", MODEL, part("bad.safetensors", "tiny.safetensors", 0.5)),
        Bad("a tensor of 2^60 bytes", UNREADABLE + "...", MODEL,
            file("bad.safetensors", tensors({"a": f32(2**58)}, b"0000"))),
        Bad("a shape whose product overflows", UNREADABLE + "...", MODEL,
            file("bad.safetensors", tensors({"a": f32(2**32, 2**32, start=0, stop=4)}, b"0000"))),
        Bad("tensors that overlap", UNREADABLE + "...", MODEL,
            file("bad.safetensors", tensors({"a": f32(2), "b": f32(2, start=4, stop=12)}, b"0" * 12))),
        Bad("a tensor that ends before it begins", UNREADABLE + "...", MODEL,
            file("bad.safetensors", tensors({"a": f32(1, start=4, stop=0)}, b"0000"))),
        Bad("a header nested 100,000 deep", UNREADABLE + "...", MODEL, file("bad.safetensors", tensors(DEEP.encode()))),
        Bad("5,000 tensors", "bad.safetensors holds 5000 tensors, more than the 1000 that are read", MODEL,
            file("bad.safetensors", tensors({str(i): f32(0) for i in range(5000)}))),
        Bad("1,000,000 tensors", UNREADABLE + "it has ... bytes of header; 1048576 are the most", MODEL,
            lambda: Path("bad.safetensors").write_bytes(million())),
        Bad("a file of 3 GiB", UNREADABLE + "it has 3221225472 bytes; 2147483648 are the most", MODEL,
            lambda: (Path("bad.safetensors").touch(), os.truncate("bad.safetensors", 3 * 2**30))),
        Bad("integers", f"bad.safetensors: {LEVEL1} holds I32, none of F16, F32, F64", MODEL,
            changed("tiny.safetensors", lambda t, m: t.update({LEVEL1: np.zeros(8, np.int32)}))),
        Bad("numbers that are not finite", f"bad.safetensors is not a whole model: {LEVEL1} is not finite", MODEL,
            changed("tiny.safetensors", lambda t, m: t.update({LEVEL1: np.full(8, np.nan, np.float32)}))),
        Bad("numbers beyond float32", f"bad.safetensors is not a whole model: {LEVEL1} is not finite", MODEL,
            changed("tiny.safetensors", lambda t, m: t.update({LEVEL1: np.full(8, 1e300)}))),
        Bad("a tensor missing, one misshapen, one too many, called like a path",
            "bad.safetensors is not a whole model: ../../etc/passwd is unknown; "
            "decoder1/conv1_1/bias has shape [4], not [3]; encoder/conv1_1/bias is missing", MODEL,
            changed("tiny.safetensors", lambda t, m: t.pop(LEVEL1) is None or t.update(
                {"../../etc/passwd": np.zeros(1, np.float32), "decoder1/conv1_1/bias": np.zeros(4, np.float32)}))),
        Bad("a name with codes that terminals obey",
            r"bad.safetensors is not a whole model: \x1b[2J is unknown", MODEL,
            changed("tiny.safetensors", lambda t, m: t.update({"\x1b[2J": np.zeros(1, np.float32)}))),
        Bad("a name that begins another's", "bad.safetensors is not a whole model: one tensor's name begins another's",
            MODEL, changed("tiny.safetensors", lambda t, m: t.update({"encoder": np.zeros(1, np.float32)}))),
        Bad("no config", "bad.safetensors is not a model of uwct: its metadata holds no config", MODEL,
            changed("tiny.safetensors", lambda t, m: m.clear())),
        Bad("a config nested 100,000 deep", "not the config of a uwct model: ...", MODEL,
            changed("tiny.safetensors", lambda t, m: m.update(config=DEEP))),
        Bad("a config of another form", "not the config of a uwct model: ...", MODEL, reconfigured(colour="blue")),
        Bad("a config whose backbone is a list", "not the config of a uwct model: ...", MODEL,
            reconfigured(backbone=[])),
        Bad("a config of 10^9 channels",
            "blocks must have up to 16 layers of up to 4096 channels, not [[1000000000]]", MODEL,
            reconfigured(blocks=[[10**9]])),
        Bad("a config of 10^5 layers", "blocks must have up to 16 layers of up to 4096 channels, not ...", MODEL,
            reconfigured(blocks=[[1] * 10**5])),
        Bad("a config of infinitely many channels", "not the config of a uwct model: ...", MODEL,
            reconfigured(blocks=[[float("inf")]])),
        Bad("a history of another form", "bad.safetensors does not say where it comes from as uwct writes it",
            "inspect bad.safetensors", changed("tiny.safetensors", lambda t, m: m.update(training='{"decoder1": 7}'))),
    ],
    "Style files": [
        Bad("no such file", "there is no picture none.safetensors",
            "stylize --content photo.jpg --style none.safetensors --model tiny.safetensors"),
        Bad("a model", "tiny.safetensors is not a style file",
            "stylize --content photo.jpg --style tiny.safetensors --model tiny.safetensors"),
        Bad("a picture", UNREADABLE + "...", STYLE, part("bad.safetensors", "a.png", 1)),
        Bad("another model's style",
            "bad.safetensors was made by another model (of tiny), not by this one (of tiny)", STYLE,
            changed("style.safetensors",
                    lambda t, m: m.update(style=json.dumps({"encoder": "0" * 16, "backbone": "tiny"})))),
        Bad("metadata nested 100,000 deep", "bad.safetensors is not a style file", STYLE,
            changed("style.safetensors", lambda t, m: m.update(style=DEEP))),
        Bad("numbers that are not finite, a negative count, a missing and a misshapen tensor",
            "bad.safetensors is not a whole style: level1/mean is not finite; level2/mean is missing; "
            "level3/scatter has shape [3, 12], not [12, 12]; level4/weight is negative", STYLE,
            changed("style.safetensors", lambda t, m: t.pop("level2/mean") is None or t.update(
                {"level1/mean": t["level1/mean"] * np.nan, "level3/scatter": t["level3/scatter"][:3],
                 "level4/weight": np.array(-t["level4/weight"])}))),
        Bad("a description of another form", "bad.safetensors is not a style file", "style info bad.safetensors",
            changed("style.safetensors", lambda t, m: m.update(style="[]"))),
    ],
    "Weights of other programs": [
        Bad("text", "bad.pth is no weight file of PyTorch, safetensors, Torch7 or Keras (HDF5)", PTH,
            file("bad.pth", b"hello")),
        Bad("a pickle that would make a folder",
            "bad.pth is no weight file of PyTorch, safetensors, Torch7 or Keras (HDF5)",
            PTH, lambda: Path("bad.pth").write_bytes(pickle.dumps(Attack()))),
        Bad("the same in a PyTorch file", "bad.pth holds more than tensors, and is not read: ...", PTH,
            lambda: torch.save({"a": Attack()}, "bad.pth")),
        Bad("the same in an old PyTorch file", "bad.pth holds more than tensors, and is not read: ...",
            PTH, lambda: torch.save({"a": Attack()}, "bad.pth", _use_new_zipfile_serialization=False)),
        Bad("a zip bomb", "bad.pth is not a whole PyTorch file: its parts are compressed", PTH, deflated),
        Bad("a tensor of 2^40 numbers over one",
            "bad.pth claims 1 tensors of 4398046511104 bytes, more than it holds or than are read", PTH,
            lambda: torch.save({"0.weight": torch.zeros(1).expand(2**40)}, "bad.pth")),
        Bad("a dictionary that holds itself", "bad.pth: it holds no VGG encoder or WCT decoder of a known format; ...",
            PTH, nested),
        Bad("half a PyTorch file", "bad.pth is not a whole PyTorch file: ...", PTH,
            lambda: (torch.save(encoder().state_dict(), "bad.pth"), part("bad.pth", "bad.pth", 0.5)())),
        Bad("a VGG of which nothing tells whether it takes RGB or BGR",
            "bad.pth: nothing says whether its VGG-19 takes RGB, ... --input torchvision or --input caffe", PTH,
            lambda: torch.save(encoder(first=False, padding=False, trained=None).state_dict(), "bad.pth")),
        Bad("numbers that are not finite",
            "bad.pth: it looks like normalised VGG-19 ..., but: 0.bias is not finite", PTH,
            lambda: torch.save(encoder().state_dict() | {"0.bias": torch.full((3,), torch.nan)}, "bad.pth")),
        Bad("arrays that HDF5 claims and does not store",
            "bad.h5: block1_conv1/kernel:0 is not a plain array of floating-point numbers in the file",
            CONVERT + "bad.h5", claiming_h5),
        Bad("half a Torch7 file", "bad.t7 is not a whole Torch7 file of a Sequential: ...", CONVERT + "bad.t7",
            lambda: Path("bad.t7").write_bytes(t7(encoder())[:5000])),
        Bad("a Torch7 network that holds itself",
            "bad.t7 is not a whole Torch7 file of a Sequential: its layers are nested too deep", CONVERT + "bad.t7",
            lambda: Path("bad.t7").write_bytes(endless_t7())),
        Bad("two decoders of one level", "there are two decoders of level 1, in bad.pth and in bad2.pth",
            CONVERT + "bad.pth bad2.pth",
            lambda: [torch.save(decoder(level=1).state_dict(), name) for name in ("bad.pth", "bad2.pth")]),
    ],
    "Command lines": [
        Bad("an unknown level", "level must be one of 1, 2, 3, 4, 5, not 6", STYLIZE + " --levels 6"),
        Bad("a strength that is no number", "--alpha must lie between 0 and 1, not nan", STYLIZE + " --alpha nan"),
        Bad("a negative size", "--size must lie between 0 and 2^31, not -1", STYLIZE + " --size -1"),
        Bad("a size that there is no memory for", "photo.jpg at ... pixels needs about ... GiB of memory, ...",
            STYLIZE + " --size 2000000 --tile off"),
        Bad("weights that sum to nothing", "--style-weights must not be negative, nor all 0, not [0.0]",
            STYLIZE + " --style-weights 0"),
        Bad("no limit of pixels", "--max-megapixels must lie between 0 and 2^31, not inf",
            STYLIZE + " --max-megapixels inf"),
        Bad("a folder that is not there", "the output folder none does not exist", STYLIZE + " --output none/out.png"),
        Bad("an output that is an input", "--output would overwrite photo.jpg; give another name",
            STYLIZE + " --output ./photo.jpg"),
        Bad("an unknown format", "out.xyz must end in one of .png, .jpg, .jpeg, .webp, .tif, .tiff",
            STYLIZE + " --output out.xyz"),
        Bad("resuming a single picture", "--resume needs a folder as --content or --style", STYLIZE + " --resume"),
        Bad("a name of 300 letters", "...: File name too long", CONTENT + "a" * 300 + " --output out.png"),
    ],
}  # fmt: skip


def ztxt() -> bytes:
    """A PNG chunk of text that unpacks to 100 MB."""
    content = b"zTXt" + b"k\0\0" + zlib.compress(bytes(10**8), 9)
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def document() -> str:
    """The text of docs/inputs.md."""
    lines = [INTRODUCTION]
    for title, rows in ROWS.items():
        lines += [f"## {title}\n", "| input | what one gets |", "| --- | --- |"]
        lines += [f"| {row.what} | `error: {row.sentence}` |" for row in rows]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    DOCUMENT.write_text(document())
