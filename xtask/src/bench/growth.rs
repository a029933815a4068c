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

/// Every tool once, from the first to the last and back in turn.
fn one_round(tools: &[&Tool<'_>], (round, present): (usize, usize), figures: &mut Figures) -> Result<()> {
    let mut order = tools.to_vec();
    if round % 2 == 1 {
        order.reverse();
    }
    for tool in order {
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
