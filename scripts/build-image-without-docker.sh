#!/bin/sh
# Builds the Dockerfile and runs what it made, on a Debian host with no container engine: buildah works with chroot
# isolation, and debootstrap makes the base image that would otherwise be pulled. Needs root and about 25 GB of
# disk for some minutes; leaves nothing behind but the face that it fetched, whose path it prints.
#
#   scripts/build-image-without-docker.sh [FACE.png]
#
# BUILD_OPTIONS is handed to `buildah build` as it is, for a pip that needs settings, certificates or folders:
#   BUILD_OPTIONS="--secret id=pip_conf,src=/etc/pip.conf --volume /srv/wheels:/srv/wheels:ro"
#
# Not shown by this: a GPU, the read-only root and the dropped rights of docker-compose.yml, which are the engine's.
set -eu

cd "$(dirname "$0")/.."
face=${1:-$(mktemp --tmpdir emoface-XXXXXX.png)}
image=localhost/emoface:trial
port=8000 # the one in the image's own command
work='' serving=''

fail() {
    echo "emoface: $*" >&2
    exit 1
}
say() { printf '\n== %s\n' "$*"; }
ok() { echo "ok: $*"; }
seconds() { date +%s; }

[ "$(id -u)" -eq 0 ] || fail "this needs root: debootstrap and chroot do."
free_gb=$(($(df -Pk /var/tmp | awk 'NR == 2 { print $4 }') / 1024 / 1024))
[ "$free_gb" -ge 25 ] || fail "about 25 GB are needed in /var/tmp, and $free_gb GB are free."

missing=''
for tool in buildah debootstrap curl python3; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    say "installing$missing"
    # shellcheck disable=SC2086 # the names are separate words
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } || fail "could not install$missing."
fi

answers() { curl --silent --output /dev/null --noproxy '*' --max-time 5 "http://127.0.0.1:$port/"; }
answers && fail "port $port is in use, and the image's own command needs it."

# ---- storage of our own, gone at the end ------------------------------------------------------------------------
work=$(mktemp -d /var/tmp/emoface-image-XXXXXX)
export TMPDIR="$work/tmp" BUILDAH_ISOLATION=chroot
mkdir "$TMPDIR"
b() { # b COMMAND...: buildah, in that storage
    buildah --root "$work/root" --runroot "$work/run" "$@"
}
descendants() { # descendants PID: it and all below it
    echo "$1"
    # shellcheck disable=SC2013 # one line of many words for each thread
    for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do descendants "$child"; done
}
cleanup() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$serving" ]; then
        # shellcheck disable=SC2046 # process ids
        kill $(descendants "$serving") 2>/dev/null || true
        wait "$serving" 2>/dev/null || true
    fi
    b umount --all >/dev/null 2>&1 || true
    b rm --all >/dev/null 2>&1 || true
    b rmi --all --force >/dev/null 2>&1 || true
    umount "$work/root/overlay" 2>/dev/null || true
    rm -rf "$work" || echo "emoface: $work could not be removed; mounts below it: $(grep -c "$work" /proc/mounts)" >&2
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---- the base, under the name that the Dockerfile gives it -------------------------------------------------------
base=$(sed -n 's/^FROM \(debian:[^ ]*\) AS base$/\1/p' Dockerfile)
release=$(echo "$base" | sed 's/^debian:\([0-9.]*\)-slim$/\1/')
case $release in
12.*) suite=bookworm ;;
13.*) suite=trixie ;;
*) fail "the Dockerfile's base is '$base', and this script knows the point releases of Debian 12 and 13." ;;
esac
say "base: debootstrap $suite, named $base"
begin=$(seconds)
new=$(b from scratch)
root=$(b mount "$new")
debootstrap --variant=minbase "$suite" "$root" >"$work/debootstrap.log" 2>&1 ||
    fail "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/* "$root"/usr/share/man/*
made=$(cat "$root/etc/debian_version")
b config --cmd bash "$new"
b commit --quiet --rm --format docker "$new" "$base" >/dev/null
if [ "$made" = "$release" ]; then
    ok "base is Debian $made, as in the Dockerfile ($(($(seconds) - begin)) s)"
else
    echo "note: the mirror has Debian $made and the Dockerfile names $release, so the base is not quite the same."
fi

# ---- build --------------------------------------------------------------------------------------------------------
say "context: what .dockerignore lets through"
printf 'FROM scratch\nCOPY . /\n' >"$work/Context"
b build --quiet --pull-never --ignorefile .dockerignore --file "$work/Context" --tag localhost/context:trial . >/dev/null
context=$(b from --pull-never localhost/context:trial)
(cd "$(b mount "$context")" && du -sh . | cut -f1 && find . -type f | cut -d/ -f2 | sort | uniq -c)
b rm "$context" >/dev/null

