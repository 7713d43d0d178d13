"""The built-in text encoder: independence of batch mates, meaning across languages, unknown words, damage."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch

from modalities.contracts import CheckpointError, TextEncoder
from modalities.text.builtin import FOLDER, BuiltinText, load
from modalities.text.files import TABLE_FILE
from modalities.text.network import SENTENCE

PROMPTS = [
    "red apple",
    "",
    "pomme rouge sur fond bleu",
    "赤いりんご",
    "🍎",
    "a dog barking at two cats in a garden",
    "красное яблоко",
]


@pytest.fixture(scope="module")
def encoder() -> BuiltinText:
    return load({"kind": "builtin"}, "cpu", torch.float32)


def test_satisfies_the_contract(encoder: BuiltinText) -> None:
    assert isinstance(encoder, TextEncoder)
    conditioning = encoder.encode(PROMPTS)
    assert conditioning.tokens.shape[0] == len(PROMPTS)
    assert conditioning.tokens.shape[2] == encoder.width == 192 + SENTENCE
    assert conditioning.mask.sum(dim=1).min() == 2, "the empty prompt has begin and end"
    assert not conditioning.tokens[~conditioning.mask].any(), "padding is zero"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_prompt_is_independent_of_its_batch_mates(encoder: BuiltinText, size: int) -> None:
    alone = [encoder.encode([prompt]) for prompt in PROMPTS]
    order = random.Random(size).sample(range(len(PROMPTS)), len(PROMPTS))
    for start in range(0, len(order), size):
        group = order[start : start + size]
        for i, part in zip(group, encoder.encode([PROMPTS[i] for i in group]).split(), strict=True):
            assert torch.equal(part.tokens, alone[i].tokens)
            assert torch.equal(part.mask, alone[i].mask)


def test_the_mean_of_tokens_carries_the_sentence_embedding(encoder: BuiltinText) -> None:
    tokens = encoder.encode(["a red apple"]).tokens[0, :, -SENTENCE:]
    whole = encoder.sentence_embeddings(["a red apple"])[0]
    torch.testing.assert_close(tokens.mean(dim=0), whole * SENTENCE**0.5)
    assert whole.norm().item() == pytest.approx(1, abs=1e-5)


def test_reduced_features_have_about_unit_variance(encoder: BuiltinText) -> None:
    conditioning = encoder.encode(["red apple", "pomme rouge", "a dog", "ein Haus", "голубая машина", "two cats"])
    assert 0.6 < conditioning.tokens[conditioning.mask][:, :192].std().item() < 1.6


@pytest.mark.parametrize(
    "prompt",
    [
        "pomme rouge",
        "manzana roja",
        "roter Apfel",
        "赤いりんご",
        "红苹果",
        "красное яблоко",
        "تفاحة حمراء",
        "🍎",
        "빨간 사과",
    ],
)
def test_one_meaning_in_many_languages(encoder: BuiltinText, prompt: str) -> None:
    apple, car, said = encoder.sentence_embeddings(["red apple", "red car", prompt])
    assert said @ apple > 0.65
    assert said @ apple > said @ car + 0.15


@pytest.mark.parametrize(
    ("prompt", "english"),
    [
        ("सेब", "apple"),
        ("लाल सेब", "red apple"),
        ("μήλο", "apple"),
        ("κόκκινο μήλο", "red apple"),
        ("תפוח אדום", "red apple"),
        ("äpple", "apple"),
        ("rött äpple", "red apple"),
        ("táo đỏ", "red apple"),
        ("سیب", "apple"),
        ("कुत्ता", "dog"),
        ("σκύλος", "dog"),
        ("펭귄", "penguin"),
    ],
)
def test_other_languages_through_the_lexicon(encoder: BuiltinText, prompt: str, english: str) -> None:
    assert encoder.plain_text(prompt) == english
    said, meant = encoder.sentence_embeddings([prompt, english])
    assert said @ meant > 0.95


@pytest.mark.parametrize(
    "prompt",
    [
        "a red apple on a blue background",
        "un chien noir devant une maison",
        "ein kleiner Hund auf der Straße",
        "dos gatos jugando en el jardín",
        "um cavalo branco na praia",
        "un gatto nero su uno sfondo giallo",
        "een rode auto op een witte achtergrond",
        "czerwone jabłko na niebieskim tle",
        "kırmızı elma mavi arka plan",
        "красная машина на белом фоне",
        "青い背景の赤いりんご",
        "蓝色背景上的红苹果",
        "파란색 배경의 빨간 사과",
        "سيارة حمراء على خلفية بيضاء",
        "สุนัขสีดำ",
    ],
)
def test_own_languages_are_left_alone(encoder: BuiltinText, prompt: str) -> None:
    assert encoder.plain_text(prompt) == prompt
    assert encoder.unknown_words(prompt) == []


def test_unknown_words_are_reported(encoder: BuiltinText) -> None:
    assert encoder.unknown_words("a red qzxvk on blue") == ["qzxvk"]
    assert encoder.unknown_words("ᚠᚢᚦ apple ᚠᚢᚦ") == ["ᚠᚢᚦ"]
    assert encoder.unknown_words("") == []
    assert encoder.unknown_words("🍎 and ☀️") == []


def test_half_width_and_decomposed_text_reads_like_its_plain_form(encoder: BuiltinText) -> None:
    assert encoder.ids("ﾘﾝｺﾞ") == encoder.ids("リンゴ")
    assert encoder.ids("e\u0301le\u0301phant") == encoder.ids("éléphant")


def test_files_are_small_enough_to_ship() -> None:
    sizes = [path.stat().st_size for path in FOLDER.iterdir()]
    assert max(sizes) <= 16 * 1024 * 1024
    assert sum(sizes) <= 20 * 1024 * 1024


def test_half_precision_is_a_cast_of_the_same_numbers(encoder: BuiltinText) -> None:
    half = load({"kind": "builtin"}, "cpu", torch.bfloat16)
    assert torch.equal(half.encode(["red apple"]).tokens, encoder.encode(["red apple"]).tokens.to(torch.bfloat16))
    assert half.fingerprint != encoder.fingerprint


def test_unknown_option_is_refused() -> None:
    with pytest.raises(ValueError, match="layer"):
        load({"kind": "builtin", "layer": 2}, "cpu", torch.float32)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    shutil.copytree(FOLDER, folder)
    (folder / TABLE_FILE).write_bytes((FOLDER / TABLE_FILE).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=TABLE_FILE):
        load({"kind": "builtin", "folder": str(folder)}, "cpu", torch.float32)
    (folder / TABLE_FILE).unlink()
    with pytest.raises(CheckpointError, match=TABLE_FILE):
        load({"kind": "builtin", "folder": str(folder)}, "cpu", torch.float32)
