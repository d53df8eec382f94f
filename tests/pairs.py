"""The options of `uwct stylize` in pairs; `python tests/pairs.py` writes docs/together.md of what is refused.

A row of OPTIONS is tried with every other in a folder with photos (photo.jpg, cutout.png), styles (a.png, b.png), a
mask (left.png), a model (tiny.safetensors) and a style of that model (style.safetensors).
"""

from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "together.md"
BASE = {"--content": ["photo.jpg"], "--style": ["a.png"], "--levels": ["1"], "--model": ["tiny.safetensors"]}
# Each with the words that a page shows, and what it adds to BASE or replaces in it.
OPTIONS = {
    "several styles": {"--style": ["a.png", "b.png"]},
    "weights a level": {
        "--style": ["a.png", "b.png"],
        "--levels": ["2", "1"],
        "--style-weights": ["1", "0", "1", "2"],
    },
    "a style file": {"--style": ["style.safetensors"]},
    "`--style-mask`": {"--style-mask": ["left.png"]},
    "`--region` with a style": {"--region": ["left.png", "b.png"]},
    "`--region` that is kept": {"--region": ["left.png"]},
    "`--keep-colors luminance`": {"--keep-colors": ["luminance"]},
    "`--keep-colors matched`": {"--keep-colors": ["matched"]},
    "`--transform wct`": {"--transform": ["wct"]},
    "`--transform adain`": {"--transform": ["adain"]},
    "`--transform whiten`": {"--transform": ["whiten"]},
    "`--patches`": {"--patches": [], "--levels": ["3"]},  # at level 1, 5,600 patches
    "`--photo`": {"--photo": []},
    "`--refine`": {"--refine-steps": ["2"]},
    "`--steps`": {"--steps": []},
    "transparency": {"--content": ["cutout.png"]},
    "windows (`--tile 64`)": {"--tile": ["64"]},
    "a folder of photos": {"--content": ["photos"], "--output": ["out"]},
    "`--compat`": {"--compat": ["floor"], "--alpha": ["0.5"]},
}
# What is refused, and why: every other pair works.
SEVERAL = "patches are taken of one style picture"
STATISTICS = "a style file holds statistics, not the picture"
COMPAT = "it computes as other projects do, which have nothing like it"
OURS = (
    "`--style-mask",
    "`--region",
    "`--keep",
    "`--transform a",
    "`--transform whi",
    "`--patches",
    "`--photo`",
    "`--refine",
    "`--steps",
    "windows",
)
REFUSED = {
    ("several styles", "`--patches`"): SEVERAL,
    ("weights a level", "`--patches`"): SEVERAL,
    ("a style file", "`--patches`"): STATISTICS,
    ("a style file", "`--style-mask`"): STATISTICS,
    ("a style file", "`--keep-colors matched`"): STATISTICS,
    ("`--style-mask`", "`--patches`"): "a patch is compared whole, so cannot be masked",
    ("`--patches`", "windows (`--tile 64`)"): "every patch is compared with the whole photo's",
    ("`--transform whiten`", "`--refine`"): "there is no style to refine towards",
    ("several styles", "`--style-mask`"): "each style needs a mask of its own: name as many masks as styles",
    ("weights a level", "`--style-mask`"): "each style needs a mask of its own: name as many masks as styles",
    ("several styles", "`--compat`"): COMPAT,
    ("weights a level", "`--compat`"): COMPAT,
    ("a style file", "`--compat`"): STATISTICS,
    **{(name, "`--compat`"): COMPAT for name in OPTIONS if name.startswith(OURS)},
}


def words(*names: str) -> list[str]:
    """The command's words for the options of some rows together."""
    chosen = {**BASE}
    for name in names:
        for option, values in OPTIONS[name].items():
            if len(values) < len(chosen.get(option, ())) and option == "--levels":
                continue  # weights a level stay as many as the levels
            both = option == "--style" and len(chosen[option]) > 1 and values != ["style.safetensors"]
            if both:
                continue  # the mixture stays one beside another row's
            mixed = option == "--style" and values == ["style.safetensors"] and len(chosen[option]) > 1
            chosen[option] = [*values, *chosen[option][1:]] if mixed else values
    if "--output" in chosen and chosen["--content"] == ["cutout.png"]:
        chosen["--content"] = ["cutouts"]
    return [word for option, values in chosen.items() for word in (option, *values)]


INTRODUCTION = """# What goes together

Every pair of these options of `uwct stylize` is tried by the tests. The few that are refused, with one clear sentence,
have their reasons below. (`python tests/pairs.py` writes this page.)

"""
END = """
`uwct video` takes all of them but patches, matched colors (each scene has its own), steps, windows and `--compat`, and
instead of photos a folder of frames. `uwct texture`, which has no photo, takes styles and their mixtures, weights,
files and masks, the transforms and `--refine`.
"""


def document() -> str:
    """The page."""
    names = list(OPTIONS)
    lines = ["| | " + " | ".join(map(str, range(1, len(names) + 1))) + " |", "| --- " * (len(names) + 1) + "|"]
    for i, row in enumerate(names):
        refused = [(row, other) in REFUSED or (other, row) in REFUSED for other in names]
        cells = ["·" if i == j else "**no**" if no else "yes" for j, no in enumerate(refused)]
        lines.append(f"| {i + 1} {row} | " + " | ".join(cells) + " |")
    lines += ["", "| what is refused | why |", "| --- | --- |"]
    lines += [f"| {a} with {b} | {why} |" for (a, b), why in REFUSED.items()]
    return INTRODUCTION + "\n".join(lines) + "\n" + END


if __name__ == "__main__":
    DOCUMENT.write_text(document())
