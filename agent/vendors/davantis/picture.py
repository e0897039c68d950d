"""Camera pictures for the simulator: a yard at night as an infrared camera sees it, and a man who should not be there.

    python -m agent.vendors.davantis.picture | ffmpeg -f image2pipe -framerate 10 -i - \\
        -c:v libx264 -profile:v baseline -pix_fmt yuv420p -crf 30 -movflags +faststart clip.mp4

makes the video that the simulator shows for every alarm.
"""

import io
import random
import sys
from datetime import datetime
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

SIZE = (640, 360)
HORIZON = 150
CLIP_FRAMES = 80
CLIP_SIZE = (480, 270)
Box = tuple[int, int, int, int]


def snapshot(camera: int, name: str, moment: datetime, *, progress: float | None, label: str = "") -> bytes:
    """A JPEG picture of camera `camera` (which decides the scenery) with its name and the time in it.

    `progress` from 0 to 1 is how far the intruder has come across the yard; None: nobody is there.
    """
    picture = _lit(_yard(camera), camera, progress)
    drawing = ImageDraw.Draw(picture)
    if progress is not None:
        _mark(drawing, _figure_box(camera, progress), label)
    _caption(drawing, (10, 8), f"{moment:%Y-%m-%d  %H:%M:%S}")
    _caption(drawing, (10, SIZE[1] - 26), name)
    return _jpeg(picture)


def _jpeg(picture: Image.Image, quality: int = 80) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


@lru_cache(maxsize=16)
def _yard(camera: int) -> Image.Image:
    """The still scenery of a camera, grey as infrared is."""
    dice = random.Random(camera)  # noqa: S311 - scenery
    yard = Image.new("L", SIZE, 14)
    drawing = ImageDraw.Draw(yard)
    for y in range(SIZE[1]):
        shade = 10 + y // 12 if y < HORIZON else 34 + (y - HORIZON) // 4
        drawing.line((0, y, SIZE[0], y), fill=shade)
    _building(drawing, dice)
    _fence(drawing, dice)
    _ground(drawing, dice)
    noise = Image.effect_noise(SIZE, 11)
    textured = ImageChops.add(yard.filter(ImageFilter.GaussianBlur(0.8)), noise, scale=1, offset=-128)
    return textured.filter(ImageFilter.GaussianBlur(0.4))


def _building(drawing: ImageDraw.ImageDraw, dice: random.Random) -> None:
    left = dice.choice([40, 330])
    width, top = dice.randint(190, 260), dice.randint(50, 80)
    drawing.rectangle((left, top, left + width, HORIZON + 40), fill=52)
    drawing.polygon(
        ((left - 12, top), (left + width + 12, top), (left + width - 20, top - 22), (left + 20, top - 22)), fill=38
    )
    for x in range(left + 20, left + width - 40, 62):
        drawing.rectangle((x, top + 30, x + 34, top + 56), fill=dice.choice([20, 24, 96]), outline=70)
    drawing.rectangle((left + width - 48, HORIZON - 24, left + width - 14, HORIZON + 40), fill=26, outline=74)


def _fence(drawing: ImageDraw.ImageDraw, dice: random.Random) -> None:
    top = HORIZON - dice.randint(26, 34)
    for x in range(-20, SIZE[0] + 20, 7):
        drawing.line((x, top, x + 14, HORIZON + 4), fill=58)
        drawing.line((x + 14, top, x, HORIZON + 4), fill=54)
    for x in range(0, SIZE[0], 80):
        drawing.rectangle((x, top - 8, x + 3, HORIZON + 8), fill=88)


def _ground(drawing: ImageDraw.ImageDraw, dice: random.Random) -> None:
    vanishing = dice.randint(240, 400)
    for x in range(-400, SIZE[0] + 400, 130):
        drawing.line((vanishing, HORIZON + 8, x, SIZE[1]), fill=78, width=2)
    for _ in range(3):
        x, y = dice.randint(30, 560), dice.randint(HORIZON + 20, HORIZON + 60)
        size = 26 + (y - HORIZON) // 3
        drawing.rectangle((x, y - size, x + size * 2, y), fill=dice.randint(44, 80), outline=92)


