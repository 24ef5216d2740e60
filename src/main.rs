//! The command `tensorc`.

fn main() -> std::process::ExitCode {
    tensorc::cli::main()
}
