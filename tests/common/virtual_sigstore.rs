//! A sigstore of one's own, in memory: certificate authority, certificate-transparency log, two transparency logs, and a
//! time-stamp authority, so that each thing that can be wrong with a bundle takes a few lines.
//!
//! [`VirtualSigstore::sign`] makes a bundle that is good as long as the [`Order`] is; what is to be wrong is changed in the order
//! (the authorities then sign something that they should not), or in the bundle's JSON (somebody forged it).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use der::asn1::{Any, BitString, GeneralizedTime, Int, ObjectIdentifier, OctetString, SetOfVec, Utf8StringRef};
use der::{DateTime, Decode, Encode, Sequence, Tag};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_cert_02::attr::Attribute;
use x509_cert_02::certificate::{Certificate, TbsCertificate, Version};
use x509_cert_02::ext::pkix::name::GeneralName;
use x509_cert_02::ext::pkix::sct::{
    DigitallySigned, HashAlgorithm, LogId, SerializedSct, SignatureAlgorithm, SignatureAndHashAlgorithm,
    SignedCertificateTimestamp, SignedCertificateTimestampList,
};
use x509_cert_02::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert_02::ext::{Extension, Extensions};
use x509_cert_02::name::Name;
use x509_cert_02::serial_number::SerialNumber;
use x509_cert_02::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert_02::time::{Time, Validity};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const FULCIO_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
const OLD_FULCIO_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
/// The extended key usage for signing code.
pub const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
/// The extended key usage of time-stamp authorities.
pub const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

pub const YEAR: i64 = 365 * 86_400;

/// Who signs, what, and when.
#[derive(Clone)]
pub struct Order {
    pub identity: Vec<GeneralName>,
    pub issuer: Option<String>,
    /// When it is signed, logged and stamped, in seconds since 1970.
    pub time: i64,
    /// From when to when the certificate is valid.
    pub validity: (i64, i64),
    pub usage: ObjectIdentifier,
    pub key_usage: KeyUsages,
    pub sct: bool,
    /// Further extensions of the certificate.
    pub more: Extensions,
    pub content: Content,
    pub logs: Vec<Log>,
    /// Whether logs of version 1 promise (SET).
    pub promise: bool,
    pub stamps: Vec<i64>,
}

#[derive(Clone)]
pub enum Content {
    File(Vec<u8>),
    Statement(Vec<u8>),
}

/// Which log, and what is put into it.
#[derive(Clone, Copy, PartialEq)]
pub enum Log {
    /// `hashedrekord` or `dsse` 0.0.1.
    V1,
    /// `intoto` 0.0.2, in the log of version 1.
    V1Intoto,
    /// `hashedrekord` 0.0.2.
    V2,
}

pub const IDENTITY: &str = "release@example.com";
pub const ISSUER: &str = "https://issuer.example";
pub const SIGNED_AT: i64 = 1_750_000_000;

impl Order {
    /// Orders a good bundle.
    pub fn of(content: Content) -> Self {
        Self {
            identity: vec![email(IDENTITY)],
            issuer: Some(ISSUER.to_owned()),
            time: SIGNED_AT,
            validity: (SIGNED_AT - 60, SIGNED_AT + 540),
            usage: CODE_SIGNING,
            key_usage: KeyUsages::DigitalSignature,
            sct: true,
            more: Vec::new(),
            content,
            logs: vec![Log::V1],
            promise: true,
            stamps: Vec::new(),
        }
    }

    pub fn file(bytes: &[u8]) -> Self {
        Self::of(Content::File(bytes.to_vec()))
    }

    /// Orders a bundle for a log of version 2, which has no times of its own.
    pub fn v2(self) -> Self {
        Self {
            logs: vec![Log::V2],
            stamps: vec![self.time],
            ..self
        }
    }
}

/// A name that is an address.
pub fn email(text: &str) -> GeneralName {
    GeneralName::Rfc822Name(der::asn1::Ia5String::new(text).unwrap())
}

/// A name that is a URI.
pub fn uri(text: &str) -> GeneralName {
    GeneralName::UniformResourceIdentifier(der::asn1::Ia5String::new(text).unwrap())
}

