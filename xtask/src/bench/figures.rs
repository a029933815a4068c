//! The figures: medians, and ratios to the floor and to oneself.

use crate::bench::sample::Sample;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What was measured: by what was done and with how many others present, then by program.
#[derive(Debug)]
pub struct Figures {
    samples: BTreeMap<(String, usize), BTreeMap<String, Vec<Sample>>>,
    base: &'static str,
}

/// A program's figures, in microseconds.
struct Row {
    wall: u64,
    cpu: u64,
    count: usize,
}

impl Figures {
    /// None yet; all will be compared with this program.
    pub fn new(base: &'static str) -> Self {
        Self { samples: BTreeMap::new(), base }
    }

    /// Adds a sample.
    pub fn add(&mut self, (program, act, present): (&str, &str, usize), sample: Sample) {
        let programs = self.samples.entry((act.to_owned(), present)).or_default();
        programs.entry(program.to_owned()).or_default().push(sample);
    }

    fn rows(&self) -> impl Iterator<Item = (&str, usize, &str, Row)> {
        self.samples.iter().flat_map(|((act, present), programs)| {
            programs.iter().map(|(program, samples)| (act.as_str(), *present, program.as_str(), row(samples)))
        })
    }

    fn wall(&self, act: &str, present: usize, program: &str) -> Option<u64> {
        self.samples.get(&(act.to_owned(), present))?.get(program).map(|samples| row(samples).wall)
    }

    /// The figures as a table. Medians, in milliseconds.
    pub fn table(&self) -> String {
        let mut text = format!(
            "\n{:38} {:9} {:>7} {:>8} {:>8} {:>8} {:>8}\n",
            "",
            "program",
            "present",
            "wall ms",
            "CPU ms",
            format!("x {}", self.base),
            "x at 0"
        );
        for (act, present, program, row) in self.rows() {
            let ratio = |to: Option<u64>| {
                to.map_or("-".to_owned(), |to| format!("{:.2}", row.wall as f64 / to.max(1) as f64))
            };
            text.push_str(&format!(
                "{act:38} {program:9} {present:>7} {:>8.3} {:>8.3} {:>8} {:>8}\n",
                row.wall as f64 / 1000.0,
                row.cpu as f64 / 1000.0,
                ratio(self.wall(act, present, self.base)),
                ratio(self.wall(act, 0, program)),
            ));
        }
        text
    }

    /// The figures as a document.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows()
            .map(|(act, present, program, Row { wall, cpu, count })| {
                json!({"act": act, "present": present, "program": program, "wall_us": wall, "cpu_us": cpu, "samples": count})
            })
            .collect();
        json!({"schema": "qiao.bench/1", "medians": rows})
    }
}

fn row(samples: &[Sample]) -> Row {
    let median = |of: fn(&Sample) -> u64| {
        let mut values: Vec<u64> = samples.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Row { wall: median(|s| s.wall_us), cpu: median(|s| s.cpu_us), count: samples.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let mut figures = Figures::new("floor");
        for (program, walls) in [("floor", [3_000, 1_000, 2_000]), ("qiao", [9_000, 3_000, 4_000])] {
            walls
                .into_iter()
                .for_each(|wall_us| figures.add((program, "attach", 0), Sample { wall_us, cpu_us: 1 }));
        }
        let table = figures.table();
        let qiao = table.lines().find(|line| line.contains("qiao")).unwrap();
        assert!(qiao.contains("4.000") && qiao.contains("2.00"), "{qiao}");
    }
}
