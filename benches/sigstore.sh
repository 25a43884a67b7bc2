#!/usr/bin/env bash
# Measures `imgkit sigstore verify-bundle` against PyPI's sigstore on the same bundle in the same run, and prints the ratio of CPU times.
# Usage: benches/sigstore.sh [ROUNDS]
# IMGKIT names another binary than target/release/imgkit. Goal: a twentieth.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
imgkit=$(realpath -m "${IMGKIT:-$here/target/release/imgkit}")
[ -x "$imgkit" ] || { echo "sigstore.sh: $imgkit is missing; cargo build --release" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$here" && IMGKIT_SAMPLE=$work cargo test --quiet --test sigstore_bundles sample -- --ignored >/dev/null)
python=${PYTHON:-}
if [ -z "$python" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check sigstore==4.5.1
  python=$work/venv/bin/python
fi
cd "$work"
identity=release@example.com issuer=https://issuer.example

# cpu_of COMMAND: prints the median of the CPU seconds of all rounds
cpu_of() {
  python3 - "${rounds}" "$@" <<'PY'
import os, subprocess, sys
runs = []
for _ in range(int(sys.argv[1])):
    process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{sys.argv[2:]} ended with {status}")
    runs.append(usage.ru_utime + usage.ru_stime)
print(f"{sorted(runs)[len(runs) // 2]:.4f}")
PY
}
rounds=${1:-9}
ours=$(cpu_of "$imgkit" sigstore verify-bundle file --bundle bundle.json --trusted-root root.json \
  --certificate-identity $identity --certificate-oidc-issuer $issuer)
theirs=$(cpu_of "$python" -m sigstore --trust-config config.json verify identity --offline \
  --cert-identity $identity --cert-oidc-issuer $issuer --bundle bundle.json file)
python3 -c "print(f'verify a bundle by identity: imgkit $ours s, PyPI sigstore $theirs s of CPU: 1/{$theirs / max($ours, 1e-4):.0f} (goal 1/20)')"
