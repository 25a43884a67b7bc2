//! The part of containerd's API that runs containers from directories: no images, no snapshots, no content store.

use hyper_util::rt::TokioIo;
use prost_types::Any;
use rustix::process::Signal;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::api::services::containers::v1::containers_client::ContainersClient;
use super::api::services::containers::v1::{
    Container, CreateContainerRequest, DeleteContainerRequest, container::Runtime,
};
use super::api::services::namespaces::v1::ListNamespacesRequest;
use super::api::services::namespaces::v1::namespaces_client::NamespacesClient;
use super::api::services::tasks::v1::tasks_client::TasksClient;
use super::api::services::tasks::v1::{
    CreateTaskRequest, DeleteTaskRequest, GetRequest, KillRequest, ListTasksRequest, StartRequest, WaitRequest,
};
use super::api::v1::types::{Process, Status as State};
use crate::error::Error;

/// What containerd calls an OCI configuration.
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// The shim that runs containers with runc.
const RUNTIME: &str = "io.containerd.runc.v2";
/// The header that every call carries.
const NAMESPACE_HEADER: &str = "containerd-namespace";

/// A connection; clones share it, and it is made again when containerd was.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
}

/// A container's process, as containerd tells it.
#[derive(Debug, PartialEq)]
pub(crate) struct Task {
    /// containerd's namespace.
    pub(crate) namespace: String,
    /// The container's identifier.
    pub(crate) id: String,
    /// The process's number on the node; 0 when there is none.
    pub(crate) pid: u32,
    /// Whether it is created, running, stopped …
    pub(crate) state: State,
}

impl Client {
    /// Connects to a socket when the first call is made.
    pub(crate) fn new(socket: &'static str) -> Client {
        // The address is never looked up: the connector below decides where to.
        let endpoint = Endpoint::from_static("http://containerd");
        let connector = tower::service_fn(move |_| async move { UnixStream::connect(socket).await.map(TokioIo::new) });
        Client {
            channel: endpoint.connect_with_connector_lazy(connector),
        }
    }

    /// Registers a container; one of that name from an earlier containerd is replaced.
    pub(crate) async fn create_container(
        &self,
        namespace: &str,
        id: &str,
        spec: &serde_json::Value,
    ) -> Result<(), Error> {
        let mut containers = ContainersClient::new(self.channel.clone());
        let container = Container {
            id: id.to_owned(),
            runtime: Some(Runtime {
                name: RUNTIME.to_owned(),
                options: None,
            }),
            spec: Some(Any {
                type_url: SPEC_TYPE.to_owned(),
                value: spec.to_string().into_bytes(),
            }),
            ..Container::default()
        };
        let removal = DeleteContainerRequest { id: id.to_owned() };
        absent_is_fine(containers.delete(with(namespace, removal)?).await).map_err(failure("containers.delete"))?;
        let request = CreateContainerRequest {
            container: Some(container),
        };
        containers
            .create(with(namespace, request)?)
            .await
            .map_err(failure("containers.create"))?;
        Ok(())
    }

    /// Creates a container's process, which waits to be started; returns its number.
    ///
    /// Both streams go to the file at `log`.
    pub(crate) async fn create_task(&self, namespace: &str, id: &str, log: &str) -> Result<u32, Error> {
        let log = format!("file://{log}");
        let request = CreateTaskRequest {
            container_id: id.to_owned(),
            stdout: log.clone(),
            stderr: log,
            ..CreateTaskRequest::default()
        };
        let answer = match self.tasks().create(with(namespace, request.clone())?).await {
            // A containerd that died while it made the task left a shim without one, which `get` does not see.
            Err(status) if status.code() == Code::AlreadyExists => {
                self.delete_task(namespace, id).await?;
                self.tasks().create(with(namespace, request)?).await
            }
            answer => answer,
        };
        Ok(answer.map_err(failure("tasks.create"))?.into_inner().pid)
    }

    /// Lets a created process run.
    pub(crate) async fn start_task(&self, namespace: &str, id: &str) -> Result<(), Error> {
        let request = StartRequest {
            container_id: id.to_owned(),
            exec_id: String::new(),
        };
        self.tasks()
            .start(with(namespace, request)?)
            .await
            .map_err(failure("tasks.start"))?;
        Ok(())
    }

