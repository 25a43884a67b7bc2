//! A [`VirtualSigstore`] behind the interfaces of real services: Fulcio 2, Rekor 1 and 2, RFC 3161; on a port of the loopback.
//!
//! The authority checks tokens and who holds a key, the logs check signatures, and append: what they give out is true of what they
//! were sent, unless a test has one of them do otherwise ([`Faults`]).

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use der::{Decode, Sequence};
use imgkit::digest::Digest;
use imgkit::key::PublicKey;
use imgkit::sigstore::signature::{made_by, made_by_digest};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Value, json};
use x509_cert_02::certificate::Certificate;
use x509_cert_02::der::{DecodePem as _, Encode as _};
use x509_cert_02::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::common::server::{Answer, Request, Server};
use crate::virtual_sigstore::{Content, IN_TOTO, Key, Order, Rekor, VirtualSigstore, email, leaf, pem};

/// Who vouches for identities in these tests.
pub const ISSUER: &str = "https://issuer.example";

/// What a service does that it should not.
#[derive(Clone, Default)]
pub struct Faults {
    /// The status that the authority, the logs or the stamps answer instead.
    pub authority: Option<u16>,
    pub log: Option<u16>,
    pub stamps: Option<u16>,
    /// The authority sends its callers elsewhere.
    pub elsewhere: Option<String>,
    /// All of them answer with some page.
    pub page: bool,
    /// The certificate has no word of the certificate-transparency log.
    pub no_sct: bool,
    /// The certificate is for a key of the authority's own.
    pub other_key: bool,
    /// The certificate names somebody else.
    pub identity: Option<String>,
    /// The log takes something else than it is sent.
    pub other_entry: bool,
    /// The stamp is over something else.
    pub other_stamp: bool,
}

/// The services, and who vouches for people to them.
pub struct Services {
    server: Server,
    issuer: Ed25519KeyPair,
    faults: Arc<Mutex<Faults>>,
}

struct Instance {
    sigstore: Arc<VirtualSigstore>,
    issuer: Vec<u8>,
    faults: Arc<Mutex<Faults>>,
    leaves: [Mutex<Vec<[u8; 32]>>; 2],
}

impl Services {
    pub fn start(sigstore: &Arc<VirtualSigstore>) -> Self {
        let issuer = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let issuer = Ed25519KeyPair::from_pkcs8(issuer.as_ref()).unwrap();
        let faults = Arc::new(Mutex::new(Faults::default()));
        let instance = Instance {
            sigstore: Arc::clone(sigstore),
            issuer: issuer.public_key().as_ref().to_vec(),
            faults: Arc::clone(&faults),
            leaves: [Mutex::new(vec![leaf(b"first")]), Mutex::new(Vec::new())],
        };
        let server = Server::start(move |_, request| instance.answer(request));
        Self { server, issuer, faults }
    }

    pub fn url(&self, service: &str) -> String {
        format!("http://{}{service}", self.server.host())
    }

    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Has the services do this from now on.
    pub fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    /// A token by which `address` is who holds it, for ten minutes.
    pub fn token(&self, address: &str) -> String {
        self.token_of(&json!({
            "iss": ISSUER, "aud": "sigstore", "sub": format!("subject of {address}"), "email": address, "email_verified": true,
            "exp": now() + 600, "iat": now(),
        }))
    }

    pub fn token_of(&self, claims: &Value) -> String {
        let head = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "typ": "JWT" }).to_string());
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.issuer.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// The signing configuration that names these services.
    pub fn config(&self, version: u32) -> Value {
        let service = |path: &str, version: u32| json!([{ "url": self.url(path), "majorApiVersion": version, "validFor": { "start": "2020-01-01T00:00:00Z" }, "operator": "virtual" }]);
        json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": service("/fulcio", 1), "oidcUrls": [], "rekorTlogUrls": service(&format!("/rekor{version}"), version),
            "tsaUrls": service("/stamps/api/v1/timestamp", 1),
            "rekorTlogConfig": { "selector": "ANY" }, "tsaConfig": { "selector": "ANY" },
        })
    }
}

pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

