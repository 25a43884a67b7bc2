//! Conditions over predicates, in the Common Expression Language (CEL; github.com/google/cel-spec).
//!
//! - A condition sees `predicate`, `predicateType`, `subject` (a list of `name` and `digest`) and `image` (`reference`, `repository`,
//!   `tag`, `digest`); it knows no time, no network and no functions but CEL's own. Instants are compared as texts.
//! - It is true, false, or cannot be told (a member is missing, a number is compared with a text); only true is yes.
//! - How long it may take is bounded before it is evaluated, by what it says and how large the predicate is: the same on every
//!   machine, so that a verdict never depends on how fast one is.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cel::common::ast::{Expr, LiteralValue, operators};
use cel::{Context, IdedExpr, Program, Value};
use regex::RegexBuilder;

use crate::limit;

/// A condition that reads well.
#[derive(Clone)]
pub struct Condition {
    text: String,
    program: Arc<Program>,
}

/// What a condition is about.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The statement's predicate type.
    pub predicate_type: &'a str,
    /// The predicate.
    pub predicate: &'a serde_json::Value,
    /// What the statement is about: `[{name, digest}]`.
    pub subject: serde_json::Value,
    /// The image that is judged.
    pub image: serde_json::Value,
}

/// A text that is no condition, or one that could take too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a condition in CEL: {0}")]
pub struct ConditionError(String);

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`ConditionError`] when it is too long, no CEL, names what is not there, or builds values in a loop.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.len() > limit::CONDITION_BYTES {
            return Err(ConditionError(format!(
                "expected at most {} bytes",
                limit::CONDITION_BYTES
            )));
        }
        if !is_shallow(text) {
            let problem = format!("expected at most {} operators and brackets", limit::CONDITION_OPERATORS);
            return Err(ConditionError(problem));
        }
        let program = Program::compile(text);
        let program =
            program.map_err(|errors| ConditionError(short(errors.to_string().lines().next().unwrap_or_default())))?;
        let references = program.references();
        let known = |name: &&str| VARIABLES.contains(name);
        if let Some(unknown) = references
            .variables()
            .into_iter()
            .find(|name| !known(name) && !bound(&program, name))
        {
            let problem = format!("it names `{unknown}`; known: {}", VARIABLES.join(", "));
            return Err(ConditionError(problem));
        }
        let is_known = |name: &&str| FUNCTIONS.contains(name) || name.contains(['_', '@', '!', '-']);
        if let Some(unknown) = references.functions().into_iter().find(|name| !is_known(name)) {
            let problem = format!("it calls `{unknown}`; known: {}", FUNCTIONS.join(", "));
            return Err(ConditionError(problem));
        }
        let condition = Self {
            text: text.to_owned(),
            program: Arc::new(program),
        };
        // What may not be said in a loop shows here; the size is for `holds` to judge.
        condition.steps(1).map_err(ConditionError)?;
        Ok(condition)
    }

    /// Returns it as it is written: two that are alike but for spaces in a text are two.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tells whether it holds.
    ///
    /// # Errors
    /// Why it cannot be told, for people.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, String> {
        let size = [facts.predicate, &facts.subject, &facts.image]
            .into_iter()
            .map(size)
            .sum();
        let steps = self.steps(size)?;
        if steps > limit::CONDITION_STEPS {
            return Err(format!(
                "it could take {steps} steps for a predicate of this size; expected at most {}",
                limit::CONDITION_STEPS
            ));
        }
        let mut context = Context::default();
        let values = [
            ("predicate", value(facts.predicate)),
            ("predicateType", Value::from(facts.predicate_type)),
            ("subject", value(&facts.subject)),
            ("image", value(&facts.image)),
        ];
        for (name, value) in values {
            context.add_variable_from_value(name, value);
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(other) => Err(format!("expected true or false, found {}", other.type_of())),
            Err(error) => Err(short(&error.to_string())),
        }
    }

    /// Bounds the steps of an evaluation where what it is about has `size` values.
    fn steps(&self, size: u64) -> Result<u64, String> {
        Walk { size }.steps(self.program.expression(), &Scope::outermost())
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

const VARIABLES: [&str; 4] = ["image", "predicate", "predicateType", "subject"];

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Bounds how deep a text can nest, before a parser that calls itself sees it.
fn is_shallow(text: &str) -> bool {
    let deepens = |c: &char| "([{!-?+*/%<>=&|.".contains(*c);
    text.chars().filter(deepens).count() <= limit::CONDITION_OPERATORS
}

/// Tells whether a loop gives something this name.
fn bound(program: &Program, name: &str) -> bool {
    fn within(expr: &IdedExpr, name: &str) -> bool {
        match &expr.expr {
            Expr::Call(call) => {
                call.target.iter().any(|target| within(target, name)) || call.args.iter().any(|arg| within(arg, name))
            }
            Expr::Comprehension(all) => {
                let own = [Some(&all.iter_var), all.iter_var2.as_ref(), Some(&all.accu_var)];
                own.into_iter().flatten().any(|own| own == name)
                    || [&all.iter_range, &all.loop_step]
                        .into_iter()
                        .any(|part| within(part, name))
            }
            Expr::Select(select) => within(&select.operand, name),
            Expr::List(list) => list.elements.iter().any(|item| within(item, name)),
            _ => false,
        }
    }
    within(program.expression(), name)
}

/// Where an expression stands: which loops are around it.
#[derive(Clone)]
struct Scope {
    /// How often it is evaluated, at most; none outside loops.
    rounds: Option<u64>,
    /// The variables whose values are parts of what the condition is about, and not made on the way.
    given: Vec<String>,
    /// The variables of the innermost loop, where they are given, and how often that loop is begun.
    innermost: Option<(Vec<String>, u64)>,
}

impl Scope {
    fn outermost() -> Self {
        Self {
            rounds: None,
            given: VARIABLES.map(str::to_owned).to_vec(),
            innermost: None,
        }
    }

    /// Says how often the innermost loop is begun, where this path begins with its variable: whatever is done once for each item
    /// sees each value once, each time that the loop is begun.
    fn begun(&self, expr: &IdedExpr) -> Option<u64> {
        let (names, begun) = self.innermost.as_ref()?;
        let root = root_of(expr)?;
        names.iter().any(|name| name == root).then_some(*begun)
    }

    /// Enters a loop over `range`, whose body is evaluated `rounds` times.
    fn enter(&self, range: &IdedExpr, names: Vec<String>, rounds: u64) -> Self {
        let is_given = root_of(range).is_some_and(|root| self.given.iter().any(|name| name == root));
        let mut given = self.given.clone();
        given.retain(|name| !names.contains(name));
        if is_given {
            given.extend(names.iter().cloned());
        }
        Self {
            rounds: Some(rounds),
            given,
            innermost: is_given.then(|| (names, self.rounds.unwrap_or(1))),
        }
    }
}

/// The variable with which a path (`a.b[0].c`) begins. What `filter` keeps of a path's items is a part of it too, and so is what `map`
/// takes out of each.
fn root_of(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) => root_of(&select.operand),
        Expr::Call(call) if call.func_name == operators::INDEX => root_of(call.args.first()?),
        Expr::Comprehension(each) if root_of(kept(&each.loop_step)?)? == each.iter_var => root_of(&each.iter_range),
        _ => None,
    }
}

