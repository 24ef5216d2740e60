//! Loading code: kernels written with Cranelift's builder and as raw bytes, calls between them, and every way in which
//! a bad function must come back as an error.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, Function, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind,
    Type, UserExternalName, UserFuncName, Value, types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use tensorc_ir::Kind;
use tensorc_runtime::jit::{Code, Helper, Item, OptLevel, Options, Target};

fn function(signature: Signature, fill: impl FnOnce(&mut FunctionBuilder, &[Value])) -> Function {
    let mut function = Function::with_name_signature(UserFuncName::default(), signature);
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut function, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    fill(&mut b, &params);
    b.seal_all_blocks();
    b.finalize(Target::host().unwrap().isa(OptLevel::Speed).frontend_config());
    function
}

/// `for i in begin..end { y[i] = f(x[i]) }` with `args = [x, y]`, all of type `ty`.
fn map_kernel(ty: Type, f: impl FnOnce(&mut FunctionBuilder, Value) -> Value) -> Function {
    function(Target::host().unwrap().kernel_signature(), |b, params| {
        let flags = MemFlagsData::trusted();
        let (args, begin, end) = (params[0], params[1], params[2]);
        let x = b.ins().load(types::I64, flags, args, 0);
        let y = b.ins().load(types::I64, flags, args, 8);
        let (head, body, exit) = (b.create_block(), b.create_block(), b.create_block());
        let i = b.append_block_param(head, types::I64);
        b.ins().jump(head, &[begin.into()]);
        b.switch_to_block(head);
        let more = b.ins().icmp(IntCC::UnsignedLessThan, i, end);
        b.ins().brif(more, body, &[], exit, &[]);
        b.switch_to_block(body);
        let size = b.ins().iconst(types::I64, i64::from(ty.bytes()));
        let one = b.ins().iconst(types::I64, 1);
        let offset = b.ins().imul(i, size);
        let from = b.ins().iadd(x, offset);
        let to = b.ins().iadd(y, offset);
        let value = b.ins().load(ty, flags, from, 0);
        let value = f(b, value);
        b.ins().store(flags, value, to, 0);
        let next = b.ins().iadd(i, one);
        b.ins().jump(head, &[next.into()]);
        b.switch_to_block(exit);
        b.ins().return_(&[]);
    })
}

/// Calls `%name(value, value…)` of floats of type `ty`.
fn call(b: &mut FunctionBuilder, name: &str, ty: Type, args: &[Value]) -> Value {
    let mut signature = Signature::new(Target::host().unwrap().call_conv());
    signature.params = vec![AbiParam::new(ty); args.len()];
    signature.returns = vec![AbiParam::new(ty)];
    let signature = b.import_signature(signature);
    let name = ExternalName::testcase(name);
    let callee = b.import_function(ExtFuncData { name, signature, colocated: true, patchable: false });
    let call = b.ins().call(callee, args);
    b.inst_results(call)[0]
}

fn build(items: Vec<Item>, helpers: &[Helper]) -> tensorc_ir::Result<Code> {
    Code::build(Target::host()?, items, helpers, Options::default())
}

fn run(code: &Code, name: &str, x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0f32; x.len()];
    let args = [x.as_ptr() as u64, y.as_mut_ptr() as u64];
    // SAFETY: a map kernel of f32 reads and writes the elements `0..x.len()` of its two arguments.
    unsafe { code.kernel(name).unwrap().call(args.as_ptr(), 0, x.len() as u64) };
    y
}

fn square(b: &mut FunctionBuilder, x: Value) -> Value {
    b.ins().fmul(x, x)
}

#[test]
fn a_kernel_runs_and_is_freed() {
    for level in [OptLevel::Speed, OptLevel::None] {
        let code = build(vec![Item::function("square", map_kernel(types::F32, square), level)], &[]).unwrap();
        assert_eq!(run(&code, "square", &[1.0, -2.0, 3.0]), [1.0, 4.0, 9.0]);
        assert!(code.kernel("cube").is_none());
        assert!(!code.bytes("square").unwrap().is_empty());
    }
}

/// Bytes of executable memory that belong to no file: what the JIT holds. Zero where the system does not say.
fn executable_bytes() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let anonymous = maps.lines().filter(|line| line.contains(" r-xp ") && line.ends_with(" 00:00 0 "));
    let size = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some(usize::from_str_radix(to, 16).ok()? - usize::from_str_radix(from, 16).ok()?)
    };
    anonymous.filter_map(size).sum()
}

#[test]
fn five_hundred_programs_come_and_go() {
    let one = |_| {
        let code = build(vec![Item::function("square", map_kernel(types::F32, square), OptLevel::None)], &[]).unwrap();
        assert_eq!(run(&code, "square", &[3.0]), [9.0]);
        code
    };
    let all: Vec<_> = (0..500).map(one).collect();
    let page = 4096;
    let held = executable_bytes();
    assert!(held >= 500 * page || !cfg!(target_os = "linux"), "{held}");
    drop(all);
    // The tests beside this one hold a few.
    assert!(executable_bytes() <= 50 * page, "{} bytes are left of {held}", executable_bytes());
}

extern "C" fn remainder(x: f32, y: f32) -> f32 {
    x % y
}

