#!/usr/bin/env bash
# Measures in one run, as user and system CPU time of whole commands, and prints the ratios:
#   images   `imgkit sigstore verify` of an image signed by key in a loopback docker-registry, against `skopeo inspect` of that image. Goal: at most twice.
#   bundles  `imgkit sigstore verify-bundle` of a bundle by identity, against PyPI's sigstore on the same bundle. Goal: at most a twentieth.
# Usage: benches/sigstore.sh [images|bundles|all] [ROUNDS]
# IMGKIT names another binary than target/release/imgkit, PYTHON one that has sigstore 4.5.1.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
imgkit=$(realpath -m "${IMGKIT:-$here/target/release/imgkit}")
[ -x "$imgkit" ] || { echo "sigstore.sh: $imgkit is missing; cargo build --release" >&2; exit 2; }
what=${1:-all} rounds=${2:-20} registry=
work=$(mktemp -d)
trap '[ -z "$registry" ] || kill "$registry"; rm -rf "$work"' EXIT

# compare NAME GOAL OURS… -- THEIRS…: runs both by turns, and prints the medians of their CPU times and the ratio
compare() {
  python3 - "$rounds" "$@" <<'PY'
import os, subprocess, sys
rounds, name, goal, *words = sys.argv[1:]
at = words.index("--")
commands = {"imgkit": words[:at], "the other": words[at + 1:]}
runs = {who: [] for who in commands}
for _ in range(int(rounds)):
    for who, command in commands.items():
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"{command} ended with {status}")
        runs[who].append(usage.ru_utime + usage.ru_stime)
ours, theirs = (sorted(times)[len(times) // 2] for times in runs.values())
met = "met" if ours <= float(goal) * theirs else "NOT met"
print(f"{name}: {ours * 1000:.1f} ms of CPU against {theirs * 1000:.1f}: {ours / theirs:.3f} times, goal {goal} ({met}; medians of {rounds} rounds)")
PY
}

images() {
  local fixtures=$here/tests/fixtures/cosign port
  tar xzf "$fixtures/registry-data.tgz" -C "$work"
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  cat >"$work/registry.yml" <<YML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/regdata}}
http: {addr: '127.0.0.1:$port'}
YML
  docker-registry serve "$work/registry.yml" >/dev/null 2>&1 &
  registry=$!
  for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.05; done
  compare "verify an image by key (.sig), against skopeo inspect" 2 \
    "$imgkit" sigstore verify "127.0.0.1:$port/t/app2:v1" --key "$fixtures/ck.pub" -- \
    skopeo --insecure-policy inspect --tls-verify=false "docker://127.0.0.1:$port/t/app2:v1"
  compare "verify an image by key (bundle), against skopeo inspect" 2 \
    "$imgkit" sigstore verify "127.0.0.1:$port/t/app3:v1" --key "$fixtures/ck.pub" -- \
    skopeo --insecure-policy inspect --tls-verify=false "docker://127.0.0.1:$port/t/app3:v1"
}

bundles() {
  (cd "$here" && IMGKIT_SAMPLE=$work cargo test --quiet --test sigstore_bundles sample -- --ignored >/dev/null)
  local python=${PYTHON:-}
  if [ -z "$python" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check sigstore==4.5.1
    python=$work/venv/bin/python
  fi
  cd "$work"
  local who=(release@example.com https://issuer.example)
  compare "verify a bundle by identity, against PyPI's sigstore" 0.05 \
    "$imgkit" sigstore verify-bundle file --bundle bundle.json --trusted-root root.json \
    --certificate-identity "${who[0]}" --certificate-oidc-issuer "${who[1]}" -- \
    "$python" -m sigstore --trust-config config.json verify identity --offline \
    --cert-identity "${who[0]}" --cert-oidc-issuer "${who[1]}" --bundle bundle.json file
}

case $what in
  images) images ;;
  bundles) bundles ;;
  all) images; bundles ;;
  *) echo "usage: $0 [images|bundles|all] [ROUNDS]" >&2; exit 2 ;;
esac
