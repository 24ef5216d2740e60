//! Donated arguments: the call gets their memory, and whoever uses them afterwards gets an error that names the call.

use tensorc::dtype::{F32, I64};
use tensorc::{Kind, Result, Tensor, arange, jit, ones, tensor, with_borrowed, with_borrowed_ref, zeros};

fn numbers(n: usize) -> Result<Tensor> {
    arange(n)?.to(F32)
}

fn vec(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

/// Where a tensor begins, as a number.
fn address(t: &Tensor) -> usize {
    t.data_ptr().unwrap()
}

#[test]
fn a_result_lies_in_the_donated_memory() -> Result<()> {
    let f = jit(|(x, y): (Tensor, Tensor)| x.mul(2.0)?.add(&y)).donate(0);
    let (mut x, y) = (numbers(4)?, ones(&[4], F32)?);
    let at = address(&x);
    for want in [[1.0, 3.0, 5.0, 7.0], [3.0, 7.0, 11.0, 15.0], [7.0, 15.0, 23.0, 31.0]] {
        x = f.call((x, y.clone()))?;
        assert_eq!((vec(&x), address(&x)), (want.to_vec(), at));
    }
    assert_eq!((vec(&y), f.compilations()), (vec![1.0; 4], 1));
    Ok(())
}

#[test]
fn later_use_is_an_error_that_names_the_call() -> Result<()> {
    let f = jit(|x: Tensor| x.exp()).donate(0);
    let m = zeros(&[2, 3], F32)?;
    let (row, flat) = (m.i(0)?, m.view([6])?);
    let call = line!() + 1;
    let y = f.call(m.clone())?;
    assert_eq!(vec(&y), [1.0; 6]);
    // All that share the memory are gone with it, to read, to write and to donate.
    for e in [m.sum().err(), row.add_(1.0).err(), flat.to_vec::<f32>().err(), f.call(m.clone()).err()] {
        let text = e.unwrap().to_string();
        assert!(text.contains("it was donated to a call"), "{text}");
        assert!(text.contains(&format!("tests/donate.rs:{call}:")), "{text}");
    }
    y.add_(1.0)?;
    assert_eq!(vec(&y), [2.0; 6]);
    Ok(())
}

#[test]
fn what_matches_no_result_is_gone_too() -> Result<()> {
    let f = jit(|x: Tensor| x.sum()).donate(0);
    let x = numbers(5)?;
    assert_eq!(vec(&f.call(x.clone())?), [10.0]);
    assert!(x.sum().is_err());
    // Another dtype or shape than the result's.
    let f = jit(|(x, i): (Tensor, Tensor)| Ok((x.t()?.add(1.0)?, i.to(F32)?))).donate(0).donate(1);
    let (x, i) = (numbers(6)?.view([2, 3])?, arange(3)?);
    let (a, b) = f.call((x.clone(), i.clone()))?;
    assert_eq!((vec(&a), vec(&b)), (vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0], vec![0.0, 1.0, 2.0]));
    assert!(x.sum().is_err() && i.to_vec::<i64>().is_err());
    Ok(())
}

#[test]
fn a_call_that_fails_leaves_the_argument() -> Result<()> {
    let f = jit(|(x, i): (Tensor, Tensor)| x.index_select(0, &i)).donate(0);
    let x = numbers(3)?;
    let e = f.call((x.clone(), tensor([0i64, 7, 1])?)).unwrap_err();
    assert_eq!(e.kind(), Kind::Data);
    assert_eq!(vec(&x), [0.0, 1.0, 2.0]);
    assert_eq!(vec(&f.call((x.clone(), tensor([2i64, 1, 0])?))?), [2.0, 1.0, 0.0]);
    assert!(x.sum().is_err());
    Ok(())
}

/// What reads the argument at other places than it writes needs new memory.
#[test]
fn results_are_right_whatever_they_read() -> Result<()> {
    for dynamic in [false, true] {
        let f = jit(|x: Tensor| {
            let flipped = x.flip([0])?;
            Ok((flipped.add(&x)?, x.cumsum(0)?, x.sum()?))
        });
        let f = if dynamic { f.dynamic(0, 0, "n") } else { f }.donate(0);
        for n in [3, 5, 1] {
            let (a, b, c) = f.call(numbers(n)?)?;
            let last = n as f32 - 1.0;
            let sums: Vec<f32> = (0..n).map(|i| (0..=i).sum::<usize>() as f32).collect();
            assert_eq!((vec(&a), vec(&b), vec(&c)), (vec![last; n], sums.clone(), vec![sums[n - 1]]));
            assert!(!a.shares_storage(&b));
        }
        assert_eq!(f.compilations(), if dynamic { 1 } else { 3 });
    }
    Ok(())
}

