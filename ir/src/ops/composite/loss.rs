//! Losses. `reduction` is "mean", "sum" or "none"; half floats are rounded once, after the reduction.
//!
//! Classes are checked when the program runs: one outside is an error of kind `data`, unless it is `ignore_index`.

use super::arith::common;
use super::row;
use super::softmax::log_softmax;
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, require_float};
use crate::types::ShapeText;

/// How elementwise losses become the result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// As they are.
    None,
    /// The sum over the number of samples (`kl_div` only).
    BatchMean,
}

/// The argument `reduction`.
///
/// # Errors
/// `type` if it is none of its values.
pub fn reduction(a: &Args<'_>, i: usize) -> Result<Reduction> {
    match a.str(i)? {
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        "none" => Ok(Reduction::None),
        other => Err(err::ty(format!("{other:?} is not a valid value for reduction: \"mean\", \"sum\" or \"none\""))),
    }
}

impl Reduction {
    /// The losses, reduced.
    pub fn of<'b>(self, x: Ex<'b>) -> Ex<'b> {
        match self {
            Reduction::None => x,
            Reduction::Sum => x.sum_all(),
            Reduction::Mean => x.sum_all() / x.extent(x.count()),
            Reduction::BatchMean => x.sum_all() / x.extent(x.dims().first().copied().unwrap_or(Dim::ONE)),
        }
    }
}

/// An elementwise loss of two operands that broadcast.
///
/// # Errors
/// `dtype` if they are not of floats.
pub fn pairwise<'b>(
    b: &'b Builder,
    a: &Args<'b>,
    name: &str,
    reduction: Reduction,
    f: impl FnOnce(Ex<'b>, Ex<'b>) -> Ex<'b>,
) -> Result<Ex<'b>> {
    let (x, t) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    let dtype = common(&[x, t]);
    if !dtype.is_float() {
        return Err(crate::ops::elementwise::not_float(name, dtype));
    }
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    let loss = f(wide(x), wide(t));
    Ok(reduction.of(loss).cast(dtype))
}

/// How the mean of weighted losses divides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Divisor {
    /// By the sum of the weights.
    Weights,
    /// By the number of elements.
    Count,
}

/// [`pairwise`] whose reduction is argument 2, with weights of the shape of x, argument `weight`, if they are given.
fn weighable<'b>(
    b: &'b Builder,
    a: &Args<'b>,
    name: &str,
    (weight, divisor): (usize, Divisor),
    f: impl FnOnce(Ex<'b>, Ex<'b>) -> Ex<'b>,
) -> Result<Ex<'b>> {
    let Some(w) = a.opt_tensor(b, weight)? else { return pairwise(b, a, name, reduction(a, 2)?, f) };
    let (x, t) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    if w.dims() != x.dims() {
        let (w, x) = (w.ty(), x.ty());
        return Err(err::shape(format!("`{name}`: Weights and input must have the same size, got {w} and {x}")));
    }
    let loss = common(&[x, t]);
    if !loss.is_float() {
        return Err(crate::ops::elementwise::not_float(name, loss));
    }
    let dtype = common(&[x, t, w]);
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    let loss = row("mul", &[f(wide(x), wide(t)), wide(w)])?;
    let reduced = match (reduction(a, 2)?, divisor) {
        (Reduction::Mean, Divisor::Weights) => loss.sum_all() / wide(w).sum_all(),
        (r, _) => r.of(loss),
    };
    Ok(reduced.cast(dtype))
}

/// A loss whose operands have one shape and dtype, possibly weighted.
fn weighted<'b>(
    b: &'b Builder,
    a: &Args<'b>,
    name: &str,
    at: usize,
    f: impl FnOnce(Ex<'b>, Ex<'b>) -> Result<Ex<'b>>,
) -> Result<Ex<'b>> {
    let (x, t) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    require_float(name, x)?;
    if t.dims() != x.dims() {
        let (t, x) = (t.dims(), x.dims());
        return Err(err::shape(format!(
            "`{name}`: Target size ({}) must be the same as input size ({})",
            ShapeText(&t),
            ShapeText(&x)
        )));
    }
    let wide = |e: Ex<'b>| e.cast(x.dtype().compute());
    let mut loss = f(wide(x), wide(t))?;
    if let Some(w) = a.opt_tensor(b, 2)? {
        loss = row("mul", &[loss, wide(w)])?;
    }
    Ok(reduction(a, at)?.of(loss).cast(x.dtype()))
}

