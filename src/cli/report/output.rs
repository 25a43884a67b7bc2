//! Where results go, and in which form: `--output FORMAT` or `--output FORMAT=PATH`, each as often as is wanted.

use std::path::PathBuf;
use std::str::FromStr;

use super::OutputFormat;

/// A form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Form {
    Text,
    Json,
    Sarif,
    Junit,
}

const FORMS: [(&str, Form); 4] = [
    ("text", Form::Text),
    ("json", Form::Json),
    ("sarif", Form::Sarif),
    ("junit", Form::Junit),
];

/// One place to which results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub(in crate::cli) form: Form,
    /// A file; standard output where there is none.
    pub(in crate::cli) path: Option<PathBuf>,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = match text.split_once('=') {
            Some((_, "")) => return Err("expected a file behind `=`".to_owned()),
            Some((name, path)) => (name, Some(PathBuf::from(path))),
            None => (text, None),
        };
        let known = || FORMS.map(|(name, _)| name).join(", ");
        let found = FORMS.iter().find(|(known, _)| *known == name);
        let form = found.map(|(_, form)| *form);
        let form = form.ok_or_else(|| format!("expected one of {}, and `=PATH` for a file", known()))?;
        Ok(Self { form, path })
    }
}

/// All places to which a command's results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs(Vec<Output>);

impl Outputs {
    /// Takes what was asked for; text goes to standard output where nothing else does.
    ///
    /// # Errors
    /// What is wrong, when two things were to go to one place.
    pub fn new(mut outputs: Vec<Output>) -> Result<Self, String> {
        if outputs.iter().all(|output| output.path.is_some()) {
            outputs.insert(
                0,
                Output {
                    form: Form::Text,
                    path: None,
                },
            );
        }
        let mut rest = outputs.as_slice();
        while let Some((first, others)) = rest.split_first() {
            if others.iter().any(|other| other.path == first.path) {
                let place = first.path.as_ref().map(|path| path.display().to_string());
                let place = place.unwrap_or_else(|| "standard output".to_owned());
                return Err(format!(
                    "two results cannot both go to {place}; name a file: --output FORMAT=PATH"
                ));
            }
            rest = others;
        }
        Ok(Self(outputs))
    }

    /// Takes those of what was asked for that machines read, each place once.
    pub(in crate::cli) fn for_machines(mut outputs: Vec<Output>) -> Self {
        let mut seen = Vec::new();
        outputs.retain(|output| {
            let is_new = output.form != Form::Text && !seen.contains(&output.path);
            seen.push(output.path.clone());
            is_new
        });
        Self(outputs)
    }

    /// Iterates over the places.
    pub(in crate::cli) fn iter(&self) -> impl Iterator<Item = &Output> {
        self.0.iter()
    }

    /// Returns whether people alone read the results, or machines too.
    pub fn format(&self) -> OutputFormat {
        match self.0.iter().all(|output| output.form == Form::Text) {
            true => OutputFormat::Text,
            false => OutputFormat::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn outputs(texts: &[&str]) -> Result<Outputs, String> {
        let parsed = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Outputs::new(parsed)
    }

    #[test]
    fn people_get_text_unless_something_else_takes_its_place() {
        assert_eq!(outputs(&[]).unwrap().format(), OutputFormat::Text);
        assert_eq!(outputs(&["json"]).unwrap().iter().count(), 1);
        let both = outputs(&["junit=report.xml", "sarif=a=b.sarif"]).unwrap();
        let forms: Vec<Form> = both.iter().map(|output| output.form).collect();
        assert_eq!(forms, [Form::Text, Form::Junit, Form::Sarif]);
        assert_eq!(both.format(), OutputFormat::Json);
    }

    #[test]
    fn two_results_do_not_go_to_one_place() {
        for bad in [&["text", "json"][..], &["json=a", "junit=a"], &["xml"], &["json="]] {
            assert!(outputs(bad).is_err(), "{bad:?}");
        }
    }
}
