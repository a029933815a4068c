//! Writes down the messages that make the rule set.

#[path = "src/nft/ruleset/mod.rs"]
mod ruleset;

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/nft/ruleset");
    let own = if cfg!(target_endian = "big") { "big" } else { "little" };
    let target = env::var("CARGO_CFG_TARGET_ENDIAN").expect("cargo says what it builds for");
    assert_eq!(
        own, target,
        "netlink's messages are in the byte order of the machine: build it on one that has it"
    );
    let messages = qiao_nft::encode(&ruleset::ruleset()).expect("the rule set can be written");
    let dir = env::var("OUT_DIR").expect("cargo says where to write");
    fs::write(Path::new(&dir).join("ruleset"), messages).expect("write the rule set");
}
