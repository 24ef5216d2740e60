//! Printing, exactly as PyTorch prints tensors: four decimals, scientific notation where values range widely, columns of
//! one width, long tensors summarised, and the dtype where it is not the default of its kind.
//!
//! The rules are those of PyTorch's `_tensor_str.py`, described in its documentation of `set_printoptions`; only the
//! names of our own types differ (`tensorc.f16`).

use crate::tensor::{Repr, Tensor};
use std::fmt;
use tensorc_ir::{DType, Scalar};

const PRECISION: usize = 4;
const THRESHOLD: usize = 1000;
const EDGE: usize = 3;
const WIDTH: usize = 80;

/// The text of a tensor with these elements, row-major.
pub fn format(dtype: DType, shape: &[usize], values: &[Scalar]) -> String {
    let prefix = "tensor(";
    let mut suffixes = Vec::new();
    let body = if values.is_empty() {
        if shape.len() != 1 {
            let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
            suffixes.push(format!("size=({})", dims.join(", ")));
        }
        if dtype != DType::F32 {
            suffixes.push(format!("dtype=tensorc.{dtype}"));
        }
        "[]".to_string()
    } else {
        if !matches!(dtype, DType::F32 | DType::I64 | DType::Bool) {
            suffixes.push(format!("dtype=tensorc.{dtype}"));
        }
        let summarize = values.len() > THRESHOLD;
        let mut shown = Vec::new();
        collect(shape, values, summarize, &mut shown);
        let columns = Columns::new(&shown);
        nested(shape, values, prefix.len(), summarize, &columns)
    };
    let mut out = format!("{prefix}{body}");
    // PyTorch counts the last line from the position before its first character, and without a line break from one
    // before that.
    let mut last = out.rfind('\n').map_or(out.len() + 2, |i| out.len() - i + 1);
    for s in suffixes {
        if last + s.len() + 2 > WIDTH {
            out += &format!(",\n{}{s}", " ".repeat(prefix.len()));
            last = prefix.len() + s.len();
        } else {
            out += &format!(", {s}");
            last += s.len() + 2;
        }
    }
    out + ")"
}

/// The elements that a summary shows; the format depends on them alone.
fn collect(shape: &[usize], values: &[Scalar], summarize: bool, out: &mut Vec<Scalar>) {
    let Some((d, rest)) = shape.split_first() else {
        out.extend(values);
        return;
    };
    let n: usize = rest.iter().product();
    for i in shown(*d, summarize) {
        collect(rest, &values[i * n..(i + 1) * n], summarize, out);
    }
}

fn shown(d: usize, summarize: bool) -> Vec<usize> {
    if summarize && d > 2 * EDGE { (0..EDGE).chain(d - EDGE..d).collect() } else { (0..d).collect() }
}

fn nested(shape: &[usize], values: &[Scalar], indent: usize, summarize: bool, columns: &Columns) -> String {
    match shape {
        [] => columns.format(values[0]),
        [d] => vector(*d, values, indent, summarize, columns),
        [d, rest @ ..] => {
            let n: usize = rest.iter().product();
            let mut parts: Vec<String> = shown(*d, summarize)
                .into_iter()
                .map(|i| nested(rest, &values[i * n..(i + 1) * n], indent + 1, summarize, columns))
                .collect();
            if summarize && *d > 2 * EDGE {
                parts.insert(EDGE, "...".into());
            }
            let between = format!(",{}{}", "\n".repeat(shape.len() - 1), " ".repeat(indent + 1));
            format!("[{}]", parts.join(&between))
        }
    }
}

fn vector(d: usize, values: &[Scalar], indent: usize, summarize: bool, columns: &Columns) -> String {
    let per_line = (WIDTH.saturating_sub(indent) / (columns.width + 2)).max(1);
    let mut parts: Vec<String> = shown(d, summarize).into_iter().map(|i| columns.format(values[i])).collect();
    if summarize && d > 2 * EDGE {
        parts.insert(EDGE, " ...".into());
    }
    let lines: Vec<String> = parts.chunks(per_line).map(|line| line.join(", ")).collect();
    format!("[{}]", lines.join(&format!(",\n{}", " ".repeat(indent + 1))))
}

/// How the elements of one tensor are written.
struct Columns {
    width: usize,
    integers: bool,
    scientific: bool,
}

impl Columns {
    fn new(values: &[Scalar]) -> Columns {
        let mut c = Columns { width: 1, integers: true, scientific: false };
        if !values.first().is_some_and(|v| v.dtype.is_float()) {
            c.width = values.iter().map(|v| plain(*v).len()).max().unwrap_or(1);
            return c;
        }
        let finite: Vec<f64> = values.iter().map(|v| v.to_f64()).filter(|v| v.is_finite() && *v != 0.0).collect();
        if finite.is_empty() {
            return c;
        }
        let most = finite.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let least = finite.iter().fold(f64::INFINITY, |m: f64, v| m.min(v.abs()));
        c.integers = finite.iter().all(|v| *v == v.ceil());
        c.scientific = most / least > 1000.0 || most > 1e8 || least < 1e-4;
        let len = |v: &f64| match (c.scientific, c.integers) {
            (true, _) => scientific(*v).len(),
            (false, true) => format!("{v:.0}").len() + 1,
            (false, false) => format!("{v:.PRECISION$}").len(),
        };
        c.width = finite.iter().map(len).max().unwrap_or(1);
        c
    }

    fn format(&self, v: Scalar) -> String {
        let text = if !v.dtype.is_float() {
            plain(v)
        } else {
            let x = v.to_f64();
            if x.is_nan() {
                "nan".into()
            } else if x.is_infinite() {
                if x > 0.0 { "inf".into() } else { "-inf".into() }
            } else if self.scientific {
                scientific(x)
            } else if self.integers {
                format!("{x:.0}.")
            } else {
                format!("{x:.PRECISION$}")
            }
        };
        format!("{text:>0$}", self.width)
    }
}

fn plain(v: Scalar) -> String {
    match v.dtype {
        DType::Bool => if v.to_bool() { "True" } else { "False" }.into(),
        _ => v.to_i64().to_string(),
    }
}

/// `1.0000e+00`: a sign and at least two digits in the exponent.
fn scientific(v: f64) -> String {
    let text = format!("{v:.PRECISION$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
    format!("{mantissa}e{sign}{digits:0>2}")
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Traced(t) => write!(f, "traced({})", t.ty),
            Repr::Concrete(_) => match self.scalars() {
                Ok(values) => {
                    let text = format(self.dtype(), self.shape(), &values);
                    // PyTorch's last suffix stands before the closing parenthesis.
                    let history = match self.grad_fn() {
                        Some(name) => format!(", grad_fn=<{name}>"),
                        None if self.requires_grad() => ", requires_grad=True".to_string(),
                        None => String::new(),
                    };
                    match text.strip_suffix(')') {
                        Some(open) => write!(f, "{open}{history})"),
                        None => f.write_str(&text),
                    }
                }
                Err(e) => write!(f, "tensor(<{e}>)"),
            },
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
