//! `netavark dhcp-proxy`, asked as netavark asks it: gRPC over its socket. The container's interface is made by hand.

use prost::Message;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Dnsmasq, Host, Place, Server, busy, eventually, grpc, run};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(8);
const SOCKET: &str = "/run/podman/nv-proxy.sock";
const FILE: &str = "/run/podman/nv-proxy.lease";

/// `NetworkConfig` of netavark's `proxy.proto`.
#[derive(Clone, PartialEq, Message)]
struct Config {
    #[prost(string, tag = "1")]
    host_iface: String,
    #[prost(string, tag = "2")]
    container_iface: String,
    #[prost(string, tag = "3")]
    mac: String,
    #[prost(string, tag = "4")]
    domain: String,
    #[prost(string, tag = "5")]
    hostname: String,
    #[prost(int32, tag = "6")]
    version: i32,
    #[prost(string, tag = "7")]
    netns: String,
    #[prost(string, tag = "8")]
    id: String,
}

/// What is looked at of its `Lease`.
#[derive(Clone, PartialEq, Message)]
struct Lease {
    #[prost(uint32, tag = "3")]
    seconds: u32,
    #[prost(string, tag = "5")]
    domain: String,
    #[prost(string, tag = "6")]
    mac: String,
    #[prost(string, tag = "12")]
    ip: String,
    #[prost(string, tag = "16")]
    server: String,
    #[prost(string, tag = "17")]
    mask: String,
    #[prost(string, repeated, tag = "19")]
    dns: Vec<String>,
    #[prost(string, repeated, tag = "20")]
    gateways: Vec<String>,
}

/// `OperationResponse`.
#[derive(Clone, PartialEq, Message)]
struct Done {
    #[prost(bool, tag = "1")]
    success: bool,
}

fn call<A: Message + Default>(method: &str, config: &Config) -> Result<A, String> {
    grpc::call(SOCKET, &format!("/netavark_proxy.NetavarkProxy/{method}"), config)
}

/// The proxy; killed when it is dropped.
struct Proxy(Child);

impl Proxy {
    fn start(host: &Host, options: &[&str]) -> Self {
        let mut command = host.qiao.command();
        command.arg0("netavark").arg("dhcp-proxy").args(options).stderr(Stdio::null());
        let proxy = Self(command.spawn().expect("start the proxy"));
        let answers = || std::os::unix::net::UnixStream::connect(SOCKET).is_ok();
        assert!(eventually(SOON, answers), "the proxy does not answer");
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A container with a macvlan interface on the uplink, and what netavark would say of it.
fn container(name: &str, last: u8) -> (Place, Config) {
    let place = Place::new(name);
    let mac = format!("02:00:00:00:07:{last:02x}");
    run(&format!("ip link add link up0 name m{last} address {mac} type macvlan mode bridge"));
    run(&format!("ip link set m{last} netns {name} name eth0"));
    let config = Config {
        host_iface: "up0".into(),
        container_iface: "eth0".into(),
        mac,
        hostname: name.into(),
        netns: place.path(),
        id: format!("{name}-0123456789ab"),
        ..Config::default()
    };
    (place, config)
}

fn address(place: &Place) -> String {
    let text = place.stdout("ip -o -4 addr show eth0");
    text.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap_or_default().to_owned()
}

fn file() -> Value {
    serde_json::from_slice(&std::fs::read(FILE).expect("the file of leases")).expect("JSON")
}

/// Taken, put on the interface, renewed, taken up by the next proxy when the first was killed, given back.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lease_outlives_its_proxy_and_is_given_back() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        let proxy = Proxy::start(host, &[]);
        let (web, config) = container("web", 1);
        let lease: Lease = call("Setup", &config).expect("a lease");
        let (ip, name) = server.leases().pop().expect("a lease");
        assert_eq!((&lease.ip, &*name), (&ip, "web"));
        assert_eq!((lease.seconds, &*lease.mask, &*lease.mac), (120, "255.255.255.0", &*config.mac));
        assert_eq!((&*lease.server, &*lease.domain), ("192.0.2.100", "example.test"));
        assert_eq!(
            (lease.dns.concat(), lease.gateways.concat()),
            ("192.0.2.53".into(), "192.0.2.100".into())
        );
        assert_eq!(address(&web), format!("{ip}/24"));
        assert!(web.stdout("ip route").contains("default via 192.0.2.100 dev eth0"));
        web.run("busybox ping -c 1 -W 2 192.0.2.100");
        assert_eq!(file()[&config.mac][0]["yiaddr"], ip.as_str());
        assert_eq!(call::<Lease>("Setup", &config).as_ref(), Ok(&lease), "the same again");
        let acks = || server.said(&["DHCPACK", &ip]);
        let before = acks();
        assert!(eventually(SOON, || acks() > before), "it is renewed");
        drop(proxy);
        std::thread::sleep(Duration::from_millis(300));
        let before = acks();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(acks(), before, "the control: nobody renews it");
        let mut proxy = Proxy::start(host, &[]);
        assert!(eventually(SOON, || acks() > before), "the next one renews it");
        assert_eq!(
            (server.said(&["DHCPDISCOVER"]), file()[&config.mac][0]["yiaddr"].as_str()),
            (1, Some(&*ip))
        );
        // netavark says less when it tears down.
        let less = Config { id: String::new(), hostname: String::new(), ..config };
        assert_eq!(call::<Lease>("Teardown", &less).map(|had| had.ip), Ok(ip.clone()));
        assert!(eventually(SOON, || server.leases().is_empty()), "{:?}", server.leases());
        assert_eq!(file(), serde_json::json!({}));
        assert_eq!(call::<Lease>("Teardown", &less), Ok(Lease::default()), "there is none any more");
        run(&format!("kill {}", proxy.0.id()));
        assert_eq!(proxy.0.wait().expect("its end").code(), Some(0));
        assert!(!std::path::Path::new(SOCKET).exists(), "its socket goes with it");
    });
}

