//! The certificates in which Notary wraps root keys, and sometimes delegates' keys.
//!
//! - A certificate is a name and dates around a public key; nobody is asked to vouch for it: who pins the collection does.
//! - A root's must be the leaf of its file (it alone is no CA's, and it comes first) and not be signed with SHA-1; a delegate's only
//!   carries the key, as openssl's own self-signed ones do.
//! - Whether name and dates fit is asked where a root is judged: [`Certificate::check_name`], [`Certificate::check_dates`].

use x509_cert::Certificate as X509;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Decode, Document, Encode};
use x509_cert::ext::pkix::BasicConstraints;

use super::der;
use crate::key::KeyError;
use crate::key::PublicKey;
use crate::key::Scheme;
use crate::limit;
use crate::time::Time;
use crate::trust::TrustError;

const PEM_LABEL: &str = "CERTIFICATE";

/// Signature algorithms over SHA-1 and MD5: RSA, DSA, ECDSA.
const BROKEN: [&str; 4] = [
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.2.840.10040.4.3",
    "1.2.840.10045.4.1",
];

/// A leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    common_name: String,
    public: PublicKey,
    not_before: Time,
    not_after: Time,
    /// Why no root key may stand in it.
    unfit: Option<&'static str>,
}

impl Certificate {
    /// Reads the first certificate of a PEM text that holds it and perhaps intermediate ones.
    ///
    /// # Errors
    /// [`KeyError`] when there is none, or not with a key that imgkit verifies with.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let bad = |found: &dyn ToString| KeyError::Form {
            expected: "an X.509 certificate in PEM",
            found: found.to_string(),
        };
        if pem.len() > limit::CERTIFICATE_BYTES {
            return Err(bad(&"it is longer than any supported one"));
        }
        let chain = X509::load_pem_chain(pem).map_err(|error| bad(&error))?;
        let first = chain.first().ok_or_else(|| bad(&"there is none"))?;
        let mut read = Self::read(first)?;
        for (at, certificate) in chain.iter().enumerate() {
            let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
            let constraints = constraints.map_err(|error| bad(&error))?;
            let is_ca = constraints.is_some_and(|(_, constraints)| constraints.ca);
            // The leaf comes first, and those behind it are CAs'.
            if is_ca == (at == 0) {
                read.unfit.get_or_insert("one of a CA, or with another leaf behind it");
            }
        }
        Ok(read)
    }

    fn read(certificate: &X509) -> Result<Self, KeyError> {
        let bad = |found: &dyn ToString| KeyError::Form {
            expected: "a certificate that can hold a Notary key",
            found: found.to_string(),
        };
        let signed = certificate.tbs_certificate();
        let algorithm = certificate.signature_algorithm().oid.to_string();
        let broken = BROKEN.contains(&algorithm.as_str());
        let name = signed.subject().common_name().map_err(|error| bad(&error))?;
        let spki = signed.subject_public_key_info().to_der().map_err(|error| bad(&error))?;
        let time = |time: &x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).map_err(|error| bad(&error))?;
            Time::from_unix(seconds).map_err(|error| bad(&error))
        };
        Ok(Self {
            common_name: name.map(|name| name.value().into_owned()).unwrap_or_default(),
            public: PublicKey::from_spki_der(&spki)?,
            not_before: time(&signed.validity().not_before)?,
            not_after: time(&signed.validity().not_after)?,
            unfit: broken.then_some("one that is signed with SHA-1 or MD5"),
        })
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the subject's common name: a collection's name, or `PREFIX*`.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// Returns when it ends.
    pub fn not_after(&self) -> Time {
        self.not_after
    }

    /// Refuses a certificate in which no root key of the collection `gun` may stand: whose name is another, nor `PREFIX*` of one
    /// that it begins with, a CA's, or one that is signed with SHA-1.
    ///
    /// # Errors
    /// [`TrustError::Certificate`].
    pub fn check_name(&self, gun: &str) -> Result<(), TrustError> {
        let name = self.common_name.as_str();
        let fits = match name.strip_suffix('*') {
            Some(prefix) => !prefix.is_empty() && gun.starts_with(prefix),
            None => name == gun,
        };
        let found = match (fits, self.unfit) {
            (true, None) => return Ok(()),
            (true, Some(unfit)) => unfit.to_owned(),
            (false, _) => format!("one for `{}`", name.escape_debug()),
        };
        Err(TrustError::Certificate {
            role: "root".to_owned(),
            expected: format!("a leaf certificate for {gun}"),
            found,
        })
    }

    /// Refuses a certificate that has not begun at `now`, or is over.
    ///
    /// # Errors
    /// [`TrustError::CertificateDates`].
    pub fn check_dates(&self, now: Time) -> Result<(), TrustError> {
        match self.not_before <= now && now <= self.not_after {
            true => Ok(()),
            false => Err(TrustError::CertificateDates {
                name: self.common_name.clone(),
                from: self.not_before,
                until: self.not_after,
                now,
            }),
        }
    }
}

