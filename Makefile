# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Needs Python 3.11 with venv, and about 3 GB of disk.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Processes that test at the same time; `make test WORKERS=0` tests in one, as plain pytest does.
WORKERS ?= $(shell [ "$$(getconf _NPROCESSORS_ONLN)" -ge 2 ] && echo 2 || echo 0)

.PHONY: setup demo demo-kafka test check lint types contracts chart wheel wheel-installed wheel-demo clean fuzz bench-kill-trials bench-relay-trials bench-serving

setup: $(READY)

# torch first: without it a resolver fetches gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	command -v $(PYTHON) >/dev/null && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -c 'import sys; assert sys.version_info[:2] == (3, 11), "Coppice needs Python 3.11: make PYTHON=/path/to/python3.11"'
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,audit]'
	touch $@

demo: setup
	$(BIN)/coppice demo

# For developers: the same with Kafka's mock brokers between the processes; nothing to install.
demo-kafka: setup
	$(BIN)/python -m tests.support.with_kafka $(BIN)/coppice demo

# A file's tests stay together, because they share what is dear to make; the files come in the order
# of their names, so that those that take minutes begin first. Threads would only take turns.
test: setup build/s3-venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
	  --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

check: lint types contracts test

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy
	$(BIN)/pyright

contracts: setup
	$(BIN)/lint-imports

# What the chart holds of other sources: rules, dashboards, its table of values, its schema.
chart: setup
	rm -f helm/coppice/files/rules/* helm/coppice/files/dashboards/*
	cp monitoring/rules/*.yaml helm/coppice/files/rules/
	cp monitoring/dashboards/*.json helm/coppice/files/dashboards/
	$(BIN)/python helm/reference.py

# The built wheel, in an environment of its own, runs the demo.
wheel: wheel-installed
	$(MAKE) wheel-demo

wheel-demo:
	cd build/wheel && venv/bin/coppice demo

# What is installed, and in which order, is what the worker's image installs.
wheel-installed: setup
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	python3 -m venv build/wheel/venv
	build/wheel/venv/bin/pip install --quiet --constraint constraints.txt torch==2.13.0
	build/wheel/venv/bin/pip install --quiet --constraint constraints.txt \
	  "$$(ls build/wheel/*.whl)[kafka,parquet,k8s]"
	build/wheel/venv/bin/pip check

# What serving is compared with lives in environments of its own; wrk comes from the system.
bench-serving: setup build/bench-venv/.ready build/bench-mlserver-venv/.ready
	command -v wrk >/dev/null || { echo "bench-serving needs the program wrk"; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/python bench/serving.py

build/s3-venv/.ready: tests/support/s3-requirements.txt
build/bench-venv/.ready: bench/serving-requirements.txt
build/bench-mlserver-venv/.ready: bench/serving-mlserver-requirements.txt
build/%/.ready:
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

# Requests that lie, for five minutes; no 5xx may come of them.
fuzz: setup
	$(BIN)/python bench/fuzz.py --seconds 300

bench-%: setup
	$(BIN)/python bench/$(subst -,_,$*).py

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
