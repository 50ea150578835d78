"""torchvision's conversions: of kind, of dtype, and of a video's frames."""

from __future__ import annotations

from typing import Any

from dsbridge.transforms.foreign import Foreign, Refused
from dsbridge.transforms.ops.convert import Identity, PILToTensor, ToImage, ToPILImage, ToTensor
from dsbridge.transforms.ops.dtypes import BITS, FLOATS, ConvertImageDtype, ToDtype
from dsbridge.transforms.ops.temporal import UniformTemporalSubsample
from dsbridge.transforms.torchvision.names import V1, both, only_v2


def _image_dtype(dtype: Any) -> Any:
    """The dtype that images get; v2 also takes one per class, of which only images may change."""
    if not isinstance(dtype, dict):
        return dtype
    by_name = {getattr(key, "__name__", key): value for key, value in dtype.items()}
    others = by_name.get("others")
    image, tensor = by_name.get("Image", others), by_name.get("Tensor", others)
    if (
        image is None
        or image != tensor
        or any(v is not None for k, v in by_name.items() if k not in ("Image", "Tensor", "Video"))
    ):
        raise Refused("its dtypes differ between images and plain tensors, or change what is no image")
    return image


def _name(dtype: Any, scale: bool) -> str:
    name = str(_image_dtype(dtype)).removeprefix("torch.")
    if name not in BITS and name not in FLOATS and (name != "bool" or scale):
        raise Refused(f"numpy has nothing that is like torch's conversion to {name}")
    return name


def _to_dtype(original: Any) -> ToDtype:
    scale = bool(getattr(original, "scale", True))  # v2.ConvertImageDtype always scales
    return ToDtype(_name(original.dtype, scale), scale)


FOREIGN = (
    *both("ToTensor", "_deprecated", lambda original: ToTensor()),
    *both("PILToTensor", "_type_conversion", lambda original: PILToTensor()),
    *both("ToPILImage", "_type_conversion", lambda original: ToPILImage(original.mode)),
    only_v2("ToImage", "_type_conversion", lambda original: ToImage()),
    only_v2("ToPureTensor", "_type_conversion", lambda original: Identity()),
    only_v2("Identity", "_misc", lambda original: Identity()),
    only_v2("ToDtype", "_misc", _to_dtype),
    only_v2("ConvertImageDtype", "_misc", _to_dtype),
    Foreign(f"{V1}.ConvertImageDtype", lambda original: ConvertImageDtype(_name(original.dtype, True))),
    only_v2("UniformTemporalSubsample", "_temporal", lambda original: UniformTemporalSubsample(int(original.num_samples))),
)
