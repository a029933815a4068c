//! One container with one published port, while more and more others are present.

use crate::bench::Attach;
use crate::bench::figures::Figures;
use crate::bench::tool::{Kind, Tool};
use crate::bench::world::{Subject, World};
use anyhow::Result;

const KINDS: [Kind; 5] = [Kind::Empty, Kind::Floor, Kind::Qiao, Kind::Netavark, Kind::Cni];
/// Containers that stay have ports from here on, those that are measured one below.
const PORT: u16 = 20_000;

/// Measures.
pub fn measure(world: &World, attach: &Attach, figures: &mut Figures) -> Result<()> {
    let tools: Vec<Tool<'_>> =
        KINDS.iter().filter_map(|kind| Tool::new(world, *kind).transpose()).collect::<Result<_>>()?;
    let grows = |tool: &&Tool<'_>| match tool.kind {
        Kind::Netavark | Kind::Cni => attach.peers_present,
        Kind::Empty => false,
        _ => true,
    };
    let mut there = 0;
    for present in &attach.present {
        for tool in tools.iter().filter(grows) {
            (there..*present).try_for_each(|number| fill(tool, number + 1))?;
        }
        there = (*present).max(there);
        eprintln!("{there} present, {} rounds", attach.rounds);
        let measured: Vec<_> =
            tools.iter().filter(|tool| there == 0 || tool.kind == Kind::Empty || grows(tool)).collect();
        for round in 0..attach.rounds {
            one_round(&measured, (round, there), figures)?;
        }
    }
    Ok(())
}

fn fill(tool: &Tool<'_>, number: usize) -> Result<()> {
    let place = tool.world().place(&format!("{:?}{number}", tool.kind).to_lowercase());
    tool.attach(Subject { place: &place, number, port: PORT + number as u16, ports: 1 }).map(drop)
}

/// In which order tools take turns in a round. Over ten rounds with five tools each comes behind each other one equally
/// often: what a large program leaves in the caches falls on all of them (E. J. Williams, 1949).
fn order(count: usize, round: usize) -> Vec<usize> {
    let zigzag = (0..count).map(|at| if at % 2 == 1 { at.div_ceil(2) } else { count - at / 2 });
    let mut order: Vec<usize> = zigzag.map(|at| (at + round / 2) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// Every tool once.
fn one_round(tools: &[&Tool<'_>], (round, present): (usize, usize), figures: &mut Figures) -> Result<()> {
    for tool in order(tools.len(), round).into_iter().map(|at| tools[at]) {
        let name = format!("{:?}", tool.kind).to_lowercase();
        let place = tool.world().place("probe");
        let subject = Subject { place: &place, number: present + 1, port: PORT - 1, ports: 1 };
        let mut note = |act: &str, sample| figures.add((&name, act, present), sample);
        note("attach", tool.attach(subject)?);
        note("detach", tool.detach(subject)?);
        tool.world().settle();
        if matches!(tool.kind, Kind::Floor | Kind::Qiao) {
            note("attach", tool.attach(subject)?);
            place.clone().delete();
            note("detach, namespace gone", tool.detach(subject)?);
        } else {
            place.clone().delete();
        }
        tool.world().settle();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn each_comes_behind_each_other_equally_often() {
        for count in 2..7 {
            let mut pairs = BTreeMap::new();
            for round in 0..2 * count {
                let mut order = order(count, round);
                order.windows(2).for_each(|pair| *pairs.entry((pair[0], pair[1])).or_insert(0) += 1);
                order.sort_unstable();
                assert_eq!(order, (0..count).collect::<Vec<_>>());
            }
            assert!(
                pairs.len() == count * (count - 1) && pairs.values().all(|times| *times == 2),
                "{pairs:?}"
            );
        }
    }
}
