//! Which file needs which others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::paths::{code_of, paths_in};

/// A file of a crate, by the names that lead to it; none leads to the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Module(Vec<String>);

impl Module {
    /// The module that a file below `src` is.
    pub fn of(file: &Path) -> Module {
        let mut names: Vec<String> = file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if matches!(names.last().map(String::as_str), Some("mod" | "lib")) {
            names.pop();
        }
        Module(names)
    }

    /// The file or folder directly below the root that it is, or lies in.
    pub fn top(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    fn is_within(&self, other: &Module) -> bool {
        self.0.starts_with(&other.0)
    }

    fn is_child_of(&self, other: &Module) -> bool {
        self.0.split_last().is_some_and(|(_, above)| above == other.0)
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.pad("crate") } else { f.pad(&self.0.join("::")) }
    }
}

/// Which files of a crate need which others.
#[derive(Clone, Debug)]
pub struct Graph(BTreeMap<Module, BTreeSet<Module>>);

impl Graph {
    /// The graph of these files.
    pub fn of<'a>(files: impl IntoIterator<Item = (Module, &'a str)>) -> Graph {
        let files: BTreeMap<Module, String> = files.into_iter().map(|(module, text)| (module, code_of(text))).collect();
        let modules: BTreeSet<Module> = files.keys().cloned().collect();
        let needed = |own: &Module, code: &str| {
            let children: Vec<Module> = modules.iter().filter(|module| module.is_child_of(own)).cloned().collect();
            let names: Vec<String> = children.iter().filter_map(|child| child.0.last().cloned()).collect();
            let named = paths_in(code, &names).into_iter().filter_map(|path| resolved(&path, own, &modules));
            named.chain(children).filter(|module| module != own).collect()
        };
        Graph(files.iter().map(|(own, code)| (own.clone(), needed(own, code))).collect())
    }

    /// Its files.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.0.keys()
    }

    /// The same, where a folder's module and those inside it are one thing, as a type and its methods in several files
    /// are. The root of the crate is no such thing: it hands out what others hold.
    pub fn of_families(mut self) -> Graph {
        for (module, needed) in &mut self.0 {
            let is_family = |one: &Module, other: &Module| !other.0.is_empty() && one.is_within(other);
            needed.retain(|other| !is_family(module, other) && !is_family(other, module));
        }
        self
    }

    /// The same between what lies directly below the root: a folder is one thing.
    pub fn of_tops(&self) -> Graph {
        let top = |module: &Module| module.top().map(|name| Module(vec![name.to_owned()]));
        let mut tops = Graph(BTreeMap::new());
        for (module, needed) in &self.0 {
            let Some(own) = top(module) else { continue };
            let others = needed.iter().filter_map(top).filter(|other| *other != own);
            tops.0.entry(own.clone()).or_default().extend(others);
        }
        tops
    }

    /// The files of a circle, if there is one: each needs the next.
    pub fn circle(&self) -> Option<Vec<String>> {
        fn walk<'a>(graph: &'a Graph, at: &'a Module, way: &mut Vec<&'a Module>, done: &mut BTreeSet<&'a Module>) -> Option<Vec<String>> {
            if let Some(start) = way.iter().position(|module| *module == at) {
                return Some(way[start..].iter().chain([&at]).map(|module| module.to_string()).collect());
            }
            if done.contains(at) {
                return None;
            }
            way.push(at);
            let found = graph.0.get(at)?.iter().find_map(|next| walk(graph, next, way, done));
            way.pop();
            done.insert(at);
            found
        }
        let mut done = BTreeSet::new();
        self.0.keys().find_map(|module| walk(self, module, &mut Vec::new(), &mut done))
    }

    /// What does not stand as `floors` say, lowest first, one sentence each: a file or folder below the root that has
    /// no floor, and imports that do not point down.
    pub fn wrong_arrows(&self, floors: &[&[&str]]) -> Vec<String> {
        let floor = |module: &Module| floors.iter().position(|floor| floor.iter().any(|name| Some(*name) == module.top()));
        let homeless = self.0.keys().filter(|module| module.0.len() == 1 && floor(module).is_none());
        let homeless = homeless.map(|module| format!("{module} has no floor"));
        let arrows = self.0.iter().flat_map(|(from, needed)| needed.iter().map(move |to| (from, to)));
        let between = arrows.filter(|(from, to)| !from.0.is_empty() && from.top() != to.top());
        let wrong = between.filter(|(from, to)| floor(to) >= floor(from)).map(|(from, to)| format!("{from} may not name {to}"));
        homeless.chain(wrong).collect()
    }
}

