//! Prints what a parallel loop costs beside its work: `cargo run -p tensorc-runtime --example pool_latency [threads]`.
//!
//! Each task spins for a given time, one task a thread; the cost is what the loop takes longer than that. Warm loops
//! follow each other, cold ones come after a pause in which the workers fall asleep.

use std::time::{Duration, Instant};

use tensorc_runtime::pool::Pool;

fn busy(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// The tenth, fiftieth and ninetieth percentile of the cost in microseconds.
fn cost(pool: &Pool, work: Duration, pause: Duration, rounds: usize) -> [f64; 3] {
    let mut costs: Vec<f64> = (0..rounds)
        .map(|_| {
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
            let start = Instant::now();
            pool.run(pool.threads(), &|_| busy(work));
            (start.elapsed().as_secs_f64() - work.as_secs_f64()) * 1e6
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    [10, 50, 90].map(|percent| costs[costs.len() * percent / 100])
}

fn main() {
    let default = Pool::global().threads();
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(default);
    let pool = Pool::new(threads);
    pool.run(pool.threads(), &|_| busy(Duration::from_millis(1)));
    println!("{} threads; cost of a loop in µs (p10, p50, p90)", pool.threads());
    for (work, pause, rounds) in [(0, 0, 20_000), (5, 0, 5000), (50, 0, 1000), (5, 1000, 200)] {
        let [p10, p50, p90] = cost(&pool, Duration::from_micros(work), Duration::from_micros(pause), rounds);
        println!("work {work:>3} µs, pause {pause:>4} µs: {p10:8.2} {p50:8.2} {p90:8.2}");
    }
}
