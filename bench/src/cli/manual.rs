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
const SETTINGS: [&str; 9] = ["messages", "verify", "perftest", "spin", "membership", "pin", "newcomers", "state", "restore"];

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
    run.about(format!("{experiment}: {about}"))
        .mut_arg("experiment", |arg| arg.hide_possible_values(true))
        .after_help(format!("{experiment} sweeps {swept}.\n\nExample:\n  squall run {experiment} --quick"))
}

/// An axis with what `experiment` sweeps along it if it is not given, instead of what its help says for all.
fn with_default(experiment: Experiment, axis: &str, arg: Arg) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.split(" [default:").next().unwrap_or_default().to_owned();
    arg.help(format!("{help} [default: {}]", defaults::of(experiment, axis)))
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
        assert!(help("squall run memcpy -h").contains("memcpy sweeps --size."));
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
