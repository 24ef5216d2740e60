//! Graphs from text.

use tensorc_ir::Graph;
use tensorc_ir::text::elaborate::{Module, Sizes};

/// The graph of the only function of a text.
pub fn read(text: &str) -> Graph {
    let module = Module::parse("text", text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let f = module.main().unwrap();
    module.trace(f, &Sizes::default(), None).unwrap_or_else(|e| panic!("{e:?}\n{text}"))
}