/// A key that signs with ECDSA on P-256.
pub struct Key(EcdsaKeyPair);

impl Key {
    pub fn generate() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    pub fn spki(&self) -> SubjectPublicKeyInfoOwned {
        SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned {
                oid: EC,
                parameters: Some(Any::from(&P256)),
            },
            subject_public_key: BitString::from_bytes(self.0.public_key().as_ref()).unwrap(),
        }
    }

    fn der(&self) -> Vec<u8> {
        self.spki().to_der().unwrap()
    }

    /// The id of a log with this key.
    pub fn id(&self) -> [u8; 32] {
        sha256(&self.der())
    }
}

/// Somebody with a certificate.
pub struct Authority {
    key: Key,
    certificate: Certificate,
}

impl Authority {
    fn root(name: &str) -> Self {
        Self::root_for(name, (SIGNED_AT - YEAR, SIGNED_AT + 10 * YEAR))
    }

    fn root_for(name: &str, validity: (i64, i64)) -> Self {
        let key = Key::generate();
        let certificate = issue(&key, name, &key.spki(), name, validity, authority_extensions());
        Self { key, certificate }
    }

    fn below(&self, name: &str, extensions: Extensions) -> Self {
        self.below_for(name, extensions, (SIGNED_AT - YEAR, SIGNED_AT + 9 * YEAR))
    }

    fn below_for(&self, name: &str, extensions: Extensions, validity: (i64, i64)) -> Self {
        let key = Key::generate();
        let issuer = self.certificate.tbs_certificate.subject.to_string();
        let certificate = issue(&self.key, &issuer, &key.spki(), name, validity, extensions);
        Self { key, certificate }
    }

    fn der(&self) -> Vec<u8> {
        self.certificate.to_der().unwrap()
    }
}

/// A transparency log that has some entries of others.
pub struct Rekor {
    pub key: Key,
    pub url: String,
    origin: String,
}

pub struct VirtualSigstore {
    root: Authority,
    issuer: Authority,
    pub ct: Key,
    pub rekor: Rekor,
    pub rekor2: Rekor,
    stamp_root: Authority,
    stamps: Authority,
}

impl VirtualSigstore {
    /// One whose issuer of certificates, and whose root of time stamps, are valid for so long.
    pub fn valid_for(issuer: (i64, i64), stamp_root: (i64, i64)) -> Self {
        let mut sigstore = Self::new();
        sigstore.issuer = sigstore
            .root
            .below_for("CN=issuer,O=virtual", authority_extensions(), issuer);
        sigstore.stamp_root = Authority::root_for("CN=stamp root,O=virtual", stamp_root);
        sigstore.stamps = sigstore.stamp_root.below("CN=stamps,O=virtual", stamp_extensions());
        sigstore
    }

    pub fn new() -> Self {
        let root = Authority::root("CN=root,O=virtual");
        let issuer = root.below("CN=issuer,O=virtual", authority_extensions());
        let stamp_root = Authority::root("CN=stamp root,O=virtual");
        let stamps = stamp_root.below("CN=stamps,O=virtual", stamp_extensions());
        let rekor = |url: &str| Rekor {
            key: Key::generate(),
            url: url.to_owned(),
            origin: url.trim_start_matches("https://").to_owned(),
        };
        Self {
            root,
            issuer,
            ct: Key::generate(),
            rekor: rekor("https://rekor.example"),
            rekor2: rekor("https://log2025.rekor.example"),
            stamp_root,
            stamps,
        }
    }

