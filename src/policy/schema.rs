//! The grammar as JSON Schema (draft 2020-12), for editors and for those who check policies without imgkit.
//!
//! Each mapping of the grammar is an [`Object`]; that its keys are those which the parser asks for is tested, so that schema and
//! parser cannot drift apart. What a schema cannot say (that a named root exists, that somebody vouches) the parser alone refuses.

use serde_json::{Map, Value, json};

use super::{FORMATS, signer::Binding};
use crate::limit::CONTAINER_NAME_BYTES;

/// Returns the schema of policy files.
pub fn schema() -> Value {
    let mut defs: Map<String, Value> = OBJECTS
        .iter()
        .map(|object| (object.name.to_owned(), object.to_value()))
        .collect();
    defs.extend(scalars());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:imgkit:policy:v1",
        "title": "imgkit policy, version 1",
        "$ref": "#/$defs/policy",
        "$defs": defs,
    })
}

/// A mapping with known keys.
struct Object {
    /// Its name among the definitions.
    name: &'static str,
    /// What it is.
    about: &'static str,
    /// Its keys: name, definition (a list of it where it ends in `[]`, a mapping from names to it where it ends in `{}`), and what
    /// it says.
    keys: &'static [(&'static str, &'static str, &'static str)],
    /// Keys that must be there.
    required: &'static [&'static str],
    /// Choices: of each, exactly one alternative must be there, and an alternative is there with any of its keys.
    choices: &'static [&'static [&'static [&'static str]]],
}

impl Object {
    fn to_value(&self) -> Value {
        let property = |(key, is, about): &(&str, &str, &str)| {
            let mut value = reference(is);
            if let Some(value) = value.as_object_mut() {
                value.insert("description".to_owned(), (*about).into());
            }
            ((*key).to_owned(), value)
        };
        let properties: Map<String, Value> = self.keys.iter().map(property).collect();
        let any = |keys: &&[&str]| match keys {
            [key] => json!({ "required": [key] }),
            keys => json!({ "anyOf": keys.iter().map(|key| json!({ "required": [key] })).collect::<Vec<_>>() }),
        };
        let choice = |among: &&[&[&str]]| json!({ "oneOf": among.iter().map(any).collect::<Vec<_>>() });
        let choices: Vec<Value> = self.choices.iter().map(choice).collect();
        let mut value = json!({
            "type": "object", "description": self.about, "properties": properties, "additionalProperties": false,
            "required": self.required,
        });
        if let Some(value) = value.as_object_mut().filter(|_| !choices.is_empty()) {
            value.insert("allOf".to_owned(), choices.into());
        }
        value
    }
}

fn reference(is: &str) -> Value {
    let to = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    match (is.strip_suffix("[]"), is.strip_suffix("{}")) {
        (Some(item), _) => json!({ "type": "array", "items": to(item) }),
        (_, Some(entry)) => json!({ "type": "object", "propertyNames": to("name"), "additionalProperties": to(entry) }),
        _ => to(is),
    }
}

const SIGNED: (&str, &str, &str) = ("signed", "signed", "who has to sign");
const REQUIREMENTS: [(&str, &str, &str); 8] = [
    ("allOf", "requirements", "each of these must hold"),
    ("anyOf", "requirements", "one of these must hold"),
    (
        "atLeast",
        "atLeast",
        "so many of these must hold; signatures count by distinct keys",
    ),
    (
        "attested",
        "attested",
        "an attestation of the image, by a key or an identity",
    ),
    ("digestIn", "digests", "the image's digest is one of these"),
    (
        "maxAge",
        "age",
        "how old the image may be at the evaluation, by the time of creation in its config",
    ),
    (
        "minVersion",
        "version",
        "the lowest version, by the label org.opencontainers.image.version, else by the tag where who has to sign vouches for it",
    ),
    SIGNED,
];

/// The keys of which a requirement has one or several.
const DEMANDS: [&str; 8] = [
    "allOf",
    "anyOf",
    "atLeast",
    "attested",
    "digestIn",
    "maxAge",
    "minVersion",
    "signed",
];

