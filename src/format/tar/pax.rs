//! PAX extended headers: records of the form `LENGTH KEY=VALUE\n`.
//!
//! The crate's own iterator splits at newlines, which binary attribute values hold; this one goes by the lengths.

use std::collections::BTreeMap;

use super::XATTR_PREFIX;
use crate::limit;

/// What an extended header says of the member after it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Records {
    /// Reads all records of one extended header; times, names of owners and vendors' records are dropped.
    pub(super) fn parse(mut data: &[u8]) -> Result<Self, &'static str> {
        let mut records = Self::default();
        let mut xattr_bytes = 0;
        while !data.is_empty() {
            let (key, value) = record(&mut data).ok_or("a PAX record is malformed")?;
            let twice = match key {
                b"path" => records.path.replace(value.to_vec()).is_some(),
                b"linkpath" => records.link.replace(value.to_vec()).is_some(),
                b"size" => records.size.replace(number(value)?).is_some(),
                b"uid" => records.uid.replace(number(value)?).is_some(),
                b"gid" => records.gid.replace(number(value)?).is_some(),
                key if key.starts_with(b"GNU.sparse.") => return Err("it is sparse; pack it without sparse files"),
                key => match key.strip_prefix(XATTR_PREFIX) {
                    None => false,
                    Some(b"") => return Err("an extended attribute has no name"),
                    Some(name) if name.contains(&0) => return Err("an extended attribute's name has a NUL byte"),
                    Some(name) => {
                        xattr_bytes += name.len() + value.len();
                        if xattr_bytes > limit::XATTR_BYTES {
                            return Err("its extended attributes are larger than 65,536 bytes");
                        }
                        records.xattrs.insert(name.to_vec(), value.to_vec()).is_some()
                    }
                },
            };
            if twice {
                return Err("a PAX record stands twice");
            }
        }
        Ok(records)
    }
}

/// Writes one record.
pub(super) fn write_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    // The length counts its own digits.
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn record<'a>(data: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let space = data.iter().take(8).position(|b| *b == b' ')?;
    let length = usize::try_from(number(data.get(..space)?).ok()?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    *data = rest;
    Some((body.get(..equals)?, body.get(equals + 1..)?))
}

fn number(digits: &[u8]) -> Result<u64, &'static str> {
    let text = std::str::from_utf8(digits).ok();
    let text = text.filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|text| text.parse().ok())
        .ok_or("a number in a PAX record is malformed")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn records(list: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        list.iter().for_each(|(key, value)| write_record(&mut data, key, value));
        data
    }

    #[test]
    fn lengths_count_their_own_digits() {
        let mut data = Vec::new();
        write_record(&mut data, b"path", b"a");
        assert_eq!(data, b"9 path=a\n");
        for length in 80..110 {
            let data = records(&[(b"path", &vec![b'x'; length])]);
            assert_eq!(Records::parse(&data).unwrap().path.unwrap().len(), length);
        }
    }

    #[test]
    fn reads_binary_attributes() {
        let data = records(&[
            (b"SCHILY.xattr.security.capability", b"\x01\n\0=\n"),
            (b"mtime", b"1.5"),
        ]);
        let xattrs = Records::parse(&data).unwrap().xattrs;
        assert_eq!(xattrs.get(&b"security.capability"[..]).unwrap(), b"\x01\n\0=\n");
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        for list in [
            &[(&b"path"[..], &b"a"[..]), (b"path", b"b")][..],
            &[(b"size", b"-1")],
            &[(b"size", b"")],
            &[(b"GNU.sparse.major", b"1")],
            &[(b"SCHILY.xattr.", b"1")],
        ] {
            assert!(Records::parse(&records(list)).is_err());
        }
        for data in [
            &b"10 path=a"[..],
            b"8 path=a\n",
            b"11 path=a\n",
            b"path=a\n",
            b"6 path\n",
            b"\n",
            b"3 \n",
        ] {
            assert!(Records::parse(data).is_err(), "{data:?}");
        }
    }
}
