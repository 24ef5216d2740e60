//! A thin layer over Cranelift's function builder: structured loops, address arithmetic, calls by name.
//!
//! The functions of this module are compiled with `opt_level=none` (reordering costs the tiles half their speed), so
//! nothing tidies up behind it: what is emitted is what runs. Loops test in their header, which is what lets Cranelift
//! fold loads into the instructions of the body.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Imm64;
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, Function, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind,
    Type, UserFuncName, Value, types::I64,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

/// Accesses that stay inside an operand, a stack slot or the scratch area, so that they cannot fault.
pub(super) const MEM: MemFlagsData = MemFlagsData::new().with_notrap();

/// The signature of every function of this module: that many 64-bit words in, nothing out.
pub(super) fn signature(isa: &dyn TargetIsa, words: usize) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(I64); words];
    signature
}

/// Builds the function `(params: [i64; N]) -> ()` whose body `body` emits; the return is added here.
pub(super) fn function<const N: usize>(isa: &dyn TargetIsa, body: impl FnOnce(&mut Emit, [Value; N])) -> Function {
    let mut function = Function::with_name_signature(UserFuncName::default(), signature(isa, N));
    let mut context = FunctionBuilderContext::new();
    let mut e = Emit { b: FunctionBuilder::new(&mut function, &mut context), isa };
    let entry = e.b.create_block();
    e.b.append_block_params_for_function_params(entry);
    e.b.switch_to_block(entry);
    let mut params = [Value::from_u32(0); N];
    params.copy_from_slice(e.b.block_params(entry));
    body(&mut e, params);
    e.b.ins().return_(&[]);
    e.b.seal_all_blocks();
    e.b.finalize(isa.frontend_config());
    function
}

/// The function being built.
pub(super) struct Emit<'f, 'i> {
    pub(super) b: FunctionBuilder<'f>,
    isa: &'i dyn TargetIsa,
}

/// A mutable variable.
pub(super) type Var = cranelift_frontend::Variable;

impl Emit<'_, '_> {
    pub(super) fn int(&mut self, v: i64) -> Value {
        self.b.ins().iconst(I64, v)
    }

    pub(super) fn add(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().iadd(x, y)
    }

    pub(super) fn sub(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().isub(x, y)
    }

    pub(super) fn mul(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().imul(x, y)
    }

    pub(super) fn add_const(&mut self, x: Value, c: i64) -> Value {
        if c == 0 { x } else { self.b.ins().iadd_imm_s(x, c) }
    }

    /// `x` times a power of two.
    pub(super) fn scale(&mut self, x: Value, power: i64) -> Value {
        if power == 1 { x } else { self.b.ins().ishl_imm_u(x, Imm64::new(power.trailing_zeros() as i64)) }
    }

    /// `base + x * y`.
    pub(super) fn at(&mut self, base: Value, x: Value, y: Value) -> Value {
        let offset = self.mul(x, y);
        self.add(base, offset)
    }

    /// The smaller of two counts, which are not negative.
    pub(super) fn min(&mut self, x: Value, y: Value) -> Value {
        let less = self.less(x, y);
        self.b.ins().select(less, x, y)
    }

    pub(super) fn less(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().icmp(IntCC::SignedLessThan, x, y)
    }

    pub(super) fn less_const(&mut self, x: Value, c: i64) -> Value {
        self.b.ins().icmp_imm_s(IntCC::SignedLessThan, x, c)
    }

    pub(super) fn equal_const(&mut self, x: Value, c: i64) -> Value {
        self.b.ins().icmp_imm_s(IntCC::Equal, x, c)
    }

    pub(super) fn and(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().band(x, y)
    }

    /// The 64-bit word of an array whose number is a value.
    pub(super) fn at_word(&mut self, array: Value, index: Value) -> Value {
        let bytes = self.scale(index, 8);
        let at = self.add(array, bytes);
        self.word(at, 0)
    }

    /// The 64-bit word `index` of an array.
    pub(super) fn word(&mut self, array: Value, index: usize) -> Value {
        self.b.ins().load(I64, MEM, array, index as i32 * 8)
    }

    pub(super) fn var(&mut self, ty: Type, init: Value) -> Var {
        let var = self.b.declare_var(ty);
        self.b.def_var(var, init);
        var
    }

    pub(super) fn get(&mut self, var: Var) -> Value {
        self.b.use_var(var)
    }

    pub(super) fn set(&mut self, var: Var, value: Value) {
        self.b.def_var(var, value);
    }

    /// `while cond { body }`.
    pub(super) fn while_loop(&mut self, cond: impl FnOnce(&mut Self) -> Value, body: impl FnOnce(&mut Self)) {
        let [header, inside, after] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().jump(header, &[]);
        self.b.switch_to_block(header);
        let go = cond(self);
        self.b.ins().brif(go, inside, &[], after, &[]);
        self.b.seal_block(inside);
        self.b.switch_to_block(inside);
        body(self);
        self.b.ins().jump(header, &[]);
        self.b.seal_block(header);
        self.b.seal_block(after);
        self.b.switch_to_block(after);
    }

    /// `for i in (begin..end).step_by(step)`.
    pub(super) fn for_loop(&mut self, begin: Value, end: Value, step: i64, body: impl FnOnce(&mut Self, Value)) {
        let i = self.var(I64, begin);
        self.while_loop(
            |e| {
                let now = e.get(i);
                e.less(now, end)
            },
            |e| {
                let now = e.get(i);
                body(e, now);
                let next = e.add_const(now, step);
                e.set(i, next);
            },
        );
    }

    /// `if cond { yes } else { no }`; values leave it through variables.
    pub(super) fn if_else(&mut self, cond: Value, yes: impl FnOnce(&mut Self), no: impl FnOnce(&mut Self)) {
        let [then, other, after] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(cond, then, &[], other, &[]);
        self.b.seal_block(then);
        self.b.seal_block(other);
        self.b.switch_to_block(then);
        yes(self);
        self.b.ins().jump(after, &[]);
        self.b.switch_to_block(other);
        no(self);
        self.b.ins().jump(after, &[]);
        self.b.seal_block(after);
        self.b.switch_to_block(after);
    }

    /// The address of that many bytes of this call's stack, aligned for vectors.
    pub(super) fn stack(&mut self, bytes: i64) -> Value {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes as u32, 4);
        let slot = self.b.create_sized_stack_slot(slot);
        self.b.ins().stack_addr(I64, slot, 0)
    }

    /// Calls the function of that name in the same module.
    pub(super) fn call(&mut self, name: &str, args: &[Value]) {
        let signature = self.b.import_signature(signature(self.isa, args.len()));
        let callee = self.b.import_function(ExtFuncData {
            name: ExternalName::testcase(name),
            signature,
            colocated: true,
            patchable: false,
        });
        self.b.ins().call(callee, args);
    }
}
