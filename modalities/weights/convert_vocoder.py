"""The configuration of a published BigVGAN: from the `args.yml` beside it, or as in the Lumina release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from modalities.codecs.bigvgan import BigVGAN, BigVGANConfig, older, plain_shapes
from modalities.codecs.mel_spectrogram import MelConfig
from modalities.contracts import CheckpointError
from modalities.weights.convert_writing import Found
from modalities.weights.headers import shape_faults

KNOWN = (
    "num_mels",
    "upsample_initial_channel",
    "upsample_rates",
    "upsample_kernel_sizes",
    "resblock",
    "resblock_kernel_sizes",
    "resblock_dilation_sizes",
    "activation",
    "snake_logscale",
    "use_tanh_at_final",
    "use_bias_at_final",
)
"""Settings of a published `args.yml` that decide the network; the rest are of its training."""
MEL = {
    "sampling_rate": "rate",
    "n_fft": "window",
    "win_size": "window",
    "hop_size": "hop",
    "fmin": "lowest",
    "fmax": "highest",
}
"""Settings of the spectrograms that it takes, and the fields of `MelConfig` whose values they must have."""
FILES = ("args.yml", "args.yaml", "config.json")


def vocoder_config(found: Found) -> dict[str, Any]:
    """The published settings beside a vocoder's file that decide its network, seen to fit its tensors.

    None of them where there is no file: the network is then the one of the Lumina release.
    """
    path = found.checkpoint.path
    places = [place for name in FILES if (place := path.with_name(name)).is_file()]
    given = _read(places[0]) if places else {}
    _check_mel(given, places[0] if places else path)
    values = {key: given[key] for key in KNOWN if key in given}
    try:
        config = BigVGANConfig.from_mapping(values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{places[0] if places else path}: {error}") from None
    with torch.device("meta"):
        wanted = plain_shapes(BigVGAN(config))
    faults = shape_faults({older(name): tensor.shape for name, tensor in found.part.tensors.items()}, wanted)
    if faults:
        raise CheckpointError(f"{path}: the tensors of the vocoder do not fit its settings; {faults}")
    return values


def _read(place: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"{place}: not valid YAML ({error})") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{place}: expected a mapping of settings")
    return values


def _check_mel(given: Mapping[str, Any], place: Path) -> None:
    """CheckpointError for a vocoder of other spectrograms than the audio line has; BigVGAN is published for many."""
    wanted = MelConfig()
    for key, name in MEL.items():
        value = given.get(key)
        if value is not None and value != getattr(wanted, name):
            raise CheckpointError(
                f"{place}: {key} is {value}; the mels of the Lumina audio line, which this vocoder would turn into "
                f"sound, have {getattr(wanted, name):g}"
            )
