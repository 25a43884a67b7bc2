#!/usr/bin/env bash
# Measures builds and verification against public tools in the same run, and prints ratios; numbers alone mean little on a shared machine.
# Usage: benches/peers.sh QUICKSTART_DIR   (a directory that `imgkit quickstart` made; its store and keys are used, nothing in it is changed)
# IMGKIT names another binary than target/release/imgkit. Needs 8 GiB under TMPDIR.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
imgkit=${IMGKIT:-$here/target/release/imgkit}
[ $# = 1 ] || { sed -n 3,4p "$0" >&2; exit 2; }
for tool in zstd openssl python3; do command -v "$tool" >/dev/null || { echo "peers.sh: $tool is missing; apt-get install $tool" >&2; exit 2; }; done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$1/store" "$1/trust" "$1/keys" "$1/policy.yml" "$1/passphrase" "$work"
cd "$work"
export IMGKIT_TRUST_STATE=$work/state IMGKIT_STORE=$work/store IMGKIT_TRUST_DIR=$work/trust IMGKIT_KEY_DIR=$work/keys IMGKIT_PASSPHRASE; IMGKIT_PASSPHRASE=$(cat passphrase)
cp "$here/examples/node.yml" node.yml
# The quickstart tampered with one component and demands a signed specification; neither matters here.
"$imgkit" pkg build "$here/components/rngd" >/dev/null 2>&1
"$imgkit" trust sign imgkit.local/components/rngd:latest >/dev/null
sed -i '/^spec:/,/^image:/{/^image:/!d}' policy.yml
key=$(ls keys/platform/seal/*.pem)

# median_of N COMMAND: prints "wall cpu peak_KiB" of the median run by CPU
median_of() {
  local n=$1; shift
  python3 - "$n" "$@" <<'PY'
import os, resource, subprocess, sys, time
runs = []
for _ in range(int(sys.argv[1])):
    began = time.monotonic()
    process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{sys.argv[2:]} ended with {status}")
    runs.append((usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss))
cpu, wall, peak = sorted(runs)[len(runs) // 2]
print(f"{wall:.3f} {cpu:.3f} {peak}")
PY
}
ratio() { python3 -c "print(f'{$1 / $2:.2f}')"; }
build() { printf '%s\0' "$imgkit" build --offline --policy policy.yml --seal-key "$key" --epoch 1 --name node "$@"; }
run() { local n=$1; shift; local args; mapfile -d '' args < <("$@"); median_of "$n" "${args[@]}"; }

run 1 build --format tar --out tar node.yml >/dev/null
read -r wall cpu peak < <(run 1 build --out warm node.yml)
# Segments are kept; between runs one entry of `files:` and --out change.
changed() {
  for n in 1 2 3 4 5; do
    sed "s/^files:/files:\n  - path: etc\/changed\n    mode: \"0644\"\n    contents: run $n/" node.yml >changed.yml
    run 1 build --out "warm$n" changed.yml
  done | sort -k2n | sed -n 3p
}
read -r wall cpu peak < <(changed)
echo "1 warm build, qcow2-bios: $cpu s CPU, $wall s wall, $peak KiB (goal 0.8 s CPU)"
# The median of five by CPU, each of which starts without what earlier builds kept.
cold() { for _ in 1 2 3 4 5; do rm -rf store/derived; run 1 build --out cold node.yml; done | sort -k2n | sed -n 3p; }
read -r _ zstd _ < <(median_of 5 zstd -9 -q -f -T1 tar/node.tar -o tar.zst)
read -r wall cpu peak < <(cold)
echo "2 cold build: $cpu s CPU = $(ratio "$cpu" "$zstd") x zstd -9 of the same tar (goal 1.3), peak $peak KiB"
read -r one _ _ < <(RAYON_NUM_THREADS=1 cold)
echo "  two threads take $(ratio "$wall" "$one") of one's wall time (goal 0.75)"
read -r verify vcpu peak < <(median_of 5 "$imgkit" verify --policy policy.yml --files warm/node.qcow2)
read -r peer _ _ < <(median_of 5 sh -c 'zstd -dcq tar.zst | openssl dgst -sha256')
echo "3 verify --files: $verify s wall, $vcpu s CPU, $peak KiB = $(ratio "$verify" "$peer") x zstd -dc | openssl dgst (goal 1.0)"

# A disk of 1 GiB: a component of 978 MiB that do not compress, which its signer vouches for by the seal alone.
big() { printf '%s\0' "$imgkit" build --offline --policy big.yml --seal-key "$key" --epoch 1 --name node --format raw-bios --format qcow2-bios --out big "$@"; }
mkdir rootfs
head -c 978M /dev/urandom >rootfs/random
"$imgkit" pkg pack rootfs --tag imgkit.local/components/big:latest >/dev/null
rm -r rootfs
"$imgkit" trust sign imgkit.local/components/big:latest >/dev/null
sed '/proved:/d' policy.yml >big.yml
sed 's/^services:/services:\n  - name: big\n    image: imgkit.local\/components\/big:latest\n    command: [\/random]/' node.yml >big-node.yml
run 1 big big-node.yml >/dev/null
read -r raw cpu peak < <(median_of 5 "$imgkit" verify --policy big.yml big/node-bios.img)
read -r qcow2 _ qpeak < <(median_of 5 "$imgkit" verify --policy big.yml big/node.qcow2)
read -r peer _ _ < <(median_of 5 openssl dgst -sha256 big/node-bios.img)
size=$(stat -c %s big/node-bios.img)
echo "3 verify of $((size >> 20)) MiB raw: $raw s wall, $cpu s CPU, $peak KiB = $(ratio "$raw" "$peer") x openssl dgst -sha256 (goal 0.7)"
echo "  its qcow2: $qcow2 s wall, $qpeak KiB = $(ratio "$qcow2" "$raw") x raw (goal 2)"
rm -r big
echo "4 peak memory at 2 GiB in files of 1 MiB: benches/memory.sh"
size=$(stat -c %s warm/node.qcow2)
echo "5 default node as qcow2-bios: $((size / 1024)) KiB (goal 46000)"
if command -v qemu-system-x86_64 >/dev/null; then
  up=$(python3 - "$imgkit" <<'PY'
import subprocess, sys, time
began = time.monotonic()
run = [sys.argv[1], "run", "--policy", "policy.yml", "--exit-on", "all services up", "--timeout", "300", "warm/node.qcow2"]
subprocess.run(run, stdout=subprocess.DEVNULL, check=True)
print(f"{time.monotonic() - began:.1f}")
PY
  )
  echo "6 power-on to all services up, TCG, its verification included: $up s (goal 30)"
else
  echo "6 power-on to all services up: NOT MEASURED; apt-get install qemu-system-x86"
fi