/// Quadratic near 0, linear far away; the two meet at `limit`.
fn rounded_corner<'b>(
    d: Ex<'b>,
    limit: f64,
    near: impl FnOnce(Ex<'b>) -> Ex<'b>,
    far: impl FnOnce(Ex<'b>) -> Ex<'b>,
) -> Ex<'b> {
    let m = d.abs();
    m.lt(m.number(limit)).select(near(d), far(m))
}

fn smooth<'b>(d: Ex<'b>, beta: f64) -> Ex<'b> {
    if beta == 0.0 {
        return d.abs();
    }
    rounded_corner(d, beta, |d| d * d * 0.5 / beta, |m| m - 0.5 * beta)
}

/// What a loss over classes has: scores `[n, class, ..]` in the dtype computed in, classes `[n, ..]`.
struct Classes<'b> {
    b: &'b Builder,
    target: Ex<'b>,
    axis: usize,
    count: Dim,
    ignore: i64,
}

impl<'b> Classes<'b> {
    fn new(b: &'b Builder, name: &str, x: Ex<'b>, target: Ex<'b>, ignore: i64) -> Result<Classes<'b>> {
        if target.dtype() != DType::I64 {
            let d = target.dtype();
            return Err(err::dtype(format!("`{name}`: expected target dtype to be i64, but got {d}")));
        }
        let axis = (x.rank() > 1) as usize;
        let mut shape = x.dims();
        if x.rank() == 0 {
            return Err(err::shape(format!("`{name}`: Expected 1 or more dimensions (got 0)")));
        }
        let count = shape.remove(axis);
        if target.dims() != shape {
            let (got, want) = (target.dims(), ShapeText(&shape));
            return Err(err::shape(match (shape.first(), got.first()) {
                (Some(n), Some(m)) if n != m => {
                    format!("`{name}`: Expected input batch_size ({n}) to match target batch_size ({m})")
                }
                _ => format!("`{name}`: Expected target size {want}, got {}", ShapeText(&got)),
            }));
        }
        Ok(Classes { b, target, axis, count, ignore })
    }

    /// Whether a sample counts.
    fn counts(&self) -> Ex<'b> {
        self.target.ne(self.b.number(Scalar::from_i64(DType::I64, self.ignore)))
    }

    /// The class of each sample, in range; 0 where it is ignored.
    fn class(&self) -> Result<Ex<'b>> {
        let zero = self.b.number(Scalar::from_i64(DType::I64, 0));
        let t = row("where", &[self.counts(), self.target, zero])?;
        row("check_target", &[t, self.b.int(self.count)])
    }

    /// The score of each sample's class.
    fn pick(&self, x: Ex<'b>) -> Result<Ex<'b>> {
        let t = self.class()?;
        Ok(x.gather(self.axis, t.unsqueeze(self.axis)).reshape(&t.dims()))
    }

    /// The weight of each sample: 0 where it is ignored, else that of its class.
    fn weights(&self, weight: Option<Ex<'b>>, dtype: DType) -> Result<Ex<'b>> {
        let counts = self.counts().cast(dtype);
        let Some(w) = weight else { return Ok(counts) };
        let t = self.class()?;
        let flat = w.cast(dtype).gather(0, t.reshape(&[t.count()]));
        Ok(flat.reshape(&t.dims()) * counts)
    }
}

fn check_weight(name: &str, weight: Option<Ex<'_>>, classes: Dim) -> Result<()> {
    match weight {
        Some(w) if w.dims().as_slice() != [classes] => Err(err::shape(format!(
            "`{name}`: weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of \
             shape: {}",
            ShapeText(&w.dims())
        ))),
        _ => Ok(()),
    }
}

/// The mean weighs by the samples' weights.
fn weigh<'b>(r: Reduction, loss: Ex<'b>, weights: Ex<'b>) -> Ex<'b> {
    match r {
        Reduction::None => loss,
        Reduction::Sum => loss.sum_all(),
        Reduction::Mean | Reduction::BatchMean => loss.sum_all() / weights.sum_all(),
    }
}

/// The negative log probability of each sample's class; what does not count is 0, whatever its score.
fn nll<'b>(c: &Classes<'b>, logp: Ex<'b>, weights: Ex<'b>) -> Result<Ex<'b>> {
    let picked = -c.pick(logp)?;
    Ok(c.counts().select(picked * weights, picked.zeros()))
}

