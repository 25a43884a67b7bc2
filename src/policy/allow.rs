//! What a component's own label may ask for: patterns over privileges.

use std::fmt;

use super::pattern::glob;

/// A pattern over the text form of privileges (`capability:CAP_NET_ADMIN`, `bind:/etc:rw`, `namespace:net=host`).
///
/// The kind before the first colon is literal; after it `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow(String);

impl Allow {
    /// Reads a pattern; `None` when it names no kind.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(':')?;
        let good = !kind.is_empty() && !kind.contains('*') && !value.is_empty();
        good.then(|| Self(text.to_owned()))
    }

    /// Tells whether a privilege, in its text form, is allowed by this pattern.
    pub fn covers(&self, privilege: &str) -> bool {
        glob(&self.0, privilege)
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn covers_only_its_own_kind() {
        let allow = Allow::parse("bind:/etc*").unwrap();
        assert!(allow.covers("bind:/etc/resolv.conf:rw"));
        assert!(!allow.covers("device:/etc"));
        assert!(Allow::parse("*").is_none());
        assert!(Allow::parse("*:x").is_none());
        assert!(
            Allow::parse("capability:CAP_KILL")
                .unwrap()
                .covers("capability:CAP_KILL")
        );
        assert!(
            !Allow::parse("capability:CAP_KILL")
                .unwrap()
                .covers("capability:CAP_KILLER")
        );
    }
}
