//! Optimisers, schedules, clipping, first values and files of trees, compared with what PyTorch 2.15 computes (`data.json`).

mod files;

use serde_json::Value as Json;
use tensorc::dtype::{BF16, F32, F64, I64};
use tensorc::train::{Adam, AdamW, Sgd, clip_grad_norm, clip_grad_value, init, schedule, total_norm};
use tensorc::{Kind, Result, Tensor, Tree, jit, tensor, value_and_grad, zeros};

tensorc::tree! {
    /// Two parameters.
    #[derive(Clone)]
    pub struct Two {
        /// Three numbers.
        pub a: Tensor,
        /// Two by two.
        pub b: Tensor,
    }
}

/// What PyTorch has computed.
fn data(name: &str) -> Json {
    let all: Json = serde_json::from_str(include_str!("data.json")).unwrap();
    all[name].clone()
}

fn list(numbers: &Json) -> Vec<f64> {
    numbers.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

fn params() -> Result<Two> {
    Ok(Two { a: tensor([0.5, -1.25, 2.0])?, b: tensor([[1.0, -0.5], [0.25, 3.0]])? })
}

/// The gradients of step t.
fn grads(t: usize) -> Result<Two> {
    let (i, sign) = (t as f64, if t.is_multiple_of(2) { 1.0 } else { -1.0 });
    Ok(Two {
        a: tensor([0.1 * (i + 1.0), -0.2 + 0.05 * i, 0.3 * sign])?,
        b: tensor([[1.0 - 0.4 * i, 0.02 * i], [-0.7, 0.5 * i.cos()]])?,
    })
}

fn numbers(p: &Two) -> Vec<f64> {
    [&p.a, &p.b].iter().flat_map(|t| t.to_vec::<f64>().unwrap()).collect()
}

fn close(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-12 * w.abs().max(1e-3), "{what}: {g}, PyTorch has {w}");
    }
}

/// Runs an optimiser as a pure function, eagerly, and in place inside `jit`: the bits are the same, and the numbers those
/// of PyTorch.
fn follows<S: Tree + Clone>(
    name: &str,
    init: impl Fn(&Two) -> Result<S>,
    step: impl Fn(&Two, &Two, &S, &Tensor) -> Result<(Two, S)>,
    step_: impl Fn(&Two, &Two, &S, &Tensor) -> Result<()>,
) -> Result<()> {
    let steps = data("steps");
    let want: Vec<Vec<f64>> = steps[name].as_array().unwrap().iter().map(list).collect();
    let (mut p, mut s) = (params()?, init(&params()?)?);
    let (own, state) = (params()?, init(&params()?)?);
    let compiled = jit(|(p, g, s, lr): (Two, Two, S, Tensor)| step_(&p, &g, &s, &lr));
    for (t, want) in want.iter().enumerate() {
        let (g, lr) = (grads(t)?, Tensor::scalar(0.1 / (t as f64 + 1.0))?);
        (p, s) = step(&p, &g, &s, &lr)?;
        close(&format!("{name}, step {t}"), &numbers(&p), want);
        compiled.call((own.clone(), g, state.clone(), lr))?;
        assert_eq!(numbers(&own), numbers(&p), "{name}, step {t}: in place inside jit");
    }
    assert_eq!(compiled.compilations(), 1, "{name}");
    Ok(())
}

#[test]
fn sgd_is_pytorchs() -> Result<()> {
    let d = Sgd::default();
    for (name, o) in [
        ("Sgd plain", d),
        ("Sgd momentum", Sgd { momentum: 0.9, ..d }),
        ("Sgd dampening", Sgd { momentum: 0.9, dampening: 0.3, ..d }),
        ("Sgd nesterov", Sgd { momentum: 0.8, nesterov: true, weight_decay: 0.1, ..d }),
        ("Sgd maximize", Sgd { momentum: 0.5, weight_decay: 0.01, maximize: true, ..d }),
    ] {
        follows(name, |p| o.init(p), |p, g, s, lr| o.step(p, g, s, lr), |p, g, s, lr| o.step_(p, g, s, lr))?;
    }
    Ok(())
}

