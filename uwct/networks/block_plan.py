"""How a 3x3 convolution goes on a CPU, and how many rows at a time: what was measured to be fastest."""

import math
from typing import Any, NamedTuple

from uwct.networks.block_products import FEW_CHANNELS, ROW_TILE
from uwct.networks.winograd import Tile

# Elements of the input that one block of rows may hold: with what is gathered from them, about a level-2 cache.
BLOCK_ELEMENTS = 2**18
# Up to so many channels or outputs, a product makes two pixels as they are: cheaper than parts and additions.
NARROW_PIXELS = 16
# Up to so many channels and outputs, 16 bits are as fast computed in float32, and compiled in a third of the time.
WIDENED_CHANNELS = 32
# What a tile of rows becomes after up-sampling.
UPSAMPLED_ROW_TILE = (8, 1)
# From so many channels and outputs on, and so many multiplications a tap, large tiles are worth their additions.
LARGE_TILE, TILED_CHANNELS, TILED_WORK = (2, 4), 64, 2**29
# Tiles that are computed mostly by products, and so as fast however their program is compiled.
OF_PRODUCTS = (LARGE_TILE, ROW_TILE, UPSAMPLED_ROW_TILE)
# From so many channels on, each of the nine taps is worth a product of its own, and so is each pixel of a square.
WIDE_CHANNELS = 128


class Plan(NamedTuple):
    """How features are computed.

    Attributes:
      tile: the rows and columns of outputs that are computed together.
      rows: the rows of features that a block holds.
      apart: the rows and columns of outputs that come as `Parts`.
      by_rows: whether it is by `row_tiles`.
    """

    tile: Tile
    rows: int
    apart: Tile
    by_rows: bool


def tile_of(x: Any, kernel: Any, upsampled: bool = False) -> Tile:
    """The rows and columns of outputs that are computed together from features `x[..., H, W, C]`."""
    height, width, _ = x.shape[-3:]
    narrowest = min(kernel.shape[2:])
    float32, tall = x.dtype.itemsize > 2, height >= ROW_TILE[0] and narrowest > FEW_CHANNELS
    if upsampled:
        if float32 and tall and narrowest < WIDE_CHANNELS:
            return UPSAMPLED_ROW_TILE
        return 2, 1 if narrowest <= NARROW_PIXELS else 2
    heavy = narrowest >= TILED_CHANNELS and math.prod(x.shape) * kernel.shape[3] >= TILED_WORK
    if heavy and float32 and height % 2 == width % 4 == 0:
        return LARGE_TILE
    if tall and (float32 or max(kernel.shape[2:]) <= WIDENED_CHANNELS):
        return ROW_TILE
    return (1, 1) if narrowest <= NARROW_PIXELS or width % 2 else (1, 2)


def plan_of(x: Any, kernel: Any, upsampled: bool = False) -> Plan:
    """The plan for features `x[..., H, W, C]`."""
    *batch, height, width, channels = x.shape
    tile = tile_of(x, kernel, upsampled)
    by_rows = tile in (ROW_TILE, UPSAMPLED_ROW_TILE)
    elements = BLOCK_ELEMENTS
    if tile == LARGE_TILE:  # which share a block out to many products
        elements *= 4
    elif tile == ROW_TILE and TILED_CHANNELS <= channels < 2 * WIDE_CHANNELS:  # else a product has too few pixels
        elements *= 2
    expanded = 4 * width if upsampled and not by_rows else width
    rows = rows_in_cache((*batch, height, expanded, channels), elements, ROW_TILE[0] if by_rows else 2)
    return Plan(tile, rows, (2 if upsampled else 1, 1) if by_rows else tile, by_rows)


def rows_in_cache(shape: tuple[int, ...], elements: int, several: int = 2) -> int:
    """The rows of features `[..., H, W, C]` that a block holds; of few channels, many more are gathered or come out.

    They are a multiple of `several`, where there are so many.
    """
    *batch, height, width, channels = shape
    most = elements // max(1, math.prod(batch) * width * max(channels, NARROW_PIXELS))
    most = max(several, min(most, height) // several * several)
    each = -(-height // -(-height // most))  # no more than it takes for as many blocks, whose last would reach too far
    return min(height, -(-each // several) * several)
