//! The reference interpreter: what every op means, slowly and obviously, with real memory that views share.
//!
//! It is the definition: backends are tested against it to the bit. Elements are held as register bits
//! ([`crate::scalar::eval`]), 64 bits each.

mod fault;
mod run;

pub use fault::{checks, may_fail};
pub use run::run;

use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::layout::Layout;
use crate::scalar::{Block, Fault, Reg, V, eval};
use crate::types::Type;
use std::cell::RefCell;
use std::rc::Rc;

/// A tensor of the interpreter: a layout over storage that other arrays may share.
#[derive(Clone, Debug)]
pub struct Array {
    /// Element type.
    pub dtype: DType,
    /// Where its elements lie.
    pub layout: Layout,
    /// The dtype of what the storage holds; another one if this is a view of its bits. The layout counts elements of
    /// `dtype`.
    held: DType,
    data: Rc<RefCell<Vec<u64>>>,
}

impl Array {
    /// A new contiguous array of register bits, row-major.
    pub fn new(dtype: DType, shape: &[usize], bits: Vec<u64>) -> Array {
        Array { dtype, held: dtype, layout: Layout::contiguous(shape), data: Rc::new(RefCell::new(bits)) }
    }

    /// An array from scalars of that dtype, row-major.
    pub fn from_scalars(dtype: DType, shape: &[usize], values: impl IntoIterator<Item = Scalar>) -> Array {
        Array::new(dtype, shape, values.into_iter().map(eval::to_bits).collect())
    }

    /// One value everywhere.
    pub fn full(v: Scalar, shape: &[usize]) -> Array {
        Array::new(v.dtype, shape, vec![eval::to_bits(v); shape.iter().product()])
    }

    /// The same storage through another layout.
    pub fn view(&self, layout: Layout) -> Array {
        Array { dtype: self.dtype, held: self.held, layout, data: self.data.clone() }
    }

    /// The same storage, its bits as elements of another dtype, which the layout counts already.
    pub fn retyped(self, dtype: DType) -> Array {
        Array { dtype, ..self }
    }

    /// Extents.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// The elements' register bits in row-major order.
    pub fn bits(&self) -> Vec<u64> {
        let data = self.data.borrow();
        if self.dtype.size() != self.held.size() {
            return self.layout.indices().into_iter().map(|i| self.read_across(&data, i)).collect();
        }
        let bits = self.layout.indices().into_iter().map(|i| data[i]).collect();
        Array::rebits(self.held, self.dtype, bits)
    }

    /// The elements in row-major order.
    pub fn scalars(&self) -> Vec<Scalar> {
        self.bits().into_iter().map(|b| eval::from_bits(self.dtype, b)).collect()
    }

    /// Overwrites the elements, given in row-major order.
    pub fn write(&self, bits: &[u64]) {
        let mut data = self.data.borrow_mut();
        if self.dtype.size() != self.held.size() {
            self.layout.indices().into_iter().zip(bits).for_each(|(i, b)| self.write_across(&mut data, i, *b));
            return;
        }
        let bits = Array::rebits(self.dtype, self.held, bits.to_vec());
        for (i, b) in self.layout.indices().into_iter().zip(bits) {
            data[i] = b;
        }
    }

    /// The bytes of the elements that are held which element `i` is a part of, or consists of; which these are, and where
    /// among the bytes it begins.
    fn held_around(&self, data: &[u64], i: usize) -> ([u8; 8], std::ops::Range<usize>, usize) {
        let (size, held) = (self.dtype.size(), self.held.size());
        let (first, last) = (i * size / held, (i * size + size).div_ceil(held));
        let mut bytes = [0; 8];
        for (k, cell) in data[first..last].iter().enumerate() {
            eval::from_bits(self.held, *cell).write(&mut bytes[k * held..][..held]);
        }
        (bytes, first..last, i * size - first * held)
    }

    fn read_across(&self, data: &[u64], i: usize) -> u64 {
        let (bytes, _, start) = self.held_around(data, i);
        eval::to_bits(Scalar::read(self.dtype, &bytes[start..][..self.dtype.size()]))
    }

