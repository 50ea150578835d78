"""Classes of torchvision for which there is no operation: the original runs, for these reasons."""

from __future__ import annotations

from dsbridge.transforms.torchvision.names import V1, V2
from dsbridge.transforms.torchvision.presets import PRESETS

_ELASTIC = "its displacement is drawn and smoothed by torch's own convolution"
_LAMBDA = "it calls a function of the user's"

REFUSED: dict[str, str] = {
    f"{V1}.ElasticTransform": _ELASTIC,
    f"{V2}._geometry.ElasticTransform": _ELASTIC,
    f"{V1}.Lambda": _LAMBDA,
    f"{V2}._misc.Lambda": _LAMBDA,
    f"{V2}._augment.JPEG": "it needs the very JPEG encoder that torchvision was built with",
    f"{V2}._geometry.RandomIoUCrop": "it draws until a crop overlaps the boxes enough, so its parameters depend on boxes",
    f"{V2}._misc.SanitizeBoundingBoxes": "it removes boxes with their labels and masks, found by a function of the sample",
    f"{V2}._misc.SanitizeKeyPoints": "it removes key points, which dsbridge's samples do not have",
    f"{V2}._meta.ClampKeyPoints": "it moves key points, which dsbridge's samples do not have",
    f"{V2}._meta.SetClampingMode": "it marks torchvision's own boxes for the transforms after it",
    f"{PRESETS}.OpticalFlow": "it takes two images",
    f"{PRESETS}.VideoClassification": "it takes videos [T, C, H, W]",
    f"{V2}._transform.Transform": "it is the base class of users' own transforms",
}
"""Qualified class name -> why."""
