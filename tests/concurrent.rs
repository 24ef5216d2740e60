//! Threads that call one jitted function at once, and what they get: what each would have got alone.

use std::sync::{Barrier, Mutex};
use tensorc::dtype::F32;
use tensorc::{Kind, Result, Tensor, full, jit, ones, tensor, zeros};

const THREADS: usize = 8;

/// Runs `f` on so many threads, which begin at the same moment.
fn at_once(f: impl Fn(usize) -> Result<()> + Sync) {
    let start = Barrier::new(THREADS);
    std::thread::scope(|s| {
        for t in 0..THREADS {
            let (start, f) = (&start, &f);
            s.spawn(move || {
                start.wait();
                f(t).unwrap();
            });
        }
    });
}

/// Row sums of `2 x + row`, for `x` full of one number.
fn expected(shape: [usize; 2], number: f32) -> Vec<f32> {
    let columns = shape[1];
    let row: f32 = (0..columns).map(|c| c as f32).sum();
    vec![2.0 * number * columns as f32 + row; shape[0]]
}

fn row(columns: usize) -> Result<Tensor> {
    tensor((0..columns).map(|c| c as f32).collect::<Vec<_>>())
}

#[test]
fn one_function_and_many_shapes() {
    let f = jit(|(x, row): (Tensor, Tensor)| x.mul(2.0)?.add(&row)?.sum_dim(1, false));
    let shapes: Vec<[usize; 2]> = (1..=6).flat_map(|n| [[n, 3], [2, 4 * n], [33, n + 50]]).collect();
    at_once(|t| {
        // What a call gave stays what it was while other calls, on this thread and others, recycle memory.
        let mut kept: Vec<(Tensor, Vec<f32>)> = Vec::new();
        for i in 0..200 {
            let shape = shapes[(i * (t + 1) + t) % shapes.len()];
            let number = (t * 1000 + i) as f32;
            let result = f.call((full(&shape, number, F32)?, row(shape[1])?))?;
            kept.push((result, expected(shape, number)));
            if i % 7 == t % 7 {
                for (result, expected) in kept.drain(..) {
                    assert_eq!(result.to_vec::<f32>()?, expected);
                }
            }
        }
        Ok(())
    });
    // Threads that come at the same time to a shape that is new may all compile it.
    assert!((shapes.len()..=shapes.len() * THREADS).contains(&f.compilations()));
    let before = f.compilations();
    at_once(|_| shapes.iter().try_for_each(|s| f.call((ones(s, F32)?, row(s[1])?)).map(drop)));
    assert_eq!(f.compilations(), before);
}

#[test]
fn one_function_and_a_dynamic_axis() {
    let f = jit(|(x, row): (Tensor, Tensor)| x.mul(2.0)?.add(&row)?.sum_dim(1, false)).dynamic(0, 0, "rows");
    at_once(|t| {
        for i in 0..100 {
            let shape = [(i * 5 + t) % 40, 9];
            let result = f.call((full(&shape, i as f32, F32)?, row(9)?))?;
            assert_eq!(result.to_vec::<f32>()?, expected(shape, i as f32));
        }
        Ok(())
    });
}

#[test]
fn results_that_other_threads_drop() {
    let f = jit(|x: Tensor| Ok((x.add(1.0)?, x.mul(3.0)?)));
    let exchange: Mutex<Vec<(f32, Tensor, Tensor)>> = Mutex::default();
    at_once(|t| {
        for i in 0..300 {
            let number = (t * 300 + i) as f32;
            let (sum, product) = f.call(full(&[i % 70], number, F32)?)?;
            let taken = {
                let mut all = exchange.lock().unwrap();
                all.push((number, sum, product));
                if all.len() > 20 { Some(all.swap_remove(i % 20)) } else { None }
            };
            if let Some((number, sum, product)) = taken {
                assert!(sum.to_vec::<f32>()?.iter().all(|v| *v == number + 1.0));
                assert!(product.to_vec::<f32>()?.iter().all(|v| *v == number * 3.0));
            }
        }
        Ok(())
    });
}

#[test]
fn a_tensor_that_all_write_to_is_written_by_one_at_a_time() -> Result<()> {
    let f = jit(|x: Tensor| x.add_(1.0).map(drop));
    let x = zeros(&[16], F32)?;
    let done = Mutex::new(0);
    at_once(|_| {
        for _ in 0..200 {
            match f.call(x.clone()) {
                Ok(()) => *done.lock().unwrap() += 1,
                Err(e) => assert_eq!(e.kind(), Kind::Alias),
            }
        }
        Ok(())
    });
    let done = done.into_inner().unwrap();
    assert_eq!(x.to_vec::<f32>()?, [done as f32; 16]);
    Ok(())
}

#[test]
fn a_captured_tensor_and_arguments_that_share_memory() -> Result<()> {
    let y = full(&[12], 5.0, F32)?;
    let captured = y.clone();
    let f = jit(move |(a, b): (Tensor, Tensor)| a.add(&b)?.add(&captured));
    at_once(|t| {
        let x = full(&[24], t as f32, F32)?;
        for i in 0..100i64 {
            // Apart, the same memory, parts of one memory, and the captured tensor itself.
            let (a, b) = match i % 4 {
                0 => (ones(&[12], F32)?, ones(&[12], F32)?),
                1 => (x.i(0..12)?, x.i(0..12)?),
                2 => (x.i(0..12)?, x.i(6..18)?),
                _ => (y.clone(), x.i(12..24)?),
            };
            let sum = match i % 4 {
                0 => 7.0,
                3 => 10.0 + t as f32,
                _ => 2.0 * t as f32 + 5.0,
            };
            assert_eq!(f.call((a, b))?.to_vec::<f32>()?, [sum; 12]);
        }
        Ok(())
    });
    Ok(())
}
