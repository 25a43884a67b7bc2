//! Where a key lies in a PKCS#11 token (RFC 7512).
//!
//! - A PIN never stands in one: command lines and files are no place for it.
//! - An attribute that is not known is refused: it would narrow down which key is meant.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::KeyError;

/// Which key in which token, and the library that speaks to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUri {
    token: Option<String>,
    serial: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    slot: Option<u64>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    module: Option<PathBuf>,
}

impl TokenUri {
    /// Tells whether a token with these names is meant; names are compared without the blanks that tokens pad them with.
    pub fn is_token(&self, slot: u64, label: &str, serial: &str, manufacturer: &str, model: &str) -> bool {
        let fits = |wanted: &Option<String>, found: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == found.trim_end_matches([' ', '\0']))
        };
        fits(&self.token, label)
            && fits(&self.serial, serial)
            && fits(&self.manufacturer, manufacturer)
            && fits(&self.model, model)
            && self.slot.is_none_or(|wanted| wanted == slot)
    }

    /// Returns the key's label.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// Returns the key's id.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// Returns the library.
    pub fn module(&self) -> Option<&Path> {
        self.module.as_deref()
    }

    /// Returns the same key, reached through a library.
    pub fn through(self, module: PathBuf) -> Self {
        let module = Some(module);
        Self { module, ..self }
    }

    /// Returns the token that the key is in.
    pub fn token(&self) -> TokenPlace {
        TokenPlace(Self {
            object: None,
            id: None,
            ..self.clone()
        })
    }

    /// Returns the key of the same label that has this id.
    pub fn with_id(&self, id: Vec<u8>) -> Self {
        Self {
            id: Some(id),
            ..self.clone()
        }
    }

    /// Returns how people are asked for the token's PIN.
    pub fn token_name(&self) -> &str {
        self.token.as_deref().or(self.serial.as_deref()).unwrap_or("the token")
    }
}

impl FromStr for TokenUri {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let uri = Self::parse(text)?;
        match uri.object.is_some() || uri.id.is_some() {
            true => Ok(uri),
            false => Err(bad("neither `object` nor `id`, which name the key")),
        }
    }
}

/// A token, whatever keys are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlace(TokenUri);

impl TokenPlace {
    /// Returns the place as that of a key which is not named.
    pub fn uri(&self) -> &TokenUri {
        &self.0
    }

    /// Returns the same token, reached through a library.
    pub fn through(self, module: PathBuf) -> Self {
        Self(self.0.through(module))
    }
}

impl FromStr for TokenPlace {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let uri = TokenUri::parse(text)?;
        let bad = |found: &str| KeyError::Form {
            expected: "a token (RFC 7512), such as `pkcs11:token=NAME?module-path=LIBRARY`",
            found: found.to_owned(),
        };
        if uri.object.is_some() || uri.id.is_some() {
            return Err(bad("a key in one, by `object` or `id`"));
        }
        let named = uri.token.is_some() || uri.serial.is_some() || uri.slot.is_some();
        match named || uri.manufacturer.is_some() || uri.model.is_some() {
            true => Ok(Self(uri)),
            false => Err(bad("nothing that tells which token is meant")),
        }
    }
}

