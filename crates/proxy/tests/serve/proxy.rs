//! A proxy in a process of its own, and what talks to it.

use qiao_proxy::{Entry, Limits, Table, serve};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const INSIDE: &str = "QIAO_TEST_INSIDE";
const RUN: &str = "QIAO_TEST_RUN";

/// The body of the process that is the proxy: not a test, though it is started like one.
#[test]
#[ignore = "a process of other tests"]
fn process() {
    if let Ok(run) = env::var(RUN) {
        let limits = Limits { idle: Duration::from_secs(2), clients: 16, ..Limits::default() };
        serve(&run, limits).unwrap();
    }
}

/// Runs the test of this name again in a new network namespace, where it runs `test` with an empty directory.
pub fn in_host(name: &str, test: impl FnOnce(&str)) {
    if let Ok(run) = env::var(INSIDE) {
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        test(&run);
        return;
    }
    let run = env::temp_dir().join(format!("qiao-test-{}-{}", std::process::id(), name.replace("::", "-")));
    let _ = fs::remove_dir_all(&run); // of a killed test, whose number this process has again
    fs::create_dir(&run).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]).arg(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env(INSIDE, &run).output().unwrap();
    let _ = fs::remove_dir_all(&run);
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test did not run: {text}");
}

/// A running proxy, killed when it is dropped.
pub struct Proxy(pub Child);

impl Proxy {
    pub fn start(run: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "proxy::process", "--ignored"]).env(RUN, run).stdout(Stdio::null());
        Proxy(command.spawn().unwrap())
    }

    /// Waits for its end.
    pub fn ends(&mut self) -> bool {
        within(|| self.0.try_wait().unwrap().is_some())
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether something comes true within ten seconds.
pub fn within(mut what: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if what() {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

pub fn entry(name: &str, to: &str) -> Entry {
    Entry::parse(name, &format!("{to} qiao:host")).unwrap()
}

/// Puts an entry in and waits until the proxy says something of it.
pub fn put(table: &Table, entry: &Entry) -> Result<(), String> {
    table.put(entry).unwrap();
    assert!(within(|| table.state(entry).unwrap().is_some()), "the proxy says nothing of {entry}");
    table.state(entry).unwrap().unwrap()
}

/// A proxy with one entry.
pub fn serving(run: &str, entry: &Entry) -> (Table, Proxy) {
    let table = Table::create(run).unwrap();
    table.put(entry).unwrap();
    let proxy = Proxy::start(run);
    put(&table, entry).unwrap();
    (table, proxy)
}
