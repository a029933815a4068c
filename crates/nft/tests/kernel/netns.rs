//! Tests within network namespaces of their own, and a netlink socket there.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use qiao_nft::{Batch, Change, Query, Reply, parse};
use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size_force, set_socket_timeout};

/// Says to a process that it is the test within the namespace, and from which namespace it was begun.
const OUTSIDE: &str = "QIAO_NFT_OUTSIDE_NAMESPACE";

fn namespace() -> String {
    fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned()
}

/// Runs the test of this name again, in a new namespace, where it runs `test`.
pub fn in_namespace(name: &str, test: impl FnOnce()) {
    match env::var(OUTSIDE) {
        Ok(outside) => {
            assert_ne!(namespace(), outside, "not in a namespace of its own");
            test();
        }
        Err(_) => run_in_namespace(name, &[]),
    }
}

/// Begins the test of this name in a new namespace, with these variables in its environment.
pub fn run_in_namespace(name: &str, variables: &[(&str, &str)]) {
    let test = env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]).arg(test).args(["--exact", name, "--ignored", "--nocapture"]);
    command.env(OUTSIDE, namespace()).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "in the namespace: {text}\n{failed}");
}

fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// What `nft` prints.
pub fn nft(arguments: &[&str]) -> String {
    output(Command::new("nft").args(arguments).stdin(Stdio::null()))
}

/// Loads rules with `nft`.
pub fn load(rules: &str) {
    let path = env::temp_dir().join(format!("qiao-nft-{}.nft", std::process::id()));
    fs::write(&path, rules).unwrap();
    nft(&["-f", path.to_str().unwrap()]);
    fs::remove_file(path).unwrap();
}

/// What `nft list ruleset` prints after `nft -f` of these rules, in another namespace.
pub fn listing_of(rules: &str) -> String {
    let path = env::temp_dir().join(format!("qiao-nft-listing-{}.nft", std::process::id()));
    fs::write(&path, rules).unwrap();
    let listing = listing_of_file(&path);
    fs::remove_file(path).unwrap();
    listing
}

fn listing_of_file(path: &Path) -> String {
    let script = "nft -f \"$0\" && nft list ruleset";
    output(Command::new("unshare").args(["--net", "--", "sh", "-c", script]).arg(path))
}

/// A netlink socket of this namespace.
pub struct Kernel {
    pub socket: Socket,
    sequence: u32,
}

impl Kernel {
    pub fn new() -> Self {
        assert!(env::var(OUTSIDE).is_ok(), "only in a namespace of its own");
        let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
        socket.bind_auto().unwrap();
        socket.set_ext_ack(true).unwrap();
        // A query that the kernel does not understand may get no answer at all.
        set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(Duration::from_secs(5))).unwrap();
        Self { socket, sequence: 1 }
    }

    /// Makes room for large batches.
    pub fn with_send_buffer(self, bytes: usize) -> Self {
        set_socket_send_buffer_size_force(self.socket.as_fd(), bytes).unwrap();
        self
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0)
    }

    fn receive(&self) -> io::Result<Vec<(u32, Reply)>> {
        let (datagram, _) = self.socket.recv_from_full()?;
        Ok(parse(&datagram).map(Result::unwrap).collect())
    }

    /// Sends a batch's bytes; all the answers are there when that is done.
    pub fn commit(&self, bytes: &[u8]) -> Vec<(u32, Reply)> {
        self.send(bytes).unwrap();
        self.pending()
    }

    fn pending(&self) -> Vec<(u32, Reply)> {
        self.socket.set_non_blocking(true).unwrap();
        let mut replies = vec![];
        loop {
            match self.receive() {
                Ok(more) => replies.extend(more),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.socket.set_non_blocking(false).unwrap();
        replies
    }

    /// Makes changes, all of which must succeed.
    pub fn change(&mut self, changes: &[Change]) {
        let mut batch = Batch::new(self.sequence);
        let pushed: Vec<u32> = changes.iter().map(|change| batch.push(change).unwrap()).collect();
        self.sequence += pushed.len() as u32 + 2;
        let wanted: Vec<_> = pushed.iter().map(|sequence| (*sequence, Reply::Ack)).collect();
        assert_eq!(self.commit(&batch.finish()), wanted);
    }

    /// Makes a change, which must fail; the result is the error's number.
    pub fn refused(&mut self, change: &Change, exclusive: bool) -> i32 {
        let mut batch = Batch::new(self.sequence);
        let pushed = if exclusive { batch.push_exclusive(change) } else { batch.push(change) };
        self.sequence += 3;
        match self.commit(&batch.finish()).as_slice() {
            [(sequence, Reply::Error { errno, .. })] if Ok(*sequence) == pushed => *errno,
            other => panic!("{other:?}"),
        }
    }

    /// The answer to a query, without the end of a dump.
    pub fn query(&mut self, query: &Query) -> Vec<Reply> {
        let sequence = self.sequence;
        self.sequence += 1;
        self.send(&query.encode(sequence).unwrap()).unwrap();
        let mut replies = vec![];
        loop {
            for (answered, reply) in self.receive().unwrap() {
                assert_eq!(answered, sequence);
                if reply == Reply::Done {
                    return replies;
                }
                replies.push(reply);
            }
            if !query.is_dump() {
                return replies;
            }
        }
    }

    /// What was sent to the multicast groups that this socket listens to.
    pub fn events(&self) -> Vec<Reply> {
        self.pending().into_iter().map(|(_, reply)| reply).collect()
    }
}