impl fmt::Display for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TokenUri {
    /// Reads a place, whether it names a key or not.
    fn parse(text: &str) -> Result<Self, KeyError> {
        let rest = text
            .strip_prefix("pkcs11:")
            .ok_or_else(|| bad("it does not begin with `pkcs11:`"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for (name, value) in attributes(path, ';')? {
            let once = match name {
                "token" => uri.token.replace(utf8(value)?).is_none(),
                "serial" => uri.serial.replace(utf8(value)?).is_none(),
                "manufacturer" => uri.manufacturer.replace(utf8(value)?).is_none(),
                "model" => uri.model.replace(utf8(value)?).is_none(),
                "object" => uri.object.replace(utf8(value)?).is_none(),
                "id" => uri.id.replace(value).is_none(),
                "slot-id" => {
                    let slot = utf8(value)?.parse().map_err(|_| bad("its slot-id is no number"))?;
                    uri.slot.replace(slot).is_none()
                }
                "type" if value == b"private" => true,
                "type" => return Err(bad("its type is not `private`")),
                other => return Err(bad(&format!("the attribute `{}`", other.escape_debug()))),
            };
            if !once {
                return Err(bad(&format!("the attribute `{name}` twice")));
            }
        }
        for (name, value) in attributes(query, '&')? {
            match name {
                "module-path" => uri.module = Some(utf8(value)?.into()),
                "pin-value" | "pin-source" => {
                    return Err(bad(
                        "a PIN, which everybody on this machine could read; set IMGKIT_PKCS11_PIN, or give --pin-fd N",
                    ));
                }
                other => return Err(bad(&format!("the attribute `{}`", other.escape_debug()))),
            }
        }
        Ok(uri)
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "pkcs11:";
        let mut write = |name: &str, value: &[u8]| {
            let written = write!(f, "{separator}{name}={}", quote(value));
            separator = ";";
            written
        };
        let texts = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("object", &self.object),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                write(name, value.as_bytes())?;
            }
        }
        if let Some(slot) = self.slot {
            write("slot-id", slot.to_string().as_bytes())?;
        }
        if let Some(id) = &self.id {
            write("id", id)?;
        }
        match &self.module {
            Some(module) => write!(f, "?module-path={}", quote(module.to_string_lossy().as_bytes())),
            None => Ok(()),
        }
    }
}

fn attributes(text: &str, separator: char) -> Result<Vec<(&str, Vec<u8>)>, KeyError> {
    let parts = text.split(separator).filter(|part| !part.is_empty());
    let read = |part: &'_ str| {
        let (name, value) = part.split_once('=').ok_or_else(|| bad("an attribute without `=`"))?;
        Ok((name.len(), unquote(value)?))
    };
    parts
        .map(|part| read(part).map(|(length, value)| (part.get(..length).unwrap_or_default(), value)))
        .collect()
}

fn unquote(text: &str) -> Result<Vec<u8>, KeyError> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'%' => {
                let (digits, after) = after
                    .split_at_checked(2)
                    .ok_or_else(|| bad("a `%` without two digits"))?;
                bytes.extend(hex::decode(digits).map_err(|_| bad("a `%` without two digits"))?);
                rest = after;
            }
            byte => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    Ok(bytes)
}

fn quote(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let one = |byte: &u8| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

fn utf8(value: Vec<u8>) -> Result<String, KeyError> {
    String::from_utf8(value).map_err(|_| bad("an attribute that is no text"))
}

fn bad(found: &str) -> KeyError {
    KeyError::Form {
        expected: "the place of a private key in a token (RFC 7512), such as `pkcs11:token=NAME;object=KEY`",
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_place_is_read_and_written_back() {
        let text = "pkcs11:token=My%20token;object=root;id=%01%FF?module-path=/usr/lib/softhsm/libsofthsm2.so";
        let uri: TokenUri = text.parse().unwrap();
        assert_eq!(uri.to_string(), text);
        assert_eq!(uri.id(), Some([1, 255].as_slice()));
        assert!(uri.is_token(3, "My token        ", "", "", ""));
        assert!(!uri.is_token(3, "Another", "", "", ""));
        let slot: TokenUri = "pkcs11:slot-id=3;object=a;type=private".parse().unwrap();
        assert!(slot.is_token(3, "x", "", "", "") && !slot.is_token(4, "x", "", "", ""));
    }

    #[test]
    fn a_token_is_named_without_a_key() {
        let text = "pkcs11:token=My%20token?module-path=/usr/lib/p11.so";
        let place: TokenPlace = text.parse().unwrap();
        assert_eq!(place.to_string(), text);
        for text in [
            "pkcs11:",
            "pkcs11:token=t;object=o",
            "pkcs11:token=t;id=%01",
            "pkcs11:token=t?pin-value=1",
        ] {
            assert!(text.parse::<TokenPlace>().is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_pins_unknown_attributes_and_places_of_no_key() {
        for text in [
            "pkcs11:object=a?pin-value=1234",
            "pkcs11:object=a?pin-source=/etc/pin",
            "pkcs11:token=a",
            "pkcs11:object=a;object=b",
            "pkcs11:object=a;colour=red",
            "pkcs11:object=a;type=cert",
            "pkcs11:object=%4",
            "pkcs11:object",
            "object=a",
        ] {
            assert!(text.parse::<TokenUri>().is_err(), "{text}");
        }
    }
}
