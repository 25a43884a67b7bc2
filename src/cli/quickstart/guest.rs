//! Boots the quickstart's node and has each component show, with values of this run alone, that it is at work.

use std::io::{BufRead, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use super::journal::{Journal, Outcome};
use super::node::{Node, write};
use crate::failure::Failure;

/// What init prints when every service runs.
const UP: &str = "all services up";

/// How long one question to the node may take.
const ANSWER: Duration = Duration::from_secs(60);

/// What is needed beyond imgkit: a program, and Debian's package that has it.
const NEEDS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("openssl", "openssl"),
];

/// How long the services may take to end before `onshutdown` runs.
const POWER_OFF: Duration = Duration::from_secs(120);

/// Boots the node, asks it questions, and powers it off.
pub(super) fn boot(journal: &mut Journal<'_>, node: &Node, seconds: u64) -> Result<(), Failure> {
    if let Some((program, package)) = NEEDS.iter().find(|(program, _)| !is_installed(program)) {
        let evidence = json!({ "missing": program, "install": format!("apt-get install {package}") });
        return journal.note("boot the disk", Outcome::Skipped, evidence);
    }
    let dir = journal.dir().to_owned();
    tool(
        &dir,
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-C", "quickstart", "-f", "id"],
    )?;
    let key = std::fs::read_to_string(dir.join("id.pub")).map_err(|error| Failure::unavailable("id.pub", error))?;
    write(&dir, "meta_data.json", &node.metadata(&key))?;
    let port = free_port()?;
    let tls = TlsServer::start(&dir)?;
    let ssh_port = port.to_string();
    let timeout = (seconds + 300).to_string();
    let args = [
        "run",
        "--policy",
        "policy.yml",
        "--ssh-port",
        &ssh_port,
        "--metadata",
        "meta_data.json",
        "--timeout",
        &timeout,
        "out/node.qcow2",
    ];
    let mut machine = Machine::start(journal, &args)?;
    let began = Instant::now();
    let up = machine.wait_for(UP, Duration::from_secs(seconds))?;
    let up_after = began.elapsed().as_secs_f64();
    journal.note(
        "boot the disk",
        Outcome::Ok,
        json!({ "command": format!("imgkit {}", args.join(" ")), "line": up, "seconds": up_after }),
    )?;
    let shell = Shell { dir: &dir, port };
    shell.wait()?;
    let fingerprint = machine.line_with("sshd: host key");
    for (name, evidence) in proofs(&shell, node, &tls, fingerprint)? {
        journal.note(name, Outcome::Ok, evidence)?;
    }
    let optional = machine.line_with("optional, going on").ok_or_else(|| {
        let problem = "the console did not say that the optional container failed and the boot went on";
        Failure::unavailable("onboot", problem)
    })?;
    journal.note(
        "onboot: an optional container fails",
        Outcome::Ok,
        json!({ "line": optional }),
    )?;
    // The connection may break before the answer comes: the node is going down.
    let _ = shell.ask("imgkit-init poweroff");
    let farewell = machine.wait_for(&node.farewell, POWER_OFF)?;
    machine.end()?;
    journal.note("power off", Outcome::Ok, json!({ "exit": 0, "onshutdown": farewell }))
}

/// Asks for each component's proof.
fn proofs(
    shell: &Shell<'_>,
    node: &Node,
    tls: &TlsServer,
    fingerprint: Option<String>,
) -> Result<Vec<(&'static str, Value)>, Failure> {
    let mut proofs = Vec::new();
    let hostname = shell.must("hostname", |answer| answer == node.hostname)?;
    proofs.push((
        "metadata: host name and SSH key",
        json!({ "hostname": hostname, "loginBy": "ed25519 key of this run" }),
    ));
    let offered = shell.host_key()?;
    let console = fingerprint.unwrap_or_default();
    if !console.contains(&offered) {
        return Err(Failure::unavailable(
            "sshd",
            format!("its host key is {offered}; the console said: {console}"),
        ));
    }
    proofs.push(("sshd: host key as the console says", json!({ "fingerprint": offered })));
    let core = shell.must("cat /proc/sys/kernel/core_pattern", |answer| {
        answer == node.core_pattern
    })?;
    proofs.push(("sysctl: kernel.core_pattern", json!({ "value": core })));
    let address = shell.must("ip -4 -o addr show scope global; cat /proc/cmdline", |answer| {
        answer.contains("10.0.2.15") && !answer.contains("ip=")
    })?;
    let resolver = shell.must("cat /run/resolvconf/resolv.conf", |answer| answer.contains("dhcpcd"))?;
    proofs.push((
        "dhcpcd: address of its lease",
        json!({ "address": address, "resolv.conf": resolver }),
    ));
    let fed = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm 2>/dev/null)\" = rngd ] && ls -l $p/fd && grep rchar $p/io; done; true";
    let fed = shell.must(fed, |answer| {
        answer.contains("/dev/hwrng") && answer.contains("/dev/random") && !answer.contains("rchar: 0")
    })?;
    proofs.push(("rngd: feeds what the hardware source gives", json!({ "process": fed })));
    proofs.push((
        "containerd: tasks, one killed and restarted",
        killed_and_restarted(shell)?,
    ));
    proofs.push(("ca-certificates: TLS", tls.ask_from(shell)?));
    Ok(proofs)
}

