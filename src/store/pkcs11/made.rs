//! Keys that are made in a token, which never leave it: by a server, or by a person.
//!
//! - A key is made so that the token gives it to nobody (sensitive, not extractable); one that the token would give is not used.
//! - A key is found by its label and a random id, both: what is written elsewhere of one key leads to no other.
//! - One session does all the work. A session that was lost, or that does not see what another server made, is opened anew once; a
//!   PIN that was refused is not tried again, because tokens lock themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::patience::within;
use super::{ask, checked, find_token, log_in, needs_pin, plain, public};
use crate::failure::Failure;
use crate::key::{Algorithm, Passphrase, PublicKey, TokenPlace};
use crate::limit;
use crate::store::key_store::Secrets;

/// Length of a key's random id in bytes: two are never the same.
const ID_BYTES: usize = 16;

/// The public exponent of RSA keys: 65537.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// Object identifiers in DER: what `CKA_EC_PARAMS` says of a curve (RFC 5480, section 2.1.1.1; RFC 8410, section 3).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// Keys that were made in a token.
pub struct TokenKeys {
    /// Whoever waited in vain leaves it to the thread that is in it.
    token: Arc<Token>,
}

/// What all threads that work with the token share.
struct Token {
    place: TokenPlace,
    /// None where the token needs none, or refused it.
    pin: Mutex<Option<Passphrase>>,
    needs_pin: bool,
    open: Mutex<Option<Open>>,
}

/// A session that is logged in, and the keys that were found in it.
struct Open {
    session: Session,
    found: BTreeMap<Vec<u8>, Found>,
}

#[derive(Clone)]
struct Found {
    label: String,
    private: ObjectHandle,
    public: PublicKey,
}

/// Why work in a session came to nothing.
enum Trouble {
    Missing(Failure),
    Other(Failure),
    Token(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

impl TokenKeys {
    /// Logs into the token.
    ///
    /// # Errors
    /// [`Failure`] when the library or the token is not there, or the PIN is wrong.
    pub fn open(place: TokenPlace, secrets: &dyn Secrets) -> Result<Self, Failure> {
        let place = match (place.uri().module(), secrets.module()) {
            (None, Some(module)) => place.through(module),
            _ => place,
        };
        let at = place.clone();
        let needs_pin = within(&place, limit::TOKEN_LOOK_TIMEOUT, move || {
            let (library, slot) = find_token(at.uri())?;
            needs_pin(&library, slot, at.uri())
        })??;
        let pin = needs_pin.then(|| secrets.pin(place.uri().token_name())).transpose()?;
        let keys = Self {
            token: Arc::new(Token {
                place,
                pin: Mutex::new(pin),
                needs_pin,
                open: Mutex::default(),
            }),
        };
        keys.call(|token| {
            let open = token.log_in()?;
            *token.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
            Ok(())
        })?;
        Ok(keys)
    }

    /// Makes a key and returns its id and its public half.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the token cannot make such keys, or would give them away; [`Failure::Unavailable`] when it
    /// cannot be asked.
    pub fn make(&self, algorithm: Algorithm, label: &str) -> Result<(Vec<u8>, PublicKey), Failure> {
        let label = label.to_owned();
        self.call(move |token| token.make(algorithm, &label))
    }

    /// Tells whether the token has a private key of this label.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the token cannot be asked.
    pub fn has(&self, label: &str) -> Result<bool, Failure> {
        let template = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Label(label.into()),
        ];
        self.call(move |token| token.work(|open| Ok(!open.session.find_objects(&template)?.is_empty())))
    }

    /// Returns the public half of a key.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the key is not there, or the token cannot be asked.
    pub fn public(&self, id: &[u8], label: &str) -> Result<PublicKey, Failure> {
        let (id, label) = (id.to_vec(), label.to_owned());
        self.call(move |token| token.work(|open| open.find(&id, &label, &token.place).map(|found| found.public)))
    }

    /// Signs with a key and its usual scheme.
    ///
    /// # Errors
    /// As [`TokenKeys::public`], and when the signature is not good.
    pub fn sign(&self, id: &[u8], label: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let (id, label, message) = (id.to_vec(), label.to_owned(), message.to_vec());
        self.call(move |token| token.sign(&id, &label, &message))
    }

    /// Takes both halves of a key out of the token for good; what is not there is no fault.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the token cannot be asked.
    pub fn destroy(&self, id: &[u8], label: &str) -> Result<(), Failure> {
        let (id, label) = (id.to_vec(), label.to_owned());
        self.call(move |token| token.destroy(&id, &label))
    }

    /// Works with the token, and does not wait for ever.
    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Token) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let token = Arc::clone(&self.token);
        within(&self.token.place, limit::TOKEN_WORK_TIMEOUT, move || work(&token))?
    }
}

