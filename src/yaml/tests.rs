#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::limit;

fn parse(text: &str) -> Result<Document, YamlError> {
    Document::parse("f.yml", text.as_bytes())
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// Decodes a small schema, to show what its reader says.
fn decode(text: &str) -> Result<(String, Option<bool>, Vec<u16>), YamlError> {
    parse(text)?.root().fields("a service", |fields| {
        let name = fields.required("name")?.word()?.to_owned();
        let readonly = fields.maybe("readonly", |item| item.boolean())?;
        let ports = fields.maybe("ports", |item| item.list_of(|port| port.integer()))?;
        Ok((name, readonly, ports.unwrap_or_default()))
    })
}

fn mistake(text: &str) -> String {
    decode(text).unwrap_err().to_string()
}

#[test]
fn decodes_what_is_asked_for() {
    let wanted = ("sshd".to_owned(), Some(true), vec![22, 0o644]);
    assert_eq!(
        decode("name: sshd\nreadonly: True\nports: [22, 0644]\n").unwrap(),
        wanted
    );
    assert_eq!(
        decode("---\n{\"name\": \"sshd\", readonly: true, ports: [22, 0x1A4]}\n...\n").unwrap(),
        wanted
    );
}

#[test]
fn an_empty_document_is_nothing() {
    assert_snapshot!(mistake("# only a comment\n"), @"f.yml:1:1: expected a mapping, found nothing");
}

#[test]
fn names_the_place_and_the_nearest_key() {
    assert_snapshot!(mistake("name: sshd\nredonly: true\n"), @"f.yml:2:1: unknown key `redonly` in a service; did you mean `readonly`?");
    assert_snapshot!(mistake("name: sshd\n  # comment\nzzz: true\n"), @"f.yml:3:1: unknown key `zzz` in a service; known keys: name, readonly, ports");
    assert_snapshot!(mistake("Name: sshd\n"), @"f.yml:1:1: a service needs the key `name`; is `Name` meant to be it?");
    assert_snapshot!(mistake("readonly: true\n"), @"f.yml:1:1: a service needs the key `name`");
}

#[test]
fn says_what_it_expected_and_what_it_found() {
    assert_snapshot!(mistake("name: 1.10\n"), @"f.yml:1:7: expected text, found `1.10`, a number; quote it");
    assert_snapshot!(mistake("name:\n"), @"f.yml:1:5: expected text, found nothing");
    assert_snapshot!(mistake("name: ''\n"), @"f.yml:1:7: expected text, found an empty one");
    assert_snapshot!(mistake("name: a\nreadonly: yes\n"), @"f.yml:2:11: expected true or false, found the text `yes`");
    assert_snapshot!(mistake("name: a\nports:\n  - 22\n  - 70000\n"), @"f.yml:4:5: number 70000 is out of range");
    assert_snapshot!(mistake("name: a\nports: {}\n"), @"f.yml:2:8: expected a list, found a mapping");
    assert_snapshot!(mistake("- name\n"), @"f.yml:1:1: expected a mapping, found a list");
}

#[test]
fn refuses_what_is_ambiguous() {
    assert_snapshot!(refusal("a: 1\nb: 2\na: 3\n"), @"f.yml:3:1: key `a` stands twice (first on line 1); keep one");
    assert_snapshot!(refusal("x: &x {a: 1}\ny:\n  <<: *x\n"), @"f.yml:3:3: merge keys (`<<`) are refused; write the keys out");
    assert_snapshot!(refusal("a: 1\n---\nb: 2\n"), @"f.yml:2:1: the file has a second document; imgkit reads one");
    assert_snapshot!(refusal("1: a\n"), @"f.yml:1:1: a key is not text; quote it");
    assert_snapshot!(refusal("? [a]\n: b\n"), @"f.yml:1:3: a key is not text; quote it");
    assert_snapshot!(refusal("a: !ref b\n"), @"f.yml:1:4: tag `!ref` is refused: it is not of the core schema or does not fit its value; remove it");
    assert_snapshot!(refusal("a: !!binary aGk=\n"), @"f.yml:1:4: tag `!!binary` is refused: it is not of the core schema or does not fit its value; remove it");
    assert_snapshot!(refusal("a: !!int b\n"), @"f.yml:1:4: tag `!!int` is refused: it is not of the core schema or does not fit its value; remove it");
    assert_snapshot!(refusal("a: !!map [b]\n"), @"f.yml:1:4: tag `!!map` is refused: it is not of the core schema or does not fit its value; remove it");
}

#[test]
fn refuses_what_is_not_yaml() {
    assert_snapshot!(refusal("a: [1, 2\n"), @"f.yml:2:1: this is not YAML: while parsing a flow sequence, expected ',' or ']'");
    assert_snapshot!(refusal("a: b: c\n"), @"f.yml:1:5: this is not YAML: mapping values are not allowed in this context");
    assert_snapshot!(refusal("a: *nowhere\n"), @"f.yml:1:4: this is not YAML: while parsing node, found unknown anchor");
    assert_snapshot!(refusal("a: &a [*a]\n"), @"f.yml:1:8: an alias stands inside its own anchor");
}

#[test]
fn refuses_characters_that_hide_text() {
    assert_snapshot!(refusal("a: 1\nb: 2\0\nc: 3\n"), @"f.yml:2:5: character U+0000 is refused; remove it");
    assert_snapshot!(refusal("a: x\u{202e}y\n"), @"f.yml:1:5: character U+202E is refused; remove it");
    assert!(Document::parse("f.yml", b"a: \xff\n").is_err());
}

#[test]
fn core_tags_resolve() {
    let document = parse("{a: !!str 12, b: !!int 12, c: ! 12, d: !!seq [x]}").unwrap();
    let items: Vec<_> = document.root().entries().unwrap().map(|(_, _, item)| item).collect();
    assert_eq!(items[0].text().unwrap(), "12");
    assert_eq!(items[1].integer::<u8>().unwrap(), 12);
    assert_eq!(items[2].text().unwrap(), "12");
    assert_eq!(items[3].texts().unwrap(), ["x"]);
}

#[test]
fn aliases_are_copies() {
    let document = parse("a: &x [1, 2]\nb: *x\n").unwrap();
    let lists: Vec<_> = document
        .root()
        .entries()
        .unwrap()
        .map(|(_, _, item)| item.list_of(|i| i.integer::<u8>()).unwrap())
        .collect();
    assert_eq!(lists, [[1, 2], [1, 2]]);
}

#[test]
fn a_bomb_of_aliases_is_refused_early() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
    }
    assert_snapshot!(refusal(&text), @"f.yml:4:5: the bytes that aliases copy exceed the limit of 4194304");
}

#[test]
fn depth_and_size_are_bounded() {
    assert_snapshot!(refusal(&"[".repeat(200)), @"f.yml:1:33: nested levels exceed the limit of 32");
    assert_snapshot!(refusal(&"a".repeat(limit::YAML_BYTES + 1)), @"f.yml:1:1: the file's bytes exceed the limit of 4194304");
    let mut nested = "a0: &a0 [x]\n".to_owned();
    for level in 1..40 {
        nested.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert_snapshot!(refusal(&nested), @"f.yml:32:12: nested levels exceed the limit of 32");
}

proptest! {
    #[test]
    fn never_panics_on_text(text in "[ \\-:?\\[\\]{},&*!|>'\"#%@`a-c0-9\\n\\t~<.]{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse("f.yml", &bytes);
    }

    #[test]
    fn quoted_text_comes_back(text in "[ -~]{0,40}") {
        let quoted = format!("'{}'", text.replace('\'', "''"));
        let document = parse(&quoted).unwrap();
        prop_assert_eq!(document.root().text().unwrap(), text);
    }
}
