//! `timed NETNS PROGRAM ARGUMENTS…`: enters a network namespace, runs a program there, and prints as JSON how
//! long it took by the clock and by the processor, in microseconds. What the program prints goes to `TIMED_OUT`.
#![forbid(unsafe_code)]

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use qiao_floor::socket::{enter, namespace};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
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
    let Ok(child) = command.spawn() else { qiao_floor::die(program) };
    let (status, cpu) = wait(child);
    let wall = begun.elapsed().as_micros();
    println!("{{\"wall_us\":{wall},\"cpu_us\":{cpu},\"status\":{status}}}");
}

/// Waits for a child; its status as wait(2) has it, and the processor time, in microseconds, that
/// it and its own children took. It is the only one.
fn wait(mut child: Child) -> (i32, i64) {
    let Ok(status) = child.wait() else { qiao_floor::die("wait") };
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { qiao_floor::die("getrusage") };
    let time = usage.user_time() + usage.system_time();
    (status.into_raw(), time.num_microseconds())
}