/// The module whose item a path names, seen from `own`: the longest beginning of the path that is a module.
fn resolved(path: &[String], own: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut names = match path.first().map(String::as_str) {
        Some("crate") => Vec::new(),
        _ => own.0.clone(),
    };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(names.pop()),
            _ => names.push(name.clone()),
        }
    }
    (0..=names.len()).rev().map(|length| Module(names[..length].to_vec())).find(|module| modules.contains(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up(files: &[(&'static str, &'static str)]) -> Graph {
        Graph::of(files.iter().map(|(file, code)| (Module::of(Path::new(file)), *code)))
    }

    #[test]
    fn an_import_that_points_up_or_sideways_is_found() {
        const FLOORS: [&[&str]; 4] = [&["jobs"], &["run"], &["experiments", "chaos"], &["cli"]];
        let with = |file: &str, line: &'static str| {
            let files = ["lib.rs", "jobs/mod.rs", "jobs/frame.rs", "run/mod.rs", "experiments/mod.rs", "chaos/mod.rs", "cli/mod.rs"];
            let files: Vec<_> = files.into_iter().map(|other| (other, if other == file { line } else { "" })).collect();
            made_up(&files).wrong_arrows(&FLOORS)
        };
        assert_eq!(with("jobs/frame.rs", "use crate::run::Stage;\n"), ["jobs::frame may not name run"]);
        assert_eq!(with("jobs/frame.rs", "use crate::{cli::{say as tell, EXIT}, jobs::Job};\n"), ["jobs::frame may not name cli"]);
        assert_eq!(with("experiments/mod.rs", "fn f() { crate::chaos::strike() }\n"), ["experiments may not name chaos"]);
        assert_eq!(with("run/mod.rs", "type A = super::experiments::A;\n"), ["run may not name experiments"]);
        assert_eq!(with("cli/mod.rs", "use crate::chaos::run;\nuse crate::jobs::frame;\n"), [""; 0]);
        assert_eq!(with("jobs/mod.rs", "// crate::cli\n/// [`crate::cli`]\n#[cfg(test)]\nmod tests { use crate::cli::x; }\n"), [""; 0]);
        assert_eq!(made_up(&[("lib.rs", ""), ("jobs.rs", ""), ("other.rs", "")]).wrong_arrows(&FLOORS), ["other has no floor"]);
    }

    #[test]
    fn files_that_need_each_other_are_found() {
        let circle = |a, b| made_up(&[("lib.rs", ""), ("x/mod.rs", ""), ("x/a.rs", a), ("x/b.rs", b)]).circle();
        assert_eq!(
            circle("use super::b::B;\n", "use crate::units;\n"),
            Some(["crate", "x", "x::a", "x::b", "crate"].map(str::to_owned).to_vec())
        );
        assert_eq!(circle("use super::b::B;\n", "use crate::x::{a::A};\n").map(|circle| circle.len()), Some(3));
        assert_eq!(circle("use super::b::{B, C};\n", "use std::io::{self, Write};\n"), None);
        let declared = made_up(&[("lib.rs", "use a::b::B;\n"), ("a/mod.rs", ""), ("a/b.rs", "use super::Own;\n")]);
        assert!(declared.circle().is_some_and(|circle| circle == ["a", "a::b", "a"]), "{declared:?}");
        assert_eq!(declared.of_families().circle(), None);
        let root = made_up(&[("lib.rs", "pub use a::A;\n"), ("a.rs", "use crate::B;\n")]);
        assert!(root.of_families().circle().is_some_and(|circle| circle == ["crate", "a", "crate"]));
    }

    #[test]
    fn folders_that_need_each_other_are_found_where_their_files_do_not() {
        let files =
            [("lib.rs", ""), ("a/x.rs", "use crate::b::y::Y;\n"), ("b/y.rs", ""), ("b/z.rs", "use crate::a::w::W;\n"), ("a/w.rs", "")];
        assert_eq!(made_up(&files).of_families().circle(), None);
        assert!(made_up(&files).of_tops().circle().is_some());
    }
}