/// What a step of `map` or `filter` puts behind its result.
fn kept(step: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(call) = &step.expr else { return None };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::CONDITIONAL, [_, yes, _]) => kept(yes),
        (operators::ADD, [_, added]) => match &added.expr {
            Expr::List(list) => list.elements.first(),
            _ => None,
        },
        _ => None,
    }
}

struct Walk {
    size: u64,
}

impl Walk {
    fn steps(&self, expr: &IdedExpr, scope: &Scope) -> Result<u64, String> {
        let rounds = scope.rounds.unwrap_or(1);
        match &expr.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(rounds),
            Expr::Select(select) => Ok(rounds.saturating_add(self.steps(&select.operand, scope)?)),
            Expr::Call(call) => {
                if scope.rounds.is_some() && call.func_name == operators::ADD {
                    return Err("`+` in a loop could make values of any size; compare the parts instead".to_owned());
                }
                let looks_in = !LOGIC.contains(&call.func_name.as_str());
                let (own, each) = matching(&call.func_name, &call.args)?;
                let mut sum = rounds.saturating_mul(own);
                for operand in call.target.as_deref().into_iter().chain(&call.args) {
                    let read = if looks_in { self.weight(operand, scope) } else { 0 };
                    sum = sum.saturating_add(self.steps(operand, scope)?);
                    sum = sum.saturating_add(read.saturating_mul(each).saturating_mul(rounds));
                }
                Ok(sum)
            }
            Expr::List(list) => {
                let is_literal = |item: &IdedExpr| matches!(item.expr, Expr::Literal(_));
                match list.elements.iter().all(is_literal) {
                    true => Ok(rounds.saturating_mul(1 + list.elements.len() as u64)),
                    false => Err("a list is written of plain texts and numbers only".to_owned()),
                }
            }
            Expr::Map(_) | Expr::Struct(_) => Err("maps and structures cannot be written in conditions".to_owned()),
            Expr::Comprehension(each) => {
                let range = self.steps(&each.iter_range, scope)?;
                let begun = scope.begun(&each.iter_range).unwrap_or(rounds);
                let total = begun.saturating_mul(self.most(&each.iter_range)).max(rounds);
                let names = [Some(&each.iter_var), each.iter_var2.as_ref()].into_iter().flatten();
                let inner = scope.enter(&each.iter_range, names.cloned().collect(), total);
                let body = self.step(&each.loop_step, &each.accu_var, &inner)?;
                Ok(range.saturating_add(body))
            }
        }
    }

    /// Bounds a loop's step. `map` and `filter` are expanded to `RESULT + [VALUE]`, which nobody can write himself.
    fn step(&self, step: &IdedExpr, result: &str, scope: &Scope) -> Result<u64, String> {
        if let Expr::Call(call) = &step.expr {
            let is_result = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if name == result);
            match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::ADD, [first, second]) if is_result(first) => {
                    let Expr::List(list) = &second.expr else {
                        return self.steps(second, scope);
                    };
                    let kept = list.elements.iter().map(|item| {
                        let copied = self.weight(item, scope).saturating_mul(scope.rounds.unwrap_or(1));
                        Ok(self.steps(item, scope)?.saturating_add(copied))
                    });
                    return kept.sum::<Result<u64, String>>();
                }
                (operators::CONDITIONAL, [condition, yes, no]) => {
                    let parts = [
                        self.steps(condition, scope)?,
                        self.step(yes, result, scope)?,
                        self.step(no, result, scope)?,
                    ];
                    return Ok(parts.into_iter().fold(0, u64::saturating_add));
                }
                // `exists_one` counts.
                (operators::ADD, [first, _]) if matches!(first.expr, Expr::Literal(_)) => {
                    return Ok(scope.rounds.unwrap_or(1));
                }
                _ => {}
            }
        }
        self.steps(step, scope)
    }

    /// How many values a function may look at in an operand, for each time that it is called.
    fn weight(&self, operand: &IdedExpr, scope: &Scope) -> u64 {
        match &operand.expr {
            Expr::Literal(_) | Expr::List(_) => 0,
            Expr::Call(call) if !MAKES_ANY.contains(&call.func_name.as_str()) => 1,
            _ if scope.begun(operand).is_some() => 1,
            _ => self.most(operand),
        }
    }

    /// How many values an operand has at most: all that there are, once for each time that something is put behind it.
    fn most(&self, operand: &IdedExpr) -> u64 {
        self.size.saturating_mul(1 + additions(operand))
    }
}

