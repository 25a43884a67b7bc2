#!/usr/bin/env bash
# Measures `imgkit trust serve` against Debian's notary-server in the same run, and prints ratios; numbers alone mean little on a shared machine.
# Usage: benches/trust-serve.sh [SECONDS]   (of each measurement; default 5)
# Both with TLS, or both without where SCHEME=http; notary-server with notary-signer, in memory and with PostgreSQL; imgkit with a directory and with PostgreSQL.
# IMGKIT names another binary than target/release/imgkit. As root, PostgreSQL runs as nobody.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
imgkit=${IMGKIT:-$here/target/release/imgkit}
seconds=${1:-5}
scheme=${SCHEME:-https}
for need in notary:notary notary:notary-server notary:notary-signer wrk:wrk openssl:openssl python3:python3; do
  command -v "${need#*:}" >/dev/null || { echo "trust-serve.sh: ${need#*:} is missing; apt-get install ${need%%:*}" >&2; exit 2; }
done
pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$pg" ] || { echo "trust-serve.sh: PostgreSQL is missing; apt-get install postgresql" >&2; exit 2; }
work=$(mktemp -d)
pids=()
# A shell's background processes ignore SIGINT unless they ask for it; PostgreSQL, the first, does, and waits for nobody then.
cleanup() {
  for pid in "${pids[@]:1}"; do kill "$pid" 2>/dev/null || true; done
  [ ${#pids[@]} = 0 ] || kill -INT "${pids[0]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
listening() { for _ in $(seq 600); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.05; done; echo "nothing listens on port $1" >&2; exit 1; }

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
  -addext basicConstraints=critical,CA:FALSE -keyout tls.key -out tls.crt 2>/dev/null

mkdir data
as=()
if [ "$(id -u)" = 0 ]; then chown 65534:65534 data; chmod 755 .; as=(setpriv --reuid=65534 --regid=65534 --clear-groups --); fi
"${as[@]}" "$pg/initdb" --auth=trust --username=bench --encoding=UTF8 --no-locale -D data >/dev/null
db=$(port)
"${as[@]}" "$pg/postgres" -D data -h 127.0.0.1 -p "$db" -k "$work/data" >postgres.log 2>&1 & pids+=($!)
listening "$db"
sql() { "$pg/psql" -q -h 127.0.0.1 -p "$db" -U bench -v ON_ERROR_STOP=1 "$@"; }
sql -d postgres -c 'CREATE DATABASE theirs' -c 'CREATE DATABASE ours'
# What notary's own migrations make; Debian's package does not have them.
sql -d theirs <<'SQL'
CREATE TABLE tuf_files (id serial PRIMARY KEY, created_at timestamp, updated_at timestamp, deleted_at timestamp, gun varchar(255) NOT NULL,
  role varchar(255) NOT NULL, version integer NOT NULL, data bytea NOT NULL, sha256 char(64), UNIQUE (gun, role, version));
CREATE INDEX ON tuf_files (sha256);
CREATE TABLE changefeed (id serial PRIMARY KEY, created_at timestamp DEFAULT CURRENT_TIMESTAMP, gun varchar(255) NOT NULL,
  version integer NOT NULL, sha256 char(64), category varchar(20) NOT NULL DEFAULT 'update');
SQL

signer=$(port)
cat >signer.json <<JSON
{"server":{"grpc_addr":"127.0.0.1:$signer","tls_cert_file":"$work/tls.crt","tls_key_file":"$work/tls.key","client_ca_file":"$work/tls.crt"},
 "logging":{"level":"error"},"storage":{"backend":"memory"}}
JSON
NOTARY_SIGNER_DEFAULT_ALIAS=bench NOTARY_SIGNER_BENCH=bench notary-signer -config signer.json >signer.log 2>&1 & pids+=($!)
listening "$signer"

# theirs NAME STORAGE: starts notary-server; sets pid and url
theirs() {
  local at; at=$(port)
  local tls=",\"tls_cert_file\":\"$work/tls.crt\",\"tls_key_file\":\"$work/tls.key\""
  [ "$scheme" = https ] || tls=
  cat >"$1.json" <<JSON
{"server":{"http_addr":"127.0.0.1:$at"$tls},
 "trust_service":{"type":"remote","hostname":"127.0.0.1","port":"$signer","tls_ca_file":"$work/tls.crt","key_algorithm":"ecdsa",
  "tls_client_cert":"$work/tls.crt","tls_client_key":"$work/tls.key"},"logging":{"level":"error"},"storage":$2}
JSON
  notary-server -config "$1.json" >"$1.log" 2>&1 & pid=$! url=$scheme://127.0.0.1:$at; pids+=("$pid")
  listening "$at"
}
# ours NAME STORE: starts imgkit; sets pid and url
ours() {
  local tls=(--tls-cert tls.crt --tls-key tls.key)
  [ "$scheme" = https ] || tls=()
  HOME=$work IMGKIT_PASSPHRASE=bench "$imgkit" trust serve --listen 127.0.0.1:0 --store "$2" "${tls[@]}" \
    >"$1.out" 2>"$1.log" & pid=$!; pids+=("$pid")
  for _ in $(seq 200); do [ -s "$1.out" ] && break; sleep 0.05; done
  url=$(cat "$1.out")
}

# fill URL TRUST_DIR: publishes a collection of 1,000 targets
export NOTARY_ROOT_PASSPHRASE=benchbench NOTARY_TARGETS_PASSPHRASE=benchbench NOTARY_SNAPSHOT_PASSPHRASE=benchbench
fill() {
  local client=(notary -s "$1" --tlscacert tls.crt -d "$2")
  "${client[@]}" init -p bench.example/large </dev/null >/dev/null
  python3 - "$2/tuf/bench.example/large/changelist" <<'PY'
import base64, hashlib, json, os, sys, uuid
os.makedirs(sys.argv[1], exist_ok=True)
for n in range(1000):
    name = f"image-{n:06}"
    sums = {a: base64.b64encode(getattr(hashlib, a)(name.encode()).digest()).decode() for a in ("sha256", "sha512")}
    data = base64.b64encode(json.dumps({"length": 1000, "hashes": sums}).encode()).decode()
    change = {"action": "create", "role": "targets", "type": "target", "path": name, "data": data}
    with open(f"{sys.argv[1]}/{1700000000000000000 + n:020}_{uuid.uuid4()}.change", "w") as file:
        json.dump(change, file)
PY
  "${client[@]}" publish bench.example/large </dev/null >/dev/null
  python3 - "$1" <<'PY'
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile="tls.crt")
body = urllib.request.urlopen(f"{sys.argv[1]}/v2/bench.example/large/_trust/tuf/targets.json", context=context).read()
if body.count(b"image-") != 1000:
    sys.exit(f"trust-serve.sh: the collection has {body.count(b'image-')} targets in {len(body)} bytes, not 1,000")
PY
}

# measure NAME: prints requests per second and p99 of each file, and the server's resident memory before and after
declare -A rate p99 loaded fresh anonymous cpu wrk_cpu
# cpu_of PID: its processor time so far, in hundredths of a second
cpu_of() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
ms() { python3 -c 'import sys; t = sys.argv[1]; print(f"{float(t[:-2]) / 1000 if t.endswith(chr(117) + chr(115)) else float(t[:-2]) if t.endswith(chr(109) + chr(115)) else float(t[:-1]) * 1000:.2f}")' "$1"; }
measure() {
  fresh[$1]=$(awk '/VmRSS/ {print $2}' "/proc/$pid/status")
  fill "$url" "$work/trust-$1"
  local file out encoding before after
  for file in timestamp.json targets.json targets.json+gzip; do
    # Clients in Go, notary's among them, say that they read gzip.
    encoding=identity; [ "$file" = "${file%+gzip}" ] || encoding=gzip
    before=$(cpu_of "$pid")
    out=$({ TIMEFORMAT='wrk-cpu %U %S'; time wrk -t1 -c16 "-d${seconds}s" --latency -H "Accept-Encoding: $encoding" \
      "$url/v2/bench.example/large/_trust/tuf/${file%+gzip}"; } 2>&1)
    after=$(cpu_of "$pid")
    if grep -q 'Non-2xx' <<<"$out"; then echo "$1 $file: $out" >&2; exit 1; fi
    rate[$1,$file]=$(awk '/Requests\/sec/ {print $2}' <<<"$out")
    # Microseconds for each request: of the server, and of wrk, whose one thread is at its end at a second for each second.
    cpu[$1,$file]=$(awk -v ticks="$((after - before))" '/requests in/ { printf "%.0f", ticks * 10000 / $1 }' <<<"$out")
    wrk_cpu[$1,$file]=$(awk '/requests in/ { requests = $1 } /^wrk-cpu/ { printf "%.0f", ($2 + $3) * 1000000 / requests }' <<<"$out")
    p99[$1,$file]=$(ms "$(awk '$1 == "99%" {print $2}' <<<"$out")")
  done
  # Not the peak: imgkit's is scrypt's, when it starts.
  loaded[$1]=$(awk '/VmRSS/ {print $2}' "/proc/$pid/status")
  # Without what is mapped from the program's own file, which the system may drop and read again.
  anonymous[$1]=$(awk '/RssAnon/ {print $2}' "/proc/$pid/status")
  kill "$pid"; wait "$pid" 2>/dev/null || true
}

theirs memory '{"backend":"memory"}'; measure memory
ours directory "$work/store"; measure directory
theirs theirs-pg "{\"backend\":\"postgres\",\"db_url\":\"postgres://bench@127.0.0.1:$db/theirs?sslmode=disable\"}"; measure theirs-pg
ours ours-pg "postgres://bench@127.0.0.1:$db/ours"; measure ours-pg

ratio() { python3 -c 'import sys; print(f"{float(sys.argv[1]) / float(sys.argv[2]):.2f}")' "$1" "$2"; }
row() { printf '%-56s %14s %14s %8s  %s\n' "$1" "$2" "$3" "$4" "${5:-}"; }
compare() {
  local theirs=$1 ours=$2 what=$3 file
  for file in timestamp.json targets.json targets.json+gzip; do
    row "$what, $file, req/s" "${rate[$theirs,$file]}" "${rate[$ours,$file]}" "$(ratio "${rate[$ours,$file]}" "${rate[$theirs,$file]}")" ">= 3"
    row "$what, $file, server's CPU, us/req" "${cpu[$theirs,$file]}" "${cpu[$ours,$file]}" "$(ratio "${cpu[$ours,$file]}" "${cpu[$theirs,$file]}")"
    row "$what, $file, wrk's CPU, us/req" "${wrk_cpu[$theirs,$file]}" "${wrk_cpu[$ours,$file]}" "$(ratio "${wrk_cpu[$ours,$file]}" "${wrk_cpu[$theirs,$file]}")"
    row "$what, $file, p99 ms" "${p99[$theirs,$file]}" "${p99[$ours,$file]}" "$(ratio "${p99[$ours,$file]}" "${p99[$theirs,$file]}")" "<= 1"
  done
  row "$what, fresh memory, KiB" "${fresh[$theirs]}" "${fresh[$ours]}" "$(ratio "${fresh[$ours]}" "${fresh[$theirs]}")" "<= 0.5"
  row "$what, memory under load, KiB" "${loaded[$theirs]}" "${loaded[$ours]}" "$(ratio "${loaded[$ours]}" "${loaded[$theirs]}")" "<= 0.5"
  row "$what, anonymous memory of it, KiB" "${anonymous[$theirs]}" "${anonymous[$ours]}" "$(ratio "${anonymous[$ours]}" "${anonymous[$theirs]}")"
}
echo "wrk -t1 -c16 -d${seconds}s, $scheme; targets.json has 1,000 targets, +gzip is the same asked for with Accept-Encoding: gzip; notary-signer's memory is not counted"
row "" notary-server imgkit ratio goal
compare memory directory "memory / directory"
compare theirs-pg ours-pg PostgreSQL
