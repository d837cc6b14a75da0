# Everything runs in .venv, with the exact versions of constraints.txt.
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
REQUIREMENTS := setup.cfg pyproject.toml constraints.txt
PYTEST_ARGS ?=
# The benchmarks' own environment: it holds PyTorch, to compare with.
BENCH_VENV := .venv-bench
BENCH := $(BENCH_VENV)/bin/python

.PHONY: help demo figures test test-slow lint format bench wheel constraints clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo         complete the example sketches with the bundled faces model'
	@echo 'make figures      make the pictures of the README anew'
	@echo 'make test         run the tests, without the slow ones'
	@echo 'make test-slow    run the slow tests'
	@echo 'make lint         check format, lint and types'
	@echo 'make format       format the sources'
	@echo 'make bench        time it beside PyTorch, and how it grows; 10 to 20 minutes'
	@echo 'make wheel        build the wheel into dist/'
	@echo 'make constraints  write constraints.txt from the newest compatible versions'
	@echo 'make clean        remove .venv, .venv-bench and whatever was built'

demo: $(VENV)/.installed-demo
	$(BIN)/cgan-complete --model=faces --input='docs/sketches/*.png' --output=out/demo
	@test -s out/demo/contact_sheet.png || \
	  { echo 'error: out/demo/contact_sheet.png was not written' >&2; exit 1; }
	@echo 'contact sheet: out/demo/contact_sheet.png'

# The pictures of the README and of the model card.
figures: demo
	mkdir -p docs/figures
	cp out/demo/contact_sheet.png docs/figures/completions.png
	$(BIN)/cgan-sample --model=faces --output=docs/figures/samples.png

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 -m 'not slow' $(PYTEST_ARGS)

# pytest exits with 5 when it selected no test. That is right only as long as
# no test is marked slow.
test-slow: $(VENV)/.installed-test
	@status=0; $(BIN)/python -m pytest -m slow $(PYTEST_ARGS) || status=$$?; \
	if [ $$status -eq 5 ] && ! grep -rqE --include='*.py' 'mark\.slow' tests; then \
	  echo 'No test is marked slow: nothing to run.'; status=0; \
	fi; \
	exit $$status

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# On Linux, PyTorch comes with gigabytes of CUDA, which it does not need here; without:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make bench
bench: $(BENCH_VENV)/.installed
	$(BENCH) benchmarks/check_peer.py --layout=planes,halves --filters=8
	$(BENCH) benchmarks/train_step.py --turns=5
	$(BENCH) benchmarks/step_profile.py --filters=32
	$(BENCH) benchmarks/projection.py --growth --turns=4
	$(BENCH) benchmarks/cold_start.py
	$(BENCH) benchmarks/input_pipeline.py

# build/ is removed first: setuptools would pack stale files that lie there.
wheel: $(VENV)/.installed-test
	rm -rf build
	$(BIN)/python -m build --wheel --outdir dist .

constraints: | check-python
	rm -rf build/constraints
	mkdir -p build
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install -e '.[test]'
	{ sed '/^[^#]/,$$d' constraints.txt && \
	  build/constraints/bin/python -m pip freeze --exclude-editable; \
	} > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints

clean:
	rm -rf $(VENV) $(BENCH_VENV) build dist out cgan_jax.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find cgan_jax launch configs tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: check-python
check-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: cgan_jax needs Python 3.11 or newer, but '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo missing)." \
	    "Name another one, such as PYTHON=python3.12, after the make target." >&2; exit 1; }

$(VENV)/.created $(BENCH_VENV)/.created:
	@$(MAKE) --no-print-directory check-python
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	@touch $@

$(VENV)/.installed-demo: $(REQUIREMENTS) | $(VENV)/.created
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(REQUIREMENTS) | $(VENV)/.created
	$(PIP) install -c constraints.txt -e '.[test]'
	@touch $(VENV)/.installed-demo $@

$(BENCH_VENV)/.installed: $(REQUIREMENTS) | $(BENCH_VENV)/.created
	$(BENCH) -m pip --disable-pip-version-check install -c constraints.txt -e . \
	  torch==2.13.0
	@touch $@
