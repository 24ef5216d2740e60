//! Reads a dump of one function.

use tensorc_ir::Graph;
use tensorc_ir::text::{Module, Sizes};

/// The graph that a dump of one function is.
pub fn read(text: &str) -> Graph {
    let m = Module::parse("dump", text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    // The functions before the last one are its bodies.
    let f = m.functions().last().unwrap();
    m.trace(f, &Sizes::default(), None).unwrap_or_else(|e| panic!("{e:?}\n{text}"))
}
