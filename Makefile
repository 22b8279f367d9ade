# For a new machine with CPython >= 3.11 (with venv), a C compiler and make; everything is installed into .venv:
#
#   make demo          train a character LSTM on a text that comes with Python; sample, model and plot go to demo/
#   make test          build, install, test the installed package, run the linters
#   make lint          ruff, cython-lint, mypy
#   make test-checked  the tests once more, on kernels built with bounds checks and, where there are any, sanitizers
#   make bench         race PyTorch, JAX and ONNX Runtime, which go into .venv-bench; results go to bench/results/
#   make campaign      half an hour of hostile files, kills, threads, ...: a table of tries and faults (bench/README.md)
#   make ratios        kernels and training steps against the NumPy reference: the table of ratios
#   make docs          the pages and the docstrings as a site, in build/site
#   make clean         remove what the others made

VENV := .venv
RIVALS := .venv-bench
BIN := $(CURDIR)/$(VENV)/bin
PIP_OPTIONS := --quiet --disable-pip-version-check --no-input
PIP := $(BIN)/python -m pip $(PIP_OPTIONS)
CHECKED := $(CURDIR)/build/checked/site
RACES := $(CURDIR)/build/races/site
SOURCES := setup.py pyproject.toml $(shell find rnncore -name '*.py' -o -name '*.pyx' -o -name '*.p[xy][di]' \
	-o -name '*.h' -o -path '*/levels/*.c')

# AddressSanitizer and UndefinedBehaviorSanitizer watch the C code, which Cython's bounds checks do not reach. A compiler
# without them prints the bare names of their libraries.
SANITIZERS := $(shell $(CC) -print-file-name=libasan.so) $(shell $(CC) -print-file-name=libubsan.so)
ifeq ($(words $(filter /%,$(SANITIZERS))),2)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -g
PRELOAD := LD_PRELOAD="$(SANITIZERS)" ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
endif

# The tools call one another by name (cython-lint calls pycodestyle).
export PATH := $(BIN):$(PATH)
# The source tree must not shadow the installed package, whatever the caller has set.
unexport PYTHONPATH

.PHONY: help demo test lint test-checked campaign campaign-checked campaign-threads bench race ratios docs clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/demo
	@mkdir -p demo
	rnncore train --demo --out demo/model.safetensors

# One process for each processor. A test that waits for another process leaves its processor to the others.
PYTEST := pytest -q --numprocesses auto --dist worksteal

# Linters first, so that the last line is that of the tests; one that complains does not keep the tests from running.
test: $(VENV)/test
	@$(MAKE) --no-print-directory lint; linted=$$?; RNNCORE_TESTED=$(VENV) $(PYTEST) && exit $$linted

lint: $(VENV)/test
	@status=0; for tool in "ruff check ." "cython-lint rnncore" mypy; do \
		echo "$$tool"; $$tool || status=1; done; exit $$status

# What pages link to outside docs/ goes along, under the same name.
LINKED := CHANGELOG.md bench/README.md examples/lbfgs.py bench/results/long_memory/map.png

docs: $(VENV)/docs
	mkdocs build --quiet
	@for file in $(LINKED); do mkdir -p build/site/$$(dirname $$file) && cp $$file build/site/$$file || exit 1; done

# What goes through Python's own ways alone, or compiles programs of its own, is left to `make test`.
UNCHECKED := documents cli cli_tasks cli_export race long_memory diagnose_command diagnostic_pictures verdict \
	interop_onnx hostile_onnx interop_keras embedding c_export cell_c_export cell_onnx compiled_cells campaign stubs architecture \
	nogil sklearn choosing new_cell tables odd_tables series odd_series relative_forecasts yardsticks torch_modules jax terminal

# A sanitizer reports on the file that pytest would otherwise keep to itself: --capture=sys.
test-checked: $(CHECKED)
	RNNCORE_TESTED=$(CHECKED) PYTHONPATH=$(CHECKED) $(PRELOAD) $(PYTEST) --capture=sys \
		$(UNCHECKED:%=--ignore=tests/test_%.py)