/// Counts what is put together with `+`, which is refused in loops.
fn additions(expr: &IdedExpr) -> u64 {
    match &expr.expr {
        Expr::Call(call) => {
            let own = u64::from(call.func_name == operators::ADD);
            let operands = call.target.as_deref().into_iter().chain(&call.args);
            own + operands.map(additions).sum::<u64>()
        }
        Expr::Select(select) => additions(&select.operand),
        Expr::Comprehension(each) => additions(&each.iter_range),
        _ => 0,
    }
}

/// How many steps a call takes beside looking at its operands, and how many for each value that it looks at there: an expression is
/// built anew whenever something is matched with it, and the worst text visits all of its program at every byte.
fn matching(function: &str, arguments: &[IdedExpr]) -> Result<(u64, u64), String> {
    const READ: u64 = 100;
    const BUILD: u64 = 12;
    const SEARCH: u64 = 20;
    if function != "matches" {
        return Ok((1, 1));
    }
    match arguments.last().map(|pattern| &pattern.expr) {
        Some(Expr::Literal(LiteralValue::String(text))) => {
            let kib = program_kib(text)?;
            Ok((READ + BUILD * kib, SEARCH * kib))
        }
        _ => Err("what `matches` looks for is written out, in quotes".to_owned()),
    }
}

