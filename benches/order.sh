#!/usr/bin/env bash
# Writes src/main.ld, which puts the functions that everyday commands call beside each other in a release of imgkit: the kernel maps
# a program's file by 64 KiB around what is called, so functions that lie apart cost memory and page faults.
# Usage: benches/order.sh   (needs valgrind, and what notary-client.sh and trust-serve.sh need; takes a quarter of an hour)
# What it writes may be old: names that are gone match nothing, functions that are not named lie where they lay.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
command -v valgrind >/dev/null || { echo "order.sh: valgrind is missing; apt-get install valgrind" >&2; exit 2; }
target=${CARGO_TARGET_DIR:-$here/target}/order
(cd "$here" && CARGO_PROFILE_RELEASE_STRIP=false cargo build --release --bin imgkit --target-dir "$target")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/imgkit" <<SH
#!/bin/sh
exec valgrind --tool=callgrind --demangle=no --callgrind-out-file=$work/%p.calls -q $target/release/imgkit "\$@"
SH
chmod +x "$work/imgkit"
export IMGKIT=$work/imgkit
ROUNDS=1 "$here/benches/notary-client.sh" 10 >/dev/null
"$here/benches/trust-serve.sh" 1 >/dev/null
python3 - "$work" "$here/src/main.ld" <<'PY'
import collections, glob, re, sys
work, path = sys.argv[1:]
def everywhere(name):
    """Puts * for what another build writes otherwise in a function's name (rustc book, v0 mangling)."""
    name = re.sub(r"(?<=Cs)[0-9a-zA-Z]+_(?=\d)", "*_", name)  # hashes of crates,
    name = re.sub(r"B[0-9a-zA-Z]{0,2}_", "*", name)  # and so places in the name;
    name = re.sub(r"\.(llvm|cold|\d).*", "", name)  # what the optimiser appends;
    name = re.sub(r"Cs\*_(\d+)_?(\w+)$", lambda last: "" if len(last[2]) == int(last[1]) else last[0], name)  # whose copy it is
    return re.sub(r"\*+", "*", name[:300] + "*")

callers = collections.Counter()
for calls in glob.glob(f"{work}/*.calls"):
    with open(calls, errors="replace") as file:
        callers.update({everywhere(name) for name in re.findall(r"^c?fn=\(\d+\) (_R[\w.$]+)", file.read(), re.M)})
if len(callers) < 1000:
    sys.exit(f"order.sh: {len(callers)} functions were seen, expected more than 1,000")
with open(path, "w") as file:
    file.write("/* Made by benches/order.sh: the functions of everyday commands, those that most of them call first. */\n")
    file.write("SECTIONS\n{\n  .text.everyday : {\n")
    file.writelines(f"    *(.text.*{name})\n" for name, _ in sorted(callers.items(), key=lambda item: (-item[1], item[0])))
    file.write("  }\n}\nINSERT BEFORE .text;\n")
PY
