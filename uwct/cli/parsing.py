"""Command lines, parsed by tyro."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import tyro
from docstring_parser import DocstringStyle
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from uwct.cli.errors import one_sentence

_registry = ConstructorRegistry()


def parsed(kind: Any, argv: Sequence[str] | None, prog: str, description: str, **how: Any) -> Any:
    """The arguments of a command as an instance of its dataclass, or of one of several.

    Ends the process, as `one_sentence` does, where a path is empty: to pathlib it would be the current folder.
    """
    with one_sentence():
        return tyro.cli(kind, args=argv, prog=prog, description=description, registry=_registry, **how)


_parse = docstring_parser.parse_from_object


def _read(obj: Any, style: DocstringStyle = DocstringStyle.AUTO) -> docstring_parser.Docstring:
    """What a class says of its attributes, a line each: tyro keeps breaks before what is indented, or an option."""
    found = _parse(obj, style)
    for attribute in found.params:
        attribute.description = " ".join((attribute.description or "").split())
    return found


docstring_parser.parse_from_object = _read  # by which tyro reads them


@_registry.primitive_rule
def _path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    """How tyro reads and shows a path."""
    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: _named(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def _named(word: str) -> Path:
    if not word:
        raise OSError("a path is empty: name a file or a folder, or leave the option out")  # tyro boxes ValueErrors
    return Path(word)
