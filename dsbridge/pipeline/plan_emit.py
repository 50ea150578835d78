"""A plan as a script: reads the images, transforms and batches them with MindSpore, numpy and Pillow alone."""

from __future__ import annotations

from typing import Any

from dsbridge.frameworks.detect import is_instance
from dsbridge.frameworks.names import name_of
from dsbridge.transforms.emit import emit as emit_translation
from dsbridge.transforms.translation import translate

_USAGE = """A data pipeline for mindspore.dataset: pipeline() gives batches of (image, label).

    for image, label in pipeline().create_tuple_iterator(num_epochs=1): ..."""

_FOLDER = '''ROOT = {root!r}
EXTENSIONS = {extensions!r}


def find_samples() -> list[tuple[str, int]]:
    """(path, label) of every image in the folders of ROOT: a class is a folder, in sorted order."""
    classes = sorted(entry.name for entry in os.scandir(ROOT) if entry.is_dir())
    found = []
    for label, name in enumerate(classes):
        for folder, _, files in sorted(os.walk(os.path.join(ROOT, name), followlinks=True)):
            found += [(os.path.join(folder, file), label) for file in sorted(files) if file.lower().endswith(EXTENSIONS)]
    return found


def load(sample: tuple[str, int]) -> tuple[Array, Array]:
    """Image [H, W, 3] and label of a sample."""
    path, label = sample
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")), np.asarray(label, np.int64)
'''

_UNKNOWN = '''def find_samples() -> list[Any]:
    """What ``load`` takes, one entry a sample."""
    raise NotImplementedError(
        {reason!r}
        " list here what it reads"
    )


def load(sample: Any) -> tuple[Array, Array]:
    """Image [H, W, C] uint8 and label of a sample."""
    raise NotImplementedError("read one sample here")
'''

_PIPELINE = '''

class Source:
    """Rows (image, label, key) of one epoch after another{order}."""

    def __init__(self) -> None:
        self.samples = find_samples()
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        indices = {indices}
        for index in indices:
            yield (*load(self.samples[index]), np.array([epoch, index], np.int64))


def pipeline(num_parallel_workers: int = {workers}) -> ds.Dataset:
    """Batches of {batch}: image, label."""
    dataset = ds.GeneratorDataset(Source(), ["image", "label", "key"], shuffle=False)
    workers = min(num_parallel_workers, os.cpu_count() or 1)
    dataset = dataset.map(transform, ["image", "key"], ["image"], num_parallel_workers=workers).project(["image", "label"])
{collate}    return dataset{batching}


if __name__ == "__main__":
    for image, label in pipeline().create_tuple_iterator(num_epochs=1):
        print(image.shape, image.dtype, label.shape)
'''

_SHUFFLED = "np.random.default_rng((SEED, epoch)).permutation(len(self)).tolist()"


def emit(plan: Any) -> str:
    """The source of a plan; see ``PipelinePlan.to_python``."""
    loader = plan.loader
    translation = plan.lifted[0].translation if plan.lifted else translate([], plan.policy)
    shuffled = is_instance(loader.sampler, "torch.utils.data.sampler.RandomSampler")
    in_turn = is_instance(loader.sampler, "torch.utils.data.sampler.SequentialSampler")
    collate = ""
    if plan.report.custom_collate:
        reason = f"{name_of(loader.collate_fn)} is a collate function of the user's: call it in a per_batch_map"
        collate = f"    raise NotImplementedError({reason!r})\n"
    elif not (shuffled or in_turn):
        collate = f"    raise NotImplementedError({f'the order of a {type(loader.sampler).__name__}: give it in Source'!r})\n"
    folder = is_instance(loader.dataset, "torchvision.datasets.folder.ImageFolder")
    more = _folder(loader.dataset) if folder else _unknown(loader.dataset)
    batching = "" if loader.batch_size is None else f".batch({loader.batch_size}, drop_remainder={loader.drop_last})"
    more += _PIPELINE.format(
        order=", shuffled by numpy: torch's own order needs torch" if shuffled else "",
        indices=_SHUFFLED if shuffled else "range(len(self))",
        workers=max(1, plan.num_workers),
        batch=loader.batch_size,
        collate=collate,
        batching=batching,
    )
    imports: list[tuple[Any, ...]] = [
        ("os",),
        ("collections.abc", "Iterator"),
        ("mindspore.dataset", None, "ds"),
        ("numpy", None, "np"),
    ]
    if folder:
        imports.append(("PIL", "Image"))
    return emit_translation(translation, _USAGE, imports, more)


def _folder(dataset: Any) -> str:
    extensions = tuple(dataset.extensions or ())
    return _FOLDER.format(root=str(dataset.root), extensions=extensions)


def _unknown(dataset: Any) -> str:
    return _UNKNOWN.format(reason=f"{type(dataset).__name__} is read by its own code, which may need torch:")
