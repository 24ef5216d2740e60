//! Arguments and captured tensors of `jit` that share memory: each way of sharing is a program of its own, and what the
//! program writes is seen through all of them, as in the same ops one at a time.

use proptest::prelude::*;
use tensorc::dtype::F32;
use tensorc::{Result, Tensor, arange, grad, jit, tensor, zeros};

fn numbers(n: usize) -> Result<Tensor> {
    arange(n)?.to(F32)
}

fn vec(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

/// pytorch#139789: a call with separate arguments, then one with overlapping ones.
#[test]
fn a_call_with_overlapping_arguments_has_its_own_program() -> Result<()> {
    let f = jit(|(x, y): (Tensor, Tensor)| {
        x.add_(1.0)?;
        y.mul(10.0)
    });
    let (x, y) = (zeros(&[4], F32)?, zeros(&[4], F32)?);
    assert_eq!(vec(&f.call((x.clone(), y.clone()))?), [0.0; 4]);
    // The other one is the same tensor, then a part, then the tensor shifted by one.
    assert_eq!(vec(&f.call((x.clone(), x.clone()))?), [20.0; 4]);
    let (memory, one) = (zeros(&[5], F32)?, jit(|(x, y): (Tensor, Tensor)| x.add_(1.0)?.add(&y)));
    let (low, high) = (memory.i(..4)?, memory.i(1..)?);
    assert_eq!(vec(&f.call((low.clone(), high.clone()))?), [10.0, 10.0, 10.0, 0.0]);
    assert_eq!(vec(&f.call((high.clone(), low.clone()))?), [10.0, 20.0, 20.0, 20.0]);
    assert_eq!(vec(&memory), [1.0, 2.0, 2.0, 2.0, 1.0]);
    assert_eq!(f.compilations(), 4);
    assert_eq!(vec(&one.call((low, high))?), [5.0, 6.0, 6.0, 4.0]);
    Ok(())
}

/// What shares a storage but no element is apart: rows of one matrix, every second number.
#[test]
fn arguments_that_share_no_element_are_apart() -> Result<()> {
    let f = jit(|(x, y): (Tensor, Tensor)| x.add_(&y).map(|_| ()));
    let m = numbers(12)?.view([3, 4])?;
    for (i, j) in [(0, 1), (1, 2), (2, 0)] {
        f.call((m.i(i)?, m.i(j)?))?;
    }
    assert_eq!(f.compilations(), 1);
    assert_eq!(vec(&m), [4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 12.0, 15.0, 18.0, 21.0]);
    let v = numbers(6)?;
    let even = tensorc::IndexItem::Slice(Some(0), None, 2);
    let odd = tensorc::IndexItem::Slice(Some(1), None, 2);
    f.call((v.i(even)?, v.i(odd)?))?;
    assert_eq!(vec(&v), [1.0, 1.0, 5.0, 3.0, 9.0, 5.0]);
    Ok(())
}

#[test]
fn a_captured_tensor_may_be_an_argument_too() -> Result<()> {
    let w = numbers(4)?;
    let f = jit(|x: Tensor| {
        x.mul_(2.0)?;
        w.add(&x)
    });
    assert_eq!(vec(&f.call(tensor([1f32; 4])?)?), [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(vec(&f.call(w.clone())?), [0.0, 4.0, 8.0, 12.0]);
    assert_eq!(vec(&w), [0.0, 2.0, 4.0, 6.0]);
    // Its last element, broadcast.
    assert_eq!(vec(&f.call(w.i(3..)?)?), [12.0, 14.0, 16.0, 24.0]);
    assert_eq!(vec(&f.call(tensor([1f32; 4])?)?), [2.0, 4.0, 6.0, 14.0]);
    assert_eq!(f.compilations(), 3);
    Ok(())
}

/// Two captured views of one memory, of which one is written; also with an axis of any extent.
#[test]
fn captured_views_share_memory() -> Result<()> {
    for dynamic in [false, true] {
        let memory = numbers(4)?;
        let (low, all) = (memory.i(..2)?, memory.view([2, 2])?);
        let f = jit(|x: Tensor| {
            low.add_(&x.sum()?)?;
            all.add(0.0)
        });
        let f = if dynamic { f.dynamic(0, 0, "n") } else { f };
        assert_eq!(vec(&f.call(tensor([1f32, 1.0])?)?), [2.0, 3.0, 2.0, 3.0]);
        assert_eq!(vec(&f.call(tensor([3f32])?)?), [5.0, 6.0, 2.0, 3.0]);
        assert_eq!(vec(&memory), [5.0, 6.0, 2.0, 3.0]);
    }
    Ok(())
}

/// Results that are views of a shared memory are views of the caller's memory.
#[test]
fn results_are_views_of_shared_arguments() -> Result<()> {
    let m = numbers(6)?.view([2, 3])?;
    let f = jit(|(x, t): (Tensor, Tensor)| {
        x.add_(1.0)?;
        Ok((t.i(2)?, x.i((.., 0))?))
    });
    let (a, b) = f.call((m.clone(), m.t()?))?;
    assert!(a.shares_storage(&m) && b.shares_storage(&m));
    assert_eq!((vec(&a), vec(&b)), (vec![3.0, 6.0], vec![1.0, 4.0]));
    a.zero_()?;
    assert_eq!(vec(&m), [1.0, 2.0, 0.0, 4.0, 5.0, 0.0]);
    Ok(())
}

#[test]
fn gradients_flow_through_shared_memory() -> Result<()> {
    let memory = zeros(&[3], F32)?;
    let (low, high) = (memory.i(..2)?, memory.i(1..)?);
    // (memory[1])^2 after memory[..2] = w.
    let f = |w: Tensor| {
        low.copy_(&w)?;
        high.square()?.sum()
    };
    for g in [jit(grad(f)).call(tensor([2f32, 3.0])?)?, grad(f)(tensor([2f32, 3.0])?)?] {
        assert_eq!(vec(&g), [0.0, 6.0]);
    }
    assert_eq!(vec(&memory), [2.0, 3.0, 0.0]);
    Ok(())
}

/// A view of a matrix of 4 by 6.
#[derive(Clone, Debug)]
enum Part {
    All,
    Rows(i64, i64),
    Block(i64, i64),
    Turned,
    Column(i64),
    Flat(i64, i64, i64),
    Wide(i64),
    Diagonal(i64),
}

impl Part {
    fn of(&self, m: &Tensor) -> Result<Tensor> {
        match *self {
            Part::All => Ok(m.clone()),
            Part::Rows(i, n) => m.i(i..i + n),
            Part::Block(i, j) => m.i((i.., j..)),
            Part::Turned => m.t(),
            Part::Column(j) => m.i((.., j)),
            Part::Flat(i, n, step) => m.view([24])?.i(tensorc::IndexItem::Slice(Some(i), Some(i + n), step)),
            Part::Wide(i) => m.i(i)?.expand([3, 6]),
            Part::Diagonal(k) => m.diagonal(k, 0, 1),
        }
    }
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        Just(Part::All),
        (0i64..3, 1i64..3).prop_map(|(i, n)| Part::Rows(i, n)),
        (0i64..4, 0i64..6).prop_map(|(i, j)| Part::Block(i, j)),
        Just(Part::Turned),
        (0i64..6).prop_map(Part::Column),
        (0i64..20, 1i64..12, 1i64..4).prop_map(|(i, n, s)| Part::Flat(i, n, s)),
        (0i64..4).prop_map(Part::Wide),
        (-2i64..3).prop_map(Part::Diagonal),
    ]
}

/// A step of a program over its tensors, by number.
#[derive(Clone, Debug)]
enum Step {
    Add(usize, f64),
    Double(usize),
    Copy(usize, usize),
    Into(usize, usize),
    Sum(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let t = 0usize..5;
    prop_oneof![
        (t.clone(), 1i64..4).prop_map(|(i, v)| Step::Add(i, v as f64)),
        t.clone().prop_map(Step::Double),
        (t.clone(), t.clone()).prop_map(|(i, j)| Step::Copy(i, j)),
        (t.clone(), t.clone()).prop_map(|(i, j)| Step::Into(i, j)),
        t.prop_map(Step::Sum),
    ]
}

fn program(steps: &[Step], tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let at = |i: &usize| &tensors[i % tensors.len()];
    let mut results = Vec::new();
    for s in steps {
        match s {
            Step::Add(i, v) => drop(at(i).add_(*v)?),
            Step::Double(i) => drop(at(i).mul_(2.0)?),
            Step::Copy(i, j) => drop(at(i).copy_(at(j))?),
            Step::Into(i, j) => drop(at(i).add_(&at(j).sum()?)?),
            Step::Sum(i) => results.push(at(i).add(1.0)?),
        }
    }
    Ok(results)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any program over any views of one memory, some as arguments and some captured, compiled and one op at a time.
    #[test]
    fn compiled_programs_over_shared_memory_are_what_their_ops_are(
        args in proptest::collection::vec(part(), 1..4),
        captured in proptest::collection::vec(part(), 0..3),
        steps in proptest::collection::vec(step(), 1..8),
    ) {
        let make = || numbers(24).unwrap().view([4, 6]).unwrap();
        let parts = |m: &Tensor, all: &[Part]| all.iter().map(|p| p.of(m)).collect::<Result<Vec<Tensor>>>().unwrap();
        let (eager, compiled) = (make(), make());
        let all: Vec<Tensor> = parts(&eager, &args).into_iter().chain(parts(&eager, &captured)).collect();
        let want = program(&steps, &all);
        let captured = parts(&compiled, &captured);
        let f = jit(|args: Vec<Tensor>| {
            program(&steps, &args.into_iter().chain(captured.iter().cloned()).collect::<Vec<_>>())
        });
        let got = f.call(parts(&compiled, &args));
        match (want, got) {
            (Ok(want), Ok(got)) => {
                prop_assert_eq!(want.len(), got.len());
                for (w, g) in want.iter().zip(&got) {
                    prop_assert_eq!(vec(w), vec(g));
                }
                prop_assert_eq!(vec(&eager), vec(&compiled));
                // Another call finds the program.
                f.call(parts(&compiled, &args)).unwrap();
                prop_assert_eq!(f.compilations(), 1);
            }
            // The first attempt does not know of the sharing, and may find something else wrong.
            (Err(_), Err(_)) => {}
            (want, got) => prop_assert!(false, "one op at a time {:?}, compiled {:?}", want.err(), got.err()),
        }
    }
}
