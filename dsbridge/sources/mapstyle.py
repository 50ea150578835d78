"""Map-style datasets as sources: rows by index."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from dsbridge.frameworks.rng import untouched
from dsbridge.report import Report
from dsbridge.sources.locate import located
from dsbridge.sources.rows import Described, Row, RowMaker


class MapSource(Described):
    """A dataset with ``__getitem__`` as rows of owned numpy arrays; see :func:`dsbridge.wrap`.

    ``source[i]`` is a tuple of C-contiguous, native-endian arrays that nobody else holds.
    Works as the source of ``mindspore.dataset.GeneratorDataset`` with any number of workers; picklable
    if the dataset is. A dataset of length 0 has no schema, only the names given.

    >>> source = MapSource([(1.5, 0), (2.5, 1)])
    >>> len(source), source[1]
    (2, (array(2.5), array(1)))
    """

    def __init__(self, dataset: Any, column_names: Any = None, dtypes: Any = "keep", report: Report | None = None) -> None:
        self.dataset = dataset
        self.report = Report("source") if report is None else report
        if hasattr(dataset, "__len__") and len(dataset) == 0:
            self._describe_empty(column_names)
            return
        with untouched(), located(0):
            sample = dataset[0]
        self._maker = RowMaker(sample, 0, column_names, dtypes, self.report)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Row:
        if hasattr(index, "__index__"):
            index = operator.index(index)  # MindSpore passes numpy.int64, which many datasets refuse
        with located(index):
            sample = self.dataset[index]
            if self._maker is None:
                raise IndexError(f"index {index} of an empty dataset")
            return self._maker(sample, index)

    def __iter__(self) -> Iterator[Row]:
        return (self[i] for i in range(len(self)))
