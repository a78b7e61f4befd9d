#!/bin/sh
# Runs every check, also after one has failed, and fails if any did. `make test` calls it; so does CI, through it.
# pytest is last, so that its summary closes the output.
set -u

cd "$(dirname "$0")/.." || exit 1
bin=.venv/bin
failed=
# PyTorch's threads sleep while they wait for each other: on a busy machine, waiting in a loop stops everything.
export OMP_WAIT_POLICY=passive

check() { # check NAME COMMAND...
    name=$1
    shift
    printf '\n== %s\n' "$name"
    "$@" || failed="$failed $name"
}

check ruff $bin/ruff check .
check ruff-format $bin/ruff format --check .
check mypy $bin/mypy
check import-linter $bin/lint-imports
check hadolint $bin/hadolint Dockerfile
check compose $bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
check pytest $bin/python -m pytest

if [ -n "$failed" ]; then
    printf '\nemoface: failed:%s\n' "$failed" >&2
    exit 1
fi