    /// The `trusted_root.json` that trusts all of it.
    pub fn trusted_root(&self) -> Value {
        let since = json!({ "start": rfc3339(SIGNED_AT - YEAR) });
        let log = |url: &str, key: &Key| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.der()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since,
                },
                "logId": { "keyId": STANDARD.encode(key.id()) },
            })
        };
        let authority = |url: &str, chain: &[&Authority]| {
            let chain: Vec<Value> = chain
                .iter()
                .map(|one| json!({ "rawBytes": STANDARD.encode(one.der()) }))
                .collect();
            json!({
                "subject": { "organization": "virtual", "commonName": url }, "uri": url,
                "certChain": { "certificates": chain }, "validFor": since,
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.rekor.url, &self.rekor.key), log(&self.rekor2.url, &self.rekor2.key)],
            "certificateAuthorities": [authority("https://fulcio.example", &[&self.issuer, &self.root])],
            "ctlogs": [log("https://ct.example", &self.ct)],
            "timestampAuthorities": [authority("https://stamps.example", &[&self.stamps, &self.stamp_root])],
        })
    }

    /// Signs, logs and stamps what is ordered; returns the bundle.
    pub fn sign(&self, order: &Order) -> Value {
        let key = Key::generate();
        let certificate = self.certificate(order, &key.spki());
        let (signature, name, content) = match &order.content {
            Content::File(bytes) => {
                let signature = key.sign(bytes);
                let digest = json!({ "algorithm": "SHA2_256", "digest": STANDARD.encode(sha256(bytes)) });
                let message = json!({ "messageDigest": digest, "signature": STANDARD.encode(&signature) });
                (signature, "messageSignature", message)
            }
            Content::Statement(payload) => {
                let signature = key.sign(&pae(payload));
                let envelope = json!({
                    "payload": STANDARD.encode(payload), "payloadType": IN_TOTO,
                    "signatures": [{ "keyid": "", "sig": STANDARD.encode(&signature) }],
                });
                (signature, "dsseEnvelope", envelope)
            }
        };
        let entries: Vec<Value> = order
            .logs
            .iter()
            .map(|log| self.log(*log, order, &certificate, &signature))
            .collect();
        let stamps: Vec<Value> = order
            .stamps
            .iter()
            .map(|time| json!({ "signedTimestamp": STANDARD.encode(self.stamp(&signature, *time)) }))
            .collect();
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": STANDARD.encode(&certificate) },
                "tlogEntries": entries,
                "timestampVerificationData": { "rfc3161Timestamps": stamps },
            },
            name: content,
        })
    }

    /// Issues a certificate, after the certificate-transparency log has seen it.
    pub fn certificate(&self, order: &Order, key: &SubjectPublicKeyInfoOwned) -> Vec<u8> {
        let mut extensions = vec![
            critical(&KeyUsage(order.key_usage.into())),
            plain(&ExtendedKeyUsage(vec![order.usage])),
            critical(&SubjectAltName(order.identity.clone())),
        ];
        if let Some(issuer) = &order.issuer {
            let text = Utf8StringRef::new(issuer).unwrap().to_der().unwrap();
            // Fulcio writes the older one, without DER, beside it.
            for (extn_id, value) in [(FULCIO_ISSUER, text), (OLD_FULCIO_ISSUER, issuer.as_bytes().to_vec())] {
                extensions.push(Extension {
                    extn_id,
                    critical: false,
                    extn_value: OctetString::new(value).unwrap(),
                });
            }
        }
        extensions.extend(order.more.iter().cloned());
        let issuer = self.issuer.certificate.tbs_certificate.subject.to_string();
        let precertificate = issue(&self.issuer.key, &issuer, key, "", order.validity, extensions);
        let mut tbs = precertificate.tbs_certificate;
        if order.sct {
            let seen = plain(&self.seen(&tbs, order.time));
            tbs.extensions.as_mut().unwrap().push(seen);
        }
        signed(&self.issuer.key, tbs).to_der().unwrap()
    }

    /// The log's word that it saw a certificate (RFC 6962, 3.2).
    fn seen(&self, tbs: &TbsCertificate, time: i64) -> SignedCertificateTimestampList {
        let millis = u64::try_from(time * 1000).unwrap();
        let tbs = tbs.to_der().unwrap();
        let mut signed = vec![0, 0];
        signed.extend(millis.to_be_bytes());
        signed.extend([0, 1]);
        signed.extend(self.issuer.key.id());
        signed.extend(&u32::try_from(tbs.len()).unwrap().to_be_bytes()[1..]);
        signed.extend(&tbs);
        signed.extend([0, 0]);
        let timestamp = SignedCertificateTimestamp {
            version: x509_cert_02::ext::pkix::sct::Version::V1,
            log_id: LogId { key_id: self.ct.id() },
            timestamp: millis,
            extensions: Vec::new().into(),
            signature: DigitallySigned {
                algorithm: SignatureAndHashAlgorithm {
                    hash: HashAlgorithm::Sha256,
                    signature: SignatureAlgorithm::Ecdsa,
                },
                signature: self.ct.sign(&signed).into(),
            },
        };
        SignedCertificateTimestampList::new(&[SerializedSct::new(timestamp).unwrap()]).unwrap()
    }

    /// Puts a signature into a log, and returns the entry.
    fn log(&self, log: Log, order: &Order, certificate: &[u8], signature: &[u8]) -> Value {
        let (kind, version, body) = body(log, &order.content, certificate, signature);
        let rekor = match log {
            Log::V2 => &self.rekor2,
            _ => &self.rekor,
        };
        let body = body.to_string().into_bytes();
        let mut entry = rekor.include(&body);
        entry["kindVersion"] = json!({ "kind": kind, "version": version });
        if log != Log::V2 {
            entry["integratedTime"] = json!(order.time.to_string());
            if order.promise {
                rekor.promise(&mut entry, &body, order.time);
            }
        }
        entry
    }

    /// A time stamp over a signature (RFC 3161, 2.4.2).
    pub fn stamp(&self, signature: &[u8], time: i64) -> Vec<u8> {
        self.stamp_over(&sha256(signature), time)
    }

    /// A time stamp over the SHA-256 of something.
    pub fn stamp_over(&self, digest: &[u8], time: i64) -> Vec<u8> {
        let info = TstInfo {
            version: 1,
            policy: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.2"),
            message_imprint: MessageImprint {
                hash_algorithm: algorithm(SHA256),
                hashed_message: OctetString::new(digest).unwrap(),
            },
            serial_number: Int::new(&[7]).unwrap(),
            gen_time: GeneralizedTime::from_unix_duration(std::time::Duration::from_secs(time.unsigned_abs())).unwrap(),
        };
        let info = info.to_der().unwrap();
        let attribute = |oid, value: Any| Attribute {
            oid,
            values: SetOfVec::try_from(vec![value]).unwrap(),
        };
        let attributes = SetOfVec::try_from(vec![
            attribute(CONTENT_TYPE, Any::from(&TST_INFO)),
            attribute(MESSAGE_DIGEST, Any::new(Tag::OctetString, sha256(&info)).unwrap()),
        ])
        .unwrap();
        let tbs = &self.stamps.certificate.tbs_certificate;
        let signer = SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
                issuer: tbs.issuer.clone(),
                serial_number: tbs.serial_number.clone(),
            }),
            digest_alg: algorithm(SHA256),
            signature: OctetString::new(self.stamps.key.sign(&attributes.to_der().unwrap())).unwrap(),
            signed_attrs: Some(attributes),
            signature_algorithm: algorithm(ECDSA_SHA256),
            unsigned_attrs: None,
        };
        let certificates = vec![CertificateChoices::Certificate(self.stamps.certificate.clone())];
        let data = SignedData {
            version: CmsVersion::V3,
            digest_algorithms: SetOfVec::try_from(vec![algorithm(SHA256)]).unwrap(),
            encap_content_info: EncapsulatedContentInfo {
                econtent_type: TST_INFO,
                econtent: Some(Any::new(Tag::OctetString, info).unwrap()),
            },
            certificates: Some(CertificateSet(SetOfVec::try_from(certificates).unwrap())),
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![signer]).unwrap()),
        };
        let token = ContentInfo {
            content_type: SIGNED_DATA,
            content: Any::encode_from(&data).unwrap(),
        };
        let answer = TimeStampResp {
            status: PkiStatusInfo { status: 0 },
            time_stamp_token: Any::encode_from(&token).unwrap(),
        };
        answer.to_der().unwrap()
    }
}

