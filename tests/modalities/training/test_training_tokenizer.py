"""Training of the tokenizer: views, the loss, clusters; and a DiGIT trained on what it exports, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from modalities.codecs.quantized_latents import QuantizedLatents
from modalities.contracts import Conditioning, GenerateOptions, Guidance
from modalities.training.clusters import fit_clusters
from modalities.training.codec_source import codec_source
from modalities.training.command import train_from_yaml
from modalities.training.patch_views import ViewOptions, random_patches, vicreg, view
from modalities.training.settings import GeneratorTraining, read_training
from modalities.training.tokenizer_settings import TokenizerTraining
from modalities.weights.checkpoint import read_tensors
from modalities.weights.description import describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder

SHIPPED = Path(__file__).parents[3] / "workflows" / "train"
LOOP = {"batch": 4, "learning_rate": 1e-3, "warmup": 1, "steps": 2, "log_steps": 1}
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 2}
TINY |= {"patch_size": 8, "image_size": 64, "num_register_tokens": 1}
STAGE = {"dim": 16, "layers": 1, "heads": 2, "ffn": 32}


def test_clusters_are_the_groups_that_are_there() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    samples = (centres[:, None] + 0.1 * torch.randn(4, 50, 2)).flatten(0, 1)
    found = fit_clusters(samples, 4, seed=3)
    order = torch.cdist(centres, found).argmin(dim=1)
    assert torch.allclose(found[order], centres, atol=0.2)
    assert torch.equal(found, fit_clusters(samples, 4, seed=3))


@pytest.mark.parametrize("number", [0, 11])
def test_fewer_samples_than_clusters_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"10 samples cannot make {number} clusters"):
        fit_clusters(torch.randn(10, 2), number, seed=0)


def test_a_view_follows_from_its_generator_and_stays_a_picture() -> None:
    media = torch.rand(4, 3, 32, 32) * 2 - 1
    first, again = (view(media, ViewOptions(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.abs().max() <= 1
    assert (first - media).abs().mean() > 0.01
    still = ViewOptions(shift=0, scale=0, light=0, blur=0)
    assert torch.allclose(view(media, still, torch.Generator().manual_seed(5)), media, atol=1e-5)


def test_masks_have_their_share_of_every_picture() -> None:
    found = random_patches(5, 64, 0.3, torch.Generator().manual_seed(0))
    assert found.sum(dim=1).tolist() == [19] * 5
    assert len({tuple(row) for row in found.tolist()}) == 5


def test_vicreg_is_the_papers_sum_around_the_mean_of_each_place() -> None:
    first, second = torch.randn(6, 3, 4, dtype=torch.float64), torch.randn(6, 3, 4, dtype=torch.float64)
    wanted = 25 * float(((first - second) ** 2).mean())
    for z in (first, second):
        rows = [z[i, j] - z[:, j].mean(0) for i in range(6) for j in range(3)]
        for a in range(4):
            variance = sum(float(row[a]) ** 2 for row in rows) / (3 * 5)
            wanted += 25 * max(0.0, 1 - (variance + 1e-4) ** 0.5) / 4
            for b in range(4):
                if a != b:
                    wanted += (sum(float(row[a] * row[b]) for row in rows) / (3 * 5)) ** 2 / 4
    assert float(vicreg(first, second)) == pytest.approx(wanted, rel=1e-9)


def test_a_place_alone_earns_no_variance() -> None:
    places = torch.randn(1, 9, 4).expand(8, -1, -1)
    assert float(vicreg(places, places)) == pytest.approx(2 * 25 * (1 - 0.01), rel=1e-3)


def write(path: Path, values: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def tokenizer_file(folder: Path, corpora: Path) -> Path:
    values: dict[str, object] = {"train": "tokenizer", "of": "builtin/image", "corpora": str(corpora)}
    values |= {"folder": str(folder / "tokenizer"), "export": str(folder / "tokenizer" / "out"), "seed": 1}
    values |= {"clusters": 11, "codes": 13, "head": 8, "whitened": 6, "model": TINY, "loop": LOOP}
    return write(folder / "tokenizer.yaml", {**values, "data": {"scenes": 8, "captions": 1, "free_captions": 0}})


def digit_file(folder: Path, corpora: Path) -> Path:
    values: dict[str, object] = {"train": "generator", "family": "digit", "name": "tiny", "modality": "image"}
    values |= {"corpus": "sprites", "corpora": str(corpora), "codec": str(folder / "tokenizer" / "out")}
    values |= {"folder": str(folder / "digit"), "export": str(folder / "model"), "loop": LOOP, "text_tokens": 6}
    values |= {"data": {"scenes": 8, "captions": 2, "workers": 0}, "probe": ["fr 3", "🐈"]}
    values["model"] = {"clusters": 11, "grid": [8, 8], "codes": 13, "decoder_order": "masked"}
    values["model"] |= {"semantic": {**STAGE, "positions": 65}, "decoder": {**STAGE, "positions": 257}}
    values["loss"] = {"stages": "both", "smoothing": 0.0, "decoder_part": 0.5}
    values["defaults"] = {"sampler": {"name": "autoregressive", "decoder_steps": 2}, "guidance": {"scale": 2.0}}
    return write(folder / "digit.yaml", values)


def test_two_commands_make_a_digit_that_the_loaders_take(tmp_path: Path, corpora: Path) -> None:
    train_from_yaml(tokenizer_file(tmp_path, corpora), {"device": "cpu"})
    codec = codec_source(str(tmp_path / "tokenizer" / "out")).load("cpu")
    assert isinstance(codec, QuantizedLatents)
    assert list((tmp_path / "tokenizer").glob("sheet-*.png"))
    train_from_yaml(digit_file(tmp_path, corpora), {"device": "cpu"})
    described = describe(tmp_path / "model")
    assert described.native_size == (64, 64)
    assert described.stride == (4, 4)
    encoder = load_text_encoder(described, "cpu", torch.float32)
    model = load_generator(described, "cpu", torch.float32)
    own = load_codec(described, "cpu", torch.float32)
    options = GenerateOptions(
        sampler="autoregressive", sampler_options={"decoder_steps": 2}, guidance=Guidance(scale=2)
    )
    prompts = encoder.encode(["fr 3", "🐈"])
    codes = model.generate(prompts, encoder.encode([""]), (64, 64), [1, 2], options)
    assert codes.shape == (2, 1, 16, 16)
    assert codes.max() < 13
    assert own.decode(codes).shape == (2, 3, 64, 64)
    alone = Conditioning(tokens=prompts.tokens[1:], mask=prompts.mask[1:])
    assert torch.equal(codes[1:], model.generate(alone, encoder.encode([""]), (64, 64), [2], options))
    values = yaml.safe_load((tmp_path / "digit.yaml").read_text())
    values |= {"loss": {"stages": "decoder"}, "start_from": str(tmp_path / "model"), "storage": "float16"}
    values |= {"folder": str(tmp_path / "second"), "export": str(tmp_path / "second" / "out")}
    values["pool"] = str(tmp_path / "digit" / "pool")
    train_from_yaml(write(tmp_path / "second.yaml", values), {"device": "cpu"})
    before, after = (read_tensors(tmp_path / name / "generator.safetensors") for name in ("model", "second/out"))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": {"kind": "per-frame", "of": "builtin/image"}}, "two channels"),
        ({"loss": {"smooth": 0.1}}, "unknown key `smooth`; did you mean `smoothing`"),
        ({"loss": {"decoder_part": 0.0}}, "decoder_part is 0.0"),
        ({"loss": {"stages": "last"}}, "unknown stages `last`; known: both, semantic, decoder"),
        ({"objective": "lcss"}, "has a loss of its own"),
    ],
)
def test_what_a_digit_cannot_be_trained_with_is_refused(
    tmp_path: Path, corpora: Path, change: dict[str, object], message: str
) -> None:
    from modalities.training.digit_family import load

    values = yaml.safe_load(digit_file(tmp_path, corpora).read_text())
    place = write(tmp_path / "changed.yaml", {**values, **change})
    latents = (1, 16, 16) if "codec" in change else (2, 16, 16)

    def start() -> None:
        training = read_training(place)
        assert isinstance(training, GeneratorTraining)
        load(training, latents, 704, torch.device("cpu"), False)

    with pytest.raises(ValueError, match=message):
        start()


def test_shipped_files_are_read() -> None:
    names = ("digit_tokenizer", "digit_semantic", "digit")
    tokenizer, first, digit = (read_training(SHIPPED / f"{name}.yaml") for name in names)
    assert isinstance(tokenizer, TokenizerTraining)
    assert isinstance(first, GeneratorTraining)
    assert isinstance(digit, GeneratorTraining)
    assert (digit.start_from, digit.model, digit.codec) == (first.export, first.model, first.codec)
    assert digit.model["clusters"] == tokenizer.clusters
    assert digit.model["codes"] == tokenizer.codes
    assert digit.codec == tokenizer.export


def test_clusters_that_are_none_are_refused(tmp_path: Path, corpora: Path) -> None:
    values = yaml.safe_load(tokenizer_file(tmp_path, corpora).read_text())
    with pytest.raises(ValueError, match="clusters is 0"):
        read_training(write(tmp_path / "none.yaml", {**values, "clusters": 0}))
