"""From a description to objects on a device: the generator, the codec and the text encoder of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch

from modalities import catalog
from modalities.contracts import Codec, Generator, TextEncoder
from modalities.weights.description import ModelDescription


def load_generator(description: ModelDescription, device: torch.device | str, dtype: torch.dtype) -> Generator:
    """The generator on a device in a floating type; CheckpointError when its weights are not what they should be."""
    return cast(Generator, _loader("generator", description.family)(description, device, dtype))


def load_codec(description: ModelDescription, device: torch.device | str, dtype: torch.dtype) -> Codec:
    """The codec of a model. A codec may choose a wider type than `dtype` where its arithmetic needs it."""
    return cast(Codec, _loader("codec", description.codec["kind"])(description.codec, device, dtype))


def load_text_encoder(
    description: ModelDescription | Mapping[str, Any], device: torch.device | str, dtype: torch.dtype
) -> TextEncoder:
    """The text encoder of a model, or that of a mapping with `kind`."""
    spec = description.text_encoder if isinstance(description, ModelDescription) else description
    return cast(TextEncoder, _loader("text encoder", spec["kind"])(spec, device, dtype))


def _loader(table: str, name: str) -> Callable[..., object]:
    try:
        found = catalog.resolve(table, name)
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    return cast(Callable[..., object], found)