# Options: make campaign CAMPAIGN="--minutes 120 --resume". With sanitizers: campaign-checked (of addresses and undefined
# behaviour), campaign-threads (of races between threads).
CAMPAIGN := --minutes 30

campaign: $(VENV)/test
	python bench/campaign $(CAMPAIGN)

campaign-checked: $(CHECKED)
	PYTHONPATH=$(CHECKED) $(PRELOAD) python bench/campaign --out build/campaign-checked $(CAMPAIGN)

# Only what the compiler has marked is watched: the kernels, and not Python, NumPy or BLAS.
campaign-threads: $(RACES)
	PYTHONPATH=$(RACES) LD_PRELOAD="$(shell $(CC) -print-file-name=libtsan.so)" \
		TSAN_OPTIONS="halt_on_error=1:die_after_fork=0:report_signal_unsafe=0" \
		python bench/campaign --out build/campaign-threads --only threads,forks,bits,allocations $(CAMPAIGN)

# Options of the race: make bench RACE="--quick".
bench: race

race: $(RIVALS)/rnncore $(RIVALS)/peers
	$(RIVALS)/bin/python bench/race $(RACE)

ratios: $(VENV)/test
	python bench/ratios.py

clean:
	rm -rf $(VENV) $(RIVALS) build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f rnncore/kernels/*.c rnncore/kernels/*.html rnncore/kernels/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/made $(RIVALS)/made:
	rm -rf $(@D)
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "$$python -m venv $(@D)"; $$python -m venv $(@D) && touch $@; exit; fi; done; \
	echo "No CPython >= 3.11 with venv was found; name one: make PYTHON=/path/to/python3" >&2; exit 1

# setuptools copies into build/lib and never removes: without the first line a deleted module would live on in the wheel.
$(VENV)/wheel: $(SOURCES) | $(VENV)/made
	rm -rf build/lib* build/wheel
	$(PIP) wheel --no-deps --wheel-dir build/wheel .
	$(PIP) install --no-deps --force-reinstall build/wheel/rnncore-*.whl
	@touch $@

$(VENV)/demo: $(VENV)/wheel
	$(PIP) install --find-links build/wheel "rnncore[cli]"
	@touch $@

$(VENV)/test: $(VENV)/wheel
	$(PIP) install --find-links build/wheel "rnncore[test]"
	@touch $@

$(RIVALS)/rnncore: $(VENV)/wheel | $(RIVALS)/made
	$(RIVALS)/bin/python -m pip $(PIP_OPTIONS) install --no-deps --force-reinstall build/wheel/rnncore-*.whl
	$(RIVALS)/bin/python -m pip $(PIP_OPTIONS) install --find-links build/wheel "rnncore[cli]"
	@touch $@

# One by one: the race goes on without a peer that this machine cannot have, and the next run tries again.
$(RIVALS)/peers: bench/race/requirements.txt | $(RIVALS)/made
	@missing=0; for peer in $$(sed 's/#.*//' $<); do echo "$$peer"; \
		$(RIVALS)/bin/python -m pip $(PIP_OPTIONS) install "$$peer" || missing=1; done; \
	if [ $$missing = 0 ]; then touch $@; fi

$(VENV)/docs: $(VENV)/wheel
	$(PIP) install --find-links build/wheel "rnncore[docs]"
	@touch $@

$(CHECKED): $(SOURCES) | $(VENV)/test
	rm -rf build/checked/lib* $@
	RNNCORE_BOUNDSCHECK=1 CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" $(PIP) install --no-deps --target $@ .

$(RACES): $(SOURCES) | $(VENV)/test
	rm -rf build/checked/lib* $@
	RNNCORE_BOUNDSCHECK=1 CFLAGS="-fsanitize=thread -g" LDFLAGS="-fsanitize=thread" \
		$(PIP) install --no-deps --target $@ .
