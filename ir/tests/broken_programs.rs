//! Whatever a program looks like, it is traced or refused with errors: never a panic. Programs are made from sound ones by
//! exchanging, dropping and doubling their words.

use proptest::prelude::*;
use tensorc_ir::text::{Module, Source, render_plain};

const PROGRAMS: &[&str] = &[
    "fn f(x: mut f32[4, 4], i: i64[2]) -> (f32[2, 8], f32) { let y = x.view(-1, 8); x[0] = 2; x[1:3, ::2].mul_(10);
     let z = x.clone(); z.add_(1); x[i] += 1; x.T[0] -= x[..., 1]; (y, x[1, 2]) }",
    "fn step(x: f32[B, 7], t: i64[B], w: mut f32[7, N], lr: f32) -> f32 { let h = relu(x @ w); let loss = cross_entropy(h, t);
     let (dw, dx) = grad(loss, (w, x)); w -= lr * dw; loss } fn g(w: mut f32[7, 3]) { w[0] /= 2.0; step(w.T[:, 1:2] @ w[:1, None][0], tensor([1, 2, 0]), w, 0.1) }",
    "fn f(x: f32[N, 3], y: f16[N + 1], b: bool[2]) { let s: f64 = 1e-3; let l = [1, -2] + x.shape[1:]; where(b, s, 2)
     ; let (p, q) = split(x, 2, dim=-1); softmax(p, dim=0).to(bf16) ** 2 % floor_divide(N, 2) << 1 }",
    "fn f(x: f32[2, 3, 4], w: f32[4]) { layer_norm(x, [4], w, eps=1e-5).permute(2, 0, 1)[None, 1, ::2].unsqueeze(-1)
     .expand(5, -1, -1, 6).sum(dim=[0, 2], keepdim=true).flatten() + arange(1, 7, 2, dtype=f32)[:, None] & 3 | !true }",
    "fn f(a: f32[2, 3], i: i64[2, 1]) { cat([a, stack([a[0], a[1]], dim=0)], dim=-1).gather(1, i).masked_fill(i > 0, -inf)
     .max(1); pad(a, [1, 0, 2, 1], value=3.5).roll(1, 0).tril(-1).cumsum(1).topk(2, dim=0); conv1d(a[None], a[:, None, :2]) }",
    "fn up(c: f32[N], x: f32[N]) -> f32[N] { c * x } fn down(c: f32[N], x: f32[N]) -> f32[N] { let y = c.clone(); y -= x; y }
     fn step(c: f32[N], x: f32[N], w: f32) -> (f32[N], f32[N]) { let c = cond(sum(c) > w, up, down, (c, x)); (c, tanh(c)) }
     fn far(n: i64, c: f32[N]) -> bool { n < 3 } fn body(n: i64, c: f32[N]) -> (i64, f32[N]) { (n + 1, cond(true, up, down, (c, c))) }
     fn main(xs: f32[T, N], w: f32) { let (c, ys) = scan(step, xs[0], xs, dim=0, reverse=true, consts=(w,));
     let (dx, dw) = grad(sum(c), (xs, w)); while_loop(far, body, (0, c)); scan(step, c, None, length=2) }",
];

/// Words of the language: names, numbers, and single characters.
fn words(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let len = if word(c) { rest.find(|c| !word(c)).unwrap_or(rest.len()) } else { c.len_utf8() };
        out.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    out
}

/// The words as a text; those that belong together stand together again.
fn joined(words: &[&str]) -> String {
    let text = words.join(" ").replace(". . .", "...").replace("1e - ", "1e-").replace("2 . 0", "2.0");
    let text = text.replace("0 . 1", "0.1").replace("3 . 5", "3.5");
    ["- >", "* *", "+ =", "- =", "/ =", "< <"].iter().fold(text, |t, op| t.replace(op, &op.replace(' ', "")))
}

fn examine(text: &str) {
    let errors = match Module::parse("test.tc", text) {
        Err(errors) => errors,
        Ok(m) => {
            for f in m.functions() {
                let shapes: Vec<Vec<usize>> = m.params(f).iter().map(|p| vec![3; p.ty.dims.len()]).collect();
                let Ok(sizes) = m.bind_sizes(f, &shapes) else { continue };
                if let Ok(g) = m.trace(f, &sizes, None) {
                    tensorc_ir::verify::verify(&g).unwrap_or_else(|e| panic!("{e}\n{text}"));
                }
            }
            m.check()
        }
    };
    let source = Source::new("test.tc", text);
    errors.iter().for_each(|e| assert!(render_plain(&source, e).starts_with("error["), "{text}"));
}

#[test]
fn the_programs_themselves_are_sound_in_their_words() {
    for p in PROGRAMS {
        examine(p);
        assert!(Module::parse("test.tc", joined(&words(p))).is_ok(), "{}", joined(&words(p)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn broken_programs_are_refused_without_a_panic(
        which in 0..PROGRAMS.len(),
        edits in proptest::collection::vec((0..8u8, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..5),
    ) {
        let pool: Vec<&str> = PROGRAMS.iter().flat_map(|p| words(p)).collect();
        let mut text = words(PROGRAMS[which]);
        for (kind, at, from) in edits {
            let i = at.index(text.len());
            match kind {
                0 => text[i] = pool[from.index(pool.len())],
                1 => drop(text.remove(i)),
                2 => text.insert(i, pool[from.index(pool.len())]),
                3 => {
                    let j = from.index(text.len());
                    text.swap(i, j);
                }
                // More often: a number for a number, a name for a name.
                _ => {
                    let sort = |w: &str| w.chars().next().map(|c| (c.is_ascii_digit(), c.is_alphanumeric()));
                    let like: Vec<&&str> = pool.iter().filter(|w| sort(w) == sort(text[i])).collect();
                    text[i] = like[from.index(like.len())];
                }
            }
        }
        examine(&joined(&text));
    }
}
