"""The two transformers of DiGIT against OPT and against the formulas written out; sizes and names as published."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch

from modalities.generators.digit import cost
from modalities.generators.digit.config import DiGITConfig, StageConfig, expected_shapes
from modalities.generators.digit.model import DiGIT, read_prompt
from modalities.generators.digit.sampling import MASKED
from tests.modalities.digit.tiny_digit import (
    OPT,
    PUBLISHED,
    TEXT,
    class_ids,
    plain_ids,
    sentences,
    tiny_digit,
    written_out,
)

LARGE = StageConfig(dim=1536, layers=24, heads=16, ffn=6144, pre_norm=False)


def drawn(config: DiGITConfig, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randint(config.clusters, (batch, config.tokens), generator=generator)
    return tokens, torch.randint(config.codes, (batch, config.num_codes), generator=generator)


def test_the_published_sizes_have_the_published_numbers_of_parameters():
    def count(config: DiGITConfig, stage: str) -> int:
        return sum(prod(shape) for name, shape in expected_shapes(config).items() if name.startswith(stage))

    assert count(DiGITConfig(), "semantic.") == 219_377_664
    assert count(DiGITConfig(), "decoder.") == 214_144_000
    assert count(DiGITConfig(clusters=16384, semantic=LARGE), "semantic.") == pytest.approx(731.88e6, rel=1e-5)
    assert count(DiGITConfig(classes=1000), "semantic.") == 219_377_664 + 1000 * 1024
    assert cost.parameters({}) == 219_377_664 + 214_144_000


@pytest.mark.parametrize("config", [DiGITConfig(), replace(DiGITConfig(), classes=1000), TEXT])
def test_the_modules_hold_exactly_the_expected_tensors(config: DiGITConfig):
    with torch.device("meta"):
        model = DiGIT(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == expected_shapes(config)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_first_stage_is_opt(pre_norm: bool):
    config = replace(PUBLISHED, semantic=replace(PUBLISHED.semantic, pre_norm=pre_norm))
    model = tiny_digit(config)
    tokens, _ = drawn(config)
    found = model.semantic_logits(tokens, read_prompt(config, class_ids(-1, -1, -1)))
    wanted = OPT(model.semantic).logits(plain_ids(tokens))
    assert found.shape == (3, 17, 35)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_the_second_stage_is_opt_with_two_tables_of_positions():
    model = tiny_digit()
    tokens, codes = drawn(PUBLISHED)
    ids = torch.cat([tokens + 5 + 45, plain_ids(codes)], dim=1)
    wanted = OPT(model.decoder, prefix=16).logits(ids)[:, 16:]
    found = model.decoder_logits(codes, tokens)
    assert found.shape == (3, 17, 45)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_a_class_is_a_row_behind_those_of_the_ids():
    config = replace(PUBLISHED, classes=4)
    model = tiny_digit(config)
    tokens, _ = drawn(config, batch=2)
    found = model.semantic_logits(tokens, read_prompt(config, class_ids(3, 0)))
    reference = OPT(model.semantic)
    wanted = torch.cat([reference.logits(plain_ids(tokens[:1], 38)), reference.logits(plain_ids(tokens[1:], 35))])
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_masked_codes_see_everything():
    model = tiny_digit(replace(PUBLISHED, code_grid=(2, 4)))
    tokens, codes = drawn(model.config, batch=1)
    codes[0, [1, 2, 7]] = MASKED
    ids = torch.where(codes == MASKED, 3, codes + 5)
    p = model.decoder.state_dict()
    rows = p["embed_tokens.weight"]
    before = rows[45 + 5 + tokens[0]] * 24**0.5 + p["embed_positions_1.weight"][2:18]
    after = rows[torch.cat([torch.tensor([2]), ids[0]])] * 24**0.5 + p["embed_positions.weight"][2:11]
    wanted = written_out(model.decoder, torch.cat([before, after]), torch.ones(25, 25, dtype=torch.bool))[17:]
    found = model.masked_logits(codes, tokens)[0]
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    some = torch.tensor([[6, 1]])
    assert torch.allclose(model.masked_logits(codes, tokens, some)[0], found[some[0]], atol=1e-6)


def test_text_stands_before_the_tokens_and_padding_is_not_seen():
    model = tiny_digit(TEXT)
    tokens, _ = drawn(TEXT, batch=2)
    conditioning = sentences(4, 2)
    found = model.semantic_logits(tokens, read_prompt(TEXT, conditioning))
    p = model.semantic.state_dict()
    for i, length in enumerate((4, 2)):
        features = torch.nn.functional.layer_norm(
            conditioning.tokens[i, :length], (10,), p["text_norm.weight"], p["text_norm.bias"]
        )
        text = features @ p["text_projection.weight"].T + p["text_projection.bias"]
        text = text + p["text_positions.weight"][:length]
        ids = torch.cat([torch.tensor([2]), tokens[i] + 5])
        image = p["embed_tokens.weight"][ids] * 32**0.5 + p["embed_positions.weight"][2 : 2 + len(ids)]
        seen = torch.ones(length + 7, length + 7, dtype=torch.bool).tril()
        seen[:, :length] = True
        wanted = written_out(model.semantic, torch.cat([text, image]), seen)[length:]
        assert (found[i] - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_text_beyond_the_table_is_cut():
    model = tiny_digit(TEXT)
    tokens, _ = drawn(TEXT, batch=1)
    long = sentences(9)
    cut = model.semantic_logits(tokens, read_prompt(TEXT, type(long)(tokens=long.tokens[:, :5], mask=long.mask[:, :5])))
    assert torch.equal(model.semantic_logits(tokens, read_prompt(TEXT, long)), cut)


@pytest.mark.parametrize(
    ("config", "conditioning", "message"),
    [
        (TEXT, sentences(3, width=9), "9 wide; this model reads 10"),
        (PUBLISHED, class_ids(2), "leave the prompt empty"),
        (PUBLISHED, sentences(3), "neither classes nor sentences"),
        (replace(PUBLISHED, classes=4), sentences(3), "4 classes, not sentences"),
        (replace(PUBLISHED, classes=4), class_ids(4), "class 4 is not one of the 4"),
        (replace(PUBLISHED, classes=4), class_ids(1, -1), "no null condition"),
    ],
)
def test_a_conditioning_of_another_kind_is_refused(config: DiGITConfig, conditioning, message: str):
    with pytest.raises(ValueError, match=message):
        read_prompt(config, conditioning)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cluster": 3}, "unknown cluster.*did you mean clusters"),
        ({"semantic": {"dims": 3}}, "semantic stage: unknown dims.*did you mean dim"),
        ({"semantic": {"dim": 30, "heads": 4}}, "30 is no multiple of heads 4"),
        ({"classes": 10, "text_width": 8, "text_tokens": 3}, "classes, text or neither"),
        ({"text_width": 8}, "both or neither"),
        ({"grid": [16]}, "two numbers"),
        ({"decoder": {"positions": 256}}, "decoder.positions is 256; 257 are needed"),
        ({"decoder_order": "raster"}, "known: autoregressive, masked"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(values, message: str):
    with pytest.raises(ValueError, match=message):
        DiGITConfig.from_mapping(values)


def test_a_configuration_survives_json():
    for config in (DiGITConfig(), TEXT):
        assert DiGITConfig.from_mapping(config.to_mapping()) == config
    assert DiGITConfig.from_mapping({"semantic": {"layers": 3}}).semantic == StageConfig(layers=3, pre_norm=False)


def test_costs_are_those_of_every_matrix_product():
    config = {**TEXT.to_mapping()}
    layer = 8 * 32 * 32 + 4 * 32 * 48
    first = 2 * (6 * layer + 4 * 32 * sum(3 + i for i in range(1, 7))) + 2 * 6 * 32 * 35
    layer = 8 * 24 * 24 + 4 * 24 * 48
    second = 2 * (22 * layer + 4 * 24 * sum(range(1, 23))) + 2 * 16 * 24 * 45
    assert cost.flops(config, 22, 3) == first + second
    assert cost.tokens(config, (4, 4)) == 22
    with pytest.raises(ValueError, match="makes \\(4, 4\\) alone"):
        cost.tokens(config, (4, 5))
    assert cost.activation_bytes(config, 22, 2, 4) == 2 * cost.activation_bytes(config, 22, 1, 4)
