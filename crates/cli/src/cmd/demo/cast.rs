//! Who plays: two containers and a neighbour outside, each a process in a network namespace of its own.

use qiao_engine::EngineError;
use qiao_kernel::{NetnsHandle, sandbox};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

/// The word that makes this program a player.
pub const PLAY: &str = "demo-player";

/// All of them.
#[derive(Debug)]
pub struct Cast {
    /// A container with a web server.
    pub web: Player,
    /// Another container.
    pub app: Player,
    /// Somebody outside.
    pub lan: Player,
}

impl Cast {
    /// Starts all of them.
    pub fn call() -> Result<Self, EngineError> {
        Ok(Cast { web: Player::call("web")?, app: Player::call("app")?, lan: Player::call("outside")? })
    }
}

/// One of them. It ends when this is dropped.
#[derive(Debug)]
pub struct Player {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Its network namespace.
    pub handle: NetnsHandle,
}

impl Player {
    fn call(name: &str) -> Result<Self, EngineError> {
        let failed = |error| EngineError::failed(format!("start `{name}`"), error);
        let mut process = Command::new("/proc/self/exe")
            .args([PLAY, name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let gone = || failed(io::Error::from(io::ErrorKind::UnexpectedEof));
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().ok_or_else(gone)?);
        hear(&mut answers).map_err(failed)?;
        let handle = NetnsHandle::open(&format!("/proc/{}/ns/net", process.id()))?;
        Ok(Player { process, orders, answers, handle })
    }

    /// Where its namespace is.
    pub fn netns(&self) -> String {
        self.handle.identity().path.clone()
    }

    /// Has it serve on a port.
    pub fn serve(&mut self, port: u16) -> Result<(), EngineError> {
        let order = self.orders.as_mut().map_or(Ok(()), |orders| writeln!(orders, "{port}"));
        order.and_then(|()| hear(&mut self.answers)).map_err(|e| EngineError::failed("start a server", e))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.orders = None; // the end of its orders is its own
        let _ = self.process.wait();
    }
}

fn hear(answers: &mut BufReader<ChildStdout>) -> io::Result<()> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    if line == "ok\n" { Ok(()) } else { Err(io::Error::other(line.trim().to_owned())) }
}

/// Is a player: makes a namespace, serves on the ports it is told, ends with its orders.
pub fn play(name: &str) -> ExitCode {
    let begun =
        set_parent_process_death_signal(Some(Signal::KILL)).and_then(|()| sandbox::leave_for_demo(false));
    answer(begun.map_err(io::Error::from));
    for order in io::stdin().lines().map_while(Result::ok) {
        let port: u16 = order.parse().unwrap_or(0);
        let name = name.to_owned();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        answer(listener.map(|listener| drop(std::thread::spawn(move || serve(&listener, &name)))));
    }
    ExitCode::SUCCESS
}

fn answer(result: io::Result<()>) {
    match result {
        Ok(()) => println!("ok"),
        Err(error) => println!("{error}"),
    }
}

/// The smallest web server that curl is content with.
fn serve(listener: &TcpListener, name: &str) {
    for mut client in listener.incoming().flatten() {
        let _ = reply(&mut client, name);
    }
}

fn reply(client: &mut TcpStream, name: &str) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut request, mut bytes) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") && request.len() < 8192 {
        match client.read(&mut bytes)? {
            0 => break,
            count => request.extend_from_slice(&bytes[..count]),
        }
    }
    let body = format!("{name}, to {}\n", client.peer_addr()?.ip());
    write!(client, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