say "build"
begin=$(seconds)
# shellcheck disable=SC2086 # options are separate words
b build --format docker --pull-never ${BUILD_OPTIONS:-} --tag "$image" . >"$work/build.log" 2>&1 || {
    tail -n 40 "$work/build.log" >&2
    fail "the build failed; its last lines are above."
}
ok "built in $(($(seconds) - begin)) s"
container=$(b from --pull-never "$image")
mounted=$(b mount "$container")
echo "unpacked: $(du -sh "$mounted" | cut -f1), of which $(cd "$mounted" && du -sh venv app | awk '{ printf "%s %s  ", $2, $1 }')"

# What the engine would read from the image; $1 is a path in its configuration.
config() {
    b inspect --type image "$image" | python3 -c '
import json, shlex, sys
value = json.load(sys.stdin)["Docker"]["config"]
for key in sys.argv[1].split("."):
    value = value[key]
print(shlex.join(value) if isinstance(value, list) else value)' "$1"
}
user=$(config User)
command=$(config Cmd)
health=$(config Healthcheck.Test | sed 's/^CMD //')
in_image() { eval "b run \"\$container\" -- $*"; } # the words are quoted by config() for a shell

say "what is inside"
[ "$(in_image id -u)" != 0 ] || fail "the image's user is root."
ok "runs as $user"
for tool in gcc cc make pip pip3; do
    if in_image "sh -c 'command -v $tool'" >/dev/null 2>&1; then fail "$tool is in the last stage."; fi
done
if in_image python -m pip --version >/dev/null 2>&1; then fail "pip is in the last stage."; fi
ok "no compiler, make or pip"
if in_image "sh -c ': >/app/x'" 2>/dev/null; then fail "the user can write to /app."; fi
ok "the user cannot write to the code"

# ---- run ----------------------------------------------------------------------------------------------------------
say "run: $command"
if in_image "$health" >/dev/null 2>&1; then fail "the health check passes although nothing is served yet."; fi
ok "health check fails while nothing is served"
touch "$work/started"
begin=$(seconds)
eval "buildah --root '$work/root' --runroot '$work/run' run \"\$container\" -- $command" >"$work/serve.log" 2>&1 &
serving=$!
until in_image "$health" >/dev/null 2>&1; do
    kill -0 "$serving" 2>/dev/null || { cat "$work/serve.log" >&2; fail "the image's command ended by itself; what it said is above."; }
    [ $(($(seconds) - begin)) -lt 180 ] || { cat "$work/serve.log" >&2; fail "not healthy after 180 s."; }
    sleep 1
done
ok "healthy after about $(($(seconds) - begin)) s"

server=''
for pid in $(descendants "$serving"); do
    if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q '/emoface serve'; then server=$pid; fi
done
[ -n "$server" ] || fail "the server's process was not found."
uid=$(awk '/^Uid:/ { print $2 }' "/proc/$server/status")
[ "$uid" != 0 ] || fail "the server runs as root."
ok "the server's process has uid $uid and $(($(awk '/^VmRSS:/ { print $2 }' "/proc/$server/status") / 1024)) MB of memory"

curl --silent --show-error --fail --noproxy '*' --max-time 60 --dump-header "$work/headers" --output "$face" \
    --header 'content-type: application/json' --data '{"emotion": "happy", "seed": 7}' \
    "http://127.0.0.1:$port/generate" || fail "POST /generate failed."
python3 -c '
import sys
head = open(sys.argv[1], "rb").read(24)
assert head[:8] == b"\x89PNG\r\n\x1a\n", head
print("ok: a PNG of %d x %d from POST /generate" % (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")))
' "$face" || fail "what POST /generate gave is no PNG."
grep -i '^x-' "$work/headers" || true

written=$(find "$mounted" -xdev -newer "$work/started" -type f ! -path "$mounted/tmp/*" ! -path "$mounted/proc/*" | head -n 5)
[ -z "$written" ] || fail "the service wrote outside /tmp, so it would fail on a read-only root: $written"
ok "nothing was written outside /tmp, so a read-only root will do"

begin=$(seconds)
kill -TERM "$server"
wait "$serving" && code=0 || code=$?
serving=''
ok "stopped $(($(seconds) - begin)) s after SIGTERM, with exit code $code"
if answers; then fail "port $port still answers."; fi

say "done: the face is $face"
