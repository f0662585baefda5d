//! The `icecore` command.

fn main() -> std::process::ExitCode {
    icecore::cli::run()
}
