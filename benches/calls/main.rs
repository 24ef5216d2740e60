//! What a warm call costs beside its kernel: functions that compute next to nothing, each called again and again.
//!
//! `cargo bench --bench calls` prints the nanoseconds of one call of each, the least of several batches that take turns,
//! and the same from two threads at once, which call one function on tensors of their own. Times of so little depend on
//! the machine and on who else uses it; instructions do not. With `-- --instructions` the program runs itself under
//! `valgrind --tool=callgrind` (to be installed) and prints the instructions of one call, which is the difference between a
//! run of few calls and one of more, divided by how many more. `-- NAME COUNT` does nothing but make that many warm
//! calls: to look closer, give `valgrind` or `perf` the program, which `cargo bench --bench calls --no-run` names:
//!
//! ```text
//! valgrind --tool=callgrind target/release/deps/calls-… ten_ops 100000
//! callgrind_annotate callgrind.out.*
//! ```
//!
//! Valgrind knows no AVX-512; the program under it finds none, and emits the code for a machine without.

use std::error::Error;
use std::hint::black_box;
use std::process::Command;
use std::sync::Barrier;
use std::time::Instant;
use tensorc::dtype::F32;
use tensorc::{Result, Tensor, jit, rand, zeros};

/// A call to time, and what it is.
struct Row {
    name: &'static str,
    what: &'static str,
    make: fn() -> Result<Call>,
}

/// Makes a call that many times.
type Call = Box<dyn Fn(usize) -> Result<()> + Send>;

/// Calls `f` on `args` again and again. The results of a call are freed before the next.
fn calls<A: Clone + Send + 'static, R: 'static>(args: A, f: impl Fn(A) -> Result<R> + Send + 'static) -> Result<Call> {
    f(args.clone())?;
    Ok(Box::new(move |n| (0..n).try_for_each(|_| f(black_box(&args).clone()).map(|r| drop(black_box(r))))))
}

/// Ten operations on each number, as in the workload `tiny_8` of the peers.
fn chain(x: Tensor) -> Result<Tensor> {
    let y = x.mul(1.5)?.add(0.5)?.tanh()?.mul(&x)?;
    (-y)?.exp()?.add(1.0)?.sqrt()?.sub(x.mul(0.25))
}

fn some(n: usize) -> Result<Tensor> {
    rand(&[n], Some(1))
}

fn forty() -> Result<Vec<Tensor>> {
    (0..40).map(|_| some(8)).collect()
}

const ROWS: &[Row] = &[
    Row {
        name: "one_op",
        what: "jitted x + 1 on 8 numbers",
        make: || {
            let f = jit(|x: Tensor| x.add(1.0));
            calls(some(8)?, move |x| f.call(x))
        },
    },
    Row {
        name: "ten_ops",
        what: "ten jitted ops on 8 numbers",
        make: || {
            let f = jit(chain);
            calls(some(8)?, move |x| f.call(x))
        },
    },
    Row {
        name: "ten_ops_1k",
        what: "ten jitted ops on 1,000 numbers",
        make: || {
            let f = jit(chain);
            calls(some(1000)?, move |x| f.call(x))
        },
    },
    Row {
        name: "two_two",
        what: "two arguments and two results",
        make: || {
            let f = jit(|(x, y): (Tensor, Tensor)| Ok((x.add(&y)?, x.mul(&y)?)));
            calls((some(8)?, some(8)?), move |args| f.call(args))
        },
    },
    Row {
        name: "matrix",
        what: "a matrix of 4 x 8 by a vector, and a bias",
        make: || {
            let f = jit(|(w, x, b): (Tensor, Tensor, Tensor)| w.matmul(&x)?.add(&b)?.relu());
            calls((rand(&[4, 8], Some(1))?, some(8)?, some(4)?), move |args| f.call(args))
        },
    },
    Row {
        name: "in_place",
        what: "jitted x += 1 on 8 numbers",
        make: || {
            let f = jit(|x: Tensor| x.add_(1.0).map(drop));
            calls(zeros(&[8], F32)?, move |x| f.call(x))
        },
    },
    Row {
        name: "captured",
        what: "x + a captured tensor",
        make: || {
            let y = some(8)?;
            let f = jit(move |x: Tensor| x.add(&y));
            calls(some(8)?, move |x| f.call(x))
        },
    },
    Row {
        name: "forty",
        what: "x += y for 40 pairs of tensors",
        make: || {
            let f =
                jit(|(x, y): (Vec<Tensor>, Vec<Tensor>)| x.iter().zip(&y).try_for_each(|(x, y)| x.add_(y).map(drop)));
            calls((forty()?, forty()?), move |args| f.call(args))
        },
    },
    Row {
        name: "dynamic",
        what: "x + 1 on 8 numbers, a dynamic axis",
        make: || {
            let f = jit(|x: Tensor| x.add(1.0)).dynamic(0, 0, "n");
            calls(some(8)?, move |x| f.call(x))
        },
    },
    Row {
        name: "many_shapes",
        what: "x + 1 of a function that knows 200 shapes",
        make: || {
            let f = jit(|x: Tensor| x.add(1.0));
            (1..200).try_for_each(|n| f.call(some(n)?).map(drop))?;
            calls(some(8)?, move |x| f.call(x))
        },
    },
    Row { name: "eager", what: "eager x + 1 on 8 numbers", make: || calls(some(8)?, |x| x.add(1.0)) },
    Row {
        name: "eager_two",
        what: "eager x * y on 8 numbers",
        make: || calls((some(8)?, some(8)?), |(x, y)| x.mul(&y)),
    },
];