fn nll_loss<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, w) = (a.tensor(b, 0)?, a.opt_tensor(b, 2)?);
    require_float("nll_loss", x)?;
    let c = Classes::new(b, "nll_loss", x, a.tensor(b, 1)?, a.int(3)?)?;
    check_weight("nll_loss", w, c.count)?;
    let logp = x.cast(x.dtype().compute());
    let weights = c.weights(w, logp.dtype())?;
    let loss = nll(&c, logp, weights)?;
    Ok(weigh(reduction(a, 4)?, loss, weights).cast(x.dtype()))
}

/// What smoothing gives to each of so many classes.
fn share<'b>(x: Ex<'b>, smoothing: f64, classes: Dim) -> Ex<'b> {
    match classes.known() {
        Some(n) => x.number(smoothing / n.max(1) as f64),
        None => (x.number(smoothing) / x.builder().extent(classes.max(Dim::ONE), DType::F64)).cast(x.dtype()),
    }
}

/// The arguments of a cross entropy besides the scores.
struct Entropy<'b> {
    target: Ex<'b>,
    weight: Option<Ex<'b>>,
    ignore: i64,
    reduction: Reduction,
    smoothing: f64,
}

impl<'b> Entropy<'b> {
    /// The loss of scores in the dtype computed in.
    fn of(&self, b: &'b Builder, name: &str, x: Ex<'b>) -> Result<Ex<'b>> {
        let (t, w, r, smoothing) = (self.target, self.weight, self.reduction, self.smoothing);
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(err::ty(format!("`{name}`: label_smoothing must be between 0.0 and 1.0. Got: {smoothing}")));
        }
        let axis = (x.rank() > 1) as usize;
        let classes = x.dims().get(axis).copied().unwrap_or(Dim::ZERO);
        check_weight(name, w, classes)?;
        let mut column = vec![Dim::ONE; x.rank()];
        if let Some(n) = column.get_mut(axis) {
            *n = classes;
        }
        let per_class = |logp: Ex<'b>| w.map_or(logp, |w| logp * w.cast(logp.dtype()).reshape(&column));
        if t.dims() == x.dims() && t.dtype().is_float() {
            let soft = t.cast(x.dtype()) * (1.0 - smoothing) + share(x, smoothing, classes);
            let soft = if smoothing > 0.0 { soft } else { t.cast(x.dtype()) };
            let loss = -(per_class(log_softmax(x, &[axis])) * soft).sum(&[axis], false);
            return Ok(match r {
                Reduction::Mean | Reduction::BatchMean => loss.sum_all() / loss.extent(loss.count()),
                other => other.of(loss),
            });
        }
        let c = Classes::new(b, name, x, t, self.ignore)?;
        let logp = log_softmax(x, &[axis]);
        let weights = c.weights(w, logp.dtype())?;
        let loss = nll(&c, logp, weights)?;
        let y = weigh(r, loss, weights);
        if smoothing == 0.0 {
            return Ok(y);
        }
        let all = -per_class(logp).sum(&[axis], false);
        let even = c.counts().select(all, all.zeros());
        let even = weigh(r, even, weights);
        Ok(y * (1.0 - smoothing) + even * share(x, smoothing, classes))
    }
}

fn cross_entropy<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, target, weight) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.opt_tensor(b, 2)?);
    require_float("cross_entropy", x)?;
    let e = Entropy { target, weight, ignore: a.int(3)?, reduction: reduction(a, 4)?, smoothing: a.float(5)? };
    Ok(e.of(b, "cross_entropy", x.cast(x.dtype().compute()))?.cast(x.dtype()))
}

