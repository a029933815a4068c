//! containerd, with networks as Kubernetes nodes have them.

use crate::machine::{FILES, Machine};
use qiao_testbed::{Host, Place, eventually, run, stdout};
use serde_json::{Value, json};
use std::fs::File;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A machine on which containerd runs.
#[derive(Debug)]
pub struct Containerd<'h> {
    pub machine: Machine<'h>,
    daemon: Child,
}

/// `runc` asks for controllers of a cgroup hierarchy that a test has not: this does without.
const RUNTIME: &str = "#!/bin/sh\nexec crun --cgroup-manager=disabled \"$@\"\n";
/// Where the runtime is.
pub const RUNTIME_PATH: &str = "/opt/machine/runtime";
/// The image of the process that holds a pod's namespaces.
const PAUSE: &str = "local.test/pause:1";

const CONFIG: &str = r#"
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "local.test/pause:1"
disable_cgroup = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "/opt/machine/runtime"
"#;

impl<'h> Containerd<'h> {
    /// Starts it, with a network of these IPv4 addresses, and IPv6.
    pub fn new(host: &'h Host, range: &Value) -> Self {
        let machine = Machine::new(host);
        machine.file("runtime", RUNTIME);
        run(&format!("chmod 755 {RUNTIME_PATH}"));
        machine.file("containerd.toml", CONFIG);
        std::fs::write("/etc/cni/net.d/10-net.conflist", network(range).to_string()).expect("a network");
        let daemon = start(&machine);
        let containerd = Self { machine, daemon };
        containerd.import_pause();
        containerd
    }

    /// Ends it and starts it again; containers go on.
    pub fn restart(&mut self) {
        self.daemon.kill().expect("kill containerd");
        self.start_after_the_end();
    }

    /// Starts it after it has been killed.
    pub fn start_after_the_end(&mut self) {
        self.daemon.wait().expect("containerd has ended");
        self.daemon = start(&self.machine);
    }

    /// Runs `ctr`; it must succeed.
    pub fn ctr(&self, line: &str) -> String {
        self.machine.ok("ctr", line)
    }

    /// The namespace of a task.
    pub fn place(&self, (namespace, task): (&str, &str), name: &str) -> Place {
        let tasks = self.ctr(&format!("-n {namespace} task ls"));
        let line = tasks.lines().find(|line| line.starts_with(task)).unwrap_or_else(|| panic!("{tasks}"));
        Place::of_process(name, line.split_whitespace().nth(1).expect("a PID"))
    }

    /// The image of the process that holds a pod's namespaces, as `docker save` writes one.
    fn import_pause(&self) {
        let sum = |file: &str| {
            stdout(&format!("sha256sum {FILES}/{file}")).split(' ').next().unwrap_or_default().to_owned()
        };
        run(&format!("tar -C {FILES}/rootfs -cf {FILES}/layer.tar ."));
        let layer = json!([format!("sha256:{}", sum("layer.tar"))]);
        let entry = json!(["/bin/sleep", "100000"]);
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Entrypoint": entry}, "rootfs": {"type": "layers", "diff_ids": layer}});
        self.machine.file("config.json", &config.to_string());
        let manifest = json!([{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]);
        self.machine.file("manifest.json", &manifest.to_string());
        run(&format!("tar -C {FILES} -cf {FILES}/pause.tar manifest.json config.json layer.tar"));
        self.ctr(&format!("-n k8s.io images import {FILES}/pause.tar"));
    }
}

fn start(machine: &Machine<'_>) -> Child {
    let log = File::create(format!("{FILES}/containerd.log")).expect("a log");
    let mut command = machine.command("containerd");
    command.args(["--config", &format!("{FILES}/containerd.toml")]);
    let daemon = command.stdout(Stdio::null()).stderr(log).spawn().expect("start containerd");
    let ready = eventually(Duration::from_secs(30), || machine.run("ctr", "version").code == Some(0));
    let log = || std::fs::read_to_string(format!("{FILES}/containerd.log")).unwrap_or_default();
    assert!(ready, "containerd does not answer: {}", log());
    daemon
}

/// What containerd's installer writes, with another range.
fn network(range: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "containerd-net",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "ranges": [[range], [{"subnet": "fd00:88::/64"}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}
