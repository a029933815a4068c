//! Names for containers that were given none.

use std::fs::File;
use std::io::Read;

const HOW: [&str; 16] = [
    "calm", "clear", "early", "quiet", "steady", "bright", "gentle", "lucky", "misty", "nimble", "proud",
    "silver", "swift", "warm", "wide", "young",
];
/// Bridges of China, most of them older than printing.
const BRIDGES: [&str; 16] = [
    "anping",
    "baodai",
    "chengyang",
    "fengyu",
    "guangji",
    "jihong",
    "lugou",
    "luoyang",
    "wannian",
    "wuting",
    "xiangzi",
    "yongtong",
    "yudai",
    "zhaozhou",
    "zhusi",
    "ganxi",
];

/// A new id: 64 hexadecimal digits.
pub fn new_id() -> std::io::Result<String> {
    Ok(random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A name of two words, such as `calm_zhaozhou`.
pub fn new_name() -> std::io::Result<String> {
    let [how, bridge] = random::<2>()?;
    Ok(format!("{}_{}", HOW[usize::from(how % 16)], BRIDGES[usize::from(bridge % 16)]))
}

/// The same with a number, for where the short ones are taken.
pub fn new_longer_name() -> std::io::Result<String> {
    let number = u16::from_ne_bytes(random::<2>()?);
    Ok(format!("{}_{number}", new_name()?))
}

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
