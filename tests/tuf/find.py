"""Refreshes with python-tuf's ngclient and looks targets up: METADATA_URL DIR NAME…; DIR/root.json is trusted at first.

Prints the length and SHA-256 of each target as its role signed them.
"""

import os
import sys

from tuf.ngclient import Updater

metadata, directory, *names = sys.argv[1:]
with open(os.path.join(directory, "root.json"), "rb") as file:
    root = file.read()
kept = os.path.join(directory, "ngclient")
os.makedirs(kept, exist_ok=True)
updater = Updater(kept, metadata, bootstrap=root)
updater.refresh()
for name in names:
    info = updater.get_targetinfo(name)
    if info is None:
        sys.exit(f"no target {name}")
    print(name, info.length, info.hashes["sha256"])
