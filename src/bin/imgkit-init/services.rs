//! Services: containers that containerd runs, all started at once, each started again when it dies.

use std::future::Future;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::bundle::Bundle;
use crate::console::{Console, Step};
use crate::containerd::client::Client;
use crate::containerd::daemon;
use crate::error::Error;

const FOLDER: &str = "/containers/services";
/// LinuxKit's namespace for services.
const NAMESPACE: &str = "services.linuxkit";
/// How long services may take to end by themselves; LinuxKit gives them as long.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait before a containerd that died is called again.
const SETTLE: Duration = Duration::from_millis(100);
/// How long a killed service may take to be gone.
const GRACE_KILLED: Duration = Duration::from_secs(2);

/// The services of the node and the tasks that look after them.
pub(crate) struct Services {
    client: Client,
    names: Vec<(String, String)>,
    supervisors: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

/// One service and what its supervisor needs.
struct Service {
    bundle: Bundle,
    client: Client,
    console: Console,
    stopping: watch::Receiver<bool>,
}

/// Makes sure that an image without containerd has no services that would silently be left out.
pub(crate) fn none_without_containerd() -> Result<(), Error> {
    match Bundle::all_in(FOLDER)?.first() {
        None => Ok(()),
        Some(bundle) => Err(Error::Unsupported {
            path: bundle.path().to_owned(),
            found: "a service in an image without /usr/bin/containerd".to_owned(),
            supported: "services together with a containerd component",
        }),
    }
}

impl Services {
    /// Starts all services; the future ends when each has been up once.
    pub(crate) fn start(
        client: &Client,
        console: &Console,
    ) -> Result<(Services, impl Future<Output = ()> + use<>), Error> {
        let (stopping, _) = watch::channel(false);
        let mut services = Services {
            client: client.clone(),
            names: Vec::new(),
            supervisors: JoinSet::new(),
            stopping,
        };
        let mut starts = Vec::new();
        for bundle in Bundle::all_in(FOLDER)? {
            let service = Service {
                bundle,
                client: client.clone(),
                console: console.clone(),
                stopping: services.stopping.subscribe(),
            };
            services
                .names
                .push((service.namespace().to_owned(), service.bundle.id.clone()));
            let (up, first_start) = oneshot::channel();
            starts.push(first_start);
            services.supervisors.spawn(service.supervise(up));
        }
        let all_up = async move {
            for start in starts {
                // A supervisor that ends without a start does so only because the node is being stopped.
                let _ = start.await;
            }
        };
        Ok((services, all_up))
    }

    /// Ends all services: first by request, then by force.
    pub(crate) async fn stop(mut self) {
        self.stopping.send_replace(true);
        for (signal, grace) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE_KILLED)] {
            let kills = self
                .names
                .iter()
                .map(|(namespace, id)| self.client.kill_task(namespace, id, signal));
            // A service that does not hear this is killed next, and at last with everything else.
            let _ = timeout(GRACE_KILLED, futures_util::future::join_all(kills)).await;
            let all_ended = async { while self.supervisors.join_next().await.is_some() {} };
            if timeout(grace, all_ended).await.is_ok() {
                return;
            }
        }
    }
}

impl Service {
    /// Keeps the service running until the node is stopped.
    async fn supervise(self, up: oneshot::Sender<()>) {
        let name = self.bundle.name();
        let mut first = Some((self.console.begin(format!("service {name}")), up));
        let mut prepared = false;
        let mut backoff = Backoff::default();
        let mut stopping = self.stopping.clone();
        loop {
            let began = Instant::now();
            let result = self.run_once(&mut prepared, &mut first).await;
            if *self.stopping.borrow() {
                return;
            }
            let outcome = match result {
                Ok(0) if self.bundle.is_oneshot() => {
                    return self.console.line(format_args!("service {name}: ended, exit status 0"));
                }
                // Its supervisor reports containerd's end; the service itself may well be running.
                Err(Error::ContainerdGone { .. }) => {
                    sleep(SETTLE).await;
                    daemon::ready().await.unwrap_or_else(|error| self.console.line(error));
                    continue;
                }
                Ok(status) => format!("ended, exit status {status}"),
                Err(error) => format!("FAILED: {error}"),
            };
            let pause = backoff.after(began.elapsed());
            self.console.line(format_args!(
                "service {name}: {outcome}, again in {:.1} s",
                pause.as_secs_f64()
            ));
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Brings the service up and waits for its end; returns its exit status.
    async fn run_once(
        &self,
        prepared: &mut bool,
        first: &mut Option<(Step, oneshot::Sender<()>)>,
    ) -> Result<u32, Error> {
        let (namespace, id) = (self.namespace(), self.bundle.id.as_str());
        if !*prepared {
            // What was half prepared is taken away, so that the next try finds no mount on top of another.
            self.bundle.prepare().inspect_err(|_| self.bundle.clean_up())?;
            *prepared = true;
        }
        let survivor = self.survivor().await?;
        let pid = match survivor {
            Some(pid) => pid,
            None => self.start().await?,
        };
        match first.take() {
            Some((step, up)) => {
                step.done_with(format_args!("pid {pid}"));
                let _ = up.send(());
            }
            None => {
                let how = if survivor.is_some() {
                    "still running"
                } else {
                    "restarted"
                };
                self.console
                    .line(format_args!("service {}: {how}, pid {pid}", self.bundle.name()));
            }
        }
        let status = self.client.wait_task(namespace, id).await?;
        self.client.delete_task(namespace, id).await?;
        Ok(status)
    }

    /// Returns the process that outlived a containerd that died; removes what is left of one that did not.
    async fn survivor(&self) -> Result<Option<u32>, Error> {
        let (namespace, id) = (self.namespace(), self.bundle.id.as_str());
        match self.client.task(namespace, id).await? {
            Some(task) if task.is_running() => return Ok(Some(task.pid)),
            Some(_) => {
                self.client.kill_task(namespace, id, Signal::KILL).await?;
                self.client.delete_task(namespace, id).await?;
            }
            None => {}
        }
        Ok(None)
    }

    /// Makes the container and starts its process; returns the process's number.
    async fn start(&self) -> Result<u32, Error> {
        let (namespace, id) = (self.namespace(), self.bundle.id.as_str());
        self.client.create_container(namespace, id, &self.bundle.spec()).await?;
        let pid = self
            .client
            .create_task(namespace, id, &format!("/var/log/{id}.log"))
            .await?;
        self.bundle.prepare_process(pid)?;
        self.client.start_task(namespace, id).await?;
        Ok(pid)
    }

    fn namespace(&self) -> &str {
        self.bundle.namespace().unwrap_or(NAMESPACE)
    }
}
