//! The picture: who is where, and how they are joined.

use super::stage::{NETWORK, SUBNET, host_ip, lan_ip};
use qiao_core::Endpoint;

/// Between the frame's inner edges.
const INNER: usize = 60;

/// Draws two containers on a bridge, the host around it, and a neighbour outside.
pub fn draw(web: &Endpoint, app: &Endpoint) -> String {
    let gateway = web.wire.iter().flat_map(|wire| &wire.gateways).next();
    let gateway = gateway.map(ToString::to_string).unwrap_or_default();
    let bridge = format!("bridge br-{NETWORK} {gateway}");
    let host = host_ip();
    let inner = [
        row(&format!("   uplink {host}"), "host "),
        row(&format!("     │   port 8080 ─► web:80     {SUBNET} ─► {host}"), ""),
        row(&format!("   ┌─┴{}┐", "─".repeat(51)), ""),
        row(&format!("   │ {bridge:<51} │"), ""),
        row(&format!("   └────────┬{}┬{}┘", "─".repeat(27), "─".repeat(16)), ""),
        row(&format!("      {:<28}{}", host_if(web), host_if(app)), ""),
    ];
    let mut text = format!("          outside {}\n              │\n", lan_ip());
    text += &format!("        ┌─────┴{}┐\n", "─".repeat(INNER - 6));
    inner.iter().for_each(|row| text += &format!("        │{row}│\n"));
    text += &format!("        └────────────┼{}┼{}┘\n", "─".repeat(27), "─".repeat(INNER - 41));
    text + &containers(web, app)
}

fn containers(web: &Endpoint, app: &Endpoint) -> String {
    let boxes = [web, app].map(|endpoint| {
        let address = endpoint.addresses().first().map(ToString::to_string).unwrap_or_default();
        let ports: Vec<String> = endpoint.publish().iter().take(1).map(|_| "serves :80".to_owned()).collect();
        [
            "┌───────────┴───────────┐".to_owned(),
            format!("│ {:<21} │", format!("{} {}", endpoint.id.ifname, address)),
            format!("│ {:<21} │", format!("{} {}", endpoint.sandbox(), ports.join(""))),
            "└───────────────────────┘".to_owned(),
        ]
    });
    let [left, right] = boxes;
    let rows = left.iter().zip(&right).map(|(left, right)| format!("         {left}   {right}\n"));
    rows.collect()
}

fn host_if(endpoint: &Endpoint) -> String {
    endpoint.wire.as_ref().map(|wire| wire.host_if.to_string()).unwrap_or_default()
}

/// A row of the host's frame: text on the left, text on the right.
fn row(left: &str, right: &str) -> String {
    let room = INNER.saturating_sub(left.chars().count() + right.chars().count());
    format!("{left}{}{right}", " ".repeat(room))
}
