# Everything here needs Python 3.11 or newer and make. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# A shell line that prints the first interpreter that runs and is new enough.
FIND_PYTHON = for p in $(PYTHON) python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done

# Test data that the tests use where it lies beside the checkout, and skip without.
BESIDE := $(abspath ../shared)
TEST_ENV = HF_HUB_OFFLINE=1 OMP_NUM_THREADS="$${OMP_NUM_THREADS:-1}"
ifneq ($(wildcard $(BESIDE)/dreambench),)
TEST_ENV += RAREBOOTH_DREAMBENCH="$${RAREBOOTH_DREAMBENCH:-$(BESIDE)/dreambench}"
endif
ifneq ($(wildcard $(BESIDE)/clip/bpe_simple_vocab_16e6.txt.gz),)
TEST_ENV += RAREBOOTH_CLIP_BPE="$${RAREBOOTH_CLIP_BPE:-$(BESIDE)/clip/bpe_simple_vocab_16e6.txt.gz}"
endif

.PHONY: help demo test lint format docs full-size reliability audit clean

help:
	@echo "make demo         learn a subject with the model in the package, and draw it"
	@echo "make test         lint, types, import direction, tests"
	@echo "make lint         the same without the tests"
	@echo "make format       let ruff rewrite the sources"
	@echo "make docs         write docs/methods.md and benchmarks/README.md anew"
	@echo "make reliability  kill it, fill its disk, feed it bad files; write docs/reliability.md"
	@echo "make audit        ask whether a pinned package has known vulnerabilities (wants a network)"
	@echo "make full-size    tests on models of real size (several GB of memory)"
	@echo "make clean        remove the environment and caches; runs stay"

# The lock and the metadata are all that the environment depends on; the package itself is editable.
$(STAMP): pyproject.toml constraints.txt
	@if ! $(BIN)/python -c 'import pip' >/dev/null 2>&1; then \
		python=$$($(FIND_PYTHON)); \
		if [ -z "$$python" ]; then \
			echo "rarebooth needs Python 3.11 or newer; none was found. Install it, or run: make PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$python"; \
		"$$python" -m venv --clear $(VENV); \
	fi
	@echo "Installing what constraints.txt pins into $(VENV); the first time takes minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/rarebooth demo

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# Two at a time: as many as the smallest machine has processors.
test: lint
	$(TEST_ENV) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

full-size: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -m full_size

reliability: $(STAMP)
	$(TEST_ENV) TRIALS=full $(BIN)/python -m pytest --numprocesses 2 --dist worksteal tests/reliability

audit: $(STAMP)
	$(BIN)/python -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(STAMP)
	$(BIN)/python -m rarebooth.methods_page docs/methods.md
	$(BIN)/python -m rarebooth.bench.page
	$(BIN)/python benchmarks/speed/table.py

clean:
	rm -rf $(VENV) $(VENV)-audit build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
