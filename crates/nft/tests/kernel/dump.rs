//! All that `nft` loads can be read, and loaded again elsewhere.

use std::path::{Path, PathBuf};
use std::{env, fs};

use qiao_nft::*;

use crate::netns::{Kernel, in_namespace, load, nft, run_in_namespace};

/// Says to a process which of the two namespaces it is in: the first is where `nft` loads the rules.
const STAGE: &str = "QIAO_NFT_STAGE";
/// Where the stages leave files for each other.
const DIRECTORY: &str = "QIAO_NFT_DIRECTORY";

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn qiaos_own_rule_set_can_be_read_and_loaded_elsewhere() {
    let name = "dump::qiaos_own_rule_set_can_be_read_and_loaded_elsewhere";
    let rules = || {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/src/render/ruleset.nft");
        let rules = fs::read_to_string(path).unwrap();
        // `nft` 1.0.6 cannot parse two of these; the others it prints and never reads (see the file's head).
        let is_read = |line: &&str| !line.contains("taddr") && !line.contains("@th,");
        let rules: Vec<&str> = rules.lines().filter(is_read).collect();
        [&rules.join("\n"), include_str!("elements.nft")].join("\n")
    };
    read_and_load_elsewhere(name, rules, "");
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn expressions_of_all_kinds_can_be_read_and_loaded_elsewhere() {
    let name = "dump::expressions_of_all_kinds_can_be_read_and_loaded_elsewhere";
    // Objects are nothing that this crate makes.
    let before = "table inet wide { counter total { packets 0 bytes 0; }; }";
    read_and_load_elsewhere(name, || include_str!("expressions.nft").to_owned(), before);
}

/// Loads rules with `nft`, reads them, and loads what was read in a second namespace, after `nft` has loaded what is
/// to be there before; it must print the same there.
fn read_and_load_elsewhere(name: &str, rules: impl FnOnce() -> String, before: &str) {
    match env::var(STAGE).as_deref() {
        Ok("first") => in_namespace(name, || first(&rules())),
        Ok(_) => in_namespace(name, || second(before)),
        Err(_) => {
            let directory = env::temp_dir().join(format!("qiao-nft-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&directory); // of a killed test, whose number this process has again
            fs::create_dir(&directory).unwrap();
            run_both(name, &directory);
            fs::remove_dir_all(directory).unwrap();
        }
    }
}

fn run_both(name: &str, directory: &Path) {
    let path = directory.to_str().unwrap();
    for stage in ["first", "second"] {
        run_in_namespace(name, &[(STAGE, stage), (DIRECTORY, path)]);
    }
    for kind in ["text", "expressions"] {
        let read = |stage| fs::read_to_string(directory.join(format!("{stage}.{kind}"))).unwrap();
        let (first, second) = (read("first"), read("second"));
        assert!(first.lines().count() > 50);
        for (one, other) in first.lines().zip(second.lines()) {
            assert_eq!(one, other);
        }
        assert_eq!(first.len(), second.len());
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(&env::var(DIRECTORY).unwrap()).join(name)
}

fn first(rules: &str) {
    load(rules);
    write_listings("first");
    let mut batch = Batch::new(1);
    for change in &changes(&mut Kernel::new()) {
        batch.push(change).unwrap();
    }
    fs::write(file("batch"), batch.finish()).unwrap();
}

fn second(before: &str) {
    load(before);
    let bytes = fs::read(file("batch")).unwrap();
    let replies = Kernel::new().commit(&bytes);
    assert!(replies.iter().all(|(_, reply)| *reply == Reply::Ack), "{replies:?}");
    write_listings("second");
}

fn write_listings(stage: &str) {
    fs::write(file(&format!("{stage}.text")), nft(&["list", "ruleset"])).unwrap();
    let lines = nft(&["--debug=netlink", "list", "ruleset"]);
    let mut lines: Vec<String> = lines.lines().map(without_handles).collect();
    // The kernel gives the elements of a hash in any order.
    for elements in lines.chunk_by_mut(|one, other| is_element(one) && is_element(other)) {
        elements.sort();
    }
    fs::write(file(&format!("{stage}.expressions")), lines.join("\n")).unwrap();
}

fn is_element(line: &str) -> bool {
    line.starts_with("\telement")
}

/// A rule's heading, "family table chain handle position", goes without the numbers, which differ.
fn without_handles(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        [family, table, chain, handles @ ..]
            if handles.iter().all(|handle| handle.parse::<u64>().is_ok()) =>
        {
            [*family, *table, *chain].join(" ")
        }
        _ => line.to_owned(),
    }
}

/// What makes all that is there.
fn changes(kernel: &mut Kernel) -> Vec<Change> {
    let mut changes = vec![];
    let everything = |kernel: &mut Kernel| {
        let rules = Query::Rules { family: None, table: None, chain: None };
        let sets = Query::Sets { family: None, table: None };
        let queries = [Query::Tables(None), sets, Query::Chains(None)];
        let mut replies: Vec<Reply> = queries.iter().flat_map(|query| kernel.query(query)).collect();
        let sets: Vec<SetRef> = replies.iter().filter_map(reference).collect();
        for set in sets {
            let elements = kernel.query(&Query::Elements(set));
            replies.extend(elements);
        }
        replies.extend(kernel.query(&rules));
        replies
    };
    for (number, reply) in (1..).zip(everything(kernel)) {
        changes.push(change(reply, number));
    }
    changes
}

fn reference(reply: &Reply) -> Option<SetRef> {
    match reply {
        Reply::Set(set) => Some(set.reference()),
        _ => None,
    }
}

/// What makes what the kernel says is there; `number` is for sets.
fn change(reply: Reply, number: u32) -> Change {
    match reply {
        Reply::Table(table) => Change::NewTable(table),
        Reply::Chain(chain) => Change::NewChain(chain),
        Reply::Set(set) => Change::NewSet(Set { id: number, ..set }),
        Reply::Elements { set, elements } => Change::AddElements { set, elements },
        Reply::Rule(rule) => {
            let unknown = rule.exprs.iter().find(|expr| matches!(expr, Expr::Unknown { .. }));
            assert_eq!(unknown, None, "{rule:?}");
            Change::NewRule(Rule { position: None, ..rule })
        }
        other => panic!("{other:?}"),
    }
}
