#!/usr/bin/env bash
# Measures the peak memory of build and verify over a component of many files of 1 MiB that do not compress, in every format.
# Usage: benches/memory.sh [MIB]   (default 2048; needs about 12 times as much room under TMPDIR)
# Exits 1 when a peak is above 64 MiB + 2 x the largest file. IMGKIT names another binary than target/release/imgkit.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
imgkit=${IMGKIT:-$here/target/release/imgkit}
files=${1:-2048}
command -v python3 >/dev/null || { echo "memory.sh: python3 is missing; apt-get install python3" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export IMGKIT_TRUST_STATE=$work/state IMGKIT_STORE=$work/store IMGKIT_TRUST_DIR=$work/trust IMGKIT_KEY_DIR=$work/keys IMGKIT_PASSPHRASE=memory HOME=$work

mkdir -p boot kernel init big
head -c 512 /dev/urandom >boot/boot.img
head -c 50000 /dev/urandom >boot/core.img
head -c 40000 /dev/urandom >kernel/kernel
head -c 30000 /dev/urandom >init/init
for n in $(seq "$files"); do head -c 1048576 /dev/urandom >"big/$n"; done
for name in boot kernel init big; do "$imgkit" pkg pack "$name" --tag "local.test/$name:v1" >/dev/null; done
rm -r big
cat >policy.yml <<'YML'
version: 1
roots: {platform: keys/platform/root.json}
rules:
  - match: local.test/*
    signed: {root: platform}
image:
  sealed: {root: platform}
YML
cat >node.yml <<'YML'
boot: {image: local.test/boot:v1}
kernel: {image: local.test/kernel:v1, tar: none, cmdline: "console=ttyS0"}
init: [local.test/init:v1]
services:
  - name: big
    image: local.test/big:v1
    command: [/1]
YML
"$imgkit" trust init platform >/dev/null 2>&1
"$imgkit" trust sign local.test/{boot,kernel,init,big}:v1 >/dev/null
key=$(ls keys/platform/seal/*.pem)

status=0
# peak WHAT COMMAND...: runs the command and prints its peak resident memory and time
peak() {
  local what=$1 kib wall
  shift
  read -r kib wall < <(python3 - "$@" <<'PY'
import os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
if status != 0:
    sys.exit(f"{sys.argv[1:]} ended with {status}")
print(usage.ru_maxrss, f"{time.monotonic() - began:.1f}")
PY
  ) || exit 1
  echo "$what: $kib KiB, $wall s"
  [ "$kib" -le "$limit" ] || { echo "  above $limit KiB"; status=1; }
}
limit=$(((64 + 2) * 1024))
build=("$imgkit" build --offline --policy policy.yml --seal-key "$key" node.yml)
peak "build, qcow2-bios, cold" "${build[@]}" --format qcow2-bios --out out
peak "build, raw-bios, segments known" "${build[@]}" --format raw-bios --out out
peak "build, kernel+initrd" "${build[@]}" --format kernel+initrd --out out
peak "build, tar" "${build[@]}" --format tar --out out
for image in node.qcow2 node-bios.img node.seal node.tar.seal; do
  peak "verify $image" "$imgkit" verify --policy policy.yml "out/$image"
  peak "verify --files $image" "$imgkit" verify --policy policy.yml --files "out/$image"
done
exit $status
