//! Keys in PKCS#11 tokens.
//!
//! - A library is loaded and initialised once for the process; a token is logged into once, when a key in it is opened.
//! - Hashes are made here where the token's mechanism allows it, so that little goes through it.
//! - What a token signs is checked with the public key before anybody sees it.
//! - Nobody waits for a token for ever: a library that does not come back is left alone, and the answer is "could not find out".

mod made;
mod patience;

pub use made::TokenKeys;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType as TokenKeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use sha2::{Digest as _, Sha256, Sha384};

use super::key_store::Secrets;
use crate::failure::Failure;
use crate::key::{KeyError, Passphrase, PublicKey, Scheme, Signer, TokenUri, ecdsa};
use crate::limit;
use patience::within;

/// Salt of RSASSA-PSS, in bytes (RFC 8017: as long as the hash).
const SALT: usize = 32;

/// The libraries that were loaded: each may be initialised once only.
static LIBRARIES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// A key in a token.
pub struct TokenSigner {
    uri: TokenUri,
    public: PublicKey,
    /// Two operations of one session must not overlap. Whoever waited in vain for one leaves it to the thread that it is on.
    session: Arc<Mutex<Session>>,
    private: ObjectHandle,
}

/// A token that was found, in a session that nobody is logged into yet.
struct Opened {
    library: Pkcs11,
    slot: Slot,
    session: Session,
    needs_pin: bool,
}

impl TokenSigner {
    /// Logs into the token, and finds the key and its public half.
    ///
    /// # Errors
    /// [`Failure`] when the library, the token or the key is not there, is there twice, or the PIN is wrong.
    pub fn open(uri: &TokenUri, secrets: &dyn Secrets) -> Result<Self, Failure> {
        let place = uri.clone();
        let opened = within(uri, limit::TOKEN_LOOK_TIMEOUT, move || Opened::at(&place))??;
        let pin = opened.needs_pin.then(|| secrets.pin(uri.token_name())).transpose()?;
        let place = uri.clone();
        within(uri, limit::TOKEN_WORK_TIMEOUT, move || {
            opened.log_in(place, pin.as_ref())
        })?
    }
}

impl Opened {
    fn at(uri: &TokenUri) -> Result<Self, Failure> {
        let (library, slot) = find_token(uri)?;
        let cannot = |error: Error| Failure::unavailable(uri, format!("the token cannot be opened: {}", plain(&error)));
        let session = library.open_ro_session(slot).map_err(cannot)?;
        Ok(Self {
            needs_pin: needs_pin(&library, slot, uri)?,
            library,
            slot,
            session,
        })
    }

    fn log_in(self, uri: TokenUri, pin: Option<&Passphrase>) -> Result<TokenSigner, Failure> {
        let missing = |problem: &str| Failure::unavailable(&uri, problem);
        let session = self.session;
        log_in(&self.library, self.slot, &session, &uri, pin)?;
        let find = |class: ObjectClass| -> Result<ObjectHandle, Failure> {
            let mut template = vec![Attribute::Class(class)];
            template.extend(uri.object().map(|label| Attribute::Label(label.into())));
            template.extend(uri.id().map(|id| Attribute::Id(id.to_vec())));
            let found = session.find_objects(&template);
            let cannot = |error: Error| missing(&format!("the token's keys cannot be listed: {}", plain(&error)));
            match found.map_err(cannot)?.as_slice() {
                [one] => Ok(*one),
                [] if class == ObjectClass::PUBLIC_KEY => Err(missing("the token has the key's public half nowhere")),
                [] => Err(missing(
                    "the token has no such private key; list its keys with `pkcs11-tool --list-objects`",
                )),
                _ => Err(missing("the token has several such keys; name the one with `id=%…`")),
            }
        };
        let private = find(ObjectClass::PRIVATE_KEY)?;
        let public = public(&session, find(ObjectClass::PUBLIC_KEY)?);
        let public = public.map_err(|error| missing(&error.to_string()))?;
        Ok(TokenSigner {
            uri,
            public,
            session: Arc::new(Mutex::new(session)),
            private,
        })
    }
}

