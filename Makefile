# Two commands: `make run` sets everything up and serves, `make test` sets everything up and checks everything.
# Both are quick when nothing has changed; both repair a broken .venv. See `make help`.

.POSIX:
.PHONY: help run test clean

# HOST is not read from the environment: some shells set it to the machine's name.
HOST = 127.0.0.1
PORT ?= 8000

help:
	@echo "make run [HOST=127.0.0.1] [PORT=8000]   set up .venv and serve faces there"
	@echo "make test                               set up .venv and run every check and test"
	@echo "make clean                              remove .venv, caches and builds (not runs/)"
	@echo
	@echo "PYTHON=/path/to/python3 picks the Python (3.11 or newer) that .venv is made with."

run:
	@scripts/venv.sh serve
	@exec .venv/bin/emoface serve --host "$(HOST)" --port "$(PORT)"

test:
	@scripts/venv.sh test
	@scripts/chromium.sh
	@scripts/promtool.sh
	@exec scripts/check.sh

clean:
	rm -rf .venv/bin # first, so that half a removal is seen as none
	rm -rf .venv .venv.trash build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
