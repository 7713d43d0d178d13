"""The Hugging Face encoder on a tiny random Gemma: the model's own numbers, padding, batches, limits, bad folders."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, GemmaConfig, GemmaModel, PreTrainedTokenizerFast

from modalities.contracts import CheckpointError, TextEncoder
from modalities.text.huggingface import PRESETS, HuggingFaceEncoder, load

WORDS = ["<pad>", "<unk>", "<bos>", "<eos>", "a", "red", "green", "apple", "car", "dog"]
WORDS += ["on", "blue", "background", "two", "three"]
PROMPTS = ["a red apple on a blue background", "", "two dog", "a red car", "green"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Gemma with a word tokenizer, saved as transformers saves them."""
    path = tmp_path_factory.mktemp("gemma")
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>"
    )
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    GemmaModel(config).save_pretrained(path)
    return path


def encoder_of(folder: Path, **options: Any) -> HuggingFaceEncoder:
    return load({"kind": "huggingface", "source": str(folder), **options}, "cpu", torch.float32)


def test_lumina_preset_is_the_hidden_state_before_the_last_layer(folder: Path) -> None:
    encoder = encoder_of(folder, preset="lumina-next")
    assert isinstance(encoder, TextEncoder)
    assert encoder.options == PRESETS["lumina-next"]
    assert encoder.width == 32
    model = AutoModel.from_pretrained(folder)
    for prompt in PROMPTS:
        ids = torch.tensor([[2, *[WORDS.index(word) for word in prompt.split()]]])
        with torch.no_grad():
            expected = model(ids, output_hidden_states=True).hidden_states[-2]
        got = encoder.encode([prompt])
        assert torch.equal(got.tokens, expected)
        assert got.mask.all()


def test_a_prompt_is_independent_of_its_batch_mates(folder: Path) -> None:
    encoder = encoder_of(folder, preset="lumina-next")
    alone = [encoder.encode([prompt]).tokens for prompt in PROMPTS]
    for order in ([0, 1, 2, 3, 4], [4, 2, 0], [3, 3, 1, 0]):
        batch = encoder.encode([PROMPTS[i] for i in order])
        assert not batch.tokens[~batch.mask].any()
        for i, part in zip(order, batch.split(), strict=True):
            assert torch.equal(part.tokens, alone[i])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_the_numbers(folder: Path, side: str) -> None:
    plain = encoder_of(folder, layer=-2).encode(PROMPTS)
    padded = encoder_of(folder, layer=-2, pad_to_multiple=8, padding_side=side).encode(PROMPTS)
    torch.testing.assert_close(padded.tokens, plain.tokens, atol=1e-5, rtol=1e-5)
    assert torch.equal(padded.mask, plain.mask)


def test_the_last_layer_is_normed_and_end_and_prefix_are_added(folder: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    ids = torch.tensor([[2, *[WORDS.index(word) for word in ("a", "red", "dog")], 3]])
    got = encoder_of(folder, add_eos=True, prefix="a ").encode(["red dog"])
    with torch.no_grad():
        torch.testing.assert_close(got.tokens, model(ids).last_hidden_state, atol=0, rtol=0)


def test_over_long_prompts_are_cut_and_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = encoder_of(folder, max_length=4)
    assert encoder.truncated("a red apple") == 0
    assert encoder.truncated("a red apple on blue") == 2
    with caplog.at_level(logging.WARNING):
        assert encoder.encode(["a red apple on blue"]).tokens.shape[1] == 4
    assert "2 lost" in caplog.text


def test_unknown_words_are_reported(folder: Path) -> None:
    assert encoder_of(folder).unknown_words("a zebra on two zebra") == ["zebra"]


def test_precision_and_dtype(folder: Path) -> None:
    half = encoder_of(folder, precision="bfloat16")
    tokens = half.encode(["a dog"]).tokens
    assert tokens.dtype == torch.float32, "the caller's dtype"
    assert half.model.dtype == torch.bfloat16
    assert half.fingerprint != encoder_of(folder).fingerprint
    assert encoder_of(folder).fingerprint == encoder_of(folder).fingerprint


def test_other_weights_have_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    encoder = encoder_of(folder)
    with torch.no_grad():
        encoder.model.embed_tokens.weight.mul_(1.5)
    encoder.model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    assert encoder_of(tmp_path).fingerprint != encoder.fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "flux"}, "lumina-next"),
        ({"layers": 2}, "layers"),
        ({"layer": 9}, "hidden states"),
        ({"padding_side": "middle"}, "padding_side"),
        ({"precision": "int3"}, "precision"),
        ({"max_length": 0}, "max_length"),
    ],
)
def test_bad_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder_of(folder, **options)


def test_a_token_that_the_tokenizer_lacks_is_not_added(folder: Path) -> None:
    encoder = encoder_of(folder)
    encoder.tokenizer.bos_token = None
    with pytest.raises(ValueError, match="add_bos"):
        HuggingFaceEncoder(encoder.tokenizer, encoder.model, encoder.options, dtype=torch.float32, fingerprint="x")


def test_a_source_is_needed() -> None:
    with pytest.raises(ValueError, match="source"):
        load({"kind": "huggingface"}, "cpu", torch.float32)


def test_missing_weights_are_never_made_up(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "q_proj" in name)
    save_file({key: value for key, value in tensors.items() if key != name}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="q_proj"):
        encoder_of(tmp_path)


def test_pickled_and_missing_weights_are_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        encoder_of(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        encoder_of(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="nobody/nothing"):
        load({"kind": "huggingface", "source": "nobody/nothing"}, "cpu", torch.float32)
