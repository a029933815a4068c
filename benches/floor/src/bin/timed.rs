//! `timed NETNS PROGRAM ARGUMENTS…`: enters a network namespace, runs a program there, and prints as JSON how
//! long it took by the clock and by the processor, in microseconds. What the program prints goes to `TIMED_OUT`.

use nix::sys::resource::{UsageWho, getrusage};
use qiao_floor::socket::{enter, namespace};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let [netns, program, arguments @ ..] = words.as_slice() else {
        eprintln!("usage: timed NETNS PROGRAM ARGUMENTS…");
        std::process::exit(2);
    };
    enter(&namespace(netns));
    let out = env::var("TIMED_OUT").ok().and_then(|path| fs::File::create(path).ok());
    let mut command = Command::new(program);
    command.args(arguments).env_remove("TIMED_OUT").stdout(out.map_or_else(Stdio::null, Stdio::from));
    let begun = Instant::now();
    let Ok(status) = command.status() else { qiao_floor::die(program) };
    let wall = begun.elapsed().as_micros();
    let (status, cpu) = (status.into_raw(), processor_time());
    println!("{{\"wall_us\":{wall},\"cpu_us\":{cpu},\"status\":{status}}}");
}

/// The processor time of the only child, and of its own children, in microseconds.
fn processor_time() -> i64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { qiao_floor::die("getrusage") };
    let time = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    time(usage.user_time()) + time(usage.system_time())
}
