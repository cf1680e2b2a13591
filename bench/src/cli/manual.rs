//! Help, completions and manual pages, all from the one definition of the command line, which is `whole` here.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::Shell;

use super::output::say;
use super::status::EXIT_DONE;
use crate::ask::defaults;
use crate::ask::experiment::Experiment;

pub(super) const EXAMPLES: &str = "\
Examples:
  squall completions bash > ~/.local/share/bash-completion/completions/squall
  squall completions zsh > ~/.zfunc/_squall
  squall completions fish > ~/.config/fish/completions/squall.fish";

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder, which is made if it is missing
    dir: PathBuf,
}

/// Every axis, by its flag's name.
const AXES: [&str; 10] = ["fabric", "nodes", "size", "senders", "ordering", "window", "block", "schedule", "upset", "peer"];
/// Settings that not every experiment has.
const SETTINGS: [&str; 10] = ["messages", "verify", "perftest", "spin", "membership", "pin", "deadline", "newcomers", "state", "restore"];

/// The command line as it is explained for these arguments: `squall run EXPERIMENT --help` shows only what that
/// experiment takes.
pub(super) fn command_for(args: &[OsString], whole: Command) -> Command {
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let asks = words.iter().any(|word| matches!(*word, "--help" | "-h"));
    let named = words.iter().skip(2).find_map(|word| Experiment::from_str(word, false).ok());
    match (words.get(1), named) {
        (Some(&"run"), Some(experiment)) if asks => whole.mut_subcommand("run", |run| only_of(experiment, run)),
        _ => whole,
    }
}

/// `squall run` as far as it concerns one experiment.
fn only_of(experiment: Experiment, run: Command) -> Command {
    let has = |name: &&str| experiment.axes().contains(name) || experiment.settings().contains(name);
    let others = AXES.iter().chain(&SETTINGS).copied().filter(|name| !has(name));
    let about = experiment.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default();
    let swept = experiment.axes().iter().map(|axis| format!("--{axis}")).collect::<Vec<_>>().join(", ");
    let run = others.fold(run, |run, name| run.mut_arg(name, |arg| arg.hide(true)));
    let run = experiment.axes().iter().fold(run, |run, axis| run.mut_arg(axis, |arg| with_default(experiment, axis, arg)));
    run.mut_args(|arg| concerned(experiment, arg))
        .about(format!("{experiment}: {about}"))
        .override_usage(format!("squall run {experiment} [OPTIONS]"))
        .after_help(format!("{experiment} sweeps {swept}.\n\nExample:\n  squall run {experiment} --quick"))
}

/// An axis with what `experiment` sweeps along it if it is not given, instead of what its help says for all.
fn with_default(experiment: Experiment, axis: &str, arg: Arg) -> Arg {
    helped(arg, |help| replaced(help, " [default:", &format!(" [default: {}]", defaults::of(experiment, axis))))
}

/// A flag as far as it concerns `experiment`: one that names it already needs no name, one without nodes that meet
/// needs no network, and one that is only measured needs no models.
fn concerned(experiment: Experiment, arg: Arg) -> Arg {
    const OF_NETWORKS: [&str; 3] = ["RDMA", "Hosts", "Network"];
    let heading = arg.get_help_heading().unwrap_or_default();
    let of_networks = OF_NETWORKS.iter().any(|of| heading.starts_with(of)) || arg.get_id() == "lost_after";
    match arg.get_id().as_str() {
        "experiment" => arg.hide(true),
        "profile" if !experiment.is_modelled() => arg.hide(true),
        _ if of_networks && !experiment.axes().contains(&"fabric") => arg.hide(true),
        "seconds" => helped(arg, |help| replaced(help, " [default:", &format!(" [default: {}]", defaults::seconds(experiment)))),
        "fabric" if !experiment.is_modelled() => helped(arg, |help| help.replace(&between(help, ", or modelled", ")"), "")),
        "nodes" if !experiment.is_modelled() => helped(arg, |help| help.replace(&between(help, ", or to", "clusters"), "")),
        _ => arg,
    }
}

