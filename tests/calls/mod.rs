//! Calls of functions as the examples of the table write them, made on tensors.

use tensorc::{Argument, DType, Tensor, call};

/// Reads the example's call: `name(x, [1, 2], dim=0)`.
pub struct Reader<'a> {
    rest: &'a str,
    names: Vec<(&'a str, Tensor)>,
}

impl<'a> Reader<'a> {
    /// Of a call whose operands have these names.
    pub fn new(rest: &'a str, names: Vec<(&'a str, Tensor)>) -> Reader<'a> {
        Reader { rest, names }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        self.space();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        self.space();
        let text = self.rest;
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(text.len());
        self.rest = &text[end..];
        &text[..end]
    }

    fn list(&mut self, close: char) -> Option<Vec<Argument>> {
        let mut all = Vec::new();
        while !self.eat(close) {
            all.push(self.argument()?);
            self.eat(',');
        }
        Some(all)
    }

    fn argument(&mut self) -> Option<Argument> {
        if self.eat('[') {
            return self.list(']').map(Argument::List);
        }
        if self.eat('(') {
            return self.list(')').map(Argument::List);
        }
        if self.eat('"') {
            let end = self.rest.find('"')?;
            let text = &self.rest[..end];
            self.rest = &self.rest[end + 1..];
            return Some(Argument::Str(text.into()));
        }
        let minus = self.eat('-');
        let word = self.word();
        if self.rest.starts_with('(') {
            let args = self.arguments()?;
            return match (word, args.as_slice()) {
                ("tensor", [(None, list), rest @ ..]) => {
                    let t = numbers(list)?;
                    match rest {
                        [(_, Argument::DType(d))] => t.to(*d).ok().map(Argument::Tensor),
                        _ => Some(Argument::Tensor(t)),
                    }
                }
                _ => call(word, &args).ok()?.pop().map(Argument::Tensor),
            };
        }
        if let Some((_, t)) = self.names.iter().find(|(n, _)| *n == word) {
            return Some(t.into());
        }
        let sign = if minus { -1.0 } else { 1.0 };
        Some(match word {
            "true" => Argument::Bool(true),
            "false" => Argument::Bool(false),
            "None" => Argument::None,
            w => match (w.parse::<i64>(), w.parse::<f64>(), DType::from_name(w)) {
                (Ok(i), ..) => Argument::Int(i * sign as i64),
                (_, Ok(v), _) => Argument::Float(v * sign),
                (.., Some(d)) => Argument::DType(d),
                _ => return None,
            },
        })
    }

    /// The function's name and its arguments; `None` for a call of another form.
    #[expect(clippy::type_complexity, reason = "it is the form that `call` takes")]
    pub fn call(&mut self) -> Option<(&'a str, Vec<(Option<&'a str>, Argument)>)> {
        let name = self.word();
        let args = self.arguments()?;
        self.rest.trim().is_empty().then_some((name, args))
    }

    /// The arguments in parentheses.
    fn arguments(&mut self) -> Option<Vec<(Option<&'a str>, Argument)>> {
        self.eat('(').then_some(())?;
        let mut args = Vec::new();
        while !self.eat(')') {
            self.space();
            let before = self.rest;
            let word = self.word();
            let keyword = !word.is_empty() && self.rest.trim_start().starts_with('=');
            if keyword {
                self.eat('=');
                args.push((Some(word), self.argument()?));
            } else {
                self.rest = before;
                args.push((None, self.argument()?));
            }
            self.eat(',');
        }
        Some(args)
    }
}

/// `tensor([[0, 2], [1, 1]])`.
fn numbers(list: &Argument) -> Option<Tensor> {
    fn gather(a: &Argument, depth: usize, shape: &mut Vec<usize>, out: &mut Vec<i64>, truths: &mut bool) {
        match a {
            Argument::List(l) => {
                if shape.len() == depth {
                    shape.push(l.len());
                }
                l.iter().for_each(|a| gather(a, depth + 1, shape, out, truths));
            }
            Argument::Int(i) => out.push(*i),
            Argument::Bool(v) => {
                out.push(*v as i64);
                *truths = true;
            }
            _ => {}
        }
    }
    let (mut shape, mut out, mut truths) = (Vec::new(), Vec::new(), false);
    gather(list, 0, &mut shape, &mut out, &mut truths);
    let t = Tensor::from_vec(out, &shape).ok()?;
    if truths { t.to(DType::Bool).ok() } else { Some(t) }
}
