#!/bin/sh
# Makes sure that a Chromium or a Chrome is there for the browser tests, which look for the same names on PATH.
# A machine without one is taken for a bare one, so curl, with which a test runs the line that the service prints, comes along.
set -eu

found() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

found && exit 0
as_root=
[ "$(id -u)" -eq 0 ] || as_root="sudo -n" # -n: a check never waits for a password
if command -v apt-get >/dev/null 2>&1 && $as_root true 2>/dev/null; then
    echo "emoface: installing Chromium for the browser tests."
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -qq || true # an old list may do as well
    $as_root apt-get install -y -qq --no-install-recommends chromium curl || true # whether it did is looked at below
fi
if ! found; then
    echo "emoface: the browser tests need Chromium or Google Chrome on the PATH; install one (Debian: sudo apt-get install chromium) and run this again." >&2
    exit 1
fi
