//! gRPC over a Unix socket, as clients speak it: one call at a time.

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use prost::Message;
use std::error::Error;
use std::time::Duration;
use tokio::net::UnixStream;

/// Before each message: not compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Calls a method, and waits for its answer. The error is the status that was answered, in words.
pub fn call<A: Message + Default>(
    socket: &str,
    path: &str,
    request: &impl Message,
) -> std::result::Result<A, String> {
    let done = runtime().block_on(exchange(socket, path, request.encode_to_vec()));
    done.and_then(|bytes| Ok(A::decode(bytes)?)).map_err(|error| format!("{path}: {error}"))
}

/// Calls a method, and hangs up after so long without having heard the answer.
pub fn hang_up(socket: &str, path: &str, request: &impl Message, after: Duration) {
    let message = request.encode_to_vec();
    runtime().block_on(async {
        let answer = send(socket, path, message).await.expect("send a call");
        tokio::task::spawn_blocking(move || std::thread::sleep(after)).await.expect("sleep");
        drop(answer);
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime")
}

async fn send(socket: &str, path: &str, message: Vec<u8>) -> Result<(ResponseFuture, SendRequest<Bytes>)> {
    let (client, connection) = h2::client::handshake(UnixStream::connect(socket).await?).await?;
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut client = client.ready().await?;
    let (answer, mut body) = client.send_request(request, false)?;
    let length = (message.len() as u32).to_be_bytes();
    body.send_data([&[0], &length[..], &message].concat().into(), true)?;
    Ok((answer, client))
}

async fn exchange(socket: &str, path: &str, message: Vec<u8>) -> Result<Bytes> {
    let (answer, _client) = send(socket, path, message).await?;
    let answer = answer.await?;
    let headers = answer.headers().clone();
    let (bytes, trailers) = read(answer.into_body()).await?;
    let status = |name: &str| trailers.get(name).or(headers.get(name)).and_then(|value| value.to_str().ok());
    match status("grpc-status") {
        Some("0") => Ok(bytes.get(PREFIX..).map(Bytes::copy_from_slice).unwrap_or_default()),
        code => Err(format!("status {code:?}: {:?}", status("grpc-message")).into()),
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