    /// Waits for a process to end; returns its exit status, 128 + N after signal N.
    pub(crate) async fn wait_task(&self, namespace: &str, id: &str) -> Result<u32, Error> {
        let request = WaitRequest {
            container_id: id.to_owned(),
            exec_id: String::new(),
        };
        let answer = self
            .tasks()
            .wait(with(namespace, request)?)
            .await
            .map_err(failure("tasks.wait"))?;
        Ok(answer.into_inner().exit_status)
    }

    /// Signals a container's processes; one that has ended is no error.
    pub(crate) async fn kill_task(&self, namespace: &str, id: &str, signal: Signal) -> Result<(), Error> {
        let request = KillRequest {
            container_id: id.to_owned(),
            exec_id: String::new(),
            signal: signal.as_raw().cast_unsigned(),
            all: false,
        };
        absent_is_fine(self.tasks().kill(with(namespace, request)?).await).map_err(failure("tasks.kill"))
    }

    /// Forgets a process that has ended.
    pub(crate) async fn delete_task(&self, namespace: &str, id: &str) -> Result<(), Error> {
        let request = DeleteTaskRequest {
            container_id: id.to_owned(),
        };
        absent_is_fine(self.tasks().delete(with(namespace, request)?).await).map_err(failure("tasks.delete"))
    }

    /// Returns a container's task, if it has one.
    pub(crate) async fn task(&self, namespace: &str, id: &str) -> Result<Option<Task>, Error> {
        let request = GetRequest {
            container_id: id.to_owned(),
            exec_id: String::new(),
        };
        match self.tasks().get(with(namespace, request)?).await {
            Ok(answer) => Ok(answer.into_inner().process.map(|process| Task::new(namespace, process))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failure("tasks.get")(status)),
        }
    }

    /// Lists the tasks of all namespaces.
    pub(crate) async fn all_tasks(&self) -> Result<Vec<Task>, Error> {
        let mut namespaces = NamespacesClient::new(self.channel.clone());
        let answer = namespaces
            .list(ListNamespacesRequest::default())
            .await
            .map_err(failure("namespaces.list"))?;
        let mut all = Vec::new();
        for namespace in answer.into_inner().namespaces {
            let request = ListTasksRequest::default();
            let answer = self
                .tasks()
                .list(with(&namespace.name, request)?)
                .await
                .map_err(failure("tasks.list"))?;
            all.extend(
                answer
                    .into_inner()
                    .tasks
                    .into_iter()
                    .map(|process| Task::new(&namespace.name, process)),
            );
        }
        Ok(all)
    }

    fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel.clone())
    }
}

impl Task {
    fn new(namespace: &str, process: Process) -> Task {
        let state = process.status();
        // `Get` fills in `container_id`, `List` only `id`.
        let id = if process.container_id.is_empty() {
            process.id
        } else {
            process.container_id
        };
        Task {
            namespace: namespace.to_owned(),
            id,
            pid: process.pid,
            state,
        }
    }

    /// Says whether the process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.state == State::Running
    }
}

/// Puts the namespace's header on a message.
fn with<T>(namespace: &str, message: T) -> Result<Request<T>, Error> {
    let mut request = Request::new(message);
    let value = namespace.parse().map_err(|_| Error::Containerd {
        call: "containerd-namespace",
        code: Code::InvalidArgument,
        message: format!("{namespace:?} is no namespace"),
    })?;
    request.metadata_mut().insert(NAMESPACE_HEADER, value);
    Ok(request)
}

/// Names the call that failed, and tells containerd's own errors from its absence.
fn failure(call: &'static str) -> impl FnOnce(Status) -> Error {
    move |status| {
        let cause = std::error::Error::source(&status);
        if status.code() == Code::Unavailable || cause.is_some_and(|cause| cause.is::<tonic::transport::Error>()) {
            return Error::ContainerdGone { call };
        }
        Error::Containerd {
            call,
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

/// What is not there needs no ending and no removal.
fn absent_is_fine<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.code() != Code::NotFound => Err(status),
        _ => Ok(()),
    }
}