#[test]
fn adam_is_pytorchs() -> Result<()> {
    let d = Adam::default();
    for (name, o) in [
        ("Adam plain", d),
        ("Adam weight_decay", Adam { weight_decay: 0.1, betas: (0.8, 0.99), eps: 1e-6, ..d }),
        ("Adam amsgrad", Adam { amsgrad: true, maximize: true, ..d }),
    ] {
        follows(name, |p| o.init(p), |p, g, s, lr| o.step(p, g, s, lr), |p, g, s, lr| o.step_(p, g, s, lr))?;
    }
    Ok(())
}

#[test]
fn adamw_is_pytorchs() -> Result<()> {
    let d = AdamW::default();
    for (name, o) in [
        ("AdamW plain", d),
        ("AdamW weight_decay", AdamW { weight_decay: 0.2, betas: (0.5, 0.9), ..d }),
        ("AdamW amsgrad", AdamW { amsgrad: true, maximize: true, ..d }),
    ] {
        follows(name, |p| o.init(p), |p, g, s, lr| o.step(p, g, s, lr), |p, g, s, lr| o.step_(p, g, s, lr))?;
    }
    Ok(())
}

#[test]
fn a_pure_step_can_use_donated_memory() -> Result<()> {
    let adam = Adam::default();
    let step = jit(|(p, s, g): (Tensor, _, Tensor)| adam.step(&p, &g, &s, 0.1)).donate(0);
    let (mut p, g) = (zeros(&[100], F32)?, tensor(vec![1.0f32; 100])?);
    let mut s = adam.init(&p)?;
    for _ in 0..3 {
        let before = p.clone();
        (p, s) = step.call((p, s, g.clone()))?;
        assert!(before.sum().is_err());
    }
    assert_eq!(s.step.item::<i64>()?, 3);
    assert!(p.to_vec::<f32>()?.iter().all(|v| (v + 0.3).abs() < 1e-5));
    Ok(())
}

