//! Bounds on metadata: whoever writes it must not be able to fill the node's memory.

use std::time::Duration;

/// Largest `meta_data.json`: nova's are a few KiB, and 128 properties of 255 characters stay below a tenth of this.
pub(crate) const META_DATA_BYTES: u64 = 1 << 20;

/// Largest user data: nova takes 64 KiB; other sources of config drives take more.
pub(crate) const USER_DATA_BYTES: u64 = 1 << 20;

/// Largest file that user data names: SSH host keys are below 4 KiB.
pub(crate) const FILE_BYTES: u64 = 64 << 10;

/// Most SSH keys of one instance.
pub(crate) const KEYS: usize = 256;

/// Longest SSH key line: RSA keys of 16,384 bits take 2.8 KiB.
pub(crate) const KEY_BYTES: usize = 8 << 10;

/// Longest host name that the kernel takes (its `__NEW_UTS_LEN`).
pub(crate) const HOSTNAME_BYTES: usize = 64;

/// Longest name of a file: Linux's `NAME_MAX`.
pub(crate) const NAME_BYTES: usize = 255;

/// Deepest directory in user data; LinuxKit's own examples have two.
pub(crate) const DEPTH: usize = 16;

/// Most files and directories in user data.
pub(crate) const ENTRIES: usize = 4096;

/// How long one request to the metadata service may take; LinuxKit waits as long.
pub(crate) const REQUEST: Duration = Duration::from_secs(2);

/// How often the service is tried on a machine that says it is OpenStack's: its network may still be on its way.
pub(crate) const TRIES: u32 = 10;
