"""A folder as diffusers' `LuminaPipeline.save_pretrained` writes it, tiny and with every weight random."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

WORDS = ("a", "an", "the", "red", "blue", "green", "cat", "dog", "apple", "star", "on", "of", "and", "two", "photo")
WORDS += ("drawing", "blurry", "bad", "ugly", "猫", "红")


def randomise(module: Any, seed: int) -> None:
    """Normal weights of deviation 0.1, norms around one; the two copies of each query projection equal."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=source))
            if "norm" in name and name.endswith("weight") and parameter.ndim == 1:
                parameter.add_(1)
        for layer in getattr(module, "layers", []):
            if hasattr(layer, "attn2"):
                layer.attn2.to_q.load_state_dict(layer.attn1.to_q.state_dict())
                layer.attn2.norm_q.load_state_dict(layer.attn1.norm_q.state_dict())


def make_tokenizer() -> Any:
    """Words of `WORDS` one by one, after a BOS, as Gemma's tokenizer puts it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<bos>", "<eos>", "<unk>", *WORDS]
    inner = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, padding_side="right", model_max_length=256, **special)


def make_pipeline(seed: int = 0, **transformer: Any) -> Any:
    """The pipeline object; `transformer` overrides settings of the transformer."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, LuminaNextDiT2DModel, LuminaPipeline
    from transformers import GemmaConfig, GemmaModel

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    text = GemmaModel(GemmaConfig(vocab_size=64, num_key_value_heads=1, head_dim=16, **sizes))
    settings: dict[str, Any] = {
        "sample_size": 8,
        "hidden_size": 64,
        "num_layers": 2,
        "num_attention_heads": 4,
        "num_kv_heads": 2,
        "multiple_of": 32,
        "cross_attention_dim": 32,
    }
    model = LuminaNextDiT2DModel(**(settings | transformer))
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.13025,
    )
    for i, module in enumerate((text, model, vae)):
        randomise(module, seed + i)
    pipeline = LuminaPipeline(
        transformer=model.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae.eval(),
        text_encoder=text.eval(),
        tokenizer=make_tokenizer(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_lumina_folder(folder: Path, seed: int = 0) -> Path:
    """Write the pipeline into `folder`; answers the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_pipeline(seed).save_pretrained(folder)
    return folder