impl Instance {
    fn answer(&self, request: &Request) -> Answer {
        let faults = self.faults.lock().unwrap().clone();
        if faults.page {
            return Answer::ok("<html>Welcome</html>");
        }
        let sent = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
        let (instead, answer): (_, Option<Answer>) = match (request.method.as_str(), request.path.as_str()) {
            ("POST", path) if faults.elsewhere.is_some() => {
                let to = faults.elsewhere.unwrap_or_default();
                return Answer::status(307).with("Location", format!("{to}{path}"));
            }
            // As servers do that say what they did not like.
            ("POST", "/fulcio/api/v2/signingCert") => match faults.authority {
                Some(status) => {
                    return Answer {
                        status,
                        ..Answer::ok(request.body.clone())
                    };
                }
                None => (None, Some(self.certify(&sent(), &faults))),
            },
            ("POST", "/rekor1/api/v1/log/entries") => (faults.log, self.log_v1(&sent(), &faults)),
            ("POST", "/rekor2/api/v2/log/entries") => (faults.log, self.log_v2(&sent(), &faults)),
            ("POST", "/stamps/api/v1/timestamp") => (faults.stamps, self.stamp(request, &faults)),
            _ => return Answer::status(404),
        };
        match (instead, answer) {
            (Some(status), _) => Answer::status(status),
            (None, answer) => answer.unwrap_or(Answer::status(400)),
        }
    }

    fn certify(&self, request: &Value, faults: &Faults) -> Answer {
        let Some(claims) = self.claims(&request["credentials"]["oidcIdentityToken"]) else {
            return Answer {
                status: 401,
                ..Answer::ok(r#"{"code":16,"message":"There was an error processing the identity token"}"#)
            };
        };
        let asked = &request["publicKeyRequest"];
        let key = PublicKey::from_pem(asked["publicKey"]["content"].as_str().unwrap()).unwrap();
        let proof = STANDARD.decode(asked["proofOfPossession"].as_str().unwrap()).unwrap();
        let named = claims["email"]
            .as_str()
            .unwrap_or(claims["sub"].as_str().unwrap())
            .to_owned();
        if made_by(std::slice::from_ref(&key), named.as_bytes(), &proof).is_none() {
            return Answer::status(400);
        }
        let mut spki = SubjectPublicKeyInfoOwned::from_der(key.spki_der()).unwrap();
        if faults.other_key {
            spki = Key::generate().spki();
        }
        let order = Order {
            identity: vec![email(faults.identity.as_ref().unwrap_or(&named))],
            issuer: Some(claims["iss"].as_str().unwrap().to_owned()),
            time: now(),
            validity: (now() - 1, now() + 600),
            sct: !faults.no_sct,
            ..Order::of(Content::File(Vec::new()))
        };
        let certificate = pem(&self.sigstore.certificate(&order, &spki));
        let chain = json!({ "chain": { "certificates": [certificate] } });
        Answer::ok(json!({ "signedCertificateEmbeddedSct": chain }).to_string())
    }

    /// What a token of the issuer says, while its time is not over.
    fn claims(&self, token: &Value) -> Option<Value> {
        let (signed, signature) = token.as_str()?.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let issuer = UnparsedPublicKey::new(&ED25519, &self.issuer);
        issuer.verify(signed.as_bytes(), &signature).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        (claims["exp"].as_i64()? > now() && claims["aud"] == "sigstore").then_some(claims)
    }

    fn append(&self, log: usize, rekor: &Rekor, body: &[u8]) -> Value {
        let mut leaves = self.leaves[log].lock().unwrap();
        leaves.push(leaf(body));
        rekor.entry(leaves.len() - 1, &leaves, body)
    }

    fn log_v1(&self, request: &Value, faults: &Faults) -> Option<Answer> {
        let mut body = match request["kind"].as_str()? {
            "hashedrekord" => {
                let spec = &request["spec"];
                let digest = hex::decode(spec["data"]["hash"]["value"].as_str()?).ok()?;
                let signature = STANDARD.decode(spec["signature"]["content"].as_str()?).ok()?;
                let certificate = STANDARD
                    .decode(spec["signature"]["publicKey"]["content"].as_str()?)
                    .ok()?;
                signed_digest(&Certificate::from_pem(&certificate).ok()?, &digest, &signature)?;
                request.clone()
            }
            "dsse" => dsse_body(&request["spec"]["proposedContent"])?,
            _ => return None,
        };
        if faults.other_entry {
            let hash = if body["kind"] == "dsse" {
                "/spec/payloadHash/value"
            } else {
                "/spec/data/hash/value"
            };
            *body.pointer_mut(hash)? = json!(Digest::sha256(b"another").hex());
        }
        let body = body.to_string().into_bytes();
        let rekor = &self.sigstore.rekor;
        let mut entry = self.append(0, rekor, &body);
        rekor.promise(&mut entry, &body, now());
        let hex = |value: &Value| json!(hex::encode(STANDARD.decode(value.as_str().unwrap()).unwrap()));
        let proof = &entry["inclusionProof"];
        let number = |value: &Value| json!(value.as_str().unwrap().parse::<u64>().unwrap());
        let answer = json!({ hex::encode(leaf(&body)): {
            "body": entry["canonicalizedBody"], "integratedTime": now(), "logID": hex(&entry["logId"]["keyId"]),
            "logIndex": number(&entry["logIndex"]),
            "verification": {
                "inclusionProof": {
                    "checkpoint": proof["checkpoint"]["envelope"], "logIndex": number(&proof["logIndex"]),
                    "hashes": proof["hashes"].as_array()?.iter().map(hex).collect::<Vec<_>>(),
                    "rootHash": hex(&proof["rootHash"]), "treeSize": number(&proof["treeSize"]),
                },
                "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            },
        }});
        Some(Answer {
            status: 201,
            ..Answer::ok(answer.to_string())
        })
    }

    fn log_v2(&self, request: &Value, faults: &Faults) -> Option<Answer> {
        let asked = &request["hashedRekordRequestV002"];
        let digest = STANDARD.decode(asked["digest"].as_str()?).ok()?;
        let signature = STANDARD.decode(asked["signature"]["content"].as_str()?).ok()?;
        let certificate = STANDARD
            .decode(asked["signature"]["verifier"]["x509Certificate"]["rawBytes"].as_str()?)
            .ok()?;
        signed_digest(&Certificate::from_der(&certificate).ok()?, &digest, &signature)?;
        let digest = if faults.other_entry {
            Digest::sha256(b"another").as_bytes().to_vec()
        } else {
            digest
        };
        let body = json!({ "apiVersion": "0.0.2", "kind": "hashedrekord", "spec": { "hashedRekordV002": {
            "data": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) }, "signature": asked["signature"],
        }}});
        let mut entry = self.append(1, &self.sigstore.rekor2, body.to_string().as_bytes());
        entry["kindVersion"] = json!({ "kind": "hashedrekord", "version": "0.0.2" });
        // As protobuf writes what is not there.
        entry["integratedTime"] = json!("0");
        entry["inclusionPromise"] = Value::Null;
        Some(Answer {
            status: 201,
            ..Answer::ok(entry.to_string())
        })
    }