impl Drop for TokenKeys {
    fn drop(&mut self) {
        // The session is closed by the library as well.
        let token = Arc::clone(&self.token);
        let _ = within(&self.token.place, limit::TOKEN_LOOK_TIMEOUT, move || {
            token.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
    }
}

impl Token {
    fn make(&self, algorithm: Algorithm, label: &str) -> Result<(Vec<u8>, PublicKey), Failure> {
        let curve = |mechanism, curve: &[u8]| (mechanism, vec![Attribute::EcParams(curve.to_vec())]);
        let rsa = |bits: u64| {
            let numbers = vec![
                Attribute::ModulusBits(bits.into()),
                Attribute::PublicExponent(EXPONENT.to_vec()),
            ];
            (Mechanism::RsaPkcsKeyPairGen, numbers)
        };
        let (mechanism, numbers) = match algorithm {
            Algorithm::P256 => curve(Mechanism::EccKeyPairGen, &P256),
            Algorithm::P384 => curve(Mechanism::EccKeyPairGen, &P384),
            Algorithm::Ed25519 => curve(Mechanism::EccEdwardsKeyPairGen, &ED25519),
            Algorithm::Rsa3072 => rsa(3072),
            Algorithm::Rsa4096 => rsa(4096),
        };
        let mut id = vec![0; ID_BYTES];
        getrandom::fill(&mut id).map_err(|error| Failure::unavailable("random numbers", error))?;
        let mut public_half = vec![
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::Label(label.into()),
            Attribute::Id(id.clone()),
        ];
        public_half.extend(numbers);
        let private_half = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Label(label.into()),
            Attribute::Id(id.clone()),
        ];
        let public = self.work(|open| {
            // SoftHSM sees what other processes made when it is asked, but no longer once it has made something itself.
            open.session
                .find_objects(&template(ObjectClass::PRIVATE_KEY, &id, label))?;
            let made = open
                .session
                .generate_key_pair(&mechanism, &public_half, &private_half)?;
            let shown = open
                .session
                .get_attributes(made.1, &[AttributeType::Sensitive, AttributeType::Extractable])?;
            if !shown.contains(&Attribute::Sensitive(true)) || !shown.contains(&Attribute::Extractable(false)) {
                let _ = open.session.destroy_object(made.0);
                let _ = open.session.destroy_object(made.1);
                let problem = "it makes keys that can be taken out of it; keep them in a token that does not";
                return Err(Trouble::Other(Failure::malformed(&self.place, problem)));
            }
            open.find(&id, label, &self.place).map(|found| found.public)
        })?;
        Ok((id, public))
    }

    fn sign(&self, id: &[u8], label: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
        self.work(|open| {
            let key = open.find(id, label, &self.place)?;
            let scheme = key.public.default_scheme();
            let signed = ask(&open.session, key.private, scheme, message)?;
            let signed = checked(&key.public, scheme, message, signed);
            signed.map_err(|problem| Trouble::Other(Failure::unavailable(&self.place, problem)))
        })
    }

    fn destroy(&self, id: &[u8], label: &str) -> Result<(), Failure> {
        self.work(|open| {
            open.found.remove(id);
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                for object in open.session.find_objects(&template(class, id, label))? {
                    open.session.destroy_object(object)?;
                }
            }
            Ok(())
        })
    }

