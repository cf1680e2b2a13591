//! Keeps the shape of `bench` and `report`: imports point down, and no two files need each other.
//!
//! A file is a module. It needs the modules that its paths name (`crate::`, `super::`, `self::`), and those that it
//! declares. Tests inside a file may name what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of `bench`, lowest first. A folder names folders of lower floors only.
const FLOORS: [&[&str]; 5] = [&["jobs"], &["ask"], &["run"], &["experiments", "chaos"], &["cli"]];

/// A module by the names that lead to it; none leads to the root of the crate.
type Module = Vec<String>;
/// Which module needs which others.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("an entry of a folder").path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module that a file below `src` is.
fn module_of(file: &Path) -> Module {
    let mut names: Module = file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib")) {
        names.pop();
    }
    names
}

/// The code of a file: no comments, and nothing from its tests on.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).flat_map(|line| [line, "\n"]).collect()
}

/// All paths of a tree such as `a::{b, c::{d, e as f}}`, and how many bytes it takes.
fn paths_of_tree(tree: &str) -> (Vec<Module>, usize) {
    let word = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (mut at, mut names) = (0, Module::new());
    loop {
        let length = word(&tree[at..]);
        if length > 0 {
            names.push(tree[at..at + length].to_owned());
            at += length;
        } else if tree[at..].starts_with('{') {
            let mut paths = Vec::new();
            at += 1;
            loop {
                at += tree[at..].len() - tree[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
                if tree[at..].starts_with('}') || at >= tree.len() {
                    return (paths, (at + 1).min(tree.len()));
                }
                let (inner, length) = paths_of_tree(&tree[at..]);
                paths.extend(inner.into_iter().map(|path| [names.clone(), path].concat()));
                let rest = &tree[at + length..];
                // Behind the path: `as name`, or `*`.
                at += length + rest.find([',', '}', '{']).unwrap_or(rest.len());
            }
        }
        match tree[at..].strip_prefix("::") {
            Some(_) if length > 0 => at += 2,
            _ => return (vec![names], at),
        }
    }
}

/// The paths that a text names and that begin with a keyword of paths, or, in a `use`, with one of `children`.
fn paths_in(code: &str, children: &[String]) -> Vec<Module> {
    let mut paths = Vec::new();
    let keywords = ["crate::", "super::", "self::"].map(str::to_owned);
    let uses = children.iter().map(|child| format!("use {child}"));
    for start in keywords.into_iter().chain(uses) {
        let mut from = 0;
        while let Some(found) = code[from..].find(&start) {
            let at = from + found;
            from = at + start.len();
            let before = code[..at].chars().next_back();
            let is_inside_a_path = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
            if is_inside_a_path || code[..at].ends_with("pub(in ") {
                continue;
            }
            paths.extend(paths_of_tree(code[at..].strip_prefix("use ").unwrap_or(&code[at..])).0);
        }
    }
    paths
}

/// The module whose item a path names, seen from `own`: the longest beginning of the path that is a module.
fn resolved(path: &[String], own: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut names = match path.first().map(String::as_str) {
        Some("crate") => Module::new(),
        _ => own.clone(),
    };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(names.pop()),
            _ => names.push(name.clone()),
        }
    }
    (0..=names.len()).rev().map(|length| names[..length].to_vec()).find(|module| modules.contains(module))
}

/// What each module of a crate needs.
fn graph_of(files: &BTreeMap<Module, String>) -> Graph {
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let mut graph = Graph::new();
    for (own, code) in files {
        let children: Vec<Module> =
            modules.iter().filter(|module| module.split_last().is_some_and(|(_, above)| above == own)).cloned().collect();
        let names: Vec<String> = children.iter().filter_map(|child| child.last().cloned()).collect();
        let named = paths_in(code, &names).into_iter().filter_map(|path| resolved(&path, own, &modules));
        let needed = named.chain(children).filter(|module| module != own);
        graph.insert(own.clone(), needed.collect());
    }
    graph
}

/// The modules of a circle, if there is one.
fn circle_in(graph: &Graph) -> Option<Vec<String>> {
    fn walk<'a>(graph: &'a Graph, at: &'a Module, way: &mut Vec<&'a Module>, done: &mut BTreeSet<&'a Module>) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|module| *module == at) {
            return Some(way[start..].iter().chain([&at]).map(|module| format!("crate::{}", module.join("::"))).collect());
        }
        if done.contains(at) {
            return None;
        }
        way.push(at);
        let found = graph.get(at)?.iter().find_map(|next| walk(graph, next, way, done));
        way.pop();
        done.insert(at);
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| walk(graph, module, &mut Vec::new(), &mut done))
}

