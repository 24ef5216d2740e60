//! A function of a workload with its inputs, ready to be called and timed, as the suite times all its candidates: each call
//! makes its results anew and frees those before; short calls are timed many at a time.

use std::time::Instant;
use tensorc::{Jit, Result, Tensor, Tree, jit};

/// A function bound to its inputs.
pub trait Job {
    /// Runs it, compiled. The results of the call before are freed when the new ones are there.
    fn call(&mut self) -> Result<()>;

    /// The results of the last call.
    fn results(&self) -> Vec<Tensor>;

    /// Its results op by op, without compiling the function as a whole.
    fn op_by_op(&self) -> Result<Vec<Tensor>>;
}

struct Prepared<A: Tree, R: Tree, F> {
    f: F,
    compiled: Jit<A, R, F>,
    args: A,
    results: Option<R>,
}

impl<A: Tree + Clone, R: Tree, F: Fn(A) -> Result<R>> Job for Prepared<A, R, F> {
    fn call(&mut self) -> Result<()> {
        self.results = Some(self.compiled.call(self.args.clone())?);
        Ok(())
    }

    fn results(&self) -> Vec<Tensor> {
        let mut all = Vec::new();
        self.results.take_apart(&mut all);
        all
    }

    fn op_by_op(&self) -> Result<Vec<Tensor>> {
        let mut all = Vec::new();
        (self.f)(self.args.clone())?.take_apart(&mut all);
        Ok(all)
    }
}

/// A function with its inputs. Nothing is traced before the first call.
pub fn prepare<A, R, F>(f: F, args: A) -> Box<dyn Job>
where
    A: Tree + Clone + 'static,
    R: Tree + 'static,
    F: Fn(A) -> Result<R> + Copy + 'static,
{
    Box::new(Prepared { f, compiled: jit(f), args, results: None })
}

/// A job that has been called a few times.
pub struct Warm {
    job: Box<dyn Job>,
    /// Tracing, compiling and running, in milliseconds.
    pub first_ms: f64,
    /// The call after that.
    pub second_ms: f64,
    /// Calls to a sample, of at least 100 us together.
    batch: usize,
}

impl Warm {
    /// Calls a job until all that is done once is done. `look` gets the results of the first call, before others overwrite
    /// them.
    pub fn up<E: From<tensorc::Error>>(
        mut job: Box<dyn Job>,
        look: impl FnOnce(Vec<Tensor>) -> std::result::Result<(), E>,
    ) -> std::result::Result<Warm, E> {
        let first_ms = us(|| job.call())? / 1e3;
        look(job.results())?;
        let second_ms = us(|| job.call())? / 1e3;
        for _ in 0..3 {
            job.call()?;
        }
        let batch = (100.0 / us(|| job.call())?).ceil().max(1.0) as usize;
        Ok(Warm { job, first_ms, second_ms, batch })
    }

    /// Microseconds a call, in samples taken for that long.
    pub fn samples(&mut self, seconds: f64) -> Result<Vec<f64>> {
        let (start, mut samples) = (Instant::now(), Vec::new());
        while samples.is_empty() || start.elapsed().as_secs_f64() < seconds {
            let all = us(|| (0..self.batch).try_for_each(|_| self.job.call()))?;
            samples.push(all / self.batch as f64);
        }
        Ok(samples)
    }
}

/// The time it takes, in microseconds.
pub fn us(f: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    f()?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// The one in the middle.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
