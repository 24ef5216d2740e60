//! Element types: the ten dtypes, their categories, PyTorch's promotion rule and single values of them.
//!
//! The idea: a dtype says how an element lies in memory; [`DType::reg`] says how it is held while it is computed on
//! (`f16` and `bf16` are held as `f32` that has been rounded). Nothing here knows shapes or ops.

use std::fmt;

/// The type of one tensor element in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32, the default float.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// Signed 64-bit integer, the default integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// A truth value, one byte of 0 or 1.
    Bool,
}

/// What kind of number a dtype holds; promotion moves up this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// `bool`.
    Bool,
    /// `u8 i8 i16 i32 i64`.
    Int,
    /// `f16 bf16 f32 f64`.
    Float,
}

use DType::*;

impl DType {
    /// All dtypes, widest float first.
    pub const ALL: [DType; 10] = [F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool];

    /// The name used in `.tc` text: `f32`, `i64`, …
    pub fn name(self) -> &'static str {
        match self {
            F64 => "f64",
            F32 => "f32",
            F16 => "f16",
            BF16 => "bf16",
            I64 => "i64",
            I32 => "i32",
            I16 => "i16",
            I8 => "i8",
            U8 => "u8",
            Bool => "bool",
        }
    }

    /// The dtype of that `.tc` name.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Bytes of one element in memory.
    pub fn size(self) -> usize {
        match self {
            F64 | I64 => 8,
            F32 | I32 => 4,
            F16 | BF16 | I16 => 2,
            I8 | U8 | Bool => 1,
        }
    }

    /// Bool, integer or float.
    pub fn category(self) -> Category {
        match self {
            F64 | F32 | F16 | BF16 => Category::Float,
            I64 | I32 | I16 | I8 | U8 => Category::Int,
            Bool => Category::Bool,
        }
    }

    /// Whether this is one of the four float dtypes.
    pub fn is_float(self) -> bool {
        self.category() == Category::Float
    }

    /// Whether this is one of the five integer dtypes (`bool` is not).
    pub fn is_int(self) -> bool {
        self.category() == Category::Int
    }

    /// The largest finite number of a float dtype, and of an integer dtype as a float.
    pub fn largest(self) -> f64 {
        match self {
            F64 => f64::MAX,
            F32 => f32::MAX.into(),
            F16 => 65504.0,
            BF16 => (2.0 - 2f64.powi(-7)) * 2f64.powi(127),
            I64 => i64::MAX as f64,
            I32 => i32::MAX.into(),
            I16 => i16::MAX.into(),
            I8 => i8::MAX.into(),
            U8 => u8::MAX.into(),
            Bool => 1.0,
        }
    }

    /// `f16` or `bf16`, which are computed in `f32` and rounded once for each op.
    pub fn is_half(self) -> bool {
        matches!(self, F16 | BF16)
    }

    /// The dtype an op on this dtype computes in: `f32` for the half floats, itself otherwise.
    pub fn compute(self) -> DType {
        if self.is_half() { F32 } else { self }
    }

    /// The default dtype of a category, as PyTorch has it: `bool`, `i64`, `f32`.
    pub fn default_of(category: Category) -> DType {
        match category {
            Category::Bool => Bool,
            Category::Int => I64,
            Category::Float => F32,
        }
    }

    /// This dtype if it is a float, else `f32`: what `exp` or `/` of integers give.
    pub fn to_float(self) -> DType {
        if self.is_float() { self } else { F32 }
    }

    /// PyTorch's promotion of two dtypes of the same priority class (both of tensors with dimensions, say).
    pub fn promote(self, other: DType) -> DType {
        if self == other {
            return self;
        }
        let (a, b) = (self.category(), other.category());
        if a != b {
            return if a > b { self } else { other };
        }
        match (self, other) {
            (F16, BF16) | (BF16, F16) => F32,
            (U8, I8) | (I8, U8) => I16,
            (U8, x) | (x, U8) if x.is_int() => x,
            _ => {
                if self.size() > other.size() {
                    self
                } else {
                    other
                }
            }
        }
    }

    /// How PyTorch's messages name the dtype: `Float`, `Long`, …
    pub fn torch_name(self) -> &'static str {
        match self {
            F64 => "Double",
            F32 => "Float",
            F16 => "Half",
            BF16 => "BFloat16",
            I64 => "Long",
            I32 => "Int",
            I16 => "Short",
            I8 => "Char",
            U8 => "Byte",
            Bool => "Bool",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One element: its dtype and its value as 64 bits.
///
/// Floats are held as the bits of an `f64` (`f32`, `f16` and `bf16` values are exactly representable there, NaN payloads
/// aside), integers and bools sign- or zero-extended to `i64`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scalar {
    /// The element's dtype.
    pub dtype: DType,
    bits: u64,
}

impl Scalar {
    /// The float `v` rounded to `dtype`, which is a float dtype; an integer dtype gets `v` by the rule of casts. To the
    /// half floats it goes by way of `f32`, as registers do. (`half`'s own `from_f64` looks at 20 bits of the fraction
    /// only, and so takes an `f32` just beside a midpoint for the midpoint.)
    pub fn from_f64(dtype: DType, v: f64) -> Scalar {
        match dtype {
            F64 => Scalar { dtype, bits: v.to_bits() },
            F32 => Scalar { dtype, bits: (v as f32 as f64).to_bits() },
            F16 => Scalar { dtype, bits: half::f16::from_f32(v as f32).to_f64().to_bits() },
            BF16 => Scalar { dtype, bits: half::bf16::from_f32(v as f32).to_f64().to_bits() },
            Bool => Scalar { dtype, bits: (v != 0.0) as u64 },
            _ => Scalar::from_i64(dtype, float_to_i64(v)),
        }
    }