#[test]
fn half_floats_are_rounded_once() -> Result<()> {
    let sgd = Sgd { momentum: 0.9, ..Sgd::default() };
    let (p, g) = (tensor([1.0f32, 3.0])?.to(BF16)?, tensor([0.01f32, 0.3])?.to(BF16)?);
    let state = sgd.init(&p)?;
    sgd.step_(&p, &g, &state, 0.1)?;
    let wide = |t: &Tensor| t.to(F32);
    let want = wide(&tensor([1.0f32, 3.0])?)?.sub(wide(&g)?.mul(0.1)?)?.to(BF16)?;
    assert_eq!(p.to_vec::<half::bf16>()?, want.to_vec::<half::bf16>()?);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let (p, adam) = (vec![zeros(&[2], F32)?, zeros(&[3], F32)?], AdamW::default());
    let s = adam.init(&p)?;
    let says = |r: Result<()>, kind: Kind, text: &str| {
        let e = r.unwrap_err();
        assert!(e.kind() == kind && e.to_string().contains(text), "{e}");
        assert!(e.to_string().contains("tests/train/main.rs"), "{e}");
    };
    let g = vec![zeros(&[2], F32)?, zeros(&[2], F32)?];
    says(adam.step_(&p, &g, &s, 0.1), Kind::Shape, "tensor 1 of `grads` is tensorc.Size([2])");
    says(adam.step_(&p, &p[..1].to_vec(), &s, 0.1), Kind::Type, "1 tensors in `grads`, but 2 in `params`");
    let g = vec![zeros(&[2], F32)?, zeros(&[3], F64)?];
    says(adam.step_(&p, &g, &s, 0.1), Kind::Dtype, "tensor 1 of `grads` is f64, that of `params` is f32");
    let i = vec![zeros(&[2], I64)?];
    says(Sgd::default().step_(&i, &i, &Sgd::default().init(&i)?, 0.1), Kind::Dtype, "is i64, expected floats");
    says(adam.step_(&p, &p, &s, &p[0]), Kind::Shape, "`lr` must be a number or a 0-d tensor, got one of 1 dimensions");
    says(adam.step_(&p, &p, &s, true), Kind::Type, "`lr` must be a number or a 0-d tensor");
    let other = AdamW { amsgrad: true, ..adam };
    says(other.step_(&p, &p, &s, 0.1), Kind::Type, "`AdamW`: the state was made for another `amsgrad`");
    let wrong = AdamW { betas: (0.9, 1.0), ..adam };
    says(wrong.init(&p).map(drop), Kind::Type, "`AdamW`: Invalid beta parameter at index 1: 1");
    let wrong = Adam { eps: -1.0, ..Adam::default() };
    says(wrong.init(&p).map(drop), Kind::Type, "Invalid epsilon value: -1");
    let sgd = Sgd { nesterov: true, ..Sgd::default() };
    says(sgd.init(&p).map(drop), Kind::Type, "`Sgd`: Nesterov momentum requires a momentum and zero dampening");
    let sgd = Sgd { momentum: -0.1, ..Sgd::default() };
    says(sgd.init(&p).map(drop), Kind::Type, "`Sgd`: Invalid momentum value: -0.1");
    let sgd = Sgd { momentum: 0.1, ..Sgd::default() };
    let s = Sgd::default().init(&p)?;
    says(sgd.step_(&p, &p, &s, 0.1), Kind::Type, "`Sgd`: the state was made for another momentum");
    let i = vec![zeros(&[2], I64)?];
    says(total_norm(&i, 2.0).map(drop), Kind::Dtype, "the norm of gradients of i64");
    says(
        init::fans(&[3]).map(drop),
        Kind::Shape,
        "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions",
    );
    says(
        init::trunc_normal(&[3], 0.0, 1.0, 2.0, 1.0, None).map(drop),
        Kind::Type,
        "`trunc_normal`: no normal numbers of mean 0",
    );
    Ok(())
}

#[test]
fn schedules_are_pytorchs() {
    let half = |name: &str| -> Box<dyn Fn(usize) -> f64> {
        let lines = schedule::OneCycle {
            max_lr: 1.0,
            total_steps: 12,
            cosine: false,
            three_phase: true,
            pct_start: 0.4,
            div_factor: 10.0,
            final_div_factor: 100.0,
        };
        match name {
            "constant" => Box::new(schedule::constant(0.4, 1.0 / 3.0, 5)),
            "step" => Box::new(schedule::step(0.4, 3, 0.1)),
            "multi_step" => Box::new(schedule::multi_step(0.4, &[2, 5], 0.5)),
            "exponential" => Box::new(schedule::exponential(0.4, 0.9)),
            "linear" => Box::new(schedule::linear(0.4, 1.0 / 3.0, 1.0, 5)),
            "polynomial" => Box::new(schedule::polynomial(0.4, 5, 2.0)),
            "cosine" => Box::new(schedule::cosine_annealing(0.4, 6, 0.1)),
            "warm_up" => Box::new(schedule::with_warm_up(4, 0.1, schedule::cosine_annealing(0.4, 6, 0.0))),
            "one_cycle lines" => Box::new(schedule::one_cycle(lines)),
            _ => Box::new(schedule::one_cycle(schedule::OneCycle {
                max_lr: 1.0,
                total_steps: 12,
                ..schedule::OneCycle::default()
            })),
        }
    };
    let rates = data("rates");
    assert_eq!(rates.as_object().unwrap().len(), 10);
    for (name, want) in rates.as_object().unwrap() {
        let (rate, want) = (half(name), list(want));
        let got: Vec<f64> = (0..want.len()).map(rate).collect();
        close(name, &got, &want);
    }
}