fn floor_of(module: &Module) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.iter().any(|name| Some(*name) == module.first().map(String::as_str)))
}

/// Imports that do not point down, one sentence each.
fn wrong_arrows(graph: &Graph) -> Vec<String> {
    let arrows = graph.iter().flat_map(|(from, needed)| needed.iter().map(move |to| (from, to)));
    let within = |from: &Module, to: &Module| from.is_empty() || from.first() == to.first();
    let wrong = arrows.filter(|(from, to)| !within(from, to) && floor_of(to) >= floor_of(from));
    wrong.map(|(from, to)| format!("{} may not name {}", from.join("::"), to.join("::"))).collect()
}

fn crate_at(folder: &str) -> Graph {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    files.retain(|file| *file != source.join("main.rs"));
    assert!(files.len() > 2, "the sources are in {}", source.display());
    let code = |file: &Path| code_of(&fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    graph_of(&files.iter().map(|file| (module_of(file.strip_prefix(&source).expect("it was found there")), code(file))).collect())
}

#[test]
fn every_folder_of_bench_has_a_floor() {
    for module in crate_at(".").keys().filter(|module| !module.is_empty()) {
        assert!(floor_of(module).is_some(), "{} has no floor here", module.join("::"));
    }
}

#[test]
fn imports_of_bench_point_down() {
    assert_eq!(wrong_arrows(&crate_at(".")), Vec::<String>::new());
}

#[test]
fn no_two_files_of_bench_and_report_need_each_other() {
    for folder in [".", "../report"] {
        assert_eq!(circle_in(&crate_at(folder)), None, "in {folder}");
    }
}

/// In the crates of the protocol a module and those inside it are one thing, as a trait and its implementations are.
#[test]
fn no_two_files_of_the_protocol_crates_need_each_other() {
    for name in ["sst", "smc", "rdmc", "orderer", "membership", "group"] {
        let mut graph = crate_at(&format!("../{name}"));
        for (module, needed) in &mut graph {
            needed.retain(|other| !module.starts_with(other) && !other.starts_with(module));
        }
        assert_eq!(circle_in(&graph), None, "in {name}");
    }
}

fn made_up(files: &[(&str, &str)]) -> Graph {
    graph_of(&files.iter().map(|(file, code)| (module_of(Path::new(file)), code_of(code))).collect())
}

#[test]
fn an_import_that_points_up_or_sideways_is_found() {
    let with = |file: &str, line: &str| {
        let files = ["lib.rs", "jobs/mod.rs", "jobs/frame.rs", "run/mod.rs", "experiments/mod.rs", "chaos/mod.rs", "cli/mod.rs"];
        let files: Vec<(&str, &str)> = files.into_iter().map(|other| (other, if other == file { line } else { "" })).collect();
        wrong_arrows(&made_up(&files))
    };
    assert_eq!(with("jobs/frame.rs", "use crate::run::Stage;\n"), ["jobs::frame may not name run"]);
    assert_eq!(with("jobs/frame.rs", "use crate::{cli::{say as tell, EXIT}, jobs::Job};\n"), ["jobs::frame may not name cli"]);
    assert_eq!(with("experiments/mod.rs", "fn f() { crate::chaos::strike() }\n"), ["experiments may not name chaos"]);
    assert_eq!(with("run/mod.rs", "type A = super::experiments::A;\n"), ["run may not name experiments"]);
    assert_eq!(with("cli/mod.rs", "use crate::chaos::run;\nuse crate::jobs::frame;\n"), [""; 0]);
    assert_eq!(with("jobs/mod.rs", "// crate::cli\n/// [`crate::cli`]\n#[cfg(test)]\nmod tests { use crate::cli::x; }\n"), [""; 0]);
}

#[test]
fn files_that_need_each_other_are_found() {
    let circle = |a: &str, b: &str| circle_in(&made_up(&[("lib.rs", ""), ("x/mod.rs", ""), ("x/a.rs", a), ("x/b.rs", b)]));
    assert_eq!(
        circle("use super::b::B;\n", "use crate::units;\n"),
        Some(["crate::", "crate::x", "crate::x::a", "crate::x::b", "crate::"].map(str::to_owned).to_vec())
    );
    assert_eq!(circle("use super::b::B;\n", "use crate::x::{a::A};\n").map(|circle| circle.len()), Some(3));
    assert_eq!(circle("use super::b::{B, C};\n", "use std::io::{self, Write};\n"), None);
    let declared = made_up(&[("lib.rs", "use a::b::B;\n"), ("a/mod.rs", ""), ("a/b.rs", "use super::Own;\n")]);
    assert!(circle_in(&declared).is_some_and(|circle| circle == ["crate::a", "crate::a::b", "crate::a"]), "{declared:?}");
}