/// Batches for each row, which take turns, and calls to a batch.
const BATCHES: usize = 25;
const CALLS: usize = 4_000;

/// The least nanoseconds of one call of each.
fn times(calls: &[Call]) -> Result<Vec<f64>> {
    let mut least = vec![f64::INFINITY; calls.len()];
    for _ in 0..BATCHES {
        for (least, call) in least.iter_mut().zip(calls) {
            let start = Instant::now();
            call(CALLS)?;
            *least = least.min(start.elapsed().as_secs_f64() * 1e9 / CALLS as f64);
        }
    }
    Ok(least)
}

/// The least nanoseconds of a call while two threads call one function at once, each on a tensor of its own.
fn at_once() -> Result<f64> {
    let f = jit(chain);
    let xs = [some(8)?, rand(&[8], Some(2))?];
    xs.iter().try_for_each(|x| f.call(x.clone()).map(drop))?;
    let (start, mut least) = (Barrier::new(2), f64::INFINITY);
    for _ in 0..BATCHES {
        let work = |x: &Tensor| -> Result<f64> {
            start.wait();
            let begin = Instant::now();
            (0..CALLS).try_for_each(|_| f.call(x.clone()).map(drop))?;
            Ok(begin.elapsed().as_secs_f64() * 1e9 / CALLS as f64)
        };
        let both = std::thread::scope(|s| {
            let other = s.spawn(|| work(&xs[1]));
            let mine = work(&xs[0]);
            [mine, other.join().unwrap_or(Ok(f64::INFINITY))]
        });
        for t in both {
            least = least.min(t?);
        }
    }
    Ok(least)
}

/// The instructions of a process that makes so many calls.
fn instructions(name: &str, count: usize) -> std::result::Result<u64, Box<dyn Error>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let out = valgrind.arg(std::env::current_exe()?).args([name, &count.to_string()]).output()?;
    let text = String::from_utf8_lossy(&out.stderr);
    let number = text.lines().find_map(|l| l.split_once("Collected :")).and_then(|(_, n)| n.trim().parse().ok());
    number.ok_or_else(|| format!("valgrind has counted nothing:\n{text}").into())
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let all: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let args: Vec<&str> = all.iter().map(String::as_str).collect();
    match args[..] {
        [] => {
            let calls = ROWS.iter().map(|r| (r.make)()).collect::<Result<Vec<_>>>()?;
            for (row, ns) in ROWS.iter().zip(times(&calls)?) {
                println!("{:12} {:44} {ns:8.0} ns", row.name, row.what);
            }
            println!("{:12} {:44} {:8.0} ns", "at_once", "ten jitted ops on 8 numbers, two threads", at_once()?);
        }
        ["--instructions", ref names @ ..] => {
            let (few, more) = (1_000, 21_000);
            for row in ROWS.iter().filter(|r| names.is_empty() || names.contains(&r.name)) {
                let each = (instructions(row.name, more)? - instructions(row.name, few)?) / (more - few) as u64;
                println!("{:12} {:44} {each:8} instructions", row.name, row.what);
            }
        }
        [name, count] => {
            let row = ROWS.iter().find(|r| r.name == name).ok_or_else(|| format!("there is no call `{name}`"))?;
            (row.make)()?(count.parse()?)?;
        }
        _ => return Err("arguments are `NAME COUNT`, `--instructions` and names, or none".into()),
    }
    Ok(())
}