/// What a new root certificate says.
#[derive(Clone, Debug)]
pub struct NewCertificate<'a> {
    /// The collection.
    pub gun: &'a str,
    /// The key.
    pub public: &'a PublicKey,
    /// Random bytes: the serial number, of which 16 are used.
    pub serial: [u8; 16],
    /// Its first and its last second.
    pub dates: (Time, Time),
}

impl NewCertificate<'_> {
    /// Makes the certificate, self-signed as Notary's own are, in PEM; `sign` signs with `scheme` and the key.
    ///
    /// # Errors
    /// [`KeyError`] when the key cannot sign certificates so, or `sign` fails.
    pub fn sign(
        &self,
        scheme: Scheme,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, KeyError>,
    ) -> Result<String, KeyError> {
        let bad = |found: &dyn ToString| KeyError::Form {
            expected: "a certificate that can be written",
            found: found.to_string(),
        };
        if scheme.key_type() != self.public.key_type() {
            let key = self.public.key_type();
            return Err(KeyError::Scheme { scheme, key });
        }
        let algorithm = algorithm(scheme)?;
        let name = der::sequence(&[&der::set(&[&der::sequence(&[&oid("2.5.4.3")?, &der::utf8(self.gun)])])]);
        let dates = der::sequence(&[&der::time(self.dates.0), &der::time(self.dates.1)]);
        // Key usage digitalSignature and keyEncipherment; extended key usage codeSigning; no CA: what notary generates.
        let usage = der::sequence(&[
            &oid("2.5.29.15")?,
            &der::TRUE,
            &der::octets(&der::bits_with_unused(&[0xa0], 5)),
        ]);
        let purpose = der::sequence(&[&oid("1.3.6.1.5.5.7.3.3")?]);
        let purpose = der::sequence(&[&oid("2.5.29.37")?, &der::octets(&purpose)]);
        let no_ca = der::sequence(&[&oid("2.5.29.19")?, &der::TRUE, &der::octets(&der::sequence(&[]))]);
        let extensions = der::explicit(3, &der::sequence(&[&usage, &purpose, &no_ca]));
        let version = der::explicit(0, &der::integer(&[2]));
        let serial = der::integer(&self.serial);
        let spki = self.public.spki_der();
        let body = der::sequence(&[&version, &serial, &algorithm, &name, &dates, &name, spki, &extensions]);
        let signature = der::bits_with_unused(&sign(&body)?, 0);
        let whole = der::sequence(&[&body, &algorithm, &signature]);
        let read = X509::from_der(&whole).map_err(|error| bad(&error))?;
        Certificate::read(&read)?;
        let document = Document::try_from(whole).map_err(|error| bad(&error))?;
        document.to_pem(PEM_LABEL, LineEnding::LF).map_err(|error| bad(&error))
    }
}

fn algorithm(scheme: Scheme) -> Result<Vec<u8>, KeyError> {
    const NULL: [u8; 2] = [5, 0];
    Ok(match scheme {
        Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha256 => der::sequence(&[&oid("1.2.840.10045.4.3.2")?]),
        Scheme::EcdsaP384Sha384 => der::sequence(&[&oid("1.2.840.10045.4.3.3")?]),
        Scheme::RsaPkcs1Sha256 => der::sequence(&[&oid("1.2.840.113549.1.1.11")?, &NULL]),
        Scheme::RsaPssSha256 => {
            // RFC 4055, 3.1: SHA-256, MGF1 over SHA-256, a salt of 32 bytes.
            let hash = der::sequence(&[&oid("2.16.840.1.101.3.4.2.1")?, &NULL]);
            let mask = der::sequence(&[&oid("1.2.840.113549.1.1.8")?, &hash]);
            let salt = der::explicit(2, &der::integer(&[32]));
            let parameters = der::sequence(&[&der::explicit(0, &hash), &der::explicit(1, &mask), &salt]);
            der::sequence(&[&oid("1.2.840.113549.1.1.10")?, &parameters])
        }
        Scheme::Ed25519 => return Err(KeyError::Unsupported("Ed25519 for a Notary root".to_owned())),
    })
}

fn oid(text: &str) -> Result<Vec<u8>, KeyError> {
    let bad = |error: x509_cert::der::Error| KeyError::Unsupported(format!("{text}: {error}"));
    ObjectIdentifier::new(text)
        .map_err(|error| bad(error.into()))?
        .to_der()
        .map_err(bad)
}
