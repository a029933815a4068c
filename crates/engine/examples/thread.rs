//! scratch
use qiao_core::request::*;
use qiao_engine::Engine;
use qiao_kernel::Linux;
use qiao_store::Paths;
fn show(e: &dyn std::error::Error) {
    println!("ERR {e}");
    let mut s = e.source();
    while let Some(x) = s {
        println!("  because {x}");
        s = x.source();
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let t = std::time::Instant::now();
    let mut e = Engine::open(
        Linux::open().unwrap(),
        &Paths { state: "/tmp/qs/state".into(), run: "/tmp/qs/run".into() },
        Default::default(),
    )
    .unwrap();
    match a[1].as_str() {
        "attach" => {
            let mut r = Attach::new(a[2].parse().unwrap());
            r.netns = Some(a[3].clone());
            for p in &a[4..] {
                r.publish.push(p.parse().unwrap());
            }
            match e.attach(&r) {
                Ok(x) => {
                    print!("{}", qiao_core::render::plan(&x.plan));
                    println!("{:?}", x.endpoint.addresses());
                }
                Err(e) => show(&e),
            }
        }
        "detach" => match e.detach(&Detach { sandbox: a[2].parse().unwrap(), network: None, ifname: None }) {
            Ok(x) => {
                for p in x.plans {
                    print!("{}", qiao_core::render::plan(&p))
                }
            }
            Err(e) => show(&e),
        },
        "check" => match e.check() {
            Ok(h) => {
                for f in h.findings {
                    println!("{}", f.line)
                }
            }
            Err(e) => show(&e),
        },
        "repair" => match e.repair() {
            Ok(h) => print!("{}", qiao_core::render::plan(&h.plan)),
            Err(e) => show(&e),
        },
        "rm" => match e.remove_network(&a[2].parse().unwrap()) {
            Ok(h) => print!("{}", qiao_core::render::plan(&h.plan)),
            Err(e) => show(&e),
        },
        _ => {}
    }
    eprintln!("{:?}", t.elapsed());
}
