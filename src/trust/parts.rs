//! The two parts of a metadata file whose text is canonical already: what is signed is then signed as it stands there.

use bytes::Bytes;
use serde_json::Value;

use crate::json;
use crate::json::{Limits, Plain};

/// A metadata file that was read in one pass; what was read says nothing of who signed it.
#[derive(Clone, Debug)]
pub(super) struct Parts<T> {
    /// The part of the file that was signed.
    pub(super) message: Bytes,
    /// What was read of it.
    pub(super) body: T,
    /// The signatures.
    pub(super) signatures: Value,
}

impl<T> Parts<T> {
    /// Reads a file of at most `max` bytes, what is signed in it with `body`; `None` when it is not plain, or has other members.
    pub(super) fn read(file: &Bytes, max: usize, mut body: impl FnMut(&mut Plain<'_>) -> Option<T>) -> Option<Self> {
        let text = std::str::from_utf8(file).ok().filter(|text| text.len() <= max)?;
        let (mut signed, mut signatures) = (None, None);
        let mut plain = Plain::new(text);
        plain.members_in_any_order(|plain, name| match name {
            "signed" if signed.is_none() => {
                let start = plain.at();
                signed = Some((body(plain)?, start..plain.at()));
                Some(())
            }
            "signatures" if signatures.is_none() => {
                signatures = Some(plain.value()?);
                Some(())
            }
            _ => None,
        })?;
        let (body, signed) = signed.filter(|_| plain.is_at_end())?;
        Some(Self {
            message: file.slice(signed),
            body,
            signatures: json::parse(signatures?.as_bytes(), Limits::integers(max)).ok()?,
        })
    }
}
