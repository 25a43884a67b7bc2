//! Which of several good pieces by one signer a requirement rests on: the same ones wherever it is judged.
//!
//! Whoever can push can put copies of a good piece beside it, as many as they like, in other spellings and of any length. They change
//! nothing of what is sealed: of those that say the same the smallest is taken. Pieces that say something else stay, as another policy
//! may ask for just that; but no more than a few.

use std::collections::{BTreeMap, BTreeSet};

use super::sigstore::{Piece, key, witness};
use crate::limit;
use crate::sigstore::attachment::{Attachment, Evidence};

/// Takes of the pieces in which the same signer says the same the smallest, and puts them in order of their sizes.
pub(super) fn without_copies(mut good: Vec<(&Evidence, &Attachment)>) -> Vec<Piece> {
    good.sort_by_cached_key(|(_, attachment)| {
        let (layer, signature) = key(attachment);
        let length = attachment.bytes.as_ref().map_or(0, Vec::len) + signature.as_ref().map_or(0, String::len);
        // Which of two that are as long is taken must not hang on how they are listed.
        (length, layer, signature, attachment.manifest)
    });
    let mut kept: Vec<Piece> = Vec::new();
    for (evidence, attachment) in good {
        let is_copy =
            |of: &Piece| of.evidence.content == evidence.content && witness(&of.evidence) == witness(evidence);
        if !kept.iter().any(is_copy) {
            kept.push(Piece {
                evidence: evidence.clone(),
                attachment: attachment.clone(),
            });
        }
    }
    kept
}

/// Takes the first pieces of each signer, each once.
pub(super) fn few_of_each(mut pieces: Vec<Piece>) -> Vec<Piece> {
    let mut seen = BTreeSet::new();
    let mut taken: BTreeMap<_, usize> = BTreeMap::new();
    pieces.retain(|piece| {
        let is_new = seen.insert(piece.key());
        let of_signer = taken.entry(witness(&piece.evidence)).or_default();
        *of_signer += usize::from(is_new);
        is_new && *of_signer <= limit::PIECES_OF_SIGNER
    });
    pieces
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Map;

    use super::*;
    use crate::attest::predicate::COSIGN_SIGN;
    use crate::attest::{Statement, Subject};
    use crate::digest::Digest;
    use crate::key::SigningKey;
    use crate::oci::{Annotated, Descriptor};
    use crate::sigstore::attachment::{By, Form, Wanted, judge};
    use crate::sigstore::bundle::{self, Bundle};
    use crate::sigstore::payload::{self, Payload};
    use crate::sigstore::signature;

    fn image() -> Digest {
        Digest::sha256(b"image")
    }

    fn attachment(media_type: &str, bytes: &[u8], signature: Option<String>) -> Attachment {
        let signature = signature.map(|text| (payload::SIGNATURE.to_owned(), text));
        Attachment {
            form: Form::of(media_type),
            manifest: Digest::sha256(b"manifest"),
            layer: Annotated {
                descriptor: Descriptor::of(media_type, bytes),
                artifact_type: None,
                annotations: signature.into_iter().collect(),
            },
            bytes: Ok(bytes.to_vec()),
        }
    }

    /// A bundle by a key, with so many spaces behind.
    fn bundle(key: &SigningKey, spaces: usize) -> Attachment {
        let statement = Statement::new(Subject::of(None, &image()), COSIGN_SIGN, None);
        let mut bytes = Bundle::sign_statement(&statement, key).unwrap().encode();
        bytes.extend(vec![b' '; spaces]);
        attachment(bundle::MEDIA_TYPE, &bytes, None)
    }

    /// A payload with a name in it, and its signature by a key with so many spaces behind.
    fn simple(key: &SigningKey, name: &str, spaces: usize) -> Attachment {
        let payload = Payload::new(name, &image(), Map::new());
        let signed = STANDARD.encode(signature::sign(key, payload.bytes()).unwrap());
        let signed = signed + &" ".repeat(spaces);
        attachment(payload::MEDIA_TYPE, payload.bytes(), Some(signed))
    }

    fn chosen(keys: &[&SigningKey], pieces: &[Attachment]) -> Vec<Piece> {
        let keys: Vec<_> = keys.iter().map(|key| key.public().clone()).collect();
        let judged = judge(pieces, &image(), By::Keys(&keys), Wanted::Signature);
        assert_eq!(judged.good.len(), pieces.len(), "{:?}", judged.rejected);
        let good = judged.good.iter().map(|evidence| (evidence, &pieces[evidence.piece]));
        without_copies(good.collect())
    }

    fn keys(pieces: &[Piece]) -> Vec<(Digest, Option<String>)> {
        pieces.iter().map(Piece::key).collect()
    }

    #[test]
    fn of_copies_of_any_length_the_smallest_is_taken_wherever_they_are_listed() {
        let one = SigningKey::from_seed(&[1; 32]).unwrap();
        for make in [
            |key: &SigningKey, spaces| bundle(key, spaces),
            |key: &SigningKey, spaces| simple(key, "r.example/a:1", spaces),
        ] {
            let mut copies: Vec<Attachment> = (0..4).map(|spaces| make(&one, spaces)).collect();
            for _ in 0..copies.len() {
                assert_eq!(keys(&chosen(&[&one], &copies)), [key(&make(&one, 0))]);
                copies.rotate_left(1);
            }
        }
    }

    #[test]
    fn other_words_are_no_copies_and_each_key_has_a_few_pieces() {
        let (one, two) = (
            SigningKey::from_seed(&[1; 32]).unwrap(),
            SigningKey::from_seed(&[2; 32]).unwrap(),
        );
        let pieces = [
            bundle(&one, 0),
            simple(&one, "r.example/a:longer", 0),
            simple(&one, "r.example/a:1", 0),
            simple(&two, "r.example/a:1", 0),
            simple(&two, "r.example/a:1", 7),
        ];
        let all = chosen(&[&one, &two], &pieces);
        assert_eq!(all.len(), 4);
        let found = keys(&all);
        assert!(
            found.contains(&key(&pieces[2])) && found.contains(&key(&pieces[3])),
            "{found:?}"
        );
        assert_eq!(keys(&few_of_each([&*all, &*all].concat())), found, "each once");
        let names = (0..2 * limit::PIECES_OF_SIGNER).map(|number| format!("r.example/a:{number}"));
        let many: Vec<_> = names.map(|name| simple(&one, &name, 0)).collect();
        assert_eq!(few_of_each(chosen(&[&one], &many)).len(), limit::PIECES_OF_SIGNER);
    }
}
