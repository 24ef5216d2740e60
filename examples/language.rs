//! Trains a small transformer to predict the next character of "Alice's Adventures in Wonderland", and lets it write.
//!
//! Two blocks of causal attention and a perceptron each, as in GPT-2 (Radford and others, 2019), with AdamW, clipped
//! gradients and a cosine schedule after a warm-up, in one compiled program. Run it with `cargo run --release --example
//! language`; `--quick` trains for a few steps only. It fails if the loss on the last tenth of the book, which it has not
//! learned from, is not below that of a table of pairs of characters (`--quick`: of single characters).

mod curve;

use flate2::read::GzDecoder;
use std::error::Error;
use std::io::Read;
use tensorc::train::{AdamW, clip_grad_norm, init, schedule};
use tensorc::{Argument, Result, Tensor, call, jit, value_and_grad};

const WIDTH: usize = 64;
const HEADS: usize = 4;
const BLOCKS: usize = 2;
/// How many characters the net sees.
const CONTEXT: usize = 64;
const BATCH: usize = 16;

tensorc::tree! {
    /// One block: two layer norms, attention and a perceptron.
    #[derive(Clone)]
    struct Block { norm1: Tensor, qkv: Tensor, out: Tensor, norm2: Tensor, up: Tensor, down: Tensor }

    /// The net. The table of characters is also the last layer.
    #[derive(Clone)]
    struct Net { characters: Tensor, places: Tensor, blocks: Vec<Block>, norm: Tensor }
}

/// An op that is no method of tensors, with one result.
fn op(name: &str, args: &[(Option<&str>, Argument)]) -> Result<Tensor> {
    Ok(call(name, args)?.swap_remove(0))
}

fn layer_norm(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    op("layer_norm", &[(None, x.into()), (None, [WIDTH as i64].into()), (None, weight.into())])
}

impl Net {
    fn new(characters: usize) -> Result<Net> {
        let matrix = |n: usize, m: usize, std: f64, seed: usize| init::normal(&[n, m], 0.0, std, Some(seed as i64));
        // What is added to the stream of each block is smaller, the more of it there is.
        let (std, small) = (0.05, 0.05 / (2.0 * BLOCKS as f64).sqrt());
        let block = |k: usize| {
            Ok(Block {
                norm1: init::ones(&[WIDTH])?,
                qkv: matrix(WIDTH, 3 * WIDTH, std, 10 * k + 11)?,
                out: matrix(WIDTH, WIDTH, small, 10 * k + 12)?,
                norm2: init::ones(&[WIDTH])?,
                up: matrix(WIDTH, 4 * WIDTH, std, 10 * k + 13)?,
                down: matrix(4 * WIDTH, WIDTH, small, 10 * k + 14)?,
            })
        };
        Ok(Net {
            characters: matrix(characters, WIDTH, std, 1)?,
            places: matrix(CONTEXT, WIDTH, std, 2)?,
            blocks: (0..BLOCKS).map(block).collect::<Result<_>>()?,
            norm: init::ones(&[WIDTH])?,
        })
    }

    /// The scores of every next character, `[n, CONTEXT, characters]`, after characters `[n, CONTEXT]`.
    fn logits(&self, text: &Tensor) -> Result<Tensor> {
        let mut x = op("embedding", &[(None, text.into()), (None, (&self.characters).into())])?.add(&self.places)?;
        for b in &self.blocks {
            // [n, CONTEXT, WIDTH] as [n, heads, CONTEXT, WIDTH / heads].
            let heads = |x: Tensor| x.view([-1, CONTEXT as i64, HEADS as i64, (WIDTH / HEADS) as i64])?.transpose(1, 2);
            let qkv = layer_norm(&x, &b.norm1)?.matmul(&b.qkv)?;
            let part = |k: usize| heads(qkv.narrow(-1, (k * WIDTH) as i64, WIDTH as i64)?.contiguous()?);
            let attended = op(
                "scaled_dot_product_attention",
                &[
                    (None, part(0)?.into()),
                    (None, part(1)?.into()),
                    (None, part(2)?.into()),
                    (Some("is_causal"), true.into()),
                ],
            )?;
            let attended = attended.transpose(1, 2)?.reshape([-1, CONTEXT as i64, WIDTH as i64])?;
            x = x.add(attended.matmul(&b.out)?)?;
            x = x.add(layer_norm(&x, &b.norm2)?.matmul(&b.up)?.gelu()?.matmul(&b.down)?)?;
        }
        layer_norm(&x, &self.norm)?.matmul(&self.characters.t()?)
    }

    /// The cross entropy of the characters that come next, in nats.
    fn loss(&self, text: &Tensor, next: &Tensor) -> Result<Tensor> {
        self.logits(text)?.flatten(0, 1)?.cross_entropy(&next.flatten(0, 1)?)
    }
}

/// The book as numbers of characters, and the characters.
fn book() -> std::result::Result<(Vec<i64>, Vec<char>), Box<dyn Error>> {
    let mut text = String::new();
    GzDecoder::new(&include_bytes!("data/alice.txt.gz")[..]).read_to_string(&mut text)?;
    let mut characters: Vec<char> = text.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    let number = |c: char| characters.binary_search(&c).map(|i| i as i64).map_err(|_| "a character that is not there");
    let book = text.chars().map(number).collect::<std::result::Result<_, _>>()?;
    Ok((book, characters))
}

