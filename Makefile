# Two commands do everything: `make demo` and `make test`. Both set up what is missing.
PYTHON ?= python3
LANE ?= np1
# Tests at a time. Two is what CI's two cores carry; each process imports torch and mindspore, half a gigabyte.
JOBS ?= 2
# Which tests: .ci/run leaves those out of the second lane that do not hang on numpy's version.
MARKS ?= not slow
VENV_np1 := .venv
VENV_np2 := .venv-np2
VENV := $(VENV_$(LANE))
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Not compiled ahead: that takes as long as all else, for modules most of which nobody imports. Those that everybody imports are
# compiled by importing them once; where PYTHONDONTWRITEBYTECODE is set, as in many images, every process would do it anew: twelve
# seconds instead of five for torch and mindspore, in each of the tests' hundreds of processes.
PIP := --quiet --disable-pip-version-check --no-compile
COMPILED := torch._dynamo, torch.export, mindspore.dataset, mindspore.mint, scipy.stats, libcst, dsbridge
compile = PYTHONDONTWRITEBYTECODE= $(1)/bin/python -W ignore -c "import $(COMPILED)"

PEERS := .venv-peers
PAIRS := .venv-pairs
DOCS := .venv-docs
BENCH_OUT := build/bench

.PHONY: help setup demo test test-np2 test-slow test-models test-pairs support-matrix lint coverage docs bench bench-peers bench-overhead examples clean

help:
	@echo "make demo      set up .venv and train a MindSpore network on a torch Dataset"
	@echo "make test      run the test suite (make test-np2: on numpy 2; make test-slow: the slow ones)"
	@echo "make test-models  convert and prove the whole models of the tests, forty minutes; make support-matrix proves them, too"
	@echo "make test-pairs  convert models of torchvision, timm and transformers to mindcv's, in an environment of their own"
	@echo "make support-matrix  docs/reference/models.md anew, by converting and proving every layer, function and model; an hour or two."
	@echo "               ARGS=\"--jobs 2 --check\": two models at a time; fails if one is not as it should be (the acceptance of models)"
	@echo "make lint      ruff, mypy, import-linter"
	@echo "make coverage  the tests with line coverage, which must not fall below 92 %"
	@echo "make docs      the site, into build/site/index.html"
	@echo "make bench     dsbridge against torch and MindSpore, into $(BENCH_OUT) (make bench-peers: grain and spdl too;"
	@echo "               make bench-overhead: benchmarks/overhead.py, one process); twenty minutes or more"
	@echo "make examples  every example"

setup: $(READY)

# The stamp is written last: an environment without it is half-made, and is made again.
$(VENV)/.ready: setup.cfg setup.py constraints/$(LANE).txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP) -c constraints/$(LANE).txt torch mindspore
	$(BIN)/pip install $(PIP) -c constraints/$(LANE).txt -e .[dev]
	$(call compile,$(VENV))
	touch $@

demo: $(READY)
	@$(BIN)/python examples/01_wrap_dataset.py

test: $(READY)
	$(BIN)/python -m pytest -m "$(MARKS)" -n $(JOBS) --dist worksteal

test-np2:
	$(MAKE) test LANE=np2

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not models"

test-models: $(READY)
	$(BIN)/python -m pytest -m models

test-pairs: $(PAIRS)/.ready
	$(PAIRS)/bin/python -m pytest tests/pairs

support-matrix: $(PAIRS)/.ready
	PYTHONPATH=tests:tests/model $(PAIRS)/bin/python docs/support_matrix.py $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

coverage: $(READY)
	$(BIN)/python -m pytest -m "$(MARKS)" -n $(JOBS) --dist worksteal --cov dsbridge --cov-report term:skip-covered --cov-fail-under 92

docs: $(DOCS)/.ready
	$(DOCS)/bin/python docs/make_site.py
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict  # --quiet would make --strict blind

# mkdocstrings reads docstrings without importing; make_site.py asks the commands for their help, which needs no framework.
$(DOCS)/.ready: setup.cfg setup.py constraints/docs.txt
	rm -rf $(DOCS)
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install $(PIP) -r constraints/docs.txt
	$(DOCS)/bin/pip install $(PIP) --no-deps -e .
	touch $@

bench: $(READY)
	mkdir -p $(BENCH_OUT)
	$(BIN)/python -m dsbridge bench --json $(BENCH_OUT)/bench.json --html $(BENCH_OUT)/bench.html $(BENCH_ARGS)

bench-peers: $(PEERS)/.ready
	mkdir -p $(BENCH_OUT)
	$(PEERS)/bin/python -m dsbridge bench --json $(BENCH_OUT)/bench.json --html $(BENCH_OUT)/bench.html $(BENCH_ARGS)

# An environment of their own: what grain and spdl pull in must not change what the tests run with.
$(PEERS)/.ready: setup.cfg setup.py constraints/np1.txt constraints/peers.txt
	rm -rf $(PEERS)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install $(PIP) -c constraints/np1.txt torch==2.13.0 mindspore==2.10.0
	$(PEERS)/bin/pip install $(PIP) -c constraints/np1.txt -r constraints/peers.txt -e .[plot,vision]
	$(call compile,$(PEERS))
	touch $@

# So are the model zoos.
$(PAIRS)/.ready: setup.cfg setup.py constraints/np1.txt constraints/pairs.txt
	rm -rf $(PAIRS)
	$(PYTHON) -m venv $(PAIRS)
	$(PAIRS)/bin/pip install $(PIP) -c constraints/np1.txt torch==2.13.0 mindspore==2.10.0
	$(PAIRS)/bin/pip install $(PIP) -c constraints/np1.txt -r constraints/pairs.txt -e .[dev]
	$(call compile,$(PAIRS))
	touch $@

bench-overhead: $(READY)
	$(BIN)/python benchmarks/overhead.py

examples: $(READY)
	for example in examples/0*.py; do $(BIN)/python $$example || exit 1; done

clean:
	rm -rf $(VENV_np1) $(VENV_np2) $(PEERS) $(PAIRS) $(DOCS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
