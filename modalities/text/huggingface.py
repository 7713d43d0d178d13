"""Any Hugging Face tokenizer and model as a text encoder: one hidden layer of it is the conditioning.

`HuggingFaceText` holds the choices; `PRESETS` names the ones of released models. Weights are read from safetensors
only, from a folder or from a hub id (from the local cache alone when HF_HUB_OFFLINE is set).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from modalities.contracts import CheckpointError, Conditioning

logger = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceText:
    """How prompts become conditioning.

    layer: index into the model's hidden states; -1 is the last, after its final norm; -2 the one before.
    max_length: tokens of a prompt at most, with begin-of-sequence; more are cut off, see `truncated`.
    padding_side: on which side a row is filled up to the length the model runs at; padding is masked and removed.
    pad_to_multiple: the model runs at lengths that are multiples of this.
    fill: every prompt is filled up to max_length with padding that the model reads like words and that stays in the
    conditioning, for generators that were trained so.
    add_bos: begin with the tokenizer's begin-of-sequence token. add_eos: end with its end-of-sequence token.
    precision: dtype that the model runs in; `as-asked` is that of the caller.
    prefix: put before every prompt (a system prompt); part of `max_length`.
    """

    layer: int = -1
    max_length: int = 256
    padding_side: str = "right"
    pad_to_multiple: int = 1
    add_bos: bool = True
    add_eos: bool = False
    fill: bool = False
    precision: str = "as-asked"
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.padding_side not in ("left", "right"):
            raise ValueError(f"padding_side is `left` or `right`; got `{self.padding_side}`")
        if self.precision != "as-asked" and self.precision not in DTYPES:
            raise ValueError(f"precision is `as-asked` or one of {', '.join(DTYPES)}; got `{self.precision}`")
        if self.max_length < 1 or self.pad_to_multiple < 1:
            raise ValueError("max_length and pad_to_multiple must be at least 1")


PRESETS: dict[str, HuggingFaceText] = {
    "lumina-next": HuggingFaceText(layer=-2, max_length=256, padding_side="right", add_bos=True, add_eos=False),
    "lumina-music": HuggingFaceText(layer=-1, max_length=77, add_bos=False, add_eos=True, fill=True),
}
"""lumina-next: Gemma-2B as Lumina-Next uses it: the output of the last layer but one, so that the model's final norm is
not applied; the prompt raw, without system prompt, at most 256 tokens, begin-of-sequence but no end.
lumina-music: FLAN-T5-large as Lumina's music model uses it: 77 states of the encoder after its final norm; an end, and
padding that is read and attended to like words."""


class HuggingFaceEncoder:
    """A model and its tokenizer as `TextEncoder`.

    On CPU every prompt is run by itself, so that its bits never depend on its batch mates; on other devices prompts of
    equal length run together.
    """

    def __init__(
        self, tokenizer: Any, model: Any, options: HuggingFaceText, *, dtype: torch.dtype, fingerprint: str
    ) -> None:
        """tokenizer, model: as `transformers` loads them; dtype: of the tokens that `encode` returns."""
        self.tokenizer, self.model, self.options = tokenizer, model, options
        self.dtype, self.fingerprint = dtype, fingerprint
        self.device = next(model.parameters()).device
        self.width = int(model.config.get_text_config().hidden_size)
        layers = int(model.config.get_text_config().num_hidden_layers)
        for name in ("bos", "eos"):
            if getattr(options, f"add_{name}") and getattr(tokenizer, f"{name}_token_id") is None:
                raise ValueError(f"the tokenizer has no {name} token; set `add_{name}: false`")
        if not -layers - 1 <= options.layer <= layers:
            raise ValueError(f"layer {options.layer} is not one of the model's {layers + 1} hidden states")

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts, longest `max_length` tokens; what does not fit is cut off, with a warning in the log."""
        rows = [self._ids(prompt) for prompt in prompts]
        for prompt in prompts:
            if lost := self.truncated(prompt):
                logger.warning("prompt cut to %d tokens, %d lost: %.60s...", self.options.max_length, lost, prompt)
        parts: list[Conditioning | None] = [None] * len(rows)
        for group in self._groups(rows):
            for i, part in zip(group, self._run([rows[i] for i in group]), strict=True):
                parts[i] = part
        return Conditioning.stack([part for part in parts if part is not None])

    def truncated(self, prompt: str) -> int:
        """How many tokens of a prompt do not fit and are cut off; 0 when all are read."""
        return max(0, len(self._all_ids(prompt)) - self._room())

    def unknown_words(self, prompt: str) -> list[str]:
        """Words that the tokenizer gives its unknown token alone; byte-level tokenizers know every word."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None:
            return []
        words = dict.fromkeys(prompt.split())
        ids = {word: self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words}
        return [word for word in words if ids[word] and all(i == unknown for i in ids[word])]

    def _room(self) -> int:
        return self.options.max_length - self.options.add_bos - self.options.add_eos

    def _all_ids(self, prompt: str) -> list[int]:
        ids: list[int] = self.tokenizer(self.options.prefix + prompt, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return ids

    def _ids(self, prompt: str) -> list[int]:
        """Token ids with begin and end as asked; never empty, since an empty row could not be attended to."""
        ids = self._all_ids(prompt)[: self._room()]
        begin = [self.tokenizer.bos_token_id] if self.options.add_bos else []
        end = [self.tokenizer.eos_token_id] if self.options.add_eos else []
        row = [*begin, *ids, *end]
        missing = self.options.max_length - len(row) if self.options.fill else 0
        return [*row, *[self._padding_id()] * missing] or [self._padding_id()]

    def _padding_id(self) -> int:
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(int(i) for i in known if i is not None)

    def _groups(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        if self.device.type == "cpu":
            return [[i] for i in range(len(rows))]
        by_length: dict[int, list[int]] = {}
        for i, row in enumerate(rows):
            by_length.setdefault(len(row), []).append(i)
        return list(by_length.values())

    @torch.no_grad()
    def _run(self, rows: Sequence[Sequence[int]]) -> list[Conditioning]:
        """Conditioning of rows of one length, without padding."""
        length = len(rows[0])
        extra = -length % self.options.pad_to_multiple
        left = self.options.padding_side == "left"
        start = extra if left else 0
        ids = torch.full((len(rows), length + extra), self._padding_id(), dtype=torch.long)
        ids[:, start : start + length] = torch.tensor(rows)
        mask = torch.zeros_like(ids)
        mask[:, start : start + length] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.model.config.is_encoder_decoder:
            output = self.model.get_encoder()(**inputs, output_hidden_states=True)
        else:
            output = self.model(**inputs, output_hidden_states=True)
        tokens = output.hidden_states[self.options.layer][:, start : start + length].to(self.dtype)
        full = torch.ones(1, length, dtype=torch.bool, device=self.device)
        return [Conditioning(tokens=tokens[i : i + 1], mask=full) for i in range(len(rows))]


def load(spec: Mapping[str, object], device: torch.device | str, dtype: torch.dtype) -> HuggingFaceEncoder:
    """The encoder of `{"kind": "huggingface", "source": folder or hub id, "preset": name, ...options}`.

    Beside the fields of `HuggingFaceText`, `tokenizer` names another folder or hub id for the tokenizer and `revision`
    a version on the hub. CheckpointError when the source is missing or holds no safetensors.
    """
    options = read_options(spec)
    source, revision = str(spec.get("source", "")), str(spec.get("revision", "main"))
    if not source:
        raise ValueError("a text encoder of kind huggingface needs a `source`: a folder or a hub id")
    model_dtype = dtype if options.precision == "as-asked" else DTYPES[options.precision]
    tokenizer_source = str(spec.get("tokenizer", source))
    tokenizer, model = read_model(source, tokenizer_source, revision, model_dtype)
    print_of = [asdict(options), str(model_dtype), str(dtype), content_key(source, model), tokenizer_key(tokenizer)]
    fingerprint = hashlib.sha256(json.dumps(print_of, sort_keys=True).encode()).hexdigest()
    return HuggingFaceEncoder(tokenizer, model.to(device).eval(), options, dtype=dtype, fingerprint=fingerprint)


def read_options(spec: Mapping[str, object]) -> HuggingFaceText:
    """Options of a description: those of its preset, changed by what it names itself."""
    preset = str(spec.get("preset", ""))
    if preset and preset not in PRESETS:
        raise ValueError(f"unknown preset `{preset}` of the huggingface text encoder; known: {', '.join(PRESETS)}")
    names = {field.name for field in fields(HuggingFaceText)}
    unknown = set(spec) - names - {"kind", "source", "preset", "tokenizer", "revision"}
    if unknown:
        raise ValueError(f"unknown options of the huggingface text encoder: {', '.join(sorted(unknown))}")
    given: dict[str, Any] = {name: spec[name] for name in names & set(spec)}
    return replace(PRESETS.get(preset, HuggingFaceText()), **given)


def read_model(source: str, tokenizer_source: str, revision: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and model from folders or hub ids; CheckpointError says which source failed and why."""
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if Path(source).is_dir() and not any(Path(source).glob("*.safetensors")):
        raise CheckpointError(
            f"{source} holds no .safetensors file, and pickled weights are not read; `parhelion convert` with "
            "`--kind tensors` turns a pytorch_model.bin into a file that belongs here as model.safetensors"
        )
    asked: dict[str, Any] = {"revision": revision, "local_files_only": offline}
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_source, **asked)
        is_t5 = "t5" in AutoConfig.from_pretrained(source, **asked).model_type
        model, report = (AutoModelForTextEncoding if is_t5 else AutoModel).from_pretrained(
            source, use_safetensors=True, dtype=dtype, output_loading_info=True, **asked
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"text encoder `{source}` cannot be read: {str(error).splitlines()[0]}") from error
    lacking = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if lacking or report["mismatched_keys"]:
        wrong = lacking or [str(key) for key in report["mismatched_keys"]]
        raise CheckpointError(f"text encoder `{source}`: {len(wrong)} weights missing or misshapen, first {wrong[0]}")
    return tokenizer, model


def content_key(source: str, model: Any) -> str:
    """What tells one set of weights from another: hashes of a folder's files, or the hub's commit."""
    folder = Path(source)
    if folder.is_dir():
        digest = hashlib.sha256()
        for path in sorted([*folder.glob("*.safetensors"), *folder.glob("config.json")]):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()
    return f"{source}@{getattr(model.config, '_commit_hash', None)}"


def tokenizer_key(tokenizer: Any) -> str:
    """A hash of a tokenizer's vocabulary and special tokens."""
    state = [sorted(tokenizer.get_vocab().items()), {k: str(v) for k, v in tokenizer.special_tokens_map.items()}]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
