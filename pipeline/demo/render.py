"""A small labelled set of clips with known misalignment, rendered and encoded on the spot: the demo's data.

One shape moves, turns or grows on a textured ground. Only its motion tells the class: shape, colours, size, texture and
ground are drawn for each clip from one distribution. The clips of a class differ as TA2N assumes clips do (AAAI 2022,
section 1): the action starts late and takes a random share of the clip (duration), runs at a random uneven speed
(evolution), and happens at a random place. What was drawn is written beside the clips, so misalignment can be measured.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.demo.motions import MOTIONS, Motion, Pose, pose_at

SIZE = 160
"""Height and width of a clip in pixels."""
FRAMES = 56
FPS = 24
TRUTH = ".truth.json"
"""The file of ground truth in the root folder; hidden, so that it is not taken for a clip."""
SPRITE = 128


@dataclass(frozen=True)
class Draw:
    """What chance decides about one clip; the class has no part in it.

    Attributes:
        start: the last frame of stillness before the action.
        duration: frames from there to the first frame after it; progress is 0 at start, 1 at start + duration.
        ease: two exponents (a, b) of the speed profile t^a / (t^a + (1 - t)^b).
        place: offset (x, y) of the whole action from the centre, in frame widths.
        size: radius of the shape in frame widths.
        tilt: clockwise turn of the shape, degrees.
        look: seed of shape, colours, texture and ground.
    """

    start: int
    duration: int
    ease: tuple[float, float]
    place: tuple[float, float]
    size: float
    tilt: float
    look: int

    @classmethod
    def from_generator(cls, generator: np.random.Generator) -> "Draw":
        """Draw everything about one clip that is not its class."""
        duration = int(generator.integers(FRAMES * 45 // 100, FRAMES * 85 // 100))
        start = int(generator.integers(2, FRAMES - duration - 2))
        a, b = np.exp2(generator.uniform(-0.8, 0.8, 2)).tolist()
        x, y = generator.uniform(-0.1, 0.1, 2).tolist()
        return cls(
            start=start,
            duration=duration,
            ease=(a, b),
            place=(x, y),
            size=float(generator.uniform(0.21, 0.25)),
            tilt=float(generator.uniform(-15, 15)),
            look=int(generator.integers(2**31)),
        )

    def progress(self) -> NDArray[np.float64]:
        """How much of the action is over at each frame, (FRAMES,) in [0, 1], never falling."""
        t = np.clip((np.arange(FRAMES) - self.start) / self.duration, 0, 1)
        done, left = t ** self.ease[0], (1 - t) ** self.ease[1]
        progress: NDArray[np.float64] = done / (done + left)
        return progress


def render_demo_clips(
    folder: Path, *, clips_per_class: int = 20, seed: int = 0, on_clip: Callable[[int, int], None] | None = None
) -> list[str]:
    """Render `folder/{train,val,test}/class/clip_NNN.mp4`, 10 + 5 + 5 classes, H.264, 160 by 160, 56 frames each.

    A clip is a function of (seed, class, number) and nothing else. Clips already there are kept, and a clip appears
    only when it is complete, so a killed run goes on where it stopped. `.truth.json` in `folder` holds each `Draw`.

    Args:
        folder: made where absent.
        clips_per_class: 1 or more.
        seed: 0 or more.
        on_clip: called with (clips done, clips in all) after each clip.

    Returns:
        the names of the classes, train, val, test.

    Raises:
        InputError: an argument is out of range, or `folder` holds clips of another seed, number or version.
        MissingError: PyAV or its H.264 encoder is not there.
    """
    if clips_per_class < 1 or seed < 0:
        raise InputError(f"clips_per_class must be 1 or more and seed 0 or more; found {clips_per_class} and {seed}")
    _require_encoder()
    names = [(split, name) for split, motions in MOTIONS.items() for name in motions]
    draws = {
        f"{split}/{name}/clip_{index:03d}.mp4": Draw.from_generator(np.random.default_rng([seed, number, index]))
        for number, (split, name) in enumerate(names)
        for index in range(clips_per_class)
    }
    _write_truth(folder, draws, seed)
    for done, (path, draw) in enumerate(draws.items(), start=1):
        if not (folder / path).exists():
            split, name, _ = path.split("/")
            write_clip(folder / path, render_frames(MOTIONS[split][name], draw))
        if on_clip:
            on_clip(done, len(draws))
    return [name for _, name in names]


def render_frames(motion: Motion, draw: Draw) -> Iterator[NDArray[np.uint8]]:
    """Yield the FRAMES frames of a clip, each (SIZE, SIZE, 3) RGB."""
    generator = np.random.default_rng(draw.look)
    ground, sprite = _ground(generator), _sprite(generator)
    last, frame = None, ground
    for progress in draw.progress():
        if progress != last:
            frame = ground.copy()
            # Copies at the same pose are one: laid over each other their soft borders would tell the class at rest.
            for pose in dict.fromkeys(pose_at(track, float(progress)) for track in motion):
                _paste(frame, sprite, pose, draw)
        last = progress
        yield np.asarray(frame)


def _paste(frame: Image.Image, sprite: Image.Image, pose: Pose, draw: Draw) -> None:
    """Lay the sprite on the frame; bilinear sampling of its soft border is the anti-aliasing."""
    turn = np.deg2rad(pose.turn + draw.tilt)
    across = SPRITE / 2 / (draw.size * SIZE) / pose.wide
    down = SPRITE / 2 / (draw.size * SIZE) / pose.tall
    x, y = ((0.5 + place + offset) * SIZE for place, offset in zip(draw.place, (pose.x, pose.y), strict=True))
    # The inverse map, frame to sprite: turn back about the shape's centre, then divide by its size.
    a, b = np.cos(turn) * across, np.sin(turn) * across
    d, e = -np.sin(turn) * down, np.cos(turn) * down
    inverse = (a, b, SPRITE / 2 - a * x - b * y, d, e, SPRITE / 2 - d * x - e * y)
    moved = sprite.transform((SIZE, SIZE), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    frame.paste(moved, (0, 0), moved)


def _sprite(generator: np.random.Generator) -> Image.Image:
    """Draw a shape with a texture: (SPRITE, SPRITE) RGBA, soft-edged, taller than wide, its lighter head up."""
    corners = int(generator.integers(3, 7))
    inner = float(generator.uniform(0.85, 1.0)) * np.cos(np.pi / corners)
    angles = np.arange(2 * corners) * np.pi / corners - np.pi / 2
    radii = np.where(np.arange(2 * corners) % 2, inner, 1.0) * (SPRITE - 8)
    outline = np.stack([SPRITE + 0.7 * radii * np.cos(angles), SPRITE + radii * np.sin(angles)], axis=1)
    mask = Image.new("L", (SPRITE * 2, SPRITE * 2))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in outline], fill=255)
    mask = mask.resize((SPRITE, SPRITE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1))
    y, x = np.mgrid[:SPRITE, :SPRITE] / SPRITE
    angle, waves = generator.uniform(0, np.pi), generator.uniform(2, 5)
    stripes = np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)))
    light = np.where(y < 0.4, 1.0, 0.7) + float(generator.uniform(0, 0.07)) * stripes
    pixels = np.clip(light[..., None] * _colour(generator, value=255, saturation=0.6), 0, 255)
    sprite = Image.fromarray(pixels.astype(np.uint8), "RGB")
    sprite.putalpha(mask)
    return sprite


def _ground(generator: np.random.Generator) -> Image.Image:
    """Draw smooth blotches of one dull colour, (SIZE, SIZE) RGB."""
    cells = int(generator.integers(5, 8))
    blotches = Image.fromarray(generator.uniform(0, 255, (cells, cells)).astype(np.uint8), "L")
    light = np.asarray(blotches.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float64) / 255 - 0.5
    colour = _colour(generator, value=float(generator.uniform(60, 80)), saturation=0.15)
    pixels = colour * (1 + float(generator.uniform(0.2, 0.3)) * light[..., None])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")


def _colour(generator: np.random.Generator, *, value: float, saturation: float) -> NDArray[np.float64]:
    """Draw a hue; (3,) RGB with its largest channel near `value`."""
    hue = generator.uniform(0, 2 * np.pi)
    swing = 0.5 + 0.5 * np.cos(hue - np.array([0, 2, 4]) * np.pi / 3)
    colour: NDArray[np.float64] = value * (1 - saturation * (1 - swing))
    return colour


def write_clip(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Encode RGB frames as H.264 in an mp4 file that appears under its name only when it is complete."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with av.open(str(partial), "w", format="mp4") as container:
        # The same bytes every time: one thread, and none of x264's fast paths whose result depends on the processor and
        # on where memory lies. With them 13 of 400 clips came out differently the second time.
        options = {"preset": "veryfast", "crf": "20", "threads": "1", "x264-params": "cpu-independent=1"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    partial.replace(path)


def _require_encoder() -> None:
    try:
        import av
    except ImportError as error:
        raise MissingError('rendering clips needs PyAV, which is not there: run `pip install "ta2n[demo]"`') from error
    if "libx264" not in av.codecs_available:
        raise MissingError(
            f"this PyAV ({av.__version__}) has no H.264 encoder (libx264): install the wheel of the extra, "
            '`pip install --force-reinstall "ta2n[demo]"`'
        )


def _write_truth(folder: Path, draws: dict[str, Draw], seed: int) -> None:
    """Write the ground truth, unless clips rendered from other draws are already there."""
    truth = json.loads(to_json({path: asdict(draw) for path, draw in draws.items()}))
    file = folder / TRUTH
    if file.exists():
        found = json.loads(file.read_text())
        if any(truth.get(path) != draw for path, draw in found["clips"].items()):
            raise InputError(
                f"{folder}: holds {len(found['clips'])} clips rendered with seed {found['seed']}, not {len(truth)} "
                f"with seed {seed}: remove the folder or name another one"
            )
    folder.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(to_json({"frames": FRAMES, "seed": seed, "clips": truth}, indent=1))
    partial.replace(file)
