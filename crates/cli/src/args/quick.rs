//! The plain forms of `attach` and `detach`, read without clap: runtimes wait for these two, and clap takes a
//! twentieth of the time that carrying them out does. Whatever is not plain is left to clap, which also says what
//! is wrong with it.

use super::{
    Attach, Changing, Detach, Global,
    container::{Naming, Publishing},
};
use std::ffi::OsString;
use std::str::FromStr;

/// The options of both commands, and the name.
#[derive(Debug, Default)]
struct Words<'a> {
    name: Option<&'a str>,
    options: Vec<(&'a str, &'a str)>,
    json: bool,
}

/// Reads the words behind `attach`; none where clap has to.
pub fn attach(words: &[OsString]) -> Option<(Global, Attach)> {
    let mut words = Words::read(words)?;
    let global = words.global()?;
    let attach = Attach {
        name: words.name?.parse().ok()?,
        netns: words.take("--netns")?,
        network: words.take("--network")?,
        ifname: words.take("--ifname")?,
        ip: words.take("--ip")?,
        ip6: words.take("--ip6")?,
        mac_address: words.take("--mac-address")?,
        naming: Naming { alias: words.take_all("--network-alias")? },
        publishing: Publishing { publish: words.take_all("-p")? },
        guard: None,
        allow_address: Vec::new(),
        changing: Changing::default(),
    };
    words.options.is_empty().then_some((global, attach))
}

/// Reads the words behind `detach`; none where clap has to.
pub fn detach(words: &[OsString]) -> Option<(Global, Detach)> {
    let mut words = Words::read(words)?;
    let global = words.global()?;
    let detach = Detach {
        name: words.name?.parse().ok()?,
        network: words.take("--network")?,
        ifname: words.take("--ifname")?,
        if_exists: false,
        changing: Changing::default(),
    };
    words.options.is_empty().then_some((global, detach))
}

impl<'a> Words<'a> {
    /// A name, options with values, `--json`.
    fn read(words: &'a [OsString]) -> Option<Self> {
        let mut read = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let word = word.to_str()?;
            match word.split_once('=') {
                _ if !word.starts_with('-') => read.name.replace(word).map_or(Some(()), |_| None)?,
                _ if word == "--json" && !read.json => read.json = true,
                Some((option, value)) if option.starts_with("--") => read.options.push((option, value)),
                _ => {
                    let value = words.next()?.to_str().filter(|value| !value.starts_with('-'))?;
                    read.options.push((word, value));
                }
            }
        }
        Some(read)
    }

    fn global(&mut self) -> Option<Global> {
        let [state_dir, run_dir, config] =
            [self.take("--state-dir")?, self.take("--run-dir")?, self.take("--config")?];
        Some(Global { json: self.json, state_dir, run_dir, config })
    }

    /// The value of an option, if it was given; none where it was given twice or makes no sense.
    fn take<T: FromStr>(&mut self, option: &str) -> Option<Option<T>> {
        let mut values = self.take_all(option)?;
        (values.len() < 2).then(|| values.pop())
    }

    fn take_all<T: FromStr>(&mut self, option: &str) -> Option<Vec<T>> {
        let (taken, rest): (Vec<_>, Vec<_>) = self.options.drain(..).partition(|(name, _)| *name == option);
        self.options = rest;
        taken.into_iter().map(|(_, value)| value.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, read_by_clap};
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    fn by_clap(line: &str) -> Option<String> {
        let cli = read_by_clap(words(&format!("qiao {line}"))).ok()?;
        Some(match cli.command {
            Command::Attach(attach) => format!("{:?} {attach:?}", cli.global),
            Command::Detach(detach) => format!("{:?} {detach:?}", cli.global),
            other => panic!("{other:?}"),
        })
    }

    fn by_us(line: &str) -> Option<String> {
        let all = words(line);
        match all[0].to_str() {
            Some("attach") => attach(&all[1..]).map(|(global, attach)| format!("{global:?} {attach:?}")),
            _ => detach(&all[1..]).map(|(global, detach)| format!("{global:?} {detach:?}")),
        }
    }

    #[test]
    fn plain_words_are_read_as_clap_reads_them() {
        for line in [
            "attach web --netns /run/netns/web --network front -p 8080:80",
            "attach --netns=/proc/7/ns/net web -p 80 -p 127.0.0.1:53:53/udp --json",
            "attach web --netns /x --ip 10.0.0.5 --ip6 fd00::5 --mac-address 02:00:00:00:00:05 --ifname eth7",
            "attach web --run-dir /a --state-dir=/b --config /c --network=front",
            "attach web",
            "detach web",
            "detach --network front web --ifname eth1 --run-dir /r",
        ] {
            assert!(by_us(line).is_some(), "{line}");
            assert_eq!(by_us(line), by_clap(line), "{line}");
        }
    }

    /// Every row of up to four words of these: what we read is what clap reads, or it is left to clap.
    #[test]
    fn nothing_is_read_that_clap_reads_otherwise() {
        let some = [
            "web",
            "--netns",
            "--netns=/x",
            "/x",
            "-p",
            "80",
            "-p80",
            "--json",
            "--json=true",
            "--",
            "-",
            "--ip",
            "10.0.0.5",
            "--ip=",
            "--mac",
            "--dry-run",
            "-h",
            "--network",
            "a b",
            "=",
            "--publish",
            "--guard",
        ];
        let mut read = 0;
        let mut look = |line: &str| {
            if let Some(ours) = by_us(line) {
                read += 1;
                assert_eq!(Some(ours), by_clap(line), "{line}");
            }
        };
        for command in ["attach", "detach"] {
            for a in some {
                for b in some {
                    for c in some {
                        look(&format!("{command} {a} {b} {c}"));
                        look(&format!("{command} web {a} {b} {c}"));
                    }
                }
            }
        }
        assert!(read > 100, "{read}");
    }
}
