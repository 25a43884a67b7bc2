#!/usr/bin/env bash
# Makes the images of one release that every later one must verify (law of the disk 6): tests/golden/make.sh DIR, once a release.
# IMGKIT names another binary than target/release/imgkit. The keys are thrown away, so that nobody can seal another one.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
imgkit=${IMGKIT:-$here/target/release/imgkit}
[ $# = 1 ] || { sed -n 2,3p "$0" >&2; exit 2; }
out=$(mkdir -p "$1" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export IMGKIT_TRUST_STATE=$work/state IMGKIT_STORE=$work/store IMGKIT_TRUST_DIR=$work/trust IMGKIT_KEY_DIR=$work/keys HOME=$work
IMGKIT_PASSPHRASE=$(head -c 18 /dev/urandom | base64)
export IMGKIT_PASSPHRASE
# noise BYTES: the same bytes every time, that do not compress
noise() { openssl enc -aes-128-ctr -K "$(printf '%032x' "$1")" -iv 00 -in <(head -c "$1" /dev/zero) 2>/dev/null; }
mkdir -p boot kernel init/etc svc/bin
noise 512 >boot/boot.img
noise 50000 >boot/core.img
noise 40000 >kernel/kernel
noise 30000 >init/init
echo hello >init/etc/motd
ln -s motd init/etc/issue
noise 60000 >svc/bin/app
ln svc/bin/app svc/bin/other
# The packages that `svc` says it is made of: the bills of materials name them.
zeros=$(printf '%064d' 0)
packages=$(cat <<JSON
[{"name":"libstdc++6","version":"12.2.0-14+deb12u1","architecture":"amd64","sha256":"sha256:$zeros","licenses":["Expat","GPL-3+ with GCC-exception"]},
 {"name":"app","version":"1:9.2p1-2~deb12","architecture":"all","sha256":"sha256:$zeros"}]
JSON
)
for name in boot kernel init; do "$imgkit" pkg pack "$name" --tag "golden.test/$name:v1" >/dev/null; done
"$imgkit" pkg pack svc --tag golden.test/svc:v1 --label "org.imgkit.packages=$packages" >/dev/null
cat >policy.yml <<'YML'
version: 1
roots:
  platform: root.json
rules:
  - match: golden.test/*
    signed: {root: platform}
    proved: true
spec:
  signed: {root: platform}
image:
  name: node
  arch: amd64
  sealed: {root: platform}
  proved: true
  minEpoch: 3
YML
cat >node.yml <<'YML'
epoch: 3
boot:
  image: golden.test/boot:v1
kernel:
  image: golden.test/kernel:v1
  tar: none
  cmdline: "console=ttyS0"
init:
  - golden.test/init:v1
services:
  - name: svc
    image: golden.test/svc:v1
    command: [/bin/app]
files:
  - path: etc/motd
    mode: "0644"
    contents: another
YML
"$imgkit" trust init platform >/dev/null
cp keys/platform/root.json root.json
"$imgkit" trust sign golden.test/{boot,kernel,init,svc}:v1 >/dev/null
"$imgkit" trust sign --file node.yml --name spec/node.yml >/dev/null
"$imgkit" lock node.yml >/dev/null
"$imgkit" build --release --locked --offline --policy policy.yml --seal-key keys/platform/seal/*.pem --out "$out" \
  --format raw-bios --format qcow2-bios --format kernel+initrd --format tar node.yml
cp policy.yml root.json "$out"
# Sparse and large; it is kept compressed.
zstd -q -19 --rm "$out/node-bios.img"
