//! PEM with headers (RFC 1421), which the strict reader (RFC 7468) refuses: they are taken off, and the rest is left to it.

use zeroize::Zeroizing;

use super::bad;
use crate::key::KeyError;

/// One block of a PEM file.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Vec<&'a str>,
}

/// Splits a text into its blocks; what stands around them is passed over, as openssl does.
pub(super) fn blocks(text: &str) -> Result<Vec<Block<'_>>, KeyError> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line, "-----BEGIN ") else {
            continue;
        };
        let mut block = Block {
            label,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = lines.next().ok_or_else(|| bad("a PEM block without its END line"))?;
            if let Some(end) = boundary(line, "-----END ") {
                if end != label {
                    return Err(bad(
                        "a PEM block whose END line names another thing than its BEGIN line",
                    ));
                }
                break;
            }
            match line.split_once(':') {
                Some((name, value)) if block.body.is_empty() => block.headers.push((name.trim(), value.trim())),
                _ if line.is_empty() => {}
                _ => block.body.push(line),
            }
        }
        blocks.push(block);
    }
    Ok(blocks)
}

impl Block<'_> {
    /// Returns a header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    }

    /// Decodes the body.
    pub(super) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        // Whatever width the lines had, the strict reader gets its own.
        let body = Zeroizing::new(self.body.concat());
        let mut text = Zeroizing::new(format!("-----BEGIN {}-----\n", self.label));
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str(&format!("-----END {}-----\n", self.label));
        let decoded = pkcs8::der::pem::decode_vec(text.as_bytes());
        decoded
            .map(|(_, bytes)| Zeroizing::new(bytes))
            .map_err(|error| bad(&format!("a PEM block that cannot be read: {error}")))
    }
}

fn boundary<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}