    /// Works in the session; where that was lost, in a new one.
    fn work<T>(&self, work: impl Fn(&mut Open) -> Result<T, Trouble>) -> Result<T, Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut again = true;
        loop {
            let session = match open.as_mut() {
                Some(session) => session,
                None => open.insert(self.log_in()?),
            };
            let (failure, helps) = match work(session) {
                Ok(done) => return Ok(done),
                Err(Trouble::Missing(failure)) => (failure, true),
                Err(Trouble::Other(failure)) => (failure, false),
                Err(Trouble::Token(error)) => {
                    let problem = format!("the token cannot do that: {}", plain(&error));
                    (Failure::unavailable(&self.place, problem), is_lost(&error))
                }
            };
            if !helps || !std::mem::take(&mut again) {
                return Err(failure);
            }
            // The old session ends first: a library may look at the token anew only when nobody has one.
            *open = None;
        }
    }

    fn log_in(&self) -> Result<Open, Failure> {
        let uri = self.place.uri();
        let (library, slot) = find_token(uri)?;
        let mut pin = self.pin.lock().unwrap_or_else(PoisonError::into_inner);
        if self.needs_pin && pin.is_none() {
            let problem = "the token refused the PIN before; start again with the right one";
            return Err(Failure::unavailable(uri, problem));
        }
        let session = library.open_rw_session(slot);
        let session = session
            .map_err(|error| Failure::unavailable(uri, format!("the token cannot be opened: {}", plain(&error))))?;
        if let Err(failure) = log_in(&library, slot, &session, uri, pin.as_ref()) {
            if matches!(failure, Failure::Malformed { .. }) {
                *pin = None;
            }
            return Err(failure);
        }
        let found = BTreeMap::new();
        Ok(Open { session, found })
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeys({})", self.token.place)
    }
}

impl Open {
    /// Finds a key, and remembers it: looking through a full token takes long.
    fn find(&mut self, id: &[u8], label: &str, place: &TokenPlace) -> Result<Found, Trouble> {
        if let Some(found) = self.found.get(id).filter(|found| found.label == label) {
            return Ok(found.clone());
        }
        let other = |problem: &dyn fmt::Display| Trouble::Other(Failure::unavailable(place, problem));
        let one = |class| match self.session.find_objects(&template(class, id, label))?.as_slice() {
            [one] => Ok(*one),
            [] => {
                let problem = format!("the key `{label}` is not in the token; restore it from the token's backup");
                Err(Trouble::Missing(Failure::unavailable(place, problem)))
            }
            _ => Err(other(&format!("the key `{label}` is in the token twice"))),
        };
        let (private, shown) = (one(ObjectClass::PRIVATE_KEY)?, one(ObjectClass::PUBLIC_KEY)?);
        let found = Found {
            label: label.to_owned(),
            private,
            public: public(&self.session, shown).map_err(|error| other(&error))?,
        };
        if self.found.len() >= limit::TOKEN_KEYS_IN_MEMORY {
            self.found.clear();
        }
        self.found.insert(id.to_vec(), found.clone());
        Ok(found)
    }
}

fn template(class: ObjectClass, id: &[u8], label: &str) -> [Attribute; 3] {
    [
        Attribute::Class(class),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.into()),
    ]
}

/// Tells whether a new session may do what this one could not: the token was away, or forgot about it.
fn is_lost(error: &Error) -> bool {
    let lost = [
        RvError::CryptokiNotInitialized,
        RvError::DeviceError,
        RvError::DeviceRemoved,
        RvError::KeyHandleInvalid,
        RvError::ObjectHandleInvalid,
        RvError::SessionClosed,
        RvError::SessionHandleInvalid,
        RvError::TokenNotPresent,
        RvError::UserNotLoggedIn,
    ];
    matches!(error, Error::Pkcs11(error, _) if lost.contains(error))
}
