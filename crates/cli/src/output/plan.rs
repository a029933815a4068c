//! Plans, as lines and as steps.

use super::{line, print};
use crate::args::Changing;
use qiao_core::Plan;
use qiao_core::render::{self, Paths};
use qiao_kernel::Places;
use serde_json::{Value, json};

/// Prints what a command does or would do, as far as its options ask for it.
pub fn show(plan: &Plan, places: &Places, changing: &Changing) {
    if changing.explain {
        print(&steps(&[plan], places));
    } else if changing.dry_run {
        print(&lines(plan));
    }
}

fn lines(plan: &Plan) -> String {
    if plan.is_empty() { "nothing to do\n".to_owned() } else { render::plan(plan) }
}

fn paths(places: &Places) -> Paths {
    places.iter().map(|(name, netns)| (name.clone(), netns.path.clone())).collect()
}

/// Plans, one after the other, as a tutorial's steps, with the commands that do the same.
pub fn steps(plans: &[&Plan], places: &Places) -> String {
    let mut all = render::steps(&Plan::default(), &paths(places));
    for step in plans.iter().flat_map(|plan| render::steps(plan, &paths(places))) {
        let of_all = &mut all[step.number];
        (of_all.title, of_all.why) = (step.title, step.why);
        of_all.commands.extend(step.commands);
    }
    let mut text = String::new();
    for step in all {
        text += &format!("{:>2}  {}\n", step.number, step.title);
        text += &wrapped(step.why, "    # ");
        let commands = step.commands.iter().map(|command| continued(command));
        text +=
            &if step.commands.is_empty() { "    (nothing to do)\n".to_owned() } else { commands.collect() };
    }
    text
}

/// A command in 80 columns: continued as a shell reads it, never within quotes.
fn continued(command: &str) -> String {
    const WIDTH: usize = 78;
    let (mut out, mut row) = (String::new(), "   ".to_owned());
    for word in words(command) {
        if row.chars().count() + 1 + word.chars().count() > WIDTH && !row.trim().is_empty() {
            out += &format!("{row} \\\n");
            row = "       ".to_owned();
        }
        row += &format!(" {word}");
    }
    out + &row + "\n"
}

/// The words of a command; what is quoted is one word.
fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in command.split(' ') {
        match words.last_mut().filter(|last| last.matches('\'').count() % 2 == 1) {
            Some(open) => *open += &format!(" {word}"),
            None => words.push(word.to_owned()),
        }
    }
    words
}

fn wrapped(text: &str, indent: &str) -> String {
    const WIDTH: usize = 78;
    let (mut out, mut row) = (String::new(), String::new());
    for word in text.split(' ') {
        if !row.is_empty() && indent.len() + row.len() + 1 + word.len() > WIDTH {
            out += &format!("{indent}{row}\n");
            row.clear();
        }
        row += if row.is_empty() { "" } else { " " };
        row += word;
    }
    out + &format!("{indent}{row}\n")
}

/// The plan for programs: each operation as its line and its commands.
pub fn json(plan: &Plan, places: &Places) -> Value {
    let paths = paths(places);
    let op = |op| json!({"line": render::line(op).split_whitespace().collect::<Vec<_>>().join(" "), "commands": render::shell_op(op, &paths)});
    Value::Array(plan.ops().iter().map(op).collect())
}

/// Plans, one after the other, for programs.
pub fn json_of(plans: &[Plan], places: &Places) -> Value {
    plans.iter().flat_map(|plan| json(plan, places).as_array().cloned().unwrap_or_default()).collect()
}

/// Prints a plan that was only made.
pub fn print_dry(plans: &[Plan], places: &Places, (changing, as_json): (&Changing, bool)) {
    if as_json {
        line(json!({"schema": "qiao.plan/1", "operations": json_of(plans, places)}));
        return;
    }
    plans.iter().for_each(|plan| show(plan, places, changing));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_continued_outside_of_quotes() {
        let quoted = format!("nft add element inet qiao publish '{{ {} }}'", "x y ".repeat(15));
        assert_eq!(continued(&quoted).matches(" \\\n").count(), 1);
        assert!(continued(&quoted).contains("publish \\\n        '{ x y"), "{}", continued(&quoted));
        let plain = "ip link add ".to_owned() + &"word ".repeat(40);
        assert!(continued(plain.trim()).lines().all(|line| line.len() <= 80));
        assert_eq!(continued("ip link"), "    ip link\n");
    }
}