const OVERLAY: [(&str, &str, &str); 4] = [
    (
        "forbid",
        "forbidden[]",
        "what no image may hold, whatever the rules say",
    ),
    ("image", "image", "what a finished image must be"),
    (
        "rules",
        "rule[]",
        "in order: the first that matches decides; where none matches, the answer is no",
    ),
    ("spec", "spec", "what node.yml and the files that it names must be"),
];

const OBJECTS: &[Object] = &[
    Object {
        name: "policy",
        about: "a policy, or a file that one includes",
        keys: &[
            (
                "environments",
                "environment{}",
                "overlays, of which one is chosen with --environment",
            ),
            OVERLAY[0],
            OVERLAY[1],
            (
                "include",
                "words",
                "files inside the policy's directory whose rules come after these",
            ),
            (
                "roots",
                "root{}",
                "trust roots: the path of each pinned root.json, relative to this file; of a Notary collection, with its GUN",
            ),
            OVERLAY[2],
            (
                "signers",
                "namedSigner{}",
                "named signers: roles of roots, keys, identities",
            ),
            OVERLAY[3],
            ("version", "one", "of this grammar"),
        ],
        required: &["version"],
        choices: &[],
    },
    Object {
        name: "environment",
        about: "what one environment demands before and over all else",
        keys: &OVERLAY,
        required: &[],
        choices: &[],
    },
    Object {
        name: "rule",
        about: "which references, and what they need: requirements, `deny` or `unsigned: accept`",
        keys: &[
            ("allow", "allow[]", "what the component's own label may ask for"),
            REQUIREMENTS[0],
            REQUIREMENTS[1],
            REQUIREMENTS[2],
            REQUIREMENTS[3],
            ("deny", "word", "refuses, with this reason"),
            REQUIREMENTS[4],
            (
                "match",
                "pattern",
                "which references: a pattern over normalised full names",
            ),
            REQUIREMENTS[5],
            REQUIREMENTS[6],
            (
                "overrides",
                "overrides",
                "whether later parts may replace files of the component; `allow` when absent",
            ),
            (
                "proved",
                "boolean",
                "whether the tree on the disk must have the digest that its signer signed",
            ),
            SIGNED,
            ("unsigned", "accept", "for experiments: admits what nobody signed"),
        ],
        required: &["match"],
        choices: &[&[&["deny"], &["unsigned"], &DEMANDS]],
    },
    Object {
        name: "requirement",
        about: "one requirement, or several that must all hold",
        keys: &REQUIREMENTS,
        required: &[],
        choices: &[&[&DEMANDS]],
    },
    Object {
        name: "atLeast",
        about: "so many of these must hold",
        keys: &[
            ("of", "positive", "how many"),
            ("requirements", "requirements", "of which"),
        ],
        required: &["of", "requirements"],
        choices: &[],
    },
    Object {
        name: "attested",
        about: "an attestation of the image",
        keys: &[
            ("by", "name", "one of `signers`: a key or an identity"),
            (
                "condition",
                "word",
                "what it has to say, in CEL, over `predicate`, `predicateType`, `subject` and `image`",
            ),
            (
                "type",
                "word",
                "the predicate's type: a URI, or slsaprovenance1, spdxjson, cyclonedx, vsa, tree …",
            ),
        ],
        required: &["by", "type"],
        choices: &[],
    },
    Object {
        name: "key",
        about: "a key, whose signatures are sigstore's",
        keys: &[
            ("key", "word", "the file of a public key in PEM, relative to this file"),
            (
                "names",
                "binding",
                "what its signatures have to name beside the digest; any name counts when absent",
            ),
        ],
        required: &["key"],
        choices: &[],
    },
    Object {
        name: "identity",
        about: "an identity that an issuer vouches for, in a certificate",
        keys: &[
            ("identity", "word", "an address or a URI, exactly"),
            ("identityRegExp", "word", "an expression that matches all of it"),
            ("issuer", "word", "the issuer's URL, exactly"),
            ("issuerRegExp", "word", "an expression that matches all of it"),
            (
                "trustedRoot",
                "word",
                "the file of authorities and logs, relative to this file; the public instance's when absent",
            ),
            (
                "names",
                "binding",
                "what its statements have to name beside the digest; any name counts when absent",
            ),
        ],
        required: &[],
        choices: &[&[&["identity"], &["identityRegExp"]], &[&["issuer"], &["issuerRegExp"]]],
    },
    Object {
        name: "collection",
        about: "a role of a trust root",
        keys: &[
            (
                "role",
                "word",
                "the role `targets`, or one that it delegates to (of a Notary collection: targets/releases)",
            ),
            ("root", "name", "one of `roots`"),
            (
                "threshold",
                "positive",
                "how many distinct keys of the role; 1 when absent",
            ),
        ],
        required: &["root"],
        choices: &[],
    },
    Object {
        name: "notaryRoot",
        about: "a Notary collection: what Docker content trust signs of one repository",
        keys: &[
            (
                "file",
                "word",
                "the path of its pinned root.json, relative to this file",
            ),
            (
                "gun",
                "word",
                "its GUN: the full name of the repository, docker.io/library/alpine",
            ),
        ],
        required: &["file", "gun"],
        choices: &[],
    },
    Object {
        name: "named",
        about: "named signers",
        keys: &[
            ("by", "names", "one of `signers`, or several"),
            (
                "threshold",
                "positive",
                "how many of several have to sign, by keys of their own",
            ),
        ],
        required: &["by"],
        choices: &[],
    },
    Object {
        name: "forbidden",
        about: "what no image may hold",
        keys: &[
            ("match", "pattern", "which references"),
            ("reason", "word", "why, for the message"),
        ],
        required: &["match", "reason"],
        choices: &[],
    },
    Object {
        name: "spec",
        about: "what node.yml and the files that it names must be",
        keys: &[
            ("digests", "digests", "each has one of these digests"),
            ("signed", "signer", "each is the signed target spec/NAME"),
        ],
        required: &[],
        choices: &[&[&["digests"], &["signed"]]],
    },
    Object {
        name: "image",
        about: "what a finished image must be",
        keys: &[
            ("arch", "word", "only this architecture"),
            (
                "cmdline",
                "words",
                "kernel parameters beyond the harmless ones: NAME, or NAME=VALUE for one value only",
            ),
            ("formats", "format[]", "only these forms"),
            ("maxAge", "age", "between the build's evaluation and now"),
            ("minEpoch", "natural", "refuses older images"),
            ("name", "word", "only this name"),
            ("profile", "profile", "only images whose node.yml says this profile"),
            ("proved", "boolean", "every component must be proved"),
            (
                "sealed",
                "signer",
                "who may seal it; role `seal` when absent; without it no disk can be verified",
            ),
        ],
        required: &[],
        choices: &[],
    },
];

