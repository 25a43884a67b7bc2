//! The node's life: prepare, load modules, run `onboot`, bring containerd and the services up, wait for a request, end.
//!
//! What does not depend on another step runs beside it: modules load while containerd starts, if its options let it start early.

use std::convert::Infallible;
use std::time::Duration;
use std::{io, thread};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::console::Console;
use crate::containerd::client::Client;
use crate::containerd::daemon::{self, Daemon};
use crate::control::{PowerButtons, Request, Requests};
use crate::error::{Context, Error};
use crate::modules::{self, Hotplug, Modules};
use crate::reaper::Reaper;
use crate::services::{self, Services};
use crate::{containerd, onboot, rootfs, shutdown, system, volumes};

/// How long `onshutdown` may take: a machine that was told to go must go.
const ONSHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);

/// What runs on the node.
struct Node {
    console: Console,
    reaper: Reaper,
    services: Option<Services>,
}

/// Lives the node's life as process 1.
pub(crate) fn live() -> ! {
    // The kernel's own file system has a console; what is mounted on /dev in this step hides it behind the same one.
    let console = Console::open();
    console.line(concat!("imgkit ", env!("CARGO_PKG_VERSION")));
    let step = console.begin("root file system");
    let prepared = rootfs::prepare();
    let console = Console::open();
    let request = prepared.and_then(|attributes| {
        step.done_with(format_args!("{attributes} extended attributes"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing("start the runtime")?;
        let request = runtime.block_on(until_asked_to_end(&console));
        // Threads that wait for devices must not hold the end up.
        runtime.shutdown_background();
        request
    });
    match request {
        Ok(request) => shutdown::end(request, &console),
        Err(error) => shutdown::give_up(&error, &console),
    }
}

/// Boots, serves and stops; returns how to end.
async fn until_asked_to_end(console: &Console) -> Result<Request, Error> {
    let mut requests = Requests::listen()?;
    let mut node = Node {
        console: console.clone(),
        reaper: Reaper::start()?,
        services: None,
    };
    let buttons = requests.power_buttons();
    let request = tokio::select! {
        request = requests.next() => request,
        failure = node.run(buttons) => match failure? {},
    };
    console.line(format_args!("{} requested", request.word()));
    node.stop().await;
    Ok(request)
}

impl Node {
    /// Boots and serves; ends only by failing.
    async fn run(&mut self, buttons: PowerButtons) -> Result<Infallible, Error> {
        let modules = self.load_modules();
        self.step("system", system::prepare)?;
        let mut daemon = Daemon::installed()?;
        let early = daemon.take_if(|daemon| daemon.early).map(|daemon| self.start(daemon));

        let hotplug = modules.await.map_err(io::Error::other).doing("load modules")??;
        thread::spawn(move || hotplug.follow());
        buttons.watch();
        self.step("host name", system::set_hostname)?;
        self.step("volumes", volumes::prepare)?;
        onboot::run("onboot", &self.reaper, &self.console).await?;

        let Some(mut containerd) = early.or_else(|| daemon.map(|daemon| self.start(daemon))) else {
            services::none_without_containerd()?;
            self.console.line("all services up");
            return std::future::pending().await;
        };
        let failure = tokio::select! {
            failure = &mut containerd => failure,
            result = self.serve() => {
                result?;
                self.console.line("all services up");
                containerd.await
            }
        };
        Err(failure.unwrap_or_else(|cause| Error::System {
            action: "look after containerd",
            source: io::Error::other(cause),
        }))
    }

    /// Does one short step of the boot between two lines on the console.
    fn step(&self, name: &str, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let step = self.console.begin(name);
        match work() {
            Ok(()) => step.done(),
            Err(error) => {
                step.failed(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Loads the modules that the image names, and those of the devices that are there, on a thread of their own.
    fn load_modules(&self) -> JoinHandle<Result<Hotplug, Error>> {
        let console = self.console.clone();
        spawn_blocking(move || {
            let step = console.begin("modules");
            let mut hotplug = Hotplug::subscribe(Modules::of_running_kernel())?;
            for error in hotplug.load_wanted(&modules::wanted()) {
                console.line(format_args!("modules: FAILED: {error}"));
            }
            let passes = hotplug.load_present();
            step.done_with(format_args!("{passes} passes"));
            Ok(hotplug)
        })
    }

    /// Starts containerd and looks after it from now on.
    fn start(&self, daemon: Daemon) -> JoinHandle<Error> {
        tokio::spawn(daemon.supervise(self.reaper.clone(), self.console.clone()))
    }

    /// Waits for containerd and brings the services up.
    async fn serve(&mut self) -> Result<(), Error> {
        let step = self.console.begin("containerd");
        daemon::ready().await?;
        step.done();
        let (services, all_up) = Services::start(&Client::new(containerd::SOCKET), &self.console)?;
        self.services = Some(services);
        all_up.await;
        Ok(())
    }

    /// Ends the services and runs `onshutdown`; nothing that fails here may keep the machine on.
    async fn stop(&mut self) {
        if let Some(services) = self.services.take() {
            let step = self.console.begin("stop services");
            services.stop().await;
            step.done();
        }
        match timeout(
            ONSHUTDOWN_PATIENCE,
            onboot::run("onshutdown", &self.reaper, &self.console),
        )
        .await
        {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.console.line(format_args!("onshutdown: FAILED: {error}")),
            Err(_) => self.console.line(format_args!(
                "onshutdown: FAILED: not done within {} s",
                ONSHUTDOWN_PATIENCE.as_secs()
            )),
        }
    }
}
