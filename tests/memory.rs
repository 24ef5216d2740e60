//! How much memory temporary values take: what is computed again for derivatives instead of being kept, and how much of a
//! long program is alive at a time.

use std::fmt::Write;
use tensorc_codegen::plan::plan;
use tensorc_ir::Strided;
use tensorc_ir::passes::fuse::Mode;
use tensorc_ir::passes::partition::partition;
use tensorc_ir::passes::run_for;
use tensorc_ir::text::{Module, Sizes};

/// Bytes of temporary values of a program: as it is compiled, and if all that its derivatives read were kept.
fn bytes(text: &str) -> [i64; 2] {
    let module = Module::parse("memory", text).unwrap();
    let main = module.main().unwrap();
    let types = module.param_types(main, &Sizes::default()).unwrap();
    let layouts: Vec<Strided> = types.iter().map(|t| Strided::contiguous(&t.shape)).collect();
    let all_kept = run_for(&module.trace(main, &Sizes::default(), None).unwrap(), Mode::Eager).unwrap();
    [partition(&all_kept).unwrap(), all_kept].map(|g| plan(&g, &layouts, Mode::Fused).unwrap().arena.known().unwrap())
}

#[test]
fn a_layer_norm_keeps_its_operand_only() {
    let [parted, kept] = bytes(
        "fn main(x: f32[512, 768], w: f32[768], m: f32[768, 8], dy: f32[512, 8]) -> (f32[512, 768], f32[768], f32[768, 8]) {
            grad(sum(tanh(layer_norm(x, [768], w) @ m) * dy), (x, w, m))
        }",
    );
    // The operand is an argument; without the pass the difference from the mean and what is normalised are kept.
    let table = 512 * 768 * 4;
    assert!(kept > 4 * table && parted < 2 * table + table / 10, "{parted} of {kept}");
}

#[test]
fn a_table_that_is_cheap_to_compute_is_never_in_memory() {
    let [parted, kept] = bytes(
        "fn main(x: f32[1024, 1], y: f32[1, 1024]) -> (f32[1024, 1], f32[1, 1024]) {
            let d = x - y;
            grad(sum(log(sum(1.0 / (1.0 + d * d), 1))), (x, y))
        }",
    );
    let table = 1024 * 1024 * 4;
    assert!(kept >= table && parted < table / 100, "{parted} of {kept}");
}

/// `steps` steps of a recurrent net, and the gradient of its weight.
fn unrolled(steps: usize) -> String {
    let mut text = String::from("fn main(x: f32[4, 64], w: f32[64, 64]) -> (f32, f32[64, 64]) {\n    let h0 = x;\n");
    (0..steps).for_each(|i| writeln!(text, "    let h{} = tanh(h{i} @ w);", i + 1).unwrap());
    write!(text, "    let y = sum(h{steps});\n    (y, grad(y, w))\n}}\n").unwrap();
    text
}

#[test]
fn of_the_products_that_are_a_weights_gradient_sixteen_live_at_a_time() {
    let (state, weight) = (4 * 64 * 4, 64 * 64 * 4);
    let [[few, _], [many, _]] = [40, 120].map(|steps| bytes(&unrolled(steps)));
    assert!(many < 20 * weight + 120 * state, "{many}");
    // What grows are the states, which the backward computation reads.
    assert!(many - few < 81 * state, "{few} and {many}");
}