/// Lists the tasks through containerd's socket, kills one, and waits until it runs again.
fn killed_and_restarted(shell: &Shell<'_>) -> Result<Value, Failure> {
    let pid_of = |tasks: &str| {
        let line = tasks.lines().find(|line| line.split('\t').nth(1) == Some("getty"));
        line.and_then(|line| line.split('\t').nth(2)).map(str::to_owned)
    };
    let before = shell.must("imgkit-init tasks", |answer| pid_of(answer).is_some())?;
    let first = pid_of(&before);
    shell.must("imgkit-init kill getty", |_| true)?;
    let again = |answer: &str| {
        let now = pid_of(answer);
        now.is_some()
            && now != first
            && answer
                .lines()
                .any(|line| line.contains("getty") && line.contains("running"))
    };
    let after = shell.until("imgkit-init tasks", again)?;
    Ok(json!({ "tasks": before.lines().collect::<Vec<_>>(), "pidBefore": first, "pidAfter": pid_of(&after) }))
}

/// The machine that `imgkit run` runs, watched line by line.
struct Machine {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Machine {
    fn start(journal: &Journal<'_>, args: &[&str]) -> Result<Self, Failure> {
        let mut command = journal.command(args)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = child.map_err(|error| Failure::unavailable("imgkit run", error))?;
        let (send, lines) = mpsc::channel();
        if let Some(console) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                    // The receiver is gone when the quickstart is over.
                    let _ = send.send(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
            });
        }
        Ok(Self {
            child,
            lines,
            seen: Vec::new(),
        })
    }

    /// Waits for a line of the console.
    fn wait_for(&mut self, pattern: &str, time: Duration) -> Result<String, Failure> {
        let end = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(pattern) {
                        return Ok(line);
                    }
                }
                Err(error) => {
                    let why = match error {
                        RecvTimeoutError::Timeout => {
                            format!("the console did not show `{pattern}` in {} s", time.as_secs())
                        }
                        RecvTimeoutError::Disconnected => {
                            format!("the machine ended before the console showed `{pattern}`")
                        }
                    };
                    let last = self
                        .seen
                        .iter()
                        .rev()
                        .take(15)
                        .rev()
                        .cloned()
                        .collect::<Vec<_>>()
                        .join("\n  ");
                    return Err(Failure::unavailable(
                        "imgkit run",
                        format!("{why}; its last lines:\n  {last}"),
                    ));
                }
            }
        }
    }

    /// Finds a line that the console showed so far.
    fn line_with(&mut self, pattern: &str) -> Option<String> {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().find(|line| line.contains(pattern)).cloned()
    }

    /// Waits until the machine is off.
    fn end(mut self) -> Result<(), Failure> {
        let status = self
            .child
            .wait()
            .map_err(|error| Failure::unavailable("imgkit run", error))?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::unavailable("imgkit run", format!("it ended with {status}"))),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // QEMU is a child of `imgkit run` and in its process group. Both fail only when all of them have ended.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// A shell on the node.
struct Shell<'a> {
    dir: &'a Path,
    port: u16,
}