/// `cross_entropy` of `linear`, rounded once.
fn linear_cross_entropy<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    const NAME: &str = "linear_cross_entropy";
    let (x, w, target, bias) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?, a.opt_tensor(b, 3)?);
    require_float(NAME, x)?;
    super::same_dtype(NAME, &[x, w, bias.unwrap_or(w)])?;
    let (s, ws) = (x.dims(), w.dims());
    if s.is_empty() || s.len() > 2 {
        return Err(err::shape(format!("`{NAME}`: expected input with dimensionality 1 or 2, got {}", s.len())));
    }
    if ws.len() < 2 {
        return Err(err::shape(format!(
            "`{NAME}`: expected linear_weight with dimensionality at least 2, got {}",
            ws.len()
        )));
    }
    let (features, classes) = (s[s.len() - 1], &ws[..ws.len() - 1]);
    if features != ws[ws.len() - 1] {
        return Err(err::shape(format!(
            "`{NAME}`: expected equal input and linear_weight last dimensions (in_features), got {} and {}",
            x.ty(),
            w.ty()
        )));
    }
    if let Some(bias) = bias.filter(|e| e.dims().as_slice() != classes) {
        return Err(err::shape(format!(
            "`{NAME}`: expected linear_bias shape {}, got {}",
            ShapeText(classes),
            bias.ty()
        )));
    }
    if ws.len() > 2 && s.len() == 1 {
        return Err(err::shape(format!(
            "`{NAME}`: K-dimensional loss defined by linear_weight shape {} requires batched input, (N, {features}), got unbatched \
             input with shape {}",
            ShapeText(&ws),
            ShapeText(&s)
        )));
    }
    let dtype = x.dtype();
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    // One row of the matrix for each class and place.
    let rows = crate::dim::product(classes);
    let mut logits = super::matmul::matmul(wide(x), wide(w).reshape(&[rows, features]).transpose(0, 1))?;
    if let Some(bias) = bias {
        logits = row("add", &[logits, wide(bias).reshape(&[rows])])?;
    }
    let mut shape = s[..s.len() - 1].to_vec();
    shape.extend(classes.iter().copied());
    let logits = logits.reshape(&shape);
    if !a.is_none(6) && target.dims() == logits.dims() {
        return Err(err::ty(format!("`{NAME}`: ignore_index cannot be specified when target contains probabilities")));
    }
    let (ignore, weight) = (a.opt_int(6)?.unwrap_or(-100), a.opt_tensor(b, 4)?);
    let e = Entropy { target, weight, ignore, reduction: reduction(a, 5)?, smoothing: a.float(7)? };
    Ok(e.of(b, NAME, logits)?.cast(dtype))
}

