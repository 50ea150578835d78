"""torchvision is imported through the shim, before timm asks for it."""

import torchvision_shim  # noqa: F401
