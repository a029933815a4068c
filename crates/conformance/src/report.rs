//! The verdicts on several directories of plugins, as text, as JSON and as a page of documentation.

use crate::check::{Check, Level};
use crate::verdict::Verdict;
use serde_json::{Value, json};

/// The verdicts on several directories of plugins.
#[derive(Debug)]
pub struct Report {
    checks: Vec<&'static Check>,
    columns: Vec<(String, Vec<Verdict>)>,
}

impl Report {
    /// A report on these checks.
    pub fn new(checks: Vec<&'static Check>) -> Self {
        Self { checks, columns: Vec::new() }
    }

    /// Adds the verdicts on some plugins, in the order of the checks.
    pub fn add(&mut self, name: &str, verdicts: Vec<Verdict>) {
        self.columns.push((name.to_owned(), verdicts));
    }

    /// How many passed, failed, and did not apply, of one column.
    fn counts(verdicts: &[Verdict]) -> [usize; 3] {
        let count = |is: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| is(verdict)).count();
        [
            count(|v| *v == Verdict::Pass),
            count(|v| matches!(v, Verdict::Fail(_))),
            count(|v| matches!(v, Verdict::NotApplicable(_))),
        ]
    }

    /// How many checks failed, in all columns.
    pub fn failures(&self) -> usize {
        self.columns.iter().map(|(_, verdicts)| Self::counts(verdicts)[1]).sum()
    }

    /// One line for each directory.
    pub fn summary(&self) -> String {
        let line = |(name, verdicts): &(String, Vec<Verdict>)| {
            let [passed, failed, not_applicable] = Self::counts(verdicts);
            format!("{name}: {passed} passed, {failed} failed, {not_applicable} not applicable\n")
        };
        self.columns.iter().map(line).collect()
    }

    /// All of it as a document.
    pub fn json(&self) -> String {
        let rows = self.rows().map(|(check, verdicts)| {
            let named =
                self.columns.iter().zip(verdicts).map(|((name, _), verdict)| (name.clone(), json!(verdict)));
            json!({
                "id": check.id, "level": level(check.level), "source": check.source, "says": check.says,
                "verdicts": Value::Object(named.collect()),
            })
        });
        format!("{:#}\n", json!({"schema": "qiao.conformance/1", "checks": rows.collect::<Vec<_>>()}))
    }

    /// All of it as Markdown: a table, and under it what was seen.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| check | says | source |");
        self.columns.iter().for_each(|(name, _)| text.push_str(&format!(" {name} |")));
        text.push_str("\n|---|---|---|");
        text.push_str(&"---|".repeat(self.columns.len()));
        for (check, verdicts) in self.rows() {
            let Check { id, says, source, .. } = check;
            text.push_str(&format!("\n| {id} | {} | {}, {} |", cell(says), cell(source), level(check.level)));
            verdicts.iter().for_each(|verdict| text.push_str(&format!(" {} |", word(verdict))));
        }
        text.push('\n');
        self.columns.iter().for_each(|column| text.push_str(&self.seen(column)));
        text
    }

    fn seen(&self, (name, verdicts): &(String, Vec<Verdict>)) -> String {
        let mut text = format!("\n## What was seen of {name}\n\n");
        for (check, verdict) in self.checks.iter().zip(verdicts) {
            match verdict {
                Verdict::Fail(seen) => text.push_str(&format!("- **{}** fails: {}\n", check.id, code(seen))),
                Verdict::NotApplicable(why) => {
                    text.push_str(&format!("- {} does not apply: {why}\n", check.id));
                }
                Verdict::Pass => {}
            }
        }
        text
    }

    fn rows(&self) -> impl Iterator<Item = (&'static Check, Vec<&Verdict>)> {
        self.checks.iter().enumerate().map(|(at, check)| {
            (*check, self.columns.iter().filter_map(|(_, verdicts)| verdicts.get(at)).collect())
        })
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::Custom => "custom",
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail(_) => "**fail**",
        Verdict::NotApplicable(_) => "–",
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// What was seen, on one line, not too long.
fn code(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'");
    let short: String = line.chars().take(300).collect();
    format!("`{short}{}`", if short.len() < line.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_every_check_and_what_was_seen() {
        let checks: Vec<_> = crate::all().collect();
        let mut report = Report::new(checks.clone());
        let verdicts = vec![Verdict::Fail("two\nlines `here`".to_owned()); checks.len()];
        report.add("these", verdicts);
        let page = report.markdown();
        assert!(checks.iter().all(|check| page.contains(&format!("| {} |", check.id))));
        assert!(page.contains("fails: `two lines 'here'`"), "{page}");
        assert_eq!(report.failures(), checks.len());
    }
}
