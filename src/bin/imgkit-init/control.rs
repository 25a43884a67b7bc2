//! Requests to end: signals, the power button, and a socket that only root can open.
//!
//! The socket works from containers that have `/run` bound, where a signal to process 1 would reach their own. It takes one line,
//! `poweroff` or `reboot`, and answers `ok`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::error::{Context, Error};

/// Where requests are taken.
pub(crate) const SOCKET: &str = "/run/imgkit-init.sock";

/// Longest request, `poweroff` with a newline, and room to see that one is too long.
const REQUEST_BYTES: u64 = 16;

/// Size of one event of an input device (struct input_event on 64 bits).
const EVENT_BYTES: usize = 24;
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;

/// How the node is to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Request {
    /// Power off.
    PowerOff,
    /// Start again.
    Reboot,
}

/// Requests as they come in.
pub(crate) struct Requests {
    sender: UnboundedSender<Request>,
    receiver: UnboundedReceiver<Request>,
}

/// Passes a pressed power button on as a request.
pub(crate) struct PowerButtons(UnboundedSender<Request>);

impl Request {
    /// Returns the request's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Request::PowerOff => "poweroff",
            Request::Reboot => "reboot",
        }
    }

    /// Reads a request's word, with or without a newline.
    fn parse(text: &[u8]) -> Option<Request> {
        let word = text.strip_suffix(b"\n").unwrap_or(text);
        [Request::PowerOff, Request::Reboot]
            .into_iter()
            .find(|request| request.word().as_bytes() == word)
    }
}

impl Requests {
    /// Begins to listen for signals and at the socket.
    pub(crate) fn listen() -> Result<Requests, Error> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let by_signal = [
            (Signal::TERM, Request::PowerOff),
            (Signal::POWER, Request::PowerOff),
            (Signal::INT, Request::Reboot),
        ];
        for (number, request) in by_signal {
            let mut arrivals = signal(SignalKind::from_raw(number.as_raw())).doing("listen for signals")?;
            let sender = sender.clone();
            tokio::spawn(async move { while arrivals.recv().await.is_some() && sender.send(request).is_ok() {} });
        }
        let listener = UnixListener::bind(SOCKET).at("listen at", SOCKET)?;
        fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o600)).at("set the mode of", SOCKET)?;
        let socket_sender = sender.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, socket_sender.clone()));
            }
        });
        Ok(Requests { sender, receiver })
    }

    /// Returns what watches the power buttons, for when the input devices' modules are loaded.
    pub(crate) fn power_buttons(&self) -> PowerButtons {
        PowerButtons(self.sender.clone())
    }

    /// Waits for a request.
    pub(crate) async fn next(&mut self) -> Request {
        match self.receiver.recv().await {
            Some(request) => request,
            // Not possible: `sender` lives as long as this does.
            None => std::future::pending().await,
        }
    }
}

impl PowerButtons {
    /// Begins to watch the buttons that are there now.
    pub(crate) fn watch(self) {
        for path in power_buttons(Path::new("/sys/class/input")) {
            let sender = self.0.clone();
            // A read blocks until the button is pressed, for as long as the node runs.
            std::thread::spawn(move || {
                if File::open(path).is_ok_and(pressed) {
                    let _ = sender.send(Request::PowerOff);
                }
            });
        }
    }
}

/// Asks PID 1 to end the node, from another process.
pub(crate) async fn ask(request: Request) -> Result<(), Error> {
    let mut stream = UnixStream::connect(SOCKET).await.at("connect to", SOCKET)?;
    stream
        .write_all(request.word().as_bytes())
        .await
        .at("write to", SOCKET)?;
    stream.shutdown().await.at("write to", SOCKET)?;
    let mut answer = String::new();
    stream
        .take(REQUEST_BYTES)
        .read_to_string(&mut answer)
        .await
        .at("read from", SOCKET)?;
    if answer == "ok\n" {
        Ok(())
    } else {
        Err(std::io::Error::other("the request was not understood")).at("use", SOCKET)
    }
}

/// Reads one request from a connection and passes it on.
async fn answer(mut stream: UnixStream, sender: UnboundedSender<Request>) {
    let mut text = Vec::new();
    let read = (&mut stream).take(REQUEST_BYTES).read_to_end(&mut text).await;
    let request = read.ok().and_then(|_| Request::parse(&text));
    let _ = stream
        .write_all(if request.is_some() { b"ok\n" } else { b"what?\n" })
        .await;
    if let Some(request) = request {
        let _ = sender.send(request);
    }
}

/// Lists the devices whose driver calls them a power button.
fn power_buttons(class: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let buttons = entries.filter(|entry| {
        let name = fs::read_to_string(entry.path().join("device/name")).unwrap_or_default();
        name.trim_end() == "Power Button"
    });
    let names = buttons
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("event"));
    names.map(|name| Path::new("/dev/input").join(name)).collect()
}

/// Reads events until the power key goes down (true) or the device goes away.
fn pressed(mut device: impl Read) -> bool {
    let mut event = [0; EVENT_BYTES];
    while device.read_exact(&mut event).is_ok() {
        let [.., k0, k1, c0, c1, v0, v1, v2, v3] = event;
        let key = (u16::from_ne_bytes([k0, k1]), u16::from_ne_bytes([c0, c1]));
        if key == (EV_KEY, KEY_POWER) && i32::from_ne_bytes([v0, v1, v2, v3]) == 1 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn understands_its_two_words_and_nothing_else() {
        assert_eq!(Request::parse(b"poweroff\n"), Some(Request::PowerOff));
        assert_eq!(Request::parse(b"reboot"), Some(Request::Reboot));
        assert_eq!(Request::parse(b"reboot now"), None);
        assert_eq!(Request::parse(b""), None);
    }

    #[test]
    fn hears_the_power_key_going_down_only() {
        let (other, up, sync, down) = (
            event(1, 30, 1),
            event(1, KEY_POWER, 0),
            event(0, 0, 0),
            event(1, KEY_POWER, 1),
        );
        assert!(pressed(
            [other.clone(), up.clone(), sync.clone(), down].concat().as_slice()
        ));
        assert!(!pressed([other, up, sync].concat().as_slice()));
    }

    #[test]
    fn finds_power_buttons_by_their_drivers_name() {
        let class = tempfile::tempdir().unwrap();
        for (event, name) in [
            ("event0", "Power Button\n"),
            ("event1", "AT Translated Set 2 keyboard\n"),
            ("input3", "Power Button\n"),
        ] {
            fs::create_dir_all(class.path().join(event).join("device")).unwrap();
            fs::write(class.path().join(event).join("device/name"), name).unwrap();
        }
        assert_eq!(power_buttons(class.path()), [Path::new("/dev/input/event0")]);
    }
}
