//! `tensorc run`: a function on tensors from files and the command line.

use super::io::{self, HostTensor, Tensors};
use super::report::{Failure, complain, say};
use super::{Mode, read_text};
use crate::program::{self, Given, Program};
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tensorc_ir::error::err;
use tensorc_ir::text::ast::{Expr, ExprKind, UnaryOp};
use tensorc_ir::text::parse_expr;
use tensorc_ir::timing;
use tensorc_ir::{DType, Error, Result, Scalar};

/// The command line of `run`.
#[derive(clap::Args)]
pub struct Args {
    /// The file
    file: String,
    /// The function; `main`, or the only one, if not given
    #[arg(long = "fn")]
    function: Option<String>,
    /// Tensors named as the parameters: .safetensors or .npz, `-` is standard input; later files win
    #[arg(long)]
    inputs: Vec<String>,
    /// Where results go: .safetensors or .npz, `-` is standard output
    #[arg(long)]
    outputs: Option<String>,
    /// NAME=FILE.npy, NAME=LITERAL, or NAME=VIEW of another argument (memory is shared)
    arguments: Vec<String>,
    /// Where to run
    #[arg(long, default_value = "cpu", value_parser = ["cpu", "cuda"])]
    device: String,
    /// How to run
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Threads
    #[arg(long)]
    threads: Option<usize>,
    /// Print how long each part of compiling, and running, took
    #[arg(long)]
    time: bool,
}

/// Runs the function.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.device != "cpu" {
        return Err(Failure::error(err::device("this version has no CUDA backend yet").help("use --device cpu")));
    }
    if let Some(n) = args.threads {
        tensorc_runtime::pool::Pool::global().set_threads(n.max(1)).map_err(Failure::error)?;
    }
    let text = read_text(&args.file)?;
    let failed = |errors: Vec<Error>| Failure::errors(&args.file, &text, errors);
    let program = Program::parse(&args.file, &text).map_err(failed)?;
    // A file with several functions and none named is a wrong command line.
    let f = program.function(args.function.as_deref()).map_err(Failure::usage)?;
    let params = program.module().params(f);
    let given = bind(args, params.iter().map(|p| (p.name.text.as_str(), p.ty.dtype)).collect())?;
    let call = program.bind(f, &given).map_err(failed)?;
    let mode = match args.mode {
        Mode::Fused => program::Mode::Fused,
        Mode::Eager => program::Mode::Eager,
        Mode::Interpret => program::Mode::Interpret,
    };
    let start = Instant::now();
    let (results, times) = timing::collect(|| program.call(f, &call, mode));
    let results = results.map_err(failed)?;
    let first = start.elapsed();
    let mut named: Vec<(String, Tensor)> = results.into_iter().enumerate().map(|(i, t)| (i.to_string(), t)).collect();
    let written = params.iter().zip(call.tensors()).filter(|(p, _)| p.mutable);
    named.extend(written.map(|(p, t)| (p.name.text.clone(), t.clone())));
    match &args.outputs {
        Some(path) => {
            let host = named.iter().map(|(n, t)| Ok((n.clone(), to_host(t)?))).collect::<Result<Tensors>>();
            io::write(path, &host.map_err(Failure::error)?).map_err(Failure::error)?;
        }
        None => {
            for (name, t) in &named {
                match name.parse::<usize>() {
                    Ok(_) => say(format_args!("{t}"))?,
                    Err(_) => say(format_args!("{name} = {t}"))?,
                }
            }
        }
    }
    if args.time {
        let ms = |t: Duration| t.as_secs_f64() * 1e3;
        let parts: Duration = times.iter().map(|(_, t)| *t).sum();
        for (name, t) in times {
            complain(format_args!("{name:>14} {:9.3} ms", ms(t)));
        }
        // Tracing, and running.
        complain(format_args!("{:>14} {:9.3} ms", "the rest", ms(first.saturating_sub(parts))));
        complain(format_args!("compiled and ran in {:.3} ms", ms(first)));
    }
    Ok(())
}

fn to_host(t: &Tensor) -> Result<HostTensor> {
    Ok(HostTensor { dtype: t.dtype(), shape: t.shape().to_vec(), bytes: t.to_bytes()? })
}