impl Drop for TokenSigner {
    fn drop(&mut self) {
        // A session is closed by the library as well.
        let session = Arc::clone(&self.session);
        let _ = within(&self.uri, limit::TOKEN_LOOK_TIMEOUT, move || drop(session));
    }
}

impl Signer for TokenSigner {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign_with(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = self.public.key_type();
        if scheme.key_type() != key {
            return Err(KeyError::Scheme { scheme, key });
        }
        let bad = |problem: &dyn fmt::Display| KeyError::Signer(format!("{}: {problem}", self.uri));
        let (session, private, message_of) = (Arc::clone(&self.session), self.private, message.to_vec());
        let signed = within(&self.uri, limit::TOKEN_WORK_TIMEOUT, move || {
            let session = session.lock().unwrap_or_else(PoisonError::into_inner);
            ask(&session, private, scheme, &message_of)
        });
        let signed = signed.map_err(|failure| KeyError::Signer(failure.to_string()))?;
        let signed = signed.map_err(|error| bad(&plain(&error)))?;
        checked(&self.public, scheme, message, signed).map_err(|problem| bad(&problem))
    }
}

/// Asks a token for a signature.
fn ask(session: &Session, private: ObjectHandle, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, Error> {
    match scheme {
        Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha256 => {
            session.sign(&Mechanism::Ecdsa, private, &Sha256::digest(message))
        }
        Scheme::EcdsaP384Sha384 => session.sign(&Mechanism::Ecdsa, private, &Sha384::digest(message)),
        Scheme::Ed25519 => {
            let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
            session.sign(&mechanism, private, message)
        }
        Scheme::RsaPkcs1Sha256 => session.sign(&Mechanism::Sha256RsaPkcs, private, message),
        Scheme::RsaPssSha256 => {
            let parameters = PkcsPssParams {
                hash_alg: MechanismType::SHA256,
                mgf: PkcsMgfType::MGF1_SHA256,
                s_len: SALT.try_into()?,
            };
            session.sign(&Mechanism::Sha256RsaPkcsPss(parameters), private, message)
        }
    }
}

/// Writes what a token signed as metadata have it, if it is good by the token's own public key.
fn checked(public: &PublicKey, scheme: Scheme, message: &[u8], signed: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let signature = match scheme {
        Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha256 | Scheme::EcdsaP384Sha384 => {
            let (r, s) = signed.split_at(signed.len() / 2);
            // Longer numbers than any curve here has do not fit DER's short form.
            match signed.len() <= 96 {
                true => ecdsa::to_der(r, s),
                false => return Err("it signed with another curve"),
            }
        }
        Scheme::Ed25519 | Scheme::RsaPkcs1Sha256 | Scheme::RsaPssSha256 => signed,
    };
    let checked = public.verify(scheme, message, &signature);
    checked.map_err(|_| "what it signed is not good by its own public key")?;
    Ok(signature)
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSigner({})", self.uri)
    }
}

/// Loads the library that a place names, and finds the token.
fn find_token(uri: &TokenUri) -> Result<(Pkcs11, Slot), Failure> {
    let module = uri.module().ok_or_else(|| {
        let problem = "no library that speaks to the token is named; give --pkcs11-module FILE, or `?module-path=FILE` behind \
                       the place";
        Failure::malformed(uri, problem)
    })?;
    let cannot = |error: Error| Failure::unavailable(uri, format!("the library cannot be used: {}", plain(&error)));
    let library = library(module).map_err(cannot)?;
    let slot = slot(&library, uri)?;
    Ok((library, slot))
}

