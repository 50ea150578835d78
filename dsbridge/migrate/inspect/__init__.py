"""What a repository of torch code needs, place by place, without running any of it.

>>> import tempfile, pathlib
>>> with tempfile.TemporaryDirectory() as folder:
...     _ = pathlib.Path(folder, "train.py").write_text("import torch\\ntorch.save({}, 'a.pth')\\n")
...     print(inspect(folder).clean)
True
"""

from __future__ import annotations

from dsbridge.migrate.inspect.report import InspectReport
from dsbridge.migrate.inspect.row import Row
from dsbridge.migrate.inspect.scan import inspect
from dsbridge.migrate.inspect.sources import Skipped

__all__ = ["InspectReport", "Row", "Skipped", "inspect"]