/// Windows that begin at these places, and the same one character later: `i64[n, CONTEXT]` each.
fn windows(book: &[i64], at: impl Iterator<Item = usize> + Clone) -> Result<(Tensor, Tensor)> {
    let shifted = |by: usize| {
        let all: Vec<i64> = at.clone().flat_map(|i| &book[i + by..i + by + CONTEXT]).copied().collect();
        let n = all.len() / CONTEXT;
        Tensor::from_vec::<i64>(all, &[n, CONTEXT])
    };
    Ok((shifted(0)?, shifted(1)?))
}

/// The cross entropy of `test` in nats by counts of `train`: of single characters, and of pairs (each pair counted once more
/// than it occurs, so that none is impossible).
fn tables(train: &[i64], test: &[i64], characters: usize) -> (f64, f64) {
    let (mut single, mut pairs) = (vec![1.0; characters], vec![1.0; characters * characters]);
    train.iter().for_each(|c| single[*c as usize] += 1.0);
    train.windows(2).for_each(|p| pairs[p[0] as usize * characters + p[1] as usize] += 1.0);
    let all: f64 = single.iter().sum();
    let of_pair = |p: &[i64]| {
        let row = &pairs[p[0] as usize * characters..][..characters];
        -(row[p[1] as usize] / row.iter().sum::<f64>()).ln()
    };
    let one = test.iter().map(|c| -(single[*c as usize] / all).ln()).sum::<f64>() / test.len() as f64;
    (one, test.windows(2).map(of_pair).sum::<f64>() / (test.len() - 1) as f64)
}

/// The next number of a 64-bit linear congruential generator, below `n`.
fn below(seed: &mut u64, n: usize) -> usize {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*seed >> 33) as usize % n
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|a| a == "--quick");
    let steps = if quick { 30 } else { 600 };
    let (book, characters) = book()?;
    let (train, test) = book.split_at(book.len() / 10 * 9);
    let (single, pairs) = tables(train, test, characters.len());
    println!("{} characters to learn from, {} to test on, {} different", train.len(), test.len(), characters.len());

    let (net, adamw) = (Net::new(characters.len())?, AdamW { betas: (0.9, 0.99), ..AdamW::default() });
    let state = adamw.init(&net)?;
    let step = jit(|(net, state, text, next, lr): (Net, _, Tensor, Tensor, Tensor)| {
        let (loss, d) = value_and_grad(|net: Net| net.loss(&text, &next))(net.clone())?;
        let (d, _) = clip_grad_norm(&d, 1.0, 2.0)?;
        adamw.step_(&net, &d, &state, &lr)?;
        Ok(loss)
    });
    let warm_up = steps / 10;
    let rate = schedule::with_warm_up(warm_up, 0.05, schedule::cosine_annealing(4e-3, steps - warm_up, 1e-4));

    let (mut seed, clock, mut losses) = (1, std::time::Instant::now(), Vec::new());
    for k in 0..steps {
        let at: Vec<usize> = (0..BATCH).map(|_| below(&mut seed, train.len() - CONTEXT - 1)).collect();
        let (text, next) = windows(train, at.iter().copied())?;
        let lr = Tensor::scalar(rate(k) as f32)?;
        losses.push(step.call((net.clone(), state.clone(), text, next, lr))?.item::<f32>()?);
        if (k + 1) % (steps / 10) == 0 {
            println!("step {:3} of {steps}  loss {:.3}  {:.1} s", k + 1, losses[k], clock.elapsed().as_secs_f32());
        }
    }
    print!("{}", curve::text("cross entropy by step", &losses));
    println!("the step was compiled {} time(s)", step.compilations());

    // It goes on from a place in the part for the test, one character after the other.
    let logits = jit(|(net, text): (Net, Tensor)| net.logits(&text)?.i((0, -1))?.mul(1.25)?.softmax(-1));
    let mut written: Vec<i64> = test[3000..3000 + CONTEXT].to_vec();
    for _ in 0..if quick { 20 } else { 240 } {
        let text = Tensor::from_vec::<i64>(written[written.len() - CONTEXT..].to_vec(), &[1, CONTEXT])?;
        let chances = logits.call((net.clone(), text))?.to_vec::<f32>()?;
        let mut left = below(&mut seed, 1 << 24) as f32 / (1 << 24) as f32;
        let drawn = chances.iter().position(|c| {
            left -= c;
            left < 0.0
        });
        written.push(drawn.unwrap_or(chances.len() - 1) as i64);
    }
    let text = |part: &[i64]| part.iter().map(|c| characters[*c as usize]).collect::<String>();
    println!("---\n{}|{}\n---", text(&written[..CONTEXT]), text(&written[CONTEXT..]));

    let loss = jit(|(net, text, next): (Net, Tensor, Tensor)| net.loss(&text, &next));
    let (mut sum, mut count) = (0.0, 0.0);
    let starts: Vec<usize> = (0..test.len() - CONTEXT - 1).step_by(CONTEXT).collect();
    for at in starts.chunks_exact(BATCH).take(if quick { 2 } else { usize::MAX }) {
        let (text, next) = windows(test, at.iter().copied())?;
        sum += loss.call((net.clone(), text, next))?.item::<f64>()?;
        count += 1.0;
    }
    let (loss, most) = (sum / count, if quick { single } else { pairs });
    println!("tables of single characters {single:.3}, of pairs {pairs:.3}");
    println!("test loss: {loss:.3}");
    if loss.is_nan() || loss >= most {
        return Err(format!("expected less than {most:.3}").into());
    }
    Ok(())
}
