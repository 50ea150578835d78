"""The ImageNet recipes, written for torchvision, as MindSpore pipelines: read, checked, measured against the original.

Run it: python examples/04_imagenet_pipeline.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

import dsbridge as dsb

sys.path.insert(0, str(Path(__file__).parent))
import torchvision_on_cpu  # noqa: F401
from torchvision import datasets, transforms

NORMALIZE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
TRAIN = transforms.Compose(
    [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), NORMALIZE]
)
EVAL = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), NORMALIZE])


def make_folder(root: Path) -> None:
    """A folder of JPEGs, one class a folder, from the pictures that scikit-learn and scikit-image bring along."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    found = {f"photograph{number}": image for number, image in enumerate(load_sample_images().images)}
    found |= {name: getattr(data, name)() for name in ("astronaut", "cat", "coffee", "rocket", "camera", "coins")}
    for label, (name, image) in enumerate(found.items()):
        folder = root / ("photographs" if label < 2 else "pictures")
        folder.mkdir(exist_ok=True)
        for part in range(3):  # three crops of odd sizes each
            picture = Image.fromarray(image).convert("RGB")
            width, height = picture.size
            box = (17 * part, 11 * part, width - 5 * part, height - 3 * part)
            picture.crop(box).save(folder / f"{name}{part}.jpg", quality=90)


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        make_folder(Path(root))
        for name, recipe, shuffle in (("train", TRAIN, True), ("eval", EVAL, False)):
            torch.manual_seed(0)
            folder = datasets.ImageFolder(root, transform=recipe)
            loader = torch.utils.data.DataLoader(folder, batch_size=8, shuffle=shuffle, num_workers=2)

            plan = dsb.plan(loader)  # inspect
            print(f"--- {name}\n{plan}\n")
            report = plan.verify(batches=3)  # the same images on both sides, with equal parameters
            report.raise_if(worse_than="exact")
            print("measured difference from torchvision:", report.measured["largest difference"])
            for images, labels in plan.build().create_tuple_iterator(num_epochs=1):
                print("batch", images.shape, images.dtype, "labels", labels.asnumpy().tolist())


if __name__ == "__main__":
    main()
