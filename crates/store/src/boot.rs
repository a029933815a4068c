//! Which boot it is, and what that decides. Another boot's containers are gone, and what they had goes with them; so
//! nothing is discarded unless both boots are known and differ.

use crate::error::StoreError;
use crate::steps;
use std::io::Read;

/// random(4).
const FILE: &str = "/proc/sys/kernel/random/boot_id";
/// The length of a UUID in its text form, in bytes.
const LEN: usize = 36;

/// The id of a boot: a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootId(String);

impl BootId {
    /// The id of this boot. A container's `/proc` may not have it (`subset=pid`).
    pub fn now() -> Result<Self, StoreError> {
        let mut bytes = [0; LEN + 1];
        let read = steps::look()
            .map_err(Into::into)
            .and_then(|()| std::fs::File::open(FILE))
            .and_then(|mut file| file.read(&mut bytes));
        let text = read.map(|length| String::from_utf8_lossy(&bytes[..length]));
        let text = text.map_err(StoreError::io(|| format!("read {FILE}")))?;
        let no_id =
            || StoreError::Unsafe { path: FILE.into(), why: format!("does not hold a boot id: {text:?}") };
        Self::parse(&text).ok_or_else(no_id)
    }

    /// An id that was noted; none where the text is no UUID: it says nothing about any boot then.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end();
        let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
        let fits =
            |(at, byte): (usize, u8)| if is_dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
        (text.len() == LEN && text.bytes().enumerate().all(fits)).then(|| Self(text.to_owned()))
    }

    /// The id as it is noted.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What two notes of boots say of what belongs to the first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Boot {
    /// It is of this boot.
    Same,
    /// It is of another boot: the host was rebooted since.
    Another,
    /// Nothing was noted that makes sense.
    Unknown,
}

impl Boot {
    /// Compares what was noted with this boot.
    pub fn of(noted: Option<&str>, now: &BootId) -> Self {
        match noted.and_then(BootId::parse) {
            Some(noted) if noted == *now => Boot::Same,
            Some(_) => Boot::Another,
            None => Boot::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uuid_says_which_boot_it_is() {
        let now = BootId::now().unwrap();
        assert_eq!(Boot::of(Some(&format!("{}\n", now.as_str())), &now), Boot::Same);
        assert_eq!(Boot::of(Some("11111111-2222-3333-4444-555555555555"), &now), Boot::Another);
        for noted in ["", "garbage", &now.as_str()[1..], "11111111-2222-3333-4444-55555555555g"] {
            assert_eq!(Boot::of(Some(noted), &now), Boot::Unknown, "{noted}");
        }
        assert_eq!(Boot::of(None, &now), Boot::Unknown);
    }
}