/// The arguments, in the order of the parameters.
fn bind(args: &Args, params: Vec<(&str, DType)>) -> Result<Vec<Given>, Failure> {
    let mut given: HashMap<String, Given> = HashMap::new();
    for path in &args.inputs {
        for (name, t) in io::read(path).map_err(Failure::error)? {
            let tensor = Tensor::from_bytes(t.dtype, &t.shape, &t.bytes).map_err(Failure::error)?;
            given.insert(name, Given::Tensor(tensor));
        }
    }
    for a in &args.arguments {
        let Some((name, value)) = a.split_once('=') else {
            let e = err::name(format!("`{a}` is not of the form NAME=VALUE"));
            return Err(Failure::usage(e));
        };
        let Some((_, dtype)) = params.iter().find(|(p, _)| *p == name) else {
            let names: Vec<&str> = params.iter().map(|(p, _)| *p).collect();
            let e = err::name(format!("the function has no parameter `{name}`"))
                .help(format!("its parameters are {}", names.join(", ")));
            return Err(Failure::error(e));
        };
        if value.ends_with(".npy") {
            let file = io::read(value).map_err(Failure::error)?;
            for (_, t) in file {
                let tensor = Tensor::from_bytes(t.dtype, &t.shape, &t.bytes).map_err(Failure::error)?;
                given.insert(name.to_string(), Given::Tensor(tensor));
            }
        } else if params.iter().any(|(p, _)| starts_with_name(value, p)) {
            given.insert(name.to_string(), Given::View(value.to_string()));
        } else {
            let tensor = literal(name, value, *dtype).map_err(Failure::error)?;
            given.insert(name.to_string(), Given::Tensor(tensor));
        }
    }
    for name in given.keys().filter(|n| !params.iter().any(|(p, _)| p == n)) {
        complain(format_args!("warning: the input `{name}` is no parameter and is not used"));
    }
    params
        .iter()
        .map(|(name, _)| {
            given.remove(*name).ok_or_else(|| {
                Failure::error(
                    err::io(format!("no input for parameter `{name}`"))
                        .help(format!("give it with --inputs FILE.safetensors, {name}=FILE.npy or {name}=LITERAL")),
                )
            })
        })
        .collect()
}

fn starts_with_name(text: &str, name: &str) -> bool {
    text.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// A literal: a number, `true`, or nested lists of them, in the parameter's dtype.
fn literal(name: &str, text: &str, dtype: DType) -> Result<Tensor> {
    let bad = |why: &str| err::syntax(format!("`{name}={text}`: {why}"));
    let expr = parse_expr(text).map_err(|e| e.into_iter().next().unwrap_or_else(|| bad("no literal")))?;
    let mut values = Vec::new();
    let shape =
        elements(&expr, dtype, &mut values).ok_or_else(|| bad("expected a number or nested lists of numbers"))?;
    Tensor::from_scalars(dtype, &shape, &values)
}

/// Appends the elements of a literal and gives its shape; `None` if it is none, or ragged.
fn elements(e: &Expr, dtype: DType, out: &mut Vec<Scalar>) -> Option<Vec<usize>> {
    match &e.kind {
        ExprKind::Int(v) => out.push(Scalar::from_i64(dtype, *v)),
        ExprKind::Float(f) => out.push(Scalar::from_f64(dtype, f.value)),
        ExprKind::Bool(v) => out.push(Scalar::from_i64(dtype, *v as i64)),
        ExprKind::Unary { op: UnaryOp::Neg, operand: x } => {
            let shape = elements(x, dtype, out)?;
            let v = out.pop()?;
            out.push(match dtype.is_float() {
                true => Scalar::from_f64(dtype, -v.to_f64()),
                false => Scalar::from_i64(dtype, v.to_i64().wrapping_neg()),
            });
            return shape.is_empty().then_some(shape);
        }
        ExprKind::List(items) => {
            let mut shape: Option<Vec<usize>> = None;
            for i in items {
                let s = elements(i, dtype, out)?;
                if shape.as_ref().is_some_and(|first| *first != s) {
                    return None;
                }
                shape = Some(s);
            }
            let mut shape = shape.unwrap_or_default();
            shape.insert(0, items.len());
            return Some(shape);
        }
        _ => return None,
    }
    Some(Vec::new())
}
