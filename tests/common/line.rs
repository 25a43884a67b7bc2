//! A line between client and registry that breaks, or is slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Forwards connections to a registry.
pub struct Line {
    host: String,
    sent: Arc<AtomicU64>,
}

/// What a line does to the bytes that come back.
#[derive(Clone, Copy)]
pub enum Fault {
    /// The first `times` connections that carry more than `after` bytes break there.
    Breaks { after: u64, times: usize },
    /// Each 16 KiB take this long.
    Slow(Duration),
}

impl Line {
    pub fn to(upstream: &str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let sent = Arc::new(AtomicU64::new(0));
        let (upstream, counter) = (upstream.to_owned(), Arc::clone(&sent));
        let broken = Arc::new(AtomicUsize::new(0));
        // Both threads end with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&upstream) else {
                    continue;
                };
                let (counter, broken) = (Arc::clone(&counter), Arc::clone(&broken));
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || copy(from, to, |_| true));
                std::thread::spawn(move || {
                    let mut total = 0;
                    copy(server, client, |n| {
                        total += n as u64;
                        counter.fetch_add(n as u64, Ordering::SeqCst);
                        pass(fault, &broken, total)
                    });
                });
            }
        });
        Self { host, sent }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns how many bytes came back over the line, headers included.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// Decides whether a connection that has carried `total` bytes goes on.
fn pass(fault: Fault, broken: &AtomicUsize, total: u64) -> bool {
    match fault {
        Fault::Breaks { after, times } => total < after || broken.fetch_add(1, Ordering::SeqCst) >= times,
        Fault::Slow(pause) => {
            std::thread::sleep(pause);
            true
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(usize) -> bool) {
    let mut buffer = [0; 1 << 14];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).is_err() || !goes_on(n) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
