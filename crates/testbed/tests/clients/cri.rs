//! As much of the Container Runtime Interface (`runtime.v1`) as a kubelet needs for a pod's network: one gRPC
//! call at a time, over a Unix socket.

use prost::Message;
use qiao_testbed::grpc;

const SOCKET: &str = "/run/containerd/containerd.sock";

#[derive(Clone, PartialEq, Message)]
pub struct PortMapping {
    /// 0 is TCP, 1 UDP, 2 SCTP.
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    #[prost(int32, tag = "2")]
    pub container_port: i32,
    #[prost(int32, tag = "3")]
    pub host_port: i32,
    #[prost(string, tag = "4")]
    pub host_ip: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Metadata>,
    #[prost(string, tag = "2")]
    pub hostname: String,
    #[prost(string, tag = "3")]
    pub log_directory: String,
    #[prost(message, repeated, tag = "5")]
    pub port_mappings: Vec<PortMapping>,
}

#[derive(Clone, PartialEq, Message)]
struct RunRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<SandboxConfig>,
}

/// `StopPodSandbox`, `RemovePodSandbox` and `PodSandboxStatus` begin with it, and so does what `RunPodSandbox` answers.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<SandboxStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxStatus {
    #[prost(message, optional, tag = "5")]
    network: Option<Network>,
}

#[derive(Clone, PartialEq, Message)]
struct Network {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(message, repeated, tag = "2")]
    additional: Vec<Ip>,
}

#[derive(Clone, PartialEq, Message)]
struct Ip {
    #[prost(string, tag = "1")]
    ip: String,
}

/// Runs a pod's sandbox; its ID.
pub fn run_pod(name: &str, ports: &[PortMapping]) -> String {
    let metadata =
        Metadata { name: name.into(), uid: format!("uid-{name}"), namespace: "default".into(), attempt: 0 };
    let config = SandboxConfig {
        metadata: Some(metadata),
        hostname: name.into(),
        log_directory: format!("/run/log-{name}"),
        port_mappings: ports.to_vec(),
    };
    let answer: Id = must(call("RunPodSandbox", &RunRequest { config: Some(config) }), name);
    answer.id
}

/// Stops a pod, which takes its network away. As kubelet does it is tried again where containerd loses its shim, which
/// ends just then with the last process of the pod.
pub fn stop_pod(id: &str) {
    let stop = || call::<Nothing>("StopPodSandbox", &Id { id: id.to_owned() });
    let mut stopped = stop();
    if stopped.as_ref().is_err_and(|error| error.contains("ttrpc: closed")) {
        std::thread::sleep(std::time::Duration::from_secs(1));
        stopped = stop();
    }
    let _: Nothing = must(stopped, id);
}

/// Removes a pod that was stopped.
pub fn remove_pod(id: &str) {
    let _: Nothing = must(call("RemovePodSandbox", &Id { id: id.to_owned() }), id);
}

/// The addresses that a pod is said to have.
pub fn addresses(id: &str) -> Vec<String> {
    let answer: StatusAnswer = must(call("PodSandboxStatus", &Id { id: id.to_owned() }), id);
    let network = answer.status.and_then(|status| status.network).unwrap_or_default();
    std::iter::once(network.ip).chain(network.additional.into_iter().map(|ip| ip.ip)).collect()
}

fn must<T>(result: Result<T, String>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn call<A: Message + Default>(method: &str, request: &impl Message) -> Result<A, String> {
    grpc::call(SOCKET, &format!("/runtime.v1.RuntimeService/{method}"), request)
}
