#!/bin/sh
# Makes .venv ready for one of two uses, and does nothing when it already is.
#
#   scripts/venv.sh serve    what a host that serves needs (the core dependencies)
#   scripts/venv.sh test     that, and the `train`, `identity` and `test` extras
#
# A stamp in .venv holds what it was made from: pyproject.toml, this folder's path and the Python inside. While
# that is unchanged pip is not called at all. PYTHON=/path/to/python names the Python for a new environment.
# Every failure is one sentence on standard error and a non-zero exit.
set -eu

cd "$(dirname "$0")/.."
use=${1:?"usage: scripts/venv.sh serve|test"}
venv=.venv
need_mb=9000 # PyTorch with CUDA unpacks to 5.6 GB, and pip holds 3 GB of downloads beside it until it is done
busy=$venv/.emoface-installing
trash=$venv.trash

fail() {
    echo "emoface: $*" >&2
    exit 1
}

case $use in
serve) extras='' modules="torch fastapi uvicorn typer" ;;
test) extras='[train,identity,test]' modules="torch fastapi uvicorn typer torchvision pytest mypy ruff importlinter" ;;
*) fail "scripts/venv.sh knows 'serve' and 'test', not '$use'." ;;
esac

version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_make_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
free_mb() { df -Pk "$1" | awk 'NR == 2 { print int($4 / 1024) }'; }

# Prints the Python to build with. `python3` first: it is the one that the user chose; then the newest other one.
choose_python() {
    old='' bare=''
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.14 python3.13 python3.12 python3.11; fi
    for candidate in "$@"; do
        version=$(version_of "$candidate") || continue # absent, or a launcher with nothing behind it
        if ! is_new_enough "$candidate"; then
            old=${old:-"$candidate is $version"}
        elif ! can_make_venvs "$candidate"; then
            bare=${bare:-"$candidate ($version)"}
        else
            echo "$candidate"
            return
        fi
    done
    if [ -n "$bare" ]; then
        fail "$bare cannot make virtual environments; install its venv module (Debian, Ubuntu: apt-get install python3-venv)."
    fi
    fail "Python 3.11 or newer is needed, but ${old:-no Python was found}; install one, or name it with PYTHON=/path/to/python3."
}

# ---- nothing to do? -------------------------------------------------------------------------------------------
state() { # what the environment would be made from, as one line
    printf '%s %s %s\n' "$(cksum <pyproject.toml)" "$PWD" "$("$venv/bin/python" -c 'import sys; print(sys.version)' | tr '\n' ' ')"
}
holds() { # are those modules there? (looks for them without importing, which would take seconds)
    "$venv/bin/python" -c 'import sys, importlib.util as u; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))' "$@" 2>/dev/null
}

if [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python" && [ ! -e "$busy" ]; then
    now=$(state)
    # shellcheck disable=SC2086 # the module names are separate words
    if [ "$now" = "$(cat "$venv/.emoface-$use" 2>/dev/null)" ] && holds $modules; then
        exit 0
    fi
fi

# ---- the environment itself -----------------------------------------------------------------------------------
# Made from nothing if its Python is gone or too old, if it has no pip, or if an installation was cut off and left a
# package in halves, which pip would take for installed.
usable() {
    is_new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 || return 1
    [ ! -e "$busy" ] || "$venv/bin/python" scripts/whole.py
}
if ! usable; then
    python=$(choose_python) || exit 1
    rm -rf "$trash"
    if [ -e "$venv" ]; then
        echo "emoface: $venv is not whole; making it anew."
        mv "$venv" "$trash" # first out of the way: a removal that is cut off must not leave half an environment
        rm -rf "$trash"
    fi
    if [ "$(free_mb .)" -lt "$need_mb" ]; then
        fail "about $need_mb MB of free disk are needed here for PyTorch and the rest, and $(free_mb .) MB are left; free some and run this again."
    fi
    echo "emoface: making $venv with Python $(version_of "$python"), and installing into it (several GB; once)."
    "$python" -m venv "$venv" || fail "$python could not make a virtual environment in $PWD/$venv; what it said is above."
fi

rm -f "$venv/.emoface-serve" "$venv/.emoface-test"
: >"$busy"
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --editable ".$extras"; then
    for place in . "${TMPDIR:-/tmp}"; do
        [ "$(free_mb "$place")" -ge 300 ] || fail "the disk is full ($(free_mb "$place") MB left in $place); free some and run this again."
    done
    rm -f "$busy" # pip gave up by itself, so what is there is whole; only a killed pip leaves halves
    fail "pip could not install what emoface needs (what it said is above); check the network and run this again."
fi
# One import of the largest pair: torch and torchvision come from one build, or the second cannot be loaded.
check='import torch'
[ "$use" = serve ] || check='import torch, torchvision'
if ! "$venv/bin/python" -c "$check" 2>"$busy"; then
    fail "PyTorch was installed but cannot be loaded ($(tail -n 1 "$busy")); run 'make clean' and then this again."
fi
rm -f "$busy"
state >"$venv/.emoface-serve"
[ "$use" = serve ] || state >"$venv/.emoface-test"
