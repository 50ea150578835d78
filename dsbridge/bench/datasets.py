"""The torch Datasets behind the workloads. Module level, so that every start method can pickle them.

Each also gives its samples as ``row(index)``: a tuple of numpy arrays, what MindSpore and grain like best.
"""

from __future__ import annotations

import io
import random
import time
from typing import Any

import numpy as np
import torch

from dsbridge.bench.workloads import FAST_S, SLOW_S

_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1) / _STD


class Ready(torch.utils.data.Dataset):  # type: ignore[misc]
    """Hands out tensors that exist already, so that only loading is measured; with ``labels``, (tensor, index).

    >>> Ready(10, [torch.ones(2)])[3]
    tensor([1., 1.])
    """

    def __init__(self, samples: int, tensors: list[Any], labels: bool = False) -> None:
        self.tensors, self.samples, self.labels = tensors, samples, labels

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Any:
        tensor = self.tensors[index % len(self.tensors)]
        return (tensor, index) if self.labels else tensor

    def row(self, index: int) -> tuple[Any, ...]:
        """The sample as numpy arrays, without a copy."""
        array = self.tensors[index % len(self.tensors)].numpy()
        return (array, np.asarray(index)) if self.labels else (array,)


def ready_f32(samples: int, distinct: int) -> Ready:
    """float32[3,224,224].

    >>> ready_f32(4, distinct=1)[0].shape
    torch.Size([3, 224, 224])
    """
    return Ready(samples, [torch.rand(3, 224, 224) for _ in range(distinct)])


def ready_u8(samples: int, distinct: int) -> Ready:
    """uint8[3,224,224].

    >>> ready_u8(4, distinct=1)[0].dtype
    torch.uint8
    """
    return Ready(samples, [torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8) for _ in range(distinct)])


def ready_tiny(samples: int, distinct: int) -> Ready:
    """(float32[1,28,28], int).

    >>> ready_tiny(4, distinct=1)[3][1]
    3
    """
    return Ready(samples, [torch.rand(1, 28, 28) for _ in range(distinct)], labels=True)


class Jpegs(torch.utils.data.Dataset):  # type: ignore[misc]
    """JPEG bytes of synthetic 256 px images in memory; decoded and augmented with Pillow and numpy.

    The images are smooth noise: JPEGs of white noise would take far longer to decode than photographs.

    >>> Jpegs(4, distinct=1)[0].shape
    torch.Size([3, 224, 224])
    """

    def __init__(self, samples: int, distinct: int) -> None:
        from PIL import Image

        self.samples = samples
        self.files: list[bytes] = []
        generator = np.random.default_rng(0)
        for _ in range(distinct):
            coarse = Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            file = io.BytesIO()
            coarse.resize((256, 256), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
            self.files.append(file.getvalue())

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.row(index)[0])

    def row(self, index: int) -> tuple[Any, ...]:
        """Decode, RandomResizedCrop(224), horizontal flip, normalise; float32, channels first."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.files[index % len(self.files)])).convert("RGB")
        image = image.resize((224, 224), Image.Resampling.BILINEAR, box=_crop(*image.size))
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        array = np.multiply(np.asarray(image).transpose(2, 0, 1), 1 / (255 * _STD), dtype=np.float32, order="C")
        array -= _MEAN
        return (array,)


def _crop(width: int, height: int) -> tuple[float, float, float, float]:
    """torchvision's RandomResizedCrop: 8 to 100 % of the area, ratio 3/4 to 4/3; all of the image after ten misses."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1.0)
        ratio = float(np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3))))
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


class Tokens(torch.utils.data.Dataset):  # type: ignore[misc]
    """int64 tokens, 16 to 512 of them.

    >>> Tokens(4, distinct=2)[0].dtype
    torch.int64
    """

    def __init__(self, samples: int, distinct: int) -> None:
        generator = np.random.default_rng(0)
        lengths = generator.integers(16, 513, distinct)
        self.tokens = [torch.from_numpy(generator.integers(0, 30_000, n, dtype=np.int64)) for n in lengths]
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Any:
        return self.tokens[index % len(self.tokens)]

    def row(self, index: int) -> tuple[Any, ...]:
        """The sample as a numpy array, without a copy."""
        return (self.tokens[index % len(self.tokens)].numpy(),)


class Stragglers(torch.utils.data.Dataset):  # type: ignore[misc]
    """Samples that sleep: batches of eight are slow and fast in turn.

    >>> Stragglers(16, distinct=1)[8]
    tensor([8.])
    """

    def __init__(self, samples: int, distinct: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.row(index)[0])

    def row(self, index: int) -> tuple[Any, ...]:
        """Sleep, then the index as float32[1]."""
        time.sleep(FAST_S if index // 8 % 2 else SLOW_S)
        return (np.array([index], np.float32),)


class Rows:
    """A dataset of this module as rows of numpy arrays; plain Python, for GeneratorDataset and grain.

    >>> Rows(ready_tiny(4, distinct=1))[2][1]
    array(2)
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(self.dataset.row(int(index)))


def pad(samples: list[Any]) -> Any:
    """Collate ragged tensors into one matrix, filled up with zeros.

    >>> pad([torch.tensor([1]), torch.tensor([2, 3])])
    tensor([[1, 0],
            [2, 3]])
    """
    return torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)


def stack_rows(rows: Any) -> tuple[Any, ...]:
    """Collate rows of equal arrays with numpy.

    >>> stack_rows([(np.ones(2),), (np.ones(2),)])[0].shape
    (2, 2)
    """
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


def pad_rows(rows: Any) -> tuple[Any, ...]:
    """Collate ragged one-column rows with numpy.

    >>> pad_rows([(np.array([1]),), (np.array([2, 3]),)])[0].tolist()
    [[1, 0], [2, 3]]
    """
    arrays = [row[0] for row in rows]
    matrix = np.zeros((len(arrays), max(map(len, arrays))), arrays[0].dtype)
    for line, array in zip(matrix, arrays, strict=True):
        line[: len(array)] = array
    return (matrix,)
