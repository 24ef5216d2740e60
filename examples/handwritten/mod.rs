//! The handwritten digits of `examples/data`, and how to draw batches of them.

use flate2::read::GzDecoder;
use std::error::Error;
use std::io::Read;
use tensorc::Tensor;

/// Pixels of an image, 8 by 8.
pub const PIXELS: usize = 64;

/// Images `[n, 64]` scaled to 0..=1, and their classes.
pub struct Digits {
    images: Vec<f32>,
    labels: Vec<i64>,
}

impl Digits {
    /// All of them.
    pub fn read() -> Result<Digits, Box<dyn Error>> {
        let mut text = String::new();
        GzDecoder::new(&include_bytes!("../data/digits.csv.gz")[..]).read_to_string(&mut text)?;
        let mut digits = Digits { images: Vec::new(), labels: Vec::new() };
        for row in text.lines().filter(|l| !l.is_empty()) {
            let numbers = row.split(',').map(|n| n.trim().parse::<f32>()).collect::<Result<Vec<_>, _>>()?;
            let (label, pixels) = numbers.split_last().ok_or("an empty row")?;
            digits.images.extend(pixels.iter().map(|p| p / 16.0));
            digits.labels.push(*label as i64);
        }
        Ok(digits)
    }

    /// The positions of those to learn from and of a fifth to test on, at random.
    pub fn split(&self, seed: &mut u64) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        shuffle(&mut order, seed);
        let (test, train) = order.split_at(order.len() / 5);
        (train.to_vec(), test.to_vec())
    }

    /// The images and labels at those positions.
    pub fn batch(&self, at: &[usize]) -> tensorc::Result<(Tensor, Tensor)> {
        let images = at.iter().flat_map(|i| &self.images[i * PIXELS..(i + 1) * PIXELS]).copied().collect();
        let labels = at.iter().map(|i| self.labels[*i]).collect();
        Ok((Tensor::from_vec::<f32>(images, &[at.len(), PIXELS])?, Tensor::from_vec::<i64>(labels, &[at.len()])?))
    }
}

/// A shuffle that is the same everywhere: Fisher and Yates's, driven by a 64-bit linear congruential generator.
pub fn shuffle(order: &mut [usize], seed: &mut u64) {
    for i in (1..order.len()).rev() {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        order.swap(i, (*seed >> 33) as usize % (i + 1));
    }
}
