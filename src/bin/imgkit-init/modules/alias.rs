//! Matching of device names against `modules.alias`.
//!
//! A line `alias PATTERN MODULE` says that MODULE drives every device whose modalias matches PATTERN, a shell glob of `*`, `?` and
//! `[…]`. Patterns are filed by bus: what stands before the first `:`, and in a pattern such as `acpi*:LNXPWRBN:*` before the `*` too.

use std::collections::HashMap;

/// The patterns of one `modules.alias`.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    by_bus: HashMap<String, Vec<(String, String)>>,
}

impl Aliases {
    /// Reads the text of `modules.alias`; comments and lines of another form are skipped, as depmod's format allows additions.
    pub(super) fn parse(text: &str) -> Aliases {
        let mut by_bus: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("alias"), Some(pattern), Some(module), None) =
                (words.next(), words.next(), words.next(), words.next())
            {
                by_bus
                    .entry(bus(pattern).to_owned())
                    .or_default()
                    .push((pattern.to_owned(), module.to_owned()));
            }
        }
        Aliases { by_bus }
    }

    /// Returns the modules whose patterns match, in the file's order.
    pub(super) fn matching<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let patterns = self.by_bus.get(bus(name)).map(Vec::as_slice).unwrap_or_default();
        patterns
            .iter()
            .filter(move |(pattern, _)| matches(pattern.as_bytes(), name.as_bytes()))
            .map(|(_, module)| module.as_str())
    }
}

/// Returns the bus of a modalias or pattern; names without one (`fs-overlay`) share the empty bus.
fn bus(name: &str) -> &str {
    let bus = name.split_once(':').map_or("", |(bus, _)| bus);
    bus.split(['*', '?', '[']).next().unwrap_or(bus)
}

/// Says whether a shell glob matches all of a name.
fn matches(mut pattern: &[u8], mut name: &[u8]) -> bool {
    // After a `*`, what follows it is tried at each later place; only the last `*` ever has to be tried again.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            retry = Some((pattern, name));
            continue;
        }
        let step = match (pattern, name) {
            ([], []) => return true,
            ([b'?', rest @ ..], [_, after @ ..]) => Some((rest, after)),
            ([b'[', set @ ..], [byte, after @ ..]) => in_set(set, *byte).map(|rest| (rest, after)),
            ([expected, rest @ ..], [byte, after @ ..]) if expected == byte => Some((rest, after)),
            _ => None,
        };
        match (step, retry) {
            (Some(next), _) => (pattern, name) = next,
            (None, Some((after_star, [_, shorter @ ..]))) => {
                (pattern, name) = (after_star, shorter);
                retry = Some((after_star, shorter));
            }
            (None, _) => return false,
        }
    }
}

/// Looks a byte up in a set such as `02-4]…` or `!a]…`; returns what follows the set when the byte is in it.
fn in_set(set: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let end = set.iter().position(|&b| b == b']')?;
    let (mut members, rest) = (set.get(..end)?, set.get(end + 1..)?);
    let mut found = false;
    while let Some((&first, after)) = members.split_first() {
        members = match after {
            [b'-', last, after @ ..] => {
                found |= (first..=*last).contains(&byte);
                after
            }
            _ => {
                found |= first == byte;
                after
            }
        };
    }
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, name: &str) -> bool {
        matches(pattern.as_bytes(), name.as_bytes())
    }

    #[test]
    fn matches_stars_that_have_to_be_tried_again() {
        assert!(glob(
            "pci:v*d*bc01sc06i01*",
            "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"
        ));
        assert!(glob("*a*ab", "xaaab"));
        assert!(!glob("*a*ab", "xaaabc"));
        assert!(glob("*", ""));
        assert!(!glob("?", ""));
    }

    #[test]
    fn matches_sets_and_ranges() {
        assert!(glob("input:b00[0-2]1v*", "input:b0011v0"));
        assert!(!glob("input:b00[0-2]1v*", "input:b0031v0"));
        assert!(glob("x[!a-c]", "xd"));
        assert!(!glob("x[!a-c]", "xb"));
        assert!(!glob("x[abc", "xa"), "a set that is never closed matches nothing");
    }

    #[test]
    fn finds_the_modules_of_a_device_on_its_own_bus() {
        let aliases = Aliases::parse(
            "# Aliases extracted from modules themselves.\nalias virtio:d00000002v* virtio_blk\nalias virtio:d00000001v* virtio_net\nalias fs-overlay overlay\nalias virtio:d*v* virtio_any\n",
        );
        assert_eq!(
            aliases.matching("virtio:d00000002v00001AF4").collect::<Vec<_>>(),
            ["virtio_blk", "virtio_any"]
        );
        assert_eq!(aliases.matching("fs-overlay").collect::<Vec<_>>(), ["overlay"]);
        assert_eq!(aliases.matching("pci:d00000002v0").count(), 0);
    }

    #[test]
    fn finds_a_module_whose_pattern_leaves_the_end_of_the_bus_open() {
        let aliases = Aliases::parse("alias acpi*:LNXPWRBN:* button\n");
        assert_eq!(aliases.matching("acpi:LNXPWRBN:").collect::<Vec<_>>(), ["button"]);
    }
}