/// What is no mapping with known keys.
fn scalars() -> Map<String, Value> {
    let to = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let list = |item: &str| json!({ "type": "array", "items": to(item), "minItems": 1 });
    let values = [
        ("accept", json!({ "const": "accept" })),
        (
            "age",
            json!({ "type": "string", "pattern": "^[0-9]*[1-9][0-9]*[dh]$", "examples": ["90d", "12h"] }),
        ),
        (
            "allow",
            json!({ "type": "string", "pattern": "^[^:*]+:.+$", "examples": ["capability:CAP_NET_ADMIN"] }),
        ),
        ("boolean", json!({ "type": "boolean" })),
        (
            "digest",
            json!({ "type": "string", "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$" }),
        ),
        ("digests", list("digest")),
        ("binding", json!({ "enum": Binding::WORDS.map(|(word, _)| word) })),
        ("format", json!({ "enum": FORMATS })),
        (
            "name",
            json!({ "type": "string", "pattern": "^[a-z0-9_][a-z0-9_.-]*$" }),
        ),
        ("names", json!({ "anyOf": [to("name"), list("name")] })),
        ("natural", json!({ "type": "integer", "minimum": 0 })),
        ("one", json!({ "const": 1 })),
        ("overrides", json!({ "enum": ["allow", "refuse"] })),
        (
            "pattern",
            json!({ "type": "string", "pattern": "^[a-z0-9.:\\[\\]-]+(/[a-z0-9._*-]+)+(:[0-9A-Za-z._*-]+)?$", "examples": ["docker.io/library/*"] }),
        ),
        ("positive", json!({ "type": "integer", "minimum": 1 })),
        (
            "profile",
            json!({ "type": "string", "pattern": "^[0-9A-Za-z][0-9A-Za-z._-]*$", "maxLength": CONTAINER_NAME_BYTES }),
        ),
        ("requirements", list("requirement")),
        ("root", json!({ "anyOf": [to("word"), to("notaryRoot")] })),
        (
            "signed",
            json!({ "anyOf": [to("name"), to("named"), to("collection")] }),
        ),
        ("signer", json!({ "anyOf": [to("name"), to("collection")] })),
        (
            "namedSigner",
            json!({ "anyOf": [to("collection"), to("identity"), to("key")] }),
        ),
        (
            "version",
            json!({ "type": "string", "pattern": "^v?[0-9]+(\\.[0-9]+){0,2}(-[0-9A-Za-z.-]+)?(\\+[0-9A-Za-z.-]+)?$" }),
        ),
        ("word", json!({ "type": "string", "minLength": 1 })),
        ("words", json!({ "type": "array", "items": to("word") })),
    ];
    values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use std::collections::BTreeSet;

    use super::super::{Environment, Policy};
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A policy in which each mapping of the grammar holds a key that nobody knows, in turn: the parser then lists those it does.
    fn with_unknown(object: &str) -> String {
        let unknown = |name: &str| if name == object { "zzzzzzzz: 1, " } else { "" };
        let top = if object == "policy" { "zzzzzzzz: 1\n" } else { "" };
        format!(
            "version: 1\nroots: {{r: root.json, n: {{{}gun: r.example/n, file: n.json}}}}\nsigners:\n  a: {{{}root: r}}\n  b: {{root: r, role: b}}\n  \
             c: {{{}key: c.pub}}\n  d: {{{}identity: d@r.example, issuer: 'https://r.example'}}\n{top}\
             forbid: [{{{}match: r.example/f, reason: no}}]\n\
             rules:\n\
             \x20 - {{{}match: r.example/a, signed: {{{}by: a}}}}\n\
             \x20 - {{match: r.example/b, anyOf: [{{{}signed: b}}]}}\n\
             \x20 - {{match: r.example/d, attested: {{{}type: vsa, by: c}}}}\n\
             \x20 - {{match: r.example/c, atLeast: {{{}of: 1, requirements: [{{signed: b}}]}}}}\n\
             spec: {{{}digests: ['{DIGEST}']}}\n\
             image: {{{}name: node}}\n\
             environments: {{e: {{{}rules: []}}}}\n",
            unknown("notaryRoot"),
            unknown("collection"),
            unknown("key"),
            unknown("identity"),
            unknown("forbidden"),
            unknown("rule"),
            unknown("named"),
            unknown("requirement"),
            unknown("attested"),
            unknown("atLeast"),
            unknown("spec"),
            unknown("image"),
            unknown("environment"),
        )
    }

    fn load(text: &str) -> Result<Policy, String> {
        let read = Policy::load("", "p.yml", Environment::Base, &mut |_| Ok(text.as_bytes().to_vec()));
        read.map_err(|failure| failure.to_string())
    }

    #[test]
    fn every_mapping_has_the_keys_that_the_parser_knows() {
        load(&with_unknown("none")).unwrap();
        for object in OBJECTS {
            let error = load(&with_unknown(object.name)).unwrap_err();
            let Some((_, known)) = error.split_once("known keys: ") else {
                panic!("{}: {error}", object.name);
            };
            let known: BTreeSet<&str> = known.split(", ").collect();
            let said: BTreeSet<&str> = object.keys.iter().map(|(key, ..)| *key).collect();
            assert_eq!(said, known, "{}", object.name);
        }
    }

    #[test]
    fn what_a_rule_may_demand_is_what_a_requirement_may() {
        assert_eq!(DEMANDS, REQUIREMENTS.map(|(key, ..)| key));
    }

    #[test]
    fn every_definition_that_is_named_exists() {
        let schema = schema();
        let text = schema.to_string();
        for part in text.split("#/$defs/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schema["$defs"].get(name).is_some(), "{name}");
        }
    }
}
