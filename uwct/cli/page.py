"""The page of `uwct web`, in Gradio: what is on it, and what its buttons do."""

import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from uwct.cli.errors import FAULTS, sentence
from uwct.cli.painter import KeepColors, Painter, Wish
from uwct.cli.refining import EVERY
from uwct.pictures import images
from uwct.pipeline.presets import PRESETS

MIXED = 4  # styles at once
THUMBNAIL, PREVIEW = 240, 640  # long sides in pixels, of styles in the gallery, and of the photo that is painted over
# A font that comes with Gradio, so that nothing is fetched; its weight 600, the default, lacks most letters there.
THEME = gr.themes.Default(primary_hue="indigo", font=[gr.themes.LocalFont("Source Sans Pro", (400, 700)), "sans-serif"])
CSS = """
.gradio-container {max-width: 1200px !important; margin: auto}
#styles {min-height: 0}
#styles .grid-wrap {min-height: 0; max-height: 340px}
footer {display: none !important}
"""
LEVELS = {
    5: "Composition and large patterns",
    4: "Strokes",
    3: "Small patterns",
    2: "Fine texture",
    1: "Colors",
}
MANNERS = {
    "gentle": "Gentle: details stay",
    "paint": "Paint: strokes and colors",
    "texture": "Texture: the style takes over",
    "shallow": "Shallow: colors and fine texture",
    "deep": "Deep: large patterns",
    "colors": "Colors only",
}
COLORS: dict[str, KeepColors | None] = {
    "no": None,
    "yes: only light and dark change": "luminance",
    "yes: the style takes them on first": "matched",
}
KEEP, STYLE = "stays as it is", "gets the style, and nothing else does"

Shelf = list[tuple[Path, Image.Image]]  # the styles of the gallery: their files, and how they look there


def build(
    painter: Painter,
    styles: list[Path],
    cache: Path,
    promise: str = "Your pictures stay on this computer.",
    seconds: float = math.inf,
) -> gr.Blocks:
    """The page; its gallery shows the `styles`, and results lie in `cache` until they are downloaded.

    The `promise` says what becomes of pictures. Refinement ends early when a picture takes more than `seconds`.
    """
    shelf_at_first = readable(styles)
    levels = [level for level in LEVELS if level in painter.model.levels]
    manners = [(MANNERS[name], name) for name, preset in PRESETS.items() if set(preset.levels) <= set(levels)]

    def strengths_of(name: str) -> list[float]:
        strengths = dict(zip(PRESETS[name].levels, PRESETS[name].alpha, strict=True))
        return [strengths.get(level, 0) for level in levels]

    with gr.Blocks(title="uwct: paint a photo", analytics_enabled=False, fill_width=True) as page:
        shelf, chosen = gr.State(shelf_at_first), gr.State([])
        gr.Markdown(
            "# Paint a photo in the manner of any picture\n"
            f"Give it a photo, click one style or several, press **Paint**. {promise} "
            "The first picture of each size takes some seconds longer."
        )
        with gr.Row(equal_height=True):
            photo = gr.Image(
                label="Photo", type="filepath", sources=["upload", "webcam", "clipboard"], height=360, buttons=[]
            )
            # Gradio would decode it, and what is no picture would end in a traceback.
            photo.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign, unused-ignore]
            result = gr.Image(
                label="Result", type="filepath", interactive=False, height=360, buttons=["fullscreen"], elem_id="result"
            )
        with gr.Row():
            with gr.Column():
                gr.Markdown("**Styles**: click to choose, click again to leave out; several are mixed")
                gallery = gr.Gallery(
                    pictures(shelf_at_first, []), show_label=False, columns=5, height="auto", allow_preview=False,
                    object_fit="cover", buttons=[], elem_id="styles",
                )  # fmt: skip
                add = gr.UploadButton("Add a picture as a style", file_types=["image"], size="sm")
                shares = [gr.Slider(0, 1, 1, step=0.05, visible=False, buttons=[]) for _ in range(MIXED)]
                kept = gr.Radio(list(COLORS), value=next(iter(COLORS)), label="Keep the photo's colors?")
                with gr.Accordion("Only a part of the photo", open=False):
                    part = gr.Radio([KEEP, STYLE], value=KEEP, label="What you paint over")
                    mask = gr.ImageEditor(
                        label="Paint over a part", type="pil", sources=(), transforms=(), layers=False, buttons=[],
                        brush=gr.Brush(colors=["#e11d48"], color_mode="fixed"),
                    )  # fmt: skip
            with gr.Column():
                with gr.Row():
                    go = gr.Button("Paint", variant="primary")
                    stop = gr.Button("Cancel")
                    download = gr.DownloadButton("Download (PNG)", interactive=False)
                refine = gr.Checkbox(
                    label="Refine (slower, finer)",
                    info="Brushwork where there were blobs: some 30 seconds at 512 pixels. Cancel keeps what is shown.",
                )
                photographic = gr.Checkbox(
                    label="Stay a photograph",
                    info="The style's light and colors, but no strokes. Best with another photo as the style.",
                )
                manner = gr.Radio(manners, value="paint", label="Manner")
                gr.Markdown("**Strength**, from coarse to fine: 0 leaves it out, 1 is all style")
                with gr.Group():
                    strengths = [
                        gr.Slider(0, 1, alpha, step=0.05, label=LEVELS[level], buttons=[])
                        for level, alpha in zip(levels, strengths_of("paint"), strict=True)
                    ]

        def show_photo(path: str | None) -> Any:
            if path is None:
                return gr.skip(), None
            try:
                picture = thumbnail(Path(path), PREVIEW)
            except FAULTS as fault:
                gr.Warning(sentence(fault))
                return None, None
            return gr.skip(), {"background": picture, "layers": [], "composite": None}

        def toggle(event: gr.SelectData, shelf: Shelf, chosen: list[Path], *shares: float) -> Any:
            return choose(shelf, chosen, shares, shelf[event.index][0])

        def add_style(file: str, shelf: Shelf, chosen: list[Path], *shares: float) -> Any:
            path = Path(file)
            try:
                shelf = [*shelf, (path, thumbnail(path))]
            except FAULTS as fault:
                gr.Warning(sentence(fault))
                return (gr.skip(),) * (3 + MIXED)
            return shelf, *choose(shelf, chosen, shares, path)

        def paint(
            photo: str | None, chosen: list[Path], kept: str, part: str, mask: Any, refine: bool,
            photographic: bool, *numbers: float, progress: Any = gr.Progress(),  # noqa: B008  (so Gradio knows to give one)
        ) -> Iterator[Any]:  # fmt: skip
            deadline = time.monotonic() + seconds
            try:
                if photo is None:
                    raise ValueError("Choose a photo first.")
                wish = Wish(
                    Path(photo),
                    dict(zip(chosen, numbers[:MIXED], strict=False)) if len(chosen) > 1 else dict.fromkeys(chosen, 1.0),
                    dict(zip(levels, numbers[MIXED:], strict=True)),
                    COLORS[kept],
                    painted_over(mask),
                    part == KEEP,
                    refine,
                    photographic,
                )
                name = "-".join([Path(photo).stem, *(path.stem for path in chosen)])
                for stage in painter.stages(wish):  # between two of them it can be cancelled
                    late = stage.done < stage.total and time.monotonic() > deadline
                    if stage.done % EVERY and stage.done < stage.total and not late:
                        progress((stage.done, stage.total), "Refining", unit="steps")
                        yield gr.skip(), gr.skip()
                        continue
                    file = Path(tempfile.mkdtemp(dir=cache)) / f"{name[:100]}.png"
                    images.write(file, stage.picture())
                    yield str(file), gr.DownloadButton(value=str(file), interactive=True)
                    if late:
                        gr.Warning(f"Refined in {stage.done} of {stage.total} steps: here {seconds:g} seconds are all.")
                        return
            except FAULTS as fault:
                gr.Warning(sentence(fault))
                yield gr.skip(), gr.skip()

        gr.on([photo.input, photo.clear], show_photo, photo, [photo, mask], show_progress="hidden")
        gallery.select(toggle, [shelf, chosen, *shares], [chosen, gallery, *shares], show_progress="hidden")
        add.upload(add_style, [add, shelf, chosen, *shares], [shelf, chosen, gallery, *shares], show_progress="hidden")
        manner.input(strengths_of, manner, strengths, show_progress="hidden")
        gr.on([slider.input for slider in strengths], lambda: None, None, manner, show_progress="hidden")
        everything = [photo, chosen, kept, part, mask, refine, photographic, *shares, *strengths]
        painting = go.click(paint, everything, [result, download], concurrency_limit=1, show_progress_on=result)
        stop.click(None, cancels=painting)
    return page


