"""Numbers of few bits: packed rows of 4 or 5 bits with a step and an offset each.

A packed row holds codes c_j; its values are offset + step * c_j. Eight codes of b bits are one little-endian string of
b bytes, so a row's length must be a multiple of eight.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 8


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """Codes `[rows, n]` below 2**bits to bytes `[rows, n * bits / 8]`; n must be a multiple of eight."""
    rows, columns = codes.shape
    if columns % GROUP:
        raise ValueError(f"rows are packed in groups of {GROUP} codes; got {columns} columns")
    groups = codes.to(torch.int64).reshape(rows, -1, GROUP)
    words = (groups << (bits * torch.arange(GROUP))).sum(dim=-1)
    return ((words[..., None] >> (8 * torch.arange(bits))) & 255).to(torch.uint8).reshape(rows, -1)


def unpack_codes(packed: Tensor, bits: int) -> Tensor:
    """Inverse of `pack_codes`: bytes `[rows, bytes]` to int64 codes `[rows, bytes * 8 / bits]`, on any device."""
    groups = packed.to(torch.int64).reshape(packed.shape[0], packed.shape[1] // bits, bits)
    words: Tensor = (groups << (8 * torch.arange(bits, device=packed.device))).sum(dim=-1)
    codes: Tensor = words[..., None] >> (bits * torch.arange(GROUP, device=packed.device))
    return codes.bitwise_and(2**bits - 1).flatten(1)


def quantise_rows(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, steps and offsets of `values` `[rows, n]`, each row on `levels[row]` equally spaced levels.

    Returns int64 codes `[rows, n]`, float16 steps `[rows]` and float16 offsets `[rows]`. A row of k distinct equally
    spaced values is kept as it is (up to the rounding of step and offset) when it gets at least k levels.
    """
    lowest, highest = values.amin(dim=1), values.amax(dim=1)
    step = ((highest - lowest) / (levels - 1)).clamp_min(1e-6).to(torch.float16)
    offset = lowest.to(torch.float16)
    codes = torch.round((values - lowest[:, None]) / step.float()[:, None])
    return codes.clamp(min=0).minimum(levels[:, None] - 1).to(torch.int64), step, offset


class PackedTable:
    """An embedding table of packed rows, unpacked on use: the first ids have 4 bits (`narrow`), others 5 (`wide`)."""

    def __init__(self, narrow: Tensor, wide: Tensor, step: Tensor, offset: Tensor) -> None:
        if narrow.shape[0] + wide.shape[0] != step.shape[0] or step.shape != offset.shape:
            raise ValueError("the table's rows, steps and offsets differ in number")
        self.narrow, self.wide, self.step, self.offset = narrow, wide, step, offset

    def __len__(self) -> int:
        return self.step.shape[0]

    def to(self, device: torch.device | str) -> PackedTable:
        """The same table on a device."""
        return PackedTable(*(part.to(device) for part in (self.narrow, self.wide, self.step, self.offset)))

    def __call__(self, ids: Tensor) -> Tensor:
        """Float32 rows `[n, columns]` of the ids `[n]`."""
        split = self.narrow.shape[0]
        low = ids < split
        codes = torch.empty(ids.shape[0], self.narrow.shape[1] * 2, dtype=torch.int64, device=ids.device)
        codes[low] = unpack_codes(self.narrow[ids[low]], 4)
        codes[~low] = unpack_codes(self.wide[ids[~low] - split], 5)
        return codes * self.step[ids].float()[:, None] + self.offset[ids].float()[:, None]
