//! No call panics, whatever its arguments, nor does its gradient: every function of the table on arguments drawn by the
//! kinds of its signature.

use super::*;
use tensorc_ir::ops::effect::Grad;
use tensorc_ir::ops::registry::{self, Arg, Out};
use tensorc_ir::{Builder, Op, Value};

/// Small draws that are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn int(&mut self) -> i64 {
        const ODD: [i64; 10] = [0, 1, -1, 2, 3, -2, -7, 100, i64::MIN, i64::MAX];
        ODD[if self.below(4) > 0 { self.below(6) } else { self.below(10) } as usize]
    }

    /// A tensor of one of the dtypes, of rank 0 to 4, or a plain number.
    fn tensor<'b>(&mut self, b: &'b Builder) -> Arg<'b> {
        if self.below(8) == 0 {
            return if self.below(2) == 0 { Arg::Int(self.int()) } else { Arg::Float(-0.5) };
        }
        let dtype = match self.below(4) {
            0 => DType::ALL[self.below(10) as usize],
            1 => DType::I64,
            _ => DType::F32,
        };
        let rank = self.below(5);
        let shape: Vec<usize> = (0..rank).map(|_| [2, 3, 1, 2, 4, 0][self.below(6) as usize]).collect();
        let v = b.input("x", tensorc_ir::Type::new(dtype, shape), true, None);
        Arg::Tensor(b.ex(v))
    }

    fn of_kind<'b>(&mut self, b: &'b Builder, kind: &str) -> Arg<'b> {
        if self.below(20) == 0 {
            return Arg::None;
        }
        match kind {
            "int" => Arg::Int(self.int()),
            "float" => Arg::Float([0.5, 0.0, -1.0, f64::NAN, f64::INFINITY, 1e300][self.below(6) as usize]),
            "bool" => Arg::Bool(self.below(2) == 0),
            "dtype" => Arg::DType(DType::ALL[self.below(10) as usize]),
            "str" => Arg::Str(
                ["mean", "none", "tanh", "same", "reflect", "circular", "ij,jk->ik", "...i->", "ii"]
                    [self.below(9) as usize]
                    .into(),
            ),
            "ints" => {
                let n = self.below(4);
                Arg::List((0..n).map(|_| Arg::Int(self.int())).collect())
            }
            "tensors" => {
                let n = self.below(4);
                let all = (0..n).map(|_| self.tensor(b)).filter(|a| matches!(a, Arg::Tensor(_)));
                Arg::List(all.collect())
            }
            "any" => {
                let kind = ["int", "float", "bool", "str", "ints", "tensor"][self.below(6) as usize];
                self.of_kind(b, kind)
            }
            _ => self.tensor(b),
        }
    }
}

/// Name and kind of each parameter of a signature.
fn kinds(signature: &str) -> Vec<&str> {
    signature
        .split(',')
        .map(|p| p.split('=').next().unwrap_or(p))
        .map(|p| p.split_once(':').map_or("tensor", |(_, kind)| kind.trim().trim_end_matches('?')))
        .collect()
}

/// One call with drawn arguments; whether it was built and ran.
fn attempt(draw: &mut Draw, name: &str, kinds: &[&str]) -> bool {
    let b = Builder::new("f");
    let given = if draw.below(3) == 0 { kinds.len() } else { 1 + draw.below(kinds.len() as u64) as usize };
    let args = kinds[..given].iter().map(|k| (None, draw.of_kind(&b, k))).collect();
    let in_place = draw.below(8) == 0;
    let call = if in_place { format!("{name}_") } else { name.to_string() };
    let Ok(out) = registry::call(&b, &call, args) else { return false };
    let outputs = match out {
        Out::One(e) => vec![e],
        Out::Many(all) => all,
    };
    let Ok(mut values) = outputs.iter().map(|e| e.value()).collect::<Result<Vec<_>>>() else { return false };
    if draw.below(2) == 0 && outputs.first().is_some_and(|e| e.dtype().is_float() && !e.ty().weak) {
        let inputs = b.with_graph(|g| g.nodes().filter(|n| matches!(g.op(*n), Op::Input(_))).collect::<Vec<_>>());
        let mut operands = vec![values[0], values[0]];
        operands.extend(inputs.into_iter().map(Value::from).filter(|v| b.ty(*v).dtype.is_float()));
        if operands.len() > 2 {
            let n = b
                .emit_all(Op::Grad(Grad { seeded: true, allow_unused: true, ..Grad::default() }), &operands)
                .expect("a gradient");
            values = b.results(n).into_vec();
        }
    }
    b.with_graph(|g| g.outputs = values);
    let g = b.finish().expect("a graph");
    // What was built runs, unless it is too large to.
    let numel: usize = g
        .nodes()
        .flat_map(|n| g.results(n))
        .map(|v| g.ty(v).count().extent().expect("a known size"))
        .max()
        .unwrap_or(0);
    if numel > 10_000 {
        return false;
    }
    let inputs: Vec<Array> = g
        .nodes()
        .filter(|n| matches!(g.op(*n), Op::Input(_)))
        .map(|n| {
            Array::full(Scalar::from_f64(g.ty(n.into()).dtype, 1.0), &g.ty(n.into()).extents().expect("known sizes"))
        })
        .collect();
    run_all(&g).and_then(|g| run(&g, &inputs)).is_ok()
}

#[test]
fn no_call_panics() {
    let mut draw = Draw(0x5eed);
    let (mut worked, mut panicked) = (0, Vec::new());
    let all = registry::list();
    for (name, signature, _) in &all {
        let kinds = kinds(signature);
        let mut works = false;
        for _ in 0..200 {
            let seed = draw.0;
            match std::panic::catch_unwind(|| attempt(&mut Draw(seed), name, &kinds)) {
                Ok(ran) => works |= ran,
                Err(_) => panicked.push(format!("{name} with draw {seed}")),
            }
            draw.below(1);
        }
        worked += works as usize;
    }
    assert!(panicked.is_empty(), "{}", panicked.join("\n"));
    // Most functions are also seen to work, so the draws are not only refused.
    assert!(worked * 10 > all.len() * 7, "only {worked} of {} functions were seen to work", all.len());
}