#[test]
fn functions_call_each_other_and_helpers_by_name() {
    let mut signature = Signature::new(Target::host().unwrap().call_conv());
    signature.params = vec![AbiParam::new(types::F32)];
    signature.returns = vec![AbiParam::new(types::F32)];
    let half = function(signature, |b, params| {
        let half = b.ins().f32const(0.5);
        let x = b.ins().fmul(params[0], half);
        b.ins().return_(&[x]);
    });
    let kernel = map_kernel(types::F32, |b, x| {
        let x = call(b, "half", types::F32, &[x]);
        let y = b.ins().f32const(3.0);
        call(b, "fmodf", types::F32, &[x, y])
    });
    // The caller comes first: order does not matter.
    let items = vec![Item::function("k", kernel, OptLevel::Speed), Item::function("half", half, OptLevel::None)];
    let helpers = [Helper { name: "fmodf", address: remainder as *const u8 }];
    let code = build(items, &helpers).unwrap();
    assert_eq!(run(&code, "k", &[2.0, 7.0, 15.0]), [1.0, 0.5, 1.5]);
    assert!(code.kernel("half").is_none(), "it has not the signature of a kernel");
    assert!(code.address("half").is_some());
}

#[cfg(all(target_arch = "x86_64", unix))]
#[test]
fn bytes_are_code_too() {
    // mov rax, [rdi]; mov [rax], rsi; mov [rax + 8], rdx; ret
    let bytes = vec![0x48, 0x8b, 0x07, 0x48, 0x89, 0x30, 0x48, 0x89, 0x50, 0x08, 0xc3];
    let code = build(vec![Item::bytes("range", bytes.clone(), true)], &[]).unwrap();
    assert_eq!(code.bytes("range").unwrap(), bytes);
    let mut out = [0u64; 2];
    let args = [out.as_mut_ptr() as u64];
    // SAFETY: the code above stores two words at the address in `args`.
    unsafe { code.kernel("range").unwrap().call(args.as_ptr(), 5, 9) };
    assert_eq!(out, [5, 9]);
    assert!(build(vec![Item::bytes("empty", vec![], true)], &[]).is_err());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_the_machine_lacks_is_a_library_call() {
    let target = Target::host_without(&["has_fma", "has_avx", "has_avx2", "has_sse41", "has_sse42"]).unwrap();
    let f = map_kernel(types::F32, |b, x| {
        let x = b.ins().fma(x, x, x);
        let x = b.ins().nearest(x);
        let x = b.ins().floor(x);
        let x = b.ins().ceil(x);
        b.ins().trunc(x)
    });
    let items = vec![Item::function("k", f, OptLevel::Speed)];
    let code = Code::build(&target, items, &[], Options::default()).unwrap();
    assert_eq!(run(&code, "k", &[0.5, 1.5, 2.25]), [1.0, 4.0, 7.0]);
    assert!(Target::host_without(&["has_sixth_sense"]).is_err());
}

#[test]
fn a_large_frame_touches_its_pages() {
    let f = map_kernel(types::F32, |b, x| {
        let slot = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 100_000, 4));
        b.ins().stack_store(types::I64, x, slot, 0);
        b.ins().stack_load(types::I64, types::F32, slot, 0)
    });
    let code = build(vec![Item::function("k", f, OptLevel::Speed)], &[]).unwrap();
    assert_eq!(run(&code, "k", &[7.0]), [7.0]);
}

#[test]
fn bad_functions_are_errors() {
    let unknown = map_kernel(types::F32, |b, x| call(b, "nowhere", types::F32, &[x]));
    let beyond = {
        let mut f = map_kernel(types::F32, |b, x| call(b, "k", types::F32, &[x]));
        let name = f.declare_imported_user_function(UserExternalName::new(0, 7));
        let callee = f.dfg.ext_funcs.keys().next().unwrap();
        f.dfg.ext_funcs[callee].name = ExternalName::user(name);
        f
    };
    // No lowering: Cranelift answers some of these with `Err`, others with a panic.
    let no_lowering = map_kernel(types::F16X8, |b, x| b.ins().fma(x, x, x));
    let ill_typed = map_kernel(types::F32, |b, x| b.ins().iadd(x, x));
    for (f, why) in [(unknown, "nowhere"), (beyond, "no function"), (no_lowering, ""), (ill_typed, "")] {
        let e = build(vec![Item::function("k", f, OptLevel::Speed)], &[]).map(|_| ()).unwrap_err();
        assert_eq!(e.kind(), Kind::Unsupported);
        assert!(e.to_string().contains("`k`") && e.to_string().contains(why), "{e}");
    }
    let twice = (0..2).map(|_| Item::function("k", map_kernel(types::F32, square), OptLevel::None)).collect();
    assert!(build(twice, &[]).map(|_| ()).unwrap_err().to_string().contains("two compiled functions"));
}

#[test]
fn perf_reads_the_names() {
    let code = build(vec![Item::function("square", map_kernel(types::F32, square), OptLevel::None)], &[]).unwrap();
    let mut out = Vec::new();
    code.write_perf_map(&mut out).unwrap();
    let line = String::from_utf8(out).unwrap();
    let address = code.address("square").unwrap();
    assert_eq!(line, format!("{:x} {:x} square\n", address as usize, code.bytes("square").unwrap().len()));
}

#[test]
fn code_crosses_threads() {
    let code = build(vec![Item::function("square", map_kernel(types::F32, square), OptLevel::Speed)], &[]).unwrap();
    std::thread::scope(|s| {
        for i in 0..4 {
            let code = &code;
            s.spawn(move || assert_eq!(run(code, "square", &[i as f32]), [(i * i) as f32]));
        }
    });
    std::thread::spawn(move || drop(code)).join().unwrap();
}
