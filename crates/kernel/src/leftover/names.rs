//! How the reference names what it makes for a container.

use super::{Leaving, Plugin};
use sha2::{Digest, Sha512};

/// What is looked for: which plugin's, of which containers of a network.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The plugin.
    pub plugin: Plugin<'a>,
    /// The network.
    pub network: &'a str,
    /// The containers.
    pub leaving: Leaving<'a>,
}

/// The first half of SHA-512 of texts, one behind the other, in hexadecimal (`utils.FormatChainName` and
/// `MustFormatHashWithPrefix` of containernetworking/plugins).
pub fn digest(texts: &[&str]) -> String {
    let mut digest = Sha512::new();
    texts.iter().for_each(|text| digest.update(text));
    digest.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// That of a network and a container.
pub fn hash(network: &str, id: &str) -> String {
    digest(&[network, id])
}

/// How comments of the masquerading by nftables begin, of a network (`hashForNetwork`).
pub fn of_network(network: &str) -> String {
    format!("{:.16}-", digest(&[network]))
}

/// The same of a container's interface (`hashForInstance`).
pub fn of_instance(network: &str, (id, ifname): (&str, &str)) -> String {
    format!("{}{:.16}", of_network(network), digest(&[ifname, ":", id]))
}

impl Plugin<'_> {
    /// How the chains of a container begin that it made: of published ports (`SN` in old versions), of `ipMasq`.
    fn prefixes(self) -> Vec<&'static str> {
        let (ports, masquerade) = (self.is("portmap"), self.masquerades());
        let all = [("CNI-DN-", ports), ("CNI-SN-", ports), ("CNI-", masquerade)];
        all.into_iter().filter_map(|(prefix, made)| made.then_some(prefix)).collect()
    }

    /// The chains of a container, 28 characters each.
    pub fn chains_of(self, network: &str, id: &str) -> Vec<String> {
        let hash = hash(network, id);
        let name = |prefix: &&str| format!("{prefix}{hash}").chars().take(28).collect();
        self.prefixes().iter().map(name).collect()
    }

    /// Whether it made a chain.
    pub fn made(self, chain: &str) -> bool {
        let ports = ["CNI-DN-", "CNI-SN-"].iter().any(|prefix| chain.starts_with(prefix));
        if ports { self.is("portmap") } else { self.prefixes().contains(&"CNI-") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_named_as_the_reference_names_them() {
        let names = Plugin("qiao").chains_of("n1", "c1");
        let wanted =
            ["CNI-DN-7be53730afe4dc6eb2178", "CNI-SN-7be53730afe4dc6eb2178", "CNI-7be53730afe4dc6eb2178d03"];
        assert_eq!(names, wanted);
        assert_eq!(Plugin("portmap").chains_of("n1", "c1"), wanted[..2]);
        assert_eq!(Plugin("bridge").chains_of("n1", "c1"), wanted[2..]);
        assert!(Plugin("firewall").chains_of("n1", "c1").is_empty());
        assert!(
            Plugin("ptp").made(wanted[2])
                && !Plugin("ptp").made(wanted[0])
                && !Plugin("portmap").made(wanted[2])
        );
    }

    #[test]
    fn masquerading_is_named_as_the_reference_names_it() {
        // printf n1 | sha512sum; printf eth0:c1 | sha512sum
        assert_eq!(of_network("n1"), "43d91f8451058a70-");
        assert_eq!(of_instance("n1", ("c1", "eth0")), "43d91f8451058a70-f4d01f2ef4b92245");
    }
}
