//! Bearer tokens, as registries have them (distribution, `docs/content/spec/auth/token.md` and `jwt.md`).
//!
//! - A token is a JWT signed with ES256 or RS256; nothing else is read, `none` least of all.
//! - Its key stands in a certificate (`x5c`) that is one of the configured roots or chains up to one; or `kid` names a root's key.
//! - Issuer, audience and times must fit, and its `access` must grant every action that the request needs.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde_json::{Value, json};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate as X509;
use x509_cert::der::Decode as _;

use super::answer::{Answer, Refused};
use super::route::Gun;
use super::tls;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::json;
use crate::json::Limits;
use crate::key::{KeyType, PublicKey, Scheme};
use crate::limit;
use crate::time::Time;

/// How far the clocks of token server and this one may be apart, in seconds.
const LEEWAY: i64 = 60;

/// Whom to believe about who may do what.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// Where clients get tokens: an URL.
    pub realm: String,
    /// This server's name in tokens (`aud`).
    pub service: String,
    /// The token server's name in tokens (`iss`).
    pub issuer: String,
    /// Certificates in PEM that tokens' keys stand in or chain up to.
    pub roots: Vec<u8>,
}

/// Checks tokens.
#[derive(Debug)]
pub(super) struct TokenAuth {
    realm: String,
    service: String,
    issuer: String,
    roots: Vec<Root>,
}

/// A certificate that is trusted, and what chains are verified against.
#[derive(Debug)]
struct Root {
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
}

/// What a request needs to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    kind: &'static str,
    name: String,
    actions: &'static [&'static str],
}

impl Access {
    pub(super) fn pull(gun: &Gun) -> Self {
        Self::repository(gun, &["pull"])
    }

    pub(super) fn push(gun: &Gun) -> Self {
        Self::repository(gun, &["push", "pull"])
    }

    /// Rotating the server's keys, and deleting.
    pub(super) fn all(gun: &Gun) -> Self {
        Self::repository(gun, &["*"])
    }

    /// Reading what happened to any collection.
    pub(super) fn catalog() -> Self {
        Self {
            kind: "registry",
            name: "catalog".to_owned(),
            actions: &["*"],
        }
    }

    fn repository(gun: &Gun, actions: &'static [&'static str]) -> Self {
        Self {
            kind: "repository",
            name: gun.to_string(),
            actions,
        }
    }

    /// Tells whether a token's `access` grants this.
    fn is_in(&self, granted: &[Value]) -> bool {
        let text = |entry: &Value, member: &str| entry.get(member).and_then(Value::as_str).map(str::to_owned);
        let mine = granted.iter().filter(|entry| {
            text(entry, "type").as_deref() == Some(self.kind) && text(entry, "name").as_deref() == Some(&self.name)
        });
        let actions: Vec<&str> = mine
            .filter_map(|entry| entry.get("actions").and_then(Value::as_array))
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        // `*` stands for every action, as in registries: who may delete reads with the same token.
        actions.contains(&"*") || self.actions.iter().all(|action| actions.contains(action))
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    NoToken,
    BadToken,
    NotEnough,
}