def _lit(yard: Image.Image, camera: int, progress: float | None) -> Image.Image:
    """The yard under the camera's own infrared lamp, with the intruder in it."""
    scene = yard.copy()
    if progress is not None:
        _intruder(scene, _figure_box(camera, progress), progress)
    lamp = Image.new("L", SIZE, 90)
    ImageDraw.Draw(lamp).ellipse((-60, 20, SIZE[0] + 60, SIZE[1] + 140), fill=255)
    lit = ImageChops.multiply(scene, lamp.filter(ImageFilter.GaussianBlur(70)))
    return Image.merge("RGB", (lit.point(_gain(1.6)), lit.point(_gain(1.74)), lit.point(_gain(1.64))))


def _gain(factor: float) -> list[int]:
    return [min(255, int(value * factor)) for value in range(256)]


def _figure_box(camera: int, progress: float) -> Box:
    """Where the intruder is: he comes from the fence towards the camera, left or right by the camera's number."""
    height = 62 + 70 * progress
    feet = HORIZON + 44 + 120 * progress
    across = (0.12 + 0.68 * progress) * SIZE[0]
    middle = across if camera % 2 else SIZE[0] - across
    return (int(middle - height * 0.2), int(feet - height), int(middle + height * 0.2), int(feet))


def _intruder(scene: Image.Image, box: Box, progress: float) -> None:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    middle = (left + right) / 2
    figure = Image.new("L", SIZE, 0)
    drawing = ImageDraw.Draw(figure)
    head = height * 0.075
    drawing.ellipse((middle - head, top + 2, middle + head, top + 2 + head * 2.2), fill=215)
    drawing.rounded_rectangle(
        (middle - width * 0.24, top + height * 0.17, middle + width * 0.24, top + height * 0.56),
        int(width * 0.18),
        fill=175,
    )
    stride = width * 0.34 * (1 if int(progress * 40) % 2 else -0.55)
    thick = max(3, int(width * 0.17))
    for side in (-1, 1):
        hip = (middle + side * width * 0.1, top + height * 0.53)
        drawing.line((*hip, middle + side * stride, bottom - 2), fill=150, width=thick)
        shoulder = (middle + side * width * 0.22, top + height * 0.22)
        drawing.line((*shoulder, middle - side * stride * 0.9, top + height * 0.5), fill=165, width=max(2, thick - 2))
    shadow = Image.new("L", SIZE, 255)
    ImageDraw.Draw(shadow).ellipse((middle - width, bottom - 5, middle + width, bottom + 6), fill=120)
    scene.paste(ImageChops.multiply(scene, shadow.filter(ImageFilter.GaussianBlur(4))))
    soft = figure.filter(ImageFilter.GaussianBlur(0.9))
    scene.paste(soft, mask=soft.point(lambda value: 255 if value > 40 else value * 6))


def _mark(drawing: ImageDraw.ImageDraw, box: Box, label: str) -> None:
    """The box that the device draws round what it has found."""
    left, top, right, bottom = box[0] - 6, box[1] - 6, box[2] + 6, box[3] + 6
    drawing.rectangle((left, top, right, bottom), outline=(235, 40, 40), width=2)
    if label:
        drawing.rectangle((left, top - 17, left + 8 * len(label) + 6, top), fill=(235, 40, 40))
        drawing.text((left + 4, top - 16), label, fill=(255, 255, 255), font=_font(13))


def _caption(drawing: ImageDraw.ImageDraw, place: tuple[int, int], words: str) -> None:
    drawing.text(place, words, fill=(245, 245, 245), font=_font(15), stroke_width=2, stroke_fill=(0, 0, 0))


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def clip_frame(index: int) -> bytes:
    """One frame of the alarm video: eight seconds of a man crossing the yard."""
    progress = index / (CLIP_FRAMES - 1)
    picture = _lit(_yard(3), 3, progress)
    drawing = ImageDraw.Draw(picture)
    _mark(drawing, _figure_box(3, progress), "intruder")
    _caption(drawing, (10, 8), f"ALARM VIDEO  00:{index // 10:02}.{index % 10}")
    return _jpeg(picture.resize(CLIP_SIZE, Image.Resampling.LANCZOS), quality=92)


if __name__ == "__main__":
    for number in range(CLIP_FRAMES):
        sys.stdout.buffer.write(clip_frame(number))
