//! From parser events to nodes, within bounds.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};

use super::{Key, Mark, Node, Problem, Value, YamlError, scalar};
use crate::limit;

/// Reads the only document of `bytes`.
pub(super) fn compose(file: &str, bytes: &[u8]) -> Result<Node, YamlError> {
    let text = check_text(file, bytes)?;
    let mut composer = Composer::new(file);
    let mut parser = Parser::new(StrInput::new(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let problem = Problem::Syntax(format!("this is not YAML: {}", error.info()));
            composer.error(mark(error.marker()), problem)
        })?;
        composer.take(event, mark(&span.start))?;
    }
    Ok(composer.root.unwrap_or(Node {
        mark: Mark { line: 1, column: 1 },
        value: Value::Null,
    }))
}

fn mark(marker: &Marker) -> Mark {
    Mark {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

/// Refuses what would be read otherwise than it looks, or not at all: the parser ends at a NUL.
fn check_text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, YamlError> {
    let error = |mark: Mark, problem| YamlError {
        place: mark.in_file(file),
        problem,
    };
    let start = Mark { line: 1, column: 1 };
    if bytes.len() > limit::YAML_BYTES {
        let most = limit::YAML_BYTES;
        return Err(error(
            start,
            Problem::TooMuch {
                what: "the file's bytes",
                most,
            },
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|bad| {
        error(
            start,
            Problem::Syntax(format!("byte {} is not UTF-8", bad.valid_up_to())),
        )
    })?;
    for (at, line) in text.lines().enumerate() {
        let odd = |c: &char| (c.is_control() && *c != '\t') || is_bidi_override(*c);
        if let Some((column, odd)) = line.chars().enumerate().find(|(_, c)| odd(c)) {
            let mark = Mark {
                line: at + 1,
                column: column + 1,
            };
            let problem = format!("character U+{:04X} is refused; remove it", u32::from(odd));
            return Err(error(mark, Problem::Syntax(problem)));
        }
    }
    Ok(text)
}

/// Characters that make a line read in another order than its bytes have.
fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Builds nodes from events; open collections are on a stack, so depth costs no recursion.
struct Composer<'a> {
    file: &'a str,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    expansion: usize,
    root: Option<Node>,
    documents: usize,
}

/// A collection whose end has not come yet.
struct Open {
    mark: Mark,
    anchor: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Mapping {
        entries: Vec<(Key, Node)>,
        lines: BTreeMap<String, usize>,
        key: Option<Key>,
    },
}

impl<'a> Composer<'a> {
    fn new(file: &'a str) -> Self {
        Self {
            file,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            expansion: 0,
            root: None,
            documents: 0,
        }
    }

    fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), YamlError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                let only = "the file has a second document; imgkit reads one";
                if self.documents > 1 {
                    return Err(self.syntax(mark, only));
                }
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, mark),
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), mark)?;
                self.close(anchor, Node { mark, value })
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", mark)?;
                self.begin(mark, anchor, Kind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", mark)?;
                let (entries, lines, key) = (Vec::new(), BTreeMap::new(), None);
                self.begin(mark, anchor, Kind::Mapping { entries, lines, key })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { mark, anchor, kind }) => {
                    let value = match kind {
                        Kind::List(items) => Value::List(items),
                        Kind::Mapping { entries, .. } => Value::Mapping(entries),
                    };
                    self.close(anchor, Node { mark, value })
                }
                None => Ok(()),
            },
        }
    }

    fn begin(&mut self, mark: Mark, anchor: usize, kind: Kind) -> Result<(), YamlError> {
        if self.open.len() >= limit::YAML_DEPTH {
            let most = limit::YAML_DEPTH;
            return Err(self.error(
                mark,
                Problem::TooMuch {
                    what: "nested levels",
                    most,
                },
            ));
        }
        self.open.push(Open { mark, anchor, kind });
        Ok(())
    }

    /// Ends a node: remembers it under its anchor and puts it where it belongs.
    fn close(&mut self, anchor: usize, node: Node) -> Result<(), YamlError> {
        if anchor > 0 {
            self.spend(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    fn place(&mut self, node: Node) -> Result<(), YamlError> {
        let file = self.file;
        let error = |mark: Mark, problem| {
            let place = mark.in_file(file);
            Err(YamlError { place, problem })
        };
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(Kind::List(items)) => items.push(node),
            Some(Kind::Mapping { entries, lines, key }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let mark = node.mark;
                    let Value::Text(name) = node.value else {
                        let problem = "a key is not text; quote it".to_owned();
                        return error(mark, Problem::Syntax(problem));
                    };
                    if name == "<<" {
                        let problem = "merge keys (`<<`) are refused; write the keys out".to_owned();
                        return error(mark, Problem::Syntax(problem));
                    }
                    if let Some(&first) = lines.get(&name) {
                        return error(mark, Problem::Duplicate { key: name, first });
                    }
                    lines.insert(name.clone(), mark.line);
                    *key = Some(Key { mark, name });
                }
            },
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<(), YamlError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.syntax(mark, "an alias stands inside its own anchor"));
        };
        self.spend(&node)?;
        let depth = self.open.len() + depth(&node);
        if depth > limit::YAML_DEPTH {
            let most = limit::YAML_DEPTH;
            return Err(self.error(
                mark,
                Problem::TooMuch {
                    what: "nested levels",
                    most,
                },
            ));
        }
        self.place(node)
    }

    /// Counts what anchors and aliases copy, so that a small file cannot become a large document.
    fn spend(&mut self, node: &Node) -> Result<(), YamlError> {
        self.expansion = self.expansion.saturating_add(cost(node));
        let most = limit::YAML_EXPANSION_BYTES;
        match self.expansion > most {
            true => Err(self.error(
                node.mark,
                Problem::TooMuch {
                    what: "the bytes that aliases copy",
                    most,
                },
            )),
            false => Ok(()),
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, mark: Mark) -> Result<Value, YamlError> {
        let Some(tag) = tag else {
            return Ok(match style {
                ScalarStyle::Plain => scalar::resolve(text),
                _ => Value::Text(text.to_owned()),
            });
        };
        let wanted = core_name(tag);
        let value = match wanted {
            Some("" | "str") => Value::Text(text.to_owned()),
            _ => scalar::resolve(text),
        };
        let fits = match (wanted, &value) {
            (Some("" | "str"), _) => true,
            (Some("null"), value) => *value == Value::Null,
            (Some("bool"), value) => matches!(value, Value::Bool(_)),
            (Some("int"), value) => matches!(value, Value::Integer(_)),
            (Some("float"), value) => matches!(value, Value::Number(_)),
            _ => false,
        };
        match fits {
            true => Ok(value),
            false => Err(self.bad_tag(tag, mark)),
        }
    }

    fn check_tag(&self, tag: Option<&Tag>, wanted: &str, mark: Mark) -> Result<(), YamlError> {
        match tag {
            Some(tag) if core_name(tag) != Some(wanted) => Err(self.bad_tag(tag, mark)),
            _ => Ok(()),
        }
    }

    fn bad_tag(&self, tag: &Tag, mark: Mark) -> YamlError {
        let name = match tag.is_yaml_core_schema() {
            true => format!("!!{}", tag.suffix),
            false => tag.to_string(),
        };
        let problem =
            format!("tag `{name}` is refused: it is not of the core schema or does not fit its value; remove it");
        self.syntax(mark, &problem)
    }

    fn syntax(&self, mark: Mark, problem: &str) -> YamlError {
        self.error(mark, Problem::Syntax(problem.to_owned()))
    }

    fn error(&self, mark: Mark, problem: Problem) -> YamlError {
        let place = mark.in_file(self.file);
        YamlError { place, problem }
    }
}

/// Returns the name of a core schema tag (`str`), the empty name for `!`, and nothing for any other tag.
fn core_name(tag: &Tag) -> Option<&str> {
    match (tag.is_yaml_core_schema(), tag.handle.as_str(), tag.suffix.as_str()) {
        (true, _, name) => Some(name),
        (false, "" | "!", "" | "!") => Some(""),
        _ => None,
    }
}

/// Bytes that a copy of `node` takes, roughly: its text and its nodes.
fn cost(node: &Node) -> usize {
    let own = size_of::<Node>();
    let below = match &node.value {
        Value::Text(text) | Value::Number(text) => text.len(),
        Value::List(items) => items.iter().map(cost).sum(),
        Value::Mapping(entries) => entries.iter().map(|(key, value)| key.name.len() + cost(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Integer(_) => 0,
    };
    own + below
}

/// Counts the levels of collections in `node`; it has no more than `YAML_DEPTH`.
fn depth(node: &Node) -> usize {
    let below = match &node.value {
        Value::List(items) => items.iter().map(depth).max(),
        Value::Mapping(entries) => entries.iter().map(|(_, value)| depth(value)).max(),
        _ => return 0,
    };
    1 + below.unwrap_or_default()
}
