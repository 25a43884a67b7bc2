//! Every part gets the directories above its entries, so that each can be unpacked on its own.

use std::collections::BTreeMap;

use super::{LayoutError, Part, Rule};
use crate::tree::{Entry, TreePath};

/// Adds the directories that a part lacks: as the last part before it has them, or as LinuxKit makes them.
pub(super) fn complete(parts: &mut [Part]) -> Result<(), LayoutError> {
    let mut known: BTreeMap<TreePath, Entry> = BTreeMap::new();
    for part in parts {
        let above = part.entries.iter().flat_map(|(path, _)| path.ancestors());
        let mut lacking: Vec<TreePath> = above
            .filter(|path| !part.entries.entry(path).is_some_and(Entry::is_directory))
            .collect();
        lacking.sort_unstable();
        lacking.dedup();
        for path in lacking {
            let entry = known.get(&path).cloned().unwrap_or_else(|| Entry::directory(0o755));
            if part.entries.insert(path.clone(), entry).is_some() {
                let owner = part.owner;
                return Err(LayoutError::Orphan { owner, path });
            }
            part.apply(Rule::MakeParent, &path);
        }
        let directories = part.entries.iter().filter(|(_, entry)| entry.is_directory());
        known.extend(directories.map(|(path, entry)| (path.clone(), entry.clone())));
    }
    Ok(())
}
