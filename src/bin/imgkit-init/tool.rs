//! What this program does when it is not process 1: list tasks, kill one, end the node, load modules for the kernel.

use std::io::{self, Write};

use rustix::process::Signal;

use crate::containerd::SOCKET;
use crate::containerd::client::{Client, Task};
use crate::control::{self, Request};
use crate::error::{Context, Error};
use crate::modules::Modules;

const USAGE: &str = "imgkit-init tasks | kill NAME | poweroff | reboot | modprobe NAME…";

/// What to do.
#[derive(Debug, PartialEq)]
enum Verb {
    Tasks,
    Kill(String),
    End(Request),
    Modprobe(Vec<String>),
}

/// Does what the arguments say, the first of them being the program's own name.
pub(crate) fn run(arguments: &[String]) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing("start the runtime")?;
    match Verb::parse(arguments)? {
        Verb::Tasks => runtime.block_on(print_tasks()),
        Verb::Kill(name) => runtime.block_on(kill(&name)),
        Verb::End(request) => runtime.block_on(control::ask(request)),
        Verb::Modprobe(names) => {
            let mut modules = Modules::of_running_kernel();
            names.iter().try_for_each(|name| modules.load(name))
        }
    }
}

impl Verb {
    /// Reads the arguments; the program's name may stand for the verb, and the kernel calls `PROGRAM -q -- NAME`.
    fn parse(arguments: &[String]) -> Result<Verb, Error> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (program, rest) = words.split_first().ok_or(Error::Usage(USAGE))?;
        let base = program.rsplit('/').next().unwrap_or(program);
        let words = if matches!(base, "modprobe" | "poweroff" | "reboot") {
            [&[base], rest].concat()
        } else {
            rest.to_vec()
        };
        match words.as_slice() {
            ["tasks"] => Ok(Verb::Tasks),
            ["kill", name] => Ok(Verb::Kill((*name).to_owned())),
            ["poweroff"] => Ok(Verb::End(Request::PowerOff)),
            ["reboot"] => Ok(Verb::End(Request::Reboot)),
            ["modprobe", names @ ..] | ["-q", "--", names @ ..] => {
                let names: Vec<String> = names
                    .iter()
                    .filter(|name| !name.starts_with('-'))
                    .map(|name| (*name).to_owned())
                    .collect();
                if names.is_empty() {
                    Err(Error::Usage(USAGE))
                } else {
                    Ok(Verb::Modprobe(names))
                }
            }
            _ => Err(Error::Usage(USAGE)),
        }
    }
}

/// Prints namespace, identifier, process and state of every task, one a line, separated by tabs.
async fn print_tasks() -> Result<(), Error> {
    let tasks = Client::new(SOCKET).all_tasks().await?;
    let lines: String = tasks.iter().map(line).collect();
    io::stdout().write_all(lines.as_bytes()).doing("print the tasks")
}

/// Kills the task of that name in whatever namespace it is.
async fn kill(name: &str) -> Result<(), Error> {
    let client = Client::new(SOCKET);
    let tasks = client.all_tasks().await?;
    let task = tasks
        .iter()
        .find(|task| task.id == name)
        .ok_or_else(|| Error::NoTask(name.to_owned()))?;
    client.kill_task(&task.namespace, &task.id, Signal::KILL).await
}

fn line(task: &Task) -> String {
    format!(
        "{}\t{}\t{}\t{}\n",
        task.namespace,
        task.id,
        task.pid,
        task.state.as_str_name().to_ascii_lowercase()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(words: &str) -> Result<Verb, Error> {
        Verb::parse(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn takes_its_verb_from_the_first_argument_or_its_own_name() {
        assert_eq!(parse("/init tasks").unwrap(), Verb::Tasks);
        assert_eq!(parse("imgkit-init kill sshd").unwrap(), Verb::Kill("sshd".to_owned()));
        assert_eq!(parse("/sbin/poweroff").unwrap(), Verb::End(Request::PowerOff));
    }

    #[test]
    fn loads_modules_as_the_kernel_and_as_others_ask() {
        let overlay = Verb::Modprobe(vec!["fs-overlay".to_owned()]);
        assert_eq!(parse("/init -q -- fs-overlay").unwrap(), overlay);
        assert_eq!(parse("/sbin/modprobe -va fs-overlay").unwrap(), overlay);
    }

    #[test]
    fn refuses_anything_else_with_its_usage() {
        for words in [
            "/init",
            "/init kill",
            "/init tasks now",
            "/sbin/modprobe",
            "/sbin/reboot -f",
        ] {
            assert!(parse(words).unwrap_err().to_string().contains("kill NAME"), "{words}");
        }
    }
}
