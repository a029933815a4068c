//! How much is in a rule set, and how many programs it took.

use anyhow::{Context, Result};
use qiao_testbed::Place;
use serde_json::{Value, json};

/// What was counted, in the order of counting.
#[derive(Debug, Default)]
pub struct Counts {
    rules: Vec<(String, String, usize, RuleSet)>,
    programs: Vec<(String, String, usize)>,
}

/// The size of a rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// Rules, of `nft` and of `iptables`, which are the same to the kernel.
    pub rules: usize,
    /// Elements of sets and maps.
    pub elements: usize,
}

/// Counts what `nft` lists on a host.
pub fn count(host: &Place) -> Result<RuleSet> {
    let text = host.stdout("nft -j list ruleset");
    let document: Value = serde_json::from_str(&text).context("read what nft lists")?;
    Ok(sizes(&document))
}

fn sizes(document: &Value) -> RuleSet {
    let objects = document["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let elements = |object: &Value| {
        let set = object.get("set").or(object.get("map"));
        set.and_then(|set| set["elem"].as_array().map(Vec::len)).unwrap_or_default()
    };
    RuleSet {
        rules: objects.iter().filter(|object| object.get("rule").is_some()).count(),
        elements: objects.iter().map(elements).sum(),
    }
}

impl Counts {
    /// Adds the size of a rule set with so many containers present.
    pub fn add(&mut self, program: &str, chain: &str, (present, size): (usize, &RuleSet)) {
        self.rules.push((chain.to_owned(), program.to_owned(), present, *size));
    }

    /// Adds how many programs one ADD starts.
    pub fn programs(&mut self, program: &str, chain: &str, count: usize) {
        self.programs.push((chain.to_owned(), program.to_owned(), count));
    }

    /// The counts as a table.
    pub fn table(&self) -> String {
        let mut text =
            format!("\n{:8} {:9} {:>7} {:>7} {:>9}\n", "", "program", "present", "rules", "elements");
        for (chain, program, present, RuleSet { rules, elements }) in &self.rules {
            text.push_str(&format!("{chain:8} {program:9} {present:>7} {rules:>7} {elements:>9}\n"));
        }
        text.push('\n');
        for (chain, program, count) in &self.programs {
            text.push_str(&format!("{chain:8} {program:9} one ADD starts {count} programs\n"));
        }
        text
    }

    /// The counts as a document.
    pub fn json(&self) -> Value {
        let rules = self.rules.iter().map(|(chain, program, present, size)| {
            json!({"chain": chain, "program": program, "present": present, "rules": size.rules, "elements": size.elements})
        });
        let programs = self
            .programs
            .iter()
            .map(|(chain, program, count)| json!({"chain": chain, "program": program, "programs": count}));
        json!({"rule_sets": rules.collect::<Vec<_>>(), "programs_of_one_add": programs.collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_elements_are_counted() {
        let document = json!({"nftables": [
            {"metainfo": {}}, {"rule": {}}, {"rule": {}}, {"set": {"elem": [1, 2]}}, {"map": {"elem": [[1, 2]]}}, {"map": {}},
        ]});
        assert_eq!(sizes(&document), RuleSet { rules: 2, elements: 3 });
    }
}
