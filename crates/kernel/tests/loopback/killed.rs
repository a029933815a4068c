//! A process that is killed while it makes and removes hooks leaves nothing that cannot be found.

use crate::hooks;
use crate::host::{V4, end, in_host, linux, reach, state, survey, tcp};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

const VICTIM: &str = "QIAO_TEST_VICTIM";

fn wanted() -> [(qiao_core::port::Listen, qiao_core::port::Backend); 2] {
    [tcp("0.0.0.0:8080", &format!("{V4}:80")), tcp("127.0.0.1:8081", &format!("{V4}:81"))]
}

/// Makes and removes without end.
fn victim() -> ! {
    loop {
        reach(&mut linux(), &state(&wanted()));
        end(&mut linux());
    }
}

#[test]
#[ignore = "needs root"]
fn what_it_leaves_is_found() {
    if env::var(VICTIM).is_ok() {
        victim();
    }
    in_host("killed::what_it_leaves_is_found", || {
        let (mut partly, mut whole, mut none) = (0, 0, 0);
        for round in 0..120u64 {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", "killed::what_it_leaves_is_found", "--ignored", "--nocapture"]);
            let mut child = command.env(VICTIM, "1").stdout(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_micros(20_000 + round * 1771 % 45_000));
            child.kill().unwrap();
            child.wait().unwrap();
            // What is attached and what is in it go once their last user's end has been carried out.
            thread::sleep(Duration::from_millis(5));
            match hooks::count() {
                0 => none += 1,
                8 => whole += 1,
                _ => partly += 1,
            }
            if round % 2 == 0 {
                reach(&mut linux(), &state(&wanted()));
                assert_eq!(hooks::count(), 8, "round {round}");
            }
            end(&mut linux());
            assert_eq!(hooks::count(), 0, "round {round}");
            assert_eq!(survey(&mut linux()).iter().count(), 0, "round {round}");
        }
        println!("killed with hooks partly there {partly}, all there {whole}, none there {none} times");
        assert!(partly > 0 && whole > 0, "the times were chosen so that each happens");
    });
}
