"""The workflows of the released audio and music models, on tiny random weights in the published layout, converted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from modalities.text.lumina_audio import Projection
from modalities.weights.convert import Request, convert
from orchestrator.building import build_plan
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.run import run
from orchestrator.spec import read_workflow
from tests.modalities.weights.released import lightning, save_music, save_vocoder
from tests.reading import media_of, rows_of

FOLDER = Path(__file__).parents[2] / "workflows"
WORDS = ("<pad>", "</s>", "<unk>", "[CLS]", "[SEP]", "a", "piano", "dog", "rain", "slow")
WIDTH = 24


def save_tokenizer(folder: Path) -> None:
    """Words one by one, with an end that T5 and BERT may both use."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(folder)


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    save_tokenizer(folder)
    torch.manual_seed(0)
    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": len(WORDS)}
    T5EncoderModel(T5Config(**sizes, pad_token_id=0, eos_token_id=1)).save_pretrained(folder)
    return folder


def save_audio(folder: Path) -> Path:
    """A folder as `Alpha-VLLM/Lumina-T2Audio` is laid out, without a vocoder."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 32}
    bert = BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=80, **sizes), add_pooling_layer=False)
    text = {f"caption_encoder.base.{name}": tensor for name, tensor in bert.state_dict().items()}
    text |= {f"caption_encoder.projection.{name}": each for name, each in Projection(64, WIDTH).state_dict().items()}
    (folder / "audio_generation").mkdir(parents=True)
    torch.save(lightning(text), folder / "audio_generation" / "324.ckpt")
    return folder


def planned(name: str, model: str, folder: Path) -> Plan:
    """The shipped workflow with a model of ours, two prompts, two steps and a sixth of a second."""
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    content["models"] = dict.fromkeys(content["models"], model)
    content["prompts"] = content["prompts"][:2]
    content["steps"]["sound"] |= {"steps": 2, "duration": 0.16}
    content["output"] = str(folder / "run")
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return build_plan(read_workflow(file), Placement())


def test_the_released_music_model_runs_its_workflow(t5: Path, tmp_path: Path) -> None:
    source = save_music(tmp_path / "release")
    save_vocoder(source / "bigvnat")
    convert(Request(source=source, target=tmp_path / "music", text_encoder=str(t5)))
    shipped = (FOLDER / "lumina_music.yaml").read_text(encoding="utf-8")
    whole = tmp_path / "whole.yaml"
    whole.write_text(shipped.replace("../models/lumina-music", str(tmp_path / "music")), encoding="utf-8")
    plan = build_plan(read_workflow(whole), Placement())
    sound = next(step for step in plan.steps if step.stage == "generate")
    assert (sound.options["steps"], sound.options["guidance"]["scale"]) == (39, 5)
    assert list(sound.options["size"]) == [159744]
    result = run(
        planned("lumina_music", str(tmp_path / "music"), tmp_path), Placement(executor="local"), lambda _: None
    )
    assert (result.made, result.failed) == (2, 0)
    assert len(rows_of(result.folder)) == 2
    assert all(name.endswith(".wav") and data[:4] == b"RIFF" for name, data in media_of(result.folder).items())


def test_the_released_audio_model_runs_its_workflow(t5: Path, tmp_path: Path) -> None:
    convert(Request(source=save_audio(tmp_path / "release"), target=tmp_path / "audio", text_encoder=str(t5)))
    save_tokenizer(tmp_path / "bert")
    place = tmp_path / "audio" / "model.json"
    values = json.loads(place.read_text(encoding="utf-8"))
    assert values["text_encoder"] == {"kind": "lumina-audio", "file": "./text.safetensors", "source": str(t5)}
    values["text_encoder"]["tokenizer"] = str(tmp_path / "bert")
    place.write_text(json.dumps(values), encoding="utf-8")
    plan = planned("lumina_audio", str(tmp_path / "audio"), tmp_path)
    result = run(plan, Placement(executor="local"), lambda _: None)
    assert (result.made, result.failed) == (2, 0)
    assert len(media_of(result.folder)) == 2