    /// The integer `v` wrapped to `dtype`; a float dtype gets it rounded.
    pub fn from_i64(dtype: DType, v: i64) -> Scalar {
        match dtype {
            F64 => Scalar::from_f64(dtype, v as f64),
            F32 => Scalar { dtype, bits: (v as f32 as f64).to_bits() },
            F16 | BF16 => Scalar::from_f64(dtype, v as f32 as f64),
            Bool => Scalar { dtype, bits: (v != 0) as u64 },
            I64 => Scalar { dtype, bits: v as u64 },
            I32 => Scalar { dtype, bits: v as i32 as i64 as u64 },
            I16 => Scalar { dtype, bits: v as i16 as i64 as u64 },
            I8 => Scalar { dtype, bits: v as i8 as i64 as u64 },
            U8 => Scalar { dtype, bits: v as u8 as u64 },
        }
    }

    /// `true` or `false`.
    pub fn from_bool(v: bool) -> Scalar {
        Scalar { dtype: Bool, bits: v as u64 }
    }

    /// The value as `f64`.
    pub fn to_f64(self) -> f64 {
        if self.dtype.is_float() { f64::from_bits(self.bits) } else { self.bits as i64 as f64 }
    }

    /// The value as `i64`; floats by the rule of casts ([`float_to_i64`]).
    pub fn to_i64(self) -> i64 {
        if self.dtype.is_float() { float_to_i64(f64::from_bits(self.bits)) } else { self.bits as i64 }
    }

    /// Whether the value is not zero (NaN is not).
    pub fn to_bool(self) -> bool {
        if self.dtype.is_float() { f64::from_bits(self.bits) != 0.0 } else { self.bits != 0 }
    }

    /// The value in another dtype, by the one rule of casts.
    pub fn cast(self, to: DType) -> Scalar {
        if to == Bool {
            Scalar::from_bool(self.to_bool())
        } else if self.dtype.is_float() {
            Scalar::from_f64(to, self.to_f64())
        } else {
            Scalar::from_i64(to, self.to_i64())
        }
    }

    /// Reads one element from its little-endian bytes.
    pub fn read(dtype: DType, b: &[u8]) -> Scalar {
        let int = |v: i64| Scalar { dtype, bits: v as u64 };
        let float = |v: f64| Scalar { dtype, bits: v.to_bits() };
        match dtype {
            F64 => float(f64::from_le_bytes(b[..8].try_into().expect("8 bytes"))),
            F32 => float(f32::from_le_bytes(b[..4].try_into().expect("4 bytes")) as f64),
            F16 => float(half::f16::from_le_bytes([b[0], b[1]]).to_f64()),
            BF16 => float(half::bf16::from_le_bytes([b[0], b[1]]).to_f64()),
            I64 => int(i64::from_le_bytes(b[..8].try_into().expect("8 bytes"))),
            I32 => int(i32::from_le_bytes(b[..4].try_into().expect("4 bytes")) as i64),
            I16 => int(i16::from_le_bytes([b[0], b[1]]) as i64),
            I8 => int(b[0] as i8 as i64),
            U8 => int(b[0] as i64),
            Bool => int((b[0] != 0) as i64),
        }
    }

    /// Writes the element as little-endian bytes to the front of `out`.
    pub fn write(self, out: &mut [u8]) {
        let i = self.bits as i64;
        let f = f64::from_bits(self.bits);
        match self.dtype {
            F64 => out[..8].copy_from_slice(&f.to_le_bytes()),
            F32 => out[..4].copy_from_slice(&(f as f32).to_le_bytes()),
            F16 => out[..2].copy_from_slice(&half::f16::from_f64(f).to_le_bytes()),
            BF16 => out[..2].copy_from_slice(&half::bf16::from_f64(f).to_le_bytes()),
            I64 => out[..8].copy_from_slice(&i.to_le_bytes()),
            I32 => out[..4].copy_from_slice(&(i as i32).to_le_bytes()),
            I16 => out[..2].copy_from_slice(&(i as i16).to_le_bytes()),
            I8 | U8 | Bool => out[0] = i as u8,
        }
    }
}

/// The one rule of float to integer casts, on every target: truncate toward zero; NaN and what does not fit in `i64`
/// give `i64::MIN`. Narrower integers then wrap, so `256.0` to `u8` is 0 and `-1.0` is 255, as in PyTorch.
pub fn float_to_i64(v: f64) -> i64 {
    if (-9223372036854775808.0..9223372036854775808.0).contains(&v) { v as i64 } else { i64::MIN }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self, self.dtype)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dtype == Bool {
            write!(f, "{}", self.bits != 0)
        } else if !self.dtype.is_float() {
            write!(f, "{}", self.bits as i64)
        } else {
            let v = f64::from_bits(self.bits);
            if v.is_nan() {
                f.write_str("nan")
            } else if v.is_infinite() {
                f.write_str(if v > 0.0 { "inf" } else { "-inf" })
            } else if self.dtype == F64 {
                write!(f, "{v:?}")
            } else {
                write!(f, "{:?}", v as f32)
            }
        }
    }
}
