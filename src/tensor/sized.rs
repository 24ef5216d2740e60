//! Eager calls whose results have a size that depends on the data: how many elements there will be is counted first, and
//! then is the `size` of the call that a program would make. In a traced function there is nothing to count yet. Likewise integers
//! that are given in a tensor are read.

use super::{Argument, Tensor, call, one};
use tensorc_ir::Result;
use tensorc_ir::ops::registry;

/// The results, if this is such a call without a `size`.
pub(crate) fn run(name: &str, args: &[(Option<&str>, Argument)]) -> Result<Option<Vec<Tensor>>> {
    let sized = matches!(name, "nonzero" | "argwhere" | "masked_select" | "unique" | "unique_consecutive" | "bincount");
    let plain = args.iter().all(|(k, _)| *k != Some("size"));
    let Some((_, Argument::Tensor(x))) = args.first().filter(|_| sized && plain) else { return Ok(None) };
    // What the arguments themselves do not allow is for the function to say.
    let Some(n) = count(name, x, args)? else { return Ok(None) };
    let mut args = args.to_vec();
    args.push((Some("size"), Argument::Int(n)));
    call(name, &args).map(Some)
}

/// An argument with its keyword.
type Given<'a> = (Option<&'a str>, Argument);

/// The arguments with the values of tensors that stand for integers (`narrow` from a start in a tensor), if there are such.
pub(crate) fn integers<'a>(name: &str, args: &[Given<'a>]) -> Result<Option<Vec<Given<'a>>>> {
    let stands = |i: usize, k: Option<&str>, t: &Tensor| {
        i > 0 && t.dtype().is_int() && t.shape().len() < 2 && registry::takes_integers(name, i, k)
    };
    let mut known = None;
    for (i, (k, a)) in args.iter().enumerate() {
        if let Argument::Tensor(t) = a
            && stands(i, *k, t)
        {
            let values: Vec<Argument> = t.scalars()?.into_iter().map(|v| Argument::Int(v.to_i64())).collect();
            let value = match values.as_slice() {
                [one] if t.shape().is_empty() => one.clone(),
                _ => Argument::List(values),
            };
            known.get_or_insert_with(|| args.to_vec())[i].1 = value;
        }
    }
    Ok(known)
}

fn count(name: &str, x: &Tensor, args: &[(Option<&str>, Argument)]) -> Result<Option<i64>> {
    let result = |name: &str, args: &[Argument]| {
        let args: Vec<_> = args.iter().map(|a| (None, a.clone())).collect();
        one(call(name, &args)?)
    };
    let nonzero = |t: &Tensor| result("count_nonzero", &[t.into()])?.item::<i64>();
    Ok(Some(match name {
        "nonzero" | "argwhere" => nonzero(x)?,
        "masked_select" => {
            let Some((_, Argument::Tensor(mask))) = args.get(1) else { return Ok(None) };
            // The mask over the elements that both broadcast to.
            let ones = result("ones_like", &[x.into()])?.to(tensorc_ir::DType::Bool)?;
            match result("logical_and", &[(&ones).into(), mask.into()]) {
                Ok(both) => nonzero(&both)?,
                Err(_) => return Ok(None),
            }
        }
        "bincount" => {
            if x.numel() == 0 || !x.dtype().is_int() {
                return Ok((x.dtype().is_int()).then_some(0));
            }
            result("amax", &[x.into()])?.to(tensorc_ir::DType::I64)?.item::<i64>()?.saturating_add(1).max(0)
        }
        _ => {
            let flat = x.flatten(0, -1)?;
            let n = flat.numel() as i64;
            if n < 2 {
                return Ok(Some(n));
            }
            let ordered = if name == "unique" { result("msort", &[(&flat).into()])? } else { flat };
            let (before, after) = (ordered.narrow(0, 0, n - 1)?, ordered.narrow(0, 1, n - 1)?);
            nonzero(&before.ne(&after)?)?.saturating_add(1)
        }
    }))
}
