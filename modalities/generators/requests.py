"""What generators of every family refuse before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from modalities.contracts import Conditioning, Extrapolation, GenerateOptions, Guidance


def check_counts(conditioning: Conditioning, negative: Conditioning | None, seeds: Sequence[int]) -> None:
    """ValueError unless there is one prompt for each seed, and one negative prompt for all or for each."""
    count = len(seeds)
    if len(conditioning) != count:
        raise ValueError(f"{len(conditioning)} prompts but {count} seeds; expected one seed per prompt")
    if negative is not None and len(negative) not in (1, count):
        raise ValueError(f"{len(negative)} negative prompts for {count} prompts; expected one, or one for each")


def check_request(
    conditioning: Conditioning,
    negative: Conditioning | None,
    seeds: Sequence[int],
    options: GenerateOptions,
    start: Tensor | None,
    *,
    channels: int,
    width: int,
) -> None:
    """ValueError when counts, text width, strength or start latents do not fit together.

    channels: of the latents. width: of the text features that the model reads.
    """
    check_counts(conditioning, negative, seeds)
    found = conditioning.tokens.shape[-1]
    if found != width:
        raise ValueError(f"text features are {found} wide; this model reads {width}")
    if not 0 < options.strength <= 1:
        raise ValueError(f"strength is {options.strength}; expected more than 0 and at most 1")
    if options.strength < 1 and start is None:
        raise ValueError(f"strength {options.strength} needs latents to start from")
    if start is not None and (start.shape[0] != len(seeds) or start.shape[1] != channels):
        raise ValueError(f"start latents have the shape {list(start.shape)}; expected [{len(seeds)}, {channels}, ...]")


def check_timeless(options: GenerateOptions, sampler: str, known: Sequence[str], who: str) -> None:
    """ValueError for options of a flow, given to a family that draws tokens: another sampler, a time to start from, ...

    sampler, known: the one sampler of the family, and its options. who: the family's name in a sentence.
    """
    if options.sampler != sampler:
        raise ValueError(f"sampler `{options.sampler}` follows a velocity, which {who} does not have; use `{sampler}`")
    unknown = sorted(set(options.sampler_options) - set(known))
    if unknown:
        raise ValueError(f"sampler `{sampler}` does not take {', '.join(unknown)}; it takes {', '.join(known)}")
    if options.strength != 1:
        raise ValueError(f"strength is {options.strength}; {who} has no time to start from, so expected 1")
    if options.extrapolation != Extrapolation():
        raise ValueError(
            f"extrapolation `{options.extrapolation.method}` rescales rotary positions; those of {who} are learned, "
            "so expected none"
        )
    if options.guidance != Guidance(scale=options.guidance.scale):
        raise ValueError(f"guidance of {who} has a scale and no interval or channels: there is no time to count in")
