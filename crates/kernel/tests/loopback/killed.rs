//! A process that is killed while it makes and removes hooks leaves nothing that cannot be found.

use crate::hooks;
use crate::host::{V4, end, in_host, linux, reach, state, survey, tcp};
use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

const VICTIM: &str = "QIAO_TEST_VICTIM";
const NAME: &str = "killed::what_it_leaves_is_found";
const MOST: usize = 500;

fn wanted() -> [(qiao_core::port::Listen, qiao_core::port::Backend); 2] {
    [tcp("0.0.0.0:8080", &format!("{V4}:80")), tcp("127.0.0.1:8081", &format!("{V4}:81"))]
}

/// This test as the victim: makes hooks and removes them, and is killed at a call of bpf(2).
fn killed_at(call: usize) -> ExitStatus {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e"]);
    command.arg(format!("inject=bpf:signal=KILL:when={call}"));
    command.arg(env::current_exe().unwrap()).args(["--exact", NAME, "--ignored", "--nocapture"]);
    command.env(VICTIM, "1").stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

#[test]
#[ignore = "needs root"]
fn what_it_leaves_is_found() {
    if env::var(VICTIM).is_ok() {
        reach(&mut linux(), &state(&wanted()));
        end(&mut linux());
        return;
    }
    in_host(NAME, || {
        let (mut partly, mut whole, mut none) = (0, 0, 0);
        for call in 1..MOST {
            let status = killed_at(call);
            if status.success() {
                assert!(call > 30, "it made {call} calls only");
                break;
            }
            assert_eq!(status.signal(), Some(9), "at call {call}: {status}");
            match hooks::count() {
                0 => none += 1,
                8 => whole += 1,
                _ => partly += 1,
            }
            if call % 2 == 0 {
                reach(&mut linux(), &state(&wanted()));
                assert_eq!(hooks::count(), 8, "call {call}");
            }
            end(&mut linux());
            assert_eq!(hooks::count(), 0, "call {call}");
            assert_eq!(survey(&mut linux()).iter().count(), 0, "call {call}");
        }
        println!("killed with hooks partly there {partly}, all there {whole}, none there {none} times");
        assert!(partly > 0 && whole > 0 && none > 0, "{partly} {whole} {none}");
    });
}