impl Rekor {
    /// Puts `body` behind four entries of others, and one behind it.
    fn include(&self, body: &[u8]) -> Value {
        let mut leaves: Vec<[u8; 32]> = [0, 1, 2, 3].map(|n: u8| leaf(&[n])).to_vec();
        leaves.push(leaf(body));
        leaves.push(leaf(b"later"));
        self.entry(4, &leaves, body)
    }

    /// The entry `body`, which is one of the log's leaves.
    pub fn entry(&self, at: usize, leaves: &[[u8; 32]], body: &[u8]) -> Value {
        let root = tree(leaves);
        let hashes: Vec<String> = path(at, leaves).iter().map(|hash| STANDARD.encode(hash)).collect();
        json!({
            "logIndex": at.to_string(),
            "logId": { "keyId": STANDARD.encode(self.key.id()) },
            "inclusionProof": {
                "logIndex": at.to_string(), "rootHash": STANDARD.encode(root), "treeSize": leaves.len().to_string(), "hashes": hashes,
                "checkpoint": { "envelope": self.checkpoint(leaves.len(), &root) },
            },
            "canonicalizedBody": STANDARD.encode(body),
        })
    }

    /// The log's signed note that a tree has a root.
    pub fn checkpoint(&self, size: usize, root: &[u8; 32]) -> String {
        let text = format!("{}\n{size}\n{}\n", self.origin, STANDARD.encode(root));
        let signature = self.key.sign(text.as_bytes());
        let signature = [&self.key.id()[..4], &signature].concat();
        format!("{text}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(signature))
    }

    pub fn promise(&self, entry: &mut Value, body: &[u8], time: i64) {
        let index: u64 = entry["logIndex"].as_str().unwrap().parse().unwrap();
        let promised = json!({
            "body": STANDARD.encode(body), "integratedTime": time, "logID": hex::encode(self.key.id()), "logIndex": index,
        });
        let promise = self.key.sign(promised.to_string().as_bytes());
        entry["inclusionPromise"] = json!({ "signedEntryTimestamp": STANDARD.encode(promise) });
    }
}

pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// What a log is given.
fn body(log: Log, content: &Content, certificate: &[u8], signature: &[u8]) -> (&'static str, &'static str, Value) {
    let pem = STANDARD.encode(pem(certificate));
    let signed = match content {
        Content::File(bytes) => bytes.clone(),
        Content::Statement(payload) => pae(payload),
    };
    let hash = |bytes: &[u8]| json!({ "algorithm": "sha256", "value": hex::encode(sha256(bytes)) });
    let signature = STANDARD.encode(signature);
    match (log, content) {
        (Log::V1, Content::File(bytes)) => (
            "hashedrekord",
            "0.0.1",
            json!({ "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                "data": { "hash": hash(bytes) },
                "signature": { "content": signature, "publicKey": { "content": pem } },
            }}),
        ),
        (Log::V1, Content::Statement(payload)) => (
            "dsse",
            "0.0.1",
            json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": {
                "envelopeHash": hash(b"as it was sent"), "payloadHash": hash(payload),
                "signatures": [{ "signature": signature, "verifier": pem }],
            }}),
        ),
        (Log::V1Intoto, Content::Statement(payload)) => (
            "intoto",
            "0.0.2",
            json!({ "apiVersion": "0.0.2", "kind": "intoto", "spec": { "content": {
                "envelope": {
                    "payloadType": IN_TOTO,
                    "signatures": [{ "publicKey": pem, "sig": STANDARD.encode(&signature) }],
                },
                "hash": hash(b"as it was sent"), "payloadHash": hash(payload),
            }}}),
        ),
        (Log::V1Intoto, Content::File(_)) => panic!("the log takes statements as intoto"),
        (Log::V2, _) => (
            "hashedrekord",
            "0.0.2",
            json!({ "apiVersion": "0.0.2", "kind": "hashedrekord", "spec": { "hashedRekordV002": {
                "data": { "algorithm": "SHA2_256", "digest": STANDARD.encode(sha256(&signed)) },
                "signature": { "content": signature, "verifier": {
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "x509Certificate": { "rawBytes": STANDARD.encode(certificate) },
                }},
            }}}),
        ),
    }
}

