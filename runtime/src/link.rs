//! Names to addresses: what the functions of one module call.
//!
//! A name is looked for among the functions of the module, then among the helpers given with it; a library call that
//! Cranelift makes of its own accord (`fma` on a machine without it) goes to this file's table. Nothing is looked up in
//! the process's symbols: a program must not mean something else because a library was loaded, and a static
//! executable has no such symbols. An unknown name is an error here, since Cranelift would panic over it.

use std::collections::HashMap;

use cranelift_codegen::ir::{ExternalName, Function, GlobalValueData, LibCall, UserExternalName};
use cranelift_codegen::{FinalizedMachReloc, FinalizedRelocTarget};
use cranelift_module::{FuncId, ModuleReloc};
use tensorc_ir::Result;
use tensorc_ir::error::err;

use crate::jit::Helper;

/// A function of the host program that the module calls.
pub(crate) struct Import<'h> {
    pub(crate) name: &'h str,
    pub(crate) address: *const u8,
}

/// Numbers every function: those of the module in their order, then each import when it is first used.
pub(crate) struct Linker<'h> {
    numbers: HashMap<String, u32>,
    functions: u32,
    helpers: &'h [Helper<'h>],
    imports: Vec<Import<'h>>,
}

impl<'h> Linker<'h> {
    /// # Errors
    /// `unsupported` if two functions have one name.
    pub(crate) fn new<'n>(names: impl Iterator<Item = &'n str>, helpers: &'h [Helper<'h>]) -> Result<Linker<'h>> {
        let mut numbers = HashMap::new();
        let mut functions = 0;
        for name in names {
            if numbers.insert(name.to_owned(), functions).is_some() {
                return Err(err::internal(format!("two compiled functions are called `{name}`")));
            }
            functions += 1;
        }
        Ok(Linker { numbers, functions, helpers, imports: Vec::new() })
    }

    /// The imports in use, in the order of their numbers.
    pub(crate) fn into_imports(self) -> Vec<Import<'h>> {
        self.imports
    }

    /// Puts numbers in the place of the names that `function` refers to.
    pub(crate) fn resolve_names(&mut self, function: &mut Function) -> Result<(), String> {
        for f in function.dfg.ext_funcs.keys().collect::<Vec<_>>() {
            let number = self.number(function, &function.dfg.ext_funcs[f].name)?;
            let callee = ExternalName::user(function.declare_imported_user_function(user_name(number)));
            let data = &mut function.dfg.ext_funcs[f];
            data.name = callee;
            // A near call reaches two gigabytes at most, and nothing promises that for memory mapped at two times.
            data.colocated = false;
        }
        for g in function.global_values.keys().collect::<Vec<_>>() {
            let GlobalValueData::Symbol { name, .. } = &function.global_values[g] else { continue };
            let number = self.number(function, name)?;
            let resolved = ExternalName::user(function.declare_imported_user_function(user_name(number)));
            if let GlobalValueData::Symbol { name, colocated, .. } = &mut function.global_values[g] {
                *name = resolved;
                *colocated = false;
            }
        }
        Ok(())
    }

    fn number(&mut self, function: &Function, name: &ExternalName) -> Result<u32, String> {
        match name {
            ExternalName::TestCase(name) => {
                let name = std::str::from_utf8(name.raw()).map_err(|_| "a name is not UTF-8".to_owned())?;
                if let Some(&number) = self.numbers.get(name) {
                    return Ok(number);
                }
                let helper = self.helpers.iter().find(|h| h.name == name);
                let helper = helper.ok_or_else(|| format!("nothing is called `{name}`"))?;
                Ok(self.import(helper.name, helper.address))
            }
            ExternalName::User(reference) => match function.params.user_named_funcs().get(*reference) {
                Some(name) if name.namespace == 0 && name.index < self.functions => Ok(name.index),
                _ => Err(format!("there is no function {}", name.display(Some(&function.params)))),
            },
            ExternalName::LibCall(call) => self.libcall(*call),
            ExternalName::KnownSymbol(symbol) => Err(format!("there is no symbol {symbol}")),
        }
    }

    fn import(&mut self, name: &'h str, address: *const u8) -> u32 {
        let known = self.imports.iter().position(|i| i.name == name);
        let k = known.unwrap_or_else(|| {
            self.imports.push(Import { name, address });
            self.imports.len() - 1
        });
        self.functions + k as u32
    }

    fn libcall(&mut self, call: LibCall) -> Result<u32, String> {
        let (name, address) = libcall(call).ok_or_else(|| format!("the library call {call} does not exist"))?;
        Ok(self.import(name, address))
    }

    /// A relocation of the compiled `function`, which is number `id`, in the module's terms.
    pub(crate) fn reloc(
        &mut self,
        reloc: &FinalizedMachReloc,
        function: &Function,
        id: FuncId,
    ) -> Result<ModuleReloc, String> {
        let name = match &reloc.target {
            FinalizedRelocTarget::ExternalName(ExternalName::LibCall(call)) => {
                FuncId::from_u32(self.libcall(*call)?).into()
            }
            FinalizedRelocTarget::ExternalName(ExternalName::User(_)) | FinalizedRelocTarget::Func(_) => {
                return Ok(ModuleReloc::from_mach_reloc(reloc, function, id));
            }
            FinalizedRelocTarget::ExternalName(other) => {
                return Err(format!("there is no symbol {}", other.display(Some(&function.params))));
            }
        };
        Ok(ModuleReloc { offset: reloc.offset, kind: reloc.kind, name, addend: reloc.addend })
    }
}