    fn stamp(&self, request: &Request, faults: &Faults) -> Option<Answer> {
        let query = Query::from_der(&request.body).ok()?;
        let digest = query.imprint.digest.as_bytes();
        let wrong = Digest::sha256(b"another");
        let digest = if faults.other_stamp { wrong.as_bytes() } else { digest };
        let is_query = request.header("content-type") == Some("application/timestamp-query") && query.certificates;
        is_query.then(|| Answer::ok(self.sigstore.stamp_over(digest, now())))
    }
}

/// Checks that a certificate's key signed what has this digest.
fn signed_digest(certificate: &Certificate, digest: &[u8], signature: &[u8]) -> Option<()> {
    let digest = Digest::Sha256(digest.try_into().ok()?);
    made_by_digest(&[key(certificate)], &digest, signature).map(drop)
}

fn key(certificate: &Certificate) -> PublicKey {
    let spki = certificate.tbs_certificate.subject_public_key_info.to_der().unwrap();
    PublicKey::from_spki_der(&spki).unwrap()
}

/// What a log of version 1 keeps of an envelope.
fn dsse_body(proposed: &Value) -> Option<Value> {
    let envelope = proposed["envelope"].as_str()?;
    let verifier = STANDARD.decode(proposed["verifiers"][0].as_str()?).ok()?;
    let parsed = imgkit::sigstore::envelope::Envelope::parse(envelope.as_bytes()).ok()?;
    let certificate = Certificate::from_pem(&verifier).ok()?;
    (parsed.payload_type() == IN_TOTO).then_some(())?;
    parsed.made_by(&[key(&certificate)])?;
    let hash = |bytes: &[u8]| json!({ "algorithm": "sha256", "value": Digest::sha256(bytes).hex() });
    Some(json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": {
        "envelopeHash": hash(envelope.as_bytes()), "payloadHash": hash(parsed.payload()),
        "signatures": [{ "signature": STANDARD.encode(&parsed.signatures()[0]), "verifier": STANDARD.encode(verifier) }],
    }}))
}

#[derive(Sequence)]
struct Imprint {
    algorithm: AlgorithmIdentifierOwned,
    digest: der::asn1::OctetString,
}

/// RFC 3161, 2.4.1.
#[derive(Sequence)]
struct Query {
    version: u8,
    imprint: Imprint,
    #[asn1(optional = "true")]
    nonce: Option<der::asn1::Int>,
    certificates: bool,
}
