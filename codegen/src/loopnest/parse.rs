//! Text to loop nests, the inverse of printing.
//!
//! ```text
//! nest   = "kernel" "(" [bufs] [";" params] ")" "{" {unused} {stmt} "}"
//! bufs   = "b0" ":" ["mut"] dtype {"," "b1" ":" ["mut"] dtype}      numbered in order, as are p0, p1, …
//! unused = "unused" reg ":" type                                    registers that nothing defines
//! stmt   = reg ":" type "=" value
//!        | "store" buf "[" index "]" "=" reg
//!        | "for" ["parallel"] ["vector"] var "in" "0" ".." extent "{" {stmt} "}"
//!        | "acc" acc ":" type "=" combine ["," "lanes" int]
//!        | acc "+=" reg ["at" reg]
//! extent = coef | "block" "(" var "," coef "," coef ")"
//! value  = "load" buf "[" index "]" | "index" index | "read" acc
//!        | "const" type number | ("convert" | "bitcast") type reg | "round" dtype reg
//!        | "check" fault reg | op reg {"," reg}
//! index  = ["-"] item {("+" | "-") item}                            a register once at most, and not in `index`
//! item   = var ["*" coef] | coef | reg
//! coef   = int | param
//! ```
//!
//! `var` is `i7`, `reg` is `%7`, `acc` is `a7`, `param` is `p7`. A number is decimal, `inf`, `true`, `false`, or the
//! bits of the constant's type as `0x…`. The instructions after `=` are those of the scalar IR's own text. `#` starts a comment.

use super::print::COMBINE;
use super::verify::MAX_DEPTH;
use super::{AccId, Access, Affine, Buf, BufDecl, Coef, Extent, Loop, LoopKind, LoopNest, Stmt, Var};
use tensorc_ir::error::{Loc, err};
use tensorc_ir::scalar::{Bin, Cmp, Fault, Inst, Reg, Un, V};
use tensorc_ir::{DType, Result};

/// Parses one loop nest. It is not verified.
///
/// # Errors
/// Kind `Syntax`, at the bytes of the text that do not fit.
pub fn parse(text: &str) -> Result<LoopNest> {
    let mut p = Parser { text, at: 0, token: (0, 0), regs: Vec::new(), depth: 0 };
    p.advance();
    let nest = p.nest()?;
    if p.is_end() { Ok(nest) } else { Err(p.expected("the end")) }
}

/// Registers are numbered up to this; it keeps a short text from asking for a table of any size.
const MAX_REG: u32 = 1 << 20;

const UN: [Un; 8] = [Un::Neg, Un::Abs, Un::Sqrt, Un::Floor, Un::Ceil, Un::Trunc, Un::Nearest, Un::Not];
const BIN: [Bin; 13] = [
    Bin::Add,
    Bin::Sub,
    Bin::Mul,
    Bin::Div,
    Bin::Rem,
    Bin::Min,
    Bin::Max,
    Bin::And,
    Bin::Or,
    Bin::Xor,
    Bin::Shl,
    Bin::Shr,
    Bin::UShr,
];
const CMP: [Cmp; 4] = [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le];

