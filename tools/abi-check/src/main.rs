//! Compares the structs and constants that Squall declares for `libibverbs` and `librdmacm` with the C headers that are
//! installed here, and the structs with those of the crate `rdma-sys` too.
//!
//! It writes a C program that prints each size, offset and value by its C name, compiles it with `cc` (or `$CC`), runs
//! it, and compares. Needs `libibverbs-dev`, `librdmacm-dev` and `libclang-dev` (Debian) or `rdma-core-devel` and
//! `clang-devel` (Fedora). Exits with 0 only if everything agrees.

#![forbid(unsafe_code)]

mod witness;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};

use squall_transport::verbs::abi::{LAYOUTS, Layout, constants};
use witness::{WITNESSES, Witness};

/// One number that both sides have.
struct Fact {
    /// The C expression, which also names it.
    expression: String,
    /// What Squall says.
    ours: i64,
    /// The C side may be larger: a struct of which only the beginning is declared.
    at_least: bool,
}

fn facts() -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |expression: String, ours: i64, at_least: bool| facts.push(Fact { expression, ours, at_least });
    for layout in LAYOUTS {
        let name = layout.name;
        add(format!("sizeof({name})"), layout.bytes as i64, layout.prefix);
        for &(field, offset, bytes) in layout.fields.iter().filter(|(field, ..)| !field.is_empty()) {
            add(format!("offsetof({name}, {field})"), offset as i64, false);
            // A field that stands for several of C has no size to compare; all others have.
            let stands_for_many = ["ops", "_ops", "ops._compat_cq_event", "ops._compat_create_ah", "max_mr"].contains(&field);
            if !stands_for_many {
                add(format!("sizeof((({name} *)0)->{field})"), bytes as i64, false);
            }
        }
    }
    for (name, value) in constants() {
        add(name.to_owned(), value, false);
    }
    facts
}

fn program(facts: &[Fact]) -> String {
    let mut text = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include <infiniband/verbs.h>\n#include <rdma/rdma_cma.h>\nint main(void) {\n",
    );
    for (index, fact) in facts.iter().enumerate() {
        writeln!(text, "    printf(\"{index} %lld\\n\", (long long)({}));", fact.expression).expect("writing to a string");
    }
    text + "    return 0;\n}\n"
}

/// What the C compiler says, by index.
fn ask(program: &str) -> Result<HashMap<usize, i64>, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let (source, binary) = (folder.path().join("facts.c"), folder.path().join("facts"));
    std::fs::write(&source, program).map_err(|error| format!("writing {}: {error}", source.display()))?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(&compiler).args(["-w", "-o"]).arg(&binary).arg(&source).output();
    let compiled = compiled.map_err(|error| format!("cannot run {}: {error}", compiler.display()))?;
    if !compiled.status.success() {
        let said = String::from_utf8_lossy(&compiled.stderr).into_owned();
        return Err(format!("{said}\nthe headers do not compile: install libibverbs-dev and librdmacm-dev, or a name above is not theirs"));
    }
    let printed = Command::new(&binary).output().map_err(|error| format!("cannot run {}: {error}", binary.display()))?;
    let line = |line: &str| {
        let (index, value) = line.split_once(' ')?;
        Some((index.parse().ok()?, value.parse().ok()?))
    };
    Ok(String::from_utf8_lossy(&printed.stdout).lines().filter_map(line).collect())
}

/// Where `rdma-sys` disagrees with `layout`, in words; and how many numbers were compared.
fn contradictions(layout: &Layout, witness: Option<&Witness>) -> (Vec<String>, usize) {
    let Some(witness) = witness else {
        return (vec![format!("{}: no witness; add it to witness.rs", layout.name)], 1);
    };
    let mut wrong = Vec::new();
    let fits = if layout.prefix { witness.bytes >= layout.bytes } else { witness.bytes == layout.bytes };
    if !fits {
        wrong.push(format!("{}: rdma-sys has {} bytes, Squall {}", layout.name, witness.bytes, layout.bytes));
    }
    let fields = layout.fields.iter().filter(|(field, ..)| !field.is_empty());
    let compared = fields.map(|&(field, offset, _)| {
        let theirs = witness.fields.iter().find(|(name, _)| *name == field).map(|&(_, offset)| offset);
        if theirs != Some(offset) {
            wrong.push(format!("{}: {field} is at {theirs:?} for rdma-sys, at {offset} for Squall", layout.name));
        }
    });
    let compared = compared.count() + 1;
    (wrong, compared)
}

fn main() -> ExitCode {
    let facts = facts();
    let theirs = match ask(&program(&facts)) {
        Ok(theirs) => theirs,
        Err(error) => {
            eprintln!("abi-check: {error}");
            return ExitCode::from(2);
        }
    };
    let mut wrong = 0;
    for (index, fact) in facts.iter().enumerate() {
        let agrees = theirs.get(&index).is_some_and(|&value| if fact.at_least { value >= fact.ours } else { value == fact.ours });
        if !agrees {
            wrong += 1;
            let said = theirs.get(&index).map_or("nothing".to_owned(), i64::to_string);
            eprintln!("{}: the headers say {said}, Squall says {}", fact.expression, fact.ours);
        }
    }
    println!("{} structs, {} numbers: {} agree, {wrong} differ", LAYOUTS.len(), facts.len(), facts.len() - wrong);
    let (mut contradicted, mut compared) = (Vec::new(), 0);
    for layout in LAYOUTS {
        let (wrong, count) = contradictions(layout, WITNESSES.iter().find(|witness| witness.name == layout.name));
        contradicted.extend(wrong);
        compared += count;
    }
    contradicted.iter().for_each(|contradiction| eprintln!("{contradiction}"));
    println!("rdma-sys: {compared} numbers: {} agree, {} differ", compared - contradicted.len(), contradicted.len());
    if wrong + contradicted.len() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
