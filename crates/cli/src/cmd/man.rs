//! Completions and manual pages, made from the same words as the help.

use super::{Done, OK};
use crate::args::{Cli, Completions, Man};
use crate::output::print;
use qiao_core::Refusal;
use qiao_engine::EngineError;

/// Completions for a shell.
pub fn completions(args: &Completions) -> Done {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::whole(), "qiao", &mut bytes);
    print(&String::from_utf8_lossy(&bytes));
    Ok(OK)
}

/// The manual pages.
pub fn run(args: &Man) -> Done {
    let command = Cli::whole();
    match &args.dir {
        None => {
            let mut bytes = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut bytes)
                .map_err(|e| EngineError::failed("write the manual page", e))?;
            print(&String::from_utf8_lossy(&bytes));
        }
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .map_err(|e| Refusal::invalid(format!("cannot create {dir}")).why(e.to_string()))?;
            clap_mangen::generate_to(command, dir)
                .map_err(|e| EngineError::failed("write the manual pages", e))?;
        }
    }
    Ok(OK)
}
