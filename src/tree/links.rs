//! Taking files out of a tree whose other names must live on.

use super::{Entry, Node, Tree, TreePath};

impl Tree {
    /// Removes the entry at `path` alone; when it is a file with hard links, the first of them becomes the file.
    pub fn detach(&mut self, path: &TreePath) -> Option<Entry> {
        let entry = self.remove(path)?;
        if !matches!(entry.node, Node::File { .. }) {
            return Some(entry);
        }
        let is_link =
            |(_, other): &(&TreePath, &Entry)| matches!(&other.node, Node::HardLink(target) if target == path);
        let links: Vec<TreePath> = self.iter().filter(is_link).map(|(link, _)| link.clone()).collect();
        if let Some((first, others)) = links.split_first() {
            self.insert(first.clone(), entry.clone());
            for link in others {
                if let Some(other) = self.entry_mut(link) {
                    other.node = Node::HardLink(first.clone());
                }
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tree::Meta;

    #[test]
    fn the_first_link_becomes_the_file() {
        let path = |text: &str| TreePath::parse(text).unwrap();
        let link = || Entry {
            meta: Meta::default(),
            node: Node::HardLink(path("a")),
        };
        let file = Entry::file(0o644, b"x");
        let mut tree: Tree = [(path("a"), file.clone()), (path("b"), link()), (path("c"), link())]
            .into_iter()
            .collect();
        assert_eq!(tree.detach(&path("a")), Some(file.clone()));
        assert_eq!(tree.entry(&path("a")), None);
        assert_eq!(tree.entry(&path("b")), Some(&file));
        assert_eq!(tree.entry(&path("c")).unwrap().node, Node::HardLink(path("b")));
        assert_eq!(tree.detach(&path("c")).unwrap().node, Node::HardLink(path("b")));
        assert_eq!(tree.len(), 1);
    }
}
