//! The two parts of a metadata file whose text is plain: what is signed is then signed as it stands there.

use std::ops::Range;

use crate::json::Plain;

/// A metadata file that was read in one pass.
#[derive(Clone, Debug)]
pub(super) struct Parts<'a, T> {
    /// Where the text is that was signed.
    pub(super) signed: Range<usize>,
    /// What was read of it.
    pub(super) body: T,
    /// The text of the signatures.
    pub(super) signatures: &'a str,
}

impl<'a, T> Parts<'a, T> {
    /// Reads `text`, what is signed in it with `body`; `None` when it is not plain, or has other members.
    pub(super) fn read(text: &'a str, mut body: impl FnMut(&mut Plain<'a>) -> Option<T>) -> Option<Self> {
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
            signed,
            body,
            signatures: signatures?,
        })
    }
}
