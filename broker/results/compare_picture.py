"""A small picture of where two rasters differ: each cell shows the largest difference of the pixels in it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from broker.results.compare_numbers import Array

SIDE = 512  # cells at most along a side
_NOTHING, _SAME, _ALONE = (221, 221, 221), (255, 255, 255), (0, 90, 181)
_SMALL, _LARGE = (254, 224, 144), (165, 0, 38)


class Picture:
    """Grey: no data; white: equal; yellow to red: up to the largest difference; blue: only one has data."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.step = max(1, -(-max(height, width) // SIDE))
        self._cells = np.full((-(-height // self.step), -(-width // self.step)), -1.0)

    def rows(self, block: int) -> Iterator[tuple[int, int]]:
        """Where blocks begin and how long they are; none cuts a cell."""
        return self._blocks(self.height, block)

    def columns(self, block: int) -> Iterator[tuple[int, int]]:
        return self._blocks(self.width, block)

    def _blocks(self, length: int, block: int) -> Iterator[tuple[int, int]]:
        size = self.step * max(1, block // self.step)
        for start in range(0, length, size):
            yield start, min(size, length - start)

    def add(self, far: Array, row: int, column: int) -> None:
        """Differences of a block; NaN: no data, infinity: only one has data."""
        step = self.step
        height, width = -(-far.shape[0] // step), -(-far.shape[1] // step)
        padded = np.full((height * step, width * step), -1.0)
        padded[: far.shape[0], : far.shape[1]] = np.where(np.isnan(far), -1.0, far)
        most = padded.reshape(height, step, width, step).max(axis=(1, 3))
        here = self._cells[row // step : row // step + height, column // step : column // step + width]
        np.maximum(here, most, out=here)

    def png(self) -> bytes:
        """The picture, with rows of 8-bit RGB."""
        cells = self._cells
        finite = cells[np.isfinite(cells)]
        largest = max(float(finite.max(initial=0.0)), 0.0)
        share = np.clip(np.where(np.isfinite(cells), cells, 0) / (largest or 1.0), 0, 1)[..., None]
        colour = np.array(_SMALL) + share * (np.array(_LARGE) - np.array(_SMALL))
        colour[cells == 0] = _SAME
        colour[cells < 0] = _NOTHING
        colour[np.isinf(cells)] = _ALONE
        return png(colour.astype(np.uint8))


def png(pixels: Array) -> bytes:
    """A PNG of an array (height, width, 3) of bytes."""
    height, width, _ = pixels.shape
    raw = b"".join(b"\0" + pixels[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(name, data) for name, data in parts)


def _part(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