/// The flag with another help, made of what it has.
fn helped(arg: Arg, change: impl Fn(&str) -> String) -> Arg {
    let help = arg.get_help().map(|help| change(&help.to_string())).unwrap_or_default();
    arg.help(help)
}

/// `text` with `end` instead of everything from `begin` on.
fn replaced(text: &str, begin: &str, end: &str) -> String {
    text.split(begin).next().unwrap_or_default().to_owned() + end
}

/// The part of `text` from `begin` to the next `end`, both included; a text that is nowhere in it if there is none.
fn between(text: &str, begin: &str, end: &str) -> String {
    let from = text.find(begin).map(|at| &text[at..]).unwrap_or(begin);
    from.find(end).map_or(from, |at| &from[..at + end.len()]).to_owned()
}

/// Prints what completes commands in a shell.
pub(super) fn completions(args: &CompletionsArgs, mut whole: Command) -> anyhow::Result<u8> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut whole, "squall", &mut text);
    say(String::from_utf8_lossy(&text).trim_end())?;
    Ok(EXIT_DONE)
}

/// Writes `squall.1` and a page for each command.
pub(super) fn pages(args: &ManArgs, whole: Command) -> anyhow::Result<u8> {
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot create {}", args.dir.display()))?;
    let written = |error: io::Error| anyhow::Error::new(error).context(format!("cannot write manual pages into {}", args.dir.display()));
    clap_mangen::generate_to(whole, &args.dir).map_err(written)?;
    say(&args.dir.display().to_string())?;
    Ok(EXIT_DONE)
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    fn help(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = command_for(&args, Cli::command()).try_get_matches_from(args).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp);
        error.to_string()
    }

    #[test]
    fn help_of_an_experiment_shows_its_axes_and_no_others() {
        let write = help("squall run write --help");
        assert!(write.contains("--fabric") && write.contains("--perftest") && write.contains("--trials"), "{write}");
        for other in ["--nodes", "--senders", "--schedule", "--membership", "--upset", "--newcomers", "--state", "--restore"] {
            assert!(!write.contains(other), "{other}: {write}");
        }
        let change = help("squall run view-change --help");
        for own in ["--upset", "--newcomers", "--state", "--restore"] {
            assert!(change.contains(own), "{own}: {change}");
        }
        assert!(help("squall run --help").contains("--senders"));
        let memcpy = help("squall run memcpy -h");
        assert!(memcpy.contains("memcpy sweeps --size.") && memcpy.contains("Usage: squall run memcpy [OPTIONS]"), "{memcpy}");
        for other in ["<EXPERIMENT>", "--hosts", "--ib-dev", "--ports", "--lost-after", "--profile"] {
            assert!(!memcpy.contains(other), "{other}: {memcpy}");
        }
        for measured in [&write, &change, &help("squall run peers --help")] {
            assert!(!measured.contains("sim-") && !measured.contains("modelled") && measured.contains("--hosts"), "{measured}");
        }
        assert!(help("squall run multicast --help").contains("sim-rdma-100g"));
    }

    #[test]
    fn help_of_an_experiment_shows_its_own_defaults() {
        let unwrapped = |line| help(line).split_whitespace().collect::<Vec<_>>().join(" ");
        let multicast = unwrapped("squall run multicast --help");
        assert!(
            multicast.contains("[default: 2,4,8,16; with --quick 2,4]") && multicast.contains("[default: by size and memory]"),
            "{multicast}"
        );
        assert!(unwrapped("squall run view-change -h").contains("[default: kill,leave,join]"));
        let seconds = "Seconds of one trial [default: 3; with --quick 0.5]";
        assert!(unwrapped("squall run view-change --help").contains(seconds));
    }

    #[test]
    fn every_axis_and_setting_of_an_experiment_is_a_flag() {
        let run = Cli::command().find_subcommand("run").unwrap().clone();
        let flags: Vec<&str> = run.get_arguments().filter_map(clap::Arg::get_long).collect();
        for experiment in Experiment::value_variants() {
            for name in experiment.axes().iter().chain(experiment.settings()) {
                assert!(flags.contains(name) && AXES.iter().chain(&SETTINGS).any(|known| known == name), "{name}");
            }
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