fn issue(
    by: &Key,
    issuer: &str,
    key: &SubjectPublicKeyInfoOwned,
    subject: &str,
    validity: (i64, i64),
    mut extensions: Extensions,
) -> Certificate {
    let id = sha256(&key.to_der().unwrap());
    let name = |id: [u8; 32]| OctetString::new(&id[..20]).unwrap();
    extensions.push(plain(&SubjectKeyIdentifier(name(id))));
    extensions.push(plain(&AuthorityKeyIdentifier {
        key_identifier: Some(name(by.id())),
        ..AuthorityKeyIdentifier::default()
    }));
    let mut serial = [0; 8];
    serial.copy_from_slice(&id[..8]);
    serial[0] = serial[0] & 0x7f | 0x40;
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&serial).unwrap(),
        signature: algorithm(ECDSA_SHA256),
        issuer: issuer.parse::<Name>().unwrap(),
        validity: Validity {
            not_before: time(validity.0),
            not_after: time(validity.1),
        },
        subject: match subject {
            "" => Name::default(),
            subject => subject.parse().unwrap(),
        },
        subject_public_key_info: key.clone(),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    };
    signed(by, tbs)
}

fn signed(by: &Key, tbs: TbsCertificate) -> Certificate {
    let signature = by.sign(&tbs.to_der().unwrap());
    Certificate {
        tbs_certificate: tbs,
        signature_algorithm: algorithm(ECDSA_SHA256),
        signature: BitString::from_bytes(&signature).unwrap(),
    }
}