impl TokenAuth {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the roots are no certificates, or a text cannot stand in a header.
    pub(super) fn new(options: &TokenOptions) -> Result<Self, Failure> {
        let bad = |problem: &dyn std::fmt::Display| Failure::malformed("--auth-root-cert", problem);
        let certificates = tls::certificates(&options.roots).map_err(|problem| bad(&problem))?;
        let root = |certificate: CertificateDer<'static>| {
            let anchor = anchor_from_trusted_cert(&certificate)?.to_owned();
            Ok(Root { certificate, anchor })
        };
        let roots: Result<Vec<_>, webpki::Error> = certificates.into_iter().map(root).collect();
        for (name, text) in [("--auth-realm", &options.realm), ("--auth-service", &options.service)] {
            if text.bytes().any(|b| b.is_ascii_control() || b == b'"' || b == b'\\') {
                return Err(Failure::malformed(
                    name,
                    "it cannot stand in a header: no quotes, no control characters",
                ));
            }
        }
        Ok(Self {
            realm: options.realm.clone(),
            service: options.service.clone(),
            issuer: options.issuer.clone(),
            roots: roots.map_err(|error| bad(&error))?,
        })
    }

    /// Lets a request through, or makes the answer that says how to get a token.
    pub(super) fn check(&self, headers: &HeaderMap, wanted: Option<&Access>, now: Time) -> Result<(), Box<Answer>> {
        self.judge(headers, wanted, now)
            .map_err(|denied| Box::new(self.challenge(wanted, denied)))
    }

    fn judge(&self, headers: &HeaderMap, wanted: Option<&Access>, now: Time) -> Result<(), Denied> {
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) = value.and_then(|value| value.split_once(' ')).ok_or(Denied::NoToken)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::NoToken);
        }
        let granted = self.granted(token.trim(), now).ok_or(Denied::BadToken)?;
        match wanted.is_none_or(|access| access.is_in(&granted)) {
            true => Ok(()),
            false => Err(Denied::NotEnough),
        }
    }

    /// Checks a token and returns its `access`; why one is not good is nobody's business but its maker's.
    fn granted(&self, token: &str, now: Time) -> Option<Vec<Value>> {
        if token.len() > limit::BEARER_BYTES {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (head, claims) = message.split_once('.')?;
        let read = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            json::parse(&bytes, Limits::any_number(limit::BEARER_BYTES)).ok()
        };
        let head = read(head)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = self.key(&head, now)?;
        let good = match head.get("alg").and_then(Value::as_str)? {
            "ES256" if key.key_type() == KeyType::EcdsaP256 => key.verify_fixed(message.as_bytes(), &signature),
            "RS256" => key.verify(Scheme::RsaPkcs1Sha256, message.as_bytes(), &signature),
            _ => return None,
        };
        good.ok()?;
        let claims = read(claims)?;
        let text = |member: &str| claims.get(member).and_then(Value::as_str);
        let number = |member: &str| claims.get(member).and_then(Value::as_f64).map(|number| number as i64);
        let for_us = match claims.get("aud")? {
            Value::String(audience) => *audience == self.service,
            Value::Array(audiences) => audiences
                .iter()
                .any(|audience| audience.as_str() == Some(&self.service)),
            _ => false,
        };
        let now = now.unix();
        let in_time = number("exp")? > now.saturating_sub(LEEWAY)
            && number("nbf").is_none_or(|begin| begin <= now.saturating_add(LEEWAY));
        if text("iss") != Some(&self.issuer) || !for_us || !in_time {
            return None;
        }
        match claims.get("access") {
            Some(Value::Array(access)) => Some(access.clone()),
            None | Some(Value::Null) => Some(Vec::new()),
            Some(_) => None,
        }
    }

    /// Finds the key that a token says it is signed with, if a root stands for it.
    fn key(&self, head: &Value, now: Time) -> Option<PublicKey> {
        if let Some(chain) = head.get("x5c") {
            let chain: Option<Vec<_>> = chain
                .as_array()?
                .iter()
                .map(|certificate| Some(CertificateDer::from(STANDARD.decode(certificate.as_str()?).ok()?)))
                .collect();
            let chain = chain?;
            let (leaf, between) = chain.split_first()?;
            let end = EndEntityCert::try_from(leaf).ok()?;
            if self.roots.iter().any(|root| root.certificate == *leaf) {
                in_its_time(leaf, now)?;
            } else {
                // webpki does not look at the dates of anchors.
                let good = self
                    .roots
                    .iter()
                    .filter(|root| in_its_time(&root.certificate, now).is_some());
                let anchors: Vec<_> = good.map(|root| root.anchor.clone()).collect();
                let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.unix().cast_unsigned()));
                let algorithms = webpki::ALL_VERIFICATION_ALGS;
                // Tokens' certificates name no purpose; one that names another than clients' is refused.
                let usage = KeyUsage::client_auth();
                end.verify_for_usage(algorithms, &anchors, between, at, usage, None, None)
                    .ok()?;
            }
            return PublicKey::from_spki_der(end.subject_public_key_info().as_ref()).ok();
        }
        let kid = head.get("kid").and_then(Value::as_str)?;
        self.roots.iter().find_map(|Root { certificate, .. }| {
            let spki = EndEntityCert::try_from(certificate).ok()?.subject_public_key_info();
            in_its_time(certificate, now)?;
            (libtrust_id(spki.as_ref()) == kid)
                .then(|| PublicKey::from_spki_der(spki.as_ref()).ok())
                .flatten()
        })
    }

    fn challenge(&self, wanted: Option<&Access>, denied: Denied) -> Answer {
        let mut value = format!("Bearer realm=\"{}\",service=\"{}\"", self.realm, self.service);
        if let Some(Access { kind, name, actions }) = wanted {
            // A GUN may hold what ends a quoted string.
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            value.push_str(&format!(",scope=\"{kind}:{name}:{}\"", actions.join(",")));
        }
        match denied {
            Denied::NoToken => {}
            Denied::BadToken => value.push_str(",error=\"invalid_token\""),
            Denied::NotEnough => value.push_str(",error=\"insufficient_scope\""),
        }
        let detail = wanted.map_or_else(Vec::new, |Access { kind, name, actions }| {
            let one = |action: &&str| json!({ "Type": kind, "Class": "", "Name": name, "Action": action });
            actions.iter().map(one).collect()
        });
        let mut answer = Refused::unauthorized(detail.into()).answer();
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        answer
    }
}

