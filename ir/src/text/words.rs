//! Words of the language that are called like functions and are none of the table: what they take and what they give,
//! for the documentation. [`super::elaborate`] answers them.

/// Name, parameters, meaning and example (in the form of [`crate::describe`]) of each.
pub static WORDS: &[(&str, &str, &str, &str)] = &[
    (
        "grad",
        "y, x, seed = None, allow_unused: bool = false, strong_zero: bool = false",
        "The gradient of y, a float of one element, with respect to x: a name, or a tuple of names for a tuple of \
         gradients, each of its x's shape and dtype. With a seed, a cotangent of y's shape, y has any shape. An x that y \
         does not depend on is an error, unless allow_unused gives zeros for it; so is memory of x that was written after \
         its use. Gradients are values like others and have gradients themselves. With strong_zero a zero cotangent stays \
         zero through elementwise functions, so what a `where` masks makes no NaN: grad(sum(where(x > 0, sqrt(x), 0)), x, \
         strong_zero=true) is 0 at -1, where PyTorch has NaN.",
        "x: D[2, 3] => let y = sum(x * x); grad(y, x)",
    ),
    (
        "tensor",
        "data: any, dtype: dtype? = None",
        "A number, or a list of them nested to the rank, as a tensor. The lists of a level are equally long. Without a \
         dtype i64 if all are integers, bool if all are truth values, else f32; a number that the dtype cannot hold is an \
         error.",
        "=> tensor([[1, 0], [1, 1]], dtype=D)",
    ),
    (
        "size",
        "x, dim: int? = None",
        "The extents of x as a list, or the one of a dimension as an integer: known while tracing, where no size is \
         symbolic, and else an expression of sizes.",
        "x: D[2, 3] => zeros(size(x), dtype=D)",
    ),
    ("dim", "x", "How many dimensions x has, an integer. Also `ndimension`.", "x: D[2, 3] => full([1], dim(x))"),
    (
        "numel",
        "x",
        "How many elements x has, an integer or an expression of sizes.",
        "x: D[2, 3] => full([1], numel(x))",
    ),
];
