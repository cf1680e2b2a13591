//! The `squall` program.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    squall_bench::cli::main()
}