struct Parser<'a> {
    text: &'a str,
    /// Where the text after the current token starts.
    at: usize,
    /// The current token.
    token: (usize, usize),
    regs: Vec<Option<Reg>>,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Words (with `%`), numbers (with `-`, `.` and exponents where they are part of one), `..`, `+=`, single signs.
    fn advance(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(b) = bytes.get(self.at) {
            if *b == b'#' {
                self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at);
            } else if b.is_ascii_whitespace() {
                self.at += 1;
            } else {
                break;
            }
        }
        let rest = &self.text[self.at..];
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = if rest.starts_with("..") || rest.starts_with("+=") {
            2
        } else if rest.starts_with(|c: char| c.is_ascii_digit()) {
            number_len(rest)
        } else if rest.starts_with(|c: char| word(c) || c == '%') {
            rest[1..].find(|c| !word(c)).map_or(rest.len(), |n| n + 1)
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        self.token = (self.at, self.at + len);
        self.at += len;
    }

    fn peek(&self) -> &'a str {
        &self.text[self.token.0..self.token.1]
    }

    fn is_end(&self) -> bool {
        self.peek().is_empty()
    }

    fn expected(&self, what: &str) -> tensorc_ir::Error {
        let found = if self.is_end() { "the end" } else { self.peek() };
        err::syntax(format!("expected {what}, found `{found}`")).at(Loc::text(self.token.0..self.token.1))
    }

    /// Takes `token` if it comes next.
    fn eat(&mut self, token: &str) -> bool {
        let found = self.peek() == token && !token.is_empty();
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    /// The number of the next token if it is `prefix` and a number.
    fn numbered(&self, prefix: &str) -> Option<u32> {
        let digits = self.peek().strip_prefix(prefix)?;
        if digits.starts_with(|c: char| c.is_ascii_digit()) { digits.parse().ok() } else { None }
    }

    fn id(&mut self, prefix: &str, what: &str) -> Result<u32> {
        let n = self.numbered(prefix).ok_or_else(|| self.expected(what))?;
        self.advance();
        Ok(n)
    }

    fn reg(&mut self) -> Result<V> {
        Ok(V(self.id("%", "a register")?))
    }

    fn var(&mut self) -> Result<Var> {
        Ok(Var(self.id("i", "a loop variable")?))
    }

    fn dtype(&mut self) -> Result<DType> {
        let d = DType::from_name(self.peek()).ok_or_else(|| self.expected("a dtype"))?;
        self.advance();
        Ok(d)
    }

    fn ty(&mut self) -> Result<Reg> {
        let name = self.peek();
        let all = [Reg::F64, Reg::F32, Reg::I64, Reg::I32, Reg::I16, Reg::I8, Reg::U8, Reg::Bool];
        let ty = all.into_iter().find(|r| r.name() == name).ok_or_else(|| self.expected("a type"))?;
        self.advance();
        Ok(ty)
    }

    fn int(&mut self) -> Result<i64> {
        let start = self.token;
        let sign = if self.eat("-") { "-" } else { "" };
        let value = format!("{sign}{}", self.peek()).parse().map_err(|_| self.expected("an integer of 64 bits"));
        if value.is_err() {
            self.token.0 = start.0;
        }
        let value = value?;
        self.advance();
        Ok(value)
    }

    fn coef(&mut self) -> Result<Coef> {
        match self.numbered("p") {
            Some(p) => {
                self.advance();
                Ok(Coef::Param(p))
            }
            None => Ok(Coef::Const(self.int()?)),
        }
    }

    fn nest(&mut self) -> Result<LoopNest> {
        let mut nest = LoopNest::default();
        self.expect("kernel")?;
        self.expect("(")?;
        while self.numbered("b") == Some(nest.bufs.len() as u32) {
            self.advance();
            self.expect(":")?;
            let written = self.eat("mut");
            nest.bufs.push(BufDecl { dtype: self.dtype()?, written });
            if !self.eat(",") {
                break;
            }
        }
        if self.eat(";") {
            while self.numbered("p") == Some(nest.params) {
                self.advance();
                nest.params += 1;
                if !self.eat(",") {
                    break;
                }
            }
        }
        self.expect(")")?;
        self.expect("{")?;
        while self.eat("unused") {
            self.defined()?;
        }
        nest.body = self.body()?;
        let regs = self.regs.iter().enumerate();
        let regs = regs.map(|(i, r)| r.ok_or_else(|| err::syntax(format!("%{i} has no type: use `unused %{i}: …`"))));
        nest.regs = regs.collect::<Result<_>>()?;
        Ok(nest)
    }

    /// Statements up to and with the closing brace.
    fn body(&mut self) -> Result<Vec<Stmt>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.expected("fewer loops inside each other"));
        }
        let mut stmts = Vec::new();
        while !self.eat("}") {
            stmts.push(self.stmt()?);
        }
        self.depth -= 1;
        Ok(stmts)
    }

    fn stmt(&mut self) -> Result<Stmt> {
        if self.eat("store") {
            let (buf, at) = self.access()?;
            self.expect("=")?;
            return Ok(Stmt::Store { buf, at, value: self.reg()? });
        }
        if self.eat("for") {
            return self.for_loop();
        }
        if self.eat("acc") {
            let acc = AccId(self.id("a", "an accumulator")?);
            self.expect(":")?;
            let reg = self.ty()?;
            self.expect("=")?;
            let combine = COMBINE.iter().find(|(n, _)| *n == self.peek());
            let combine = combine.ok_or_else(|| self.expected("a way to combine"))?.1;
            self.advance();
            let mut lanes = 1;
            if self.eat(",") {
                self.expect("lanes")?;
                lanes = u32::try_from(self.int()?).map_err(|_| self.expected("a number of lanes before this"))?;
            }
            return Ok(Stmt::Acc { acc, combine, reg, lanes });
        }
        if let Some(acc) = self.numbered("a") {
            self.advance();
            self.expect("+=")?;
            let value = self.reg()?;
            let index = if self.eat("at") { Some(self.reg()?) } else { None };
            return Ok(Stmt::Update { acc: AccId(acc), value, index });
        }
        if self.numbered("%").is_none() {
            return Err(self.expected("a statement"));
        }
        let v = self.defined()?;
        self.expect("=")?;
        if self.eat("load") {
            let (buf, at) = self.access()?;
            return Ok(Stmt::Load { dst: v, buf, at });
        }
        if self.eat("index") {
            let at = self.index()?;
            return match at.dynamic {
                None => Ok(Stmt::Index(v, at.affine)),
                Some(_) => Err(self.expected("no register in the index before this")),
            };
        }
        if self.eat("read") {
            return Ok(Stmt::Read { dst: v, acc: AccId(self.id("a", "an accumulator")?) });
        }
        Ok(Stmt::Inst(v, self.inst()?))
    }

    /// A register with its type.
    fn defined(&mut self) -> Result<V> {
        let wide = self.expected(&format!("a register below {MAX_REG}"));
        let v = self.reg()?;
        if v.0 >= MAX_REG {
            return Err(wide);
        }
        self.expect(":")?;
        let ty = self.ty()?;
        let i = v.0 as usize;
        if self.regs.len() <= i {
            self.regs.resize(i + 1, None);
        }
        self.regs[i] = Some(ty);
        Ok(v)
    }

    fn for_loop(&mut self) -> Result<Stmt> {
        let parallel = self.eat("parallel");
        let kind = if self.eat("vector") { LoopKind::Vector } else { LoopKind::Serial };
        let var = self.var()?;
        self.expect("in")?;
        self.expect("0")?;
        self.expect("..")?;
        let extent = if self.eat("block") {
            self.expect("(")?;
            let var = self.var()?;
            self.expect(",")?;
            let step = self.coef()?;
            self.expect(",")?;
            let total = self.coef()?;
            self.expect(")")?;
            Extent::Block { var, step, total }
        } else {
            Extent::Whole(self.coef()?)
        };
        self.expect("{")?;
        Ok(Stmt::For(Loop { var, extent, kind, parallel, body: self.body()? }))
    }

    fn access(&mut self) -> Result<(Buf, Access)> {
        let buf = Buf(self.id("b", "a buffer")?);
        self.expect("[")?;
        let at = self.index()?;
        self.expect("]")?;
        Ok((buf, at))
    }

    fn index(&mut self) -> Result<Access> {
        let mut at = Access { affine: Affine::constant(0), dynamic: None };
        let mut has_offset = false;
        loop {
            if let Some(var) = self.numbered("i") {
                self.advance();
                let coef = if self.eat("*") { self.coef()? } else { Coef::Const(1) };
                at.affine.terms.push((Var(var), coef));
            } else if self.numbered("%").is_some() && at.dynamic.is_none() {
                at.dynamic = Some(self.reg()?);
            } else if !has_offset && self.numbered("%").is_none() {
                at.affine.offset = self.coef()?;
                has_offset = true;
            } else {
                return Err(self.expected("one constant part and one register at most"));
            }
            // A minus belongs to the number after it.
            if !self.eat("+") && self.peek() != "-" {
                return Ok(at);
            }
        }
    }

    fn inst(&mut self) -> Result<Inst> {
        let start = self.token;
        let op = self.peek();
        self.advance();
        if let Some(op) = UN.iter().find(|o| o.name() == op) {
            return Ok(Inst::Un(*op, self.reg()?));
        }
        if let Some(op) = BIN.iter().find(|o| o.name() == op) {
            let [a, b] = self.regs()?;
            return Ok(Inst::Bin(*op, a, b));
        }
        if let Some(op) = CMP.iter().find(|o| o.name() == op) {
            let [a, b] = self.regs()?;
            return Ok(Inst::Cmp(*op, a, b));
        }
        match op {
            "param" => Ok(Inst::Param(self.ty()?)),
            "const" => {
                let ty = self.ty()?;
                Ok(Inst::Const(ty, self.constant(ty)?))
            }
            "fma" => self.regs().map(|[a, b, c]| Inst::Fma(a, b, c)),
            "select" => self.regs().map(|[a, b, c]| Inst::Select(a, b, c)),
            "convert" => {
                let ty = self.ty()?;
                Ok(Inst::Convert(ty, self.reg()?))
            }
            "bitcast" => {
                let ty = self.ty()?;
                Ok(Inst::Bitcast(ty, self.reg()?))
            }
            "round" => {
                let dtype = self.dtype()?;
                Ok(Inst::Round(dtype, self.reg()?))
            }
            "check" => {
                let fault = Fault::ALL.into_iter().find(|f| f.name() == self.peek());
                let fault = fault.ok_or_else(|| self.expected("a fault"))?;
                self.advance();
                Ok(Inst::Check(fault, self.reg()?))
            }
            _ => {
                self.token = start;
                Err(self.expected("an instruction"))
            }
        }
    }

    /// `N` registers with commas between them.
    fn regs<const N: usize>(&mut self) -> Result<[V; N]> {
        let mut out = [V(0); N];
        for (i, slot) in out.iter_mut().enumerate() {
            if i > 0 {
                self.expect(",")?;
            }
            *slot = self.reg()?;
        }
        Ok(out)
    }

    fn constant(&mut self, ty: Reg) -> Result<u64> {
        let negative = self.eat("-");
        let token = self.peek();
        let text = format!("{}{token}", if negative { "-" } else { "" });
        let bits = match (ty, token) {
            (_, t) if t.starts_with("0x") && !negative => u64::from_str_radix(&t[2..], 16).ok(),
            (Reg::Bool, "true") => Some(1),
            (Reg::Bool, "false") => Some(0),
            (Reg::Bool, _) => None,
            (Reg::F64, _) => text.parse::<f64>().ok().map(f64::to_bits),
            (Reg::F32, _) => text.parse::<f32>().ok().map(|v| u64::from(v.to_bits())),
            (Reg::I64 | Reg::I32 | Reg::I16 | Reg::I8 | Reg::U8, _) => text.parse::<i64>().ok().map(|v| v as u64),
        };
        let bits = bits.ok_or_else(|| self.expected("a constant of that type"))?;
        self.advance();
        Ok(bits)
    }
}

/// The length of the number that `text` starts with: digits, letters, one point that has no second point after it, and a
/// sign after an exponent.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut n = 0;
    while let Some(b) = bytes.get(n) {
        let after_exponent = n > 0 && bytes[n - 1].eq_ignore_ascii_case(&b'e') && !text.starts_with("0x");
        let point = *b == b'.' && bytes.get(n + 1) != Some(&b'.') && (n == 0 || bytes[n - 1] != b'.');
        if b.is_ascii_alphanumeric() || point || (matches!(b, b'-' | b'+') && after_exponent) {
            n += 1;
        } else {
            break;
        }
    }
    n
}