/// Returns the size of an expression's program in KiB, rounded up to a power of two.
fn program_kib(text: &str) -> Result<u64, String> {
    let build = |kib: usize| RegexBuilder::new(text).size_limit(kib << 10).build();
    let powers = (0..).map(|power| 1 << power);
    for kib in powers.take_while(|kib| *kib <= limit::CONDITION_PROGRAM_KIB) {
        match build(kib) {
            Ok(_) => return Ok(kib as u64),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(_) => return Err(format!("`{}` is no regular expression", short(text))),
        }
    }
    Err(format!(
        "`{}` takes more than {} KiB as a program; write fewer repetitions, and [0-9A-Za-z_] instead of \\w, which stands for the letters \
         of all scripts",
        short(text),
        limit::CONDITION_PROGRAM_KIB
    ))
}

/// CEL's functions, beside its operators (which have names that cannot be written) and its macros.
const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// Functions whose results are of any size; all others make true, false or a number.
const MAKES_ANY: [&str; 6] = [
    operators::ADD,
    operators::CONDITIONAL,
    operators::INDEX,
    "bytes",
    "dyn",
    "string",
];

/// Functions that look no further than at their operands.
const LOGIC: [&str; 6] = [
    operators::CONDITIONAL,
    operators::INDEX,
    operators::LOGICAL_AND,
    operators::LOGICAL_NOT,
    operators::LOGICAL_OR,
    operators::NOT_STRICTLY_FALSE,
];

/// Counts values; long texts count as several.
fn size(value: &serde_json::Value) -> u64 {
    /// So many bytes of a text are looked at as quickly as one value.
    const BYTES: u64 = 64;
    use serde_json::Value as Json;
    1 + match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
        Json::String(text) => text.len() as u64 / BYTES,
        Json::Array(items) => items.iter().map(size).sum(),
        Json::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() as u64 / BYTES + size(value))
            .sum(),
    }
}