fn library(module: &Path) -> Result<Pkcs11, Error> {
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = libraries.get(module) {
        return Ok(known.clone());
    }
    let library = Pkcs11::new(module)?;
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error),
    }
    libraries.insert(module.to_owned(), library.clone());
    Ok(library)
}

fn slot(library: &Pkcs11, uri: &TokenUri) -> Result<Slot, Failure> {
    let cannot = |error: Error| Failure::unavailable(uri, format!("the tokens cannot be listed: {}", plain(&error)));
    let mut found = Vec::new();
    for slot in library.get_slots_with_initialized_token().map_err(cannot)? {
        let info = library.get_token_info(slot).map_err(cannot)?;
        let (label, serial) = (info.label(), info.serial_number());
        if uri.is_token(slot.id(), label, serial, info.manufacturer_id(), info.model()) {
            found.push(slot);
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::unavailable(
            uri,
            "there is no such token; is it plugged in, and its library the right one?",
        )),
        _ => Err(Failure::malformed(
            uri,
            "several tokens are meant; name one with `token=` or `serial=`",
        )),
    }
}

/// Tells whether a PIN has to be given to the library: not where it is typed at the reader.
fn needs_pin(library: &Pkcs11, slot: Slot, uri: &TokenUri) -> Result<bool, Failure> {
    let info = library.get_token_info(slot);
    let info = info.map_err(|error| Failure::unavailable(uri, format!("cannot log in: {}", plain(&error))))?;
    Ok(info.login_required() && !info.protected_authentication_path())
}

fn log_in(
    library: &Pkcs11,
    slot: Slot,
    session: &Session,
    uri: &TokenUri,
    pin: Option<&Passphrase>,
) -> Result<(), Failure> {
    let cannot = |error: Error| Failure::unavailable(uri, format!("cannot log in: {}", plain(&error)));
    if !library.get_token_info(slot).map_err(cannot)?.login_required() {
        return Ok(());
    }
    let pin = pin.map(|pin| AuthPin::from(pin.text().to_owned()));
    match session.login(UserType::User, pin.as_ref()) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect, _)) => {
            let problem = "the PIN is wrong; a token locks itself after a few wrong ones";
            Err(Failure::malformed(uri, problem))
        }
        Err(error) => Err(cannot(error)),
    }
}

/// Reads a public key's numbers out of the token.
fn public(session: &Session, object: ObjectHandle) -> Result<PublicKey, KeyError> {
    let cannot = |error: &dyn fmt::Display| KeyError::Signer(format!("the token's public key cannot be read: {error}"));
    let get = |kinds: &[AttributeType]| {
        session
            .get_attributes(object, kinds)
            .map_err(|error| cannot(&plain(&error)))
    };
    let kind = get(&[AttributeType::KeyType])?
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::KeyType(kind) => Some(kind),
            _ => None,
        });
    match kind {
        Some(TokenKeyType::RSA) => {
            let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
            for attribute in get(&[AttributeType::Modulus, AttributeType::PublicExponent])? {
                match attribute {
                    Attribute::Modulus(bytes) => modulus = bytes,
                    Attribute::PublicExponent(bytes) => exponent = bytes,
                    _ => {}
                }
            }
            PublicKey::from_rsa(&modulus, &exponent)
        }
        Some(kind @ (TokenKeyType::EC | TokenKeyType::EC_EDWARDS)) => {
            let mut point = Vec::new();
            for attribute in get(&[AttributeType::EcPoint])? {
                if let Attribute::EcPoint(bytes) = attribute {
                    point = bytes;
                }
            }
            PublicKey::from_token_point(kind == TokenKeyType::EC_EDWARDS, &point)
        }
        _ => Err(KeyError::Unsupported("of the token's key".to_owned())),
    }
}

/// Says what an error is in few words: the crate's texts are the specification's paragraphs.
fn plain(error: &Error) -> String {
    match error {
        Error::Pkcs11(error, _) => format!("{error:?}"),
        other => other.to_string(),
    }
}
