#!/usr/bin/env bash
# Measures `imgkit policy verify` of 100 images with four requirements each (a role, a key, an attestation with a condition, an age), as user and
# system CPU time of whole commands, and prints each against its goal:
#   layout    cold, from the store, offline. Goal: 2 s.
#   registry  cold, with an empty store, from a loopback docker-registry. Goal: 20 s.
#   kept      again, by the verdicts of before. Goal: 0.2 s.
# Usage: benches/policy.sh [ROUNDS] [IMAGES]
# IMGKIT names another binary than target/release/imgkit.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
imgkit=$(realpath -m "${IMGKIT:-$here/target/release/imgkit}")
[ -x "$imgkit" ] || { echo "policy.sh: $imgkit is missing; cargo build --release" >&2; exit 2; }
rounds=${1:-5} images=${2:-100} registry=
work=$(mktemp -d)
trap '[ -z "$registry" ] || kill "$registry"; rm -rf "$work"' EXIT
cd "$work"
export HOME=$work IMGKIT_PASSPHRASE=bench IMGKIT_TRUST_DIR=$work/trust IMGKIT_KEY_DIR=$work/keys IMGKIT_STORE=$work/made

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >registry.yml <<YML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/regdata}}
http: {addr: '127.0.0.1:$port'}
YML
docker-registry serve registry.yml >/dev/null 2>&1 &
registry=$!
for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.05; done

# An OCI layout of images with a layer of their own each.
python3 - "$port" "$images" <<'PY'
import datetime, hashlib, io, json, os, sys, tarfile
port, images = sys.argv[1:]
os.makedirs("made/blobs/sha256")
def put(kind, data):
    digest = hashlib.sha256(data).hexdigest()
    open(f"made/blobs/sha256/{digest}", "wb").write(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}
index = []
for number in range(int(images)):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("bin/app")
        data = os.urandom(100_000)
        member.size, member.mode = len(data), 0o755
        tar.addfile(member, io.BytesIO(data))
    layer = put("application/vnd.oci.image.layer.v1.tar", out.getvalue())
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = {"created": now, "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
    config = put("application/vnd.oci.image.config.v1+json", json.dumps(config).encode())
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = put(kind, json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}).encode())
    manifest["annotations"] = {"org.opencontainers.image.ref.name": f"127.0.0.1:{port}/bench/i{number}:v1"}
    index.append(manifest)
json.dump({"schemaVersion": 2, "manifests": index}, open("made/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open("made/oci-layout", "w"))
json.dump({"buildDefinition": {"buildType": "urn:bench", "externalParameters": {}}, "runDetails": {"builder": {"id": "urn:bench"}}}, open("predicate.json", "w"))
PY
names=()
for number in $(seq 0 $((images - 1))); do names+=("127.0.0.1:$port/bench/i$number:v1"); done
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out vendor.pem
openssl pkey -in vendor.pem -pubout -out vendor.pub
"$imgkit" trust init platform >/dev/null
"$imgkit" trust sign "${names[@]}" >/dev/null
mkdir signed
for name in "${names[@]}"; do
  "$imgkit" sigstore copy "oci:made:$name" "$name" >/dev/null
  "$imgkit" sigstore sign "$name" --key vendor.pem >/dev/null
  "$imgkit" sigstore attest "$name" --key vendor.pem --type slsaprovenance1 --predicate predicate.json >/dev/null
  "$imgkit" sigstore copy "$name" "oci:signed" >/dev/null
done
cat >policy.yml <<YML
version: 1
roots: {platform: keys/platform/root.json}
signers: {vendor: {key: vendor.pub}}
rules:
  - match: 127.0.0.1:$port/bench/*
    allOf:
      - {signed: {root: platform}}
      - {signed: vendor}
      - {attested: {type: slsaprovenance1, by: vendor, condition: predicate.runDetails.builder.id == 'urn:bench'}}
      - {maxAge: 1d}
YML

python3 - "$rounds" "$imgkit" "${names[@]}" <<'PY'
import os, resource, shutil, subprocess, sys, time
rounds, imgkit, *names = sys.argv[1:]
def run(goal, what, store, *options, before=None):
    runs = []
    for _ in range(int(rounds)):
        if before: before()
        command = [imgkit, "policy", "verify", "--policy", "policy.yml", *options, *names]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "IMGKIT_STORE": store})
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0 or out.count(b"ADMITTED") != len(names):
            sys.exit(f"{command[:4]} ended with {status}: {out[:2000].decode()}")
        runs.append((usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss))
    cpu, wall, memory = sorted(runs)[len(runs) // 2]
    print(f"{what}: {cpu:.3f} s of CPU, goal {goal} ({'met' if cpu <= goal else 'NOT met'}); {wall:.2f} s of wall, {memory // 1024} MiB")
def fresh(): shutil.rmtree("fresh", ignore_errors=True)
run(2, f"{len(names)} images, cold, from a layout", "signed", "--no-cache", "--offline", before=lambda: shutil.rmtree("signed/derived", ignore_errors=True))
run(20, f"{len(names)} images, cold, from a registry", "fresh", "--no-cache", before=fresh)
subprocess.run([imgkit, "policy", "verify", "--policy", "policy.yml", "--offline", *names], stdout=subprocess.DEVNULL, check=True, env={**os.environ, "IMGKIT_STORE": "signed"})
run(0.2, f"{len(names)} images, by kept verdicts", "signed", "--offline")
PY