impl Shell<'_> {
    fn ssh(&self, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.current_dir(self.dir);
        ssh.args([
            "-F",
            "none",
            "-i",
            "id",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "ConnectTimeout=20",
        ]);
        ssh.args([
            "-o",
            "StrictHostKeyChecking=accept-new",
            "-o",
            "UserKnownHostsFile=known_hosts",
            "-o",
            "LogLevel=ERROR",
        ]);
        ssh.args(["-p", &self.port.to_string(), "root@127.0.0.1", command]);
        ssh
    }

    fn ask(&self, command: &str) -> Result<String, Failure> {
        let output = self.ssh(command).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Failure::unavailable("ssh", error))?;
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.success() {
            true => Ok(answer),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(Failure::unavailable(
                    format!("ssh: {command}"),
                    format!("{}: {answer} {said}", output.status),
                ))
            }
        }
    }

    /// Waits until the node lets this run's key in.
    fn wait(&self) -> Result<(), Failure> {
        self.until("true", |_| true).map(drop)
    }

    fn must(&self, command: &str, good: impl Fn(&str) -> bool) -> Result<String, Failure> {
        let answer = self.ask(command)?;
        match good(&answer) {
            true => Ok(answer),
            false => Err(Failure::unavailable(
                format!("node: {command}"),
                format!("it answered: {answer}"),
            )),
        }
    }

    fn until(&self, command: &str, good: impl Fn(&str) -> bool) -> Result<String, Failure> {
        let end = Instant::now() + ANSWER;
        loop {
            match self.must(command, &good) {
                Err(failure) if Instant::now() >= end => return Err(failure),
                Err(_) => thread::sleep(Duration::from_millis(500)),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// Returns the fingerprint of the host key that the node offered.
    fn host_key(&self) -> Result<String, Failure> {
        let listed = tool(self.dir, "ssh-keygen", &["-l", "-E", "sha256", "-f", "known_hosts"])?;
        let print = listed.split_whitespace().nth(1).unwrap_or_default().to_owned();
        match print.starts_with("SHA256:") {
            true => Ok(print),
            false => Err(Failure::unavailable("known_hosts", listed)),
        }
    }
}

/// A TLS server whose certificate only this run's authority vouches for.
struct TlsServer {
    child: Child,
    port: u16,
    authority: String,
}

impl TlsServer {
    fn start(dir: &Path) -> Result<Self, Failure> {
        let authority = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ];
        let subject = ["-subj", "/CN=imgkit quickstart", "-keyout", "ca.key", "-out", "ca.pem"];
        tool(dir, "openssl", &[&authority[..], &subject].concat())?;
        let subject = [
            "-subj",
            "/CN=10.0.2.2",
            "-addext",
            "subjectAltName=IP:10.0.2.2",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
        ];
        let server = ["-keyout", "tls.key", "-out", "tls.pem"];
        tool(dir, "openssl", &[&authority[..], &subject, &server].concat())?;
        let port = free_port()?;
        let serve = [
            "s_server", "-quiet", "-www", "-cert", "tls.pem", "-key", "tls.key", "-accept",
        ];
        let mut command = Command::new("openssl");
        command.args(serve).arg(format!("127.0.0.1:{port}")).current_dir(dir);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let authority = std::fs::read_to_string(dir.join("ca.pem"));
        Ok(Self {
            child: child.map_err(|error| Failure::unavailable("openssl", error))?,
            port,
            authority: authority.map_err(|error| Failure::unavailable("ca.pem", error))?,
        })
    }

    /// Has the node's debug component connect: it refuses by the shipped authorities alone, and accepts with this run's added.
    fn ask_from(&self, shell: &Shell<'_>) -> Result<Value, Failure> {
        let bundle = "/etc/ssl/certs/ca-certificates.crt";
        let tasks = shell.must("imgkit-init tasks", |answer| answer.contains("debug"))?;
        let debug = tasks.lines().find(|line| line.split('\t').nth(1) == Some("debug"));
        let pid = debug.and_then(|line| line.split('\t').nth(2)).unwrap_or_default();
        let root = format!("chroot /proc/{pid}/root");
        let count = shell.must(
            &format!("{root} /bin/busybox grep -c BEGIN.CERTIFICATE {bundle}"),
            |answer| answer.parse::<u32>().is_ok_and(|count| count > 50),
        )?;
        let curl = |file: &str| {
            format!(
                "{root} /usr/bin/curl -sS -o /dev/null -w %{{http_code}} --max-time 30 --cacert {file} https://10.0.2.2:{}/ 2>&1; true",
                self.port
            )
        };
        let refused = shell.must(&curl(bundle), |answer| answer.contains("certificate"))?;
        let add = format!("{root} /bin/busybox sh -c '/bin/busybox cat {bundle} - >/tmp/quickstart-ca.pem'");
        let given = format!("printf %s '{}' | {add}", self.authority);
        shell.must(&given, |_| true)?;
        let accepted = shell.must(&curl("/tmp/quickstart-ca.pem"), |answer| answer.ends_with("200"))?;
        Ok(json!({ "authorities": count, "shippedAuthoritiesAlone": refused, "withTheTestAuthority": accepted }))
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        // Both fail only when the process has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16, Failure> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    port.map(|address| address.port())
        .map_err(|error| Failure::unavailable("a free port of 127.0.0.1", error))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a tool in the quickstart's directory and returns what it prints.
fn tool(dir: &Path, program: &str, args: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = command.output().map_err(|error| Failure::unavailable(program, error))?;
    let mut said = String::new();
    // Into a String nothing can fail but text that is not UTF-8, which these tools do not print.
    let _ = output.stdout.as_slice().read_to_string(&mut said);
    match output.status.success() {
        true => Ok(said),
        false => Err(Failure::unavailable(program, String::from_utf8_lossy(&output.stderr))),
    }
}
