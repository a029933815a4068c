//! A place: a network namespace that plays a container or an outside host.

use crate::command::{run, stdout};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::process::Command;

/// A network namespace with a name, at `/run/netns/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    name: Option<String>,
}

impl Place {
    /// The host itself.
    pub const HOST: Place = Place { name: None };

    /// Makes a namespace. Its loopback interface is down, as a runtime hands it over.
    pub fn new(name: &str) -> Self {
        run(&format!("ip netns add {name}"));
        Self { name: Some(name.to_owned()) }
    }

    /// The namespace that a process is in, which somebody else made. It gets a name here.
    pub fn of_process(name: &str, pid: &str) -> Self {
        run(&format!("ip netns attach {name} {pid}"));
        Self { name: Some(name.to_owned()) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("host")
    }

    /// The path of its namespace.
    pub fn path(&self) -> String {
        self.name.as_ref().map_or_else(|| "/proc/self/ns/net".to_owned(), |name| format!("/run/netns/{name}"))
    }

    /// Runs a program's line of words there; it must succeed.
    pub fn run(&self, line: &str) {
        self.stdout(line);
    }

    /// What a line of words prints there; it must succeed.
    pub fn stdout(&self, line: &str) -> String {
        match &self.name {
            Some(name) => stdout(&format!("ip netns exec {name} {line}")),
            None => stdout(line),
        }
    }

    /// A command that starts there. The host's own files stay visible.
    pub fn command(&self, program: &str) -> Command {
        let Some(name) = &self.name else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, program]);
        command
    }

    /// Runs `act` on a thread that is there. Sockets that it opens stay there.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        let enter = move || {
            let ns = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            let ns = ns.unwrap_or_else(|error| panic!("open {path}: {error}"));
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&ns), Some(LinkNameSpaceType::Network))
                .unwrap_or_else(|error| panic!("enter {path}: {error}"));
            act()
        };
        std::thread::scope(|scope| match scope.spawn(enter).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Deletes the namespace, as a runtime does when the container has ended.
    pub fn delete(self) {
        self.name.iter().for_each(|name| run(&format!("ip netns del {name}")));
    }
}
