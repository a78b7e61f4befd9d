#!/bin/sh
# Makes sure that a promtool is there for the monitoring tests: on the PATH, or in .venv/bin, where this puts it.
# It is one file of Debian's package prometheus. The package is unpacked and not installed, which needs no root and
# starts nothing: installed, it would run a Prometheus on port 9090.
set -eu

cd "$(dirname "$0")/.."
place=.venv/bin/promtool
work=.venv/promtool.new

found() { # it is run, because an unpacking that was cut off, or another machine's, leaves a file that cannot
    for name in promtool "$place"; do
        if "$name" --version >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

fetch() { # apt compares what it gets with Debian's signed lists
    rm -rf "$work"
    mkdir -p "$work" .venv/bin
    # As root apt would become the user _apt, who cannot write here, and say so.
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download prometheus)
}

found && exit 0
if command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1; then
    echo "emoface: fetching promtool for the monitoring tests."
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root="sudo -n" # -n: a check never waits for a password
    # At first without the lists being renewed, for that takes longer and needs root.
    if fetch 2>/dev/null || { $as_root apt-get update -qq || true; fetch; }; then
        if dpkg-deb -x "$work"/prometheus_*.deb "$work/root"; then
            mv "$work/root/usr/bin/promtool" "$place" || true # whether it did is looked at below
        fi
    fi
    rm -rf "$work"
fi
if ! found; then
    echo "emoface: the monitoring tests need promtool on the PATH or as $place;" \
        "get it (Debian has it in its package prometheus) and run this again." >&2
    exit 1
fi