#[test]
fn a_result_that_is_the_argument_gets_its_memory() -> Result<()> {
    // Written in place, and given back as it is, as a part, and twice.
    let f = jit(|x: Tensor| {
        x.add_(1.0)?;
        Ok((x.i(1..)?, x.clone(), x.mul(2.0)?))
    })
    .donate(0);
    let x = numbers(3)?;
    let at = address(&x);
    let (part, whole, double) = f.call(x.clone())?;
    assert_eq!((vec(&part), vec(&whole), vec(&double)), (vec![2.0, 3.0], vec![1.0, 2.0, 3.0], vec![2.0, 4.0, 6.0]));
    assert!(part.shares_storage(&whole) && address(&whole) == at && x.sum().is_err());
    Ok(())
}

#[test]
fn what_others_share_cannot_be_donated() -> Result<()> {
    let f = jit(|(x, y): (Tensor, Tensor)| x.add(&y)).donate(0);
    let m = numbers(4)?;
    let (low, high) = (m.i(..2)?, m.i(2..)?);
    for (x, y) in [(m.clone(), m.clone()), (low.clone(), high.clone()), (low.clone(), m.i(1..3)?)] {
        let e = f.call((x, y)).unwrap_err();
        assert_eq!(e.kind(), Kind::Alias);
        let text = "a donated argument shares its memory with another argument or a captured tensor";
        assert!(e.to_string().contains(text), "{e}");
    }
    let g = jit(|x: Tensor| x.add(&low)).donate(0);
    assert_eq!(g.call(high.clone()).unwrap_err().kind(), Kind::Alias);
    assert_eq!(vec(&m), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(vec(&g.call(numbers(2)?)?), [0.0, 2.0]);
    let e = jit(|x: Tensor| x.add(1.0)).donate(3).call(low.clone()).unwrap_err();
    assert!(e.to_string().contains("there is no argument 3 to donate"), "{e}");
    assert_eq!(vec(&low), [0.0, 1.0]);
    Ok(())
}

#[test]
fn inside_another_trace_it_changes_nothing() -> Result<()> {
    let f = jit(|x: Tensor| x.add(1.0)).donate(0);
    let g = jit(|x: Tensor| f.call(x.clone())?.mul(&x));
    let x = numbers(3)?;
    assert_eq!(vec(&g.call(x.clone())?), [0.0, 2.0, 6.0]);
    assert_eq!(vec(&x), [0.0, 1.0, 2.0]);
    Ok(())
}

/// The memory goes from handle to handle, without a chain that grows.
#[test]
fn a_long_loop_keeps_one_memory() -> Result<()> {
    let f = jit(|(n, x): (Tensor, Tensor)| Ok((n.add(1)?, x.add(&n)?))).donate(0).donate(1);
    let (mut n, mut x) = (tensor([0i64])?, zeros(&[1], I64)?);
    let at = [address(&n), address(&x)];
    for _ in 0..100_000 {
        (n, x) = f.call((n, x))?;
    }
    assert_eq!([address(&n), address(&x)], at);
    assert_eq!((n.item::<i64>()?, x.item::<i64>()?), (100_000, 4_999_950_000));
    Ok(())
}

#[test]
fn memory_of_others_cannot_be_donated() -> Result<()> {
    let f = jit(|x: Tensor| x.add(1.0)).donate(0);
    let mut numbers = [1f32, 2.0];
    let e = with_borrowed(&mut numbers, &[2], |x| Ok(f.call(x.clone()).unwrap_err()))?;
    let text = "memory that is lent for a scope, or comes from another library, cannot be donated";
    assert!(e.to_string().contains(text), "{e}");
    let e = with_borrowed_ref(&numbers, &[2], |x| Ok(f.call(x.clone()).unwrap_err()))?;
    assert_eq!((e.kind(), numbers), (Kind::Alias, [1.0, 2.0]));
    // A vector's memory that a tensor has taken over is the tensor's.
    let x = Tensor::from_vec(numbers.to_vec(), &[2])?;
    assert_eq!((vec(&f.call(x.clone())?), x.sum().is_err()), (vec![2.0, 3.0], true));
    // In use elsewhere.
    let x = tensor([1f32, 2.0])?;
    let held = x.read::<f32>()?;
    assert!(f.call(x.clone()).unwrap_err().to_string().contains("cannot be written while it is being read"));
    drop(held);
    assert_eq!(vec(&f.call(x)?), [2.0, 3.0]);
    Ok(())
}
