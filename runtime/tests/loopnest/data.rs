//! Bytes for buffers: ordinary values, and every value at which something changes.

use tensorc_ir::{DType, Scalar};

/// A stream of random numbers (xorshift64*).
pub struct Random(u64);

impl Random {
    /// The stream of that seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
}

const FLOATS: [f64; 22] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    -3.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    65504.0,
    65519.999,
    65520.0,
    6.0e-8,
    2.9e-8,
    6.1e-5,
    1.0e-40,
    2147483648.0,
    -2147483649.0,
    4294967297.0,
    9.3e18,
    3.4e38,
];

const INTS: [i64; 12] = [0, 1, -1, 2, 7, 127, -128, 255, 32767, -32768, 2147483647, -2147483648];

/// `n` elements of `dtype`.
pub fn fill(dtype: DType, n: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; n * dtype.size()];
    for e in bytes.chunks_mut(dtype.size()) {
        let r = random.next();
        let scalar = match (dtype, random.below(4)) {
            (DType::Bool, _) => {
                e[0] = [0, 1, 1, 0, 0, 1, 255, 2][(r % 8) as usize];
                continue;
            }
            (_, 0) => {
                e.copy_from_slice(&r.to_le_bytes()[..e.len()]);
                continue;
            }
            (d, 1) if d.is_float() => Scalar::from_f64(d, FLOATS[(r % FLOATS.len() as u64) as usize]),
            (d, _) if d.is_float() => Scalar::from_f64(d, (r >> 40) as f64 / 1e6 - 8.0),
            (d, 1) => Scalar::from_i64(d, INTS[(r % INTS.len() as u64) as usize]),
            (DType::I64, 2) => Scalar::from_i64(DType::I64, if r & 1 == 0 { i64::MIN } else { i64::MAX }),
            (d, _) => Scalar::from_i64(d, (r % 200) as i64 - 100),
        };
        scalar.write(e);
    }
    bytes
}