/// What makes no sense, nobody who gives a lease, somebody who hangs up, a container that vanishes.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn whatever_is_asked_nothing_is_lost() {
    on_a_host(|host| {
        let _proxy = Proxy::start(host, &["-t", "2"]);
        let (web, config) = container("web", 1);
        let refused = |what: &str, config: &Config| call::<Lease>(what, config).expect_err("it is refused");
        for (said, wrong) in [
            ("Some(\"3\"): Some(\"hardware address", Config { mac: "x".into(), ..config.clone() }),
            ("Some(\"3\"): Some(\"namespace", Config { netns: "/run/nowhere".into(), ..config.clone() }),
            ("Some(\"3\"): Some(\"ipv6 not yet supported", Config { version: 1, ..config.clone() }),
            ("Some(\"3\")", Config { container_iface: "eth7".into(), ..config.clone() }),
        ] {
            assert!(refused("Setup", &wrong).contains(said), "{said}: {}", refused("Setup", &wrong));
        }
        assert!(refused("Dance", &config).contains("Some(\"12\")"));
        let begun = Instant::now();
        let said = refused("Setup", &config);
        assert!(said.contains("Some(\"5\")") && said.contains("no server answered within 2 s"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(4).mul_f64(busy()), "{:?}", begun.elapsed());
        grpc::hang_up(SOCKET, "/netavark_proxy.NetavarkProxy/Setup", &config, Duration::from_millis(300));
        let server = Dnsmasq::start(&host.lan);
        let given = || server.said(&["DHCPACK"]);
        assert!(eventually(SOON, || given() == 1), "the control: the server gave one");
        assert!(
            eventually(SOON, || server.leases().is_empty()),
            "who hung up has none: {:?}",
            server.leases()
        );
        assert!(eventually(SOON, || file() == serde_json::json!({}) && address(&web).is_empty()));
        let lease: Lease = call("Setup", &config).expect("a lease");
        assert!(address(&web).starts_with(&lease.ip));
        let (_, second) = container("app", 2);
        call::<Lease>("Setup", &second).expect("a lease");
        web.delete();
        assert!(eventually(SOON, || server.leases().len() == 1), "it ends with the namespace");
        assert_eq!(call::<Done>("Clean", &Config::default()), Ok(Done { success: true }));
        assert!(eventually(SOON, || server.leases().is_empty()));
    });
}

