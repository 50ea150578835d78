"""Colour functions on PIL images, equal bit by bit to torchvision's on PIL images.

Each takes the image first and returns a new image (or the image itself where nothing changes); none writes to its input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsbridge.errors import TransformError


def brightness(image: Any, factor: float) -> Any:
    """Blend with black: 0 gives black, 1 the image, more a brighter one.

    >>> from PIL import Image
    >>> brightness(Image.new("L", (1, 1), 100), 1.5).getpixel((0, 0))
    150
    """
    from PIL import ImageEnhance

    return _pillow("brightness", image, lambda: ImageEnhance.Brightness(image).enhance(factor))


def contrast(image: Any, factor: float) -> Any:
    """Blend with the image's mean grey: 0 gives that grey, 1 the image.

    >>> from PIL import Image
    >>> contrast(Image.linear_gradient("L"), 0.0).getextrema()
    (128, 128)
    """
    from PIL import ImageEnhance

    return _pillow("contrast", image, lambda: ImageEnhance.Contrast(image).enhance(factor))


def saturation(image: Any, factor: float) -> Any:
    """Blend with the grey image: 0 gives it, 1 the image.

    >>> from PIL import Image
    >>> saturation(Image.new("RGB", (1, 1), (200, 100, 0)), 0.0).getpixel((0, 0))
    (118, 118, 118)
    """
    from PIL import ImageEnhance

    return _pillow("saturation", image, lambda: ImageEnhance.Color(image).enhance(factor))


def hue(image: Any, factor: float) -> Any:
    """Turn the colour circle by ``factor`` of a full turn, -0.5 to 0.5; grey images (L, 1, I, F) stay as they are.

    Raises ``TransformError`` for a factor outside of that.

    >>> from PIL import Image
    >>> hue(Image.new("RGB", (1, 1), (255, 0, 0)), 1 / 3).getpixel((0, 0))
    (0, 255, 0)
    """
    from PIL import Image

    if not -0.5 <= factor <= 0.5:
        raise TransformError(f"hue wants a factor in [-0.5, 0.5], got {factor}. Hint: 0.5 turns the circle half round")
    if image.mode in ("L", "1", "I", "F"):
        return image
    h, s, v = _pillow("hue", image, lambda: image.convert("HSV")).split()
    shift = int(factor * 255)
    turned = h.point([(value + shift) % 256 for value in range(256)])
    return Image.merge("HSV", (turned, s, v)).convert(image.mode)


def sharpness(image: Any, factor: float) -> Any:
    """Blend with the smoothed image: 0 gives it, 1 the image, more a sharper one.

    >>> from PIL import Image
    >>> sharpness(Image.new("L", (5, 5), 7), 2.0).getextrema()
    (7, 7)
    """
    from PIL import ImageEnhance

    return _pillow("sharpness", image, lambda: ImageEnhance.Sharpness(image).enhance(factor))


def posterize(image: Any, bits: int) -> Any:
    """Keep the highest ``bits`` (1 to 8) of each channel.

    >>> from PIL import Image
    >>> posterize(Image.new("L", (1, 1), 255), 1).getpixel((0, 0))
    128
    """
    from PIL import ImageOps

    return _pillow("posterize", image, lambda: ImageOps.posterize(image, bits))


def solarize(image: Any, threshold: float) -> Any:
    """Invert the values of ``threshold`` and more; 256 changes nothing.

    >>> from PIL import Image
    >>> solarize(Image.new("L", (1, 1), 200), 128).getpixel((0, 0))
    55
    """
    from PIL import ImageOps

    return _pillow("solarize", image, lambda: ImageOps.solarize(image, threshold))  # type: ignore[arg-type]


def autocontrast(image: Any) -> Any:
    """Stretch each channel to the full range.

    >>> from PIL import Image
    >>> autocontrast(Image.linear_gradient("L").point(lambda v: v // 2)).getextrema()
    (0, 255)
    """
    from PIL import ImageOps

    return _pillow("autocontrast", image, lambda: ImageOps.autocontrast(image))


def equalize(image: Any) -> Any:
    """Spread each channel's histogram evenly.

    >>> from PIL import Image
    >>> equalize(Image.linear_gradient("L").point(lambda v: v // 2)).getextrema()
    (0, 255)
    """
    from PIL import ImageOps

    return _pillow("equalize", image, lambda: ImageOps.equalize(image))


def invert(image: Any) -> Any:
    """Replace each value by 255 less it.

    >>> from PIL import Image
    >>> invert(Image.new("L", (1, 1), 55)).getpixel((0, 0))
    200
    """
    from PIL import ImageOps

    return _pillow("invert", image, lambda: ImageOps.invert(image))


def _pillow(name: str, image: Any, work: Callable[[], Any]) -> Any:
    """What ``work`` gives; an image that Pillow refuses raises ``TransformError``."""
    try:
        return work()
    except (OSError, ValueError, NotImplementedError) as exc:
        hint = "Hint: convert it to RGB or L before"
        raise TransformError(f"{name} cannot take a PIL image of mode {image.mode!r}: {exc}. {hint}") from exc
