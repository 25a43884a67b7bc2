"""Makes a TUF repository with python-tuf: OUT/metadata, OUT/targets, as a web server has them.

Every kind of key that the specification names signs a role. `plain` delegates to listed roles, one of them with an odd name,
one by hash prefixes, one nested; `bins` delegates to 256 hashed bins. A second run publishes the next version of everything,
with a new root key.
"""

import json
import os
import sys
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from urllib.parse import quote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, SuccinctRoles, TargetFile, Targets, Timestamp,
)

out, form, version, consistent = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "consistent"
expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=10)
keys_file = os.path.join(out, "keys")
os.makedirs(os.path.join(out, "metadata"), exist_ok=True)


def signers():
    """One key of each kind, kept from the first run to the second."""
    made = {
        "root": CryptoSigner.generate_ed25519(), "next": CryptoSigner.generate_ed25519(),
        "timestamp": CryptoSigner.generate_ecdsa(), "snapshot": CryptoSigner.generate_rsa(),
        "targets": CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"), "team": CryptoSigner.generate_ecdsa(),
    }
    os.makedirs(keys_file, exist_ok=True)
    for name, signer in made.items():
        path = os.path.join(keys_file, name)
        if os.path.exists(path):
            with open(path, "rb") as file, open(path + ".pub") as public:
                from cryptography.hazmat.primitives.serialization import load_pem_private_key
                from securesystemslib.signer import Key
                key = json.load(public)
                made[name] = CryptoSigner(load_pem_private_key(file.read(), None), Key.from_dict(key.pop("keyid"), key))
        else:
            with open(path, "wb") as file, open(path + ".pub", "w") as public:
                file.write(signer.private_bytes)
                json.dump({"keyid": signer.public_key.keyid, **signer.public_key.to_dict()}, public)
    return made


keys = signers()
meta = {}


def write(role, signed, *by):
    document = Metadata(signed)
    for signer in by:
        document.sign(signer, append=True)
    versioned = role == "root" or (consistent and role != "timestamp")
    name = (f"{signed.version}." if versioned else "") + quote(role, "") + ".json"
    document.to_file(os.path.join(out, "metadata", name))
    meta[f"{role}.json"] = MetaFile(signed.version)


def artifact(name):
    content = f"{name} {version}".encode()
    target = TargetFile.from_data(name, content, ["sha256", "sha512"])
    target.unrecognized_fields["custom"] = {"name": name}
    folder, _, last = name.rpartition("/")
    path = os.path.join(out, "targets", folder)
    os.makedirs(path, exist_ok=True)
    prefix = target.hashes["sha512" if "512" in name else "sha256"] + "." if consistent else ""
    if "512" in name:
        del target.hashes["sha256"]
    with open(os.path.join(path, prefix + quote(last, "")), "wb") as file:
        file.write(content)
    return target


def delegated(names):
    return Targets(version, None, expires, {name: artifact(name) for name in names})


root = Root(version, expires=expires, consistent_snapshot=consistent)
for role in ("timestamp", "snapshot", "targets"):
    root.add_key(keys[role].public_key, role)
root.add_key(keys["root" if version == 1 else "next"].public_key, "root")
write("root", root, keys["root"], keys["next"])

team = keys["team"].public_key
top = delegated(["file.txt", "a b+c%?.txt", "by-sha512.txt"] if form == "plain" else [])
if form == "plain":
    hashed = sha256(b"hashed/x").hexdigest()[:3]
    roles = [
        DelegatedRole("../odd role?", [team.keyid], 1, False, paths=["odd/*"]),
        DelegatedRole("prefixes", [team.keyid], 1, False, path_hash_prefixes=[hashed]),
        DelegatedRole("outer", [team.keyid], 1, True, paths=["deep/*/*"]),
    ]
    top.delegations = Delegations({team.keyid: team}, {role.name: role for role in roles})
    write("../odd role?", delegated(["odd/x"]), keys["team"])
    write("prefixes", delegated(["hashed/x"]), keys["team"])
    outer = delegated([])
    inner = DelegatedRole("inner", [team.keyid], 1, False, paths=["deep/a/*"])
    outer.delegations = Delegations({team.keyid: team}, {"inner": inner})
    write("outer", outer, keys["team"])
    write("inner", delegated(["deep/a/x"]), keys["team"])
else:
    bins = SuccinctRoles([team.keyid], 1, 8, "bin")
    top.delegations = Delegations({team.keyid: team}, None, bins)
    names = [f"dir/file-{number}" for number in range(20)]
    for role in bins.get_roles():
        write(role, delegated([name for name in names if bins.get_role_for_target(name) == role]), keys["team"])
write("targets", top, keys["targets"])
del meta["root.json"]
write("snapshot", Snapshot(version, expires=expires, meta=dict(meta)), keys["snapshot"])
write("timestamp", Timestamp(version, expires=expires, snapshot_meta=meta["snapshot.json"]), keys["timestamp"])