#[test]
fn clipping_is_pytorchs() -> Result<()> {
    let g = vec![tensor([3.0, -4.0])?, tensor([[12.0, 0.5], [-1.0, 0.0]])?];
    let all = |g: &[Tensor]| g.iter().flat_map(|t| t.to_vec::<f64>().unwrap()).collect::<Vec<f64>>();
    for case in data("clipped").as_array().unwrap() {
        let (order, norm) = (case[0].as_str().unwrap().parse().unwrap(), case[1].as_f64().unwrap());
        let (clipped, before) = clip_grad_norm(&g, 1.5, order)?;
        close("clipped", &all(&clipped), &list(&case[2]));
        close("norm", &[before.item::<f64>()?, total_norm(&g, order)?.item::<f64>()?], &[norm; 2]);
        let clip = jit(|g: Vec<Tensor>| clip_grad_norm(&g, 1.5, order));
        assert_eq!(all(&clip.call(g.clone())?.0), all(&clipped));
    }
    // A norm that is small enough changes nothing.
    assert_eq!(all(&clip_grad_norm(&g, 100.0, 2.0)?.0), all(&g));
    assert_eq!(all(&clip_grad_value(&g, 3.5)?), [3.0, -3.5, 3.5, 0.5, -1.0, 0.0]);
    assert_eq!(total_norm(&Vec::<Tensor>::new(), 2.0)?.item::<f64>()?, 0.0);
    Ok(())
}

#[test]
fn first_values_have_the_variance_that_they_say() -> Result<()> {
    use init::{Fan, Nonlinearity};
    let shape = [200, 30, 3, 3];
    assert_eq!(init::fans(&shape)?, (270, 1800));
    // PyTorch 2.15's `calculate_gain`.
    let gains = [
        (Nonlinearity::Linear, 1.0),
        (Nonlinearity::Tanh, 1.6666666666666667),
        (Nonlinearity::Relu, std::f64::consts::SQRT_2),
        (Nonlinearity::LeakyRelu(0.2), 1.3867504905630728),
        (Nonlinearity::Selu, 0.75),
    ];
    gains.iter().for_each(|(n, want)| assert_eq!(init::calculate_gain(*n), *want, "{n:?}"));
    let fan_mean = (270.0f64 + 1800.0) / 2.0;
    let cases = [
        ("uniform", init::uniform(&shape, -1.0, 3.0, Some(1))?, 1.0, 16.0 / 12.0, -1.0, 3.0),
        ("normal", init::normal(&shape, 2.0, 0.5, Some(2))?, 2.0, 0.25, -10.0, 10.0),
        ("xavier_uniform", init::xavier_uniform(&shape, 2.0, Some(3))?, 0.0, 4.0 / fan_mean, -0.11, 0.11),
        ("xavier_normal", init::xavier_normal(&shape, 1.0, Some(4))?, 0.0, 1.0 / fan_mean, -1.0, 1.0),
        (
            "kaiming_uniform",
            init::kaiming_uniform(&shape, Fan::In, Nonlinearity::LeakyRelu(5f64.sqrt()), Some(5))?,
            0.0,
            1.0 / 3.0 / 270.0,
            -0.061,
            0.061,
        ),
        (
            "kaiming_normal",
            init::kaiming_normal(&shape, Fan::Out, Nonlinearity::Relu, Some(6))?,
            0.0,
            2.0 / 1800.0,
            -1.0,
            1.0,
        ),
        // The variance of a normal distribution cut at 2 deviations.
        (
            "trunc_normal",
            init::trunc_normal(&shape, 1.0, 0.02, 0.96, 1.04, Some(7))?,
            1.0,
            0.0004 * 0.7737413,
            0.96,
            1.04,
        ),
    ];
    for (name, t, mean, variance, low, high) in cases {
        assert_eq!((t.shape(), t.dtype()), (&shape[..], F32), "{name}");
        let (m, v) = (t.mean()?.item::<f64>()?, t.var()?.item::<f64>()?);
        // Five deviations of the mean of 54,000 numbers, and as much for the variance.
        assert!((m - mean).abs() < 5.0 * (variance / 54000f64).sqrt(), "{name}: mean {m}");
        assert!((v / variance - 1.0).abs() < 5.0 * (2.0 / 54000f64).sqrt(), "{name}: variance {v}, not {variance}");
        let (l, h) = (t.amin()?.item::<f64>()?, t.amax()?.item::<f64>()?);
        assert!(l >= low - 1e-6 && h <= high + 1e-6, "{name}: {l} to {h}");
    }
    let same = |seed| init::kaiming_normal(&[4, 4], Fan::In, Nonlinearity::Relu, Some(seed))?.to_vec::<f32>();
    assert_eq!(same(1)?, same(1)?);
    assert_ne!(same(1)?, same(2)?);
    assert_eq!(init::constant(&[2], 1.5)?.to_vec::<f32>()?, [1.5; 2]);
    assert_eq!(init::zeros(&[2])?.add(init::ones(&[2])?)?.to_vec::<f32>()?, [1.0; 2]);
    Ok(())
}

