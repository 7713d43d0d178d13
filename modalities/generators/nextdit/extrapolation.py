"""Rotary frequencies for sizes that a model was not trained at, and what goes with them.

Each method is a pure function of (trained spectrum, scale per axis, time) that returns the frequency of every rotary
pair. With b the base theta, d the head width, e the exponents of `rope.exponents` and s the scale of a pair's axis:

    none                    b^-e
    position-interpolation  b^-e / s
    ntk-aware               (b s)^-e
    frequency-aware         max((b s^(1 / log_b(L / 2 pi)))^-e, b^-e / s)
    time-aware              max((b s^(d / d_t))^-e, b^-e / s), d_t = (d - 1) t + 1
    watershed               position-interpolation before a time, ntk-aware from it on

Interpolation is by Chen et al. 2023; the next three are those of Lumina-Next (arXiv 2406.18583, sections 2.2 and 2.3);
the last is what its released code does under the name time-aware. L is the trained tokens of the axis: the wave that
spans it is interpolated exactly by frequency-aware.

The released code has one s for both axes, the square root of the area ratio, so a panorama of the trained area is not
rescaled at all. The default here is one s per axis: an axis is rescaled exactly when it is longer than it was in
training. Both rules, and that of diffusers' pipeline, which also shrinks s below 1, are `scales`.

Bands of channels are never extrapolated: their axis keeps the scale 1. A set of points has no rotary pairs; there the
same methods rescale the waves of its Fourier embedding (`fourier.py` derives how). Context drop merges neighbouring
tokens, and is refused for a set, whose tokens have no neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log, pi, prod, sqrt

import torch
from torch import Tensor

from modalities.contracts import Extrapolation
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.fourier import finest_wave
from modalities.generators.nextdit.inference import Turns, turns
from modalities.generators.nextdit.layers import Positions
from modalities.generators.nextdit.rope import (
    exponents,
    grid_positions,
    pair_axes,
    rope_table,
    trained_frequencies,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """The rotary pairs of a trained model. trained: positions per axis at the trained size, usually tokens."""

    head_dim: int
    theta: float
    trained: tuple[float, ...]

    @property
    def axes(self) -> int:
        """Number of axes."""
        return len(self.trained)

    def base(self) -> Tensor:
        """Unscaled frequencies `[head_dim / 2]`, float64."""
        return trained_frequencies(self.head_dim, self.axes, self.theta)

    def per_pair(self, values: Sequence[float]) -> Tensor:
        """One value per axis, spread over the pairs."""
        return torch.tensor(list(values), dtype=torch.float64)[pair_axes(self.head_dim, self.axes)]


Method = Callable[[Spectrum, tuple[float, ...], float, Extrapolation], Tensor]


def none(spectrum: Spectrum, scale: tuple[float, ...], t: float, options: Extrapolation) -> Tensor:
    """Frequencies as trained."""
    return spectrum.base()


def position_interpolation(spectrum: Spectrum, scale: tuple[float, ...], t: float, options: Extrapolation) -> Tensor:
    """Every frequency divided by the scale of its axis: all positions lie inside the trained range."""
    return spectrum.base() / spectrum.per_pair(scale)


def ntk_aware(spectrum: Spectrum, scale: tuple[float, ...], t: float, options: Extrapolation) -> Tensor:
    """The base times the scale: fast waves (detail) hardly change, slow ones (layout) stretch."""
    return _with_base(spectrum, spectrum.theta * spectrum.per_pair(scale))


def frequency_aware(spectrum: Spectrum, scale: tuple[float, ...], t: float, options: Extrapolation) -> Tensor:
    """NTK whose base interpolates exactly the wave that spans the trained length; per-pair maximum with interpolation.

    An axis trained on fewer than 2 pi tokens has no such wave: it is interpolated as a whole.
    """
    interpolated = position_interpolation(spectrum, scale, t, options)
    turns = [log(length / (2 * pi), spectrum.theta) for length in spectrum.trained]
    power = spectrum.per_pair([1 / turn if turn > 0 else 0.0 for turn in turns])
    frequencies = _with_base(spectrum, spectrum.theta * spectrum.per_pair(scale) ** power)
    return torch.where(power > 0, torch.maximum(frequencies, interpolated), interpolated)


def time_aware(spectrum: Spectrum, scale: tuple[float, ...], t: float, options: Extrapolation) -> Tensor:
    """From interpolation at t = 0 (global layout) to NTK at t = 1 (detail); per-pair maximum with interpolation."""
    effective = (spectrum.head_dim - 1) * t + 1
    frequencies = _with_base(spectrum, spectrum.theta * spectrum.per_pair(scale) ** (spectrum.head_dim / effective))
    return torch.maximum(frequencies, position_interpolation(spectrum, scale, t, options))


def watershed(spectrum: Spectrum, scale: tuple[float, ...], t: float, options: Extrapolation) -> Tensor:
    """Interpolation while t < options.watershed, NTK from it on."""
    method = position_interpolation if t < options.watershed else ntk_aware
    return method(spectrum, scale, t, options)


def _with_base(spectrum: Spectrum, base: Tensor) -> Tensor:
    frequencies: Tensor = base ** -exponents(spectrum.head_dim, spectrum.axes)
    return frequencies


METHODS: Mapping[str, Method] = {
    "none": none,
    "position-interpolation": position_interpolation,
    "ntk-aware": ntk_aware,
    "frequency-aware": frequency_aware,
    "time-aware": time_aware,
    "watershed": watershed,
}


def scales(trained: Sequence[int], wanted: Sequence[int], rule: str) -> tuple[float, ...]:
    """How much longer each axis is than in training, by the rule per-axis, area or area-always."""
    area = (prod(wanted) / prod(trained)) ** (1 / len(trained))
    match rule:
        case "per-axis":
            return tuple(max(1.0, w / n) for w, n in zip(wanted, trained, strict=True))
        case "area":
            return (max(1.0, area),) * len(trained)
        case "area-always":
            return (area,) * len(trained)
        case _:
            raise ValueError(f"unknown extrapolation scale `{rule}`; known: area, area-always, per-axis")


def attention_factor(trained: Sequence[int], wanted: Sequence[int], *, below: bool = False) -> float:
    """sqrt(log_base(tokens)), base = trained tokens: a factor on 1/sqrt(d) that keeps attention as peaked as trained.

    Acts only where there are more tokens than trained, unless `below`.
    """
    base, tokens = prod(trained), prod(wanted)
    if base < 2 or (tokens <= base and not below):
        return 1.0
    return sqrt(log(tokens, base))


def context_window(largest_drop: float, t: float, axes: int) -> tuple[int, ...]:
    """Tokens per axis that one key and value stand for at time t (context drop).

    The fraction dropped falls linearly, largest_drop (1 - t). A window of m tokens drops 1 - 1/m, so this is the
    largest window with m <= 1 / (1 - fraction), grown axis by axis from the last. (1, 1) drops nothing.
    """
    if not 0 <= largest_drop < 1:
        raise ValueError(f"context drop is {largest_drop}; expected at least 0 and less than 1")
    most = 1 / (1 - largest_drop * (1 - t)) + 1e-9
    window = [1] * axes
    axis = axes - 1
    while prod(window) // window[axis] * (window[axis] + 1) <= most:
        window[axis] += 1
        axis = (axis - 1) % axes
    return tuple(window)


class PositionsAt:
    """Positions of one size as a function of time, on a device.

    grid: tokens per axis, as `NextDiTConfig.grid` gives them. Tables are kept by what they are made of, so methods
    that do not depend on t make theirs once.
    """

    def __init__(
        self, config: NextDiTConfig, grid: tuple[int, ...], options: Extrapolation, device: torch.device | str
    ) -> None:
        if options.method not in METHODS:
            raise ValueError(f"unknown extrapolation `{options.method}`; known: {', '.join(sorted(METHODS))}")
        if config.unordered and options.context_drop:
            raise ValueError(
                f"context drop is {options.context_drop}, but it merges neighbouring tokens, and the points of this "
                "model have no order; leave it at 0"
            )
        self._config = config
        self._grid = grid
        self._options = options
        self._device = device
        axes = config.axes
        self._scale = scales(config.trained_tokens, grid[:axes], options.scale) + (1.0,) * (len(grid) - axes)
        below = options.scale == "area-always"
        self._factor = (
            attention_factor(config.trained_grid, grid, below=below) if options.proportional_attention else 1.0
        )
        self._key: tuple[tuple[float, ...], tuple[int, ...]] | None = None

    def __call__(self, t: float) -> tuple[Positions, Turns | None]:
        """Positions at time t, 0 noise to 1 data, and their rotations as `inference.velocity` takes them."""
        config = self._config
        frequencies = self._waves(t) if config.unordered else self._frequencies(t)
        drop = context_window(self._options.context_drop, t, config.axes)
        window = tuple(min(w, n) for w, n in zip(drop, self._grid, strict=False)) + (1,) * (config.bands > 1)
        key = (tuple(frequencies.tolist()), window)
        if self._key != key:
            self._key, self._positions = key, self._make(frequencies, window)
            self._turns = turns(self._positions, config.heads, config.kv_heads)
        return self._positions, self._turns

    def _frequencies(self, t: float) -> Tensor:
        config = self._config
        trained = tuple(float(n) for n in config.trained_grid)
        spectrum = Spectrum(head_dim=config.head_dim, theta=config.rope_theta, trained=trained)
        return METHODS[self._options.method](spectrum, self._scale, t, self._options)

    def _waves(self, t: float) -> Tensor:
        """Frequencies of the Fourier embedding at the density of this size; none at all without coordinates."""
        count = self._config.coordinates
        if not count:
            return torch.zeros(0, dtype=torch.float64)
        density = prod(self._scale) ** (1 / count)
        return rescaled_waves(self._config, density, t, self._options)

    def _make(self, frequencies: Tensor, window: tuple[int, ...]) -> Positions:
        if self._config.unordered:
            waves = frequencies.float().to(self._device) if len(frequencies) else None
            return Positions(attention_factor=self._factor, waves=waves)
        query = rope_table(frequencies, grid_positions(self._grid)).to(self._device)
        if prod(window) == 1:
            return Positions(query=query, key=query, attention_factor=self._factor)
        key = rope_table(frequencies, grid_positions(self._grid, window)).to(self._device)
        return Positions(query=query, key=key, attention_factor=self._factor, pool=(self._grid, window))


def rescaled_waves(config: NextDiTConfig, density: float, t: float, options: Extrapolation) -> Tensor:
    """Frequencies `[coordinates * fourier_bands]` for points that lie `density` times closer than in training.

    The equations are in `fourier.py`. The trained length is that of the slowest wave, in radians of the finest one.
    """
    count, finest = config.coordinates, finest_wave(config)
    spectrum = Spectrum(
        head_dim=2 * count * config.fourier_bands,
        theta=2.0**config.fourier_bands,
        trained=(finest * config.fourier_span,) * count,
    )
    spread = 1.0 if options.method == "none" else density
    return finest * spread * METHODS[options.method](spectrum, (density,) * count, t, options)
