//! The control fields of a package (deb-control(5)): paragraphs of `Name: value`, continued by lines that start with a space.

/// What a package says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its name: `Package`.
    pub name: String,
    /// Its version: `Version`.
    pub version: String,
    /// Its architecture: `Architecture`, `all` when it has none.
    pub architecture: String,
    /// The packages that `Depends` names, of alternatives the first, without versions.
    pub depends: Vec<String>,
}

impl Control {
    /// Reads the file `control`.
    ///
    /// # Errors
    /// [`ControlError`] when a field is malformed, missing or stands twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ControlError::Line(1))?;
        let mut fields: Vec<(&str, String)> = Vec::new();
        for (at, line) in text.trim_end_matches('\n').lines().enumerate() {
            let bad = || ControlError::Line(at + 1);
            if line.starts_with([' ', '\t']) {
                let (_, value) = fields.last_mut().ok_or_else(bad)?;
                value.push_str(line);
            } else {
                let (name, value) = line.split_once(':').ok_or_else(bad)?;
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(bad());
                }
                if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    return Err(ControlError::Twice(name.to_owned()));
                }
                fields.push((name, value.trim().to_owned()));
            }
        }
        let field = |name: &str| fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let word = |name: &'static str, extra: &str| {
            let (_, value) = field(name).ok_or(ControlError::Missing(name))?;
            let good = |b: u8| b.is_ascii_alphanumeric() || extra.as_bytes().contains(&b);
            let starts = value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
            if !starts || !value.bytes().all(good) {
                return Err(ControlError::Value(name, value.chars().take(100).collect()));
            }
            Ok(value.clone())
        };
        Ok(Self {
            name: word("Package", "+-.")?,
            version: word("Version", "+-.:~")?,
            architecture: word("Architecture", "-")?,
            depends: field("Depends").map(|(_, value)| depends(value)).unwrap_or_default(),
        })
    }
}

/// What is wrong with control fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// A line is no field and does not continue one.
    #[error("control, line {0}: expected `Name: value` in UTF-8")]
    Line(usize),
    /// A field that every package has is missing.
    #[error("control has no field `{0}`")]
    Missing(&'static str),
    /// A field stands twice.
    #[error("control has the field `{0}` twice")]
    Twice(String),
    /// A field's value has characters that it may not have.
    #[error("control: `{1}` is no value of the field `{0}`")]
    Value(&'static str, String),
}

/// Takes the first alternative of each relation, without version, architecture or restriction.
fn depends(value: &str) -> Vec<String> {
    let name = |relation: &str| {
        let first = relation.split('|').next().unwrap_or_default().trim();
        let end = first.find(|c: char| c == '(' || c == '[' || c == ':' || c.is_whitespace());
        first.get(..end.unwrap_or(first.len())).unwrap_or_default().to_owned()
    };
    value.split(',').map(name).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\nArchitecture: amd64\n\
        Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2), udev | makedev (>= 1),\n libc6:any\n\
        Description: x\n .\n more: text\n";

    #[test]
    fn reads_fields_and_the_first_of_alternatives() {
        let control = Control::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(control.name, "linux-image-cloud-amd64");
        assert_eq!(control.version, "6.1.192-2");
        assert_eq!(control.architecture, "amd64");
        assert_eq!(control.depends, ["linux-image-6.1.0-56-cloud-amd64", "udev", "libc6"]);
    }

    #[test]
    fn refuses_what_is_missing_twofold_or_no_name() {
        for (from, to) in [
            ("Version: 6.1.192-2\n", ""),
            ("Version:", "version: 1\nVersion:"),
            ("Package: linux", "Package: ../linux"),
            ("Package: linux-image-cloud-amd64", "Package:"),
            ("Package:", "Package"),
            ("Package:", " Package:"),
        ] {
            assert!(GOOD.contains(from));
            assert!(
                Control::parse(GOOD.replacen(from, to, 1).as_bytes()).is_err(),
                "{from} -> {to}"
            );
        }
        assert!(Control::parse(b"").is_err());
        assert!(Control::parse(b"\xff").is_err());
    }
}
