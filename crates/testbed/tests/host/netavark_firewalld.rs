//! Beside firewalld: its zones, and its reloads.

use crate::cni_forward::a_firewalld;
use crate::netavark::{call, command, error, network, on, publishing, setup, teardown};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, eventually, run, stdout};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A bus as firewalld's clients see it, with firewalld: it notes calls in `/run/calls`, and signals what is written into
/// `/run/signal`.
const BUS: &str = r#"
import os, socket, struct, threading, time
listener = socket.socket(socket.AF_UNIX)
listener.bind('/run/bus')
listener.listen()
peers, sources = [], set()
def pad(data): return data + b'\0' * (-len(data) % 8)
def text(code, kind, value): return bytes([code, 1]) + kind + b'\0' + struct.pack('<I', len(value)) + value + b'\0'
def strings(data):
    found = []
    while data:
        length = struct.unpack('<I', data[:4])[0]
        found.append(data[4:4 + length].decode())
        data = data[(4 + length + 1 + 3) // 4 * 4:]
    return found
def message(kind, fields, body=b''):
    return pad(b'l' + bytes([kind]) + b'\1\1' + struct.pack('<III', len(body), 1, len(fields)) + fields) + body
def signal(member):
    fields = pad(text(1, b'o', b'/org/fedoraproject/FirewallD1')) + pad(text(2, b's', b'org.fedoraproject.FirewallD1'))
    return message(4, fields + text(3, b's', member))
def answer(serial, wrong):
    fields = bytes([5, 1]) + b'u\0' + struct.pack('<I', serial)
    if not wrong: return message(2, fields)
    fields = pad(fields) + text(4, b's', b'org.fedoraproject.FirewallD1.Exception')
    fields = pad(fields) + bytes([8, 1]) + b'g\0' + b'\1s\0'
    return message(3, fields, struct.pack('<I', len(wrong)) + wrong + b'\0')
def note(line):
    with open('/run/calls', 'a') as calls: calls.write(line + '\n')
def serve(peer):
    def read(count):
        data = b''
        while len(data) < count:
            more = peer.recv(count - len(data))
            if not more: raise EOFError
            data += more
        return data
    line = b''
    while not line.endswith(b'\r\n'): line += read(1)
    assert line == b'\0AUTH EXTERNAL ' + str(os.getuid()).encode().hex().encode() + b'\r\n', line
    peer.sendall(b'OK 0123456789abcdef\r\n')
    assert read(7) == b'BEGIN\r\n'
    while True:
        head = read(16)
        length, serial, fields = struct.unpack('<III', head[4:])
        fields, body = read((fields + 7) // 8 * 8), strings(read(length))
        wrong = None
        if b'Hello\0' in fields: peer.sendall(signal(b'NameAcquired'))
        elif b'AddMatch\0' in fields:
            assert "member='Reloaded'" in body[0], body
            peers.append(peer)
        else:
            assert b'org.fedoraproject.FirewallD1.zone\0' in fields and b'/org/fedoraproject/FirewallD1\0' in fields
            add = b'addSource\0' in fields
            assert add or b'removeSource\0' in fields
            note(('add ' if add else 'remove ') + ' '.join(body))
            if add == (body[1] in sources): wrong = b'ZONE_ALREADY_SET: so it is' if add else b'UNKNOWN_SOURCE: it is not'
            if body[1].startswith('10.89.9.'): wrong = b'INVALID_SOURCE: no'
            (sources.add if add else sources.discard)(body[1])
        peer.sendall(answer(serial, wrong))
def tend(peer):
    try: serve(peer)
    except (EOFError, ConnectionError): pass
def accept():
    while True: threading.Thread(target=tend, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
while True:
    time.sleep(0.05)
    if os.path.exists('/run/signal'):
        member = open('/run/signal', 'rb').read()
        if not member: continue
        os.remove('/run/signal')
        if member == b'Reloaded' and not os.path.exists('/run/keeps'): sources.clear()
        for peer in peers: peer.sendall(signal(member))
"#;

const ADDRESS: (&str, &str) = ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/bus");

fn bus() -> Child {
    let bus = Command::new("/usr/bin/python3").args(["-c", BUS]).spawn().expect("python3");
    assert!(eventually(PATIENCE, || fs::exists("/run/bus").unwrap()));
    bus
}

fn say(signal: &str) {
    fs::write("/run/signal.new", signal)
        .and_then(|()| fs::rename("/run/signal.new", "/run/signal"))
        .expect("a word");
}

/// What firewalld was asked since it was looked last.
fn calls() -> Vec<String> {
    let text = fs::read_to_string("/run/calls").unwrap_or_default();
    let _ = fs::remove_file("/run/calls");
    text.lines().map(str::to_owned).collect()
}

fn listener(host: &Host) -> Child {
    let mut command = command(host, &["firewalld-reload"]);
    let log = fs::File::create("/run/listener.log").expect("a file");
    command.stdin(Stdio::null()).stderr(log).spawn().expect("netavark")
}

/// In its zone `trusted` is a network while it is there, and again when firewalld has loaded its rules.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn networks_are_trusted_while_they_are_there() {
    on_a_host(|host| {
        fs::create_dir_all("/run/dbus").expect("a directory");
        std::os::unix::fs::symlink("/run/bus", "/run/dbus/system_bus_socket").expect("a link");
        let (one, two, same) = (network(1, true), network(2, false), network(9, false));
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let mut bus = bus();
        setup(host, &c1, &on("c1", 7, &[&one]));
        teardown(host, &c1, &on("c1", 7, &[&one]));
        assert_eq!(calls(), Vec::<String>::new(), "firewalld does not run");
        fs::write("/run/firewalld.pid", "1").expect("a file");
        setup(host, &c1, &on("c1", 7, &[&one]));
        teardown(host, &c1, &on("c1", 7, &[&one]));
        assert_eq!(calls(), Vec::<String>::new(), "its file is left");
        let mut running = a_firewalld();
        setup(host, &c1, &on("c1", 7, &[&one]));
        let added = ["add trusted 10.89.1.0/24", "add trusted fd00:89:1::/64"];
        assert_eq!(calls(), added);
        setup(host, &c2, &on("c2", 8, &[&one]));
        teardown(host, &c2, &on("c2", 8, &[&one]));
        assert_eq!(calls(), Vec::<String>::new(), "it is there already, and still");
        // What fails is taken back: the second network has that address.
        let said = error(&call(host, &["setup", &c2.path()], &on("c2", 7, &[&two, &one])));
        assert!(said.contains("is taken by c1"), "{said}");
        assert_eq!(calls(), ["add trusted 10.89.2.0/24", "remove trusted 10.89.2.0/24"]);
        let mut listener = listener(host);
        std::thread::sleep(Duration::from_millis(300));
        say("Reloaded");
        let mut all = Vec::new();
        let has_all = || {
            all.extend(calls());
            all == added
        };
        assert!(eventually(PATIENCE, has_all), "{all:?}");
        // What is so already is no trouble; what it refuses is told, and hinders nobody.
        fs::write("/run/keeps", "").expect("a file");
        say("Reloaded");
        assert!(eventually(PATIENCE, || calls().len() == 2));
        assert_eq!(fs::read_to_string("/run/listener.log").expect("its log"), "");
        teardown(host, &c1, &on("c1", 7, &[&one]));
        assert_eq!(calls(), ["remove trusted 10.89.1.0/24", "remove trusted fd00:89:1::/64"]);
        let told = call(host, &["setup", &c2.path()], &on("c2", 8, &[&same]));
        assert!(told.code == Some(0) && told.stderr.contains("INVALID_SOURCE"), "{told}");
        bus.kill().and_then(|()| bus.wait()).expect("the bus");
        assert_eq!(listener.wait().expect("netavark").code(), Some(1), "it ends with the bus");
        let told = call(host, &["teardown", &c2.path()], &on("c2", 8, &[&same]));
        assert!(told.code == Some(0) && told.stderr.contains("firewalld"), "{told}");
        running.kill().and_then(|()| running.wait()).expect("firewalld");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn rules_are_in_order_when_firewalld_has_reloaded() {
    on_a_host(|host| {
        let mut bus = bus();
        let place = host.container("c1");
        setup(host, &place, &publishing(on("c1", 7, &[&network(1, false)]), &[("", 8080, 80)]));
        let before = stdout("nft -s list ruleset");
        let mut command = command(host, &["firewalld-reload"]);
        let mut listener = command.env(ADDRESS.0, ADDRESS.1).stdin(Stdio::null()).spawn().expect("netavark");
        for _ in 0..2 {
            run("nft flush ruleset");
            std::thread::sleep(Duration::from_millis(300));
            say("PanicModeEnabled");
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(stdout("nft -s list ruleset"), "", "the control: nothing was said yet");
            say("Reloaded");
            assert!(eventually(PATIENCE, || stdout("nft -s list ruleset") == before));
        }
        bus.kill().and_then(|()| bus.wait()).expect("the bus");
        assert_eq!(listener.wait().expect("netavark").code(), Some(1), "it ends with the bus");
    });
}