/// As systemd starts it: at its socket, for as long as it is needed.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn started_by_its_socket_it_ends_by_itself() {
    on_a_host(|host| {
        let _server = Dnsmasq::start(&host.lan);
        let script = "import os, socket\ns = socket.socket(socket.AF_UNIX)\nos.makedirs('/run/podman')\n\
            s.bind('/run/podman/nv-proxy.sock')\ns.listen()\nos.dup2(s.fileno(), 3)\nos.set_inheritable(3, True)\n\
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n\
            os.execv(os.environ['QIAO'], ['netavark', 'dhcp-proxy', '-a', '1', '-d', '/run/podman'])";
        let mut command = Command::new("python3");
        command.args(["-c", script]).env("QIAO", host.qiao.command().get_program());
        let mut proxy = Proxy(command.spawn().expect("start python3"));
        let (_web, config) = container("web", 1);
        assert!(eventually(SOON, || std::path::Path::new(SOCKET).exists()));
        call::<Lease>("Setup", &config).expect("a lease");
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(proxy.0.try_wait().expect("wait"), None, "it stays while somebody has a lease");
        call::<Lease>("Teardown", &config).expect("it is given back");
        assert!(eventually(SOON, || proxy.0.try_wait().expect("wait").is_some()), "nobody needs it");
        assert!(std::path::Path::new(SOCKET).exists(), "the socket is systemd's");
    });
}

/// The file of leases is for those who look: where it cannot be written, containers come and go all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_file_that_cannot_be_written_hinders_nobody() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        let _proxy = Proxy::start(host, &[]);
        let (web, config) = container("web", 1);
        assert!(eventually(SOON, || std::fs::remove_file(FILE).is_ok()), "it writes one when it starts");
        std::fs::create_dir(FILE).unwrap();
        let lease: Lease = call("Setup", &config).expect("a lease");
        assert_eq!(address(&web), format!("{}/24", lease.ip));
        let back: Lease = call("Teardown", &config).expect("it is given back");
        assert_eq!(back.ip, lease.ip);
        assert!(eventually(SOON, || server.leases().is_empty()), "{:?}", server.leases());
    });
}

/// Whoever opens more connections than a process may have is not answered, and ends nothing.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn too_many_connections_are_survived() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        let mut proxy = Proxy::start(host, &[]);
        run(&format!("prlimit --pid {} --nofile=40", proxy.0.id()));
        let many: Vec<_> = (0..80).map(|_| std::os::unix::net::UnixStream::connect(SOCKET)).collect();
        std::thread::sleep(Duration::from_millis(300));
        let open = std::fs::read_dir(format!("/proc/{}/fd", proxy.0.id())).map(Iterator::count);
        assert!(open.is_ok_and(|open| open >= 40), "the control: it has all that it may have");
        assert_eq!(proxy.0.try_wait().ok().flatten(), None, "it runs");
        drop(many);
        let (_web, config) = container("web", 1);
        let lease: Lease = call("Setup", &config).expect("a lease");
        assert_eq!(server.leases().pop().map(|(ip, _)| ip), Some(lease.ip));
    });
}

/// It ends when nobody needs it: not while somebody waits for a server that takes its time.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn nobody_is_left_waiting_when_it_is_idle() {
    const OPTIONS: &[u8] = &[54, 4, 192, 0, 2, 100, 1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 14, 16];
    on_a_host(|host| {
        let _server = Server::start(&host.lan, move |question| match question.kind {
            1 => {
                std::thread::sleep(Duration::from_secs(4));
                vec![question.answer(2, [192, 0, 2, 150], OPTIONS)]
            }
            3 => vec![question.answer(5, [192, 0, 2, 150], OPTIONS)],
            _ => Vec::new(),
        });
        let mut proxy = Proxy::start(host, &["--activity-timeout", "2", "-t", "20"]);
        let (_web, config) = container("web", 1);
        let lease: Lease = call("Setup", &config).expect("a lease");
        assert_eq!(lease.ip, "192.0.2.150");
        call::<Lease>("Teardown", &config).expect("it is given back");
        let ended = eventually(SOON, || proxy.0.try_wait().ok().flatten().is_some());
        assert!(ended, "the control: nobody has a lease, and it ends");
    });
}
