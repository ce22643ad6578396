"""Movies of a cine with its points: GIF and MP4, drawn fast enough for hundreds of cines.

Frames are drawn as palette pictures, greys and the colours of the wall, which is what a GIF holds.
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from jssm.pictures import style
from jssm.shape import order

SIDE_PX = 400  # of the picture; MP4 needs a multiple of 16
GREYS = 160
WALL = 64  # colours along the wall
OUTLINE, TEXT = GREYS + WALL, GREYS + WALL + 1
SUPPOSED_FPS = 20.0
Window = tuple[float, float, float]  # left, top and side of a square, px
CODEC: Literal["libx264"] = "libx264"
LEAST_S = 3.0  # an MP4 repeats a whole cycle until it is as long


def draw(
    frames: np.ndarray,
    points: np.ndarray,
    *,
    aspect: float = 1.0,
    labels: Sequence[str] = (),
    window: Window | None = None,
    dashed: np.ndarray | None = None,
    closed: bool = False,
) -> Iterator[Image.Image]:
    """Palette pictures of a cine (F, H, W) with its points (F, T, 2) px, one at a time.

    One view, cropped to all places of the heart, holds for all frames. The outline of the wall is
    orange; points have one colour per place along the wall, from the first basal end (dark) to the
    last (bright). aspect: height over width of the pixels; the picture shows them as they are.
    labels: a text for each frame. window: what to show instead, of ``style.crop_window``.
    dashed: (F,), the frames whose outline is not to be trusted: it is dashed, without points.
    Points that are not finite are left out. closed: the shape is a ring, with two outlines.
    """
    dashed = np.zeros(len(frames), bool) if dashed is None else dashed
    tall = np.array([1.0, aspect])
    height, width = frames.shape[1], frames.shape[2]
    window = window or style.crop_window(
        (math.ceil(height * aspect), width), None, points.reshape(-1, 2) * tall
    )
    left, top, side = window
    half = points.shape[1] // 2
    loop = order.outline_indices(2 * half)
    loops = [np.append(part, part[0]) for part in np.split(loop, 2 if closed else 1)]
    colours = np.tile(GREYS + np.rint(np.linspace(0, WALL - 1, half)).astype(int), 2)
    for k, picture in enumerate(grey(frames, window, aspect=aspect, labels=labels)):
        pen = ImageDraw.Draw(picture)
        places = (points[k] * tall - (left, top)) * (SIDE_PX / side) - 0.5
        known = np.isfinite(places).all(axis=1)
        for loop in loops:
            if dashed[k]:
                for ends in zip(loop[:-1:2], loop[1::2], strict=False):
                    pen.line([tuple(places[p].tolist()) for p in ends], fill=OUTLINE, width=1)
            else:
                shown = places[loop[known[loop]]].tolist()
                pen.line([tuple(p) for p in shown], fill=OUTLINE, width=1)
        if dashed[k]:
            yield picture
            continue
        for (x, y), colour in zip(places[known].tolist(), colours[known].tolist(), strict=True):
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
        yield picture


def grey(
    frames: np.ndarray, window: Window, *, aspect: float = 1.0, labels: Sequence[str] = ()
) -> Iterator[Image.Image]:
    """The palette pictures of :func:`draw` without points: what ``window`` shows of the frames."""
    left, top, side = window
    low, high = style.grey_range(frames)
    height, width = frames.shape[1:]
    palette = _palette()
    # Pillow counts from the corner of the first pixel, we from its centre.
    x, y, tall = left + 0.5, top / aspect + 0.5, side / aspect
    whole = (  # the frame, and black as far as the window reaches beyond it
        min(0, math.floor(x)), min(0, math.floor(y)),
        max(width, math.ceil(x + side)), max(height, math.ceil(y + tall)),
    )  # fmt: skip
    x, y = x - whole[0], y - whole[1]
    for k, frame in enumerate(frames):
        shade = np.clip((frame - low) * ((GREYS - 1) / (high - low)), 0, GREYS - 1)
        flat = Image.fromarray(np.nan_to_num(shade).astype(np.uint8)).crop(whole)
        flat = flat.resize(
            (SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, (x, y, x + side, y + tall)
        )
        picture = Image.frombytes("P", flat.size, flat.tobytes())
        picture.putpalette(palette)
        if labels:
            ImageDraw.Draw(picture).text((8, 6), labels[k], fill=TEXT)
        yield picture


def frames_per_second(frame_time_s: float) -> float:
    """The true pace, within what players can show; 20 where the time is unknown."""
    known = math.isfinite(frame_time_s) and frame_time_s > 0
    return min(max(1 / frame_time_s, 2.0), 50.0) if known else SUPPOSED_FPS


def can_write_mp4() -> bool:
    """Whether PyAV is installed, with an encoder of H.264."""
    try:
        import av
    except ImportError:
        return False
    return CODEC in av.codecs_available


def write_gif(path: Path, pictures: Sequence[Image.Image], fps: float) -> None:
    """Write an endless GIF; it counts time in hundredths of a second."""
    first, *others = pictures
    first.save(
        path, format="GIF", save_all=True, append_images=others, optimize=False,
        duration=max(2, round(100 / fps)) * 10, loop=0,
    )  # fmt: skip


def write_mp4(path: Path, pictures: Sequence[Image.Image], fps: float) -> None:
    """Write an H.264 MP4 of at least some seconds, the cine repeated; needs PyAV."""
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        stream = file.add_stream(CODEC, rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        # No frame may refer to a later one, so that the packets of the first round can be reused.
        stream.options = {"preset": "ultrafast", "crf": "20", "bf": "0"}
        tables, packets = _luma_and_chroma(), []
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(_planes(picture, tables), format="yuv420p")
            frame.pts = k
            packets += stream.encode(frame)
        packets += stream.encode()
        for turn in range(max(1, math.ceil(LEAST_S * fps / len(packets)))):
            for k, packet in enumerate(packets):
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base = stream, packet.time_base
                copy.is_keyframe = packet.is_keyframe
                copy.pts = copy.dts = turn * len(packets) + k
                file.mux(copy)


def _luma_and_chroma() -> list[bytes]:
    """Y, Cb and Cr of the palette's colours, of ITU-R BT.601 in its studio range: three tables of
    256 bytes."""
    colours = np.frombuffer(_palette(), np.uint8).reshape(-1, 3)
    red, green, blue = np.pad(colours, ((0, 256 - len(colours)), (0, 0))).T / 255
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    blueness, redness = (blue - luma) / (1 - 0.114), (red - luma) / (1 - 0.299)
    planes = 16 + 219 * luma, 128 + 112 * blueness, 128 + 112 * redness
    return [np.rint(plane).astype(np.uint8).tobytes() for plane in planes]


def _planes(picture: Image.Image, tables: list[bytes]) -> np.ndarray:
    """A palette picture (H, W) as the planes of YUV 4:2:0, one below the other (3 H / 2, W).

    By the palette's tables, in a fraction of the time that the way over RGB takes.
    """
    index, size = picture.tobytes(), picture.size
    luma, *chroma = (Image.frombytes("L", size, index.translate(table)) for table in tables)
    halves = [np.asarray(plane.reduce(2)).reshape(-1, size[0]) for plane in chroma]
    return np.concatenate([np.asarray(luma), *halves])


def _palette() -> bytes:
    greys = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, axis=1)
    walls = style.wall_colours(WALL)
    orange = ImageColor.getrgb(style.PREDICTION_COLOUR)
    colours = np.concatenate([greys, walls, [orange, [255, 255, 255]]])
    return colours.round().astype(np.uint8).tobytes()
