//! What is said, in 80 columns.

use super::picture;
use super::probe::{Outcome, milliseconds};
use crate::output::{line, plan, print};
use qiao_core::{Endpoint, Plan};
use qiao_kernel::Places;
use std::time::Duration;

/// Where remarks begin.
const REMARK: usize = 52;

/// What this is.
pub fn opening() {
    line("Building a host in namespaces of its own; your network is not touched.\n");
}

/// The steps that were taken.
pub fn steps(taken: &[&Plan], places: &Places) {
    print(&plan::steps(taken, places));
    line("");
}

/// The picture.
pub fn picture(web: &Endpoint, app: &Endpoint) {
    line("");
    print(&picture::draw(web, app));
}

/// What comes next.
pub fn heading(text: &str) {
    line(format!("\n{text}"));
}

/// Something that was done, and how long it took.
pub fn took(what: &str, time: Duration) {
    line(format!(" ✔ {what:<REMARK$}  {}", milliseconds(time)));
}

/// Whether all outcomes were as they had to be.
pub fn check(outcomes: &[(&str, Outcome)]) -> bool {
    for (what, outcome) in outcomes {
        match outcome {
            Ok(remark) => line(format!(" ✔ {what:<REMARK$}  {remark}").trim_end()),
            Err(error) => line(format!(" ✘ {what:<REMARK$}  {error}")),
        }
    }
    outcomes.iter().all(|(_, outcome)| outcome.is_ok())
}

/// How it went.
pub fn closing(took: Duration, fine: bool) {
    if fine {
        line(format!("\nAll of it took {:.2} s, and nothing is left.", took.as_secs_f64()));
        line("Next: sudo qiao run -d --name web -p 8080:80 -- python3 -m http.server 80");
    } else {
        line("\nSomething was not as it must be (✘): please report it with this output.");
    }
}
