//! The command `tensorc`: runs, checks and shows `.tc` programs.
//!
//! The exit status is 0, 1 for a program, an input or a run that fails, 2 for a command line that is wrong.

mod explain;
pub mod io;
mod ops;
mod opt;
mod report;
mod run;

use clap::{Parser, Subcommand, ValueEnum};
use report::Failure;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "tensorc", version, about = "A compiler from tensor expressions to native kernels")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a function on tensors from files and the command line
    Run(run::Args),
    /// Check types, shapes and aliasing; all errors at once
    Check {
        /// Files to check
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Run passes and print the program
    Opt {
        /// The file
        file: String,
        /// Passes, separated by commas; `all` for all of them, none to print the program as traced
        #[arg(short, long, value_delimiter = ',')]
        passes: Vec<String>,
        /// The function; all of them if not given
        #[arg(long = "fn")]
        function: Option<String>,
        /// Values of symbolic sizes: `B=32`
        #[arg(long = "size", value_name = "NAME=N")]
        sizes: Vec<String>,
        /// Show what follows the passes too: the kernels, as loop nests
        #[arg(long)]
        loops: bool,
    },
    /// Show what becomes of a function: its kernels, and what they assume of symbolic sizes
    Explain {
        /// The file
        file: String,
        /// The function; all of them if not given
        #[arg(long = "fn")]
        function: Option<String>,
        /// Values of symbolic sizes: `B=32`
        #[arg(long = "size", value_name = "NAME=N")]
        sizes: Vec<String>,
    },
    /// Print the op table: signatures, dtypes, derivative
    Ops {
        /// One function
        name: Option<String>,
        /// The whole table as Markdown
        #[arg(long, conflicts_with = "name")]
        markdown: bool,
    },
    /// Format files in place
    Fmt {
        /// Files to format
        #[arg(required = true)]
        files: Vec<String>,
        /// Only say which files would change
        #[arg(long)]
        check: bool,
    },
}

/// How `run` runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// All passes, fused kernels
    #[default]
    Fused,
    /// One kernel for each op
    Eager,
    /// The reference interpreter
    Interpret,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // clap prints what is wrong with a command line, and gives 2 for it.
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Check { files } => check(&files),
        Command::Opt { file, passes, function, sizes, loops } => {
            opt::opt(&file, &passes, function.as_deref(), &sizes, loops)
        }
        Command::Explain { file, function, sizes } => explain::explain(&file, function.as_deref(), &sizes),
        Command::Ops { markdown: true, .. } => ops::markdown(),
        Command::Ops { name: Some(name), .. } => ops::one(&name),
        Command::Ops { name: None, .. } => ops::list(),
        Command::Fmt { files, check } => format(&files, check),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(f) => f.print(),
    }
}

/// Reads a `.tc` file.
fn read_text(path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::error(tensorc_ir::error::err::io(format!("{path}: {e}"))))
}

fn check(files: &[String]) -> Result<(), Failure> {
    let mut failed = false;
    for path in files {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(f) => {
                f.print();
                failed = true;
                continue;
            }
        };
        let errors = match crate::program::Program::parse(path, &text) {
            Ok(p) => p.module().check(),
            Err(errors) => errors,
        };
        if !errors.is_empty() {
            Failure::errors(path, &text, errors).print();
            failed = true;
        }
    }
    if failed { Err(Failure::silent()) } else { Ok(()) }
}

fn format(files: &[String], check: bool) -> Result<(), Failure> {
    let mut changed = false;
    for path in files {
        let text = read_text(path)?;
        let program = tensorc_ir::text::parse(&text).map_err(|errors| Failure::errors(path, &text, errors))?;
        let formatted = tensorc_ir::text::format(&program, &text);
        if formatted != text {
            changed = true;
            if check {
                report::say(format_args!("{path} is not formatted"))?;
            } else {
                io::write_atomically(path, formatted.as_bytes()).map_err(Failure::error)?;
            }
        }
    }
    if check && changed { Err(Failure::silent()) } else { Ok(()) }
}
