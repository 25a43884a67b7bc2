//! The quickstart's node: the default one, with what makes this run recognisable in it.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::failure::Failure;

/// The default node.
const DEFAULT: &str = include_str!("../../../examples/node.yml");

/// The policy: everything signed and proved; what the components' labels ask for is allowed.
const POLICY: &str = "\
version: 1
roots:
  platform: keys/platform/root.json
rules:
  - match: imgkit.local/components/*
    signed: {root: platform}
    proved: true
    allow: ['ambient:*', 'annotation:*', 'bind:*', 'capability:*', 'device:*', 'host-mkdir:*', 'mount:*', 'namespace:*', 'rootfs:*']
spec:
  signed: {root: platform}
image:
  name: node
  arch: amd64
  sealed: {root: platform}
  proved: true
  minEpoch: 1
  maxAge: 90d
";

/// What is recognisable.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The host name that the metadata give.
    pub(super) hostname: String,
    /// The value of `kernel.core_pattern` that sysctl sets.
    pub(super) core_pattern: String,
    /// What the container that runs at power off says on the console.
    pub(super) farewell: String,
}

impl Node {
    /// Writes node.yml and policy.yml.
    pub(super) fn write(dir: &Path, nonce: &str) -> Result<Self, Failure> {
        let node = Self {
            hostname: format!("node-{nonce}"),
            core_pattern: format!("/var/log/core.{nonce}"),
            farewell: format!("farewell {nonce}"),
        };
        let yaml = DEFAULT.replace("/var/log/core.%e", &node.core_pattern);
        // `debug` has what proves TLS; a node for production has neither.
        let image = "image: imgkit.local/components/debug";
        let debug = format!(
            "  - name: optional\n    {image}\n    command: [/bin/busybox, \"false\"]\n    optional: true\n\
             onshutdown:\n  - name: farewell\n    {image}\n    command: [/bin/busybox, echo, {}]\n\
             services:\n  - name: debug\n    {image}\n",
            node.farewell
        );
        write(dir, "node.yml", &yaml.replacen("services:\n", &debug, 1))?;
        write(dir, "policy.yml", POLICY)?;
        Ok(node)
    }

    /// Returns OpenStack's metadata for the node, with a key that may log in.
    pub(super) fn metadata(&self, public_key: &str) -> String {
        let key = public_key.trim();
        json!({ "uuid": self.hostname, "hostname": self.hostname, "name": self.hostname, "public_keys": { "quickstart": key } }).to_string()
    }
}

/// Writes a file of the quickstart.
pub(super) fn write(dir: &Path, name: &str, content: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    fs::write(&path, content).map_err(|error| Failure::unavailable(path.display(), error))
}
