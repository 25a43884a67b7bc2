//! Signatures and attestations of an image in a file of their own: the evidence of a seal keeps those that admitted the image.
//!
//! Canonical JSON: a list, in order and each once, of `{bytes, manifest, mediaType, signature}`; `bytes` in base64, `signature` where
//! it stands beside the bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::attachment::{Attachment, Form};
use super::payload;
use crate::digest::Digest;
use crate::limit;
use crate::oci::{Annotated, Annotations, Descriptor};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kept {
    bytes: String,
    manifest: Digest,
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

/// Writes pieces; those that could not be read are left out.
pub fn write<'a>(pieces: impl IntoIterator<Item = &'a Attachment>) -> Vec<u8> {
    let keep = |piece: &Attachment| {
        Some(Kept {
            bytes: STANDARD.encode(piece.bytes.as_ref().ok()?),
            manifest: piece.manifest,
            media_type: piece.layer.descriptor.media_type.clone(),
            signature: piece.layer.annotations.get(payload::SIGNATURE).cloned(),
        })
    };
    let mut kept: Vec<Kept> = pieces.into_iter().filter_map(keep).collect();
    kept.sort();
    kept.dedup();
    encode(&kept)
}

fn encode(kept: &[Kept]) -> Vec<u8> {
    // Texts only: this cannot fail.
    serde_json::to_vec(kept).unwrap_or_default()
}

/// Reads what [`write()`] writes, and nothing else.
///
/// # Errors
/// What is not as it should be.
pub fn read(bytes: &[u8]) -> Result<Vec<Attachment>, String> {
    let most = limit::ATTACHED_TOTAL_BYTES;
    if bytes.len() as u64 > most {
        return Err(format!("what lies beside an image: expected at most {most} bytes"));
    }
    let kept: Vec<Kept> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !kept.is_sorted_by(|one, next| one < next) || encode(&kept) != bytes {
        return Err("what lies beside an image is not in its canonical encoding".to_owned());
    }
    let piece = |kept: Kept| {
        let bytes = STANDARD.decode(&kept.bytes).map_err(|error| error.to_string())?;
        if STANDARD.encode(&bytes) != kept.bytes {
            return Err("base64 in another form than its own".to_owned());
        }
        let signature = kept.signature.into_iter();
        Ok(Attachment {
            form: Form::of(&kept.media_type),
            manifest: kept.manifest,
            layer: Annotated {
                descriptor: Descriptor::of(kept.media_type, &bytes),
                artifact_type: None,
                annotations: signature
                    .map(|text| (payload::SIGNATURE.to_owned(), text))
                    .collect::<Annotations>(),
            },
            bytes: Ok(bytes),
        })
    };
    kept.into_iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::failure::Failure;

    fn piece(bytes: Result<Vec<u8>, Failure>, signature: Option<&str>) -> Attachment {
        let content = bytes.clone().unwrap_or_default();
        let signature = signature.map(|text| (payload::SIGNATURE.to_owned(), text.to_owned()));
        Attachment {
            form: Form::Simple,
            manifest: Digest::sha256(b"manifest"),
            layer: Annotated {
                descriptor: Descriptor::of(payload::MEDIA_TYPE, &content),
                artifact_type: None,
                annotations: signature.into_iter().collect(),
            },
            bytes,
        }
    }

    #[test]
    fn what_is_written_is_read_in_order_and_each_once() {
        let (one, two) = (piece(Ok(b"a".to_vec()), Some("s")), piece(Ok(b"a".to_vec()), Some("t")));
        let lost = piece(Err(Failure::unavailable("x", "y")), None);
        let written = write([&two, &one, &two, &lost]);
        assert_eq!(written, write([&one, &two]));
        let read = read(&written).unwrap();
        assert_eq!(read.len(), 2);
        for (read, written) in read.iter().zip([&one, &two]) {
            assert_eq!(
                (&read.layer, &read.form, read.manifest),
                (&written.layer, &written.form, written.manifest)
            );
            assert_eq!(read.bytes.as_ref().unwrap(), b"a");
        }
        assert!(super::read(&write([])).unwrap().is_empty());
    }

    #[test]
    fn no_other_encoding_is_read() {
        let good = String::from_utf8(write([&piece(Ok(b"a".to_vec()), Some("s"))])).unwrap();
        assert!(read(good.as_bytes()).is_ok());
        for (from, to) in [
            ("YQ==", "YR=="),
            ("YQ==", "YQ"),
            ("\"manifest\"", "\"more\":1,\"manifest\""),
            ("[{", "[ {"),
            ("[{", "[{}, {"),
            ("\"signature\":\"s\"", "\"signature\":null"),
            ("\"signature\":\"s\"", "\"signature\":\"s\",\"signature\":\"s\""),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good);
            assert!(read(changed.as_bytes()).is_err(), "{to}");
        }
        let twice = format!("[{0},{0}]", good.trim_matches(['[', ']']));
        assert!(read(twice.as_bytes()).is_err());
    }
}