#[test]
fn a_training_step_with_all_of_it_is_one_program() -> Result<()> {
    let w = init::xavier_uniform(&[3, 1], 1.0, Some(1))?;
    let (x, y) = (init::normal(&[64, 3], 0.0, 1.0, Some(2))?, tensor([[1.0f32], [-2.0], [0.5]])?);
    let y = x.matmul(&y)?;
    let adam = AdamW { weight_decay: 0.0, ..AdamW::default() };
    let step = jit(|(w, s, lr): (Tensor, _, Tensor)| {
        let (loss, g) = value_and_grad(|w: Tensor| x.matmul(&w)?.sub(&y)?.square()?.mean())(w.clone())?;
        let (g, _) = clip_grad_norm(&g, 1.0, 2.0)?;
        adam.step_(&w, &g, &s, &lr)?;
        Ok(loss)
    });
    let state = adam.init(&w)?;
    let lr = schedule::with_warm_up(20, 0.1, schedule::cosine_annealing(0.1, 180, 0.0));
    let mut loss = f32::NAN;
    for t in 0..200 {
        loss = step.call((w.clone(), state.clone(), Tensor::scalar(lr(t) as f32)?))?.item::<f32>()?;
    }
    assert!(loss < 1e-5, "{loss}");
    assert_eq!((step.compilations(), state.step.item::<i64>()?), (1, 200));
    Ok(())
}

#[test]
fn many_tensors_at_once_are_updated_as_one_at_a_time() -> Result<()> {
    // Large enough, taken together, to be shared out to threads; some are smaller than one chunk.
    let shapes: [&[usize]; 8] = [&[300, 100], &[7], &[], &[64, 3, 3, 3], &[50_000], &[1, 1], &[0], &[129, 65]];
    let some = |seed: i64| {
        shapes.iter().zip(seed..).map(|(s, k)| init::normal(s, 0.0, 1.0, Some(k))).collect::<Result<Vec<Tensor>>>()
    };
    let adamw = AdamW { amsgrad: true, ..AdamW::default() };
    let (p, g) = (some(1)?, some(100)?);
    let own = p.iter().map(Tensor::copy).collect::<Result<Vec<_>>>()?;
    let state = adamw.init(&p)?;
    let step = jit(|(p, g, s): (Vec<Tensor>, Vec<Tensor>, _)| adamw.step_(&p, &g, &s, 0.01));
    for _ in 0..3 {
        step.call((p.clone(), g.clone(), state.clone()))?;
    }
    for (i, own) in own.iter().enumerate() {
        let state = adamw.init(own)?;
        for _ in 0..3 {
            adamw.step_(own, &g[i], &state, 0.01)?;
        }
        assert_eq!(own.to_vec::<f32>()?, p[i].to_vec::<f32>()?, "tensor {i}");
    }
    Ok(())
}
