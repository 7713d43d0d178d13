"""Videos and sets of views as MP4, WebM, GIF, animated WebP, PNG frames, poster and contact sheet.

Media are `[3, frames, height, width]` uint8. Frames follow each other at the modality's rate; views, which have none,
at `VIEWS_A_SECOND`. Files are encoded in memory and written at once, hold no times and no versions of tools, and are
equal for equal input. What made them stands inside where the format can hold it; see `read_facts`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from orchestrator.exporters.image import as_json, exif_of, text_of, write_png

VIEWS_A_SECOND = 4
"""How fast views are shown one after the other."""
QUALITY = 65
"""Quality of lossy formats when none is asked for, 0 to 100; 18 of 51 as the CRF of H.264."""


def write_mp4(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """H.264 in yuv420p, BT.709, index in front: what browsers and phones play. Options: quality, 0 to 100.

    An odd height or width is made even by repeating the last row or column, which yuv420p needs.
    """
    # x264's macroblock tree reads memory that nothing has written, so with it equal videos give unequal files.
    options = {"crf": str(round((100 - _quality(facts)) * 0.51)), "preset": "slow", "x264-params": "mbtree=0"}
    _write_stream(media, path, facts, "mp4", "libx264", options)


def write_webm(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """VP9 in yuv420p, BT.709. Options: quality, 0 to 100. Odd sizes as in `write_mp4`."""
    options = {"crf": str(round((100 - _quality(facts)) * 0.63)), "b": "0", "cpu-used": "2", "row-mt": "0"}
    _write_stream(media, path, facts, "webm", "libvpx-vp9", options)


def write_gif(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """A GIF that repeats for ever, each frame with its own 256 colours.

    GIF counts hundredths of a second: durations alternate so that the whole lasts as long as it should. Equal frames
    in a row become one that is shown longer.
    """
    comment = as_json(facts).encode()
    _write_animation(media, path, facts, step=10, extension=".gif", comment=comment, disposal=1)


def write_webp(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """An animated WebP that repeats for ever. Options: quality, 0 to 100; 100 is lossless."""
    quality = int((facts.get("options") or {}).get("quality") or 90)
    exif = exif_of(facts).tobytes()
    _write_animation(
        media, path, facts, step=1, extension=".webp", quality=quality, lossless=quality == 100, method=4, exif=exif
    )


def write_frames(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """A folder of PNG files, `0000.png` onwards, each with what made it inside."""
    frames = _frames(media)
    path.mkdir()
    for i, frame in enumerate(frames):
        write_png(frame, path / f"{i:04d}.png", {**facts, "frame": i})


def write_poster(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """The middle frame as PNG."""
    frames = _frames(media)
    write_png(frames[len(frames) // 2], path, facts)


def write_contact_sheet(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """All frames in one PNG, row by row, as many columns as rows or more; what is left over is white."""
    write_png(contact_sheet(_frames(media)), path, facts)


def contact_sheet(frames: Sequence[Tensor]) -> Tensor:
    """Frames `[3, H, W]` side by side in a grid `[3, rows H, columns W]`."""
    columns = next(n for n in range(1, len(frames) + 1) if n * n >= len(frames))
    rows = -(-len(frames) // columns)
    channels, height, width = frames[0].shape
    sheet = torch.full((channels, rows * height, columns * width), 255, dtype=frames[0].dtype)
    for i, frame in enumerate(frames):
        top, left = i // columns * height, i % columns * width
        sheet[:, top : top + height, left : left + width] = frame
    return sheet


def read_facts(path: Path) -> dict[str, Any]:
    """What `write_mp4`, `write_webm`, `write_gif` or `write_webp` wrote inside. ValueError when there is nothing."""
    with path.open("rb") as file:
        head = file.read(4)
    if head in (b"GIF8", b"RIFF"):
        with Image.open(path) as picture:
            comment = picture.info.get("comment")
            text = comment.decode() if isinstance(comment, bytes) else text_of(picture.getexif())
    else:
        import av

        with av.open(str(path)) as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
        text = tags.get("comment")
    if not isinstance(text, str):
        raise ValueError(f"{path}: holds no facts written by parhelion")
    facts: dict[str, Any] = json.loads(text)
    return facts


def _write_stream(
    media: Tensor, path: Path, facts: Mapping[str, Any], kind: str, codec: str, options: Mapping[str, str]
) -> None:
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    frames = [_even(frame) for frame in _frames(media)]
    buffer = io.BytesIO()
    settings = {"fflags": "+bitexact", **({"movflags": "+faststart"} if kind == "mp4" else {})}
    # Moving the index to the front makes the muxer open its own output again, for reading.
    with av.open(
        buffer, "w", format=kind, options=settings, io_open=lambda *_: io.BytesIO(buffer.getvalue())
    ) as container:
        container.metadata["comment"] = as_json(facts)
        container.metadata["title"] = str(facts.get("prompt", ""))
        stream: Any = container.add_stream(codec, rate=_rate(facts), options={**options, "flags": "+bitexact"})
        stream.height, stream.width = frames[0].shape[1:]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace, context.color_range = int(Colorspace.ITU709), int(ColorRange.MPEG)
        context.color_primaries, context.color_trc = int(ColorPrimaries.BT709), int(ColorTrc.BT709)
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(to_yuv420(frame).numpy(), format="yuv420p")
            picture.pts = i
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    path.write_bytes(buffer.getvalue())


def _write_animation(media: Tensor, path: Path, facts: Mapping[str, Any], step: int, **options: Any) -> None:
    import imageio.v3 as imageio

    frames = torch.stack(_frames(media)).permute(0, 2, 3, 1).numpy()
    durations = _durations(len(frames), _rate(facts), step)
    data = imageio.imwrite("<bytes>", frames, plugin="pillow", save_all=True, duration=durations, loop=0, **options)
    path.write_bytes(data)


def _durations(frames: int, rate: Fraction, step: int) -> list[int]:
    """Milliseconds of each frame in multiples of `step`; every frame ends as near to its time as they allow."""
    ends = [round(1000 * (i + 1) / rate / step) * step for i in range(frames)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _frames(media: Tensor) -> list[Tensor]:
    """The frames `[3, H, W]` of media; ValueError when these are no video of at least one frame."""
    if media.dtype != torch.uint8 or media.dim() != 4 or media.shape[0] != 3 or 0 in media.shape:
        wanted = "[3, frames, height, width] in uint8 with at least one frame"
        raise ValueError(f"a video is {wanted}; got {list(media.shape)} in {media.dtype}")
    return list(media.unbind(1))


def to_yuv420(frame: Tensor) -> Tensor:
    """RGB bytes `[3, H, W]`, H and W even, as the planes Y, Cb, Cr of BT.709 in 16..235: `[3/2 H, W]` bytes.

    Rec. ITU-R BT.709-6, items 3.2 to 3.4, in whole numbers: the conversion in FFmpeg rounds as memory happens to be
    aligned, and equal videos would give unequal files.
    """
    red, green, blue = frame.to(torch.int64)
    luma = 2126 * red + 7152 * green + 722 * blue  # 10000 times the luma
    # Each chroma sample is the mean of the four pixels that it covers.
    planes = [(219 * luma + 1_275_000) // 2_550_000 + 16]
    for colour, largest in ((blue, 18556), (red, 15748)):
        difference = (10000 * colour - luma).unfold(0, 2, 2).unfold(1, 2, 2).sum(dim=(2, 3))
        scale = 4 * 255 * largest
        planes.append((2 * 224 * difference + scale) // (2 * scale) + 128)
    return torch.cat([plane.flatten() for plane in planes]).view(-1, luma.shape[1]).to(torch.uint8)


def _even(frame: Tensor) -> Tensor:
    for axis in (1, 2):
        if frame.shape[axis] % 2:
            frame = torch.cat([frame, frame.narrow(axis, frame.shape[axis] - 1, 1)], dim=axis)
    return frame


def _rate(facts: Mapping[str, Any]) -> Fraction:
    rate = Fraction(facts.get("rate") or VIEWS_A_SECOND).limit_denominator(1001)
    if not 0 < rate <= 1000:
        raise ValueError(f"a video cannot have {float(rate):g} frames a second; expected more than 0, at most 1000")
    return rate


def _quality(facts: Mapping[str, Any]) -> int:
    asked = (facts.get("options") or {}).get("quality")
    return QUALITY if asked is None else int(asked)
