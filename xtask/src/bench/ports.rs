//! One container with many published ports, alone and beside ten thousand others.

use crate::bench::figures::Figures;
use crate::bench::tool::{Kind, Tool};
use crate::bench::world::{Subject, World};
use anyhow::Result;

const OTHERS: u16 = 10_000;
const FIRST: u16 = 2_000;

/// Measures.
pub fn measure(world: &World, (ports, rounds): (u16, usize), figures: &mut Figures) -> Result<()> {
    let tools: Vec<Tool<'_>> = [Kind::Empty, Kind::Floor, Kind::Qiao]
        .into_iter()
        .filter_map(|kind| Tool::new(world, kind).transpose())
        .collect::<Result<_>>()?;
    for others in [0, OTHERS] {
        tools.iter().try_for_each(|tool| fill(tool, others))?;
        for _ in 0..rounds {
            tools.iter().try_for_each(|tool| one(tool, (ports, others), figures))?;
        }
    }
    Ok(())
}

/// A hundred containers that publish the others. Their ports are even, those that are measured are odd.
fn fill(tool: &Tool<'_>, others: u16) -> Result<()> {
    const EACH: u16 = 100;
    if tool.kind == Kind::Empty {
        return Ok(());
    }
    (0..others / EACH).try_for_each(|n| {
        let place = tool.world().place(&format!("{:?}{n}", tool.kind).to_lowercase());
        let subject =
            Subject { place: &place, number: usize::from(n) + 2, port: FIRST + 2 * EACH * n, ports: EACH };
        tool.attach(subject).map(drop)
    })
}

fn one(tool: &Tool<'_>, (ports, others): (u16, u16), figures: &mut Figures) -> Result<()> {
    let place = tool.world().place("probe");
    let subject = Subject { place: &place, number: 1, port: FIRST + 1, ports };
    let name = format!("{:?}", tool.kind).to_lowercase();
    figures
        .add((&name, &format!("attach, {ports} ports beside others"), others.into()), tool.attach(subject)?);
    tool.detach(subject)?;
    place.clone().delete();
    tool.world().settle();
    Ok(())
}