/// The module's names are its `FuncId`s, in namespace 0.
fn user_name(number: u32) -> UserExternalName {
    UserExternalName::new(0, number)
}

macro_rules! float_calls {
    ($($name:ident, $ty:ty, ($($arg:ident),+) => $value:expr;)*) => {
        $(extern "C" fn $name($($arg: $ty),+) -> $ty { $value })*
    };
}

float_calls! {
    ceil_f32, f32, (x) => x.ceil();
    ceil_f64, f64, (x) => x.ceil();
    floor_f32, f32, (x) => x.floor();
    floor_f64, f64, (x) => x.floor();
    trunc_f32, f32, (x) => x.trunc();
    trunc_f64, f64, (x) => x.trunc();
    nearest_f32, f32, (x) => x.round_ties_even();
    nearest_f64, f64, (x) => x.round_ties_even();
    fma_f32, f32, (x, y, z) => x.mul_add(y, z);
    fma_f64, f64, (x, y, z) => x.mul_add(y, z);
}

/// The functions that Cranelift calls where the machine has no instruction. The names have a space, which no helper has.
fn libcall(call: LibCall) -> Option<(&'static str, *const u8)> {
    Some(match call {
        LibCall::CeilF32 => ("libcall ceil.f32", ceil_f32 as *const u8),
        LibCall::CeilF64 => ("libcall ceil.f64", ceil_f64 as *const u8),
        LibCall::FloorF32 => ("libcall floor.f32", floor_f32 as *const u8),
        LibCall::FloorF64 => ("libcall floor.f64", floor_f64 as *const u8),
        LibCall::TruncF32 => ("libcall trunc.f32", trunc_f32 as *const u8),
        LibCall::TruncF64 => ("libcall trunc.f64", trunc_f64 as *const u8),
        LibCall::NearestF32 => ("libcall nearest.f32", nearest_f32 as *const u8),
        LibCall::NearestF64 => ("libcall nearest.f64", nearest_f64 as *const u8),
        LibCall::FmaF32 => ("libcall fma.f32", fma_f32 as *const u8),
        LibCall::FmaF64 => ("libcall fma.f64", fma_f64 as *const u8),
        LibCall::Memcpy => ("libcall memcpy", libc::memcpy as *const u8),
        LibCall::Memset => ("libcall memset", libc::memset as *const u8),
        LibCall::Memmove => ("libcall memmove", libc::memmove as *const u8),
        LibCall::Memcmp => ("libcall memcmp", libc::memcmp as *const u8),
        LibCall::Probestack | LibCall::ElfTlsGetAddr | LibCall::ElfTlsGetOffset | LibCall::X86Pshufb => return None,
    })
}
