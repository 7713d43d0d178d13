"""Packed codes and tables."""

from __future__ import annotations

import pytest
import torch

from modalities.text.quantised import (
    PackedTable,
    pack_codes,
    quantise_rows,
    unpack_codes,
)


@pytest.mark.parametrize("bits", [1, 4, 5, 7])
def test_codes_survive_packing(bits: int) -> None:
    codes = torch.randint(0, 2**bits, (6, 48), generator=torch.Generator().manual_seed(bits))
    packed = pack_codes(codes, bits)
    assert packed.shape == (6, 48 * bits // 8)
    assert torch.equal(unpack_codes(packed, bits), codes)
    assert unpack_codes(packed[:0], bits).shape == (0, 48)


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="groups of 8"):
        pack_codes(torch.zeros(2, 12), 4)


def test_equally_spaced_values_are_kept() -> None:
    values = torch.randint(0, 16, (5, 64)).float() * 0.25 - 2
    values[:, 0], values[:, 1] = -2, 1.75
    codes, step, offset = quantise_rows(values, torch.full((5,), 16))
    torch.testing.assert_close(codes * step.float()[:, None] + offset.float()[:, None], values)


def test_a_table_gives_the_rows_of_both_widths() -> None:
    values = torch.randn(7, 16, generator=torch.Generator().manual_seed(0))
    packed, steps, offsets = [], [], []
    for part, bits in ((values[:4], 4), (values[4:], 5)):
        codes, step, offset = quantise_rows(part, torch.full((len(part),), 2**bits))
        packed.append(pack_codes(codes, bits))
        steps.append(step)
        offsets.append(offset)
    table = PackedTable(packed[0], packed[1], torch.cat(steps), torch.cat(offsets))
    ids = torch.tensor([6, 0, 3, 4, 4])
    half_step = torch.cat(steps).float()[ids][:, None] * 0.51 + 2e-3
    assert len(table) == 7
    assert ((table(ids) - values[ids]).abs() <= half_step).all()
    assert torch.equal(table(ids)[3], table(torch.tensor([4]))[0])