def choose(shelf: Shelf, chosen: list[Path], shares: tuple[float, ...], path: Path) -> Any:
    """What is chosen when `path` is clicked, and how the gallery and the sliders of the shares look then."""
    mixture = dict(zip(chosen, shares, strict=False))
    if path in mixture:
        del mixture[path]
    elif len(mixture) < MIXED:
        mixture[path] = 1.0
    else:
        gr.Warning(f"At most {MIXED} styles can be mixed; click one of them to leave it out.")
    sliders = [
        gr.Slider(value=share, label=f"Share of {p.stem}", visible=len(mixture) > 1) for p, share in mixture.items()
    ]
    sliders += [gr.Slider(visible=False)] * (MIXED - len(sliders))
    return list(mixture), gr.Gallery(pictures(shelf, list(mixture)), selected_index=None), *sliders


def pictures(shelf: Shelf, chosen: list[Path]) -> list[tuple[Image.Image, str]]:
    """The gallery, with a mark at what is chosen."""
    return [(picture, ("✓ " if path in chosen else "") + path.stem.replace("_", " ")) for path, picture in shelf]


def readable(styles: list[Path]) -> Shelf:
    """The styles that can be read; of the others it is said what is wrong."""
    shelf = []
    for path in styles:
        try:
            shelf.append((path, thumbnail(path)))
        except FAULTS as fault:
            print(f"error: {sentence(fault)}", file=sys.stderr)
    return shelf


def thumbnail(path: Path, side: int = THUMBNAIL) -> Image.Image:
    """A picture, at most `side` pixels long; raises ValueError or OSError for a file that is none."""
    picture = Image.fromarray(images.decode_uint8(path.read_bytes(), path.name))
    picture.thumbnail((side, side))
    return picture


def painted_over(mask: Any) -> np.ndarray | None:
    """Where the editor's picture was painted over, `[H, W]` in [0, 1]; None where there is none."""
    layers = mask["layers"] if mask else []
    return np.max([np.asarray(layer)[..., 3] / 255 for layer in layers], axis=0) if layers else None
