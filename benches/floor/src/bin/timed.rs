//! `timed NETNS PROGRAM ARGUMENTS…`: enters a network namespace, runs a program there, and prints as JSON how
//! long it took by the clock and by the processor, in microseconds. What the program prints goes to `TIMED_OUT`.

use qiao_floor::socket::{enter, namespace};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let [netns, program, arguments @ ..] = words.as_slice() else {
        eprintln!("usage: timed NETNS PROGRAM ARGUMENTS…");
        std::process::exit(2);
    };
    enter(namespace(netns).as_raw_fd());
    let out = env::var("TIMED_OUT").ok().and_then(|path| fs::File::create(path).ok());
    let mut command = Command::new(program);
    command.args(arguments).env_remove("TIMED_OUT").stdout(out.map_or_else(Stdio::null, Stdio::from));
    let begun = Instant::now();
    let Ok(child) = command.spawn() else { qiao_floor::die(program) };
    let (status, cpu) = wait(child.id());
    let wall = begun.elapsed().as_micros();
    println!("{{\"wall_us\":{wall},\"cpu_us\":{cpu},\"status\":{status}}}");
}

/// Waits for a child; its status, and the processor time it and its own children took.
fn wait(pid: u32) -> (i32, i64) {
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointers are to variables that live across the call.
    if unsafe { libc::wait4(pid as libc::pid_t, &mut status, 0, &mut usage) } < 0 {
        qiao_floor::die("wait4");
    }
    let time = |t: libc::timeval| t.tv_sec * 1_000_000 + t.tv_usec;
    (status, time(usage.ru_utime) + time(usage.ru_stime))
}
