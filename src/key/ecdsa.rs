//! The two encodings of an ECDSA signature: DER (X9.62, what TUF has) and r‖s of fixed width (IEEE P1363, what Notary has).

use spki::der::asn1::{AnyRef, UintRef};
use spki::der::{Decode, Reader};

use super::{KeyError, KeyType};

/// Writes big-endian r and s of one width as DER: SEQUENCE { r INTEGER, s INTEGER }.
pub fn to_der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let content = [integer(r), integer(s)].concat();
    // Both numbers of any curve here take less than 128 bytes together: lengths are one byte.
    [&[0x30, content.len() as u8], content.as_slice()].concat()
}

/// Writes a signature in DER as r‖s, each as wide as the key's coordinates.
///
/// # Errors
/// [`KeyError::Form`] when it is no signature of such a key.
pub fn to_fixed(key: KeyType, der: &[u8]) -> Result<Vec<u8>, KeyError> {
    let bad = |found: &str| KeyError::Form {
        expected: "an ECDSA signature in DER",
        found: found.to_owned(),
    };
    let width = match key {
        KeyType::EcdsaP256 => 32,
        KeyType::EcdsaP384 => 48,
        KeyType::Ed25519 | KeyType::Rsa => return Err(bad(&format!("a key of type {key}"))),
    };
    let not_der = |error: spki::der::Error| bad(&error.to_string());
    let sequence = AnyRef::from_der(der).map_err(not_der)?;
    let numbers = sequence.sequence(|reader| Ok::<_, spki::der::Error>((reader.decode()?, reader.decode()?)));
    let (r, s): (UintRef<'_>, UintRef<'_>) = numbers.map_err(not_der)?;
    let mut fixed = Vec::with_capacity(2 * width);
    for number in [r.as_bytes(), s.as_bytes()] {
        let zeros = width.checked_sub(number.len());
        let zeros = zeros.ok_or_else(|| bad("a number that is wider than the curve"))?;
        fixed.resize(fixed.len() + zeros, 0);
        fixed.extend(number);
    }
    Ok(fixed)
}

fn integer(number: &[u8]) -> Vec<u8> {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let digits = number.get(first..).unwrap_or_default();
    let sign: &[u8] = match digits.first() {
        Some(byte) if *byte < 0x80 => &[],
        _ => &[0],
    };
    let len = (sign.len() + digits.len()) as u8;
    [&[0x02, len], sign, digits].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_come_back_whatever_their_first_bytes() {
        for (r, s) in [(0x01, 0x80), (0x00, 0x7f), (0xff, 0x00)] {
            let (mut r, s) = ([[r; 16], [0x11; 16]].concat(), [[0; 16], [s; 16]].concat());
            *r.first_mut().unwrap() ^= 1;
            let fixed = to_fixed(KeyType::EcdsaP256, &to_der(&r, &s)).unwrap();
            assert_eq!(fixed, [r, s].concat());
        }
        assert!(to_fixed(KeyType::EcdsaP256, &to_der(&[1; 33], &[1])).is_err());
        assert!(to_fixed(KeyType::EcdsaP256, b"no DER").is_err());
        assert!(to_fixed(KeyType::Ed25519, &to_der(&[1], &[1])).is_err());
    }

    #[test]
    fn notarys_signatures_verify_on_both_curves() {
        let key = crate::key::PublicKey::from_pem(include_str!("testdata/p256.pem")).unwrap();
        let (message, der) = (include_bytes!("testdata/message"), include_bytes!("testdata/p256.sig"));
        let fixed = to_fixed(KeyType::EcdsaP256, der).unwrap();
        assert_eq!(key.verify_fixed(message, &fixed), Ok(()));
        assert!(key.verify_fixed(b"another", &fixed).is_err());
        assert!(key.verify_fixed(message, der).is_err());
        assert!(key.verify_fixed(message, &[fixed.as_slice(), &[0]].concat()).is_err());
    }
}
