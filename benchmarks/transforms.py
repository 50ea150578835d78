"""Does the exact translation cost anything? The ImageNet train recipe on 375x500 images, ratios in one interleaved run.

    python benchmarks/transforms.py [--rounds 7] [--images 96]

Method: each contender runs all images once a round, in turn with the others; medians over rounds are compared. The first lines
count CPU seconds of the whole process (all threads) for images decoded beforehand (uint8 [375, 500, 3], smooth with noise);
torchvision makes PIL images of them first, as its datasets do. MindSpore's iterators live through all rounds, and a round ends
when they have filled their queues again. The last two lines are wall time with two workers, from JPEG bytes to MindSpore
tensors. Results: docs/guide/performance.md.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import dsbridge as dsb

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import torchvision_on_cpu  # noqa: F401
from torchvision import transforms

TRAIN = transforms.Compose(
    [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def make_images(count: int) -> list[np.ndarray]:
    """Images [375, 500, 3], uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:375, 0:500]
    found = []
    for _ in range(count):
        waves = [np.sin(x / rng.uniform(10, 60)) + np.cos(y / rng.uniform(10, 60)) for _ in range(3)]
        pixels = np.stack(waves, -1) * 55 + 128 + rng.normal(0, 12, (375, 500, 3))
        found.append(pixels.clip(0, 255).astype(np.uint8))
    return found


class Decoded(torch.utils.data.Dataset):
    """JPEG bytes, decoded by Pillow, then the transform if there is one."""

    def __init__(self, files: list[bytes], transform: Any) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        image = Image.open(io.BytesIO(self.files[index])).convert("RGB")
        return self.transform(image), index


def through_mindspore(images: list[np.ndarray], policy: str, workers: int) -> Callable[[], None]:
    """The translation in a mindspore.dataset pipeline, in an iterator without end; 0 workers: in the source's thread."""
    translation = dsb.transforms.translate(TRAIN, policy=policy)
    source = dsb.to_mindspore([(image,) for image in images], column_names=["image"])
    return rounds_of(translation.apply(source, "image", num_parallel_workers=workers))


def nothing(images: list[np.ndarray]) -> Callable[[], None]:
    """What ds.map itself costs: a function that returns a ready result."""
    result = np.zeros((3, 224, 224), np.float32)
    dataset = dsb.to_mindspore([(image,) for image in images], column_names=["image"])
    return rounds_of(dataset.map(lambda image: result, ["image"], num_parallel_workers=1))


def rounds_of(dataset: Any) -> Callable[[], None]:
    """A function that reads one epoch of an iterator that lives on."""
    iterator = dataset.create_tuple_iterator(num_epochs=-1, output_numpy=True, do_copy=False)

    def run() -> None:
        for _ in iterator:
            pass
        settle()

    return run


def settle() -> None:
    """Wait until no thread works any more: the next rows lie ready in MindSpore's queues."""
    before = -1.0
    while time.process_time() - before > 0.002:
        before = time.process_time()
        time.sleep(0.03)


def in_python(images: list[np.ndarray]) -> Callable[[], None]:
    """torchvision in a Python loop."""

    def run() -> None:
        for image in images:
            TRAIN(Image.fromarray(image)).numpy()

    return run


def loaders(files: list[bytes], batch_size: int) -> dict[str, Callable[[], None]]:
    """The same dataset in both loaders, two workers that live on."""
    mindspore = __import__("mindspore")
    arguments: dict[str, Any] = {"batch_size": batch_size, "num_workers": 2, "persistent_workers": True}
    theirs = torch.utils.data.DataLoader(Decoded(files, TRAIN), **arguments)
    ours = dsb.DataLoader(Decoded(files, dsb.transforms.translate(TRAIN)), **arguments)

    def torch_loader() -> None:
        for image, label in theirs:
            mindspore.Tensor.from_numpy(image.numpy()), mindspore.Tensor.from_numpy(label.numpy())

    def core() -> None:
        for _ in ours:
            pass

    return {"torch DataLoader, torchvision": torch_loader, "dsbridge core, exact": core}


def medians(contenders: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of each contender, median over interleaved rounds; one round before that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            if number:
                taken[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=96)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = make_images(arguments.images)
    cpu = {"torchvision": in_python(images)}
    cpu["nothing, ds.map with one worker"] = nothing(images)
    for policy in ("exact", "native"):
        cpu[f"{policy}, in the source's thread"] = through_mindspore(images, policy, 0)
        cpu[f"{policy}, ds.map with one worker"] = through_mindspore(images, policy, 1)
    seconds = medians(cpu, arguments.rounds, time.process_time)
    files = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    wall = medians(loaders(files, 16), arguments.rounds, time.perf_counter)
    for title, found in (("CPU seconds", seconds), ("wall seconds, 2 workers", wall)):
        first = next(iter(found.values()))
        print(f"{title}, {len(images)} images")
        for name, value in found.items():
            print(f"  {name:32} {value:7.3f} s  {first / value:5.2f}x")


if __name__ == "__main__":
    main()