fn in_its_time(certificate: &CertificateDer<'_>, now: Time) -> Option<()> {
    let certificate = X509::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let seconds = |time: &x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
    let (begin, end) = (seconds(&validity.not_before)?, seconds(&validity.not_after)?);
    (begin <= now.unix() && now.unix() <= end).then_some(())
}

/// Names a key as libtrust does: base32 of the first 240 bits of its SHA-256, in groups of four.
fn libtrust_id(spki: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Digest::sha256(spki);
    let bits: String = digest
        .as_bytes()
        .iter()
        .take(30)
        .map(|byte| format!("{byte:08b}"))
        .collect();
    let mut id = String::new();
    for (at, five) in bits.as_bytes().chunks(5).enumerate() {
        if at > 0 && at % 4 == 0 {
            id.push(':');
        }
        let index = five.iter().fold(0, |value, bit| 2 * value + usize::from(*bit == b'1'));
        id.extend(ALPHABET.get(index).map(|letter| char::from(*letter)));
    }
    id
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::key::Signer as _;
    use crate::key::{Algorithm, SigningKey, ecdsa};
    use crate::time::DAY;
    use crate::trust::notary::NewCertificate;

    fn now() -> Time {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    fn gun() -> Gun {
        Gun::new("example.com/a").unwrap()
    }

    /// A token server: its key, and the certificate that holds it.
    fn issuer(until: Time) -> (SigningKey, String) {
        let key = SigningKey::generate_as(Algorithm::P256).unwrap();
        let new = NewCertificate {
            gun: "tokens",
            public: key.public(),
            serial: [1; 16],
            dates: (now().plus(-DAY), until),
        };
        let pem = new.sign(Scheme::EcdsaP256Sha256, |message| key.sign(message)).unwrap();
        (key, pem)
    }

    fn auth(pem: &str) -> TokenAuth {
        let options = TokenOptions {
            realm: "https://tokens.example/token".into(),
            service: "notary.example".into(),
            issuer: "tokens.example".into(),
            roots: pem.as_bytes().to_vec(),
        };
        TokenAuth::new(&options).unwrap()
    }

    fn x5c(pem: &str) -> Value {
        let certificate: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        json!({ "typ": "JWT", "alg": "ES256", "x5c": [certificate] })
    }

    fn claims() -> Value {
        let access = json!([{ "type": "repository", "name": "example.com/a", "actions": ["push", "pull"] }]);
        json!({
            "iss": "tokens.example", "aud": ["x", "notary.example"], "exp": now().unix() + 300, "nbf": now().unix(),
            "access": access,
        })
    }

    fn signed_token(key: &SigningKey, head: &Value, claims: &Value) -> String {
        let message = [head, claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".");
        let signature = key.sign(message.as_bytes()).unwrap();
        let signature = ecdsa::to_fixed(KeyType::EcdsaP256, &signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn judged(auth: &TokenAuth, token: &str, wanted: &Access) -> Result<(), Denied> {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        auth.judge(&HeaderMap::from_iter([(AUTHORIZATION, value)]), Some(wanted), now())
    }

    #[test]
    fn a_token_grants_what_it_names_and_no_more() {
        let (key, pem) = issuer(now().plus(DAY));
        let auth = auth(&pem);
        let token = signed_token(&key, &x5c(&pem), &claims());
        assert_eq!(judged(&auth, &token, &Access::pull(&gun())), Ok(()));
        assert_eq!(judged(&auth, &token, &Access::push(&gun())), Ok(()));
        assert_eq!(judged(&auth, &token, &Access::all(&gun())), Err(Denied::NotEnough));
        assert_eq!(judged(&auth, &token, &Access::catalog()), Err(Denied::NotEnough));
        let other = Access::pull(&Gun::new("example.com/ab").unwrap());
        assert_eq!(judged(&auth, &token, &other), Err(Denied::NotEnough));
        assert_eq!(auth.judge(&HeaderMap::new(), None, now()), Err(Denied::NoToken));
        let mut everything = claims();
        everything["access"][0]["actions"] = json!(["*"]);
        let everything = signed_token(&key, &x5c(&pem), &everything);
        assert_eq!(judged(&auth, &everything, &Access::push(&gun())), Ok(()));
        assert_eq!(judged(&auth, &everything, &Access::all(&gun())), Ok(()));
    }

    #[test]
    fn libtrusts_name_of_a_root_key_will_do() {
        let (key, pem) = issuer(now().plus(DAY));
        let kid = libtrust_id(key.public().spki_der());
        assert_eq!((kid.len(), kid.split(':').count()), (59, 12));
        let head = json!({ "alg": "ES256", "kid": kid });
        assert_eq!(
            judged(
                &auth(&pem),
                &signed_token(&key, &head, &claims()),
                &Access::pull(&gun())
            ),
            Ok(())
        );
        let head = json!({ "alg": "ES256", "kid": "AAAA" });
        let denied = judged(
            &auth(&pem),
            &signed_token(&key, &head, &claims()),
            &Access::pull(&gun()),
        );
        assert_eq!(denied, Err(Denied::BadToken));
    }

    #[test]
    fn tokens_of_others_past_ones_and_forged_ones_are_bad() {
        let (key, pem) = issuer(now().plus(DAY));
        let auth = auth(&pem);
        let good = signed_token(&key, &x5c(&pem), &claims());
        let changed = |member: &str, value: Value| {
            let mut claims = claims();
            claims[member] = value;
            signed_token(&key, &x5c(&pem), &claims)
        };
        let (stranger, strange) = issuer(now().plus(DAY));
        let mut none = x5c(&pem);
        none["alg"] = "none".into();
        let mut rsa = x5c(&pem);
        rsa["alg"] = "RS256".into();
        let (message, signature) = good.rsplit_once('.').unwrap();
        let more = URL_SAFE_NO_PAD.encode(json!({ "access": [] }).to_string());
        let head = message.split_once('.').unwrap().0;
        for bad in [
            changed("iss", "other".into()),
            changed("aud", "other".into()),
            changed("aud", Value::Null),
            changed("exp", (now().unix() - LEEWAY).into()),
            changed("exp", Value::Null),
            changed("nbf", (now().unix() + LEEWAY + 1).into()),
            changed("access", "all".into()),
            signed_token(&stranger, &x5c(&pem), &claims()),
            signed_token(&stranger, &x5c(&strange), &claims()),
            signed_token(&key, &none, &claims()),
            signed_token(&key, &rsa, &claims()),
            signed_token(&key, &json!({ "alg": "ES256" }), &claims()),
            format!("{message}."),
            format!("{head}.{more}.{signature}"),
            message.to_owned(),
            "x".repeat(limit::BEARER_BYTES + 1),
            String::new(),
        ] {
            assert_eq!(
                judged(&auth, &bad, &Access::pull(&gun())),
                Err(Denied::BadToken),
                "{bad}"
            );
        }
    }

    /// A certificate by the issuer for another key, in base64: a self-signed one in which names of the same length were changed.
    fn issued(by: &SigningKey, key: &SigningKey) -> String {
        let new = NewCertificate {
            gun: "issued",
            public: key.public(),
            serial: [2; 16],
            dates: (now().plus(-DAY), now().plus(DAY)),
        };
        let changed = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            // The issuer's name comes before its own; the purpose is client authentication in place of code signing.
            let purpose = |last: u8| [0x2b, 6, 1, 5, 5, 7, 3, last];
            for (from, to) in [(&b"issued"[..], &b"tokens"[..]), (&purpose(3), &purpose(2))] {
                let at = bytes.windows(from.len()).position(|found| found == from).unwrap();
                bytes[at..at + to.len()].copy_from_slice(to);
            }
            bytes
        };
        let pem = new.sign(Scheme::EcdsaP256Sha256, |message| by.sign(&changed(message)));
        let own = x5c(&pem.unwrap())["x5c"][0].as_str().unwrap().to_owned();
        STANDARD.encode(changed(&STANDARD.decode(own).unwrap()))
    }

    #[test]
    fn a_root_that_is_over_stands_for_nothing() {
        for (until, expected) in [(now(), Ok(())), (now().plus(-1), Err(Denied::BadToken))] {
            let (key, pem) = issuer(until);
            let auth = auth(&pem);
            let alone = signed_token(&key, &x5c(&pem), &claims());
            assert_eq!(judged(&auth, &alone, &Access::pull(&gun())), expected);
            // Nor for a certificate by it.
            let below = SigningKey::generate_as(Algorithm::P256).unwrap();
            let head = json!({ "alg": "ES256", "x5c": [issued(&key, &below)] });
            let chained = signed_token(&below, &head, &claims());
            assert_eq!(judged(&auth, &chained, &Access::pull(&gun())), expected);
        }
    }

    #[test]
    fn a_challenge_says_where_to_get_which_token() {
        let (_, pem) = issuer(now().plus(DAY));
        let wanted = Access::push(&Gun::new("a \"b\"").unwrap());
        let answer = auth(&pem).challenge(Some(&wanted), Denied::NoToken);
        assert_eq!(answer.status(), 401);
        let expected = "Bearer realm=\"https://tokens.example/token\",service=\"notary.example\",\
                        scope=\"repository:a \\\"b\\\":push,pull\"";
        assert_eq!(answer.headers()[WWW_AUTHENTICATE], expected);
    }
}
