//! Learning rates: functions of the number of steps done, as in `torch.optim.lr_scheduler`.
//!
//! Each function here gives a function of the step, from 0 on, in closed form: the value is what PyTorch's scheduler of that
//! name has after so many calls of `step()`. What it gives goes to a step as a tensor, so that nothing is compiled anew.
//!
//! ```
//! use tensorc::train::schedule;
//!
//! let lr = schedule::with_warm_up(10, 0.1, schedule::cosine_annealing(3e-3, 90, 0.0));
//! assert_eq!(lr(10), 3e-3);
//! assert!(lr(0) < lr(5) && lr(50) > lr(100));
//! ```

use std::f64::consts::PI;

/// `lr` times `factor` for the first `total_iters` steps, then `lr` (`ConstantLR`; PyTorch's defaults are 1/3 and 5).
pub fn constant(lr: f64, factor: f64, total_iters: usize) -> impl Fn(usize) -> f64 + Clone {
    move |step| if step < total_iters { lr * factor } else { lr }
}

/// `lr` times `gamma` to the power of how many times `step_size` steps are done (`StepLR`; default `gamma` 0.1).
pub fn step(lr: f64, step_size: usize, gamma: f64) -> impl Fn(usize) -> f64 + Clone {
    move |step| lr * gamma.powi((step / step_size.max(1)) as i32)
}

/// `lr` times `gamma` to the power of how many of the milestones are reached (`MultiStepLR`).
pub fn multi_step(lr: f64, milestones: &[usize], gamma: f64) -> impl Fn(usize) -> f64 + Clone + use<> {
    let milestones = milestones.to_vec();
    move |step| lr * gamma.powi(milestones.iter().filter(|m| **m <= step).count() as i32)
}

/// `lr` times `gamma` to the power of the step (`ExponentialLR`).
pub fn exponential(lr: f64, gamma: f64) -> impl Fn(usize) -> f64 + Clone {
    move |step| lr * gamma.powf(step as f64)
}

/// From `lr start_factor` to `lr end_factor` along a line of `total_iters` steps (`LinearLR`; PyTorch's defaults are 1/3, 1
/// and 5).
pub fn linear(lr: f64, start_factor: f64, end_factor: f64, total_iters: usize) -> impl Fn(usize) -> f64 + Clone {
    move |step| {
        let part = if total_iters == 0 { 1.0 } else { step.min(total_iters) as f64 / total_iters as f64 };
        lr * (start_factor + (end_factor - start_factor) * part)
    }
}

/// From `lr` to 0 as (1 - step / total_iters)^power (`PolynomialLR`; PyTorch's defaults are 5 and 1).
pub fn polynomial(lr: f64, total_iters: usize, power: f64) -> impl Fn(usize) -> f64 + Clone {
    move |step| {
        let part = if total_iters == 0 { 1.0 } else { step.min(total_iters) as f64 / total_iters as f64 };
        lr * (1.0 - part).powf(power)
    }
}

/// From `lr` to `eta_min` along half a cosine of `t_max` steps, and back up again, as `CosineAnnealingLR` (Loshchilov and
/// Hutter, 2017): eta_min + (lr - eta_min) (1 + cos(pi step / t_max)) / 2.
pub fn cosine_annealing(lr: f64, t_max: usize, eta_min: f64) -> impl Fn(usize) -> f64 + Clone {
    move |step| eta_min + (lr - eta_min) * (1.0 + (PI * step as f64 / t_max.max(1) as f64).cos()) / 2.0
}

/// One schedule up to `milestone`, from then on another, which counts from 0 there (`SequentialLR`).
pub fn sequential(
    first: impl Fn(usize) -> f64 + Clone,
    milestone: usize,
    then: impl Fn(usize) -> f64 + Clone,
) -> impl Fn(usize) -> f64 + Clone {
    move |step| if step < milestone { first(step) } else { then(step - milestone) }
}

/// A schedule after `steps` steps in which the rate goes along a line from `start_factor` times its first value to that
/// value: [`linear`], then `then`.
pub fn with_warm_up(
    steps: usize,
    start_factor: f64,
    then: impl Fn(usize) -> f64 + Clone,
) -> impl Fn(usize) -> f64 + Clone {
    sequential(linear(then(0), start_factor, 1.0, steps), steps, then)
}

/// What [`one_cycle`] takes, with PyTorch's defaults but for `max_lr` and `total_steps`, which are to be given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// The largest rate.
    pub max_lr: f64,
    /// The steps of the whole cycle.
    pub total_steps: usize,
    /// Which part of them goes up.
    pub pct_start: f64,
    /// Along half a cosine, or else along lines.
    pub cosine: bool,
    /// The first rate is `max_lr / div_factor`.
    pub div_factor: f64,
    /// The last one is the first one divided by this.
    pub final_div_factor: f64,
    /// Down to the first rate as long as up, and then to the last.
    pub three_phase: bool,
}

impl Default for OneCycle {
    fn default() -> OneCycle {
        OneCycle {
            max_lr: 1e-3,
            total_steps: 1000,
            pct_start: 0.3,
            cosine: true,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }
}

/// Up to the largest rate and down to nearly nothing, as `OneCycleLR` (Smith and Topin, 2018). After the last step the rate
/// stays.
pub fn one_cycle(c: OneCycle) -> impl Fn(usize) -> f64 + Clone {
    let first = c.max_lr / c.div_factor;
    let last = first / c.final_div_factor;
    // Where each phase ends, and its rates.
    let (up, all) = (c.pct_start * c.total_steps as f64 - 1.0, c.total_steps as f64 - 1.0);
    let phases = match c.three_phase {
        true => {
            let down = 2.0 * c.pct_start * c.total_steps as f64 - 2.0;
            vec![(up, first, c.max_lr), (down, c.max_lr, first), (all, first, last)]
        }
        false => vec![(up, first, c.max_lr), (all, c.max_lr, last)],
    };
    move |step| {
        let step = (step as f64).min(all);
        let mut start = 0.0;
        for (i, (end, from, to)) in phases.iter().enumerate() {
            if step <= *end || i + 1 == phases.len() {
                let part = if *end > start { (step - start) / (end - start) } else { 1.0 };
                return match c.cosine {
                    true => to + (from - to) / 2.0 * (1.0 + (PI * part).cos()),
                    false => from + (to - from) * part,
                };
            }
            start = *end;
        }
        last
    }
}
