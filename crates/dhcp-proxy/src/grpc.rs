//! gRPC over HTTP/2: calls with one message each way ("gRPC over HTTP2", "Requests" and "Responses").

use crate::service::{INTERNAL, INVALID_ARGUMENT, Service, Status};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::UnixStream;

/// Before each message: not compressed, and its length ("Length-Prefixed-Message").
const PREFIX: usize = 5;
/// The longest message that is read.
const LONGEST: usize = 1 << 16;

/// Serves one connection until it ends.
pub async fn connection(stream: UnixStream, service: Arc<Service>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(call(request, respond, Arc::clone(&service)));
    }
}

async fn call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, service: Arc<Service>) {
    let path = request.uri().path().to_owned();
    let message = match read(request.into_body()).await {
        Ok(message) => message,
        Err(status) => return drop(refuse(&mut respond, &status)),
    };
    let (again, method, asked) = (Arc::clone(&service), path.clone(), message.clone());
    // A server is waited for there: others are heard meanwhile.
    let done = tokio::task::spawn_blocking(move || again.call(&method, &asked)).await;
    let done = done.unwrap_or_else(|error| Err(Status { code: INTERNAL, message: error.to_string() }));
    let heard = match &done {
        Ok(answer) => !is_gone(&mut respond).await && send(&mut respond, answer).is_ok(),
        Err(status) => refuse(&mut respond, status).is_ok(),
    };
    if !heard && done.is_ok() {
        let _ = tokio::task::spawn_blocking(move || service.undo(&path, &message)).await;
    }
}

/// Whether whoever asked does not listen any more.
async fn is_gone(respond: &mut SendResponse<Bytes>) -> bool {
    poll_fn(|context| Poll::Ready(respond.poll_reset(context).is_ready())).await
}

/// The message of a call.
async fn read(mut body: RecvStream) -> Result<Vec<u8>, Status> {
    let wrong = |message: String| Status { code: INVALID_ARGUMENT, message };
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| wrong(error.to_string()))?;
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LONGEST {
            return Err(wrong(format!("a message is longer than {LONGEST} bytes")));
        }
    }
    let head = bytes.split_first_chunk::<PREFIX>();
    match head {
        Some(([0, length @ ..], message)) if u32::from_be_bytes(*length) as usize == message.len() => {
            Ok(message.to_vec())
        }
        Some(([1, ..], _)) => Err(wrong("compressed messages are not read".into())),
        _ => Err(wrong("a call has one message".into())),
    }
}

fn response() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn send(respond: &mut SendResponse<Bytes>, answer: &[u8]) -> Result<(), h2::Error> {
    let length = (answer.len() as u32).to_be_bytes();
    let mut stream = respond.send_response(response(), false)?;
    stream.send_data([&[0], &length[..], answer].concat().into(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

fn refuse(respond: &mut SendResponse<Bytes>, status: &Status) -> Result<(), h2::Error> {
    let mut response = response();
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(u16::from(status.code)));
    headers.extend(HeaderValue::try_from(escaped(&status.message)).ok().map(|text| (MESSAGE, text)));
    respond.send_response(response, true).map(drop)
}

const MESSAGE: http::HeaderName = http::HeaderName::from_static("grpc-message");

/// What is not printable is escaped ("Percent-Encoded").
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("no `x` at 100 %\n"), "no `x` at 100 %25%0A");
    }
}