fn with_logits<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let positive = a.opt_tensor(b, 4)?;
    weighted(b, a, "binary_cross_entropy_with_logits", 3, |x, t| {
        let l = x.map("logsigmoid", &[]);
        let l = match positive {
            Some(w) => row("mul", &[t * (w.cast(x.dtype()) - 1.0) + 1.0, l])?,
            None => l,
        };
        Ok((1.0 - t) * x - l)
    })
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "mse_loss",
        sig: "x, target, reduction: str = mean, weight = None",
        example: "x: D[2, 3], target: D[2, 3] => mse_loss(x, target)",
        doc: "weight (x - target)^2, which broadcast; weight has the shape of x. reduction \"mean\", over the sum of the \
              weights, \"sum\" or \"none\". Floats.",
        build: |b, a| Ok(weighable(b, a, "mse_loss", (3, Divisor::Weights), |x, t| (x - t).map("square", &[]))?.into()),
    },
    FnDef {
        name: "l1_loss",
        sig: "x, target, reduction: str = mean, weight = None",
        example: "x: D[2, 3], target: D[2, 3] => l1_loss(x, target)",
        doc: "weight |x - target|, which broadcast; weight has the shape of x. reduction \"mean\", over the sum of the \
              weights, \"sum\" or \"none\". Floats. The gradient at 0 is 0.",
        build: |b, a| Ok(weighable(b, a, "l1_loss", (3, Divisor::Weights), |x, t| (x - t).abs())?.into()),
    },
    FnDef {
        name: "smooth_l1_loss",
        sig: "x, target, reduction: str = mean, beta: float = 1.0",
        example: "x: D[2, 3], target: D[2, 3] => smooth_l1_loss(x, target)",
        doc: "d^2 / (2 beta) for |d| below beta, else |d| - beta / 2, with d = x - target, which broadcast; beta is \
              not negative, with 0 it is `l1_loss`. reduction \"mean\", \"sum\" or \"none\". Floats.",
        build: |b, a| {
            let beta = a.float(3)?;
            if beta < 0.0 {
                return Err(err::ty("`smooth_l1_loss` does not support negative values for beta"));
            }
            Ok(pairwise(b, a, "smooth_l1_loss", reduction(a, 2)?, |x, t| smooth(x - t, beta))?.into())
        },
    },
    FnDef {
        name: "huber_loss",
        sig: "x, target, reduction: str = mean, delta: float = 1.0, weight = None",
        example: "x: D[2, 3], target: D[2, 3] => huber_loss(x, target)",
        doc: "d^2 / 2 for |d| below delta, else delta (|d| - delta / 2), with d = x - target, which broadcast; delta \
              is positive. A weight, of the shape of x, is a factor. reduction \"mean\", over the number of elements also \
              with a weight, \"sum\" or \"none\". Floats.",
        build: |b, a| {
            let delta = a.float(3)?;
            if delta <= 0.0 {
                return Err(err::ty("`huber_loss` does not support non-positive values for delta"));
            }
            let f = |d| rounded_corner(d, delta, |d| d * d * 0.5, |m| (m - 0.5 * delta) * delta);
            Ok(weighable(b, a, "huber_loss", (4, Divisor::Count), |x, t| f(x - t))?.into())
        },
    },
    FnDef {
        name: "binary_cross_entropy",
        sig: "x, target, weight = None, reduction: str = mean",
        example: "x: D[2, 3], target: D[2, 3] => binary_cross_entropy(x, target)",
        doc: "-weight (target log x + (1 - target) log(1 - x)) for probabilities x, with logarithms of at least -100; \
              reduction \"mean\", \"sum\" or \"none\". Floats of one shape.",
        build: |b, a| Ok(weighted(b, a, "binary_cross_entropy", 3, |x, t| row("bce", &[x, t]))?.into()),
    },
    FnDef {
        name: "binary_cross_entropy_with_logits",
        sig: "x, target, weight = None, reduction: str = mean, pos_weight = None",
        example: "x: D[2, 3], target: D[2, 3] => binary_cross_entropy_with_logits(x, target)",
        doc: "-weight (pos_weight target log sigmoid(x) + (1 - target) log(1 - sigmoid(x))) without overflow; \
              reduction \"mean\", \"sum\" or \"none\". Floats of one shape; weights broadcast.",
        build: |b, a| Ok(with_logits(b, a)?.into()),
    },
    FnDef {
        name: "kl_div",
        sig: "x, target, reduction: str = mean, log_target: bool = false",
        example: "x: D[2, 3], target: D[2, 3] => kl_div(x, target, reduction=\"batchmean\")",
        doc: "target (log target - x), or e^target (target - x) for log_target; reduction \"mean\", \"sum\", \"none\" \
              or \"batchmean\", the sum divided by the first extent. 0 where the target is 0. Floats that broadcast.",
        build: |b, a| {
            let log = a.bool(3)?;
            let r = if a.str(2)? == "batchmean" { Reduction::BatchMean } else { reduction(a, 2)? };
            Ok(pairwise(b, a, "kl_div", r, |x, t| if log { t.exp() * (t - x) } else { t.map("xlogy", &[t]) - t * x })?
                .into())
        },
    },
    FnDef {
        name: "nll_loss",
        sig: "x, target, weight = None, ignore_index: int = -100, reduction: str = mean",
        example: "x: D[2, 3] => nll_loss(x, tensor([0, 2]))",
        doc: "-weight[y] x[y] of log probabilities x, [n, class, ..] (or [class]), and i64 classes y, [n, ..]; the \
              mean divides by the sum of the weights. Where y is ignore_index nothing counts; another one outside the \
              classes is an error of the run. reduction \"mean\", \"sum\" or \"none\". Floats.",
        build: |b, a| Ok(nll_loss(b, a)?.into()),
    },
    FnDef {
        name: "cross_entropy",
        sig: "x, target, weight = None, ignore_index: int = -100, reduction: str = mean, label_smoothing: float = 0.0",
        example: "x: D[2, 3] => cross_entropy(x, tensor([0, 2]))",
        doc: "`nll_loss` of the log_softmax of x over the classes, [n, class, ..] (or [class]); label_smoothing moves \
              that much of the target to all classes alike. The target may also be probabilities of the shape of x: \
              then the sum over the classes of -weight target log_softmax(x). Floats.",
        build: |b, a| Ok(cross_entropy(b, a)?.into()),
    },
    FnDef {
        name: "linear_cross_entropy",
        sig: "x, linear_weight: tensor, target: tensor, linear_bias = None, weight = None, reduction: str = mean, \
              ignore_index: int? = None, label_smoothing: float = 0.0",
        example: "x: D[2, 4], linear_weight: D[3, 4] => linear_cross_entropy(x, linear_weight, tensor([0, 2]))",
        doc: "cross_entropy of the scores linear(x, linear_weight, linear_bias), rounded once: x is [n, in] or [in], \
              linear_weight [class, .., in], linear_bias [class, ..], the scores [n, class, ..]. Floats of one dtype; no \
              ignore_index with probabilities.",
        build: |b, a| Ok(linear_cross_entropy(b, a)?.into()),
    },
];
