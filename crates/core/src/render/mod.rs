//! Plans as text: one line an operation (`line`), the `ip` and `nft` commands that do the same (`shell`),
//! and the steps of a tutorial (`steps`). A plan's text is the same everywhere it appears.

mod element;
mod line;
mod ruleset;
mod shape;
mod shell;
mod steps;

pub use element::element;
pub use line::{line, noun, plan};
pub use ruleset::{DIGEST, RULESET, ruleset};
pub use shell::{Paths, shell, shell_op};
pub use steps::{STEPS, Step, steps};
