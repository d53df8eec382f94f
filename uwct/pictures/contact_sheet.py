"""A contact sheet: pictures in a grid, with a label above every column and every row."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from uwct.pictures.images import Picture
from uwct.pictures.spaces import in_space, srgb

GAP = 8  # pixels between cells
FONT_SIZE = 14


def sheet_shape(rows: int, columns: int, cell: int) -> tuple[int, int]:
    """The (height, width) in pixels of a contact sheet."""
    line = FONT_SIZE + GAP
    return rows * (cell + line + GAP) + line + GAP, columns * (cell + GAP) + GAP


def contact_sheet(
    rows: Sequence[Sequence[Picture | None]], row_labels: Sequence[str], column_labels: Sequence[str], cell: int = 256
) -> Picture:
    """Lays pictures out in cells of `cell` pixels a side; None leaves a cell empty.

    Each picture is reduced to fit its cell and centred in it, in sRGB, whose profile the sheet carries. Labels too long
    for their cell are cut. Raises ValueError when the labels are not as many as the rows and columns.
    """
    columns = len(column_labels)
    if len(row_labels) != len(rows) or any(len(row) != columns for row in rows):
        raise ValueError(f"{len(rows)} rows of {columns} pictures need as many labels, not {len(row_labels)}")
    font = ImageFont.load_default(FONT_SIZE)
    line = FONT_SIZE + GAP
    sheet = Image.new("RGB", sheet_shape(len(rows), columns, cell)[::-1], "white")
    pen = ImageDraw.Draw(sheet)
    for j, label in enumerate(column_labels):
        pen.text((GAP + j * (cell + GAP), GAP), _cut(label, cell, font), "black", font)
    for i, (row, label) in enumerate(zip(rows, row_labels, strict=True)):
        top = line + GAP + i * (cell + line + GAP)
        pen.text((GAP, top), _cut(label, columns * (cell + GAP) - GAP, font), "black", font)
        for j, picture in enumerate(row):
            if picture is not None:
                rgb = in_space(picture).rgb
                image = Image.fromarray(np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8))
                image.thumbnail((cell, cell), Image.Resampling.LANCZOS)
                left = GAP + j * (cell + GAP) + (cell - image.width) // 2
                sheet.paste(image, (left, top + line + (cell - image.height) // 2))
    return Picture(np.asarray(sheet, np.float32) / 255, icc_profile=srgb())


def _cut(label: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while label and font.getlength(label) > width:
        label = label[:-1]
    return label