    fn write_across(&self, data: &mut [u64], i: usize, bits: u64) {
        let (mut bytes, cells, start) = self.held_around(data, i);
        let (size, held) = (self.dtype.size(), self.held.size());
        eval::from_bits(self.dtype, bits).write(&mut bytes[start..][..size]);
        for (k, cell) in data[cells].iter_mut().enumerate() {
            *cell = eval::to_bits(Scalar::read(self.held, &bytes[k * held..][..held]));
        }
    }

    fn rebits(from: DType, to: DType, bits: Vec<u64>) -> Vec<u64> {
        if from == to {
            return bits;
        }
        let mut one = function([from.reg()], |b, [x]| crate::ops::strided::bitcast(b, from, to, x));
        bits.into_iter().map(|v| one([v])).collect()
    }

    /// Its elements in memory of their own.
    pub fn copied(&self) -> Array {
        Array::new(self.dtype, self.shape(), self.bits())
    }

    /// Whether both have one storage.
    pub fn shares(&self, other: &Array) -> bool {
        Rc::ptr_eq(&self.data, &other.data)
    }
}

/// A scalar function on register bits, ready to run; its faults do not count.
pub fn function<const N: usize>(
    params: [Reg; N],
    lower: impl FnOnce(&mut Block, [V; N]) -> V,
) -> impl FnMut([u64; N]) -> u64 {
    let mut block = Block::new();
    let args = params.map(|r| block.param(r));
    let result = lower(&mut block, args);
    let insts = block.take();
    let mut regs = vec![0; block.len()];
    move |x: [u64; N]| {
        args.iter().zip(x).for_each(|(a, x)| regs[a.0 as usize] = x);
        eval::run(&insts, |v| block.ty(v), &mut regs);
        regs[result.0 as usize]
    }
}

/// Applies a scalar function to every element of arrays of one shape.
///
/// # Errors
/// `data` if a check of the function fails.
pub fn map(x: &[Array], out: &Type, lower: impl FnOnce(&mut Block, &[V]) -> V) -> Result<Array> {
    let mut block = Block::new();
    let params: Vec<V> = x.iter().map(|a| block.param(a.dtype.reg())).collect();
    let result = lower(&mut block, &params);
    let insts = block.take();
    let mut regs = vec![0u64; block.len()];
    let columns: Vec<Vec<u64>> = x.iter().map(Array::bits).collect();
    let shape = out.extents()?;
    let count = shape.iter().product();
    let mut bits = Vec::with_capacity(count);
    for i in 0..count {
        for (p, c) in params.iter().zip(&columns) {
            regs[p.0 as usize] = c[i];
        }
        if let Some(f) = eval::run(&insts, |v| block.ty(v), &mut regs) {
            return Err(fault(f));
        }
        bits.push(regs[result.0 as usize]);
    }
    Ok(Array::new(out.dtype, &shape, bits))
}

/// The error of a data-dependent failure.
pub fn fault(f: Fault) -> crate::Error {
    err::data(match f {
        Fault::DivByZero => "integer division or modulo by zero (ZeroDivisionError)",
        Fault::Index => "index out of range",
        Fault::Target => "target class out of range",
        Fault::NegativePower => "integers to negative integer powers are not allowed",
        Fault::Probability => {
            "a probability is not in [0, 1]: expected p_in >= 0 && p_in <= 1 to be true, but got false"
        }
        Fault::Weight => "probability tensor contains either `inf`, `nan` or element < 0",
        Fault::NoWeight => "invalid multinomial distribution (sum of probabilities <= 0)",
        Fault::Variance => "var has negative entry/entries",
        Fault::Deviation => "normal expects all elements of std >= 0.0",
        Fault::Rate => "invalid Poisson rate, expected rate to be non-negative",
        Fault::Observation => "cov(): fweights or aweights cannot be negative",
        Fault::Repeats => "repeats can not be negative",
        Fault::Total => "allocated size does not match required size: the repeats have another sum",
        Fault::Source => "Number of elements of source < number of ones in mask",
    })
}