fn authority_extensions() -> Extensions {
    vec![
        critical(&KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)),
        critical(&BasicConstraints {
            ca: true,
            path_len_constraint: None,
        }),
    ]
}

fn stamp_extensions() -> Extensions {
    vec![
        critical(&KeyUsage(KeyUsages::DigitalSignature.into())),
        critical(&ExtendedKeyUsage(vec![TIME_STAMPING])),
    ]
}

/// What Fulcio writes of who vouches for the identity.
pub fn issuer_extension(issuer: &str) -> Extension {
    Extension {
        extn_id: FULCIO_ISSUER,
        critical: false,
        extn_value: OctetString::new(Utf8StringRef::new(issuer).unwrap().to_der().unwrap()).unwrap(),
    }
}

fn extension<T: Encode + der::oid::AssociatedOid>(value: &T, critical: bool) -> Extension {
    Extension {
        extn_id: T::OID,
        critical,
        extn_value: OctetString::new(value.to_der().unwrap()).unwrap(),
    }
}

fn critical<T: Encode + der::oid::AssociatedOid>(value: &T) -> Extension {
    extension(value, true)
}

fn plain<T: Encode + der::oid::AssociatedOid>(value: &T) -> Extension {
    extension(value, false)
}

fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: None }
}

fn time(seconds: i64) -> Time {
    let time = std::time::Duration::from_secs(seconds.unsigned_abs());
    Time::UtcTime(der::asn1::UtcTime::from_unix_duration(time).unwrap())
}

fn rfc3339(seconds: i64) -> String {
    let time = std::time::Duration::from_secs(seconds.unsigned_abs());
    DateTime::from_unix_duration(time).unwrap().to_string()
}

pub fn pem(der: &[u8]) -> String {
    use x509_cert_02::der::EncodePem as _;
    Certificate::from_der(der)
        .unwrap()
        .to_pem(der::pem::LineEnding::LF)
        .unwrap()
}

fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// RFC 6962, 2.1.
pub fn leaf(bytes: &[u8]) -> [u8; 32] {
    sha256(&[&[0], bytes].concat())
}

fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [leaf] => *leaf,
        leaves => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1], tree(left).as_slice(), &tree(right)].concat())
        }
    }
}

/// RFC 6962, 2.1.1.
fn path(at: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let middle = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(middle);
    let (mut hashes, other) = match at < middle {
        true => (path(at, left), tree(right)),
        false => (path(at - middle, right), tree(left)),
    };
    hashes.push(other);
    hashes
}

#[derive(Sequence)]
struct MessageImprint {
    hash_algorithm: AlgorithmIdentifierOwned,
    hashed_message: OctetString,
}

/// RFC 3161, 2.4.2.
#[derive(Sequence)]
struct TstInfo {
    version: u8,
    policy: ObjectIdentifier,
    message_imprint: MessageImprint,
    serial_number: Int,
    gen_time: GeneralizedTime,
}

#[derive(Sequence)]
struct PkiStatusInfo {
    status: u8,
}

#[derive(Sequence)]
struct TimeStampResp {
    status: PkiStatusInfo,
    time_stamp_token: Any,
}
