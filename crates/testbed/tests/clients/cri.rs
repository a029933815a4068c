//! As much of the Container Runtime Interface (`runtime.v1`) as a kubelet needs for a pod's network: one gRPC
//! call at a time, over a Unix socket.

use bytes::Bytes;
use h2::RecvStream;
use prost::Message;
use std::error::Error;

const SOCKET: &str = "/run/containerd/containerd.sock";
/// Before each message: not compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

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

/// Stops a pod, which takes its network away.
pub fn stop_pod(id: &str) {
    let _: Nothing = must(call("StopPodSandbox", &Id { id: id.to_owned() }), id);
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

fn must<T>(result: Result<T>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn call<A: Message + Default>(method: &str, request: &impl Message) -> Result<A> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let bytes = runtime.block_on(exchange(method, request.encode_to_vec()))?;
    Ok(A::decode(bytes)?)
}

async fn exchange(method: &str, message: Vec<u8>) -> Result<Bytes> {
    let socket = tokio::net::UnixStream::connect(SOCKET).await?;
    let (client, connection) = h2::client::handshake(socket).await?;
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (answer, mut body) = client.ready().await?.send_request(request, false)?;
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    body.send_data(framed.into(), true)?;
    let answer = answer.await?;
    let headers = answer.headers().clone();
    let (bytes, trailers) = read(answer.into_body()).await?;
    let status = |name: &str| trailers.get(name).or(headers.get(name)).and_then(|value| value.to_str().ok());
    match status("grpc-status") {
        Some("0") => Ok(bytes.get(PREFIX..).map(Bytes::copy_from_slice).unwrap_or_default()),
        code => Err(format!("{method}: status {code:?}: {:?}", status("grpc-message")).into()),
    }
}

async fn read(mut body: RecvStream) -> Result<(Vec<u8>, http::HeaderMap)> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend(chunk);
    }
    Ok((bytes, body.trailers().await?.unwrap_or_default()))
}
