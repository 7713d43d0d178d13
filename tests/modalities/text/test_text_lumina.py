"""The text encoders of Lumina's music and audio models, on tiny random T5s and BERTs, against the models themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel, T5Model

from modalities.contracts import CheckpointError, TextEncoder
from modalities.text.huggingface import HuggingFaceEncoder
from modalities.text.huggingface import load as load_huggingface
from modalities.text.lumina_audio import LuminaAudioEncoder, Projection, captions, load
from modalities.weights.checkpoint import write_tensors

WORDS = ["<pad>", "</s>", "<unk>", "[CLS]", "[SEP]", "a", "dog", "barks", "rain", "slow", "piano", "all", "&"]
PROMPTS = ["a dog barks", "", "slow piano", "a dog barks rain " * 40]


def save_tokenizer(folder: Path, template: str, **special: str) -> None:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(word, i) for i, word in enumerate(WORDS) if word in template]
    words.post_processor = processors.TemplateProcessing(single=template, special_tokens=marks)
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", **special).save_pretrained(
        folder
    )


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5 with both halves, as FLAN-T5 is on the hub."""
    folder = tmp_path_factory.mktemp("t5")
    save_tokenizer(folder, "$A </s>", eos_token="</s>")
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": len(WORDS)}
    T5Model(T5Config(**sizes, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BertModel, Projection]:
    """A folder with CLAP's weights under the names of the release and BERT's tokenizer; and what is in them."""
    folder = tmp_path_factory.mktemp("clap")
    save_tokenizer(folder, "[CLS] $A [SEP]", cls_token="[CLS]", sep_token="[SEP]")
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=48,
        max_position_embeddings=80,
    )
    bert, projection = BertModel(config, add_pooling_layer=False).eval(), Projection(64, 32).eval()
    tensors = {f"base.{name}": tensor for name, tensor in bert.state_dict().items()}
    tensors |= {f"projection.{name}": tensor for name, tensor in projection.state_dict().items()}
    write_tensors(folder / "text.safetensors", tensors)
    return folder, bert, projection


def music_encoder(t5: Path) -> HuggingFaceEncoder:
    return load_huggingface({"kind": "huggingface", "source": str(t5), "preset": "lumina-music"}, "cpu", torch.float32)


def ids_of(prompt: str) -> list[int]:
    return [WORDS.index(word) for word in prompt.split()]


def t5_states(t5: Path, ids: list[int]) -> torch.Tensor:
    """What the release reads: all 77 places, padding among them, and no mask."""
    row = [*ids[:76], 1]
    row += [0] * (77 - len(row))
    with torch.no_grad():
        states: torch.Tensor = T5EncoderModel.from_pretrained(t5)(input_ids=torch.tensor([row])).last_hidden_state
    return states


def test_music_prompts_are_77_states_of_t5_padding_included(t5: Path) -> None:
    encoder = music_encoder(t5)
    assert isinstance(encoder, TextEncoder)
    for prompt in PROMPTS:
        got = encoder.encode([prompt])
        assert torch.equal(got.tokens, t5_states(t5, ids_of(prompt)))
        assert got.mask.all()
    together = encoder.encode(PROMPTS)
    assert together.tokens.shape == (4, 77, 32)
    for i, prompt in enumerate(PROMPTS):
        assert torch.equal(together.tokens[i], encoder.encode([prompt]).tokens[0])


def test_a_folder_with_the_encoder_alone_will_do(t5: Path, tmp_path: Path) -> None:
    T5EncoderModel.from_pretrained(t5).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, "$A </s>", eos_token="</s>")
    assert torch.equal(music_encoder(tmp_path).encode(["a dog"]).tokens, music_encoder(t5).encode(["a dog"]).tokens)


def audio_encoder(t5: Path, folder: Path) -> LuminaAudioEncoder:
    spec = {"kind": "lumina-audio", "file": str(folder / "text.safetensors"), "tokenizer": str(folder)}
    return load(spec | {"source": str(t5)}, "cpu", torch.float32)


def test_audio_prompts_are_clap_and_t5_side_by_side(t5: Path, clap: tuple[Path, BertModel, Projection]) -> None:
    folder, bert, projection = clap
    encoder = audio_encoder(t5, folder)
    assert isinstance(encoder, TextEncoder)
    assert encoder.width == 32
    got = encoder.encode(["a dog barks | dog all", "", "slow piano"])
    assert got.tokens.shape == (3, 154, 32)
    assert got.mask.all()
    row = [3, *ids_of("a dog barks"), 4]
    row += [0] * (77 - len(row))
    with torch.no_grad():
        states = bert(input_ids=torch.tensor([row])).last_hidden_state
        first = states @ projection.linear1.weight.T
        mixed = first + F.gelu(first) @ projection.linear2.weight.T
        heard = F.layer_norm(mixed, (32,), projection.layer_norm.weight, projection.layer_norm.bias)
    assert (got.tokens[0, :77] - heard[0]).abs().max() < 1e-5
    assert torch.equal(got.tokens[0, 77:], t5_states(t5, ids_of("dog all"))[0])
    assert torch.equal(got.tokens[1, 77:], t5_states(t5, [])[0])
    assert torch.equal(got.tokens[2], encoder.encode(["slow piano"]).tokens[0])
    assert encoder.unknown_words("a cat barks | x") == ["cat"]


def test_a_prompt_without_structure_gets_the_plainest_one() -> None:
    assert captions("A Dog barks") == ("A Dog barks", "<a dog barks, all>")
    assert captions("A dog | <dog& all>@<rain& end>") == ("A dog", "<dog& all>@<rain& end>")
    assert captions("  ") == ("", "")


def test_what_is_not_clap_is_refused(t5: Path, clap: tuple[Path, BertModel, Projection], tmp_path: Path) -> None:
    folder = clap[0]
    write_tensors(tmp_path / "text.safetensors", {"a": torch.ones(2)})
    spec = {"kind": "lumina-audio", "source": str(t5), "tokenizer": str(folder)}
    with pytest.raises(CheckpointError, match=r"text\.safetensors: not the text encoder of CLAP"):
        load(spec | {"file": str(tmp_path / "text.safetensors")}, "cpu", torch.float32)
    with pytest.raises(ValueError, match="no `file`"):
        load(spec, "cpu", torch.float32)
    with pytest.raises(CheckpointError, match=r"tokenizer `.*` cannot be read"):
        load(spec | {"file": str(folder / "text.safetensors"), "tokenizer": str(tmp_path)}, "cpu", torch.float32)