/// Turns JSON into CEL's values; numbers are integers where they are whole.
fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(is) => Value::Bool(*is),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(whole)) => Value::UInt(whole),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Json::Object(members) => {
            let members = members.iter().map(|(name, member)| (name.as_str(), value(member)));
            Value::from(members.collect::<HashMap<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn holds(text: &str, predicate: &serde_json::Value) -> Result<bool, String> {
        let condition = Condition::parse(text).map_err(|error| error.to_string())?;
        condition.holds(&Facts {
            predicate_type: "https://slsa.dev/provenance/v1",
            predicate,
            subject: json!([{ "name": "a", "digest": { "sha256": "00" } }]),
            image: json!({ "reference": "r.example/a:v1", "tag": "v1" }),
        })
    }

    fn sample() -> serde_json::Value {
        json!({
            "buildDefinition": { "buildType": "urn:x", "externalParameters": { "ref": "refs/tags/v1" } },
            "packages": [
                { "name": "a", "license": "MIT", "refs": [{ "type": "purl" }] },
                { "name": "b", "license": "Apache-2.0", "refs": [{ "type": "purl" }, { "type": "cpe" }] },
            ],
            "score": 7, "ratio": 0.5, "big": u64::MAX,
        })
    }

    #[test]
    fn conditions_see_predicate_subject_and_image() {
        for (text, expected) in [
            ("predicate.buildDefinition.buildType == 'urn:x'", true),
            (
                "predicate.buildDefinition.externalParameters.ref.startsWith('refs/heads/')",
                false,
            ),
            ("predicate.packages.all(p, p.license in ['MIT', 'Apache-2.0'])", true),
            ("predicate.packages.exists(p, p.name == 'openssl')", false),
            ("predicate.packages.all(p, p.refs.exists(r, r.type == 'purl'))", true),
            ("predicate.packages.exists_one(p, p.name == 'a')", true),
            (
                "predicate.packages.filter(p, p.license == 'MIT').map(p, p.name) == ['a']",
                true,
            ),
            (
                "size(predicate.packages) == 2 && predicate.score >= 7 && predicate.ratio < 1.0",
                true,
            ),
            ("predicate.big > 5", true),
            (
                "predicateType == 'https://slsa.dev/provenance/v1' && image.tag == 'v1'",
                true,
            ),
            ("subject[0].digest.sha256 == '00'", true),
            ("has(predicate.sbom)", false),
            (
                "predicate.buildDefinition.externalParameters.ref.matches('^refs/tags/v[0-9]+$')",
                true,
            ),
        ] {
            assert_eq!(holds(text, &sample()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_no_answer() {
        for text in [
            "predicate.missing.member == 1",
            "predicate.score.contains('x')",
            "predicate.score",
            "predicate.packages[9].name == 'a'",
            "1 / 0 == 1",
        ] {
            assert!(holds(text, &sample()).is_err(), "{text}");
        }
    }

    #[test]
    fn mistakes_show_when_the_policy_is_read() {
        let errors = [
            "predicate.a ==",
            "predicat.a == 1",
            "now() == 1 && later",
            "[predicate] == [predicate]",
            "{'a': 1} == predicate",
            "predicate.a.matches(predicate.b)",
        ]
        .map(|text| Condition::parse(text).unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn bombs_are_refused_before_they_go_off() {
        let many = json!({ "list": (0..100_000).collect::<Vec<u32>>(), "text": "a".repeat(1 << 20) });
        let nested = json!({ "list": [{ "i": (0..10_000).collect::<Vec<u32>>(), "t": "x".repeat(500_000) }] });
        for text in [
            "predicate.list.all(x, x.i.all(a, x.i.all(b, x.i.all(c, c >= 0))))",
            "predicate.list.all(x, x.i.map(a, x.i.map(b, b)).size() > 0)",
            "predicate.list.all(x, x.i.all(a, !x.t.matches('(x|y)+z')))",
            "predicate.list.all(x, x.i.all(a, !x.t.contains('z')))",
            "predicate.list.all(x, x.i.all(a, a in x.i))",
            "predicate.list.map(x, x.i.map(a, x.i)).all(z, z.all(w, w.all(v, v >= 0)))",
            "predicate.list.all(x, x.i.all(predicate, predicate in x.i))",
        ] {
            assert!(holds(text, &nested).is_err(), "{text}");
        }
        // What each item has is looked at once.
        for text in [
            "predicate.list.all(x, x.i.all(a, a < 10000))",
            "predicate.list.all(x, x.i.exists(a, a == 9999) && 9999 in x.i && x.t.contains('x'))",
            "predicate.list.all(x, x.t.matches('^x+$'))",
            "predicate.list.all(x, x.i.filter(a, a > 9998).size() == 1)",
            "predicate.list.map(x, x.i).all(i, i.all(a, a < 10000))",
        ] {
            assert_eq!(holds(text, &nested), Ok(true), "{text}");
        }
        for text in [
            "predicate.list.all(x, predicate.list.exists(y, y == x))",
            "predicate.list.all(x, predicate.list.all(y, predicate.list.all(z, true)))",
            "predicate.list.all(x, predicate.text.matches('(a|a)*b'))",
            "predicate.list.map(x, predicate).size() > 0",
            "predicate.list.all(x, x in predicate.list)",
            "predicate.list.map(x, [x, x]).size() > 0",
            "['aaaa'].map(x, x + x).map(x, x + x).size() > 0",
        ] {
            assert!(holds(text, &many).is_err(), "{text}");
        }
        assert_eq!(holds("predicate.list.all(x, x < 100000)", &many), Ok(true));
        assert_eq!(
            holds("predicate.list.filter(x, x > 5).map(x, x).size() == 99994", &many),
            Ok(true)
        );
        for deep in [
            "(".repeat(100_000),
            "!".repeat(4000),
            format!("{}predicate.a", "-".repeat(4000)),
            "[".repeat(3000),
        ] {
            assert!(Condition::parse(&deep).is_err());
        }
    }

    #[test]
    fn expressions_cost_what_their_programs_take() {
        let packages: Vec<_> = (0..3000)
            .map(|at| json!({ "name": format!("libname-{at}"), "v": "1.0" }))
            .collect();
        let (packages, long) = (json!({ "l": packages }), json!({ "text": "ab".repeat(1_500_000) }));
        for (good, predicate) in [
            (
                "predicate.l.all(p, p.name.matches('^[0-9A-Za-z_.-]{1,64}$'))",
                &packages,
            ),
            ("predicate.l.all(p, p.name.matches('^[a-z0-9-]+$'))", &packages),
            ("!predicate.text.matches('(x|y)+z')", &long),
        ] {
            assert_eq!(holds(good, predicate), Ok(true), "{good}");
        }
        for (bomb, predicate, why) in [
            (
                r"predicate.l.all(p, p.name.matches('^[\\w.-]{1,64}$'))",
                &packages,
                "KiB",
            ),
            (r"predicate.l.all(p, p.name.matches('\\pL{300}'))", &packages, "KiB"),
            (
                "predicate.text.matches('a[ab]{200}a[ab]{200}a[ab]{200}c')",
                &long,
                "steps",
            ),
            ("predicate.text.matches('(')", &long, "no regular expression"),
        ] {
            let error = holds(bomb, predicate).unwrap_err();
            assert!(error.contains(why), "{bomb}: {error}");
        }
    }

    #[test]
    fn the_deepest_that_is_read_fits_a_small_stack() {
        let deepest = |open: &str, inner: &str, close: &str| {
            let number = limit::CONDITION_OPERATORS / open.len().max(1);
            format!("{}{inner}{}", open.repeat(number), close.repeat(number))
        };
        let texts = [
            deepest("(", "true", ")"),
            deepest("!", "true", ""),
            deepest("-", "1", ""),
            format!("true{}", " && true".repeat(limit::CONDITION_OPERATORS / 2)),
            format!("predicate{}", ".a".repeat(limit::CONDITION_OPERATORS)),
            format!("true{}", "?true:true".repeat(limit::CONDITION_OPERATORS)),
        ];
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let done = thread.spawn(move || {
            for text in texts {
                drop(holds(&text, &sample()));
            }
        });
        done.unwrap().join().unwrap();
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9.()\\[\\]{}'\"+*/<>=!&|?: -]{0,60}") {
            drop(holds(&text, &sample()));
        }
    }
}
