//! The `imgkit` command.

fn main() -> std::process::ExitCode {
    imgkit::cli::run()
}
