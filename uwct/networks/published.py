"""Networks that others published and `uwct fetch` brings: whose they are, where their files lie, how those are known.

published.tsv has a row for every file. Here nothing is read but that table; `uwct.convert.fetch` downloads.
"""

import csv
import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from uwct.networks.config import LEVELS

TABLE = Path(__file__).with_name("published.tsv")
GITHUB = "https://raw.githubusercontent.com"
Name = Literal["vgg19", "authors", "collaborative-distillation"]
NAMES: tuple[Name, ...] = get_args(Name)


@dataclasses.dataclass(frozen=True)
class Published:
    """A published model.

    Attributes:
      server: the public address that `File.place` is below; a mirror has the same below another.
      folder: what is between that and the paths of the table: of a repository on GitHub, its name and the commit.
      home: where people find it.
      credit: who made it, and where that is described.
      licence: of the weights.
    """

    server: str
    folder: str
    home: str
    credit: str
    licence: str


MODELS: dict[str, Published] = {
    "vgg19": Published(
        "https://download.pytorch.org",
        "",
        "https://github.com/pytorch/vision",
        "Karen Simonyan, Andrew Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR "
        "2015; as the project torchvision has it",
        "CC BY 4.0 (Simonyan and Zisserman), trained on ImageNet",
    ),
    "authors": Published(
        GITHUB,
        "pietrocarbo/deep-transfer/e87e72f9f8612062431a82289b758ef570da52c3/",
        "https://github.com/pietrocarbo/deep-transfer",
        "Yijun Li, Chen Fang, Jimei Yang, Zhaowen Wang, Xin Lu, Ming-Hsuan Yang: Universal Style Transfer via Feature "
        "Transforms, NIPS 2017; converted to PyTorch by the project deep-transfer",
        "MIT (Yijun Li), Apache 2.0 (deep-transfer); the encoder's, VGG-19's, is CC BY 4.0 (Simonyan and Zisserman)",
    ),
    "collaborative-distillation": Published(
        GITHUB,
        "MingSun-Tse/Collaborative-Distillation/4a269dc90020721ef9b279b2926c62f5bcd6d209/",
        "https://github.com/MingSun-Tse/Collaborative-Distillation",
        "Huan Wang, Yijun Li, Yuehai Wang, Haoji Hu, Ming-Hsuan Yang: Collaborative Distillation for Ultra-Resolution "
        "Universal Style Transfer, CVPR 2020 (the 16 times smaller models)",
        "MIT, copyright 2020 Huan Wang",
    ),
}


class Identity(NamedTuple):
    """What a file is known by: bytes, and in hexadecimal digits the SHA-1 by which git stores it, that of "blob SIZE",
    a zero byte and the content, and the SHA-256 of the content. What is not known is 0 or ""."""

    size: int
    git_blob: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class File:
    """A published file: the network in it ("encoder3", "decoder3"), its place below a server's address, and what it is
    known by."""

    part: str
    place: str
    identity: Identity

    @property
    def level(self) -> int:
        """Of the network in it."""
        return int(self.part[-1])

    @property
    def name(self) -> str:
        """The last part of its place; no two of a model have the same."""
        return self.place.rpartition("/")[2]

    def is_known_by(self, found: Identity) -> bool:
        """Whether a file of that identity is this one, by all that is known of it."""
        return all(known in (type(known)(), value) for known, value in zip(self.identity, found, strict=True))


def files(model: str, levels: Collection[int] = LEVELS) -> list[File]:
    """The files of a published model, of some of its levels, the shallowest first; none of a model that is not one."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["model"] == model]
    found = [
        File(
            row["part"],
            MODELS[model].folder + row["path"],
            Identity(int(row["bytes"].strip("-") or 0), row["git_blob_sha1"].strip("-"), row["sha256"].strip("-")),
        )
        for row in rows
    ]
    return [file for file in found if file.level in levels]


def has_decoders(model: str) -> bool:
    """Whether it is a published model, and more than an encoder."""
    return any(file.part.startswith("decoder") for file in files(model))
