#!/usr/bin/env bash
# Measures imgkit against Debian's notary client on one collection of one notary-server, and prints CPU times, peak memory and ratios.
# Usage: benches/notary-client.sh [TARGETS…]   (default: 10 10000)
# IMGKIT names another binary than target/release/imgkit; ROUNDS how often each command runs (default 9, medians are printed).
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
imgkit=${IMGKIT:-$here/target/release/imgkit}
rounds=${ROUNDS:-9}
[ $# -gt 0 ] || set -- 10 10000
need() { command -v "$1" >/dev/null || { echo "notary-client.sh: $1 is missing; apt-get install $2" >&2; exit 2; }; }
need notary notary; need notary-server notary; need openssl openssl; need python3 python3; need /usr/bin/time time
[ -x "$imgkit" ] || { echo "notary-client.sh: there is no $imgkit; cargo build --release" >&2; exit 2; }
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
cd "$work"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
  -addext basicConstraints=critical,CA:FALSE -keyout tls.key -out tls.crt 2>/dev/null
cat >server.json <<JSON
{"server": {"http_addr": "127.0.0.1:$port", "tls_cert_file": "$work/tls.crt", "tls_key_file": "$work/tls.key"},
 "trust_service": {"type": "local", "hostname": "", "port": "", "key_algorithm": "ed25519"},
 "logging": {"level": "error"}, "storage": {"backend": "memory"}}
JSON
notary-server -config server.json >server.log 2>&1 &
server=$!
for _ in $(seq 100); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2>/dev/null && break; sleep 0.1; done
export HOME=$work IMGKIT_PASSPHRASE=passphrase
export NOTARY_ROOT_PASSPHRASE=passphrase NOTARY_TARGETS_PASSPHRASE=passphrase NOTARY_SNAPSHOT_PASSPHRASE=passphrase
digest=a155771cf43ecc9d481d33c7a3ee06b84d2d838be021ede4355893bab1fd1024
theirs() { printf '%s\0' notary -s "https://127.0.0.1:$port" --tlscacert tls.crt -d "$dir" "$@"; }
ours() { printf '%s\0' "$imgkit" trust "$@" --server "https://127.0.0.1:$port" --ca-cert tls.crt --trust-dir "$dir"; }
once() { local args; mapfile -d '' args < <("$@"); "${args[@]}" </dev/null >/dev/null; }

# median COMMAND…: prints "cpu_ms peak_KiB", each the median; %N in an argument is the number of the round. The peak is measured under
# time(1): the kernel counts the memory of who starts a process as that process's own, and Python has more than imgkit.
median() {
  local args; mapfile -d '' args < <("$@")
  python3 - "$rounds" "${args[@]}" <<'PY'
import os, statistics, subprocess, sys
def run(number, *before):
    command = [*before, *(word.replace("%N", str(number)) for word in sys.argv[2:])]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command} ended with {status}")
    return (usage.ru_utime + usage.ru_stime) * 1000
def peak(number):
    run(number, "/usr/bin/time", "-q", "-f", "%M", "-o", "peak")
    with open("peak") as file:
        return int(file.read())
rounds = int(sys.argv[1])
cpu = statistics.median_low(run(number) for number in range(rounds))
kib = statistics.median_low(peak(number) for number in range(rounds, rounds + 3))
print(f"{cpu:.1f} {kib}")
PY
}
row() { # WHAT GOAL THEIR_CPU THEIR_PEAK OUR_CPU OUR_PEAK
  python3 - "$@" <<'PY'
import sys
what, goal = sys.argv[1:3]
a, b, c, d = map(float, sys.argv[3:7])
print(f"| {what} | {a:.1f} | {c:.1f} | 1/{a / c:.1f} (goal 1/{goal}) | {b / 1024:.1f} | {d / 1024:.1f} | {d / b:.2f} (goal 0.5) |")
PY
}
compare() { # WHAT GOAL: the commands are in `their` and `our`
  local a b
  a=$(median theirs "${their[@]}"); b=$(median ours "${our[@]}")
  # shellcheck disable=SC2086
  row "$1" "$2" $a $b
}

echo "| | notary CPU ms | imgkit CPU ms | ratio | notary peak MiB | imgkit peak MiB | ratio |"
echo "|---|---|---|---|---|---|---|"
for count in "$@"; do
  gun=r.example/bench/$count
  dir=$work/trust-$count
  mkdir -m 700 "$dir"
  once ours init --dialect notary "$gun" --new-root-key
  mapfile -t names < <(seq -f 'name/%08g' "$count")
  once ours sign "$gun" "${names[@]}" --digest "sha256:$digest" --length 11
  goal=4; [ "$count" -lt 10000 ] || goal=20
  once theirs list "$gun"
  their=(lookup "$gun" name/00000001) our=(lookup "$gun" name/00000001); compare "lookup warm, $count targets" "$goal"
  their=(list "$gun") our=(ls "$gun"); compare "ls warm, $count targets" "$goal"
  their=(addhash -p "$gun" theirs%N 11 --sha256 "$digest") our=(sign "$gun" ours%N --digest "sha256:$digest" --length 11)
  compare "publish of one more, $count targets" 5
done
